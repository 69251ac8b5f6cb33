"""Rows into train, calibration, validation and test so that nothing of one sits in another.

A unit (author, source, person) is never divided, and texts that are equal or nearly so count as one
unit: what is joined directly or through others stays together. Whole units then go to the split
that lacks most of what they hold (`assignment.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shipworthy.core import locale
from shipworthy.core.errors import DataError, SettingsError
from shipworthy.data.assignment import assign, codes_of, compact, strata_of
from shipworthy.data.duplicates import connected, find_duplicates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl
    from numpy.typing import NDArray

SPLITS = ("train", "calibration", "validation", "test")

# A short text ("thank you") that stands in more units than this is a common phrase: joining all who
# used it would chain most units into one.
PHRASE_UNITS = 20


@dataclass(frozen=True, eq=False)
class Splits:
    """A split for each row, and what it took.

    split: text column of length n, named "split", with values of `SPLITS`.
    rows, units: number of rows and of units (as given, or rows) by split.
    joined_rows: rows kept with another unit's because their texts are equal or nearly so.
    phrase_rows: rows whose text is a short common phrase, not joined.
    largest_unit: rows of the largest set that had to stay together.
    """

    split: pl.Series
    rows: Mapping[str, int]
    units: Mapping[str, int]
    joined_rows: int
    phrase_rows: int
    largest_unit: int


def split(
    frame: pl.DataFrame,
    *,
    label: str | None,
    shares: Mapping[str, float],
    unit: str | None = None,
    text: str | None = None,
    groups: Sequence[str] = (),
    seed: int = 0,
    similarity: float | None = 0.8,
) -> Splits:
    """Assign each row to a split.

    shares: share of the rows by split, each in [0, 1), sum below 1; train gets the rest. They are
    met to within the size of a unit.
    unit: column whose values never cross splits; a null is a unit of its own. None: rows are units.
    text: column whose near-duplicates stay together; None: not looked at.
    groups: columns whose values are spread evenly, as those of label are, where there is one.
    similarity: as in `find_duplicates`; None joins no texts.
    The same frame, settings and seed give the same splits.
    Raises DataError where a split that should have rows gets none.
    """
    wanted = _full_shares(shares)
    units = _unit_codes(frame, unit)
    joined, joined_rows, phrase_rows = units, 0, 0
    if text is not None and similarity is not None:
        joined, joined_rows, phrase_rows = _join_texts(frame[text], units, similarity)
    whole, sizes = compact(joined)
    strata = strata_of(frame, [*([label] if label else []), *groups])
    chosen = assign(whole, sizes, strata, wanted, np.random.default_rng([seed, 0]))
    result = _summary(chosen[whole], units, joined_rows, phrase_rows, int(sizes.max(initial=0)))
    for name, share in zip(SPLITS, wanted, strict=True):
        if share > 0 and not result.rows[name]:
            raise DataError(
                locale.text(
                    "error.splits.empty",
                    name=name,
                    rows=frame.height,
                    sets=len(sizes),
                    largest=sizes.max(initial=0),
                ),
                fix=locale.text("error.splits.empty.fix"),
            )
    return result


def check_splits(
    parts: Mapping[str, pl.DataFrame],
    *,
    unit: str | None = None,
    text: str | None = None,
    files: Mapping[str, str] | None = None,
    similarity: float | None = 0.8,
) -> Splits:
    """Check splits that the user made, given as one frame a split, and count what they share.

    The split column of the result follows the parts in the order given. joined_rows is here the
    number of rows whose text is equal or nearly equal to one in another split: stated, no error.
    Raises DataError naming a unit that is in two splits, with both rows.
    """
    import polars as pl

    unknown = [name for name in parts if name not in SPLITS]
    if unknown:
        raise SettingsError(
            locale.text("error.splits.unknown", name=unknown[0]),
            fix=locale.text("error.known", names=", ".join(SPLITS)),
        )
    names = list(parts)
    given = np.repeat(
        [SPLITS.index(name) for name in names], [part.height for part in parts.values()]
    )
    columns = [name for name in (unit, text) if name is not None]
    frame = pl.concat((part.select(columns) for part in parts.values()), how="vertical_relaxed")
    if unit is not None:
        _refuse_shared_unit(frame[unit], given, names, parts, files or {}, unit)
    units = _unit_codes(frame, unit) if unit is not None else np.arange(given.size)
    shared = 0
    if text is not None and similarity is not None:
        together, _, _ = _join_texts(frame[text], np.arange(given.size), similarity)
        whole, sizes = compact(together)
        seen = np.zeros((len(sizes), len(SPLITS)), dtype=np.bool_)
        seen[whole, given] = True
        shared = int((seen.sum(axis=1) > 1)[whole].sum())
    return _summary(given, units, shared, 0, 0)


def _full_shares(shares: Mapping[str, float]) -> list[float]:
    for name, share in shares.items():
        if name not in SPLITS[1:]:
            known = ", ".join(SPLITS[1:])
            raise SettingsError(
                locale.text("error.splits.no_share", name=name),
                fix=locale.text("error.splits.no_share.fix", known=known),
            )
        if not 0 <= share < 1:
            raise SettingsError(
                locale.text("error.splits.share", name=name, share=share),
                fix=locale.text("error.splits.share.fix"),
            )
    rest = 1 - sum(shares.values())
    if rest <= 1e-9:
        raise SettingsError(
            locale.text("error.splits.nothing_left"),
            fix=locale.text("error.splits.nothing_left.fix"),
        )
    return [rest, *(float(shares.get(name, 0)) for name in SPLITS[1:])]


def _unit_codes(frame: pl.DataFrame, unit: str | None) -> NDArray[np.int64]:
    """Return a number of each row's unit; shape (n,)."""
    rows = np.arange(frame.height)
    if unit is None:
        return rows
    codes = codes_of(frame, [unit])
    # A row without a unit stands for itself.
    return np.where(frame[unit].is_null().to_numpy(), codes.max(initial=0) + 1 + rows, codes)


def _join_texts(
    texts: pl.Series, units: NDArray[np.int64], similarity: float
) -> tuple[NDArray[np.int64], int, int]:
    """Join units through their texts; return the sets, rows that joined, rows of common phrases."""
    found = find_duplicates(texts, similarity=similarity)
    unit, unit_sizes = compact(units)
    pairs = np.unique(np.stack([found.text, unit], axis=1), axis=0)
    spread = np.bincount(pairs[:, 0], minlength=len(found.short))
    phrase = found.short & (spread > PHRASE_UNITS)
    n_units, n_texts = len(unit_sizes), len(found.short)
    links = pairs[~phrase[pairs[:, 0]]]
    edges = np.concatenate(
        [
            np.stack([links[:, 1], n_units + links[:, 0]], axis=1),
            n_units + found.pairs,
        ]
    )
    component = connected(n_units + n_texts, edges)
    sets, set_sizes = compact(component[unit])
    joined = set_sizes[sets] > unit_sizes[unit]
    return sets, int(joined.sum()), int(phrase[found.text].sum())


def _summary(
    chosen: NDArray[np.int64],
    units: NDArray[np.int64],
    joined_rows: int,
    phrase_rows: int,
    largest_unit: int,
) -> Splits:
    import polars as pl

    column = pl.Series("split", np.asarray(SPLITS)[chosen], dtype=pl.String)
    rows = np.bincount(chosen, minlength=len(SPLITS))
    return Splits(
        split=column,
        rows={name: int(rows[k]) for k, name in enumerate(SPLITS)},
        units={name: len(np.unique(units[chosen == k])) for k, name in enumerate(SPLITS)},
        joined_rows=joined_rows,
        phrase_rows=phrase_rows,
        largest_unit=largest_unit,
    )


def _refuse_shared_unit(
    values: pl.Series,
    given: NDArray[np.int64],
    names: list[str],
    parts: Mapping[str, pl.DataFrame],
    files: Mapping[str, str],
    unit: str,
) -> None:
    import polars as pl

    heights = [parts[name].height for name in names]
    rows = pl.DataFrame(
        {
            "unit": values,
            "part": np.repeat(np.arange(len(names)), heights),
            "row": np.concatenate([np.arange(1, height + 1) for height in heights]),
        }
    ).drop_nulls("unit")
    first = pl.col("part").first().over("unit")
    crossing = rows.filter(pl.col("part") != first)
    if crossing.is_empty():
        return
    name, part, row = crossing.row(0)
    known = rows.filter(pl.col("unit") == name).row(0, named=True)
    raise DataError(
        locale.text(
            "error.splits.shared_unit",
            name=name,
            first=names[known["part"]],
            first_row=known["row"],
            second=names[part],
            row=row,
        ),
        file=files.get(names[part]),
        row=row,
        column=unit,
        fix=locale.text("error.splits.shared_unit.fix"),
    )
