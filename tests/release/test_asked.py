"""Which questions about the same rows are one."""

from __future__ import annotations

from typing import Any

import pytest

from shipworthy.release.asked import question_digest
from shipworthy.release.policy import load_policy

LEVEL = {"measure": "accuracy", "at_least": 0.8}
CHANGE = {"measure": "accuracy", "relative_to": "parent", "at_least": -0.02}
FLIPS = {"measure": "turned_wrong", "at_most": 0.05}
EACH = {"measure": "accuracy", "slice": "each group", "at_least": 0.7}
SPREAD = {"measure": "accuracy_difference", "slice": {"each": "shop"}, "at_most": 0.1}
ASKED: dict[str, Any] = {
    "parent": "a", "unit": "author", "groups": ("shop", "year"), "intersections": 1
}  # fmt: skip


def digest(*limits: dict[str, Any], **changed: Any) -> str:
    return question_digest(load_policy(list(limits)), **{**ASKED, **changed})


@pytest.mark.parametrize(
    ("limit", "parent", "groups"),
    [(LEVEL, False, False), (CHANGE, True, False), (FLIPS, True, False), (EACH, False, True),
     (SPREAD, False, True)],
)  # fmt: skip
def test_what_a_limit_looks_at_makes_another_question(
    limit: dict[str, Any], parent: bool, groups: bool
) -> None:
    asked = digest(limit)
    assert (digest(limit, parent="b") != asked) is parent
    assert (digest(limit, groups=("shop",)) != asked) is groups
    assert (digest(limit, intersections=2) != asked) is groups
    assert digest(limit, groups=("year", "shop")) == asked
    assert digest(limit, unit=None) != asked
    assert digest({**limit, "owner": "somebody"}) == asked
