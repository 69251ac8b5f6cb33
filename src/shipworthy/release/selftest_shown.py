"""A self-test as lines for people: the standard models, then every limit that counts."""

from __future__ import annotations

from collections.abc import Iterator

from shipworthy.core.locale import number, text
from shipworthy.release.cells import Column, clean, table
from shipworthy.release.limit_rows import form_of
from shipworthy.release.selftest import GOOD, Planted, Selftest, example
from shipworthy.release.selftest_models import Plant
from shipworthy.release.selftest_stage import GROUP_ROWS, Tried
from shipworthy.release.wording import demand, limit_title

_LEAST_WIDTH = 60


def lines(found: Selftest, *, width: int = 100) -> list[str]:
    """Return the result as lines of about `width` cells: two tables and what they amount to."""
    cells = max(width, _LEAST_WIDTH)
    models = [
        Column(""), Column(text("selftest.head.model")),
        Column(text("selftest.head.held_by"), wraps=True),
    ]  # fmt: skip
    limits = [
        Column(""), Column(text("selftest.head.limit"), wraps=True),
        Column(text("selftest.head.value"), "right"), Column(text("selftest.head.by"), wraps=True),
    ]  # fmt: skip
    rows = [[_mark(p.ok, p.skipped), text(f"selftest.name.{p.name}"), _fate(found, p)]
            for p in found.planted]  # fmt: skip
    tried = [[_mark(t.plant is not None), _asked(t), _value(t), _by(t)] for t in found.limits]
    last = text("selftest.passed" if found.passed else "selftest.failed")
    return [*_table(models, rows, cells), "", *_table(limits, tried, cells), "", last]


def _table(columns: list[Column], rows: list[list[str]], cells: int) -> Iterator[str]:
    shown = [[clean(cell) for cell in row] for row in rows]
    for line in table(columns, shown, cells - 2)[0]:
        yield ("  " + "  ".join(line)).rstrip()


def _mark(ok: bool, skipped: bool = False) -> str:
    return "-" if skipped else "+" if ok else "!"


def _fate(found: Selftest, planted: Planted) -> str:
    if planted.skipped:
        return text("selftest.skipped")
    named = text("selftest.separator").join(map(limit_title, planted.held_by))
    if planted.name == GOOD:
        if planted.ok:
            return text("selftest.good")
        return text("selftest.good_not_shipped", limits=named, rows=number(GROUP_ROWS[-1]))
    if planted.ok:
        return named
    return text("selftest.not_held", example=example(planted.name, found.columns))


def _asked(tried: Tried) -> str:
    asked = demand(tried.asked, tried.limit)
    return text("selftest.limit", title=limit_title(tried.limit), demand=asked)


def _value(tried: Tried) -> str:
    if tried.decision is None:
        return ""
    form = form_of(tried.decision)
    return form.with_unit(form.figure(tried.decision.value))


def _by(tried: Tried) -> str:
    return text("selftest.never") if tried.plant is None else _told(tried.plant)


def _told(plant: Plant) -> str:
    """Return what was wrong with a planted model."""
    said = text(f"selftest.family.{plant.family}", percent=number(100 * plant.share))
    if not plant.where:
        return said
    where = ", ".join(f"{column}={value}" for column, value in plant.where)
    return text("selftest.where", what=said, where=where)
