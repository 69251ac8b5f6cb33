"""What can be said of each group in a ranking: exposure, the top, and who is ranked above whom.

Exposure of a place is 1 / log2(1 + place) (Singh & Joachims 2018); rows with equal scores share
the places that they take. Skew at k is the natural logarithm of a group's share of the first k
over its share of all (Geyik, Ambler & Kenthapadi 2019). With labels: areas under the ROC curve
within the group, and between its rows and those of the other groups (Borkan et al. 2019); and the
normalised discounted cumulative gain of the group's own rows (Järvelin & Kekäläinen 2002).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.measure import cell_means
from shipworthy.measure.calibration import BUCKETS
from shipworthy.measure.cells import Area, Cells, area, over
from shipworthy.measure.estimates import Mean, Rate
from shipworthy.measure.rates import cautious
from shipworthy.measure.slices import hashed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]
    BoolArray: TypeAlias = NDArray[np.bool_]

LABELLED = ("auc", "bpsn_auc", "bnsp_auc", "ndcg")


@dataclass(frozen=True, eq=False)
class Ranked:
    """Rows in the order of their scores, higher first. positive: code of relevant labels or -1."""

    cells: Cells
    positive: int = -1

    @property
    def measures(self) -> tuple[str, ...]:
        """Names that can be measured on each group, but for those of a top."""
        return ("exposure", *(LABELLED if self.positive >= 0 else ()))

    def area(self, columns: tuple[str, ...] = ()) -> Area:
        """Slices of the rows; their scores and all numbers stay those of the whole ranking."""
        return area(_with_places(self.cells, self.exposures, self._ties), columns)

    @cached_property
    def _ties(self) -> FloatArray:
        """First place (from 0) of the rows that share each row's score, and how many they are."""
        score = self.cells.numbers["score"]
        order = np.argsort(-score, kind="stable")
        other = np.concatenate(([True], score[order][1:] != score[order][:-1]))
        first = np.flatnonzero(other)
        count = np.diff(np.append(first, len(order)))
        step = np.cumsum(other) - 1
        found = np.empty((2, len(order)))
        found[0, order], found[1, order] = first[step], count[step]
        return found

    @cached_property
    def exposures(self) -> FloatArray:
        """Exposure of each row, shape (n,), in (0, 1]."""
        whole = np.concatenate(([0.0], np.cumsum(discounts(len(self.cells)))))
        first, count = self._ties.astype(np.int64)
        return np.asarray((whole[first + count] - whole[first]) / count)

    def on(self, name: str, where: Area) -> Mean:
        """Return a measure over the slices of an area of this ranking."""
        if name == "exposure":
            return cell_means.mean_of(where, where.cells.numbers["exposure"], reach=1.0)
        relevant = where.cells.keys["label"] == self.positive
        score = where.cells.numbers["score"]
        if name == "auc":
            return cell_means.auc(where, relevant, score)
        if name == "ndcg":
            return _gain(where, relevant, score)
        return self._across(where, positives_inside=name == "bnsp_auc")

    def _across(self, where: Area, *, positives_inside: bool) -> Mean:
        """Area between relevant rows of a slice and others outside, or the other way round."""
        found = []
        relevant = where.cells.keys["label"] == self.positive
        for g in range(where.m):
            own = where.codes == g
            chosen = np.where(relevant, own == positives_inside, own != positives_inside)
            cells = where.cells.taken(np.flatnonzero(chosen))
            part = Area((), where.slices[g : g + 1], np.zeros(len(cells), np.int64), cells)
            wanted = cells.keys["label"] == self.positive
            found.append(cell_means.auc(part, wanted, cells.numbers["score"]))
        return joined(found)

    def in_top(self, where: Area, k: int) -> FloatArray:
        """How much of each row lies in the first k: 1, 0, or a part where scores are equal."""
        first, count = where.cells.numbers["first"], where.cells.numbers["count"]
        return np.asarray(np.clip((k - first) / count, 0.0, 1.0))

    def share_of_top(self, where: Area, k: int) -> Rate:
        """Share of each slice in the first k rows."""
        inside = where.sums(self.in_top(where, k))
        n = np.full(where.m, float(min(k, len(self.cells))))
        return Rate(inside, n, n, np.ones(where.m))

    def selected(self, where: Area, k: int) -> Rate:
        """Share of each slice's rows that are in the first k."""
        everyone = np.ones(len(where.cells), dtype=bool)
        n = where.rows(everyone)
        return Rate(where.sums(self.in_top(where, k)), n, where.units(everyone), np.ones(where.m))


def discounts(n: int) -> FloatArray:
    """1 / log2(1 + place) of places 1 to n."""
    return np.asarray(1 / np.log2(np.arange(2, n + 2)))


def joined(parts: Sequence[Mean]) -> Mean:
    """Put estimates of one slice each together, on the identity scale where theirs differ."""
    scales = {p.scale for p in parts}
    whole = [p if len(scales) == 1 else _on_identity(p) for p in parts]

    def all_of(name: str) -> FloatArray:
        return np.concatenate([np.asarray(getattr(p, name)) for p in whole])

    return Mean(
        value=all_of("value"),
        standard_error=all_of("standard_error"),
        df=all_of("df"),
        n=all_of("n"),
        units=all_of("units"),
        deff=all_of("deff"),
        scale=whole[0].scale,
        method=whole[0].method,
        least_count=all_of("least_count"),
        identical=all_of("identical").astype(bool),
    )


def _on_identity(mean: Mean) -> Mean:
    from dataclasses import replace

    slope = np.ones(len(mean.value))
    if mean.scale == "logit":
        slope = mean.value * (1 - mean.value)
    elif mean.scale == "log":
        slope = mean.value
    return replace(mean, standard_error=mean.standard_error * slope, scale="identity")


def _with_places(cells: Cells, exposure: FloatArray, ties: FloatArray) -> Cells:
    from dataclasses import replace

    more = {"exposure": exposure, "first": ties[0], "count": ties[1]}
    return replace(cells, numbers={**cells.numbers, **more})


def _gain(where: Area, relevant: BoolArray, score: FloatArray) -> Mean:
    """Normalised discounted cumulative gain of each slice's rows alone; jackknife over buckets."""
    cells = where.cells
    found = []
    for g in range(where.m):
        own = np.flatnonzero(where.codes == g)
        order = own[np.argsort(-score[own], kind="stable")]
        y, s = relevant[order].astype(np.float64), score[order]
        unit = None if cells.unit is None else cells.unit[order]
        bucket = np.arange(len(order), dtype=np.int64) if unit is None else unit
        names, bucket = np.unique(bucket, return_inverse=True)
        bucket = bucket.reshape(-1)
        if len(names) > BUCKETS:
            _, bucket = np.unique(hashed(bucket, BUCKETS), return_inverse=True)
        buckets = int(bucket.max(initial=-1)) + 1
        value = _normalised(y, s)
        without = np.array([_normalised(y[bucket != b], s[bucket != b]) for b in range(buckets)])
        error, df = np.full(1, np.nan), np.zeros(1)
        if buckets > 1 and not np.isnan(without).any():
            parts = (without - without.mean()) * np.sqrt((buckets - 1) / buckets)
            spread = np.sqrt((parts**2).sum(keepdims=True))
            one = np.zeros(buckets, dtype=np.int64)
            error = cautious(spread, parts, one, np.array([1.0 / max(len(names), 1)]))
            df = np.full(1, buckets - 1.0)
        n = np.full(1, float(len(order)))
        found.append(
            Mean(
                value=np.full(1, value), standard_error=error, df=df, n=n,
                units=np.full(1, float(len(names))), deff=np.ones(1), scale="identity",
                method="jackknife over buckets of units, t",
                least_count=np.full(1, float(min(y.sum(), (1 - y).sum()))),
                identical=np.zeros(1, dtype=bool),
            )
        )  # fmt: skip
    return joined(found)


def _normalised(relevant: FloatArray, score: FloatArray) -> float:
    """Gain of rows sorted by score over the best that there is; equal scores share their places."""
    if not relevant.any():
        return float("nan")
    place = discounts(len(score))
    other = np.concatenate(([True], score[1:] != score[:-1]))
    first = np.flatnonzero(other)
    share = over(np.add.reduceat(place, first), np.diff(np.append(first, len(score))))
    gain = float((share[np.cumsum(other) - 1] * relevant).sum())
    return gain / float(place[: int(relevant.sum())].sum())
