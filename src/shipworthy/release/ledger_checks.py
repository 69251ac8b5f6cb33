"""What can be said of a ledger by itself: chain, kinds, clock, signatures, and whose keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from shipworthy.core.errors import InputError
from shipworthy.core.keys import PublicKey
from shipworthy.core.ledger import Ledger
from shipworthy.core.ledger_kinds import misfits
from shipworthy.core.ledger_lines import Chain, Flaw, Line, clock_flaws, payload_flaws
from shipworthy.core.locale import text
from shipworthy.core.locale.libraries import refusal
from shipworthy.core.statements import SIGNED, check_payload_signature
from shipworthy.release.findings import Finding, Level, note, warning, wrong
from shipworthy.release.judgement import Phrase
from shipworthy.release.trusted import Trusted


@dataclass(frozen=True)
class Head:
    """Number and hash of a ledger line that somebody noted elsewhere; hash: 12 to 64 hex digits."""

    number: int
    hash: str


@dataclass(frozen=True)
class SignedLine:
    """A signature that fits. owner: of the key, by the trusted keys; None where it is foreign."""

    line: int
    kind: str
    person: str
    role: str
    key: str
    owner: str | None


@dataclass(frozen=True)
class LedgerCheck:
    """What was found. epsilon: spent by level (example, unit), added up: an upper figure."""

    path: Path
    chain: Chain
    findings: tuple[Finding, ...]
    signatures: tuple[SignedLine, ...]
    epsilon: Mapping[str, tuple[float, float]]


def read_head(written: str) -> Head:
    """Read NUMBER:HASH; raises InputError where it is none.

    >>> read_head("12:0123456789abcdef")
    Head(number=12, hash='0123456789abcdef')
    """
    number, _, digest = written.strip().partition(":")
    good = number.isascii() and number.isdigit() and 12 <= len(digest) <= 64
    if not good or set(digest) - set("0123456789abcdef"):
        raise InputError(text("error.verify.head", head=written[:80]))
    return Head(int(number), digest)


def check_ledger(
    path: Path, *, trusted: Trusted | None = None, head: Head | None = None
) -> LedgerCheck:
    """Check a ledger file; all that is wrong is listed, an absent file has no lines.

    trusted: without it signatures are checked, but nobody vouches for their keys. head: must be a
    line of the ledger. Raises InputError where the file cannot be read.
    """
    chain = Ledger(path).chain()
    found = [_flawed("wrong", path, flaw) for flaw in (*chain.flaws, *payload_flaws(chain))]
    found += [_flawed("warning", path, flaw) for flaw in clock_flaws(chain)]
    signatures: list[SignedLine] = []
    verdicts: set[tuple[str, str]] = set()
    for place, line in zip(chain.places, chain.lines, strict=True):
        if misfits(line.kind, line.payload):
            continue
        if line.kind == "verdict":
            verdicts.add((line.payload["run"], line.payload["sha256"]))
        if line.kind == "signoff":
            told = line.payload["run"], line.payload["verdict_sha256"]
            if told not in verdicts:
                found.append(wrong(f"{path}:{place}", "signoff_unknown", run=told[0][:40]))
        if line.kind in SIGNED:
            found += _signed(f"{path}:{place}", line, trusted, signatures)
    found += _covered(path, chain, signatures, trusted)
    if head is not None and not any(
        line.number == head.number and line.hash.startswith(head.hash) for line in chain.lines
    ):
        found.append(wrong(path, "head", number=head.number, hash=head.hash[:16]))
    return LedgerCheck(path, chain, tuple(found), tuple(signatures), _spent(chain))


def compare_copy(path: Path, copy: Path) -> Iterator[Finding]:
    """Yield how a copy of a ledger is no beginning of it: lines gone, or told otherwise.

    Raises InputError where one of the files cannot be read.
    """
    rows, copied = _rows(path), _rows(copy)
    for place, row in enumerate(copied, start=1):
        if place > len(rows):
            told = {"copy": copy, "lines": len(rows), "copied": len(copied)}
            yield wrong(path, "cut", **told)
            return
        if row != rows[place - 1]:
            yield wrong(f"{path}:{place}", "copy_differs", copy=copy)
            return


def _signed(
    where: str, line: Line, trusted: Trusted | None, signatures: list[SignedLine]
) -> Iterator[Finding]:
    """Yield what is wrong with a signed line, and note the signature where it fits."""
    payload = line.payload
    try:
        key = check_payload_signature(line.kind, payload)
    except InputError:
        yield wrong(where, "signature", kind=_kind(line), person=payload["person"])
        return
    if [payload["head_number"], payload["head_hash"]] != [line.number - 1, line.previous]:
        yield wrong(where, "moved", kind=_kind(line), number=payload["head_number"])
    owner = trusted.owners.get(key) if trusted is not None else None
    signatures.append(
        SignedLine(
            line.number, line.kind, payload["person"], payload["role"], key.fingerprint, owner
        )
    )
    if trusted is not None:
        yield from _foreign(where, line, key, owner)


def _foreign(where: str, line: Line, key: PublicKey, owner: str | None) -> Iterator[Finding]:
    person = line.payload["person"]
    told = {"kind": _kind(line), "person": person, "key": key.fingerprint}
    if owner is None:
        yield wrong(where, "foreign_key", **told)
    elif owner not in ("", person):
        yield wrong(where, "other_person", **told, owner=owner)


def _covered(
    path: Path, chain: Chain, signatures: list[SignedLine], trusted: Trusted | None
) -> Iterator[Finding]:
    """Yield what no signature speaks for: whoever holds the file could have written it anew."""
    known = [one for one in signatures if trusted is None or one.owner is not None]
    last = max((one.line for one in known), default=0)
    if trusted is None and known:
        keys = sorted({one.key for one in known})
        yield warning(path, "unvouched", keys=", ".join(keys))
    if trusted is None and not known:
        yield note(path, "unsigned_ledger")
    elif not last:
        yield wrong(path, "nobody_signed")
    elif chain.lines[-1].number > last:
        yield note(path, "uncovered", count=chain.lines[-1].number - last, line=last)


def _spent(chain: Chain) -> dict[str, tuple[float, float]]:
    """Return epsilon and delta by level, added up."""
    spent: dict[str, tuple[float, float]] = {}
    for line in chain.lines:
        if line.kind == "epsilon" and not misfits(line.kind, line.payload):
            level = line.payload["level"]
            epsilon, delta = spent.get(level, (0.0, 0.0))
            spent[level] = epsilon + line.payload["epsilon"], delta + line.payload["delta"]
    return spent


def _rows(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().rstrip(b"\n").split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        why = refusal(error)
        raise InputError(text("error.ledger.unreadable", path=path, why=why)) from error


def _flawed(level: Level, path: Path, flaw: Flaw) -> Finding:
    problem = Phrase(flaw.key, flaw.arguments)
    return Finding(level, f"{path}:{flaw.place}", Phrase("verify.line", {"problem": problem}))


def _kind(line: Line) -> Phrase:
    """Return what a signed line is, as people call it."""
    return Phrase(f"verify.kind.{line.kind}")
