"""Tokens from the cache are those of the tokenizer; a cache is whole or made again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from shipworthy.core.errors import DataError
from shipworthy.data import tokens
from shipworthy.data.batches import encode, pad
from shipworthy.data.packs import make_pack
from shipworthy.data.tokens import cache_key, encode_cached


def tokenizer() -> Tokenizer:
    made = Tokenizer(WordLevel({f"w{i}": i for i in range(50)}, unk_token="w0"))
    made.pre_tokenizer = WhitespaceSplit()
    return made


def texts_of(n: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(f"w{i}" for i in rng.integers(0, 50, rng.integers(1, 12))) for _ in range(n)]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "SHARD_ROWS", 64)
    monkeypatch.setenv("SHIPWORTHY_PROGRESS", "off")


def test_bit_for_bit_what_the_tokenizer_says(tmp_path: Path) -> None:
    texts = texts_of(300)
    plain = encode(tokenizer(), texts, max_length=9)
    for _ in range(2):
        found = encode_cached(tokenizer(), texts, max_length=9, cache=tmp_path)
        assert len(found.parts) == 5 and len(found) == 300
        assert np.array_equal(found.lengths, plain.lengths)
        rows = np.random.default_rng(1).integers(0, 300, 70)
        ours, theirs = found.take(rows), plain.take(rows)
        assert np.array_equal(ours.token_ids, theirs.token_ids)
        assert np.array_equal(ours.offsets, theirs.offsets)
        assert np.array_equal(make_pack(found, rows).input_ids, make_pack(plain, rows).input_ids)
        padded = pad(found, rows, pad_token_id=0).input_ids
        assert np.array_equal(padded, pad(plain, rows, pad_token_id=0).input_ids)
    assert found.tokens == len(plain.token_ids)


def test_made_once_and_again_where_something_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    monkeypatch.setattr(tokens, "encode", lambda *a, **k: made.append(1) or encode(*a, **k))
    texts = texts_of(100)
    encode_cached(tokenizer(), texts, max_length=9, cache=tmp_path)
    encode_cached(tokenizer(), texts, max_length=9, cache=tmp_path)
    assert len(made) == 2  # two files
    encode_cached(tokenizer(), texts, max_length=8, cache=tmp_path)
    encode_cached(tokenizer(), [*texts[:-1], "w1"], max_length=9, cache=tmp_path)
    assert len(made) == 6
    assert not list(tmp_path.glob("*.lock")) and not list(tmp_path.glob("*.part"))


def test_the_key_does_not_hang_on_the_last_use(tmp_path: Path) -> None:
    used = tokenizer()
    before = cache_key(used, ["w1"], max_length=9)
    used.enable_truncation(5)
    used.enable_padding()
    assert cache_key(used, ["w1"], max_length=9) == before
    assert used.truncation is not None and used.padding is not None


@pytest.mark.parametrize("damage", ["cut", "gone", "unfinished"])
def test_a_damaged_cache_is_made_again(damage: str, tmp_path: Path) -> None:
    texts = texts_of(100)
    found = encode_cached(tokenizer(), texts, max_length=9, cache=tmp_path)
    expected = found.take(range(100)).token_ids.copy()
    folder = tmp_path / found.digest
    del found
    file = folder / "part-00001.arrow"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:200])
    elif damage == "gone":
        file.unlink()
    else:
        (folder / "rows").unlink()
    again = encode_cached(tokenizer(), texts, max_length=9, cache=tmp_path)
    assert np.array_equal(again.take(range(100)).token_ids, expected)


def test_a_missing_text_is_named_and_nothing_stays(tmp_path: Path) -> None:
    texts: list[object] = [*texts_of(100), None]
    with pytest.raises(DataError, match="row 101"):
        encode_cached(tokenizer(), texts, max_length=9, cache=tmp_path)  # type: ignore[arg-type]
    assert not [p for p in tmp_path.iterdir() if not p.name.endswith(".lock")]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    """400 MB of tokens are read row by row with a fraction of that in memory."""
    script = """
import sys, resource, numpy as np, pyarrow as pa
from pathlib import Path
from shipworthy.data.tokens import _open
folder = Path(sys.argv[1]) / "k"
folder.mkdir()
rows = 0
for number in range(10):
    offsets = np.arange(0, 10_000_001, 100, dtype=np.int64)
    ids = pa.LargeListArray.from_arrays(offsets, np.full(10_000_000, number, np.int32))
    table = pa.table({"token_ids": ids})
    with pa.OSFile(str(folder / f"part-{number:05d}.arrow"), "wb") as sink:
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    rows += 100_000
    del ids, table
(folder / "rows").write_text(str(rows))
def held():
    line = next(l for l in open("/proc/self/status") if l.startswith("RssAnon"))
    return int(line.split()[1]) / 1024
pa.default_memory_pool().release_unused()
before = held()
found = _open(folder, "k", rows)
generator = np.random.default_rng(0)
for _ in range(200):
    chosen = generator.integers(0, rows, 64)
    taken = found.take(chosen)
    assert (taken.token_ids == np.repeat(chosen // 100_000, 100)).all()
print(held() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 60
