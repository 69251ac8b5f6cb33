"""What happened, in an append-only file of hash-chained JSON lines.

    {"created": ..., "hash": ..., "kind": ..., "number": 1, "payload": {...}, "previous": "00..."}

`ledger_lines` says how lines form a chain, `ledger_kinds` what a line may hold. A line that a power
cut left half-written was never acknowledged: the next `append` cuts it off and records that.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shipworthy.core.digest import canonical_json, digest_bytes
from shipworthy.core.errors import InputError
from shipworthy.core.files import sync_folder, write_atomically
from shipworthy.core.ledger_kinds import misfits
from shipworthy.core.ledger_lines import (
    START,
    Chain,
    Flaw,
    Line,
    line_hash,
    payload_flaws,
    read_chain,
    sound_line,
)
from shipworthy.core.ledger_texts import LONGEST_TEXT, secret_in, texts_of
from shipworthy.core.locale import text
from shipworthy.core.locale.libraries import refusal

_TAIL_BYTES = 1 << 16
_MOST_BYTES = 1 << 20
_READ_AGAIN_SECONDS = 0.02


class Ledger:
    """A ledger file; it comes into being with the first `append`.

    Many processes may append to one file at the same time.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._handle: int | None = None

    def append(self, kind: str, payload: Mapping[str, Any]) -> Line:
        """Add a line and return it once it is on disk.

        payload: plain JSON values under the keys of its kind, else ValueError. Raises InputError
        for a text longer than `LONGEST_TEXT` or one that looks like a secret, and where the file
        cannot be written or its last line is not sound.
        """
        _check_texts(self.path, payload)
        plain = json.loads(canonical_json(dict(payload)))
        wrong = misfits(kind, plain)
        if wrong:
            raise ValueError(f"no payload of a {kind!r} line: {wrong}")
        with self.locked():
            last = self._last()
            return self._write(kind, plain, last)

    def lines(self) -> tuple[Line, ...]:
        """Return all lines, their chain checked; an absent file has none.

        Raises InputError naming file and line where the chain is broken.
        """
        chain = self.chain()
        self._refuse(chain.flaws)
        return chain.lines

    def chain(self) -> Chain:
        """Return all lines that can be read and all that is wrong with their chain."""
        try:
            chain = read_chain(self.path.read_bytes())
            if chain.flaws and self._handle is None:
                # Somebody may be writing this very moment.
                time.sleep(_READ_AGAIN_SECONDS)
                chain = read_chain(self.path.read_bytes())
        except FileNotFoundError:
            return Chain()
        except OSError as error:
            raise self._error("unreadable", why=refusal(error)) from error
        return chain

    def verify(self) -> Line | None:
        """Check chain and payloads and return the last line; None where there is none.

        Raises InputError naming file and line where something was edited, removed or swapped. A
        chain that was cut after a whole line is sound in itself: keep the last hash elsewhere.
        """
        chain = self.chain()
        self._refuse((*chain.flaws, *payload_flaws(chain)))
        return chain.lines[-1] if chain.lines else None

    def copy_to(self, path: Path) -> None:
        """Copy the file as it is between two entries, never within one.

        Raises InputError where the place holds a ledger with entries that this one lacks.
        """
        with self.locked():
            self.check_copy(path)
            write_atomically(path, self.path.read_bytes())

    def check_copy(self, path: Path) -> None:
        """Raise InputError where a place holds a ledger with entries that this one lacks."""
        with suppress(FileNotFoundError):
            copy = path.read_bytes()
            own = self.path.read_bytes() if self.path.exists() else b""
            if not own.startswith(copy):
                raise InputError(text("error.ledger.other_copy", copy=path, path=self.path))

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
            raise self._error("unwritable", why=refusal(error)) from error
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
            # Only the newline is gone or damaged: the entry itself is whole and stays.
            for whole in (torn, torn[:-1]):
                if sound_line(whole):
                    os.ftruncate(self._handle, start + len(whole))
                    os.write(self._handle, b"\n")
                    os.fsync(self._handle)
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
        line = sound_line(raw)
        if line is None:
            raise self._error("edited_end")
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
        line = Line(**{**line.__dict__, "hash": line_hash(line)})
        raw = canonical_json(line.__dict__).encode() + b"\n"
        if len(raw) > _MOST_BYTES:
            raise self._error("long_line", length=len(raw), most=_MOST_BYTES)
        before = os.fstat(self._handle).st_size
        try:
            # One write: a kill leaves all of the line or nothing, a full disk is taken back below.
            if os.write(self._handle, raw) != len(raw):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._handle)
        except OSError as error:
            os.ftruncate(self._handle, before)
            raise self._error("unwritable", why=refusal(error)) from error
        return line

    def _refuse(self, flaws: tuple[Flaw, ...]) -> None:
        if flaws:
            told = {"path": self.path, "line": flaws[0].place, "problem": str(flaws[0])}
            raise InputError(text("error.ledger.broken", **told))

    def _error(self, what: str, **arguments: Any) -> InputError:
        return InputError(text(f"error.ledger.{what}", path=self.path, **arguments))


def _check_texts(path: Path, payload: Mapping[str, Any]) -> None:
    for key, value in texts_of(payload):
        if len(value) > LONGEST_TEXT:
            told = {"length": len(value), "most": LONGEST_TEXT}
            raise InputError(text("error.ledger.long", path=path, key=key[:40], **told))
        # Signatures and public keys are random by nature; their kinds check what they are.
        if key not in ("signature", "key") and secret_in(value):
            raise InputError(text("error.ledger.secret", path=path, key=key))
