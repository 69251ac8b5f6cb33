"""What `decision.json` makes of answers: for all, by group, and drawn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shipworthy.core.errors import DataError, ModelError
from shipworthy.model import load_classifier
from shipworthy.model.decision import (
    Choice,
    DecisionRule,
    GroupRules,
    keyed_draws,
    needs_group,
    read_offsets,
    read_rule,
    write_offsets,
    write_rule,
)
from shipworthy.model.text_classifier import log_softmax

TWO = ("no", "yes")
ROWS = pl.DataFrame({"sex": ["f", "m", None, "x"], "text": ["a", "b", "c", "d"]})
TOLD = log_softmax(np.array([[0.0, 0.5]] * 4))


def rule(unknown: str = "pooled", **more: object) -> DecisionRule:
    of = {"f": (Choice(np.array([0.0, -1.0])),), None: (Choice(np.array([0.0, -9.0])),)}
    groups = GroupRules("sex", of, unknown, **more)  # type: ignore[arg-type]
    return DecisionRule(TWO, Choice(np.array([0.0, 0.25]), 2.0), groups)


def test_each_group_has_its_own_choice_and_the_others_the_pooled_one() -> None:
    found = rule().apply(TOLD, ROWS)
    assert found.argmax(axis=1).tolist() == [0, 1, 0, 1]
    np.testing.assert_allclose(found[1], log_softmax(np.array([[0.0, 1.25]]))[0])
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1.0)


def test_a_choice_that_changes_nothing_gives_the_same_numbers() -> None:
    assert Choice(np.zeros(2)).apply(TOLD) is TOLD


def test_an_unknown_group_is_refused_where_that_is_asked_for() -> None:
    with pytest.raises(DataError, match=r"row 2, column 'sex': .*no choice for the group 'm'.*f"):
        rule("refuse").apply(TOLD, ROWS)


def test_a_missing_column_is_never_taken_for_an_unknown_group() -> None:
    with pytest.raises(DataError, match="asks for the column 'sex'"):
        rule().apply(TOLD, ROWS.select("text"))


def test_draws_hold_their_shares_and_are_the_same_each_time() -> None:
    names = [str(k) for k in range(20_000)]
    always, never = (
        Choice(np.array([0.0, 1e3]), share=0.3),
        Choice(np.array([0.0, -1e3]), share=0.7),
    )
    groups = GroupRules("g", {"a": (always, never)}, row="id", key="00ff")
    one = DecisionRule(TWO, Choice(np.zeros(2)), groups)
    frame = pl.DataFrame({"g": ["a"] * len(names), "id": names})
    told = np.tile(TOLD[:1], (len(names), 1))
    said = one.apply(told, frame).argmax(axis=1)
    # Five standard errors of a share of 0.3 over 20,000 rows.
    assert abs(said.mean() - 0.3) < 0.0163
    backwards = one.apply(told, frame[::-1]).argmax(axis=1)
    assert (backwards[::-1] == said).all()
    assert (keyed_draws(names, "00ff") != keyed_draws(names, "00fe")).mean() > 0.99


def test_it_reads_back_what_it_wrote(tmp_path: Path) -> None:
    drawn = (Choice(np.array([0.0, 1.0]), 1.5, 0.25), Choice(np.array([0.0, -1.0]), 1.0, 0.75))
    groups = GroupRules("sex", {"f": drawn, None: drawn}, "refuse", row="text", key="0a")
    before = DecisionRule(TWO, Choice(np.array([0.0, 0.5]), 2.0), groups)
    write_rule(tmp_path, before)
    after = read_rule(tmp_path, TWO)
    assert after.groups is not None
    told = log_softmax(np.array([[0.0, 0.2], [0.3, 0.0]]))
    frame = pl.DataFrame({"sex": ["f", None], "text": ["a", "b"]})
    np.testing.assert_array_equal(before.apply(told, frame), after.apply(told, frame))
    assert (after.groups.unknown, after.groups.row, after.groups.key) == ("refuse", "text", "0a")
    write_offsets(tmp_path, {"no": 0.0, "yes": 1.0})
    assert read_offsets(tmp_path, TWO).tolist() == [0.0, 1.0]
    assert read_rule(tmp_path, TWO).groups is None


@pytest.mark.parametrize(
    "groups",
    [
        {"column": "sex", "of": [{"value": "f", "choices": []}]},
        {"column": "sex", "of": [{"value": "f", "choices": [{"share": 0.5, "offsets": {}}]}]},
        {"column": "sex", "unknown": "guess", "of": []},
        {"of": []},
    ],
    ids=["none", "classes", "unknown", "column"],
)
def test_a_damaged_file_is_one_clear_line(tmp_path: Path, groups: object) -> None:
    told = {"offsets": {"no": 0, "yes": 0}, "groups": groups}
    (tmp_path / "decision.json").write_text(json.dumps(told))
    with pytest.raises(ModelError, match=r"decision\.json"):
        read_rule(tmp_path, TWO)


def test_a_classifier_decides_by_group_and_without_one_as_for_all(copy: Path) -> None:
    classes = load_classifier(copy, threads=1).classes
    rows = pl.DataFrame({"text": ["good", "good"], "shop": ["north", "south"]})
    plain = load_classifier(copy, threads=1).log_probabilities(rows)
    towards = np.where(np.arange(3) == int(plain[0].argmin()), 1e3, 0.0)
    groups = GroupRules("shop", {"north": (Choice(towards),)})
    write_rule(copy, DecisionRule(classes, Choice(np.zeros(3)), groups))
    model = load_classifier(copy, threads=1)
    found = model.log_probabilities(rows)
    assert found[0].argmax() == plain[0].argmin()
    np.testing.assert_array_equal(found[1], plain[1])
    np.testing.assert_allclose(model.score(model.encode(["good"]))[0], plain[0], atol=1e-5)
    assert needs_group(copy) == "shop"
    with pytest.raises(DataError, match="asks for the column 'shop'"):
        model.log_probabilities(rows.select("text"))
