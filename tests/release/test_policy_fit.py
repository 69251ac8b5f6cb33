"""What a policy asks of columns that are not there, or of measures that cannot give it."""

from __future__ import annotations

from typing import Any

import pytest

from shipworthy.core.errors import SettingsError
from shipworthy.core.records import Limit
from shipworthy.release.policy import Policy
from shipworthy.release.policy_fit import check_fit, columns_of

GROUPS = ("domain", "gender")
REMEDY = "declare group columns with --group"


def told(limit: Limit, groups: tuple[str, ...] = GROUPS) -> str:
    first = Limit("accuracy", "at_least", 0.5)
    with pytest.raises(SettingsError) as caught:
        check_fit(Policy(limits=(first, limit)), groups, file="policy.yaml", remedy=REMEDY)
    return str(caught.value)


@pytest.mark.parametrize(
    ("limit", "groups", "message"),
    [
        (
            Limit("accuracy", "at_least", 0.8, {"each": "domian"}), GROUPS,
            "policy.yaml, limit 2 (accuracy, slice: {each: domian}): 'domian' is no group column; "
            f"did you mean 'domain'? ({REMEDY})",
        ),
        (
            Limit("accuracy", "at_least", 0.8, {"each": ("domain", "age")}), GROUPS,
            "policy.yaml, limit 2 (accuracy, slice: {each: [domain, age]}): 'age' is no group "
            f"column; known: domain, gender ({REMEDY})",
        ),
        (
            Limit("accuracy", "at_least", 0.8, {"domain": "news"}), (),
            "policy.yaml, limit 2 (accuracy, slice: {domain: news}): 'domain' is no group column; "
            f"{REMEDY}",
        ),
        (
            Limit("accuracy", "at_least", 0.8, "worst group"), (),
            "policy.yaml, limit 2 (accuracy): it asks for 'worst group', and there is no group "
            f"column; {REMEDY}",
        ),
        (
            Limit("equalized_odds_difference", "at_most", 0.1), (),
            "policy.yaml, limit 2 (equalized_odds_difference): equalized_odds_difference compares "
            f"groups, and there is no group column; {REMEDY}",
        ),
        (
            Limit("latency_p95_ms", "at_most", -0.1, relative_to="parent"), GROUPS,
            "policy.yaml, limit 2 (latency_p95_ms): latency_p95_ms against the parent is a ratio, "
            "so -0.1 is out of reach; 1 is unchanged; write 0.9 for a tenth less, 1.1 for a tenth "
            "more",
        ),
    ],
)  # fmt: skip
def test_the_message_names_limit_column_and_remedy(
    limit: Limit, groups: tuple[str, ...], message: str
) -> None:
    assert told(limit, groups) == message


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (Limit("accuracy", "at_least", 0, relative_to="baseline"), "use parent"),
        (Limit("size_mb", "at_most", 9, {"each": "domain"}), "leave `slice` out"),
        (Limit("accuracy_difference", "at_most", 0, relative_to="parent"), "limit its value"),
        (Limit("accuracy_difference", "at_most", 0.1, {"domain": "news"}), "{each: column}"),
        (Limit("accuracy_difference", "at_most", "accuracy"), "itself an estimate"),
        (Limit("accuracy", "at_least", "f1"), "itself an estimate"),
        (Limit("turned_wrong", "at_most", 0.1), "add `relative_to: parent`"),
    ],
)
def test_other_misfits_say_what_to_write(limit: Limit, words: str) -> None:
    assert words in told(limit)


@pytest.mark.parametrize(
    "limit",
    [
        Limit("accuracy", "at_least", 0.8, {"each": ("domain", "gender")}),
        Limit("accuracy", "at_least", -0.02, "each group", "parent"),
        Limit("accuracy_difference", "at_most", 0.1),
        Limit("accuracy_difference", "at_most", 0.1, {"each": "gender"}),
        Limit("turned_wrong", "at_most", 0.1, {"domain": "news"}, "parent"),
        Limit("latency_p95_ms", "at_most", 1.1, relative_to="parent"),
        Limit("size_mb", "at_most", "size_mb"),
    ],
)
def test_what_fits_is_let_through(limit: Limit) -> None:
    assert check_fit(Policy(limits=(limit,)), GROUPS) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    ("slices", "columns"),
    [
        ("all", ()),
        ("each group", ()),
        ({"each": "a"}, ("a",)),
        ({"each": ("a", "b")}, ("a", "b")),
        ({"a": 1, "b": None}, ("a", "b")),
    ],
)
def test_the_columns_that_a_limit_names(slices: Any, columns: tuple[str, ...]) -> None:
    assert columns_of(Limit("accuracy", "at_least", 0.5, slices)) == columns
