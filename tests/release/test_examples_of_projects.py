"""The example projects: they load, and their policies can say no."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipworthy.measure.catalogue import MEASURES
from shipworthy.release.probe_rows import read_templates
from shipworthy.release.project import load_project
from shipworthy.release.selftest import run_selftest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*/shipworthy.yaml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.parent.name)
def test_an_example_loads_and_holds_what_it_should(file: Path) -> None:
    project = load_project(file)
    policy = project.policy.policy()
    found = run_selftest(policy)
    assert found.passed, found.not_held
    kinds = {MEASURES[limit.measure].kind for limit in policy.limits}
    assert {"quality", "speed", "fact"} <= kinds


def test_the_assistant_asks_both_kinds_of_prompts() -> None:
    project = load_project(next(f for f in EXAMPLES if f.parent.name == "assistant"))
    measures = {limit.measure for limit in project.policy.policy().limits}
    assert {"refusal_rate", "over_refusal_rate", "identity_effect"} <= measures
    identities = project.probes.identities
    assert identities is not None
    prompts, choices = read_templates(identities.prompts)
    assert len(prompts) >= 20 and choices is not None
    assert all("{name}" in prompt for prompt in prompts)
