"""Limits of a policy on an audit: the same rules as everywhere, on one set of predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shipworthy.core.errors import SettingsError
from shipworthy.core.locale import text
from shipworthy.core.records import Decision, Limit, Outcome
from shipworthy.measure.audited import Answers
from shipworthy.measure.catalogue import MEASURES
from shipworthy.measure.cells import Area
from shipworthy.measure.decide import decide_candidate
from shipworthy.measure.estimates import Estimate, Rate, Spread, Unmeasured
from shipworthy.measure.fairness import SPREADS
from shipworthy.release.limit_evidence import columns_looked_at, evidence_on
from shipworthy.release.policy import Policy, load_policy
from shipworthy.release.policy_fit import check_fit


def decide(
    policy: Path | str | Policy | Sequence[Any] | Mapping[str, Any],
    answers: Answers,
    groups: Sequence[str],
    crossed: tuple[tuple[str, ...], ...],
) -> tuple[tuple[Decision, ...], Outcome]:
    """Return what each limit says, and the answer: fail if one fails, pass if all pass.

    Raises SettingsError for a limit that an audit cannot look at.
    """
    written = policy if isinstance(policy, Policy) else load_policy(policy)
    file = policy if isinstance(policy, Path | str) else None
    check_fit(written, groups, file=file, remedy=text("error.audit.remedy"))
    for number, limit in enumerate(written.limits, start=1):
        _check(limit, number, file)
    evidence = []
    for index, limit in enumerate(written.limits):
        bound = limit.bound if not isinstance(limit.bound, str) else float("nan")
        for columns in columns_looked_at(limit, groups, crossed):
            where = answers.area(columns)
            estimate = _estimate(limit.measure, answers, columns, where)
            evidence.append(evidence_on(limit, index, columns, where.slices, estimate, bound))
    found = decide_candidate(
        "audit", evidence, confidence=written.confidence, small_slices=written.small_slices
    )
    outcome = Outcome.CANNOT_TELL
    if found.any_fail:
        outcome = Outcome.FAIL
    elif found.all_pass and found.p_candidate <= written.alpha:
        outcome = Outcome.PASS
    return found.decisions, outcome


def _check(limit: Limit, number: int, file: Path | str | None) -> None:
    kind = MEASURES[limit.measure]
    key = text("error.policy_fit.place", number=number, limit=limit.measure)
    if limit.relative_to != "none":
        raise SettingsError(
            text("error.audit.relative", relative_to=limit.relative_to), file=file, key=key,
            fix=text("error.audit.relative.fix"),
        )  # fmt: skip
    if kind.kind not in ("quality", "spread") or kind.values:
        raise SettingsError(
            text("error.audit.measure", measure=limit.measure), file=file, key=key,
            fix=text("error.audit.measure.fix"),
        )  # fmt: skip


def _estimate(measure: str, answers: Answers, columns: tuple[str, ...], where: Area) -> Estimate:
    if measure not in SPREADS:
        return answers.estimate(measure, columns)
    kind, shares = SPREADS[measure]
    if where.m < 2:
        return Unmeasured("no_data")
    rates: list[Rate] = []
    for share in shares:
        found = answers.rate(share, where)
        if isinstance(found, Unmeasured):
            return Unmeasured(found.reason)
        rates.append(found)
    if not np.any([r.trials > 0 for r in rates]):
        return Unmeasured("no_data")
    return Spread(tuple(rates), kind, tuple(map(str, where.slices)))
