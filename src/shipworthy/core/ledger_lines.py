"""Lines of a ledger and the chain that they form, read from bytes.

Each line is canonical JSON; its hash is sha256 over the previous hash and the line without `hash`.
An edited byte, a removed, added or swapped line breaks the chain at that line. A chain that was cut
after a whole line is sound in itself: its last number and hash must be known elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from shipworthy.core.digest import canonical_json
from shipworthy.core.ledger_kinds import misfits
from shipworthy.core.locale import text

START = "0" * 64
CLOCK_TOLERANCE_SECONDS = 60.0


@dataclass(frozen=True)
class Line:
    """One entry. number counts from 1; created is UTC, ISO 8601; hashes are 64 hex digits."""

    number: int
    kind: str
    created: str
    payload: Mapping[str, Any]
    previous: str
    hash: str


@dataclass(frozen=True)
class Flaw:
    """What is wrong with a line. place: of the line in the file, from 1; key: of the catalogue."""

    place: int
    key: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return text(self.key, **self.arguments)


@dataclass(frozen=True)
class Chain:
    """A ledger that was read whole.

    lines: all that could be read; places: where in the file each stands, from 1. flaws: in the
    order of the file; none where the chain is sound.
    """

    lines: tuple[Line, ...] = ()
    places: tuple[int, ...] = ()
    flaws: tuple[Flaw, ...] = ()


def read_chain(content: bytes) -> Chain:
    """Read all lines and name every one that does not fit; a line after a bad one is read too."""
    rows = content.split(b"\n")
    torn = rows.pop()
    if torn and sound_line(torn):
        # Only the newline is gone: an editor strips it, the entry itself is whole.
        rows.append(torn)
        torn = b""
    lines: list[Line] = []
    places: list[int] = []
    flaws: list[Flaw] = []
    accepted = {START}
    number, unread = 0, 0
    for place, raw in enumerate(rows, start=1):
        line = parse_line(raw)
        if line is None:
            flaws.append(Flaw(place, "ledger.flaw.entry"))
            unread += 1
            continue
        made = line_hash(line)
        # Damage may have made one line of two, or two of one.
        fits = number < line.number <= number + unread + 1 if unread else line.number == number + 1
        if made != line.hash:
            flaws.append(Flaw(place, "ledger.flaw.hash"))
        elif not fits:
            flaws.append(Flaw(place, "ledger.flaw.number", {"number": line.number}))
        elif not unread and line.previous not in accepted:
            flaws.append(Flaw(place, "ledger.flaw.previous"))
        lines.append(line)
        places.append(place)
        # Whichever of hash and content was edited, the line after it still follows from the other.
        accepted = {line.hash, made}
        number, unread = line.number if made == line.hash else number + unread + 1, 0
    if torn:
        flaws.append(Flaw(len(rows) + 1, "ledger.flaw.torn"))
    return Chain(tuple(lines), tuple(places), tuple(flaws))


def payload_flaws(chain: Chain) -> tuple[Flaw, ...]:
    """Return what lines say that their kind does not allow, or leave out."""
    return tuple(
        Flaw(place, f"ledger.flaw.{found.problem}", {"key": found.key, "kind": line.kind})
        for place, line in zip(chain.places, chain.lines, strict=True)
        for found in misfits(line.kind, line.payload)
    )


def clock_flaws(chain: Chain, *, clock: datetime | None = None) -> tuple[Flaw, ...]:
    """Return the lines that are dated before the one above them, or after now.

    A minute is tolerated, since clocks of machines differ.
    """
    found = []
    latest: datetime | None = None
    now = clock or datetime.now(UTC)
    for place, line in zip(chain.places, chain.lines, strict=True):
        created = _time(line)
        if created is None:
            found.append(Flaw(place, "ledger.flaw.time"))
            continue
        told = {"created": line.created}
        if (created - now).total_seconds() > CLOCK_TOLERANCE_SECONDS:
            found.append(Flaw(place, "ledger.flaw.future", told))
        elif latest and (latest - created).total_seconds() > CLOCK_TOLERANCE_SECONDS:
            found.append(Flaw(place, "ledger.flaw.clock", {**told, "latest": latest.isoformat()}))
        latest = created if latest is None else max(latest, created)
    return tuple(found)


def ledger_now(lines: Iterable[Line], *, clock: datetime | None = None) -> datetime:
    """Return by which time things of this ledger expire: the clock, or its latest line if later.

    A clock that was set back so revives nothing. clock: now, where it is not the machine's.
    """
    now = clock or datetime.now(UTC)
    return max([now, *(created for line in lines if (created := _time(line)) is not None)])


def line_hash(line: Line) -> str:
    """Return the hash that a line should have."""
    content = {name: value for name, value in line.__dict__.items() if name != "hash"}
    return sha256((line.previous + canonical_json(content)).encode()).hexdigest()


def sound_line(raw: bytes) -> Line | None:
    """Return the line of these bytes; None where it is none or its own hash does not fit."""
    line = parse_line(raw)
    return line if line is not None and line_hash(line) == line.hash else None


def parse_line(raw: bytes) -> Line | None:
    """Return the line of these bytes; None unless they are exactly its canonical JSON."""
    try:
        values = json.loads(raw)
        line = Line(**values)
        if canonical_json(values).encode() != raw:
            return None
    except (ValueError, TypeError, RecursionError):
        return None
    texts = (line.kind, line.created, line.previous, line.hash)
    plain = all(isinstance(value, str) for value in texts) and isinstance(line.payload, dict)
    return line if plain and type(line.number) is int else None


def _time(line: Line) -> datetime | None:
    try:
        created = datetime.fromisoformat(line.created)
    except ValueError:
        return None
    return created if created.tzinfo is not None else None
