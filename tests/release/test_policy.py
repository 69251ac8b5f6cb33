from dataclasses import replace

import pytest

from shipworthy.core.errors import SettingsError
from shipworthy.core.records import Limit
from shipworthy.core.yaml import parse_yaml
from shipworthy.release.policy import Policy, load_policy, may_be_waived, policy_digest

MEASURES = {"accuracy", "f1", "latency_p95_ms", "size_mb", "epsilon", "epsilon_lower_bound"}

LONG = """\
confidence: 0.9
nominate: 2
small_slices: undecided
limits:
  - {measure: accuracy, at_least: 0.80, tier: critical, owner: ml-lead}
  - {measure: accuracy, relative_to: parent, at_least: -0.015}
  - {measure: accuracy, slice: {each: domain}, relative_to: parent, at_least: -25e-3, owner: fair}
  - {measure: accuracy, slice: {each: [domain, sex]}, at_least: 0, unknown: disclose}
  - {measure: f1, slice: {domain: movie}, at_least: 0.5, expires_days: 30}
  - {measure: f1, slice: worst group, at_least: 0.5, tier: advisory}
  - {measure: latency_p95_ms, at_most: 20, relative_to: baseline}
  - {measure: epsilon_lower_bound, at_most: {measure: epsilon}}
"""


@pytest.fixture
def load(tmp_path):
    def loaded(content: str) -> Policy:
        (tmp_path / "p.yaml").write_text(content, encoding="utf-8")
        return load_policy(tmp_path / "p.yaml", measures=MEASURES)

    return loaded


def test_the_long_form(load) -> None:
    policy = load(LONG)
    assert (policy.confidence, policy.nominate, policy.small_slices) == (0.9, 2, "undecided")
    assert policy.alpha == pytest.approx(0.05)
    assert policy.limits == (
        Limit("accuracy", "at_least", 0.8, tier="critical", owner="ml-lead"),
        Limit("accuracy", "at_least", -0.015, relative_to="parent"),
        Limit("accuracy", "at_least", -0.025, {"each": "domain"}, "parent", owner="fair"),
        Limit("accuracy", "at_least", 0.0, {"each": ("domain", "sex")}, unknown="disclose"),
        Limit("f1", "at_least", 0.5, {"domain": "movie"}, expires_days=30),
        Limit("f1", "at_least", 0.5, "worst group", tier="advisory"),
        Limit("latency_p95_ms", "at_most", 20.0, relative_to="baseline"),
        Limit("epsilon_lower_bound", "at_most", "epsilon"),
    )


def test_the_short_form_has_the_defaults(load) -> None:
    policy = load("- {measure: accuracy, at_least: 0.8}\n")
    assert policy == Policy(0.95, 3, "default", (Limit("accuracy", "at_least", 0.8),))


def test_one_column_as_a_list_is_that_column(load) -> None:
    policy = load("- {measure: accuracy, at_least: 0, slice: {each: [domain]}}\n")
    assert policy.limits[0].slices == {"each": "domain"}


def test_a_project_file_is_a_policy_file(load) -> None:
    policy = load("name: x\npolicy:\n- {measure: size_mb, at_most: 30}\nwhatever: 1\n")
    assert policy.limits == (Limit("size_mb", "at_most", 30.0),)


def test_parsed_values(load) -> None:
    values = [{"measure": "accuracy", "at_least": 0.8}]
    assert load_policy(values, measures=MEASURES) == load_policy(
        {"limits": values}, measures=MEASURES
    )
    with pytest.raises(SettingsError, match=r"policy, \[0\].at_lest: unknown key; did you mean"):
        load_policy([{"measure": "accuracy", "at_lest": 0.8}], measures=MEASURES)


def test_a_part_of_a_document_keeps_its_lines() -> None:
    document = parse_yaml(
        "name: x\npolicy:\n  - measure: acuracy\n    at_least: 1\n", file="x.yaml"
    )
    with pytest.raises(SettingsError) as caught:
        load_policy(document.at(("policy",)), document, at=("policy",), measures=MEASURES)
    assert str(caught.value) == (
        "x.yaml:3, policy[0].measure: unknown measure 'acuracy'; did you mean 'accuracy'?"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "limits:\n- {measure: acc, at_least: 1}",
            ":2, limits[0].measure: unknown measure 'acc'; ",
        ),
        (
            "- {measure: accuracy, at_least: 1}\n- {measure: accuracy, at_leat: 1}",
            ":2, [1].at_leat: unknown key; did you mean 'at_least'?",
        ),
        (
            "- {measure: accuracy, at_most: {measure: epsilo}}",
            ":1, [0].at_most.measure: unknown measure 'epsilo'; did you mean 'epsilon'?",
        ),
        ("- {measure: accuracy}", ":1, [0]: needs exactly one of at_least and at_most"),
        ("- {measure: accuracy, at_least: 0, at_most: 1}", ":1, [0]: needs exactly one of"),
        ("- {at_least: 0}", ":1, [0]: needs a measure"),
        ("- {measure: accuracy, at_least: '0.8'}", ":1, [0].at_least: needs a number"),
        ("- {measure: accuracy, at_least: true}", ":1, [0].at_least: needs a number"),
        ("- {measure: accuracy, at_least: .nan}", ":1, [0].at_least: needs a finite number"),
        (
            "- {measure: accuracy, at_least: 0, tier: critcal}",
            ":1, [0].tier: 'critcal' is not one of "
            "critical, supporting, advisory; did you mean 'critical'?",
        ),
        ("- {measure: accuracy, at_least: 0, unknown: wait}", ":1, [0].unknown: 'wait' is not one"),
        ("- {measure: accuracy, at_least: 0, relative_to: teacher}", ":1, [0].relative_to: "),
        ("- {measure: accuracy, at_least: 0, expires_days: 0}", ":1, [0].expires_days: must be "),
        (
            "- {measure: accuracy, at_least: 0, slice: eech group}",
            ":1, [0]: unknown slice 'eech group'; did you mean 'each group'?",
        ),
        ("- {measure: accuracy, at_least: 0, slice: {}}", ":1, [0]: an empty slice"),
        ("- {measure: accuracy, at_least: 0, slice: {each: 3}}", ":1, [0]: `each` stands alone"),
        (
            "- {measure: accuracy, at_least: 0, slice: {each: [a, a]}}",
            ":1, [0]: `each` stands alone",
        ),
        ("- {measure: accuracy, at_least: 0, slice: {each: a, b: c}}", ":1, [0]: `each` stands "),
        ("- {measure: accuracy, at_least: 0, slice: {b: [c]}}", ":1, [0]: a column in a slice"),
        (
            "- {measure: accuracy, relative_to: parent, at_most: {measure: f1}}",
            ":1, [0]: a change is compared with a number",
        ),
        (
            "confidence: 95\nlimits:\n- {measure: accuracy, at_least: 0}",
            ":1, confidence: must be less",
        ),
        ("nominate: 0\nlimits:\n- {measure: accuracy, at_least: 0}", ":1, nominate: must be "),
        ("small_slices: ask\nlimits:\n- {measure: accuracy, at_least: 0}", ":1, small_slices: "),
        ("limits: []", ":1, limits: needs at least 1"),
        ("[]", ":1: "),
        ("", ":1, limits: is missing"),
        ("accuracy", ":1: needs keys with values or a list, not 'accuracy'"),
        ("- accuracy", ":1, [0]: needs keys with values, not 'accuracy'"),
        (
            "confidense: 0.9\nlimits:\n- {measure: accuracy, at_least: 0}",
            ":1, confidense: unknown key; did you mean 'confidence'?",
        ),
    ],
)
def test_mistakes_name_line_key_and_nearest(load, content: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(content)
    said = str(caught.value)
    assert "\n" not in said
    assert message in said


def test_the_digest_follows_what_decides(load) -> None:
    policy = load(LONG)
    digest = policy_digest(policy)
    first, *others = policy.limits
    same = [
        replace(policy, limits=(*others, first)),
        replace(policy, limits=(replace(first, owner="else", expires_days=3), *others)),
    ]
    different = [
        replace(policy, confidence=0.95),
        replace(policy, nominate=1),
        replace(policy, small_slices="report"),
        replace(policy, limits=tuple(others)),
        *(
            replace(policy, limits=(replace(first, **change), *others))
            for change in (
                {"measure": "f1"}, {"bound": 0.81}, {"side": "at_most"}, {"tier": "supporting"},
                {"unknown": "disclose"}, {"relative_to": "parent"}, {"slices": {"each": "a"}},
            )
        ),
    ]  # fmt: skip
    assert {policy_digest(p) for p in same} == {digest}
    assert len({digest, *(policy_digest(p) for p in different)}) == len(different) + 1


def test_only_critical_limits_cannot_be_waived(load) -> None:
    assert [may_be_waived(limit) for limit in load(LONG).limits] == [False] + [True] * 7
