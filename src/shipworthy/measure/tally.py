"""A table read in parts, counted: the cells that an audit is computed from.

What needs nothing but counts is counted exactly however large the table is. Scores, units and
numbers are kept row by row up to `EXACT_ROWS` rows; of more, scores go into bins of equal width and
units into buckets, so that memory is bounded and the result says so (`Counted.exact`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from shipworthy.core.errors import DataError
from shipworthy.core.locale import text
from shipworthy.measure.calibration import BUCKETS
from shipworthy.measure.cells import Cells
from shipworthy.measure.tally_columns import Levels, numbers, unit_hashes
from shipworthy.measure.tally_counter import Counter
from shipworthy.model.prediction_columns import MOST_CLASSES

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]
    Codes: TypeAlias = NDArray[Any]

EXACT_ROWS = 1_000_000
SCORE_BINS = 4096
CLUSTERED_SCORE_BINS = 256
MOST_GROUPS = 200
"""Values of a group column that are compared pair by pair."""

MOST_LEVELS = 100_000
"""Values of a group column of which the most frequent are compared."""

KEYS = ("label", "prediction", "condition")


@dataclass(frozen=True)
class Roles:
    """Which column is what.

    numeric: label and prediction are numbers. free: scores have no range, and each row is kept.
    kept: of a group column, the values that are told apart where not all are.
    """

    groups: tuple[str, ...]
    label: str | None = None
    prediction: str | None = None
    score: str | None = None
    weight: str | None = None
    unit: str | None = None
    condition: str | None = None
    numeric: bool = False
    free: bool = False
    kept: Mapping[str, frozenset[str | None]] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are read, each once."""
        named = (
            self.label, self.prediction, self.score, self.weight, self.unit, self.condition,
        )  # fmt: skip
        return tuple(dict.fromkeys([*(c for c in named if c), *self.groups]))


@dataclass(frozen=True, eq=False)
class Counted:
    """What was counted.

    cells: without scores; scored: with them (the same object where rows are kept), or None. names:
    of label, prediction and condition, by their codes. rows: read with a weight above 0; exact:
    whether each row was kept or nothing but counts was needed.
    """

    cells: Cells
    scored: Cells | None
    names: Mapping[str, tuple[str | None, ...]]
    rows: int
    exact: bool
    left_out: Mapping[str, int]


class Tally:
    """Counts parts of one table, in any order."""

    def __init__(self, roles: Roles, file: str) -> None:
        self.roles, self.file = roles, file
        self.rows = 0
        self._read = 0
        self.groups = {
            c: Levels(
                c, file, most=MOST_LEVELS if c in roles.kept else MOST_GROUPS,
                kept=roles.kept.get(c),
            )
            for c in roles.groups
        }  # fmt: skip
        named = {"label": roles.label, "prediction": roles.prediction, "condition": roles.condition}
        self.keys = {
            k: Levels(c, file, most=MOST_LEVELS if k == "condition" else MOST_CLASSES)
            for k, c in named.items()
            if c is not None and (k == "condition" or not roles.numeric)
        }
        self._by_row = bool(roles.score or roles.unit or roles.numeric)
        self._kept: list[dict[str, Codes]] = []
        self._counts: dict[str, Counter] = {}

    def add(self, table: pa.Table) -> None:
        """Count the rows of a part; errors name the row by its place in the whole table."""
        part, weight = self._part(table)
        rows = table.num_rows
        if weight is not None:
            held = weight > 0
            if not held.all():
                part = {k: v[held] for k, v in part.items()}
                rows = int(held.sum())
        self.rows += rows
        self._read += table.num_rows
        if self._by_row and (self.roles.free or self.rows <= EXACT_ROWS):
            self._kept.append(part)
            return
        for earlier in self._kept:
            self._count(earlier)
        self._kept = []
        self._count(part)

    def _part(self, table: pa.Table) -> tuple[dict[str, Codes], FloatArray | None]:
        roles = self.roles
        part: dict[str, Codes] = {}
        for column, levels in self.groups.items():
            part[f"group {column}"] = levels.codes(table[column])
        for key, levels in self.keys.items():
            part[key] = levels.codes(table[levels.column])
            if key != "condition" and None in levels.names:
                self._refuse_missing(part[key] == levels.names[None], levels.column, key)
        if roles.numeric:
            for name, number in (("label", roles.label), ("prediction", roles.prediction)):
                if number is not None:
                    part[f"number {name}"] = self._finite(table, number)
        if roles.score is not None:
            part["score"] = self._score(table, roles.score)
        if roles.unit is not None:
            hashes, series = unit_hashes(table[roles.unit])
            if series.null_count():
                self._refuse_missing(series.is_null().to_numpy(), roles.unit, "unit")
            part["unit"] = hashes
        weight = None
        if roles.weight is not None:
            weight = numbers(table[roles.weight])
            wrong = ~((weight >= 0) & (weight < np.inf))
            if wrong.any():
                self._refuse(wrong, roles.weight, "weight", weight)
            part["weight"] = weight
        return part, weight

    def _score(self, table: pa.Table, column: str) -> FloatArray:
        score = numbers(table[column])
        if self.roles.free:
            wrong = ~np.isfinite(score)
            if wrong.any():
                self._refuse(wrong, column, "number", score)
        elif len(score) and not (score.min() >= 0 and score.max() <= 1):
            self._refuse(~((score >= 0) & (score <= 1)), column, "score", score)
        return score

    def _finite(self, table: pa.Table, column: str) -> FloatArray:
        found = numbers(table[column])
        wrong = ~np.isfinite(found)
        if wrong.any():
            self._refuse(wrong, column, "number", found)
        return found

    def _refuse_missing(self, absent: NDArray[np.bool_], column: str, what: str) -> None:
        if not absent.any():
            return
        raise DataError(
            text("error.audit.missing", what=text(f"error.predictions.role.{what}")),
            file=self.file,
            row=self._read + int(np.argmax(absent)) + 1,
            column=column,
            fix=text("error.predictions.missing.fix"),
        )

    def _refuse(self, wrong: NDArray[np.bool_], column: str, what: str, values: FloatArray) -> None:
        row = int(np.argmax(wrong))
        value = values[row]
        shown = text("error.audit.nothing") if np.isnan(value) else f"{value:g}"
        raise DataError(
            text(f"error.audit.{what}", shown=shown),
            file=self.file,
            row=self._read + row + 1,
            column=column,
            fix=text(f"error.audit.{what}.fix"),
        )

    # -- counting --------------------------------------------------------------------------------

    def _count(self, part: dict[str, Codes]) -> None:
        rows = len(next(iter(part.values()))) if part else 0
        axes = [part[f"group {c}"] for c in self.groups]
        sizes = [len(levels) for levels in self.groups.values()]
        weight = part.get("weight")
        sums = [] if weight is None else [weight, weight**2]
        bucket = self._bucket(part, rows)
        end = ([], []) if bucket is None else ([bucket], [BUCKETS])
        if self.roles.numeric:
            self._add("numbers", [*axes, *end[0]], [*sizes, *end[1]], _moments(part, sums))
            return
        codes = [part[k] for k in self.keys]
        spans = [len(levels) for levels in self.keys.values()]
        self._add("plain", [*axes, *codes, *end[0]], [*sizes, *spans, *end[1]], sums)
        if "score" in part:
            bins = SCORE_BINS if bucket is None else CLUSTERED_SCORE_BINS
            place = np.minimum((part["score"] * bins).astype(np.int32), bins - 1)
            kept = [k for k in self.keys if k == "label"]
            self._add(
                "scored",
                [*axes, *(part[k] for k in kept), place, *end[0]],
                [*sizes, *(len(self.keys[k]) for k in kept), bins, *end[1]],
                sums,
            )

    def _bucket(self, part: dict[str, Codes], rows: int) -> Codes | None:
        if "unit" in part:
            return (part["unit"] % np.uint64(BUCKETS)).astype(np.int32)
        if self.roles.numeric:
            # Rows are units; their sums over buckets are as independent.
            return (np.arange(rows, dtype=np.int64) % BUCKETS).astype(np.int32)
        return None

    def _add(
        self, name: str, codes: Sequence[Codes], sizes: Sequence[int], sums: Sequence[FloatArray]
    ) -> None:
        if name not in self._counts:
            self._counts[name] = Counter(len(codes), len(sums))
        self._counts[name].add(codes, sizes, sums)

    # -- what was counted ------------------------------------------------------------------------

    def counted(self) -> Counted:
        """Return the cells; nothing can be added afterwards.

        Raises DataError where no row was read, or all weights are 0.
        """
        if self.rows == 0:
            key = "no_weight" if self._read else "no_rows"
            raise DataError(text(f"error.audit.{key}"), file=self.file)
        names = {k: levels.ordered()[0] for k, levels in self.keys.items()}
        if self._kept:
            cells = self._row_cells()
            scored = cells if "score" in cells.numbers else None
            return Counted(cells, scored, names, self.rows, True, self._left_out(cells))
        if self.roles.numeric:
            cells = self._cells("numbers", ())
            return Counted(cells, None, names, self.rows, False, self._left_out(cells))
        cells = self._cells("plain", tuple(self.keys))
        scored = None
        if "scored" in self._counts:
            kept = tuple(k for k in self.keys if k == "label")
            scored = self._cells("scored", (*kept, "score"))
        exact = not self._by_row
        return Counted(cells, scored, names, self.rows, exact, self._left_out(cells))

    def _left_out(self, cells: Cells) -> dict[str, int]:
        """Rows of each group column whose value is not compared."""
        found = {c: int(cells.n[codes < 0].sum()) for c, codes in cells.groups.items()}
        return {c: n for c, n in found.items() if n}

    def _row_cells(self) -> Cells:
        parts = {k: np.concatenate([p[k] for p in self._kept]) for k in self._kept[0]}
        self._kept = []
        rows = len(next(iter(parts.values())))
        w = parts.get("weight", np.ones(rows))
        found = {"score": parts["score"]} if "score" in parts else {}
        if self.roles.numeric:
            found |= _named(np.stack(_moments(parts, [w, w**2])))
            del found["w"], found["w2"]
        unit = None
        if "unit" in parts:
            unit = np.unique(parts["unit"], return_inverse=True)[1].reshape(-1).astype(np.int64)
        groups, levels, keys = {}, {}, {}
        for column, one in self.groups.items():
            levels[column], order = one.ordered()
            groups[column] = order[parts[f"group {column}"]]
        for key, one in self.keys.items():
            keys[key] = one.ordered()[1][parts[key]]
        cells = Cells(groups, levels, np.ones(rows), w, w**2, keys, found, unit)
        # One order whatever the order of rows was: buckets of rows then are the same.
        sorting = [*cells.numbers.values(), *([] if unit is None else [unit]), w, *keys.values(),
                   *groups.values()]  # fmt: skip
        return cells.taken(np.lexsort(sorting))

    def _cells(self, name: str, keys: tuple[str, ...]) -> Cells:
        codes, sums = self._counts[name].cells()
        groups, levels = {}, {}
        for place, (column, one) in enumerate(self.groups.items()):
            levels[column], order = one.ordered()
            groups[column] = order[codes[place]]
        rest = codes[len(self.groups) :]
        found, numbers_found = {}, {}
        for key, own in zip(keys, rest, strict=False):
            if key == "score":
                clustered = len(rest) > len(keys)
                bins = CLUSTERED_SCORE_BINS if clustered else SCORE_BINS
                found["bin"] = own
                numbers_found["score"] = (own + 0.5) / bins
            else:
                found[key] = self.keys[key].ordered()[1][own]
        unit = rest[len(keys)] if len(rest) > len(keys) else None
        n = sums[0]
        weighted = self.roles.weight is not None
        if self.roles.numeric:
            numbers_found = _named(sums[1:])
            w, w2 = numbers_found.pop("w"), numbers_found.pop("w2")
            return Cells(groups, levels, n, w, w2, found, numbers_found, unit)
        w, w2 = (sums[1], sums[2]) if weighted else (n, n)
        return Cells(groups, levels, n, w, w2, found, numbers_found, unit)


MOMENTS = ("w", "w2", "label", "label2", "prediction", "error", "absolute", "error2")
"""Weighted sums that are kept of numbers: of labels y, predictions p and errors p - y."""


def _moments(part: Mapping[str, Codes], weights: Sequence[FloatArray]) -> list[FloatArray]:
    y = part.get("number label")
    p = part.get("number prediction")
    assert y is not None and p is not None
    w, w2 = weights if weights else (np.ones(len(y)), np.ones(len(y)))
    error = p - y
    each = (y, y**2, p, error, np.abs(error), error**2)
    return [w, w2, *(w * x for x in each)]


def _named(sums: FloatArray) -> dict[str, FloatArray]:
    return dict(zip(MOMENTS, sums, strict=True))


def with_classes(counted: Counted, renames: Mapping[str, str], classes: Collection[str]) -> Counted:
    """Return the same with labels and predictions as codes into one tuple of classes."""
    order = {name: k for k, name in enumerate(classes)}

    def recoded(cells: Cells) -> Cells:
        keys = dict(cells.keys)
        for key in ("label", "prediction"):
            if key in keys:
                table = [order[renames.get(str(n), str(n))] for n in counted.names[key]]
                keys[key] = np.array(table, dtype=np.int64)[keys[key]]
        return replace(cells, keys=keys)

    cells = recoded(counted.cells)
    scored = cells if counted.scored is counted.cells else counted.scored
    if scored is not None and scored is not cells:
        scored = recoded(scored)
    return replace(counted, cells=cells, scored=scored)
