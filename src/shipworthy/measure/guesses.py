"""What light models say of a table: wrong labels, and what stands in for protected attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.core.records import ALL_ROWS
from shipworthy.measure.composition_roles import (
    MOST_CLASSES,
    MOST_COLUMNS,
    MOST_FITTED,
    ByGroup,
    Roles,
)
from shipworthy.measure.contrasts import against_rest
from shipworthy.measure.label_noise import LabelNoise, confident_learning
from shipworthy.measure.light_model import cross_fitted, features, folds_of
from shipworthy.measure.proxies import MOST_VALUES, Proxy, enough, proxy
from shipworthy.measure.slices import Partition, unit_codes
from shipworthy.model.class_names import canonical, in_order

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from shipworthy.measure.repeats import Repeats

    BoolArray: TypeAlias = NDArray[np.bool_]
    IntArray: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Suspect:
    """A row whose label the light model contradicts. row counts from 1; odds: log, of the other."""

    row: int
    given: str
    likely: str
    odds: float


@dataclass(frozen=True, eq=False)
class Noise:
    """Labels that are probably wrong. found: None where nothing was fitted, and reason says why."""

    found: LabelNoise | None
    reason: str = ""
    rows: int = 0
    classes: tuple[str, ...] = ()
    suspects: tuple[Suspect, ...] = ()
    by_group: tuple[ByGroup, ...] = ()


@dataclass(frozen=True)
class Attribute:
    """A protected attribute and what stands in for it; found: None, and reason says why."""

    column: str
    found: Proxy | None
    reason: str = ""


def _told_by(frame: pl.DataFrame, roles: Roles, target: str) -> list[str]:
    """Return the columns that may tell another: no text, no names of rows, nothing nested."""
    apart = {target, roles.text, roles.id, roles.unit, roles.split, roles.item, *roles.annotators}
    return [
        c
        for c in frame.columns[:MOST_COLUMNS]
        if c not in apart
        and not frame.schema[c].is_nested()
        and (frame.schema[c].is_float() or frame[c].n_unique() <= max(2, frame.height // 2))
    ]


def _sample(rows: BoolArray, seed: int) -> IntArray:
    """Return at most `MOST_FITTED` of the rows, in their order."""
    places = np.flatnonzero(rows)
    if len(places) > MOST_FITTED:
        places = np.sort(np.random.default_rng(seed).choice(places, MOST_FITTED, replace=False))
    return places


def _whole(places: IntArray, units: IntArray | None) -> Partition:
    codes = np.zeros(len(places), dtype=np.int64)
    return Partition((), (ALL_ROWS,), codes, None if units is None else units[places])


def _apart(frame: pl.DataFrame, roles: Roles, repeats: Repeats) -> IntArray:
    """Return what must not be parted by folds: units, else rows that say the same."""
    return repeats.component if roles.unit is None else unit_codes(frame[roles.unit])


def noise_of(
    frame: pl.DataFrame, roles: Roles, label: pl.Series | None, repeats: Repeats,
    parts: Mapping[str, Partition],
) -> Noise:  # fmt: skip
    """Find labels that are probably wrong, on at most `MOST_FITTED` rows."""
    if label is None or not roles.models:
        return Noise(None, "no_label" if label is None else "no_models")
    classes = in_order(label.drop_nulls().unique().to_list())
    kept = enough(_codes(label, classes), classes)
    columns = _told_by(frame, roles, str(roles.label))
    if len(kept) < 2 or len(kept) > MOST_CLASSES or not (columns or roles.text):
        reason = "few_rows" if len(kept) < 2 else "many_classes"
        return Noise(None, reason if columns or roles.text else "no_columns")
    codes = _codes(label, kept)
    places = _sample(codes >= 0, roles.seed)
    units = None if roles.unit is None else unit_codes(frame[roles.unit])
    told = features(frame[places.tolist()], columns, roles.text)
    fold = folds_of(_compact(_apart(frame, roles, repeats)[places]), seed=roles.seed)
    log_p, _ = cross_fitted(told, codes[places], fold, len(kept))
    found = confident_learning(
        log_p, codes[places], _whole(places, units), confidence=roles.confidence,
        seed=roles.seed,
    )  # fmt: skip
    worst = [k for k in np.argsort(found.margin, kind="stable").tolist() if found.flagged[k]]
    counted, flagged = np.zeros(frame.height, dtype=bool), np.zeros(frame.height, dtype=bool)
    counted[places] = True
    flagged[places] = found.flagged
    return Noise(
        found, "", len(places), kept,
        tuple(Suspect(int(places[k]) + 1, kept[codes[places[k]]], kept[found.likely[k]],
                      -float(found.margin[k])) for k in worst),
        tuple(ByGroup(c, "", against_rest(rows, counted, flagged, margin=roles.margin,
                                          alpha=roles.alpha))
              for c, rows in parts.items() if rows.m > 1),
    )  # fmt: skip


def _codes(values: pl.Series, names: Sequence[str]) -> IntArray:
    place = {name: k for k, name in enumerate(names)}
    return np.array([place.get(v, -1) for v in values.to_list()], dtype=np.int64)


def _compact(codes: IntArray) -> IntArray:
    return np.unique(codes, return_inverse=True)[1].reshape(-1).astype(np.int64)


def attribute_of(frame: pl.DataFrame, column: str, roles: Roles, repeats: Repeats) -> Attribute:
    """Guess the values of a protected attribute from the other columns and the text."""
    if not roles.models:
        return Attribute(column, None, "no_models")
    values = canonical(frame[column])
    names = in_order(values.drop_nulls().unique().to_list())
    if len(names) > MOST_VALUES:
        return Attribute(column, None, "many_classes")
    kept = enough(_codes(values, names), names)
    columns = _told_by(frame, roles, column)
    if len(kept) < 2 or not (columns or roles.text):
        return Attribute(column, None, "few_rows" if len(kept) < 2 else "no_columns")
    codes = _codes(values, kept)
    places = _sample(codes >= 0, roles.seed)
    units = None if roles.unit is None else unit_codes(frame[roles.unit])
    told = features(frame[places.tolist()], columns, roles.text)
    fold = folds_of(_compact(_apart(frame, roles, repeats)[places]), seed=roles.seed)
    found = proxy(
        told, codes[places], kept, _whole(places, units), fold, margin=roles.margin,
        confidence=roles.confidence, seed=roles.seed,
    )  # fmt: skip
    return Attribute(column, found)
