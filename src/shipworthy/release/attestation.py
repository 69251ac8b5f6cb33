"""What ships, as a signed statement that other tools read: in-toto in a DSSE envelope.

The statement names every file of the bundle with its digest, and says by the published predicate
for test results which limits it passed (https://in-toto.io/attestation/test-result/v0.1). What only
shipworthy knows stands under one key of its own. The same run gives the same bytes, so that several
people sign one statement.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipworthy.core.digest import canonical_json, digest_file, digest_json, files_below
from shipworthy.core.envelope import Envelope, read_envelope
from shipworthy.core.errors import InputError
from shipworthy.core.files import write_atomically
from shipworthy.core.ledger import Ledger
from shipworthy.core.locale import text
from shipworthy.core.locale.libraries import refusal
from shipworthy.core.records import WAIVED, Answer, Outcome
from shipworthy.release.findings import Finding, note, warning, wrong
from shipworthy.release.hashing import digests_of
from shipworthy.release.places import LEDGER, PROJECT
from shipworthy.release.record import VERDICT
from shipworthy.release.recorded import Recorded, recorded

if TYPE_CHECKING:
    from shipworthy.core.keys import SigningKey
    from shipworthy.release.judgement import Judgement
    from shipworthy.release.trusted import Trusted

ATTESTATION = "attestation.dsse.json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
OWN = "shipworthy"
"""Key of the predicate under which stands what the published one has no place for."""


def attest(folder: Path | str, judgement: Judgement, key: SigningKey) -> Path:
    """Sign what ships and return the path of the envelope in the run folder.

    folder: the run folder, recorded in its ledger. An envelope of the same statement gains a
    signature, one of an earlier verdict is replaced. Raises InputError unless the run ships a
    bundle and every file is as it was recorded.
    """
    path = Path(folder) / ATTESTATION
    write_atomically(
        path, unsigned(folder, judgement, Ledger(Path(folder) / LEDGER)).signed(key).text
    )
    return path


def unsigned(folder: Path | str, judgement: Judgement, ledger: Ledger) -> Envelope:
    """Return the envelope of what ships, with the signatures that it has so far; see `attest`.

    ledger: where the run is recorded.
    """
    place = Path(folder)
    best = judgement.best
    if judgement.answer is not Answer.SHIP or best is None:
        raise InputError(text("error.attest.not_ship", path=place, answer=judgement.answer))
    found = recorded(ledger.lines(), judgement.run)
    digest = digest_file(place / VERDICT, memo=False)
    if found.verdict is None or found.verdict.payload["sha256"] != digest:
        raise InputError(text("error.attest.not_recorded", path=place))
    if f"candidates/{best}" not in found.folders:
        raise InputError(text("error.attest.no_bundle", path=place))
    body = canonical_json(_statement(judgement, best, found, _bundle(place, best, found))).encode()
    path = place / ATTESTATION
    envelope = Envelope(PAYLOAD_TYPE, body)
    if path.exists():
        before = read_envelope(path.read_bytes(), where=str(path))
        envelope = before if before.body == body else envelope
    return envelope


def drop_stale(folder: Path) -> None:
    """Remove an envelope that attests another verdict than `verdict.json` of the folder."""
    path = folder / ATTESTATION
    try:
        verdict = json.loads(read_envelope(path.read_bytes(), where=str(path)).body)
        told = verdict["predicate"][OWN]["verdict"]["sha256"]
    except FileNotFoundError:
        return
    except (InputError, ValueError, KeyError, TypeError, RecursionError):
        # Whatever lies there is for `verify` to name.
        return
    if told != digest_file(folder / VERDICT, memo=False):
        path.unlink()


def check_attestation(
    folder: Path | str,
    trusted: Trusted | None = None,
    *,
    jobs: int | None = None,
    digests: Mapping[Path, str] | None = None,
) -> tuple[Finding, ...]:
    """Return all that is wrong with the attestation of a run folder or of a bundle alone.

    folder: holds the envelope, and either `candidates/<id>/` or the files of the bundle themselves.
    trusted: without keys no signature can be checked, which is said. jobs: files read at a time.
    digests: of files that were read a moment ago, by path. Raises InputError where the envelope is
    absent or none.
    """
    place = Path(folder)
    path = place / ATTESTATION
    try:
        envelope = read_envelope(path.read_bytes(), where=str(path))
    except OSError as error:
        why = refusal(error)
        raise InputError(text("error.ledger.unreadable", path=path, why=why)) from error
    found = list(_signatures(path, envelope, trusted))
    try:
        statement = json.loads(envelope.body)
        own = statement["predicate"][OWN]
        subjects = {str(one["name"]): str(one["digest"]["sha256"]) for one in statement["subject"]}
        candidate, verdict = str(own["candidate"]["id"]), str(own["verdict"]["sha256"])
        head = own["ledger"]["number"], str(own["ledger"]["hash"])
        ends = [(str(w["limit"]), datetime.fromisoformat(w["expires"])) for w in own["waivers"]]
        if "/" in candidate or candidate in ("", ".", ".."):
            raise ValueError("no id of a candidate")
        ended = [(limit, end) for limit, end in ends if end <= datetime.now(UTC)]
        kinds = (statement["_type"], statement["predicateType"], envelope.payload_type)
        if kinds != (STATEMENT_TYPE, PREDICATE_TYPE, PAYLOAD_TYPE) or not subjects:
            raise ValueError("another kind of statement")
    except (ValueError, KeyError, TypeError, RecursionError):
        return (*found, wrong(path, "statement"))
    found += [warning(path, "attested_waiver", limit=w[:80], date=e.date()) for w, e in ended]
    in_run = place / f"candidates/{candidate}"
    base = in_run if in_run.is_dir() else place
    found += _files(path, base, subjects, digests or {}, jobs)
    if base is in_run:
        found += _record(place, path, verdict, head)
    return tuple(found)


def _bundle(place: Path, best: str, found: Recorded) -> dict[str, str]:
    """Return the digests of the bundle by name within it; all must be as they were recorded."""
    inside = f"candidates/{best}/"
    files = {inside + name: file for name, file in files_below(place / inside).items()}
    known = {path: file.sha256 for path, file in found.files.items() if path.startswith(inside)}
    digests = {name: digest_file(file, memo=False) for name, file in files.items()}
    for name in sorted(known.keys() | digests.keys()):
        if known.get(name) != digests.get(name):
            raise InputError(text("error.attest.changed", path=place / name))
    return {name.removeprefix(inside): digest for name, digest in sorted(digests.items())}


def _statement(
    judgement: Judgement, best: str, found: Recorded, bundle: Mapping[str, str]
) -> dict[str, Any]:
    passed, warned = _tests(judgement, best)
    limits = json.loads(canonical_json([asdict(limit) for limit in judgement.limits]))
    configuration = [{"name": "policy limits", "digest": {"sha256": digest_json(limits)}}]
    if PROJECT in found.files:
        digest = found.files[PROJECT].sha256
        configuration.append({"name": PROJECT, "digest": {"sha256": digest}})
    candidate = next(c for c in judgement.candidates if c.id == best)
    line = found.verdict
    assert line is not None
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": n, "digest": {"sha256": d}} for n, d in bundle.items()],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "result": "WARNED" if warned else "PASSED",
            "configuration": configuration,
            "passedTests": passed,
            "warnedTests": warned,
            "failedTests": [],
            OWN: {
                "run": judgement.run,
                "project": judgement.name,
                "candidate": {
                    "id": best,
                    "name": candidate.name,
                    "lever": candidate.lever,
                    "parents": list(candidate.parents),
                    "artefact_digest": candidate.artefact_digest,
                },
                "verdict": {
                    "answer": str(judgement.answer),
                    "sha256": line.payload["sha256"],
                    "created": judgement.created.isoformat(),
                    "confidence": judgement.confidence,
                },
                "waivers": [
                    {"limit": w.limit, "person": w.person, "expires": w.expires, "line": w.line}
                    for w in judgement.waivers
                    if w.candidate == best
                ],
                # Of the line that recorded the verdict: later lines would change what is signed.
                "ledger": {"number": line.number, "hash": line.hash},
            },
        },
    }


def _tests(judgement: Judgement, best: str) -> tuple[list[str], list[str]]:
    """Return the limits that the bundle passed, and those that were waived or do not count."""
    decisions = judgement.decisions_of(best)
    passed: list[str] = []
    warned: list[str] = []
    for place, limit in enumerate(judgement.limits):
        of_limit = [d for d in decisions if d.limit == place]
        clear = all(d.decision is Outcome.PASS and d.reason != WAIVED for d in of_limit)
        (passed if of_limit and clear else warned).append(str(limit))
    return passed, warned


def _signatures(path: Path, envelope: Envelope, trusted: Trusted | None) -> tuple[Finding, ...]:
    if not envelope.signatures:
        return (wrong(path, "unsigned"),)
    if trusted is None:
        keys = ", ".join(s.keyid for s in envelope.signatures)
        return (warning(path, "attestation_unchecked", keys=keys),)
    owners = {key.fingerprint: key for key in trusted.owners}
    found = []
    for signature in envelope.signatures:
        key = envelope.signer(signature, trusted.owners)
        if key is not None:
            who = trusted.owners[key] or key.comment
            found.append(note(path, "attested", key=key.fingerprint, who=who))
        else:
            # The hint only says which of the two sentences helps; either voids the signature.
            kind = "attestation_forged" if signature.keyid in owners else "attestation_foreign"
            found.append(wrong(path, kind, key=signature.keyid[:64]))
    return tuple(found)


def _files(
    path: Path,
    base: Path,
    subjects: Mapping[str, str],
    known: Mapping[Path, str],
    jobs: int | None,
) -> list[Finding]:
    there = {n: file for n, file in files_below(base).items() if file.is_file()}
    there.pop(ATTESTATION, None)
    read = {name: known[file] for name, file in there.items() if file in known}
    unread = {n: there[n] for n in subjects if n in there and n not in read}
    digests = {**read, **digests_of(unread, jobs=jobs)}
    found = []
    for name in sorted(subjects.keys() | there.keys()):
        if name not in there:
            found.append(wrong(base / name, "attested_missing", path=path.name))
        elif name not in subjects:
            found.append(wrong(base / name, "attested_extra", path=path.name))
        elif digests[name] != subjects[name]:
            found.append(wrong(base / name, "attested_changed", path=path.name))
    return found


def _record(place: Path, path: Path, verdict: str, head: tuple[Any, str]) -> list[Finding]:
    """Return what the run folder says otherwise than the statement."""
    found, (number, digest) = [], head
    try:
        if digest_file(place / VERDICT, memo=False) != verdict:
            found.append(wrong(path, "attested_verdict"))
    except InputError:
        found.append(wrong(place / VERDICT, "missing"))
    lines = Ledger(place / LEDGER).chain().lines
    at = next((line for line in lines if line.number == number), None)
    if at is None or at.hash != digest:
        told = {"number": number, "hash": digest[:16]}
        found.append(wrong(place / LEDGER, "attested_head", **told))
    return found
