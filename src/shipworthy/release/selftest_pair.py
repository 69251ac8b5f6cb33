"""What a parent and a good candidate must be like to keep every limit of a policy with room.

The self-test makes both up. A legitimate policy must let such a good candidate ship, so that its
share of positives, its errors and what it gained over its parent follow from the bounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from shipworthy.core.records import Limit
from shipworthy.measure.catalogue import MEASURES

ERROR = 0.05
"""Share of wrong answers where no limit asks for fewer."""

ROOM = 4.0
"""A good candidate has this many times fewer errors than the strictest limit allows."""

GAIN = 3.0
"""A good candidate gains this many times what a limit asks for."""

FLIPS = 0.001
"""Share of rows that a good candidate turns each way, unless limits ask for fewer."""

_ERRORS = {"false_positive_rate": 1.0, "brier_score": 1.0, "log_loss": 0.3}
"""Measures that fall to 0 with the share of wrong answers, and that share per unit of them."""

_GAINED = (
    "accuracy", "balanced_accuracy", "f1", "precision", "recall", "true_positive_rate", "auc",
    "turned_right",
)  # fmt: skip
_LOST = ("log_loss", "brier_score", "false_positive_rate")


@dataclass(frozen=True)
class Pair:
    """A parent and a good candidate. All are shares in [0, 1].

    positives: of the rows. errors: of the negatives and of the positives that the candidate
    answers wrong. gains: of each that the parent answers wrong besides. flips: of the rows that
    turn each way. doubt: by how much the parent is surer (negative: less sure) than it is right.
    """

    positives: float
    errors: tuple[float, float]
    gains: tuple[float, float]
    flips: float
    doubt: float


def fitting_pair(limits: Sequence[Limit]) -> Pair:
    """Return a pair that keeps the limits; their bounds are numbers."""
    positives = _positives(limits)
    errors = _errors(limits, positives)
    gains = _gains(limits, positives)
    highest = [0.95 - e for e in errors]
    change = [abs(b) for li, b in _changes(limits) if b and li.measure != "turned_right"]
    asked = [
        b for li, b in _changes(limits, "turned_right") if li.side == "at_least" and b > 0
    ]  # fmt: skip
    doubt = [-b for li, b in _changes(limits, "expected_calibration_error") if b < 0]
    return Pair(
        positives=positives,
        errors=errors,
        gains=(min(gains[0], highest[0]), min(gains[1], highest[1])),
        flips=min([FLIPS, min(errors) / 4, *(m / 10 for m in change), *(b / 10 for b in asked)]),
        doubt=-min(GAIN * max(doubt, default=0.0), 0.4),
    )


def churned_pair(pair: Pair, bound: float) -> Pair:
    """Return a pair whose parent is wrong often enough that more than `bound` of it can turn."""
    error = min(1.6 * max(bound, ERROR), 0.45)
    return replace(pair, errors=(error, error), gains=(0.0, 0.0))


def _changes(limits: Sequence[Limit], *measures: str) -> Iterator[tuple[Limit, float]]:
    for li in limits:
        quality = MEASURES[li.measure].kind == "quality"
        if quality and li.relative_to == "parent" and (not measures or li.measure in measures):
            yield li, float(li.bound)


def _levels(limits: Sequence[Limit]) -> Iterator[tuple[Limit, float]]:
    for li in limits:
        if MEASURES[li.measure].kind == "quality" and li.relative_to == "none":
            yield li, float(li.bound)


def _positives(limits: Sequence[Limit]) -> float:
    """Return a share of positives well inside all limits on the selection rate."""
    low, high = 0.0, 1.0
    for li, bound in _levels(limits):
        if li.measure != "selection_rate":
            continue
        if li.side == "at_least":
            low = max(low, bound)
        else:
            high = min(high, bound)
    if not 0 <= low < high <= 1:
        return 0.5
    edge = (high - low) / 4
    return min(max(0.5, low + edge), high - edge)


def _errors(limits: Sequence[Limit], positives: float) -> tuple[float, float]:
    """Return the error of each class: the rarer has more, so that as many rows turn either way."""
    room = [1.0]
    for li, bound in _levels(limits):
        if li.measure == "selection_rate":
            continue
        if MEASURES[li.measure].better == "high" and li.side == "at_least" and bound < 1:
            room.append(1 - bound)
        elif li.measure in _ERRORS and bound > 0:
            room.append(bound * _ERRORS[li.measure])
    error = min(ERROR, min(room) / ROOM)
    rarer = min(positives, 1 - positives)
    other = error * rarer / (1 - rarer)
    return (other, error) if positives <= 0.5 else (error, other)


def _gains(limits: Sequence[Limit], positives: float) -> tuple[float, float]:
    """Return how much of each class the candidate has to gain on its parent."""
    asked = [b for li, b in _changes(limits, *_GAINED) if li.side == "at_least"]
    asked += [-b for li, b in _changes(limits, *_LOST) if li.side == "at_most"]
    both = GAIN * max([0.0, *asked])
    negative = positive = both
    for li, bound in _changes(limits, "selection_rate"):
        if li.side == "at_least" and bound > 0:
            positive += GAIN * bound / positives
        elif li.side == "at_most" and bound < 0:
            negative -= GAIN * bound / (1 - positives)
    return negative, positive
