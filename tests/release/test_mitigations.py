"""Mitigations in a project: made, measured on validation, told of, and proposed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sample import PARENT, candidate, decision, judgement, measured
from tests.release.test_next_plan import floats, steps
from toy_project import PROJECT, make_project

from shipworthy.core.errors import SettingsError, StageError
from shipworthy.core.locale import set_language
from shipworthy.core.records import Limit, Outcome, Slice
from shipworthy.measure.decide import Evidence
from shipworthy.measure.estimates import Rate, Spread
from shipworthy.model.decision import needs_group
from shipworthy.release.documents import to_json
from shipworthy.release.levelling import levelling_lines, levellings
from shipworthy.release.made import Made
from shipworthy.release.mitigating import mitigate_project
from shipworthy.release.mitigation_stages import mitigation_notes
from shipworthy.release.next_mitigation import Mitigating
from shipworthy.release.project import load_project
from shipworthy.release.report import render_report
from shipworthy.release.standing import survey
from shipworthy.release.terminal import render
from shipworthy.release.wording import phrase

GAP = Limit("equal_opportunity_difference", "at_most", 0.05, {"each": "shop"})

# -- levelling down --------------------------------------------------------------------------------


def narrowed(changes: dict[str, tuple[float, float, float]], lever: str = "mitigate") -> Any:
    """A candidate whose groups were right in 90 and 70 of 100 rows, and how they changed."""
    one = candidate("fairer", lever)
    before = {"north": 0.9, "south": 0.7}
    rows = [measured(PARENT, "accuracy", 0.8)]
    for shop, (value, low, high) in changes.items():
        where = {"shop": shop}
        rows.append(measured(PARENT, "accuracy", before[shop], n=100, slice=where))
        rows.append(measured(one, "accuracy", before[shop] + value, n=100, slice=where))
        rows.append(
            measured(one, "accuracy", value, low, high, n=100, slice=where, relative_to="parent")
        )
    limits = (Limit("accuracy", "at_least", 0.5),)
    told = decision(one, 0, limits, {}, (0.8, 0.7, 0.9), Outcome.PASS, n=200)
    return judgement([one], [told], rows, limits, groups=("shop",), group_names={})


DOWN = {"north": (-0.15, -0.22, -0.08), "south": (0.01, -0.03, 0.05)}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (DOWN, ["down"]),
        ({**DOWN, "north": (-0.03, -0.07, 0.01)}, ["unproven"]),
        ({**DOWN, "south": (0.05, 0.02, 0.08)}, []),
        ({"north": (0.02, -0.01, 0.05), "south": (-0.04, -0.08, -0.01)}, []),
    ],
    ids=["down", "unproven", "a group gained", "wider"],
)
def test_who_moved_is_told(changes: Any, found: list[str]) -> None:
    asked = survey(narrowed(changes))
    (one,) = asked.judgement.candidates
    assert [found.found for found in levellings(asked, one)] == found


def test_levelling_down_is_said_on_the_page_in_the_terminal_and_in_the_document() -> None:
    given = narrowed(DOWN)
    (line,) = levelling_lines(survey(given))
    assert line == (
        "fairer levels down: between the groups of shop the gap in accuracy narrows from 20.0 to "
        "4.0 points since north lost (−15.0 [−22.0, −8.0]), and no group is shown to gain."
    )
    assert line in render_report(given)
    assert line in " ".join(render(given, color=False, unicode=True, width=100).split())
    (told,) = to_json(given, report=None, folder=None, exit_code=0)["candidates"]
    (found,) = told["levelling"]
    assert (found["found"], found["column"], found["best"]) == ("down", "shop", {"shop": "north"})
    assert found["gap_before"] == pytest.approx(0.2) and found["gap_after"] == pytest.approx(0.04)
    set_language("zh")
    assert "向下拉平" in levelling_lines(survey(given))[0]


def test_other_levers_are_not_blamed() -> None:
    assert levelling_lines(survey(narrowed(DOWN, lever="quantize"))) == []


# -- next steps ------------------------------------------------------------------------------------


def failing() -> Evidence:
    both = floats(500, 500)
    rates = Rate(floats(450, 300), both, both, floats(1, 1))
    spread = Spread(rates=(rates,), kind="difference", groups=("north", "south"))
    return Evidence(GAP, 0, (Slice.of({"each": "shop"}),), spread, 0.05)


KNOWN = Mitigating(True, ("shop",), train_minutes=6.0, ask_minutes=1.0)


def test_a_gap_brings_two_recipes_with_their_minutes_and_the_question_for_counsel() -> None:
    found = {s.recipe: s for s in steps({"a": [failing()]}, mitigating=KNOWN)}
    head, told = (
        found["{exponentiated_gradient: {constraint: equal_opportunity}}"],
        found["threshold_per_group"],
    )
    assert head.cost_minutes == told.cost_minutes == 1.0
    assert "mitigate.recipes" in phrase(head.phrase)
    assert "must be told shop at each answer: ask counsel" in phrase(told.phrase)


def test_what_was_tried_or_cannot_be_is_not_proposed() -> None:
    tried = frozenset(["threshold_per_group", "{exponentiated_gradient: "
                       "{constraint: equal_opportunity}}"])  # fmt: skip
    for known in (replace(KNOWN, tried=tried), Mitigating(), replace(KNOWN, groups=("town",))):
        found = steps({"a": [failing()]}, mitigating=known)
        assert not [s for s in found if s.phrase.key.startswith("next.mitigate")]


def test_another_column_than_the_first_is_named_in_the_recipe() -> None:
    found = steps({"a": [failing()]}, mitigating=replace(KNOWN, groups=("town", "shop")))
    assert "{threshold_per_group: {group: shop}}" in {s.recipe for s in found}


# -- a project -------------------------------------------------------------------------------------


def asking(recipes: str) -> str:
    return PROJECT.replace(
        "compress: {recipes: [bf16]}",
        f"compress: {{recipes: []}}\nmitigate: {{recipes: {recipes}}}",
    ).replace("epochs: 4", "epochs: 1")


def test_a_project_makes_them_and_measures_them_on_validation(tmp_path: Path) -> None:
    make_project(tmp_path, asking("[reweighing, threshold_per_group, {counterfactual_augmentation: "
                                  "{pairs: [mine.txt]}}]"))  # fmt: skip
    (tmp_path / "mine.txt").write_text("film / so\n")
    made: list[Any] = []
    project = load_project(tmp_path / "shipworthy.yaml")
    found = mitigate_project(project, tmp_path, tell=made.append)
    names = [row.name for row in found.rows]
    assert names == [
        "fp32 parent", "reweighing", "threshold-per-group", "counterfactual-augmentation-mine",
    ]  # fmt: skip
    assert not [stage for stage in made if stage.name.startswith("test")]
    assert all(set(row.spreads) == {"shop"} for row in found.rows)
    lines = found.lines(width=100)
    assert "Between the groups of shop" in lines[0] and len(lines) > 6
    assert found.to_dict()["candidates"][1]["groups"]["shop"]["accuracy_difference"]["value"] >= 0
    assert needs_group(Path(found.rows[2].folder)) == "shop"
    stages = {stage.name: stage for stage in made}
    everyone = [
        Made(replace(PARENT, name=name, lever="mitigate"), stages[f"candidate {name}"].folder,
             stages[f"candidate {name}"])
        for name in names[1:]
    ]  # fmt: skip
    notes = [phrase(note) for note in mitigation_notes(everyone)]
    assert any("threshold-per-group must be told shop at each answer" in n for n in notes)
    assert any("texts with identities swapped" in n for n in notes)
    again: list[Any] = []
    mitigate_project(project, tmp_path, tell=again.append)
    assert all(stage.cached for stage in again)
    # Another list is another candidate, whatever it is called.
    (tmp_path / "mine.txt").write_text("film / very\n")
    mitigate_project(project, tmp_path, tell=again.append)
    other = [s for s in again if s.name == "candidate counterfactual-augmentation-mine"]
    assert len({stage.key for stage in other}) == 2


@pytest.mark.parametrize(
    ("recipes", "told"),
    [
        ("[{reweighing: {group: shpo}}]", r"shipworthy\.yaml:.*'shpo', which data\.groups.*'shop'"),
        ("[{counterfactual_augmentation: {pairs: [gendr]}}]", "no list of pairs named"),
        ("[reweighting]", r"shipworthy\.yaml:"),
    ],
)
def test_a_recipe_that_cannot_be_is_told_before_anything_is_done(
    tmp_path: Path, recipes: str, told: str
) -> None:
    make_project(tmp_path, asking(recipes))
    with pytest.raises(SettingsError, match=told):
        load_project(tmp_path / "shipworthy.yaml")
    assert not (tmp_path / ".shipworthy").exists()


def test_a_project_without_any_is_told(tmp_path: Path) -> None:
    make_project(tmp_path)
    with pytest.raises(SettingsError, match="asks for no mitigation"):
        mitigate_project(load_project(tmp_path / "shipworthy.yaml"), tmp_path)


def test_a_group_without_positives_is_told_and_leaves_the_rest(tmp_path: Path) -> None:
    import polars as pl

    make_project(tmp_path, asking("[threshold_per_group]"))
    rows = pl.read_csv(tmp_path / "rows.csv")
    alone = pl.when(pl.col("label") == "no").then(pl.lit("east")).otherwise(pl.col("shop"))
    rows.with_columns(alone.alias("shop")).write_csv(tmp_path / "rows.csv")
    with pytest.raises(StageError, match="the group east has 0 positive rows") as error:
        mitigate_project(load_project(tmp_path / "shipworthy.yaml"), tmp_path)
    assert error.value.exit_code == 2
