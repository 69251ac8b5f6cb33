"""Which candidates may ship: chosen on validation, before the test rows are looked at.

A candidate is nominated where its point estimates on validation keep every limit that counts; of
those the best by the objective, at most as many as the policy says. Nothing here enters a verdict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from shipworthy.measure.decide import Evidence, assess

if TYPE_CHECKING:
    from shipworthy.release.policy import Policy


def nominate(
    evidence: Mapping[str, Sequence[Evidence]],
    policy: Policy,
    *,
    objective: Mapping[str, float],
) -> tuple[str, ...]:
    """Return the nominated candidates, best first.

    evidence: what limits look at on validation, by candidate. objective: lower is better, by
    candidate; an unmeasured one comes last.
    """
    fit = [name for name, items in evidence.items() if all(_kept(item) for item in items)]

    def place(name: str) -> float:
        value = objective.get(name, math.nan)
        return math.inf if math.isnan(value) else value

    # Sorting is stable: a tie keeps the order in which the candidates were made.
    return tuple(sorted(fit, key=place)[: policy.nominate])


def _kept(item: Evidence) -> bool:
    """Say whether no slice lies outside the limit; a slice without a number is no objection.

    What has no number on validation may have one on test, where it blocks if it still lacks it.
    """
    if item.limit.tier == "advisory":
        return True
    value = np.asarray(assess(item.estimate).value, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        outside = value < item.bound if item.limit.side == "at_least" else value > item.bound
    return not bool(outside.any())
