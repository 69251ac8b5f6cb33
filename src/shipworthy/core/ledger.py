"""What happened, in an append-only file of hash-chained JSON lines.

    {"created": ..., "hash": ..., "kind": ..., "number": 1, "payload": {...}, "previous": "00..."}

Each line is canonical JSON; its hash is sha256 over the previous hash and the line without `hash`.
An edited byte, a removed, added or swapped line breaks the chain at that line. A line that a power
cut left half-written was never acknowledged: the next `append` cuts it off and records that.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from shipworthy.core.digest import canonical_json, digest_bytes
from shipworthy.core.errors import InputError
from shipworthy.core.files import sync_folder

START = "0" * 64
LONGEST_TEXT = 512
"""Characters of one text in a payload: names and digests fit, texts of the user's data do not."""

_TAIL_BYTES = 1 << 16


@dataclass(frozen=True)
class Line:
    """One entry. number counts from 1; created is UTC, ISO 8601; hashes are 64 hex digits."""

    number: int
    kind: str
    created: str
    payload: Mapping[str, Any]
    previous: str
    hash: str


class Ledger:
    """A ledger file; it comes into being with the first `append`.

    Many processes may append to one file at the same time.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._handle: int | None = None

    def append(self, kind: str, payload: Mapping[str, Any]) -> Line:
        """Add a line and return it once it is on disk.

        payload: plain JSON values; no text longer than `LONGEST_TEXT`, so that no user's text gets
        in. Raises InputError where the file cannot be written or its last line is not sound.
        """
        plain = json.loads(canonical_json(dict(payload)))
        _check_payload(plain)
        with self.locked():
            last = self._last()
            return self._write(kind, plain, last)

    def lines(self) -> tuple[Line, ...]:
        """Return all lines, checked; an absent file has none.

        Raises InputError naming file and line where the chain is broken.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read: {error.strerror}") from error
        return tuple(self._read(content))

    def verify(self) -> Line | None:
        """Check the whole chain and return its last line; None where there is none.

        Raises InputError naming file and line where something was edited, removed or swapped. A
        chain that was cut after a whole line is sound in itself: keep the last hash elsewhere.
        """
        lines = self.lines()
        return lines[-1] if lines else None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from appending during the block; may be nested."""
        if self._handle is not None:
            yield
            return
        try:
            new = not self.path.exists()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if new:
                sync_folder(self.path.parent)
            self._handle = handle
            yield
        finally:
            self._handle = None
            os.close(handle)

    def recover(self) -> Line | None:
        """Cut a half-written last line off and record that; return the record, None if whole."""
        with self.locked():
            assert self._handle is not None
            size = os.fstat(self._handle).st_size
            torn, start = self._torn(size)
            if not torn:
                return None
            if _sound(torn):
                # Only the newline is gone: an editor strips it, the entry itself is whole.
                os.write(self._handle, b"\n")
                return None
            os.ftruncate(self._handle, start)
            lost = {"bytes": len(torn), "sha256": digest_bytes(torn)}
            return self._write("recovered", lost, self._last())

    def _torn(self, size: int) -> tuple[bytes, int]:
        """Return the bytes after the last newline and where they begin."""
        assert self._handle is not None
        start, tail = size, b""
        while start > 0 and b"\n" not in tail:
            step = min(_TAIL_BYTES, start)
            start -= step
            tail = os.pread(self._handle, step, start) + tail
        cut = tail.rfind(b"\n") + 1
        return tail[cut:], start + cut

    def _last(self) -> Line | None:
        """Return the last line of the locked file, checked by its own hash."""
        assert self._handle is not None
        size = os.fstat(self._handle).st_size
        if size == 0:
            return None
        if os.pread(self._handle, 1, size - 1) != b"\n":
            made = self.recover()
            return made if made is not None else self._last()
        raw, start = b"", size - 1
        while start > 0 and b"\n" not in raw:
            step = min(_TAIL_BYTES, start)
            start -= step
            raw = os.pread(self._handle, step, start) + raw
        raw = raw.rpartition(b"\n")[2]
        line = _sound(raw)
        if line is None:
            raise InputError(
                f"{self.path}: the last line was edited, so nothing was appended; "
                "`shipworthy verify` says more"
            )
        return line

    def _write(self, kind: str, payload: Mapping[str, Any], last: Line | None) -> Line:
        assert self._handle is not None
        line = Line(
            number=last.number + 1 if last else 1,
            kind=kind,
            created=datetime.now(UTC).isoformat(timespec="microseconds"),
            payload=payload,
            previous=last.hash if last else START,
            hash="",
        )
        line = Line(**{**line.__dict__, "hash": _hash(line)})
        raw = canonical_json(line.__dict__).encode() + b"\n"
        before = os.fstat(self._handle).st_size
        try:
            # One write: a kill leaves all of the line or nothing, a full disk is taken back below.
            if os.write(self._handle, raw) != len(raw):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._handle)
        except OSError as error:
            os.ftruncate(self._handle, before)
            raise InputError(f"{self.path}: cannot be written: {error.strerror}") from error
        return line

    def _read(self, content: bytes) -> Iterator[Line]:
        previous = START
        rows = content.split(b"\n")
        torn = rows.pop()
        if torn and _sound(torn):
            rows.append(torn)
        elif torn:
            raise self._broken(
                len(rows) + 1, "is cut off", "the next entry cuts it back and records that"
            )
        for number, raw in enumerate(rows, start=1):
            line = _parse(raw)
            if line is None:
                raise self._broken(number, "is not an entry of a ledger or was edited")
            if line.number != number:
                raise self._broken(
                    number, f"says number {line.number}: a line was removed, added or swapped"
                )
            if line.previous != previous:
                raise self._broken(number, "does not follow from the line before it")
            if _hash(line) != line.hash:
                raise self._broken(number, "was edited: its hash does not fit")
            previous = line.hash
            yield line

    def _broken(self, number: int, problem: str, fix: str = "") -> InputError:
        return InputError(f"{self.path}:{number}: the line {problem}" + (f"; {fix}" if fix else ""))


def _hash(line: Line) -> str:
    content = {name: value for name, value in line.__dict__.items() if name != "hash"}
    return sha256((line.previous + canonical_json(content)).encode()).hexdigest()


def _sound(raw: bytes) -> Line | None:
    line = _parse(raw)
    return line if line is not None and _hash(line) == line.hash else None


def _parse(raw: bytes) -> Line | None:
    """Return the line of these bytes; None unless they are exactly its canonical JSON."""
    try:
        values = json.loads(raw)
        line = Line(**values)
        if canonical_json(values).encode() != raw:
            return None
    except (ValueError, TypeError, RecursionError):
        return None
    return line if isinstance(line.previous, str) and isinstance(line.payload, dict) else None


def _check_payload(value: Any) -> None:
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise ValueError("a text too long for a ledger; put its digest there")
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_payload(key)
            _check_payload(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_payload(inner)
