"""What is asked of test rows: two questions that a policy answers alike are one look at them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from shipworthy.core.digest import digest_json
from shipworthy.measure.catalogue import MEASURES
from shipworthy.release.policy import Policy, policy_digest


def question_digest(
    policy: Policy,
    *,
    parent: str,
    unit: str | None,
    groups: Collection[str],
    intersections: int,
    **more: Any,
) -> str:
    """Return a digest of the policy and of what changes what its limits ask.

    Another parent, other groups or another unit are another question about the same rows, and so
    another look at them; what no limit uses changes nothing.

    parent: digest of what it is or answered. more: plain values that count in any case.
    """
    limits = policy.limits
    every = any(
        li.slices in ("each group", "worst group") or MEASURES[li.measure].kind == "spread"
        for li in limits
    )
    against = any(
        li.relative_to != "none" or "parent" in MEASURES[li.measure].needs for li in limits
    )
    asked = {
        "policy": policy_digest(policy),
        "parent": parent if against else None,
        "unit": unit,
        "groups": sorted(groups) if every else None,
        "intersections": min(intersections, len(groups)) if every else None,
        **more,
    }
    return digest_json(asked)
