"""What would let a limit be told that cannot be: rows to label, processes to time, what is missing.

For each such limit possible futures are drawn from what is known now (`measure/power.py`,
`next_futures.py`), at the level of the next test opening. Where ten times the rows would still
not pass, more rows are not advised: the candidate has to change (`next_plan.py` says into what).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shipworthy.core.openings import MOST_OPENINGS
from shipworthy.core.records import Decision, Outcome
from shipworthy.measure.catalogue import MEASURES
from shipworthy.measure.decide import Evidence, opening_alpha
from shipworthy.measure.estimates import Fact, Mean, Unmeasured
from shipworthy.measure.power import DECIDED
from shipworthy.release.judgement import NextStep, Phrase
from shipworthy.release.next_futures import process_futures, row_futures
from shipworthy.release.next_prices import PriceSettings, ranked
from shipworthy.release.next_words import said, told
from shipworthy.release.wording import about

if TYPE_CHECKING:
    from collections.abc import Mapping

LIKELY = DECIDED
"""Chance of a decision from which more rows are worth their cost."""

FAR = 10
"""Multiple of the rows at hand beyond which more rows are not advised."""

MOST_STEPS = 3
MOST_TRIED = 6
"""Blocking slices at each end, fewest and most rows needed, whose futures are drawn."""


@dataclass(frozen=True)
class Clock:
    """What timing took: seconds of one process of each candidate, and how many there were."""

    seconds: float
    processes: int

    def minutes(self, processes: int) -> float:
        """Return the minutes that a timing of so many processes takes, requests as in full."""
        return self.seconds * processes / 60


UNTIMED = Clock(0.0, 0)


def next_steps(
    candidate: str,
    name: str,
    decisions: Sequence[Decision],
    evidence: Sequence[Evidence],
    *,
    confidence: float,
    opening: int,
    prices: PriceSettings | None = None,
    clock: Clock = UNTIMED,
) -> tuple[NextStep, ...]:
    """Return what would bring a candidate that cannot be told nearer to a verdict, cheapest first.

    candidate: its id; name: for people. decisions: all of the candidate; evidence: what they were
    made from; opening: the present one; clock: what a full timing takes.
    """
    alpha = opening_alpha((1 - confidence) / 2, opening + 1)
    found = _by_place(evidence)
    family = max(sum(not math.isnan(d.p_fail) for d in decisions), 1)
    # After the last look, rows beside the old ones decide nothing any more.
    worn = opening >= MOST_OPENINGS
    steps, blocked = [], False
    for decision in _worth_a_look(decisions):
        step = _step(name, decision, *found[place(decision)], alpha, family, worn, clock)
        blocked = blocked or step.phrase.key.startswith("next.change")
        steps.append(step)
    if blocked:
        # Labels for other groups are wasted while one group cannot pass whatever is labelled.
        steps = [s for s in steps if s.phrase.key.startswith("next.change")]
    unique = {(s.phrase.key, str(dict(s.phrase.arguments))): s for s in steps}
    return ranked(unique.values(), prices or PriceSettings())[:MOST_STEPS]


def _worth_a_look(decisions: Sequence[Decision]) -> list[Decision]:
    """Return the decisions that block, in their order; of very many those at both ends.

    Futures cost time: the slices that need fewest rows say what is cheapest, those that need most
    whether the candidate can pass at all.
    """
    blocking = [
        d
        for d in decisions
        if d.decision is Outcome.CANNOT_TELL and d.tier != "advisory" and d.unknown == "block"
    ]
    if len(blocking) <= 2 * MOST_TRIED:
        return blocking

    def share(decision: Decision) -> float:
        needed = math.inf if decision.n_needed is None else decision.n_needed
        return needed / max(decision.n, 1)

    ordered = sorted(blocking, key=share)
    return ordered[:MOST_TRIED] + ordered[-MOST_TRIED:]


def _step(
    name: str, decision: Decision, item: Evidence, k: int, alpha: float, family: int, worn: bool,
    clock: Clock,
) -> NextStep:  # fmt: skip
    candidate, words = decision.candidate, told(name, decision)
    nothing = decision.reason in _NO_NUMBER
    if _is_timed(item) and not nothing:
        return _timing(decision, item, words, alpha, family, clock)
    if decision.reason == "worn_out" or (worn and not nothing):
        half = math.ceil(decision.n / 2)
        return NextStep(candidate, Phrase("next.new_test_rows"), math.nan, math.nan, half)
    future = None if nothing else row_futures(item, k, alpha, family)
    if future is None:
        return _without_futures(decision, item, words)
    if future.hopeless:
        share = float(future.p_pass[-1])
        return NextStep(candidate, said("next.change", words), math.nan, share)
    needed = future.needed if future.needed is not None else int(future.rows[-1])
    passes, fails = future.at(needed)
    key = "next.label" if passes + fails >= LIKELY else "next.label_far"
    phrase = said(key, {**words, "rows": about(needed)})
    step = NextStep(candidate, phrase, passes + fails, passes, needed)
    return _narrowed(step, decision, decision.n / (decision.n + needed) if decision.n else 1.0)


def _narrowed(step: NextStep, decision: Decision, share: float) -> NextStep:
    """Add what the action leaves of the interval: the value of today, known better."""
    root = math.sqrt(share)
    return replace(
        step,
        effect=decision.value,
        effect_low=decision.value - root * (decision.value - decision.low),
        effect_high=decision.value + root * (decision.high - decision.value),
        effect_measure=decision.measure,
    )


def _timing(
    decision: Decision, item: Evidence, words: Mapping[str, str | Phrase], alpha: float,
    family: int, clock: Clock,
) -> NextStep:  # fmt: skip
    """More processes, with what they are likely to say; a new timing wears out no test row."""
    estimate, candidate = item.estimate, decision.candidate
    assert isinstance(estimate, Mean)
    # Rows were not looked at, so the level is that of this opening, not of the next.
    future = process_futures(estimate, item.bound, item.limit.side, alpha=2 * alpha, family=family)
    if decision.reason == "too_few_processes" or future is None:
        minutes = clock.minutes(_FULL_PROCESSES)
        key = "next.full_timing.minutes" if minutes else "next.full_timing"
        chance = (math.nan, math.nan)
        if future is not None:
            chance = (future.p_pass + future.p_fail, future.p_pass)
        phrase = said(key, {**words, "minutes": _minutes(minutes)})
        return NextStep(candidate, phrase, *chance, cost_minutes=minutes)
    minutes = clock.minutes(future.processes)
    key = "next.processes.minutes" if minutes else "next.processes"
    phrase = said(key, {**words, "processes": future.processes, "minutes": _minutes(minutes)})
    step = NextStep(
        candidate, phrase, future.p_pass + future.p_fail, future.p_pass, cost_minutes=minutes
    )
    return _narrowed(step, decision, (float(estimate.df[0]) + 1) / future.processes)


_FULL_PROCESSES = 7


def _minutes(minutes: float) -> str:
    return f"{minutes:.0f}" if minutes >= 10 else f"{minutes:.1f}"


def _without_futures(
    decision: Decision, item: Evidence, words: Mapping[str, str | Phrase]
) -> NextStep:
    """Steps for what cannot be drawn: measure it, or the plug-in figure."""
    candidate, rows = decision.candidate, 0
    if decision.reason in _NO_NUMBER:
        key = _NO_NUMBER[decision.reason]
    elif isinstance(item.estimate, Unmeasured | Fact) or math.isnan(decision.value):
        key = "next.measure"
    elif decision.n_needed is None or decision.n_needed > FAR * decision.n:
        key = "next.change"
    else:
        # The plug-in figure takes what was seen for the truth and so is the least that decides.
        key, rows = "next.label_least", max(decision.n_needed - decision.n, 1)
        words = {**words, "rows": about(rows)}
    return NextStep(candidate, said(key, words), math.nan, math.nan, rows)


_NO_NUMBER = {
    "no_data": "next.no_rows",
    "no_scores": "next.scores",
    "no_positive_class": "next.positive",
    "not_measured": "next.measure",
    "licence_unknown": "next.licence_unknown",
}
"""The step for each reason why there is no number."""


def _is_timed(item: Evidence) -> bool:
    return isinstance(item.estimate, Mean) and MEASURES[item.limit.measure].kind == "speed"


def place(decision: Decision) -> tuple[int, str]:
    """Return what names a decision among those of its candidate: limit and slice."""
    return decision.limit, decision.slice


def _by_place(evidence: Sequence[Evidence]) -> dict[tuple[int, str], tuple[Evidence, int]]:
    return {
        (item.index, one.json): (item, k) for item in evidence for k, one in enumerate(item.slices)
    }
