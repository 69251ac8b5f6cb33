"""What a data set is made of, and whether it can bear the questions that will be asked of it.

Rows of each group against a declared population, labels and missing values by group, repeated rows,
labels that are probably wrong, agreement of annotators, columns that stand in for protected ones,
lengths and scripts. Where a test decides, there are three answers against one margin
(`contrasts.py`); everything else is a count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl

from shipworthy.core.errors import DataError
from shipworthy.core.locale import text as words
from shipworthy.data.rows import MOST_GROUP_VALUES
from shipworthy.data.sources import require_columns
from shipworthy.measure.annotators import Agreement, agreements
from shipworthy.measure.composition_roles import MOST_CLASSES, MOST_COLUMNS, ByGroup, Roles
from shipworthy.measure.contrasts import Representation, against_rest, representation
from shipworthy.measure.guesses import Attribute, Noise, attribute_of, noise_of
from shipworthy.measure.repeats import Repeats, content_of, find_repeats
from shipworthy.measure.slices import Partition, partition, unit_codes
from shipworthy.measure.text_shape import Lengths, count_lengths, lengths_of, script_names
from shipworthy.model.class_names import canonical, default_positive, in_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shipworthy.measure.reference import Reference

    BoolArray: TypeAlias = NDArray[np.bool_]
    IntArray: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Missing:
    """A column with missing values: null, NaN or blank."""

    column: str
    rows: int
    share: float


@dataclass(frozen=True, eq=False)
class Composition:
    """All that was found of a table."""

    rows: int
    roles: Roles
    groups: tuple[Representation, ...]
    classes: Mapping[str, int]
    labels: tuple[ByGroup, ...]
    missing: tuple[Missing, ...]
    missing_by_group: tuple[ByGroup, ...]
    repeats: Repeats
    repeats_by_group: tuple[ByGroup, ...]
    noise: Noise
    agreement: tuple[Agreement, ...]
    proxies: tuple[Attribute, ...]
    lengths: tuple[Lengths, ...]
    scripts: Mapping[str, int]
    scripts_by_group: tuple[ByGroup, ...]
    splits: Mapping[str, int] = field(default_factory=dict)


def compose(
    frame: pl.DataFrame, roles: Roles, reference: Reference | None = None, *, file: str = ""
) -> Composition:
    """Look at a table of at least one row.

    Raises DataError for a column that is not there and for a group column of too many values.
    """
    _check(frame, roles, file)
    units = None if roles.unit is None else unit_codes(frame[roles.unit])
    parts = {c: _partition(frame, c, units) for c in roles.groups}
    whole = Partition(
        (), partition(frame.select([])).slices, np.zeros(frame.height, np.int64), units
    )
    everyone = np.ones(frame.height, dtype=bool)
    label = None if roles.label is None else canonical(frame[roles.label])
    repeats = _repeats(frame, roles, label)

    def by_group(subject: str, counted: BoolArray, success: BoolArray) -> list[ByGroup]:
        return [
            ByGroup(c, subject, against_rest(
                rows, counted, success, margin=roles.margin, alpha=roles.alpha))
            for c, rows in parts.items() if rows.m > 1 and c != subject
        ]  # fmt: skip

    classes = {} if label is None else _counts(label)
    labels: list[ByGroup] = []
    if label is not None:
        known = label.is_not_null().to_numpy()
        # Of two classes one says it all.
        one = default_positive(classes) or in_order(classes)[-1]
        for name in [one] if len(classes) == 2 else list(classes)[:MOST_CLASSES]:
            labels += by_group(name, known, (label == name).fill_null(False).to_numpy())
    gaps = {c: _absent(frame[c]) for c in frame.columns[:MOST_COLUMNS]}
    gaps = {c: mask for c, mask in gaps.items() if mask.any()}
    scripts: dict[str, int] = {}
    by_script: list[ByGroup] = []
    lengths: tuple[Lengths, ...] = ()
    if roles.text is not None:
        texts = frame[roles.text].cast(pl.String)
        counted = count_lengths(texts, roles.tokens)
        for rows in (whole, *parts.values()):
            lengths += lengths_of(counted, rows, confidence=roles.confidence)
        names = script_names(texts)
        scripts = dict(sorted(_tally(names.tolist()).items(), key=lambda s: (-s[1], s[0])))
        if len(scripts) > 1:
            by_script = by_group(next(iter(scripts)), everyone, names == next(iter(scripts)))
    found_missing = [Missing(c, int(m.sum()), float(m.mean())) for c, m in gaps.items()]
    return Composition(
        rows=frame.height,
        roles=roles,
        groups=tuple(
            representation(
                rows, None if reference is None else reference.shares.get(c),
                margin=roles.margin, alpha=roles.alpha,
            ) for c, rows in parts.items()
        ),
        classes=classes,
        labels=tuple(labels),
        missing=tuple(sorted(found_missing, key=lambda m: (-m.rows, m.column))),
        missing_by_group=tuple(g for c, m in gaps.items() for g in by_group(c, everyone, m)),
        repeats=repeats,
        repeats_by_group=tuple(by_group("", everyone, repeats.alike)),
        noise=noise_of(frame, roles, label, repeats, parts),
        agreement=agreements(frame, roles, parts),
        proxies=tuple(attribute_of(frame, c, roles, repeats) for c in roles.groups),
        lengths=lengths,
        scripts=scripts,
        scripts_by_group=tuple(by_script),
        splits={} if roles.split is None else _counts(canonical(frame[roles.split])),
    )  # fmt: skip


def _check(frame: pl.DataFrame, roles: Roles, file: str) -> None:
    named = [roles.label, roles.text, roles.split, roles.unit, roles.id, roles.item]
    wanted = [*(n for n in named if n is not None), *roles.groups, *roles.annotators]
    require_columns(frame, wanted, file)
    for name in wanted:
        if name != roles.item and _absent(frame[name]).all():
            raise DataError(
                words("error.composition.all_missing"), file=file, column=name,
                fix=words("error.composition.all_missing.fix"),
            )  # fmt: skip
    for name in roles.groups:
        count = frame[name].n_unique()
        if count > MOST_GROUP_VALUES:
            raise DataError(
                words("error.rows.many_groups", count=count), file=file, column=name,
                fix=words("error.rows.many_groups.fix"),
            )  # fmt: skip
    if len(roles.annotators) == 1 and roles.item is None:
        raise DataError(
            words("error.composition.item"), file=file, column=roles.annotators[0],
            fix=words("error.composition.item.fix"),
        )  # fmt: skip


def _partition(frame: pl.DataFrame, column: str, units: IntArray | None) -> Partition:
    found = partition(pl.DataFrame({column: canonical(frame[column])}), [column])
    return Partition(found.columns, found.slices, found.codes, units)


def _absent(values: pl.Series) -> BoolArray:
    """Return which values are missing: null, NaN, or a text of white space."""
    missing = values.is_null()
    if values.dtype.is_float():
        missing |= values.is_nan().fill_null(False)
    elif values.dtype == pl.String:
        missing |= (values.str.strip_chars() == "").fill_null(False)
    mask: BoolArray = missing.to_numpy()
    return mask


def _counts(values: pl.Series) -> dict[str, int]:
    found = _tally(values.drop_nulls().to_list())
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _tally(values: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for value in values:
        found[value] = found.get(value, 0) + 1
    return found


def _repeats(frame: pl.DataFrame, roles: Roles, label: pl.Series | None) -> Repeats:
    if roles.text is not None:
        content, similarity = frame[roles.text].cast(pl.String), roles.similarity
    else:
        apart = {roles.id, roles.split, roles.label, roles.item, *roles.annotators}
        content = content_of(frame, [c for c in frame.columns if c not in apart])
        similarity = 1.0
    split = None if roles.split is None else canonical(frame[roles.split])
    return find_repeats(content, similarity=similarity, split=split, label=label)
