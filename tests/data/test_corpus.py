"""A column of a source as text, part by part."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from shipworthy.core.errors import DataError
from shipworthy.core.locale import set_language
from shipworthy.data import corpus as corpora
from shipworthy.data.corpus import read_texts


@pytest.fixture(autouse=True)
def english() -> None:
    set_language("en")


ROWS = ["one, two", None, "", 'with a "quote"\nand a line break', "Füße 中文 " * 40, "007"]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "tsv", "parquet", "arrow"])
@pytest.mark.parametrize("block", [64, 8 << 20])
def test_a_source_is_read_part_by_part_as_it_is_as_a_table(
    kind: str, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpora, "BLOCK_BYTES", block)
    monkeypatch.setattr(corpora, "BATCH_ROWS", 2)
    frame = pl.DataFrame({"n": range(12), " text ": ROWS * 2}).rename({" text ": "text"})
    for k in range(2):
        file = tmp_path / f"part-{k}.{kind}"
        if kind == "jsonl":
            file.write_text(
                "\n".join(json.dumps(row) for row in frame.iter_rows(named=True)) + "\n" * k
            )
        elif kind == "parquet":
            frame.write_parquet(file, row_group_size=5)
        elif kind == "arrow":
            frame.write_ipc_stream(file)
        else:
            frame.write_csv(file, separator="\t" if kind == "tsv" else ",")
    found = pl.concat(list(read_texts(tmp_path / f"part-*.{kind}", "text")))
    assert found.to_list() == ROWS * 4


def test_what_can_not_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    for content, told in (
        ('{"txt": "a"}\n{"txt": "b"}\n', "txt"),
        ('{"text": "a"}\n\n{"text": "b"\n', "row 2"),
        ('{"text": "a"}\n[1]\n', "row 2"),
        ("", "a.jsonl"),
    ):
        file.write_text(content)
        with pytest.raises(DataError, match=told):
            list(read_texts(file, "text"))
    table = tmp_path / "a.csv"
    table.write_text("text,n\na,1\nb\n")
    with pytest.raises(DataError, match="row 2"):
        list(read_texts(table, "text"))
    with pytest.raises(DataError, match="text"):
        list(read_texts(table, "txt"))
    file.write_text('{"text": NaN}\n{"text": null}\n{"n": 1}\n')
    assert pl.concat(list(read_texts(file, "text"))).to_list() == ["NaN", None, None]
