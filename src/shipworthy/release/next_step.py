"""The cheapest action likely to change a verdict.

For each limit that cannot tell, possible futures with more rows are drawn from what is known now
(`measure/power.py`), at the level of the next test opening. Where ten times the rows would still
not pass, more rows are not advised: the candidate has to change.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from shipworthy.core.openings import MOST_OPENINGS
from shipworthy.core.records import Decision, Outcome, Slice
from shipworthy.measure.catalogue import MEASURES
from shipworthy.measure.decide import Evidence, opening_alpha
from shipworthy.measure.effective import jaccard_bound
from shipworthy.measure.estimates import F1Score, Fact, Mean, PairedChange, Rate, Unmeasured
from shipworthy.measure.power import Futures, futures, rate_futures
from shipworthy.release.judgement import NextStep, Phrase
from shipworthy.release.wording import about

if TYPE_CHECKING:
    from collections.abc import Mapping

LIKELY = 0.8
"""Chance of a decision from which more rows are worth their cost."""

FAR = 10
"""Multiple of the rows at hand beyond which more rows are not advised."""

MOST_STEPS = 3
MOST_TRIED = 6
"""Blocking slices at each end, fewest and most rows needed, whose futures are drawn."""

_SEED = 20_240_229


def next_steps(
    candidate: str,
    name: str,
    decisions: Sequence[Decision],
    evidence: Sequence[Evidence],
    *,
    confidence: float,
    opening: int,
) -> tuple[NextStep, ...]:
    """Return what would bring a candidate that cannot be told nearer to a verdict, cheapest first.

    candidate: its id; name: for people. decisions: all of the candidate; evidence: what they were
    made from; opening: the present one.
    """
    alpha = opening_alpha((1 - confidence) / 2, opening + 1)
    found = _by_place(evidence)
    family = max(sum(not math.isnan(d.p_fail) for d in decisions), 1)
    # After the last look, rows beside the old ones decide nothing any more.
    worn = opening >= MOST_OPENINGS
    steps, blocked = [], False
    for decision in _worth_a_look(decisions):
        step = _step(name, decision, *found[_place(decision)], alpha, family, worn)
        blocked = blocked or step.phrase.key.startswith("next.change")
        steps.append(step)
    if blocked:
        # Labels for other groups are wasted while one group cannot pass whatever is labelled.
        steps = [s for s in steps if s.phrase.key.startswith("next.change")]
    unique = {(s.phrase.key, str(dict(s.phrase.arguments))): s for s in steps}
    return tuple(sorted(unique.values(), key=lambda s: s.cost_rows)[:MOST_STEPS])


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
    name: str, decision: Decision, item: Evidence, k: int, alpha: float, family: int, worn: bool
) -> NextStep:
    candidate, told = decision.candidate, _told(name, decision)
    nothing = decision.reason in _NO_NUMBER
    if decision.reason == "worn_out" or (worn and not nothing):
        return NextStep(candidate, Phrase("next.new_test_rows"), math.nan, math.nan)
    future = None if nothing else _future(item, k, alpha, family)
    if future is None:
        return _without_futures(decision, item, told)
    if future.hopeless:
        share = float(future.p_pass[-1])
        return NextStep(candidate, _phrase("next.change", told), math.nan, share)
    needed = future.needed if future.needed is not None else int(future.rows[-1])
    passes, fails = future.at(needed)
    key = "next.label" if passes + fails >= LIKELY else "next.label_far"
    said = _phrase(key, {**told, "rows": about(needed)})
    return NextStep(candidate, said, passes + fails, passes, needed)


def _without_futures(
    decision: Decision, item: Evidence, told: Mapping[str, str | Phrase]
) -> NextStep:
    """Steps for what is not a share: measure it, time more processes, or the plug-in figure."""
    candidate, rows = decision.candidate, 0
    if decision.reason in _NO_NUMBER:
        key = _NO_NUMBER[decision.reason]
    elif decision.reason == "too_few_processes" or _is_timed(item):
        key = "next.full_timing"
    elif isinstance(item.estimate, Unmeasured | Fact) or math.isnan(decision.value):
        key = "next.measure"
    elif decision.n_needed is None or decision.n_needed > FAR * decision.n:
        key = "next.change"
    else:
        # The plug-in figure takes what was seen for the truth and so is the least that decides.
        key, rows = "next.label_least", max(decision.n_needed - decision.n, 1)
        told = {**told, "rows": about(rows)}
    return NextStep(candidate, _phrase(key, told), math.nan, math.nan, rows)


_NO_NUMBER = {
    "no_data": "next.no_rows",
    "no_scores": "next.scores",
    "no_positive_class": "next.positive",
    "not_measured": "next.measure",
}
"""The step for each reason why there is no number."""


def _is_timed(item: Evidence) -> bool:
    return isinstance(item.estimate, Mean) and MEASURES[item.limit.measure].kind == "speed"


def _told(name: str, decision: Decision) -> dict[str, str | Phrase]:
    """Return what the phrases of a step are told; `what` and `where` are for people."""
    found = Slice.parse(decision.slice)
    where: str | Phrase = str(found)
    if found.columns == ("each",):
        where = Phrase("next.where.every", {"column": str(dict(found.conditions)["each"])})
    what = "level" if decision.relative_to == "none" else "change"
    return {
        "candidate": name,
        "measure": decision.measure,
        "slice": str(found),
        "what": Phrase(f"next.what.{what}", {"measure": decision.measure}),
        "where": where,
    }


def _phrase(key: str, told: Mapping[str, str | Phrase]) -> Phrase:
    """Return the phrase of a step, in the form for a group where it is about one."""
    grouped = bool(told["slice"]) and key in _OF_ROWS
    return Phrase(f"{key}.group" if grouped else key, told)


_OF_ROWS = ("next.change", "next.label", "next.label_far", "next.label_least", "next.no_rows")


def _future(item: Evidence, k: int, alpha: float, family: int) -> Futures | None:
    estimate, bound, side = item.estimate, item.bound, item.limit.side
    if isinstance(estimate, PairedChange):
        lost, gained = _at(estimate.lost, k), _at(estimate.gained, k)
        if side == "at_most":
            lost, gained, bound = gained, lost, -bound
        return futures(
            lost, gained, _at(estimate.n, k), -bound,
            alpha_next=alpha, seed=_SEED, deff=_at(estimate.deff, k),
            units=_at(estimate.units, k), family=family,
        )  # fmt: skip
    if isinstance(estimate, F1Score):
        estimate, bound = estimate.jaccard, float(jaccard_bound(bound))
    if isinstance(estimate, Rate) and _at(estimate.trials, k) > 0 and 0 < bound < 1:
        return rate_futures(
            _at(estimate.successes, k), _at(estimate.trials, k), bound, side,
            alpha_next=alpha, seed=_SEED, deff=_at(estimate.deff, k),
            units=_at(estimate.units, k), family=family,
        )  # fmt: skip
    return None


def _at(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]], k: int) -> float:
    return float(values[k])


def _place(decision: Decision) -> tuple[int, str]:
    return decision.limit, decision.slice


def _by_place(evidence: Sequence[Evidence]) -> dict[tuple[int, str], tuple[Evidence, int]]:
    return {
        (item.index, one.json): (item, k) for item in evidence for k, one in enumerate(item.slices)
    }
