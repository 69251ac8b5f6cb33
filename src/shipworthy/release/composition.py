"""The composition of a file's rows with what people declared of them, as one JSON document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.core.errors import InputError
from shipworthy.core.locale import text
from shipworthy.data.sources import read_table
from shipworthy.measure.composition import Composition, compose
from shipworthy.measure.composition_roles import Roles
from shipworthy.measure.governance import ITEMS, read_governance
from shipworthy.measure.power import two_group_rows_needed, zero_event_rows
from shipworthy.measure.reference import Reference, read_reference
from shipworthy.release.nulls import to_null

if TYPE_CHECKING:
    import polars as pl

MARGINS = (0.02, 0.05, 0.1)
"""Margins that the rows of each group are held against, besides the one that was asked for."""
TYPICAL = 0.9
"""Share of right answers that a group is supposed to have where rows needed are told."""
MOST_SUSPECTS = 20
"""Rows with a doubtful label that are listed."""


@dataclass(frozen=True)
class Needed:
    """Rows of a group for a margin: least, below which nothing can pass; typical, of 80 % power.

    least: a change against a parent without one flip (`zero_event_rows`). typical: two groups with
    90 % right answers each, shown to lie within the margin.
    """

    margin: float
    least: int
    typical: int


@dataclass(frozen=True, eq=False)
class Composed:
    """What was found of a file, and what was declared. governance: by item, "" is empty."""

    file: str
    found: Composition
    reference: Reference | None
    governance: Mapping[str, str]
    needed: tuple[Needed, ...]


def composition(
    source: str | Path | pl.DataFrame,
    roles: Roles,
    *,
    reference: Path | None = None,
    governance: Path | None = None,
) -> Composed:
    """Read a file and say what its rows are made of.

    Raises DataError, SettingsError or InputError where a file, a column or a key does not fit.
    """
    import polars as pl

    file = "" if isinstance(source, pl.DataFrame) else str(source)
    frame = source if isinstance(source, pl.DataFrame) else read_table(source)
    declared = None if reference is None else read_reference(reference)
    for column in declared.shares if declared is not None else ():
        if column not in roles.groups:
            raise InputError(text("error.composition.no_group", file=reference, column=column))
    told = dict.fromkeys(ITEMS, "") if governance is None else read_governance(governance)
    margins = sorted({*MARGINS, roles.margin})
    typical = two_group_rows_needed(TYPICAL, TYPICAL, np.array(margins))
    least = zero_event_rows(np.array(margins))
    needed = tuple(
        Needed(m, int(low), int(usual))
        for m, low, usual in zip(margins, least, typical, strict=True)
    )
    return Composed(file, compose(frame, roles, declared, file=file), declared, told, needed)


def token_counter(folder: Path | None) -> Callable[[list[str]], list[int]] | None:
    """Return what counts the tokens of texts by the `tokenizer.json` of a model folder.

    Raises InputError where there is none, or it cannot be read.
    """
    if folder is None:
        return None
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    if not file.is_file():
        raise InputError(text("error.composition.tokenizer", folder=folder))
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:
        # The library raises nothing narrower.
        raise InputError(text("error.composition.tokenizer", folder=folder)) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def count(texts: list[str]) -> list[int]:
        return [len(one.ids) for one in tokenizer.encode_batch_fast(texts)]

    return count


def to_json(composed: Composed) -> dict[str, Any]:
    """Return one JSON document; numbers that are not known are null."""
    found = composed.found
    roles, noise, repeats = found.roles, found.noise, found.repeats
    return {
        "file": composed.file,
        "rows": found.rows,
        "margin": roles.margin,
        "confidence": roles.confidence,
        "reference": None if composed.reference is None else plain(composed.reference),
        "groups": plain(found.groups),
        "rows_needed": plain(composed.needed),
        "splits": dict(found.splits),
        "classes": dict(found.classes),
        "labels": plain(found.labels),
        "missing": plain(found.missing),
        "missing_by_group": plain(found.missing_by_group),
        "duplicates": {
            "rows_with_an_equal": int(repeats.equal.sum()),
            "rows_with_one_alike": int(repeats.alike.sum()),
            "rows_beyond_the_first": int(repeats.later.sum()),
            "rows_in_several_splits": int(repeats.leaking.sum()) if roles.split else None,
            "rows_with_another_label": int(repeats.conflicting.sum()) if roles.label else None,
            "by_group": plain(found.repeats_by_group),
        },
        "label_noise": {
            "reason": noise.reason or None,
            "rows": noise.rows,
            "classes": list(noise.classes),
            "found": None if noise.found is None else {
                "share": plain(noise.found.share),
                "low": plain(noise.found.low),
                "high": plain(noise.found.high),
                "joint": noise.found.joint.tolist(),
                "flagged": int(noise.found.flagged.sum()),
                "balanced_accuracy": plain(noise.found.balanced_accuracy),
                "trusted": noise.found.trusted,
            },
            "suspects": plain(noise.suspects),
            "by_group": plain(noise.by_group),
        },
        "agreement": plain(found.agreement),
        "proxies": plain(found.proxies),
        "lengths": plain(found.lengths),
        "scripts": dict(found.scripts),
        "scripts_by_group": plain(found.scripts_by_group),
        "governance": dict(composed.governance),
    }  # fmt: skip


def plain(value: Any) -> Any:
    """Return a value made of dataclasses as plain values for JSON; NaN is null.

    >>> plain(Needed(0.05, 73, float("nan")))
    {'margin': 0.05, 'least': 73, 'typical': None}
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, Enum):
        return value.value
    return to_null(value) if isinstance(value, float) else value
