"""What one limit says about one candidate: the slice that decided, and how much room is left.

It decides nothing: each outcome is the one in the judgement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from shipworthy.core.records import (
    SMALL,
    WAIVED,
    Answer,
    Decision,
    Limit,
    Outcome,
    Slice,
    Verdict,
)
from shipworthy.release.display import Shown, shown

RANK = {Outcome.FAIL: 0, Outcome.CANNOT_TELL: 1, Outcome.PASS: 2}


@dataclass(frozen=True)
class LimitRow:
    """What one limit says about one candidate: the child that decided it, and all its children."""

    limit: Limit
    decision: Decision
    children: tuple[Decision, ...]
    uncovered: tuple[Decision, ...]
    """Children that were reported beside the verdict instead of entering it."""
    parent: float
    """Where the parent stands on the same scale; NaN where it does not."""

    @property
    def outcome(self) -> Outcome:
        """Worst outcome of the slices that enter the verdict."""
        return self.decision.decision

    @property
    def counts(self) -> bool:
        """Whether the limit enters the verdict: not advisory, waived or only disclosed."""
        if self.limit.tier == "advisory" or self.decision.reason == WAIVED:
            return False
        return len(self.uncovered) < len(self.children)

    @property
    def form(self) -> Shown:
        """How its numbers are shown."""
        return form_of(self.decision)

    @property
    def slice(self) -> Slice:
        """The rows that decided."""
        return Slice.parse(self.decision.slice)

    @property
    def known(self) -> bool:
        """Whether there is a number at all."""
        return not math.isnan(self.decision.value)

    @property
    def room(self) -> float:
        """From the bad end of the interval to the limit, positive inside; stored scale."""
        return room_of(self.decision)

    @property
    def closeness(self) -> float:
        """Room over the distance from limit to parent, so that limits can be compared."""
        d = self.decision
        scale = abs(self.parent - d.bound)
        if not scale > 0:
            scale = abs(d.bound) or (d.high - d.low) or 1.0
        return self.room / scale if not math.isnan(self.room) else -math.inf


def form_of(decision: Decision) -> Shown:
    """Return how the numbers of a decision are shown."""
    return shown(
        decision.measure,
        relative=decision.relative_to != "none",
        value_unit=decision.value_unit,
    )


def orientation(decision: Decision) -> int:
    """Return +1 where more is inside the limit (at_least), -1 for at_most."""
    return 1 if decision.side == "at_least" else -1


def bad_end(decision: Decision) -> float:
    """Return the end of the interval that lies towards the limit's outside."""
    return decision.low if decision.side == "at_least" else decision.high


def good_end(decision: Decision) -> float:
    """Return the end of the interval that lies towards the limit's inside."""
    return decision.high if decision.side == "at_least" else decision.low


def room_of(decision: Decision) -> float:
    """Return the distance from the bad end to the limit, positive inside; stored scale."""
    return orientation(decision) * (bad_end(decision) - decision.bound)


def deciding(children: Sequence[Decision]) -> Decision:
    """Return the child that decides its limit.

    Worst outcome first; among these the lowest value (in the direction of the limit), or, when all
    pass, the bad end nearest to the limit. A child without a number comes after those with one.
    """

    def place(d: Decision) -> tuple[int, bool, float]:
        key = room_of(d) if d.decision is Outcome.PASS else orientation(d) * d.value
        return RANK[d.decision], math.isnan(key), 0.0 if math.isnan(key) else key

    return min(children, key=place)


def uncovered(decision: Decision, verdict: Verdict | None) -> bool:
    """Say whether a cannot tell was reported beside the verdict instead of entering it.

    So it is with `unknown: disclose`, and with slices too small to decide where the policy reports
    those; the reasons that did enter an undecided verdict stand in the verdict.
    """
    if decision.decision is not Outcome.CANNOT_TELL or decision.tier == "advisory":
        return False
    if decision.reason == WAIVED:
        return False
    if decision.unknown == "disclose":
        return True
    if verdict is None or decision.reason not in SMALL:
        return False
    if verdict.answer is Answer.HOLD:
        return len(Slice.parse(decision.slice).columns) > 1
    return verdict.answer is Answer.SHIP or decision.reason not in verdict.reasons
