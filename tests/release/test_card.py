"""Documents about a run: every number from its tables, every statement with what it rests on."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from answers import candidate, parent
from card_numbers import body, numbers_in, numbers_of
from hypothesis import given
from hypothesis import strategies as st
from sample import pictured

import shipworthy as sw
from shipworthy.core.digest import digest_file
from shipworthy.core.errors import InputError, SettingsError, StaleError
from shipworthy.core.ledger import Ledger
from shipworthy.core.locale import set_language
from shipworthy.core.yaml import Document, load_settings, parse_yaml
from shipworthy.data.settings import DataSettings
from shipworthy.release.card import NAMES, read_facts, render_card, write_cards
from shipworthy.release.card_metadata import metadata
from shipworthy.release.card_origins import count_data, model_origin
from shipworthy.release.documentation import Documentation
from shipworthy.release.judgement import Approval, SelftestEvidence, SignOff, Waiver
from shipworthy.release.markdown import escaped
from shipworthy.release.record import read_record, write_record

NOW = datetime.now(UTC)
DECLARED = """
documentation:
  intended_use: Sorting reviews | of <films>.
  provider: Example Ltd
  licence: MIT
  languages: [en]
  standards: [EN 301 549]
  data: {licence: CC BY 4.0, motivation: To try it out.}
"""
KINDS = tuple(NAMES)


@pytest.fixture
def run(toy: Path) -> Path:
    """A run of a project with a parent, one candidate, groups, units, size and speed."""
    (folder,) = (toy / "runs").iterdir()
    project = folder / "project.yaml"
    project.write_text(project.read_text("utf-8") + DECLARED, "utf-8")
    return folder


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of judged predictions, held, with groups."""
    base = parent(2000)
    found = sw.judge(
        base, candidate(base, lost=200, within="news"),
        [{"measure": "accuracy", "relative_to": "parent", "at_least": -0.02, "owner": "ml"},
         {"measure": "accuracy", "slice": {"each": "domain"}, "relative_to": "parent",
          "at_least": -0.03}],
        label="y", prediction="p", id="i", groups=["domain"], score="s",
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("judged")
    write_record(found, folder)
    return folder


def cards(folder: Path, tmp_path: Path, **more: Any) -> dict[str, str]:
    found = write_cards(folder, kinds=["all"], out=tmp_path / "cards", **more)
    return {card.kind: card.path.read_text("utf-8") for card in found}


# Numbers


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("which", ["run", "judged"])
def test_every_number_stands_in_the_tables_of_the_run(
    which: str, language: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder: Path = request.getfixturevalue(which)
    set_language(language)
    held, run_id = numbers_of(folder), read_record(folder).run
    for kind, card in cards(folder, tmp_path).items():
        found = numbers_in(card, run_id)
        assert len(found) >= 3, kind
        assert [n for n in found if n not in held] == [], kind


def test_a_number_from_elsewhere_would_be_noticed(judged: Path, tmp_path: Path) -> None:
    held, run_id = numbers_of(judged), read_record(judged).run
    found = numbers_in(cards(judged, tmp_path)["model"], run_id)
    figures = [f for f in found if "." in f]
    wrong = [f[:-1] + str((int(f[-1]) + 3) % 10) for f in figures]
    assert len(wrong) > 20
    # A wrong figure of two digits may be another row's; most are nobody's.
    assert sum(w not in held for w in wrong) > 0.6 * len(wrong)


def test_the_metadata_hold_the_numbers_of_the_table_whole(run: Path) -> None:
    facts = read_facts(run)
    values = parse_yaml(metadata(facts)).data
    (model,) = values["model-index"]
    table = facts.judgement.measurements.filter(candidate=facts.named.id)
    metrics = [m for result in model["results"] for m in result["metrics"]]
    assert {m["type"] for m in metrics} >= {"accuracy", "accuracy_change", "f1"}
    for metric in metrics:
        args = metric["args"]
        same = table.filter(
            value=metric["value"], low=args["low"], high=args["high"], n=args["n"],
            slice=args.get("slice", "{}"),
        )  # fmt: skip
        assert same.height >= 1, metric


# The form of the Hub


def test_the_parser_of_the_hub_reads_it_and_gives_the_same_back(run: Path, tmp_path: Path) -> None:
    from huggingface_hub import EvalResult, ModelCard

    content = cards(run, tmp_path)["model"]
    card = ModelCard(content)
    data = card.data.to_dict()
    assert card.content == content
    assert ModelCard(str(card)).data.to_dict() == data
    assert data["license"] == "mit"
    assert data["language"] == ["en"]
    assert data["tags"][:2] == ["shipworthy", "verdict-ship"]
    assert data["pipeline_tag"] == "text-classification"
    results = card.data.eval_results
    assert results and all(isinstance(r, EvalResult) for r in results)
    names = [r.metric_name for r in results]
    assert "accuracy" in names
    assert "accuracy on shop=north" in names
    assert {r.dataset_split for r in results} == {"test"}


@pytest.mark.parametrize(
    ("declared", "fields"),
    [
        ("Apache-2.0", {"license": "apache-2.0"}),
        ("Our own terms", {"license": "other", "license_name": "Our-own-terms"}),
        (None, {"license": "unknown"}),
    ],
)
def test_a_licence_is_named_as_the_hub_does(
    judged: Path, declared: str | None, fields: dict[str, str]
) -> None:
    facts = read_facts(judged)
    facts.__dict__["origins"] = {"data": {"sources": []}, "model": {"licence": declared}}
    values = parse_yaml(metadata(facts)).data
    assert {k: v for k, v in values.items() if k.startswith("license")} == fields


# Statements


def bullets(card: str) -> list[str]:
    return [line for line in card.splitlines() if line.startswith("- ")]


@pytest.mark.parametrize("which", ["run", "judged"])
@pytest.mark.parametrize(
    ("language", "none", "named"),
    [("en", "- none, because ", r"\[run"), ("zh", "- 无，因为", r"\[运行")],
)
def test_every_statement_names_run_and_digest_or_says_why_not(
    which: str, language: str, none: str, named: str, request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:  # fmt: skip
    folder: Path = request.getfixturevalue(which)
    set_language(language)
    run_id = read_record(folder).run
    source = re.compile(
        rf" {named} `{run_id}`, (\S+) `([0-9a-f]{{12}})`(?:, documentation\.\S+)?\]$"
    )
    facts = read_facts(folder)
    digests = {name: digest_file(folder / name, memo=False) for name in facts.files}
    digests[facts.named.folder] = facts.named.artefact_digest
    rested = 0
    for kind, card in cards(folder, tmp_path).items():
        found = bullets(body(card))
        assert len(found) > 10, kind
        for line in found:
            if line.startswith(none):
                continue
            match = source.search(line)
            assert match, line
            assert digests[match[1]].startswith(match[2])
            assert digests[match[1]] in card
            rested += 1
    assert rested > 12


def test_annex_iv_has_its_nine_headings(run: Path, tmp_path: Path) -> None:
    card = cards(run, tmp_path)["annex-iv"]
    headings = [line for line in card.splitlines() if re.match(r"## \d", line)]
    assert [h.split(".")[0] for h in headings] == [f"## {n}" for n in range(1, 10)]
    for word, heading in zip(
        ["General", "developed", "control", "metrics", "Risk", "Changes", "Standards",
         "declaration of conformity", "market"], headings, strict=True,
    ):  # fmt: skip
        assert word in heading


def test_what_people_declared_is_quoted_and_the_rest_is_named_as_absent(
    run: Path, tmp_path: Path
) -> None:
    found = cards(run, tmp_path)
    assert r"- Sorting reviews \| of \<films\>. [run" in found["model"]
    assert r"documentation.intended\_use]" in found["annex-iv"]
    assert "- EN 301 549 [" in found["annex-iv"]
    assert "- CC BY 4.0 [" in found["datasheet"]
    missing = "none, because nothing was declared under documentation."
    for key in ("risks", r"human\_oversight", r"post\_market\_plan", "cybersecurity"):
        assert f"- {missing}{key}" in found["annex-iv"]
    assert f"- {missing}data.maintenance" in found["datasheet"]


def test_without_a_project_every_absence_says_what_would_give_it(
    judged: Path, tmp_path: Path
) -> None:
    found = cards(judged, tmp_path)
    assert "documentation.risks is not known; `shipworthy run` keeps one" in found["annex-iv"]
    assert "files of predictions were judged" in found["datasheet"]
    assert "500 rows were tested" in found["datasheet"]


def test_every_declared_text_appears_somewhere() -> None:
    sources = Path(sw.__file__).parent / "release"
    used = "".join((sources / f"{n}.py").read_text() for n in
                   ("card", "technical_documentation", "datasheet", "card_metadata"))  # fmt: skip
    fields = Documentation.model_fields
    keys = [k for k in fields if k != "data"]
    keys += [f"data.{k}" for k in type(Documentation().data).model_fields]
    assert [k for k in keys if f'"{k}"' not in used] == []


def test_the_page_names_every_key_and_its_example_loads() -> None:
    page = (Path(__file__).parents[2] / "docs" / "cards.md").read_text("utf-8")
    section = page.split("## What people declare")[1].split("\n## ")[0]
    (block,) = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    declared = load_settings(Documentation, parse_yaml(block), ("documentation",))
    assert declared.licence == "apache-2.0"
    for model in (Documentation, type(declared.data)):
        assert [k for k in model.model_fields if not re.search(rf"\b{k}\b", section)] == []


def test_a_key_that_nobody_knows_is_refused() -> None:
    with pytest.raises(SettingsError, match="intended_use"):
        load_settings(Documentation, Document({"intendeduse": "x"}, "shipworthy.yaml"))


# The verdict comes first


def test_a_held_candidate_says_so_first(judged: Path, tmp_path: Path) -> None:
    found = cards(judged, tmp_path)
    for card in found.values():
        assert body(card).splitlines()[0].startswith("> **HOLD: candidate 1 must not ship")
    assert "- verdict-hold" in found["model"]
    set_language("zh")
    found = cards(judged, tmp_path)
    for card in found.values():
        assert body(card).splitlines()[0].startswith("> **暂缓：candidate 1 不得发布")


def test_a_rehearsal_never_reads_as_a_verdict(judged: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(judged, tmp_path / "run")
    found = read_record(folder)
    measured = found.measurements.with_columns(split=pl.lit("validation"))
    write_record(replace(found, kind="rehearsal", measurements=measured), folder)
    gone = json.loads((folder / "verdict.json").read_text())
    assert gone["kind"] == "rehearsal"
    with pytest.raises(InputError, match="is gone"):
        write_cards(folder)
    facts = _facts_unchecked(folder)
    assert body(render_card(facts, "model")).startswith("> **REHEARSAL, NOT FOR SHIPPING")


def _facts_unchecked(folder: Path) -> Any:
    from shipworthy.release.card_facts import Facts

    return Facts(folder, read_record(folder))


# What is missing or stale stops it


def edited(folder: Path, tmp_path: Path, **changes: Any) -> Path:
    target = tmp_path / "edited"
    shutil.copytree(folder, target)
    write_record(replace(read_record(folder), **changes), target)
    return target


def stopped(folder: Path, kind: type[Exception], *words: str, **more: Any) -> None:
    before = sorted(p.name for p in folder.iterdir())
    with pytest.raises(kind) as caught:
        write_cards(folder, kinds=["all"], **more)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
    assert sorted(p.name for p in folder.iterdir()) == before


@pytest.mark.parametrize("whose", ["parent", "candidate"])
def test_a_missing_number_stops_the_card_with_its_name(
    judged: Path, tmp_path: Path, whose: str
) -> None:
    found = read_record(judged)
    owner = found.parent if whose == "parent" else found.candidates[0]
    gone = (
        (pl.col("candidate") == owner.id)
        & (pl.col("measure") == "accuracy")
        & (pl.col("slice") == '{"domain":"shop"}')
    )
    folder = edited(judged, tmp_path, measurements=found.measurements.filter(~gone))
    stopped(folder, InputError, "accuracy", owner.name, '{"domain":"shop"}', "is missing")


def test_a_number_that_the_decision_did_not_rest_on_stops_it(judged: Path, tmp_path: Path) -> None:
    found = read_record(judged)
    changed = pl.when(slice='{"domain":"shop"}', relative_to="parent", measure="accuracy")
    table = found.measurements.with_columns(
        value=changed.then(pl.col("value") + 0.01).otherwise(pl.col("value"))
    )
    folder = edited(judged, tmp_path, measurements=table)
    stopped(folder, InputError, "accuracy of candidate", "the decision rested on")


def test_evidence_past_its_days_stops_it_with_the_limit(judged: Path, tmp_path: Path) -> None:
    limits = [replace(li, expires_days=30) for li in read_record(judged).limits]
    folder = edited(judged, tmp_path, limits=tuple(limits))
    assert write_cards(folder, out=tmp_path / "in time", now=NOW + timedelta(days=29))
    stopped(
        folder, StaleError, "accuracy against parent ≥ -0.02", "candidate", "31 days",
        now=NOW + timedelta(days=31, hours=1),
    )  # fmt: skip


def test_a_clock_that_was_set_back_revives_nothing(
    judged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = [replace(li, expires_days=30) for li in read_record(judged).limits]
    folder = edited(judged, tmp_path, limits=tuple(limits))
    Ledger(folder / "ledger.jsonl").append("recovered", {"bytes": 1, "sha256": "0" * 64})
    stopped(folder, StaleError, "days old", now=NOW + timedelta(days=40))
    assert write_cards(folder, out=tmp_path / "cards", now=NOW - timedelta(days=40))


def test_another_artefact_in_the_folder_stops_it(run: Path) -> None:
    named = read_facts(run).named
    settings = run / named.folder / "config.json"
    content = settings.read_text("utf-8")
    settings.unlink()
    settings.write_text(content.replace("{", "{ ", 1), "utf-8")
    stopped(run, StaleError, named.name, named.artefact_digest[:12])
    shutil.rmtree(run / named.folder)
    stopped(run, InputError, named.name, "is gone")


def test_predictions_that_changed_since_stop_it(tmp_path: Path) -> None:
    base = parent(400)
    other = candidate(base, lost=2)
    base.write_csv(tmp_path / "base.csv")
    other.write_csv(tmp_path / "new.csv")
    found = sw.judge(
        tmp_path / "base.csv", tmp_path / "new.csv",
        [{"measure": "accuracy", "at_least": 0.5}], label="y", prediction="p", id="i",
    )  # fmt: skip
    write_record(found, tmp_path / "run")
    assert write_cards(tmp_path / "run", out=tmp_path / "cards")
    candidate(base, lost=3).write_csv(tmp_path / "new.csv")
    stopped(tmp_path / "run", StaleError, "new:", "new.csv")
    (tmp_path / "new.csv").unlink()
    assert write_cards(tmp_path / "run", out=tmp_path / "cards")


def test_a_waiver_that_ended_stops_it(judged: Path, tmp_path: Path) -> None:
    found = read_record(judged)
    waiver = Waiver(
        limit=str(found.limits[0]), candidate=found.candidates[0].id, artefact_digest="",
        person="ann", role="ml", reason="for a week", created=NOW.isoformat(),
        expires=(NOW + timedelta(days=7)).isoformat(), line="0" * 64,
    )  # fmt: skip
    folder = edited(judged, tmp_path, waivers=(waiver,))
    facts = _facts_unchecked(folder)
    assert "ann (ml) waived" in render_card(facts, "model")
    assert "for a week" in render_card(facts, "annex-iv")
    stopped(folder, StaleError, str(found.limits[0]), "ended", now=NOW + timedelta(days=8))


def test_a_selftest_that_ended_stops_it(judged: Path, tmp_path: Path) -> None:
    proof = SelftestEvidence(
        passed=True, policy_digest="0" * 64, code="0" * 64, created=NOW.isoformat(),
        expires=(NOW + timedelta(days=7)).isoformat(),
    )  # fmt: skip
    folder = edited(judged, tmp_path, selftest=proof)
    assert "passed: every planted bad model" in render_card(_facts_unchecked(folder), "model")
    stopped(folder, StaleError, "self-test", now=NOW + timedelta(days=8))


def test_what_a_selftest_was_not_asked_for_is_said(judged: Path, tmp_path: Path) -> None:
    proof = SelftestEvidence(True, "0" * 64, "0" * 64, NOW.isoformat(), skipped=("slow",))
    folder = edited(judged, tmp_path, selftest=proof)
    assert "not asked for: slow." in render_card(_facts_unchecked(folder), "annex-iv")
    failed = replace(proof, passed=False, not_held=("biased",))
    folder = edited(judged, tmp_path / "failed", selftest=failed)
    assert "failed; not held were: biased." in render_card(_facts_unchecked(folder), "annex-iv")


def test_who_signed_and_who_did_not_is_said(judged: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(judged, tmp_path / "run")
    Ledger(folder / "ledger.jsonl").append("recovered", {"bytes": 1, "sha256": "0" * 64})
    signed = SignOff("ann", "ml", "SHA256:abc", NOW.isoformat(), "0" * 64)
    approval = Approval((signed,), ("fairness",), separated=False)
    facts = _facts_unchecked(folder)
    facts.judgement = replace(facts.judgement, approval=approval)
    card = render_card(facts, "model")
    assert f"- ann signed as ml on {NOW.date()} with the key SHA256:abc. [run" in card
    assert "- none, because nobody signed as fairness yet" in card
    assert "- none, because whoever trained is the only one who signed" in card


def test_a_run_without_candidates_has_no_card(tmp_path: Path) -> None:
    found = pictured(())
    write_record(found, tmp_path)
    stopped(tmp_path, InputError, "no candidate")


def test_a_damaged_file_of_origins_is_told(run: Path) -> None:
    (run / "origins.json").unlink()
    (run / "origins.json").write_text("{", "utf-8")
    stopped(run, InputError, "origins.json")


@pytest.mark.parametrize("kinds", [["modle"], ["model", "annex"]])
def test_an_unknown_kind_names_the_nearest(judged: Path, kinds: Sequence[str]) -> None:
    with pytest.raises(InputError, match="did you mean"):
        write_cards(judged, kinds=kinds)


def test_a_limit_that_was_not_measured_is_said_not_hidden(tmp_path: Path) -> None:
    base = parent(400)
    policy = [{"measure": "accuracy", "at_least": 0.5}, {"measure": "size_mb", "at_most": 100}]
    found = sw.judge(base, candidate(base, lost=1), policy, label="y", prediction="p", id="i")
    write_record(found, tmp_path)
    card = cards(tmp_path, tmp_path)["annex-iv"]
    assert "A limit asks for size, which was not measured; that blocks." in card
    assert "> **UNDECIDED: candidate 1 may not ship yet" in card


# Counts


FRAME = pl.DataFrame(
    {
        "text": ["good film", "Good film!", "bad film indeed it was", "so so", "fine by me", "no"],
        "label": ["yes", "yes", "no", "no", "yes", "no"],
        "shop": ["n", "s", None, "n", "n", "s"],
        "author": [1, 1, 2, 3, 4, 4],
        "split": ["train", "test", "train", "train", "test", "test"],
    }
)


def test_counts_are_those_of_the_rows(tmp_path: Path) -> None:
    FRAME.drop("split").write_csv(tmp_path / "rows.csv")
    settings = DataSettings(
        source=str(tmp_path / "rows.csv"), unit="author", groups=("shop",), near_duplicates="off"
    )
    found = count_data(FRAME, "split", settings, classes=("no", "yes"))
    assert found["rows"] == 6
    assert found["splits"] == {"train": 3, "test": 3}
    assert found["units"] == {"train": 3, "test": 2}
    assert {one["label"]: one["rows"] for one in found["labels"]} == {
        "yes": {"train": 1, "test": 2},
        "no": {"train": 2, "test": 1},
    }
    groups = {one["value"]: sum(one["rows"].values()) for one in found["groups"]}
    assert groups == {"n": 3, "s": 2, None: 1}
    # "good film" and "Good film!" are one text but for case and punctuation.
    assert found["duplicates"] == {
        "repeated_rows": 1, "near_texts": 0, "rows_in_several_splits": 2, "similarity": None
    }  # fmt: skip
    (source,) = found["sources"]
    assert source["name"] == "rows.csv"
    assert source["sha256"] == digest_file(tmp_path / "rows.csv")
    assert str(tmp_path) not in json.dumps(found)


@pytest.mark.parametrize(
    ("readme", "config", "licence", "where", "base"),
    [
        ("---\nlicense: mit\n---\n# x", {}, "mit", "README.md", None),
        ("# no metadata", {"license": "bsd"}, "bsd", "config.json", None),
        ("---\nlicense: [\n---", {"_name_or_path": "own/er"}, None, None, "own/er"),
        (None, {"_name_or_path": "./local/path/x"}, None, None, None),
    ],
)
def test_a_model_folder_declares_its_licence(
    tmp_path: Path, readme: str | None, config: dict[str, str], licence: str | None,
    where: str | None, base: str | None,
) -> None:  # fmt: skip
    if readme is not None:
        (tmp_path / "README.md").write_text(readme, "utf-8")
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    found = model_origin(str(tmp_path), tmp_path)
    assert (found["licence"], found["licence_from"]) == (licence, where)
    assert found["base_model"] == base
    assert found["name"] == tmp_path.name


# Markdown


@given(st.text(alphabet="ab*_`[]<>#|~\\-+1.) \n中", max_size=30))
def test_no_text_changes_the_form_of_a_document(text: str) -> None:
    from markdown_it import MarkdownIt

    line = escaped(text)
    assert "\n" not in line
    tokens = MarkdownIt("commonmark").enable("table").parse(f"- x {line}\n")
    assert [t.type for t in tokens if t.nesting >= 0][:3] == [
        "bullet_list_open", "list_item_open", "paragraph_open"
    ]  # fmt: skip
    inline = [child for t in tokens if t.children for child in t.children]
    assert {c.type for c in inline} <= {"text", "text_special"}
    assert "".join(c.content for c in inline) == f"x {' '.join(text.split())}".rstrip()
