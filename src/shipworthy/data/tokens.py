"""Texts as tokens on disk: made once by all processors, mapped into memory by whoever needs them.

A cache is a folder of Arrow files, `part-N.arrow`, each with the token ids of some thousands of
texts. Its name is the digest of all that the ids depend on: tokenizer, length, texts, library. A
file is mapped, not read, so that a corpus may be larger than memory and processes on one machine
share it.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.core.digest import digest_bytes, digest_frame, digest_json
from shipworthy.core.files import sync_folder
from shipworthy.core.lock import hold
from shipworthy.core.progress import progress
from shipworthy.data.batches import CHUNK_ROWS, Encoded, encode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

# Texts of a file. A multiple of what the tokenizer is handed at once.
SHARD_ROWS = 8 * CHUNK_ROWS
_DONE = "rows"


@dataclass(frozen=True, eq=False)
class TokenFiles:
    """Token ids of n texts in mapped files; rows are taken as from `Encoded`.

    parts: files in order; digest: of all that the ids depend on.
    """

    parts: tuple[Encoded, ...]
    digest: str

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens per text, special tokens included; shape (n,)."""
        found = [part.lengths for part in self.parts]
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.cumsum([0, *(len(part) for part in self.parts)])

    @property
    def tokens(self) -> int:
        """Tokens of all texts."""
        return sum(int(part.offsets[-1]) for part in self.parts)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def take(self, rows: ArrayLike) -> Encoded:
        """Return the texts with these row numbers, in this order, copied into memory."""
        chosen = np.asarray(rows, dtype=np.int64)
        if len(self.parts) == 1:
            return self.parts[0].take(chosen)
        lengths = self.lengths[chosen]
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        token_ids = np.empty(int(offsets[-1]), np.int32)
        owner = np.searchsorted(self._starts, chosen, side="right") - 1
        for number in np.unique(owner):
            places = np.flatnonzero(owner == number)
            part = self.parts[number].take(chosen[places] - self._starts[number])
            inside = np.arange(len(part.token_ids)) - np.repeat(part.offsets[:-1], part.lengths)
            token_ids[np.repeat(offsets[:-1][places], part.lengths) + inside] = part.token_ids
        return Encoded(token_ids, offsets)


def encode_cached(
    tokenizer: Any, texts: Sequence[str], *, max_length: int, cache: Path
) -> TokenFiles:
    """Return the token ids that `encode` gives, from the cache where they lie there.

    cache: folder of caches, made where it is absent. One process writes while others that want the
    same wait; a damaged cache is made again. Raises DataError where a text is missing.
    """
    key = cache_key(tokenizer, texts, max_length=max_length)
    folder = cache / key
    found = _open(folder, key, len(texts))
    if found is not None:
        return found
    cache.mkdir(parents=True, exist_ok=True)
    with hold(cache / f"{key}.lock", wait=True):
        found = _open(folder, key, len(texts))
        if found is None:
            _write(tokenizer, texts, max_length, folder)
            found = _open(folder, key, len(texts))
    shutil.rmtree(cache / f"{key}.lock", ignore_errors=True)
    if found is None:
        raise OSError(f"{folder} cannot be read back")
    return found


def cache_key(tokenizer: Any, texts: Sequence[str], *, max_length: int) -> str:
    """Return the digest of all that the token ids depend on."""
    import polars as pl
    import tokenizers

    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    truncation, padding = backend.truncation, backend.padding
    try:
        backend.no_truncation()
        backend.no_padding()
        content = digest_bytes(backend.to_str().encode())
    finally:
        if truncation is not None:
            backend.enable_truncation(**truncation)
        if padding is not None:
            backend.enable_padding(**padding)
    whole = {
        "tokenizer": content,
        "texts": digest_frame(
            pl.DataFrame({"text": pl.Series(texts, dtype=pl.String, strict=False)})
        ),
        "max_length": max_length,
        "tokenizers": tokenizers.__version__,
    }
    return digest_json(whole)[:32]


def _write(tokenizer: Any, texts: Sequence[str], max_length: int, folder: Path) -> None:
    """Write all files beside the folder, and give them its name when they are whole."""
    import pyarrow as pa

    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        with progress("tokenize", total=len(texts), unit="rows") as report:
            for number, start in enumerate(range(0, len(texts), SHARD_ROWS)):
                shard = texts[start : start + SHARD_ROWS]
                found = encode(tokenizer, shard, max_length=max_length, first_row=start)
                ids = pa.LargeListArray.from_arrays(
                    pa.array(found.offsets, pa.int64()), pa.array(found.token_ids, pa.int32())
                )
                table = pa.table({"token_ids": ids})
                with (
                    pa.OSFile(str(part / f"part-{number:05d}.arrow"), "wb") as sink,
                    pa.ipc.new_file(sink, table.schema) as writer,
                ):
                    writer.write_table(table)
                report(len(shard))
        (part / _DONE).write_text(str(len(texts)))
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)  # a full disk needs its room
        raise
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(part, folder)
    sync_folder(folder.parent)


def _open(folder: Path, key: str, rows: int) -> TokenFiles | None:
    """Return the mapped files of a whole cache; None where it is absent or damaged."""
    import pyarrow as pa

    with suppress(OSError, ValueError, pa.ArrowInvalid):
        if (folder / _DONE).read_text() != str(rows):
            return None
        parts = []
        for file in sorted(folder.glob("part-*.arrow")):
            reader = pa.ipc.open_file(pa.memory_map(str(file)))
            for number in range(reader.num_record_batches):
                column = reader.get_batch(number).column("token_ids")
                offsets = column.offsets.to_numpy()
                values = column.values.to_numpy(zero_copy_only=True)
                if int(offsets[-1]) > len(values):
                    return None
                parts.append(Encoded(values, offsets))
        if sum(len(part) for part in parts) == rows:
            return TokenFiles(tuple(parts), key)
    return None
