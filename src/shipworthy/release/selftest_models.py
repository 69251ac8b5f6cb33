"""The models that the self-test plants: answers and scores made up on made-up rows.

Every combination of group values has the same rows, and each kind of wrong answer lies evenly in
all of them, so that nothing but the planted harm tells one group from another.

    wrong          right answers turned wrong               missed   positives answered negative
    alarms         negatives answered positive              churning other answers, as many right
    stale          the parent's answers, nothing gained     random   answers by the toss of a coin
    overconfident  sure of each answer, right or wrong      misscored scores turned round
    beyond         a time, a rate or a size beyond its limit
    garbled        answers and likelihoods of a language model that are no longer of use
    off            numbers too high or too low
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from shipworthy.core.records import Candidate, Limit
from shipworthy.measure.catalogue import MEASURES, NUMBER
from shipworthy.release.policy_fit import columns_of
from shipworthy.release.ruler import Subject
from shipworthy.release.selftest_pair import Pair
from shipworthy.release.selftest_values import RowValues

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from shipworthy.model.predictions import Predictions
    from shipworthy.release.selftest_numbers import Numbers

    BoolArray: TypeAlias = NDArray[np.bool_]
    FloatArray: TypeAlias = NDArray[np.float64]

Family: TypeAlias = Literal[
    "wrong", "missed", "alarms", "churning", "stale", "random", "overconfident", "misscored",
    "beyond", "garbled", "off",
]  # fmt: skip

SHARES = (0.1, 0.25, 0.5, 1.0)
"""Shares of answers or scores that are harmed, tried in turn until a limit says no."""

FAMILIES: dict[str, tuple[Family, ...]] = {
    "accuracy": ("wrong",),
    "balanced_accuracy": ("wrong",),
    "f1": ("wrong",),
    "precision": ("alarms", "wrong"),
    "recall": ("missed",),
    "log_loss": ("overconfident", "misscored"),
    "brier_score": ("overconfident", "misscored"),
    "auc": ("misscored",),
    "expected_calibration_error": ("overconfident", "misscored"),
    "selection_rate": ("missed", "alarms"),
    "true_positive_rate": ("missed",),
    "false_positive_rate": ("alarms",),
    "true_negative_rate": ("alarms",),
    "false_negative_rate": ("missed",),
    "negative_predictive_value": ("missed", "wrong"),
    "turned_wrong": ("churning", "wrong"),
    "turned_right": ("churning", "stale"),
    "accuracy_difference": ("wrong",),
    "statistical_parity_difference": ("missed", "alarms"),
    "disparate_impact_ratio": ("missed", "alarms"),
    "equal_opportunity_difference": ("missed",),
    "equalized_odds_difference": ("missed", "alarms"),
    "false_positive_rate_difference": ("alarms",),
    "false_negative_rate_difference": ("missed",),
    "predictive_parity_difference": ("alarms",),
}
FAMILIES |= {measure: ("garbled",) for measure, kind in MEASURES.items() if kind.values}
FAMILIES |= {measure: ("off",) for measure, kind in MEASURES.items() if kind.values == NUMBER}
"""Which models break a limit on a measure; those on times and sizes are broken by `beyond`."""

_WHOLE: tuple[Family, ...] = ("overconfident", "churning", "stale", "beyond")
_VALUES = ("a", "b", "c", "d")
_MOST_CELLS = 256
_SEED = 20_260_101
_BAND = 1e-4
_GOLDEN, _PLASTIC = 0.6180339887498949, 0.7548776662466927
"""Multiples of these, less their whole part, lie evenly and know nothing of each other."""


@dataclass(frozen=True)
class Plant:
    """What is wrong with a planted model. where: column and value of the rows; () is all of them.

    share: of the answers or scores concerned. limit: place of the one exceeded, for `beyond`. low:
    whether numbers are too low, not too high, for `off`.
    """

    family: Family
    share: float = 1.0
    where: tuple[tuple[str, str], ...] = ()
    limit: int = -1
    low: bool = False

    @property
    def whole(self) -> bool:
        """Whether the family knows no more and less of it."""
        return self.family in _WHOLE


class Rows:
    """Made-up rows with the group columns of a policy, and models on them.

    per_group: rows of each value of a column (about; limits on crossings see fewer).
    """

    def __init__(
        self, limits: Sequence[Limit], columns: Sequence[str], pair: Pair, per_group: int
    ) -> None:
        import polars as pl

        self.pair = pair
        self.levels = {column: _values(limits, column) for column in columns}
        levels = list(self.levels.values())
        widest = max(map(len, levels))
        cells = list(product(*levels)) if np.prod([len(v) for v in levels]) <= _MOST_CELLS else []
        each = max(-(-per_group * widest // max(len(cells), 1)), 1)
        n = each * max(len(cells), 1)
        generator = np.random.default_rng(_SEED)
        data: dict[str, pl.Series] = {}
        for k, (column, values) in enumerate(zip(columns, levels, strict=True)):
            codes = np.arange(n) % len(values)
            if cells:
                codes = np.repeat([values.index(cell[k]) for cell in cells], each)
            else:
                codes = generator.permutation(codes)
            data[column] = pl.Series(column, np.array(values, dtype=object)[codes], pl.String)
        self.frame = pl.DataFrame(data)
        place = np.arange(each)
        positives = round(each * pair.positives)
        positive = place < positives
        rank = np.where(positive, place, place - positives)
        size = np.where(positive, positives, each - positives)
        copies = n // each
        self.labels = np.tile(positive.astype(np.int64), copies)
        self._depth: FloatArray = np.tile((rank + 0.5) / np.maximum(size, 1), copies)
        self._first: FloatArray = np.tile((rank + 0.5) * _GOLDEN % 1, copies)
        self._second: FloatArray = np.tile((rank + 0.5) * _PLASTIC % 1, copies)
        self._order = generator.permutation(n)
        self._values = RowValues(limits, self._second)
        self._masks: dict[tuple[tuple[str, str], ...], BoolArray] = {}

    def parent(self, numbers: Numbers) -> Subject:
        """Return the parent."""
        right = self._depth >= self._errors() + self._gains()
        sure = self._sure(right, self.pair.doubt)
        return self._subject("parent", right, sure, numbers, values=self._values.of(0))

    def good(self, numbers: Numbers) -> Subject:
        """Return the good candidate: better where a limit asks for it, and a few flips."""
        right = self._good()
        return self._subject("good", right, self._sure(right), numbers, values=self._values.of(1))

    def planted(self, plant: Plant, numbers: Numbers) -> Subject:
        """Return the good candidate with something wrong with it."""
        good, where = self._good(), self._where(plant.where)
        positive, harmed = self.labels == 1, where & (self._first < plant.share)
        sure, right = self._sure(good), good
        turned, values = None, self._values.of(1)
        match plant.family:
            case "wrong":
                right = good & ~harmed
            case "missed":
                right = good & ~(harmed & positive)
            case "alarms":
                right = good & ~(harmed & ~positive)
            case "random":
                right = np.where(where, self._first < 0.5, good)
                values = self._values.of(1, where)
            case "garbled" | "off":
                values = self._values.of(1, harmed, low=plant.low)
            case "stale":
                right = self._depth >= self._errors() + self._gains()
            case "churning":
                right = np.where(where, self._churned(), good)
            case "overconfident":
                sure = np.where(where, 1 - 1e-7, sure)
            case "misscored":
                turned = harmed
        return self._subject(_name(plant), right, sure, numbers, turned, values)

    def _errors(self) -> FloatArray:
        return np.asarray(self.pair.errors)[self.labels]

    def _gains(self) -> FloatArray:
        return np.asarray(self.pair.gains)[self.labels]

    def _good(self) -> BoolArray:
        parent, flips = self._errors() + self._gains(), self.pair.flips
        gained = self._depth < self._gains()
        turned_right = (self._depth < self._gains() + flips) & (self._depth < parent)
        return ((self._depth >= parent) & (self._depth <= 1 - flips)) | gained | turned_right

    def _churned(self) -> BoolArray:
        """Return answers as often right as the parent's, all its wrong ones turned right."""
        wrong = self._errors() + self._gains()
        lost = wrong / np.maximum(1 - wrong, 1e-9)
        return (self._depth < wrong) | (self._second >= lost)

    def _sure(self, right: BoolArray, doubt: float = 0.0) -> FloatArray:
        """Return how sure a model is of its answers: as sure as it is right on the whole.

        A narrow band, so that ranks differ and nothing rests on ties.
        """
        band = right.mean() + doubt + np.linspace(-_BAND, _BAND, len(right))[self._order]
        return np.asarray(np.clip(band, 0.5, 1 - 1e-6))

    def _where(self, conditions: tuple[tuple[str, str], ...]) -> BoolArray:
        if conditions not in self._masks:
            mask = np.ones(self.frame.height, dtype=bool)
            for column, value in conditions:
                mask &= (self.frame[column] == value).to_numpy()
            self._masks[conditions] = mask
        return self._masks[conditions]

    def _subject(
        self,
        name: str,
        right: BoolArray,
        sure: FloatArray,
        numbers: Numbers,
        turned: BoolArray | None = None,
        values: Mapping[str, FloatArray] | None = None,
    ) -> Subject:
        candidate = Candidate(name, "predictions", artefact_digest=name)
        answers = replace(self._answers(name, right, sure, turned), values=values or {})
        return Subject(candidate, answers, numbers)

    def _answers(
        self, name: str, right: BoolArray, sure: FloatArray, turned: BoolArray | None
    ) -> Predictions:
        from shipworthy.model.predictions import Predictions

        predicted = np.where(right, self.labels, 1 - self.labels)
        scores = np.where(predicted == 1, sure, 1 - sure)
        if turned is not None:
            scores = np.where(turned, 1 - scores, scores)
        return Predictions(
            name=name, file=name, classes=("0", "1"), positive="1", labels=self.labels,
            predicted=predicted, scores=scores[:, None], scored=("1",), frame=self.frame, ids=None,
            label="label", id=None, groups=tuple(self.frame.columns), unit=None, digest=name,
        )  # fmt: skip


def plants(limit: Limit, place: int, levels: Mapping[str, Sequence[str]]) -> Iterator[Plant]:
    """Yield what may break a limit, the mildest first.

    place: of the limit in the policy. levels: values of each group column.
    """
    kind = MEASURES[limit.measure].kind
    if kind in ("speed", "fact", "probe"):
        yield Plant("beyond", limit=place)
        return
    where = _harmed(limit, levels)
    for family in FAMILIES[limit.measure]:
        if family in _WHOLE:
            yield Plant(family, where=where)
        else:
            low = limit.measure == "mean_error" and limit.side == "at_least"
            yield from (Plant(family, share, where, low=low) for share in SHARES)


def _harmed(limit: Limit, levels: Mapping[str, Sequence[str]]) -> tuple[tuple[str, str], ...]:
    """Return the rows that are harmed: one group or crossing where a limit looks at groups."""
    if not looks_at_groups(limit):
        return ()
    if isinstance(limit.slices, str):
        column, values = next(iter(levels.items()))
        return ((column, values[0]),)
    if "each" in limit.slices:
        return tuple((column, levels[column][0]) for column in columns_of(limit))
    return tuple((c, as_text(v)) for c, v in limit.slices.items())


def looks_at_groups(limit: Limit) -> bool:
    """Say whether a limit would see that one group is treated unlike the others."""
    return limit.slices != "all" or MEASURES[limit.measure].kind == "spread"


def _values(limits: Sequence[Limit], column: str) -> list[str]:
    """Return the values of a column: those that limits name, and some more."""
    named = [
        as_text(li.slices[column])
        for li in limits
        if not isinstance(li.slices, str) and column in li.slices
    ]
    return list(dict.fromkeys([*named, *_VALUES]))[: max(len(_VALUES), len(set(named)))]


def as_text(value: object) -> str:
    """Return a value of a slice as the ruler compares it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _name(plant: Plant) -> str:
    where = ",".join(f"{c}={v}" for c, v in plant.where)
    return f"{plant.family} {plant.share:g} {where} {plant.limit}"
