"""sha256 of bytes, JSON, files, folders and tables, as 64 hex digits.

File digests are memoised by path, size, modification time and inode, within the process and, after
`remember_in`, across processes: a 14 GB model folder is read once.
"""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from hashlib import file_digest, sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipworthy.core.errors import InputError
from shipworthy.core.files import write_atomically
from shipworthy.core.locale import text
from shipworthy.core.locale.libraries import refusal

if TYPE_CHECKING:
    import polars as pl

_Stamp = tuple[int, int, int]

_memo: dict[str, tuple[_Stamp, str]] = {}
_memo_file: Path | None = None
_memo_changed = False
_guard = threading.Lock()

# A file that changed this recently may change again within the clock's grain and keep its stamp.
_SETTLED_NS = 2_000_000_000


def digest_bytes(content: bytes) -> str:
    """Return sha256 of bytes."""
    return sha256(content).hexdigest()


def canonical_json(value: Any) -> str:
    r"""Return the one JSON form of a value: keys sorted, no spaces, ASCII only, no NaN.

    Raises ValueError for NaN and infinity, TypeError for what JSON cannot hold.

    >>> canonical_json({"b": [1, 2.0], "a": "é"})
    '{"a":"\\u00e9","b":[1,2.0]}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_json(value: Any) -> str:
    """Return sha256 of the canonical JSON of a value."""
    return digest_bytes(canonical_json(value).encode())


def digest_file(path: Path | str, *, memo: bool = True) -> str:
    """Return sha256 of a file's bytes, from the memo where its stamp is unchanged.

    memo: False reads the file in any case and notes nothing, for files that will move.
    Raises InputError where the file is absent or cannot be read.
    """
    global _memo_changed
    name = os.path.abspath(path)
    try:
        before = _stamp(name)
        known = _memo.get(name)
        if memo and known is not None and known[0] == before:
            return known[1]
        with open(name, "rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
        after = _stamp(name)
    except OSError as error:
        raise InputError(
            text("error.digest.unreadable", path=path, reason=refusal(error))
        ) from error
    if memo and before == after and time.time_ns() - after[1] > _SETTLED_NS:
        with _guard:
            _memo[name] = (after, digest)
            _memo_changed = True
    return digest


def digest_folder(path: Path | str) -> str:
    """Return one digest over relative names and contents of all files below a folder.

    Links to files count as their targets; empty folders do not count.
    Raises InputError where the folder is absent.
    """
    return digest_json({name: digest_file(file) for name, file in files_below(path).items()})


def files_below(path: Path | str) -> dict[str, Path]:
    """Return all files below a folder by relative name with forward slashes, sorted.

    Links are followed, but not back into a folder that they lie in.
    """
    root = Path(path)
    if not root.is_dir():
        raise InputError(text("error.digest.no_folder", path=path))
    found = {}
    above = {str(root): frozenset((_place(root),))}
    for folder, inside, names in os.walk(root, followlinks=True):
        inside[:] = [
            name for name in inside if _place(os.path.join(folder, name)) not in above[folder]
        ]
        for name in inside:
            below = os.path.join(folder, name)
            above[below] = above[folder] | {_place(below)}
        for name in names:
            file = Path(folder) / name
            found[file.relative_to(root).as_posix()] = file
    return dict(sorted(found.items()))


def digest_frame(frame: pl.DataFrame) -> str:
    """Return a digest of a table: column names and types, values, order of rows and columns.

    It does not depend on how the table lies in memory (chunks, unused bytes under nulls).
    """
    total = sha256()
    for series in frame.get_columns():
        total.update(canonical_json([series.name, str(series.dtype), len(series)]).encode())
        _add_series(total, series)
    return total.hexdigest()


def remember_in(path: Path) -> None:
    """Keep file digests in this JSON file from now on; a damaged one is started anew."""
    global _memo_file
    _memo_file = path
    with suppress(OSError, ValueError, TypeError, AttributeError):
        kept = json.loads(path.read_text(encoding="utf-8"))
        with _guard:
            for name, (stamp, digest) in kept.items():
                _memo.setdefault(name, (tuple(stamp), digest))


def save_memo() -> None:
    """Write the memo to the file given to `remember_in`, if there is something new."""
    global _memo_changed
    if _memo_file is None or not _memo_changed:
        return
    with _guard:
        _memo_changed = False
        content = {name: [list(stamp), digest] for name, (stamp, digest) in _memo.items()}
    write_atomically(_memo_file, json.dumps(content))


def forget_removed() -> None:
    """Drop the files that are gone from the memo, and write it."""
    global _memo_changed
    with _guard:
        gone = [name for name in _memo if not os.path.exists(name)]
        for name in gone:
            del _memo[name]
        _memo_changed = _memo_changed or bool(gone)
    save_memo()


def _place(folder: Path | str) -> tuple[int, int]:
    state = os.stat(folder)
    return state.st_dev, state.st_ino


def _stamp(name: str) -> _Stamp:
    state = os.stat(name)
    return state.st_size, state.st_mtime_ns, state.st_ino


def _add_series(total: Any, series: pl.Series) -> None:
    import polars as pl

    kind = series.dtype
    total.update(series.is_null().to_numpy().tobytes())
    if isinstance(kind, pl.Null):
        return
    if isinstance(kind, pl.List | pl.Array):
        as_list = series.cast(pl.List(kind.inner)) if isinstance(kind, pl.Array) else series
        lengths = as_list.list.len().fill_null(0)
        total.update(lengths.to_numpy().tobytes())
        _add_series(total, as_list.filter(lengths > 0).list.explode())
    elif isinstance(kind, pl.Struct):
        for field in series.struct.fields:
            total.update(field.encode())
            _add_series(total, series.struct.field(field))
    elif isinstance(kind, pl.Binary):
        _add_pieces(total, [value or b"" for value in series.to_list()])
    elif kind.is_numeric() and not isinstance(kind, pl.Decimal) or isinstance(kind, pl.Boolean):
        total.update(series.fill_null(0 if kind.is_numeric() else False).to_numpy().tobytes())
    elif kind.is_temporal():
        total.update(series.to_physical().fill_null(0).to_numpy().tobytes())
    else:
        _add_pieces(total, [v.encode() for v in series.cast(pl.String).fill_null("").to_list()])


def _add_pieces(total: Any, pieces: list[bytes]) -> None:
    import numpy as np

    total.update(np.fromiter(map(len, pieces), dtype="<i8", count=len(pieces)).tobytes())
    total.update(b"".join(pieces))
