import json
import shutil
from base64 import b64decode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from recorded_run import BEST, Project, project, shipped
from sample import holding

from shipworthy.core.envelope import read_envelope
from shipworthy.core.errors import InputError
from shipworthy.core.keys import new_key
from shipworthy.core.records import WAIVED, Outcome
from shipworthy.release.attestation import ATTESTATION, attest, check_attestation
from shipworthy.release.judgement import Waiver
from shipworthy.release.record import write_record
from shipworthy.release.recorded import record_run
from shipworthy.release.trusted import load_trusted
from shipworthy.release.verify import verify


@pytest.fixture
def made(tmp_path) -> Project:
    return project(tmp_path / "p")


def statement(path: Path) -> dict:
    return json.loads(b64decode(json.loads(path.read_text())["payload"]))


def bundle(made: Project, tmp_path: Path) -> Path:
    """What is handed on: the files of the candidate that ships, and the envelope."""
    place = tmp_path / "bundle"
    shutil.copytree(made.folder / "candidates" / BEST, place)
    shutil.copy(made.folder / ATTESTATION, place)
    return place


def said(findings) -> list[tuple[str, str, str]]:
    return [(f.level, Path(f.where).name, f.phrase.key) for f in findings]


def test_a_statement_names_every_file_and_limit(made: Project) -> None:
    told = statement(attest(made.folder, made.judgement, made.ann))
    place = made.folder / "candidates" / BEST
    assert told["_type"] == "https://in-toto.io/Statement/v1"
    assert told["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert {one["name"]: one["digest"]["sha256"] for one in told["subject"]} == {
        name: sha256((place / name).read_bytes()).hexdigest()
        for name in ("config.json", "model.safetensors", "onnx/model.onnx")
    }
    predicate = told["predicate"]
    assert predicate["result"] == "PASSED"
    assert predicate["passedTests"] == [str(limit) for limit in made.judgement.limits]
    assert predicate["warnedTests"] == predicate["failedTests"] == []
    own = predicate["shipworthy"]
    line = made.ledger.lines()[own["ledger"]["number"] - 1]
    assert (line.kind, line.hash) == ("verdict", own["ledger"]["hash"])
    assert own["candidate"]["id"] == BEST
    verdict = (made.folder / "verdict.json").read_bytes()
    assert own["verdict"]["sha256"] == sha256(verdict).hexdigest()
    project_file = (made.folder / "project.yaml").read_bytes()
    assert predicate["configuration"][1] == {
        "name": "project.yaml",
        "digest": {"sha256": sha256(project_file).hexdigest()},
    }


def test_several_people_sign_the_same_bytes(made: Project) -> None:
    path = attest(made.folder, made.judgement, made.ann)
    first = read_envelope(path.read_bytes(), where="")
    # What bob does first in the ledger must not change what he signs.
    made.sign(made.bob, "bob", "platform")
    attest(made.folder, made.judgement, made.bob)
    attest(made.folder, made.judgement, made.ann)
    both = read_envelope(path.read_bytes(), where="")
    assert both.body == first.body
    assert {s.keyid for s in both.signatures} == {
        made.ann.public.fingerprint,
        made.bob.public.fingerprint,
    }
    assert (
        said(check_attestation(made.folder, load_trusted(made.keys)))
        == [("note", ATTESTATION, "verify.attested")] * 2
    )


def test_a_waiver_is_a_warning(tmp_path) -> None:
    given = shipped()
    waiver = Waiver(
        limit=str(given.limits[1]), candidate=BEST, artefact_digest="0" * 64, person="bob",
        role="fairness", reason="known", created="2026-01-01T00:00:00+00:00",
        expires="2027-01-01T00:00:00+00:00", line="1" * 64,
    )  # fmt: skip
    decisions = tuple(
        replace(d, reason=WAIVED, decision=Outcome.FAIL)
        if d.candidate == BEST and d.limit == 1
        else d
        for d in given.decisions
    )
    made = project(tmp_path / "p", replace(given, waivers=(waiver,), decisions=decisions))
    told = statement(attest(made.folder, made.judgement, made.ann))["predicate"]
    assert told["result"] == "WARNED"
    assert told["warnedTests"] == [str(given.limits[1])]
    assert told["shipworthy"]["waivers"] == [
        {"limit": waiver.limit, "person": "bob", "expires": waiver.expires, "line": waiver.line}
    ]


def test_only_what_ships_as_recorded_is_attested(made: Project, tmp_path) -> None:
    def refused(match: str, judgement=made.judgement) -> None:
        with pytest.raises(InputError, match=match):
            attest(made.folder, judgement, made.ann)
        assert not (made.folder / ATTESTATION).exists()

    refused("the verdict is hold, and only what ships", holding())
    model = made.folder / "candidates" / BEST / "model.safetensors"
    content = model.read_bytes()
    model.write_bytes(content + b"!")
    refused("model.safetensors: is not as it was recorded")
    model.write_bytes(content)
    extra = model.with_name("code.py")
    extra.write_text("")
    refused("code.py: is not as it was recorded")
    extra.unlink()
    verdict = made.folder / "verdict.json"
    verdict.write_text(verdict.read_text() + " ")
    refused("this verdict is not in the ledger")


def test_judged_answers_have_no_bundle(tmp_path) -> None:
    given = shipped()
    answers = [replace(c, folder="a.csv") for c in given.candidates]
    judged = replace(given, candidates=tuple(answers), parent=replace(given.parent, folder="p.csv"))
    made = project(tmp_path / "p", judged)
    with pytest.raises(InputError, match="holds no bundle to attest"):
        attest(made.folder, judged, made.ann)


def test_a_new_verdict_replaces_the_old_envelope(made: Project) -> None:
    path = attest(made.folder, made.judgement, made.ann)
    later = replace(made.judgement, confidence=0.9)
    write_record(later, made.folder)
    record_run(made.ledger, made.folder, later)
    made.ledger.copy_to(made.folder / "ledger.jsonl")
    assert ("wrong", ATTESTATION, "verify.attested_verdict") in said(
        check_attestation(made.folder, load_trusted(made.keys))
    )
    attest(made.folder, later, made.bob)
    found = read_envelope(path.read_bytes(), where="")
    assert [s.keyid for s in found.signatures] == [made.bob.public.fingerprint]


# -- a bundle alone --------------------------------------------------------------------------------


def test_a_bundle_is_checked_with_public_keys_only(made: Project, tmp_path) -> None:
    attest(made.folder, made.judgement, made.ann)
    place = bundle(made, tmp_path)
    shutil.rmtree(tmp_path / "p")
    shutil.rmtree(tmp_path / "p-secret")
    found = verify(place, trusted=load_trusted(made.keys))
    assert (found.kind, found.sound) == ("bundle", True)
    assert said(found.findings) == [("note", ATTESTATION, "verify.attested")]
    assert said(verify(place / ATTESTATION).findings) == [
        ("warning", ATTESTATION, "verify.attestation_unchecked")
    ]


def test_what_is_wrong_with_a_bundle_is_all_named(made: Project, tmp_path) -> None:
    attest(made.folder, made.judgement, made.ann)
    place = bundle(made, tmp_path)
    content = bytearray((place / "model.safetensors").read_bytes())
    content[len(content) // 2] ^= 4
    (place / "model.safetensors").write_bytes(content)
    (place / "onnx" / "model.onnx").unlink()
    (place / "modeling.py").write_text("import os")
    found = verify(place, trusted=load_trusted(made.keys))
    assert not found.sound
    assert said(found.of("wrong")) == [
        ("wrong", "model.safetensors", "verify.attested_changed"),
        ("wrong", "modeling.py", "verify.attested_extra"),
        ("wrong", "model.onnx", "verify.attested_missing"),
    ]


def test_other_signers_and_edited_statements(made: Project, tmp_path) -> None:
    path = attest(made.folder, made.judgement, made.ann)
    eve = new_key(tmp_path / "eve" / "eve", "eve")
    trusted = load_trusted(made.keys)
    document = json.loads(path.read_text())

    def wrong(changed: dict) -> list[str]:
        path.write_text(json.dumps(changed))
        found = check_attestation(made.folder, trusted)
        return [f.phrase.key for f in found if f.level == "wrong"]

    envelope = read_envelope(path.read_bytes(), where="")
    foreign = json.loads(replace(envelope, signatures=()).signed(eve).text)
    assert wrong(foreign) == ["verify.attestation_foreign"]
    named = json.loads(json.dumps(foreign))
    named["signatures"][0]["keyid"] = made.ann.public.fingerprint
    assert wrong(named) == ["verify.attestation_forged"]
    assert wrong({**document, "signatures": []}) == ["verify.unsigned"]
    body = envelope.body.replace(b'"result":"PASSED"', b'"result":"FAILED"')
    edited = json.loads(replace(envelope, body=body).text)
    assert wrong(edited) == ["verify.attestation_forged"]
    other = replace(envelope, body=b'{"_type":"x"}', signatures=()).signed(made.ann)
    assert wrong(json.loads(other.text)) == ["verify.statement"]
    typed = replace(envelope, payload_type="text/plain", signatures=()).signed(made.ann)
    assert wrong(json.loads(typed.text)) == ["verify.statement"]


def test_statements_that_say_less_or_point_elsewhere_are_none(made: Project) -> None:
    path = attest(made.folder, made.judgement, made.ann)
    envelope = read_envelope(path.read_bytes(), where="")
    whole = json.loads(envelope.body)
    for part, value in (
        ("verdict", {"answer": "ship"}), ("verdict", "x"), ("ledger", None), ("waivers", [{}]),
        ("candidate", {"id": "../../x"}), ("candidate", {"id": ".."}), ("candidate", {"id": ""}),
    ):  # fmt: skip
        told = json.loads(json.dumps(whole))
        told["predicate"]["shipworthy"][part] = value
        body = json.dumps(told).encode()
        path.write_text(replace(envelope, body=body, signatures=()).signed(made.ann).text)
        found = check_attestation(made.folder, load_trusted(made.keys))
        assert [f.phrase.key for f in found if f.level == "wrong"] == ["verify.statement"]


def test_a_waiver_that_ended_since_is_told(tmp_path) -> None:
    given = shipped()
    ends = datetime.now(UTC) - timedelta(days=1)
    waiver = Waiver(
        limit=str(given.limits[1]), candidate=BEST, artefact_digest="0" * 64, person="bob",
        role="fairness", reason="known", created="", expires=ends.isoformat(), line="1" * 64,
    )  # fmt: skip
    made = project(tmp_path / "p", replace(given, waivers=(waiver,)))
    attest(made.folder, made.judgement, made.ann)
    found = verify(bundle(made, tmp_path), trusted=load_trusted(made.keys))
    assert [f.phrase.key for f in found.of("warning")] == ["verify.attested_waiver"]
    assert ends.date().isoformat() in str(found.of("warning")[0])


def test_an_attestation_sees_a_ledger_that_was_cut(made: Project) -> None:
    attest(made.folder, made.judgement, made.ann)
    copy = made.folder / "ledger.jsonl"
    rows = copy.read_bytes().splitlines(keepends=True)
    copy.write_bytes(b"".join(rows[:5]))
    assert ("wrong", "ledger.jsonl", "verify.attested_head") in said(
        check_attestation(made.folder, load_trusted(made.keys))
    )


def test_no_attestation_is_one_line(made: Project) -> None:
    with pytest.raises(InputError, match="attestation.dsse.json: cannot be read"):
        check_attestation(made.folder)
