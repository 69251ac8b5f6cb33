"""What pipelines and pull requests are shown: JUnit XML, SARIF, Markdown."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import sample
from jsonschema import Draft7Validator

import shipworthy as sw
from shipworthy.core.errors import InputError
from shipworthy.core.locale import set_language
from shipworthy.core.records import WAIVED, Outcome
from shipworthy.release.export_markdown import MOST_BYTES
from shipworthy.release.exports import FORMATS, cases, export
from shipworthy.release.judgement import Judgement, Waiver
from shipworthy.release.load import Run
from shipworthy.release.standing import survey

JUDGEMENTS = {
    "shipping": sample.shipping,
    "holding": sample.holding,
    "undecided": sample.undecided,
    "many groups": lambda: sample.many_groups(60, failing=7),
    "no groups": sample.without_groups,
    "hostile": sample.hostile,
    "advisory": sample.advisory_and_waived,
}


def waived() -> Judgement:
    """A held candidate whose failing limit of size somebody waived."""
    found = sample.holding()
    one, limit = found.candidates[0], found.limits[1]
    decisions = tuple(
        replace(d, reason=WAIVED) if d.limit == 1 else d for d in found.decisions
    )  # fmt: skip
    waiver = Waiver(
        str(limit), one.id, one.artefact_digest, "an-li", "fairness", "known, fixed next week",
        "2026-11-25T09:00:00+00:00", "2026-12-25T09:00:00+00:00", "00" * 32,
    )  # fmt: skip
    return replace(found, decisions=decisions, waivers=(waiver,))


def run_of(judgement: Judgement, folder: Path = Path("runs/a91f4c2e")) -> Run:
    return Run(folder, judgement)


def junit(judgement: Judgement) -> ElementTree.Element:
    return ElementTree.fromstring(export(run_of(judgement), "junit").encode())


def sarif(judgement: Judgement, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(export(run_of(judgement), "sarif", **more))
    return found


# -- JUnit -----------------------------------------------------------------------------------------

# What junit-10.xsd of Jenkins allows; the files of all judgements here were also validated with it.
ALLOWED = {
    "testsuites": {"name", "time", "tests", "failures", "errors"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "timestamp", "id"},
    "testcase": {"name", "classname", "time"},
    "failure": {"type", "message"},
    "error": {"type", "message"},
    "skipped": {"type", "message"},
}
CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"testcase"},
    "testcase": {"failure", "error", "skipped"},
}


@pytest.mark.parametrize("name", JUDGEMENTS)
def test_junit_keeps_to_the_schema_and_its_counts_to_the_cases(name: str) -> None:
    root = junit(JUDGEMENTS[name]())
    for element in root.iter():
        assert set(element.attrib) <= ALLOWED[element.tag]
        assert {child.tag for child in element} <= CHILDREN.get(element.tag, set())
    assert re.fullmatch(r"\d{0,3}(,?\d{3})*(\.\d{0,3})?", root.attrib["time"])
    total: Counter[str] = Counter()
    for suite in root:
        found = Counter(child.tag for case in suite for child in case)
        assert {
            "tests": str(len(suite)), "failures": str(found["failure"]),
            "errors": str(found["error"]), "skipped": str(found["skipped"]),
        }.items() <= suite.attrib.items()  # fmt: skip
        total += found
        names = [case.attrib["name"] for case in suite]
        assert len(set(names)) == len(names)
    assert root.attrib["failures"] == str(total["failure"])
    assert root.attrib["errors"] == str(total["error"])


@pytest.mark.parametrize("name", ["shipping", "holding", "undecided", "many groups", "no groups"])
def test_junit_has_one_case_for_each_decision(name: str) -> None:
    judgement = JUDGEMENTS[name]()
    verdict, *suites = junit(judgement)
    outcomes = Counter(d.decision for d in judgement.decisions)
    assert [s.attrib["name"] for s in suites] == [c.name for c in judgement.candidates]
    assert sum(len(s) for s in suites) == len(judgement.decisions)
    assert sum(int(s.attrib["failures"]) for s in suites) == outcomes[Outcome.FAIL]
    assert sum(int(s.attrib["errors"]) for s in suites) == outcomes[Outcome.CANNOT_TELL]
    (case,) = verdict
    tags = {"ship": [], "hold": ["failure"], "undecided": ["error"]}
    assert [child.tag for child in case] == tags[judgement.answer.value]


def test_what_does_not_enter_the_verdict_is_skipped() -> None:
    _, suite = junit(sample.advisory_and_waived())
    told = {case.attrib["name"].split(" (")[0]: [c.tag for c in case] for case in suite}
    assert told == {"Accuracy": [], "F1": ["skipped"], "AUC": ["skipped"]}
    _, suite = junit(waived())
    skipped = suite.findall("testcase/skipped")
    assert len(skipped) == 4
    assert "Waived by an-li (fairness) until 2026-12-25: known" in skipped[0].attrib["message"]
    assert suite.attrib["failures"] == "0"
    # A limit that was asked of one candidate only is skipped for the other.
    found = sample.pictured(["bf16 weights", "int8 dynamic"])
    bf16 = found.candidates[0].id
    fewer = replace(
        found, decisions=tuple(d for d in found.decisions if d.candidate != bf16 or d.limit != 3)
    )
    _, first, second = junit(fewer)
    assert [e.attrib["type"] for e in first.findall("testcase/skipped")] == ["not_asked"]
    assert second.findall("testcase/skipped") == []


def test_signs_that_xml_cannot_hold_are_replaced() -> None:
    found = sample.hostile()
    odd = replace(found, name="\x00\x1b[31m\ud800 ]]> & name")
    with pytest.raises(UnicodeEncodeError):
        odd.name.encode()
    root = junit(odd)
    assert root.attrib["name"] == "\ufffd\ufffd[31m\ufffd ]]> & name"


# -- SARIF -----------------------------------------------------------------------------------------


def closed(required: str = "", **properties: Any) -> dict[str, Any]:
    """A JSON Schema of an object that has these properties and no others."""
    return {
        "type": "object",
        "required": required.split(),
        "properties": properties,
        "additionalProperties": False,
    }


def array(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of, "uniqueItems": True}


TEXT = {"type": "string"}
MESSAGE = closed("text", text=TEXT)
LEVEL = {"enum": ["none", "note", "warning", "error"]}
BAG = {"type": "object"}
# SARIF 2.1.0, sections 3.13 to 3.52: the objects that we write, and what each may hold of those.
SARIF = closed(
    "version runs",
    **{"$schema": {"type": "string", "format": "uri"}},
    version={"const": "2.1.0"},
    runs=array(
        closed(
            "tool",
            tool=closed(
                "driver",
                driver=closed(
                    "name",
                    name=TEXT,
                    version=TEXT,
                    rules=array(
                        closed(
                            "id",
                            id=TEXT,
                            name=TEXT,
                            shortDescription=MESSAGE,
                            fullDescription=MESSAGE,
                            defaultConfiguration=closed(level=LEVEL),
                            properties=BAG,
                        )
                    ),
                ),
            ),
            automationDetails=closed(id=TEXT),
            columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
            results=array(
                closed(
                    "message",
                    ruleId=TEXT,
                    ruleIndex={"type": "integer", "minimum": -1},
                    level=LEVEL,
                    message=MESSAGE,
                    locations=array(
                        closed(
                            physicalLocation=closed(
                                artifactLocation=closed(uri={**TEXT, "format": "uri-reference"}),
                                region=closed(startLine={"type": "integer", "minimum": 1}),
                            )
                        )
                    ),
                    partialFingerprints={"type": "object", "additionalProperties": TEXT},
                    suppressions=array(
                        closed(
                            "kind",
                            kind={"enum": ["inSource", "external"]},
                            status={"enum": ["accepted", "underReview", "rejected"]},
                            justification=TEXT,
                        )
                    ),
                    properties=BAG,
                )
            ),
            properties=BAG,
        )
    ),
)


@pytest.fixture(scope="module")
def schema() -> Draft7Validator:
    Draft7Validator.check_schema(SARIF)
    return Draft7Validator(SARIF)


@pytest.mark.parametrize("name", [*JUDGEMENTS, "waived"])
def test_sarif_is_valid_and_has_a_result_for_each_decision_that_is_no_pass(
    name: str, schema: Draft7Validator
) -> None:
    judgement = waived() if name == "waived" else JUDGEMENTS[name]()
    log = sarif(judgement)
    assert [e.message for e in schema.iter_errors(log)] == []
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert len({r["id"] for r in rules}) == len(rules) == len(judgement.limits)
    open_ones = [d for d in judgement.decisions if d.decision is not Outcome.PASS]
    assert len(run["results"]) == len(open_ones)
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    prints = [r["partialFingerprints"]["limitOnSlice/v1"] for r in run["results"]]
    assert len(set(prints)) == len(prints)


def test_the_schema_refuses_what_is_no_sarif(schema: Draft7Validator) -> None:
    log = sarif(sample.holding())
    log["runs"][0]["results"][0]["level"] = "fatal"
    assert not schema.is_valid(log)


def test_levels_say_what_blocks_and_what_is_waived() -> None:
    def levels(judgement: Judgement) -> Counter[str]:
        return Counter(r["level"] for r in sarif(judgement)["runs"][0]["results"])

    assert levels(sample.undecided()) == {"warning": 4}
    assert levels(sample.many_groups(20, failing=3)) == {"error": 6}
    assert levels(sample.advisory_and_waived()) == {"note": 2}
    results = sarif(waived())["runs"][0]["results"]
    assert {r["suppressions"][0]["status"] for r in results} == {"accepted"}
    assert "known, fixed next week" in results[0]["suppressions"][0]["justification"]


def test_results_point_at_the_line_of_the_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = sample.undecided()
    Path("ci files").mkdir()
    listed = Path("ci files/policy.yaml")
    listed.write_text("# ours\n\n- {measure: accuracy, at_least: 0.8}\n- measure: accuracy\n")

    def places(judgement: Judgement, folder: Path, **more: Any) -> list[Any]:
        log = json.loads(export(Run(folder, judgement), "sarif", **more))
        places = [r["locations"][0]["physicalLocation"] for r in log["runs"][0]["results"]]
        return [(p["artifactLocation"]["uri"], p.get("region")) for p in places]

    assert set(map(str, places(found, tmp_path, policy=listed))) == {
        str(("ci%20files/policy.yaml", {"startLine": 4}))
    }
    # What `judge` was given is found again; else the project in the run; else only a name.
    given = replace(found, sources={"policy": str(listed)})
    assert places(given, tmp_path)[0] == ("ci%20files/policy.yaml", {"startLine": 4})
    (tmp_path / "project.yaml").write_text("name: x\npolicy:\n  limits:\n    - {}\n    - {}\n")
    assert places(found, tmp_path)[0] == ("project.yaml", {"startLine": 5})
    assert places(found, tmp_path / "none")[0] == ("policy.yaml", None)
    assert places(found, tmp_path, policy=listed.resolve())[0][0].startswith("file:///")
    with pytest.raises(sw.core.errors.SettingsError, match="no.yaml"):
        places(found, tmp_path, policy=Path("no.yaml"))


# -- Markdown --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", JUDGEMENTS)
def test_a_summary_is_short_and_its_tables_are_whole(name: str) -> None:
    page = export(run_of(JUDGEMENTS[name]()), "markdown")
    assert len(page.encode()) <= MOST_BYTES
    tables = re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE)
    assert tables
    for table in tables:
        rows = table.splitlines()
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1


def test_a_summary_says_verdict_reason_next_and_where_more_is() -> None:
    page = export(run_of(sample.undecided()), "markdown")
    assert page.startswith("## ❔ review-sentiment: Undecided – int8 dynamic\n")
    assert "| cannot tell | int8 dynamic | Change in accuracy, each domain (movie)" in page
    assert "**Next**\n\n- about 770 more movie rows" in page
    assert "[Report](runs/a91f4c2e/report.html)" in page
    assert "Limits by slice: 3 pass, 4 cannot tell." in page
    set_language("zh")
    assert "无法判断" in export(run_of(sample.undecided()), "markdown")
    assert "Waived by an-li" in _english(waived())


def _english(judgement: Judgement) -> str:
    set_language("en")
    return export(run_of(judgement), "markdown")


def test_names_in_a_summary_are_only_names() -> None:
    found = sample.hostile()
    name = "</title><script>@team #12 https://evil.example ![x](y) `code`"
    page = export(run_of(replace(found, name=name)), "markdown")
    assert re.findall(r"(?<!\\)<(?!/?sub>)", page) == []
    assert re.findall(r"@\w|#\d|://|(?<!\\)`|(?<!\\)\[(?!Report\])", page) == []


def test_a_summary_of_very_many_groups_is_cut_to_size() -> None:
    found = sample.many_groups(3000, failing=2500)
    page = export(run_of(found), "markdown")
    assert len(page.encode()) <= MOST_BYTES
    assert "4,960 not listed here" in page
    long = replace(found, notes=(sample.Phrase("judge.note.after_sight", {"names": "x" * 90_000}),))
    cut = export(run_of(long), "markdown")
    assert len(cut.encode()) <= MOST_BYTES
    assert cut.endswith("the rest stands in the report.\n")


# -- all -------------------------------------------------------------------------------------------


def test_every_format_tells_the_same_cases() -> None:
    found = sample.shipping()
    told = list(cases(survey(found)))
    statuses = Counter(c.status for c in told)
    _, *suites = junit(found)
    assert sum(len(s) for s in suites) == len(told)
    results = sarif(found)["runs"][0]["results"]
    assert len(results) == statuses["fail"] + statuses["undecided"] + statuses["skipped"]
    page = export(run_of(found), "markdown")
    assert f"{statuses['fail']} fail" in page
    assert f"{statuses['undecided']} cannot tell" in page


def test_another_format_is_named() -> None:
    with pytest.raises(InputError, match="--format junti: no such format; did you mean 'junit'"):
        export(run_of(sample.holding()), "junti")
    assert sorted(FORMATS) == list(FORMATS)
