"""A threshold for each group, so that groups are alike in a rate, at the least cost in accuracy.

    demographic_parity    alike in the share that is given the positive class
    equal_opportunity     alike in the true positive rate
    equalized_odds        alike in true and false positive rates

Drawn (Hardt, Price and Srebro 2016): every point on the concave hull of what a group's thresholds
reach is a draw between two of them, so that rates can be made equal to the last row. For equalised
odds the point lies on the lowest of the groups' ROC hulls; a group whose own hull is higher there
gives some rows an answer by chance, which is what levels it down. Without draws each group has one
threshold, and rates come as near as they can.

Rates are those of the rows given here: on new rows they are as near as chance lets them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from shipworthy.core.errors import DataError
from shipworthy.core.locale import text
from shipworthy.train.reweighing import require_groups

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]
    IntArray: TypeAlias = NDArray[np.int64]
    BoolArray: TypeAlias = NDArray[np.bool_]

Parity: TypeAlias = Literal["demographic_parity", "equal_opportunity", "equalized_odds"]
Cut: TypeAlias = tuple[float, float]
"""Share of a group's rows, and the score above which these are given the positive class."""

LEAST_ROWS = 10
"""Rows of a group that a rate is taken of, at least."""
MOST_TARGETS = 500
"""Rates that thresholds without draws are brought near to, at most."""


@dataclass(frozen=True, eq=False)
class Curve:
    """What the thresholds of one group reach, from none to all of its rows.

    cuts: thresholds, falling; selected, true, false: how many rows, positives and negatives lie
    above each. positives, negatives: how many the group has.
    """

    cuts: FloatArray
    selected: FloatArray
    true: FloatArray
    false: FloatArray
    positives: int
    negatives: int

    @property
    def rows(self) -> int:
        """Rows of the group."""
        return self.positives + self.negatives

    @property
    def right(self) -> FloatArray:
        """Rows that are answered rightly at each threshold."""
        return self.true + self.negatives - self.false

    def rates(self, constraint: Parity) -> tuple[FloatArray, ...]:
        """Return the rates in which groups are to be alike, each at each threshold."""
        if constraint == "demographic_parity":
            return (self.selected / self.rows,)
        opportunity = self.true / max(self.positives, 1)
        if constraint == "equal_opportunity":
            return (opportunity,)
        return self.false / max(self.negatives, 1), opportunity


@dataclass(frozen=True, eq=False)
class Thresholds:
    """Cuts of each group, and what they reach on the rows that they were chosen on.

    cuts: by group. rates: expected, shape (groups, rates): selection rate, or true positive rate,
    or false and true positive rate. accuracy: expected share of right answers.
    """

    cuts: tuple[tuple[Cut, ...], ...]
    rates: FloatArray
    accuracy: float

    @property
    def gap(self) -> float:
        """How far groups lie apart, in the rate in which they do so most."""
        return float((self.rates.max(axis=0) - self.rates.min(axis=0)).max())


def choose_thresholds(
    scores: FloatArray,
    labels: BoolArray,
    groups: IntArray,
    constraint: Parity,
    *,
    draws: bool = True,
    within: float = 0.01,
    names: Sequence[object] | None = None,
) -> Thresholds:
    """Return the thresholds under which groups are alike and most answers are right.

    scores: the higher, the likelier positive, shape (n,). labels: whether a row is positive.
    groups: numbers from 0, shape (n,). within: how far rates may lie apart without draws, where any
    thresholds bring them so near. names: of groups, for errors.
    Raises DataError where there is one group only, or a group has too few rows to take a rate of.
    """
    curves = [_curve(scores[groups == g], labels[groups == g]) for g in range(_count(groups))]
    require_groups(len(curves))
    _require_rows(curves, constraint, names or range(len(curves)))
    if not draws:
        return _single(curves, constraint, within)
    return _odds(curves) if constraint == "equalized_odds" else _one_rate(curves, constraint)


def _count(groups: IntArray) -> int:
    return int(groups.max(initial=-1)) + 1


def _curve(scores: FloatArray, labels: BoolArray) -> Curve:
    order = np.argsort(-scores, kind="stable")
    ordered, positive = scores[order], labels[order]
    true = np.concatenate([[0], np.cumsum(positive)]).astype(np.float64)
    selected = np.arange(len(scores) + 1, dtype=np.float64)
    ends = np.concatenate([[np.inf], ordered, [-np.inf]])
    # Between equal scores no threshold fits; half-way, so that rounding elsewhere turns no answer.
    fits = ends[:-1] > ends[1:]
    with np.errstate(invalid="ignore"):
        cuts = np.where(np.isinf(ends[:-1]) | np.isinf(ends[1:]), ends[:-1] + ends[1:],
                        (ends[:-1] + ends[1:]) / 2)  # fmt: skip
    cuts[0], cuts[-1] = np.inf, -np.inf
    return Curve(
        cuts[fits], selected[fits], true[fits], (selected - true)[fits],
        int(labels.sum()), int((~labels).sum()),
    )  # fmt: skip


def _require_rows(curves: Sequence[Curve], constraint: Parity, names: Sequence[object]) -> None:
    for curve, name in zip(curves, names, strict=True):
        needed = {"rows": curve.rows}
        if constraint != "demographic_parity":
            needed = {"positives": curve.positives}
        if constraint == "equalized_odds":
            needed["negatives"] = curve.negatives
        for what, count in needed.items():
            if count < LEAST_ROWS:
                raise DataError(
                    text(f"error.mitigation.{what}", group=name, rows=count, least=LEAST_ROWS),
                    fix=text("error.mitigation.rows.fix"),
                )


# -- one rate --------------------------------------------------------------------------------------


def _one_rate(curves: Sequence[Curve], constraint: Parity) -> Thresholds:
    hulls = [_hull(curve.rates(constraint)[0], curve.right) for curve in curves]
    places = [(curve.rates(constraint)[0][h], curve.right[h])
              for curve, h in zip(curves, hulls, strict=True)]  # fmt: skip
    # The sum of concave lines with corners is greatest at one of their corners.
    tries = np.unique(np.concatenate([x for x, _ in places]))
    right = np.sum([np.interp(tries, x, y) for x, y in places], axis=0)
    best = float(tries[int(right.argmax())])
    cuts = tuple(_mixed(curve.cuts[h], x, best) for curve, h, (x, _) in
                 zip(curves, hulls, places, strict=True))  # fmt: skip
    rows = sum(curve.rows for curve in curves)
    return Thresholds(cuts, np.full((len(curves), 1), best), float(right.max()) / rows)


def _hull(x: FloatArray, y: FloatArray) -> IntArray:
    """Return the places on the upper concave hull of points, by rising x."""
    order = np.lexsort((-y, x))
    kept: list[int] = []
    for place in order.tolist():
        if kept and x[kept[-1]] == x[place]:
            continue
        while len(kept) > 1 and _turns_left(x, y, kept[-2], kept[-1], place):
            kept.pop()
        kept.append(place)
    return np.array(kept, dtype=np.int64)


def _turns_left(x: FloatArray, y: FloatArray, a: int, b: int, c: int) -> bool:
    """Whether b lies on or below the line from a to c."""
    return bool((x[b] - x[a]) * (y[c] - y[a]) - (y[b] - y[a]) * (x[c] - x[a]) >= 0)


def _mixed(cuts: FloatArray, x: FloatArray, at: float) -> tuple[Cut, ...]:
    """Return the draw between two corners of a hull that reaches a rate."""
    above = int(np.clip(np.searchsorted(x, at), 1, len(x) - 1))
    low, high = x[above - 1], x[above]
    share = float(np.clip((high - at) / (high - low), 0.0, 1.0))
    return _compact(((share, float(cuts[above - 1])), (1 - share, float(cuts[above]))))


def _compact(cuts: Sequence[Cut]) -> tuple[Cut, ...]:
    """Return the cuts that are drawn at all, their shares summing to 1."""
    kept = [cut for cut in cuts if cut[0] > 1e-12]
    total = sum(share for share, _ in kept)
    return tuple((share / total, cut) for share, cut in kept)


# -- equalised odds --------------------------------------------------------------------------------


def _odds(curves: Sequence[Curve]) -> Thresholds:
    hulls = []
    for curve in curves:
        false, true = curve.rates("equalized_odds")
        corners = _hull(false, true)
        hulls.append((false[corners], true[corners], curve.cuts[corners]))
    tries = _corners([(x, y) for x, y, _ in hulls])
    lowest = np.min([np.interp(tries, x, y) for x, y, _ in hulls], axis=0)
    positives = sum(curve.positives for curve in curves)
    negatives = sum(curve.negatives for curve in curves)
    right = positives * lowest + negatives * (1 - tries)
    best = int(right.argmax())
    at, reach = float(tries[best]), float(lowest[best])
    cuts = []
    for x, y, own in hulls:
        reached = float(np.interp(at, x, y))
        # By chance: positive as often as the false positive rate says, whoever it is.
        chance = (reached - reach) / (reached - at) if reached > reach else 0.0
        drawn = [((1 - chance) * share, cut) for share, cut in _mixed(own, x, at)]
        drawn += [(chance * at, -np.inf), (chance * (1 - at), np.inf)]
        cuts.append(_compact(drawn))
    rates = np.tile([at, reach], (len(curves), 1))
    return Thresholds(tuple(cuts), rates, float(right[best]) / (positives + negatives))


def _corners(hulls: Sequence[tuple[FloatArray, FloatArray]]) -> FloatArray:
    """Return the places of all corners of hulls, and of where two of them cross."""
    places = np.unique(np.concatenate([x for x, _ in hulls]))
    values = [np.interp(places, x, y) for x, y in hulls]
    found = [places]
    for one, other in combinations(values, 2):
        apart = one - other
        crossed = np.flatnonzero(apart[:-1] * apart[1:] < 0)
        share = apart[crossed] / (apart[crossed] - apart[crossed + 1])
        found.append(places[crossed] + share * (places[crossed + 1] - places[crossed]))
    return np.unique(np.concatenate(found))


# -- without draws ---------------------------------------------------------------------------------


def _single(curves: Sequence[Curve], constraint: Parity, within: float) -> Thresholds:
    """Return one threshold a group: near one common point, of all that are tried the best."""
    rates = [np.stack(curve.rates(constraint), axis=1) for curve in curves]
    targets = np.unique(np.concatenate([*rates, _pooled(curves, constraint)]), axis=0)
    if len(targets) > MOST_TARGETS:
        targets = targets[np.linspace(0, len(targets) - 1, MOST_TARGETS).astype(int)]
    chosen = np.stack([_nearest(own, targets) for own in rates], axis=1)
    reached = np.stack([own[chosen[:, g]] for g, own in enumerate(rates)], axis=1)
    gaps = (reached.max(axis=1) - reached.min(axis=1)).max(axis=1)
    right = np.sum([curve.right[chosen[:, g]] for g, curve in enumerate(curves)], axis=0)
    near = gaps <= max(within, float(gaps.min()))
    best = int(np.where(near, right, -np.inf).argmax())
    cuts = tuple(((1.0, float(c.cuts[chosen[best, g]])),) for g, c in enumerate(curves))
    rows = sum(curve.rows for curve in curves)
    return Thresholds(cuts, reached[best], float(right[best]) / rows)


def _nearest(own: FloatArray, targets: FloatArray) -> IntArray:
    """Return, for each target, the threshold whose rates lie nearest to it."""
    return np.array(
        [np.abs(own - target).max(axis=1).argmin() for target in targets], dtype=np.int64
    )


def _pooled(curves: Sequence[Curve], constraint: Parity) -> FloatArray:
    """Return points half-way between the groups' own curves, which all can come near to."""
    grid = np.linspace(0, 1, 101)
    if constraint != "equalized_odds":
        return grid[:, None]
    found = []
    for curve in curves:
        false, true = curve.rates(constraint)
        found.append(np.interp(grid, false, true))
    return np.stack([grid, np.mean(found, axis=0)], axis=1)
