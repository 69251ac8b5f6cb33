"""From limits and evidence to decisions, from decisions to verdicts: the rules of the gate.

A limit passes a slice when its p_pass is at most alpha, fails it when its Holm-adjusted p_fail is
at most alpha, and cannot tell otherwise. A candidate passes when all its limits pass (this is an
intersection: no correction); a run ships when a nominated one still passes after Holm over them.
alpha is one-sided, (1 - confidence) / 2, halved at every further opening of the test set.

    limit x slice   ->  Decision            pass | fail | cannot tell, with its reason
    candidate       ->  CandidateDecision   any fail? all pass? p_candidate
    run             ->  RunDecision         ship | hold | undecided
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from shipworthy.core.openings import MOST_OPENINGS
from shipworthy.core.records import (
    ALL_ROWS,
    SMALL,
    WAIVED,
    Answer,
    Decision,
    Limit,
    Outcome,
    Slice,
    Verdict,
)
from shipworthy.measure.catalogue import MEASURES
from shipworthy.measure.estimates import Estimate, Fact
from shipworthy.measure.needed import rows_needed
from shipworthy.measure.one_sided import OneSided, one_sided
from shipworthy.measure.shown import Assessed, assess

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    FloatArray: TypeAlias = NDArray[np.float64]

__all__ = [
    "Assessed", "CandidateDecision", "Evidence", "OneSided", "RunDecision",
    "assess", "decide_again", "decide_candidate", "decide_run", "holm", "one_sided",
    "opening_alpha",
]  # fmt: skip

SmallSlices: TypeAlias = Literal["default", "undecided", "report"]


@dataclass(frozen=True)
class Evidence:
    """What one limit looks at: its slices and one estimate that holds them all.

    index is the limit's place in the policy, bound its number (resolved where the limit names
    another measure; NaN if that is missing). A spread over groups is one slice.
    intersection marks slices of more than one column.
    """

    limit: Limit
    index: int
    slices: tuple[Slice, ...]
    estimate: Estimate
    bound: float
    value_unit: str = ""
    intersection: bool = False


@dataclass(frozen=True)
class CandidateDecision:
    """All decisions about one candidate, and what they amount to before other candidates are seen.

    p_candidate: the largest p_pass over the limits that count and block; 1 where one has none.
    uncovered: slices that are too small and, by the policy, reported instead of blocking.
    reasons: why limits that block cannot tell, sorted, without repeats.
    """

    candidate: str
    decisions: tuple[Decision, ...]
    p_candidate: float
    any_fail: bool
    all_pass: bool
    uncovered: tuple[Slice, ...]
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunDecision:
    """The verdicts in the order of the candidates, the answer of the run, and the best to ship."""

    verdicts: tuple[Verdict, ...]
    answer: Answer
    best: str | None


def holm(p: ArrayLike, axis: int = -1) -> FloatArray:
    """Holm's step-down adjusted p (1979), each family along `axis`; any dependence is allowed.

    NaN marks a hypothesis that was not tested: it stays NaN and doesn't count in the family.

    >>> holm([0.01, 0.04, float("nan"), 0.03]).round(3).tolist()
    [0.03, 0.06, nan, 0.06]
    """
    values = np.moveaxis(np.asarray(p, dtype=np.float64), axis, -1)
    order = np.argsort(values, axis=-1, kind="stable")
    ranked = np.take_along_axis(values, order, axis=-1)
    size = np.sum(~np.isnan(values), axis=-1, keepdims=True)
    steps = ranked * (size - np.arange(values.shape[-1]))
    adjusted = np.minimum(np.maximum.accumulate(steps, axis=-1), 1.0)
    result = np.empty_like(values)
    np.put_along_axis(result, order, adjusted, axis=-1)
    return np.moveaxis(result, -1, axis)


def opening_alpha(alpha: float, opening: int) -> float:
    """Level of the j-th opening of a test set, alpha / 2**(j - 1): all looks sum to below 2 alpha.

    >>> opening_alpha(0.025, 3)
    0.00625
    """
    if opening < 1:
        raise ValueError(f"openings count from 1, got {opening}")
    return float(alpha / 2 ** (opening - 1))


def decide_candidate(
    candidate: str,
    evidence: Sequence[Evidence],
    *,
    confidence: float = 0.95,
    opening: int = 1,
    small_slices: SmallSlices = "default",
    worn_out: bool = False,
) -> CandidateDecision:
    """Decide every limit on every slice for one candidate.

    small_slices: a slice below the minimum leaves the candidate undecided ("undecided") or is
    reported as not covered ("report"); "default" reports intersections and blocks single groups.
    At least one slice of a limit must be covered in any case.
    worn_out: the test set has been opened too often; so has it after five openings.
    """
    alpha = opening_alpha(round((1 - confidence) / 2, 12), opening)
    worn = worn_out or opening > MOST_OPENINGS
    tests = [one_sided(e.estimate, e.bound, e.limit.side, alpha=alpha) for e in evidence]
    adjusted, family = _adjusted(evidence, tests)
    decisions: list[Decision] = []
    left: list[bool] = []
    for item, test, p_fail in zip(evidence, tests, adjusted, strict=True):
        made = _decide(candidate, item, test, p_fail, alpha, family, confidence, worn)
        decisions += made
        left += _reported(made, small_slices, intersection=item.intersection)
    return _amount(candidate, decisions, left)


def decide_again(
    candidate: str, decisions: Sequence[Decision], *, small_slices: SmallSlices = "default"
) -> CandidateDecision:
    """Return what decisions that were made before amount to, now that some are waived.

    decisions: all of one candidate, in the order of `decide_candidate`; each stays as it is. Those
    with the reason `WAIVED` leave the verdict; a candidate with no other is not passed.
    """
    parts: dict[tuple[int, object], list[Decision]] = {}
    for d in decisions:
        # A spread compares the groups of a partition, so that it is one slice, and alone.
        kind = MEASURES.get(d.measure)
        alone = kind is not None and kind.kind == "spread"
        columns: object = d.slice if alone else Slice.parse(d.slice).columns
        parts.setdefault((d.limit, columns), []).append(d)
    left: dict[int, bool] = {}
    for part in parts.values():
        crossed = len(Slice.parse(part[0].slice).columns) > 1
        reported = _reported(part, small_slices, intersection=crossed)
        left |= {id(d): r for d, r in zip(part, reported, strict=True)}
    return _amount(candidate, decisions, [left[id(d)] for d in decisions])


def _amount(
    candidate: str, decisions: Sequence[Decision], left: Sequence[bool]
) -> CandidateDecision:
    """Sum decisions up; left: which of them are reported beside the verdict."""
    counting = [
        (d, out)
        for d, out in zip(decisions, left, strict=True)
        if d.tier != "advisory" and d.reason != WAIVED
    ]
    inside = [d for d, out in counting if not out]
    blocking = [d for d in inside if d.unknown == "block"]
    p = [1.0 if np.isnan(d.p_pass) else d.p_pass for d in blocking]
    reasons = {d.reason for d in blocking if d.decision is Outcome.CANNOT_TELL}
    if not blocking:
        waived = any(d.reason == WAIVED for d in decisions)
        reasons = {WAIVED if waived else "not_measured"}
    return CandidateDecision(
        candidate=candidate,
        decisions=tuple(decisions),
        p_candidate=max(p, default=1.0),
        any_fail=any(d.decision is Outcome.FAIL for d in inside),
        all_pass=bool(blocking) and all(d.decision is Outcome.PASS for d in blocking),
        uncovered=tuple(dict.fromkeys(Slice.parse(d.slice) for d, out in counting if out)),
        reasons=tuple(sorted(reasons)),
    )


def decide_run(
    candidates: Sequence[CandidateDecision],
    nominated: Sequence[str],
    *,
    alpha: float,
    objective: Mapping[str, float],
    family: int = 0,
) -> RunDecision:
    """Verdict of each candidate and of the run.

    nominated: candidates that were chosen before the test set was opened; only these can ship.
    alpha: the level of this opening. objective: lower is better; the parent is no candidate.
    family: candidates that Holm must count even where fewer are nominated now (some were looked at
    before, in the same opening).
    Raises ValueError where a nominated candidate has no decisions, or is named twice.
    """
    known = {c.candidate: c for c in candidates}
    if len(set(nominated)) != len(nominated) or len(known) != len(candidates):
        raise ValueError("a candidate is named twice")
    missing = [name for name in nominated if name not in known]
    if missing:
        raise ValueError(f"nominated but not measured: {', '.join(missing)}")
    absent = [1.0] * (family - len(nominated))
    corrected = holm([known[name].p_candidate for name in nominated] + absent)
    adjusted = dict(zip(nominated, corrected.tolist(), strict=False))
    verdicts = tuple(_verdict(c, adjusted.get(c.candidate), alpha) for c in candidates)
    answers = {v.candidate: v.answer for v in verdicts}
    shipping = [name for name in answers if answers[name] is Answer.SHIP]
    if shipping:
        best = min(shipping, key=lambda name: _objective(objective, name))
        return RunDecision(verdicts, Answer.SHIP, best)
    held = all(answers[name] is Answer.HOLD for name in nominated)
    return RunDecision(verdicts, Answer.HOLD if held else Answer.UNDECIDED, None)


def _adjusted(
    evidence: Sequence[Evidence], tests: Sequence[OneSided]
) -> tuple[list[FloatArray], int]:
    """p_fail after Holm over all limits and slices of the candidate, and the size of that family.

    Advisory limits, facts and identical artefacts stay outside: nothing is tested there, or nothing
    counts, so they neither need the correction nor cost the others any of it.
    """
    families = []
    for item, test in zip(evidence, tests, strict=True):
        outside = item.limit.tier == "advisory" or isinstance(item.estimate, Fact)
        exact = np.array([reason == "identical" for reason in test.reasons])
        families.append(np.where(exact | outside, np.nan, test.p_fail))
    whole = np.concatenate(families) if families else np.empty(0)
    corrected, start, adjusted = holm(whole), 0, []
    for own, test in zip(families, tests, strict=True):
        part = corrected[start : start + len(own)]
        adjusted.append(np.where(np.isnan(own), test.p_fail, part))
        start += len(own)
    return adjusted, int(np.sum(~np.isnan(whole)))


def _decide(
    candidate: str,
    item: Evidence,
    test: OneSided,
    p_fail_adjusted: FloatArray,
    alpha: float,
    family: int,
    confidence: float,
    worn: bool,
) -> list[Decision]:
    shown = assess(item.estimate, confidence=confidence, exact=True)
    if not len(item.slices) == len(test.reasons) == len(shown.value):
        raise ValueError(f"{item.limit}: {len(item.slices)} slices, {len(test.reasons)} estimates")
    made = [
        _child(candidate, item, test, shown, k, float(p_fail_adjusted[k]), alpha, worn)
        for k in range(len(item.slices))
    ]
    if all(d.decision is not Outcome.CANNOT_TELL for d in made):
        return made
    plain = rows_needed(item.estimate, item.bound, alpha=alpha)
    shared = plain
    if any(d.reason == "correction" for d in made):
        shared = rows_needed(item.estimate, item.bound, alpha=alpha / max(family, 1))
    # A worn-out set is replaced, not enlarged: no number of rows beside the old ones decides.
    return [
        replace(d, n_needed=shared[k] if d.reason == "correction" else plain[k])
        if d.decision is Outcome.CANNOT_TELL and d.reason != "worn_out"
        else d
        for k, d in enumerate(made)
    ]


def _child(
    candidate: str,
    item: Evidence,
    test: OneSided,
    shown: Assessed,
    k: int,
    p_fail_adjusted: float,
    alpha: float,
    worn: bool,
) -> Decision:
    limit, p_pass, p_fail = item.limit, float(test.p_pass[k]), float(test.p_fail[k])
    reason, identical = test.reasons[k], test.reasons[k] == "identical"
    known = identical or isinstance(item.estimate, Fact)
    if worn and not known:
        outcome, reason = Outcome.CANNOT_TELL, reason or "worn_out"
    elif p_fail_adjusted <= alpha:
        outcome, reason = Outcome.FAIL, ""
    elif p_pass <= alpha:
        outcome, reason = Outcome.PASS, ""
    else:
        outcome = Outcome.CANNOT_TELL
        reason = reason or ("correction" if p_fail <= alpha else "across_bound")
    return Decision(
        candidate=candidate,
        measure=limit.measure,
        slice=item.slices[k].json,
        relative_to=limit.relative_to,
        bound=float(item.bound),
        side=limit.side,
        value=float(shown.value[k]),
        low=float(shown.low[k]),
        high=float(shown.high[k]),
        n=int(shown.n[k]),
        n_units=int(shown.units[k]),
        p_pass=p_pass,
        p_fail=p_fail,
        p_pass_adjusted=p_pass,
        p_fail_adjusted=p_fail_adjusted,
        alpha=alpha,
        method="identical" if identical else test.method,
        decision=outcome,
        reason=reason,
        tier=limit.tier,
        unknown=limit.unknown,
        owner=limit.owner,
        limit=item.index,
        value_unit=item.value_unit,
    )


def _reported(
    made: Sequence[Decision], small_slices: SmallSlices, *, intersection: bool
) -> list[bool]:
    """Which slices are reported as not covered instead of leaving the candidate undecided."""
    allowed = small_slices == "report" or (small_slices == "default" and intersection)
    left = [
        allowed
        and d.slice != ALL_ROWS.json
        and d.decision is Outcome.CANNOT_TELL
        and d.reason in SMALL
        for d in made
    ]
    # A limit that covers nothing has said nothing: it must not look like a pass.
    return left if not all(left) else [False] * len(left)


def _verdict(candidate: CandidateDecision, adjusted: float | None, alpha: float) -> Verdict:
    p = candidate.p_candidate
    corrected = p if adjusted is None else adjusted
    reasons: tuple[str, ...] = ()
    if candidate.any_fail:
        answer = Answer.HOLD
    elif candidate.all_pass and adjusted is not None and adjusted <= alpha:
        answer = Answer.SHIP
    else:
        answer = Answer.UNDECIDED
        reasons = candidate.reasons
        if adjusted is None:
            reasons = (*reasons, "not_nominated")
        elif candidate.all_pass:
            reasons = (*reasons, "correction")
    return Verdict(candidate.candidate, answer, adjusted is not None, p, corrected, reasons)


def _objective(objective: Mapping[str, float], name: str) -> float:
    value = objective.get(name, np.inf)
    return np.inf if np.isnan(value) else float(value)
