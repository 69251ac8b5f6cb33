"""A judgement as JUnit XML (the form of Jenkins' junit-10.xsd): what a pipeline shows as tests.

One suite for the verdict of the run, one for each candidate. Fail is a failure, cannot tell an
error, what does not enter the verdict is skipped; the run itself is held (failure), undecided
(error) or ships.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from shipworthy.core.records import Answer
from shipworthy.release.display import text
from shipworthy.release.exports import Case, Status, cases, explanation, title
from shipworthy.release.judgement import Judgement
from shipworthy.release.standing import survey
from shipworthy.release.summary import headline

_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML 1.0 document may hold, not even escaped."""

_TAGS: dict[Status, str] = {"fail": "failure", "undecided": "error", "skipped": "skipped"}
_OF_ANSWER: dict[Answer, Status] = {
    Answer.SHIP: "pass",
    Answer.HOLD: "fail",
    Answer.UNDECIDED: "undecided",
}


@dataclass(frozen=True)
class _Test:
    name: str
    status: Status
    kind: str
    message: str
    body: str = ""


def to_junit(judgement: Judgement) -> str:
    """Return the JUnit XML of a judgement."""
    asked = survey(judgement)
    first = headline(asked)
    answer = _OF_ANSWER[judgement.answer]
    told = _Test(
        text("exports.verdict_of", name=judgement.name),
        answer,
        judgement.answer.value,
        " ".join((first.word, first.name)).strip(),
        "\n".join(first.sentences),
    )
    suites = [_suite(judgement, text("exports.verdict"), [told])]
    everything = list(cases(asked))
    for candidate in judgement.candidates:
        tests = [
            _Test(title(asked, c), c.status, _kind(c), explanation(c), _who(c))
            for c in everything
            if c.candidate.id == candidate.id
        ]
        suites.append(_suite(judgement, candidate.name, tests))
    root = ElementTree.Element("testsuites", {"name": _clean(judgement.name)})
    root.extend(suites)
    for count in ("tests", "failures", "errors"):
        root.set(count, str(sum(int(s.get(count, "0")) for s in suites)))
    root.set("time", f"{judgement.seconds:.3f}")
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, "unicode") + "\n"


def _suite(judgement: Judgement, name: str, tests: Sequence[_Test]) -> ElementTree.Element:
    counts = {s: sum(t.status == s for t in tests) for s in _TAGS}
    suite = ElementTree.Element(
        "testsuite",
        {
            "name": _clean(name),
            "tests": str(len(tests)),
            "failures": str(counts["fail"]),
            "errors": str(counts["undecided"]),
            "skipped": str(counts["skipped"]),
            "timestamp": judgement.created.replace(microsecond=0, tzinfo=None).isoformat(),
            "id": judgement.run,
        },
    )
    for test in tests:
        case = ElementTree.SubElement(
            suite, "testcase", {"name": _clean(test.name), "classname": _clean(name), "time": "0"}
        )
        if test.status == "pass":
            continue
        told = {"type": _clean(test.kind), "message": _clean(test.message)}
        ElementTree.SubElement(case, _TAGS[test.status], told).text = _clean(test.body) or None
    return suite


def _kind(case: Case) -> str:
    if case.decision is None:
        return "not_asked"
    return case.decision.reason or case.decision.decision.value


def _who(case: Case) -> str:
    return text("exports.owner", owner=case.limit.owner) if case.limit.owner else ""


def _clean(said: str) -> str:
    return _ILLEGAL.sub("\ufffd", said)
