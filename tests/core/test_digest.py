import json
import os

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipworthy.core import digest as module
from shipworthy.core.digest import (
    digest_bytes,
    digest_file,
    digest_folder,
    digest_frame,
    digest_json,
    remember_in,
    save_memo,
)
from shipworthy.core.errors import InputError

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
OLD_NS = 1_600_000_000_000_000_000


@pytest.fixture(autouse=True)
def _own_memo(monkeypatch):
    monkeypatch.setattr(module, "_memo", {})
    monkeypatch.setattr(module, "_memo_file", None)
    monkeypatch.setattr(module, "_memo_changed", False)


def _old(path) -> None:
    os.utime(path, ns=(OLD_NS, OLD_NS))


def test_bytes_and_json() -> None:
    assert digest_bytes(b"") == EMPTY
    assert digest_json({"b": 1, "a": [2]}) == digest_json({"a": [2], "b": 1})
    assert digest_json([1]) != digest_json([1.0])
    with pytest.raises(ValueError):
        digest_json({"x": float("nan")})


def test_file_follows_its_content(tmp_path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"")
    assert digest_file(file) == EMPTY
    file.write_bytes(b"x")
    first = digest_file(file)
    # Same size, written in the same instant: no stamp may be trusted yet.
    file.write_bytes(b"y")
    assert digest_file(file) != first


def test_a_settled_file_is_read_once(tmp_path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"x")
    _old(file)
    first = digest_file(file)
    with open(file, "r+b") as opened:
        opened.write(b"y")
    _old(file)
    assert digest_file(file) == first, "size, time and inode are the same: the memo answers"
    assert digest_file(file, memo=False) != first
    os.utime(file, ns=(OLD_NS + 1, OLD_NS + 1))
    assert digest_file(file) != first


def test_memo_is_kept_across_processes_and_survives_damage(tmp_path) -> None:
    file, memo = tmp_path / "a", tmp_path / "memo" / "digests.json"
    file.write_bytes(b"x")
    _old(file)
    remember_in(memo)
    digest = digest_file(file)
    save_memo()
    kept = json.loads(memo.read_text())
    assert kept[str(file)][1] == digest
    module._memo.clear()
    remember_in(memo)
    assert module._memo[str(file)][1] == digest
    memo.write_text("{broken")
    module._memo.clear()
    remember_in(memo)
    assert digest_file(file) == digest


def test_folder_counts_names_and_contents(tmp_path) -> None:
    (tmp_path / "f" / "sub").mkdir(parents=True)
    (tmp_path / "f" / "a").write_text("1")
    (tmp_path / "f" / "sub" / "b").write_text("2")
    first = digest_folder(tmp_path / "f")
    (tmp_path / "f").rename(tmp_path / "g")
    assert digest_folder(tmp_path / "g") == first
    (tmp_path / "g" / "a").rename(tmp_path / "g" / "c")
    assert digest_folder(tmp_path / "g") != first


def test_what_is_absent_is_said(tmp_path) -> None:
    with pytest.raises(InputError, match="none: cannot be read: No such file"):
        digest_file(tmp_path / "none")
    with pytest.raises(InputError, match="none: no such folder"):
        digest_folder(tmp_path / "none")


FRAME = pl.DataFrame(
    {
        "whole": [1, None, 3],
        "text": ["x", None, "yz"],
        "list": [[1, 2], None, []],
        "deep": [[[1.0], []], [], None],
        "struct": [{"q": 1, "r": "a"}, None, {"q": None, "r": "b"}],
        "flag": [True, None, False],
        "raw": [b"1", None, b"22"],
        "nothing": [None, None, None],
    }
).with_columns(
    category=pl.col("text").cast(pl.Categorical),
    time=pl.Series([None, 1, 2]).cast(pl.Datetime("us")),
    money=pl.Series(["1.20", None, "3"]).cast(pl.Decimal(10, 2)),
    pair=pl.Series([[1, 2], None, [3, 4]], dtype=pl.Array(pl.Int64, 2)),
)


def test_frame_does_not_depend_on_memory_layout() -> None:
    digest = digest_frame(FRAME)
    assert digest_frame(pl.concat([FRAME[:1], FRAME[1:]], rechunk=False)) == digest
    assert digest_frame(pl.concat([FRAME, FRAME])[3:]) == digest
    # What lies under a null is no value.
    masked = pl.DataFrame({"a": [1, 7]}).with_columns(
        pl.when(pl.col("a") < 5).then(pl.col("a")).alias("a")
    )
    assert digest_frame(masked) == digest_frame(pl.DataFrame({"a": [1, None]}))


@pytest.mark.parametrize("column", FRAME.columns)
def test_every_column_counts(column: str) -> None:
    digest = digest_frame(FRAME)
    assert digest_frame(FRAME.rename({column: "other"})) != digest
    if column != "nothing":
        changed = pl.concat([FRAME[column][:1], FRAME[column][:1], FRAME[column][2:]])
        assert digest_frame(FRAME.with_columns(changed.alias(column))) != digest


def test_types_and_order_count() -> None:
    frame = pl.DataFrame({"a": [1, 2], "b": [3, 4]})
    others = [
        frame.reverse(),
        frame.select("b", "a"),
        frame.cast(pl.Int32),
        frame[:1],
        frame.with_columns(a=pl.Series(["1", "2"])),
    ]
    assert len({digest_frame(f) for f in [frame, *others]}) == 6


@given(st.lists(st.one_of(st.none(), st.text(max_size=5)), max_size=6))
def test_texts_are_not_run_together(values) -> None:
    series = pl.Series("a", values, dtype=pl.String)
    digest = digest_frame(series.to_frame())
    moved = [*(v for v in values), ""]
    assert digest_frame(pl.Series("a", moved, dtype=pl.String).to_frame()) != digest
    assert digest_frame(pl.Series("a", values, dtype=pl.String).to_frame()) == digest
