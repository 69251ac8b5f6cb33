"""Files that are either whole or absent, whatever kills the process or fills the disk."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from shipworthy.core.errors import InputError
from shipworthy.core.locale import text

_PART = re.compile(r"\..+\.[0-9a-f]{8,12}\.part")
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# Libraries in Rust tell the number of the system's error in words of their own.
_NO_ROOM_TOLD = re.compile(
    "|".join(rf"\bos error {number}\b|\bcode: {number}\b" for number in sorted(_NO_ROOM))
    + "|No space left on device"
)


def write_atomically(path: Path | str, content: bytes | str) -> None:
    """Write a file through a temporary neighbour, fsync and rename.

    A reader sees the old content or the new one, never a part. Text is written as UTF-8 with the
    newlines that it has. Missing folders are made. A link is followed, so its target changes.
    """
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    temporary = part_of(target)
    # 0o666 less the umask, as `open` gives; mkstemp would leave a file that only its owner reads.
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
    sync_folder(target.parent)


def part_of(target: Path) -> Path:
    """Return a name beside a file for its content while that is being written; `sweep` knows it."""
    return target.parent / f".{target.name}.{token_hex(6)}.part"


def sweep(folder: Path, *, before: float) -> None:
    """Remove half-written files that dead processes left in a folder and below.

    before: seconds since the epoch; a file that was touched later may have a writer that lives.
    """
    for place, _, names in os.walk(folder):
        for name in names:
            file = Path(place, name)
            if _PART.fullmatch(name):
                with suppress(FileNotFoundError):
                    if file.lstat().st_mtime < before:
                        file.unlink()


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_full_disk(error: BaseException) -> bool:
    """Say whether an error, or one behind it, is that of a full disk, quota or file size limit."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, OSError) and one.errno in _NO_ROOM:
            return True
        if _NO_ROOM_TOLD.search(str(one)):
            return True
        waiting += [one.__cause__, one.__context__]
    return False


@contextmanager
def room_on_disk(folder: Path) -> Iterator[None]:
    """Turn what a full disk makes of the block, whichever library met it, into an InputError.

    folder: where the block writes, for the message.
    """
    try:
        yield
    except Exception as error:
        # Also an error of ours: weights that do not fit are told as damaged ones.
        if not is_full_disk(error):
            raise
        raise InputError(text("error.disk.full", folder=folder)) from error
