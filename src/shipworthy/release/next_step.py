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

from shipworthy.core.locale import number
from shipworthy.core.records import Decision, Outcome, Slice
from shipworthy.measure.decide import Evidence, opening_alpha
from shipworthy.measure.estimates import F1Score, Fact, Mean, PairedChange, Rate, Unmeasured
from shipworthy.measure.power import Futures, futures, rate_futures
from shipworthy.release.judgement import NextStep, Phrase

if TYPE_CHECKING:
    from collections.abc import Mapping

LIKELY = 0.8
"""Chance of a decision from which more rows are worth their cost."""

MOST_STEPS = 3
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
    steps, blocked = [], False
    for decision in decisions:
        if decision.decision is not Outcome.CANNOT_TELL or decision.tier == "advisory":
            continue
        if decision.unknown != "block":
            continue
        step = _step(name, decision, *found[_place(decision)], alpha, family)
        blocked = blocked or step.phrase.key.startswith("next.change")
        steps.append(step)
    if blocked:
        # Labels for other groups are wasted while one group cannot pass whatever is labelled.
        steps = [s for s in steps if s.phrase.key.startswith("next.change")]
    unique = {(s.phrase.key, str(dict(s.phrase.arguments))): s for s in steps}
    return tuple(sorted(unique.values(), key=lambda s: s.cost_rows)[:MOST_STEPS])


def _step(
    name: str, decision: Decision, item: Evidence, k: int, alpha: float, family: int
) -> NextStep:
    candidate, told = decision.candidate, _told(name, decision)
    if decision.reason == "worn_out":
        return NextStep(candidate, Phrase("next.new_test_rows"), math.nan, math.nan)
    future = _future(item, k, alpha, family)
    if future is None:
        return _without_futures(decision, item, told)
    if future.hopeless:
        share = float(future.p_pass[-1])
        return NextStep(candidate, _phrase("next.change", told), math.nan, share)
    needed = future.needed if future.needed is not None else int(future.rows[-1])
    passes, fails = future.at(needed)
    key = "next.label" if passes + fails >= LIKELY else "next.label_far"
    said = _phrase(key, {**told, "rows": number(needed, 0)})
    return NextStep(candidate, said, passes + fails, passes, needed)


def _without_futures(decision: Decision, item: Evidence, told: Mapping[str, str]) -> NextStep:
    """Steps for what is not a share: measure it, time more processes, or the plug-in figure."""
    unknown = isinstance(item.estimate, Unmeasured | Fact) or math.isnan(decision.value)
    timed = isinstance(item.estimate, Mean) and decision.n == 0
    if decision.reason == "too_few_processes" or (timed and not unknown):
        key = "next.full_timing"
    elif unknown:
        key = "next.measure"
    elif decision.n_needed is None:
        key = "next.change"
    else:
        more = max(decision.n_needed - decision.n, 1)
        said = _phrase("next.label_far", {**told, "rows": number(more, 0)})
        return NextStep(decision.candidate, said, math.nan, math.nan, more)
    return NextStep(decision.candidate, _phrase(key, told), math.nan, math.nan)


def _told(name: str, decision: Decision) -> dict[str, str]:
    found = Slice.parse(decision.slice)
    return {"candidate": name, "measure": decision.measure, "slice": str(found)}


def _phrase(key: str, told: Mapping[str, str]) -> Phrase:
    """Return the phrase of a step, in the form for a group where it is about one."""
    grouped = bool(told["slice"]) and key in ("next.change", "next.label", "next.label_far")
    return Phrase(f"{key}.group" if grouped else key, told)


def _future(item: Evidence, k: int, alpha: float, family: int) -> Futures | None:
    estimate, bound, side = item.estimate, item.bound, item.limit.side
    if isinstance(estimate, PairedChange):
        lost, gained = _at(estimate.lost, k), _at(estimate.gained, k)
        if side == "at_most":
            lost, gained, bound = gained, lost, -bound
        return futures(
            lost, gained, _at(estimate.n, k), -bound,
            alpha_next=alpha, seed=_SEED, deff=_at(estimate.deff, k), family=family,
        )  # fmt: skip
    if isinstance(estimate, F1Score):
        estimate, bound = estimate.jaccard, bound / (2 - bound)
    if isinstance(estimate, Rate) and _at(estimate.trials, k) > 0 and 0 < bound < 1:
        return rate_futures(
            _at(estimate.successes, k), _at(estimate.trials, k), bound, side,
            alpha_next=alpha, seed=_SEED, deff=_at(estimate.deff, k), family=family,
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
