"""sha256 of many files at once, read anew, with progress."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from errno import EINVAL
from hashlib import sha256
from pathlib import Path
from stat import S_ISREG

from shipworthy.core.errors import InputError
from shipworthy.core.locale import text
from shipworthy.core.locale.libraries import refusal
from shipworthy.core.progress import Step, progress

_CHUNK_BYTES = 1 << 20
_SHOWN_FROM_BYTES = 1 << 30
"""Less takes no two seconds."""


def digests_of(files: Mapping[str, Path], *, jobs: int | None = None) -> dict[str, str]:
    """Return sha256 of each file by its name in the mapping; nothing is remembered.

    jobs: files that are read at the same time, at least 1; else one for each processor. A file
    that has several names is read once. Raises InputError for a file that cannot be read.
    """
    states = {name: _state(file) for name, file in files.items()}
    same: dict[tuple[int, int], list[str]] = {}
    for name, state in states.items():
        same.setdefault((state.st_dev, state.st_ino), []).append(name)
    # The largest first, so that no thread is left alone with it at the end.
    groups = sorted(same.values(), key=lambda group: -states[group[0]].st_size)
    total = sum(states[group[0]].st_size for group in groups)
    with ExitStack() as stack:
        step: Step | None = None
        if total >= _SHOWN_FROM_BYTES:
            step = stack.enter_context(progress("verify", total / 1e6, "MB"))
        # Threads do: hashing lets go of the interpreter's lock.
        pool = stack.enter_context(ThreadPoolExecutor(max_workers=jobs or os.cpu_count() or 1))
        futures = [pool.submit(_digest, files[group[0]], step) for group in groups]
        return {
            name: future.result()
            for group, future in zip(groups, futures, strict=True)
            for name in group
        }


def _digest(file: Path, step: Step | None) -> str:
    digest, chunk = sha256(), bytearray(_CHUNK_BYTES)
    view = memoryview(chunk)
    try:
        with file.open("rb", buffering=0) as opened:
            while count := opened.readinto(chunk):
                digest.update(view[:count])
                if step is not None:
                    step(count / 1e6)
    except OSError as error:
        raise _unreadable(file, error) from error
    return digest.hexdigest()


def _state(file: Path) -> os.stat_result:
    try:
        state = file.stat()
        if not S_ISREG(state.st_mode):
            # To open a pipe would wait for its writer.
            raise OSError(EINVAL, os.strerror(EINVAL))
        return state
    except OSError as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: OSError) -> InputError:
    return InputError(text("error.ledger.unreadable", path=file, why=refusal(error)))
