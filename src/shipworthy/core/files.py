"""Files that are either whole or absent, whatever kills the process in between."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from secrets import token_hex


def write_atomically(path: Path | str, content: bytes | str) -> None:
    """Write a file through a temporary neighbour, fsync and rename.

    A reader sees the old content or the new one, never a part. Text is written as UTF-8 with the
    newlines that it has. Missing folders are made. A link is followed, so its target changes.
    """
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    temporary = target.parent / f".{target.name}.{token_hex(6)}.part"
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


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
