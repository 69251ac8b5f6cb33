"""Files become the rows that they hold, or one line that says what is wrong and where."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from pyarrow import parquet

from shipworthy.core.errors import DataError, SettingsError
from shipworthy.data.sources import read_table, require_columns, source_files

ROWS = pl.DataFrame(
    {
        "text": ["good, really", 'a "quote"', "two\nlines", "ünï 好"],
        "label": [1, 0, 1, 0],
        "score": [0.5, 0.25, None, 1e-7],
        "code": ["007", "010", "123", None],
        "flag": [True, False, None, True],
    }
)


def write(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def save_stream(
    frame: pl.DataFrame, path: Path, metadata: dict[bytes, bytes] | None = None
) -> None:
    table = frame.to_arrow().replace_schema_metadata(metadata)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_every_kind_gives_the_same_rows(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"rows.{kind}"
    {"csv": ROWS.write_csv, "jsonl": ROWS.write_ndjson, "parquet": ROWS.write_parquet}[kind](path)
    assert_frame_equal(read_table(path), ROWS)
    assert_frame_equal(read_table(path.name, root=tmp_path), ROWS)


def test_tsv_and_byte_order_mark(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tsv", b"\xef\xbb\xbfa\tb\n1\tx,y\n\n2\tz\n")
    assert read_table(path).to_dict(as_series=False) == {"a": [1, 2], "b": ["x,y", "z"]}


@given(st.lists(st.tuples(st.text(), st.text(), st.integers(-(10**18), 10**18)), min_size=1))
@settings(
    max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_csv_round_trip(tmp_path: Path, rows: list[tuple[str, str, int]]) -> None:
    """Whatever Polars writes as CSV comes back, up to the types that a text can't carry."""
    bad = dict.fromkeys(map(chr, range(0xD800, 0xE000)))
    clean = [tuple(str(v).translate(bad).replace("\r", "") for v in row) for row in rows]
    frame = pl.DataFrame(clean, schema=["a", "b", "c"], orient="row")
    path = tmp_path / "x.csv"
    frame.write_csv(path, quote_style="always")
    back = read_table(path)
    assert back.height == len(rows)
    assert back["c"].cast(pl.String).to_list() == frame["c"].to_list()
    for name in ("a", "b"):
        if back[name].dtype == pl.String:
            assert back[name].to_list() == frame[name].to_list()


def test_types_come_from_all_rows(tmp_path: Path) -> None:
    lines = ["n,late,long,zero,number,words"]
    lines += [f"{i},{i},{10**19 + i},{i:03d},{i / 8},nan" for i in range(2000)]
    lines += ["7,x,1,5,-1e-3,3"]
    frame = read_table(write(tmp_path, "a.csv", "\n".join(lines)))
    types = [pl.Int64, pl.String, pl.String, pl.String, pl.Float64, pl.Float64]
    assert frame.dtypes == types
    assert frame["long"][1] == "10000000000000000001"
    assert frame["zero"][7] == "007"
    assert frame["words"].is_nan().sum() == 2000


def test_glob_in_order_of_names(tmp_path: Path) -> None:
    write(tmp_path, "b.csv", "y,x\nfour,3\n")
    write(tmp_path, "a.csv", "x,y\n1,1\n2,2\n")
    frame = read_table(str(tmp_path / "*.csv"))
    assert frame.to_dict(as_series=False) == {"x": [1, 2, 3], "y": ["1", "2", "four"]}
    assert [file.name for file in source_files("*.csv", root=tmp_path)] == ["a.csv", "b.csv"]


def test_a_name_that_looks_like_a_glob(tmp_path: Path) -> None:
    ROWS.write_parquet(tmp_path / "a[1].parquet")
    assert read_table(tmp_path / "a[1].parquet").height == ROWS.height


def test_nan_of_python_in_json(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"p": NaN, "n": 1}\n\n{"p": 1, "n": 0.5}\n{"n": true}\n')
    frame = read_table(path)
    assert frame["p"].is_nan().to_list() == [True, False, None]
    assert frame["n"].to_list() == [1.0, 0.5, 1.0]


def test_hugging_face_folder(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    features = {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}
    metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    save_stream(ROWS.head(3), folder / "data-00000-of-00002.arrow", metadata)
    save_stream(ROWS.tail(1), folder / "data-00001-of-00002.arrow", metadata)
    save_stream(ROWS, folder / "cache-1.arrow")
    names = ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]
    state = {"_data_files": [{"filename": name} for name in names]}
    write(folder, "state.json", json.dumps(state))
    frame = read_table(folder)
    assert frame["label"].to_list() == ["pos", "neg", "pos", "neg"]
    assert frame["text"].to_list() == ROWS["text"].to_list()


def test_folder_with_parquet_and_categories(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    table = ROWS.with_columns(pl.col("code").cast(pl.Categorical)).to_arrow()
    features = {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}
    metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    path = tmp_path / "data" / "train-00000-of-00001.parquet"
    parquet.write_table(table.replace_schema_metadata(metadata), path)
    write(tmp_path, ".hidden.csv", "a\n1\n")
    frame = read_table(tmp_path)
    assert frame["label"].to_list() == ["pos", "neg", "pos", "neg"]
    assert frame["code"].dtype == pl.String
    # A file by itself keeps its numbers: predictions beside them are numbers too.
    assert read_table(path)["label"].to_list() == [1, 0, 1, 0]


def test_folder_with_several_splits(tmp_path: Path) -> None:
    ROWS.write_parquet(tmp_path / "train-00000.parquet")
    ROWS.write_parquet(tmp_path / "test-00000.parquet")
    with pytest.raises(DataError, match=r"several splits \(train, test\); name one, as in"):
        read_table(tmp_path)
    write(tmp_path, "dataset_dict.json", '{"splits": ["one", "two"]}')
    with pytest.raises(DataError, match=rf"name one, as in '{tmp_path.name}/one'"):
        read_table(tmp_path)


def test_builtin() -> None:
    assert read_table("builtin:sentiment").height == 19_459
    assert source_files("builtin:sentiment")[0].name == "vaderSentiment-3.3.1.tar.gz"
    with pytest.raises(SettingsError, match="builtin:sentiment"):
        read_table("builtin:sentiments")


BAD = [
    ("a.csv", b"", "the file is empty"),
    ("a.csv", b"\n\n", "the file is empty"),
    ("a.csv", b"a,b\n", "there is no row"),
    ("a.csv", b"a,b\n1,2\n\n3\n4,5\n", "row 2: 1 fields instead of 2"),
    ("a.csv", b'a,b\n"x\ny",2\n3,4\n3,4,5\n4,5\n', "row 3: 3 fields instead of 2"),
    ("a.csv", b"a,b,a\n1,2,3\n", "column 'a': 2 columns have this name; rename all but one"),
    ("a.csv", b"a,b\nx,1\n\xffy,2\n", r"line 3 is not UTF-8 \(byte 0xff\); save the file as UTF-8"),
    ("a.csv", b"a,\xe9\nx,1\n", r"line 1 is not UTF-8 \(byte 0xe9\)"),
    ("a.csv", "a,b\n1,2\n".encode("utf-16"), "the file is UTF-16, not UTF-8"),
    ("a.csv", b'a,b\n1,2\n3,"open\n4,5\n', "row 2: a quote is opened and never closed"),
    ("a.csv", b"text;label\nx;1\n", "only one column, 'text;label'"),
    ("a.jsonl", b"", "the file is empty"),
    ("a.jsonl", b"\n", "there is no row"),
    ("a.jsonl", b'{"a": 1}\n\n{"a": 2\n{"a": 3}\n', r"row 2: broken JSON at character 9 \("),
    ("a.jsonl", b'{"a": 1}\n[1]\n', "row 2: a list instead of an object"),
    ("a.jsonl", b'{"a": NaN, "a": 2}\n', "row 1, column 'a': the key is there twice"),
    ("a.jsonl", b'{"a": 1}\n{"a": [NaN]}\n', "row 2, column 'a': the value .* has another type"),
    ("a.jsonl", b'{"a": "x"}\n{"a": "\xff"}\n', r"line 2 is not UTF-8 \(byte 0xff\)"),
    ("a.parquet", b"PAR1 no", "cannot be read as .parquet"),
    ("a.arrow", b"no", "cannot be read as .arrow"),
    ("a.xlsx", b"x", "files of the kind '.xlsx' are not read; known: .csv"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD)
def test_bad_files_are_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises(DataError, match=message) as error:
        read_table(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 2


def test_bad_sources(tmp_path: Path) -> None:
    write(tmp_path, "reviews.csv", "a\n1\n")
    with pytest.raises(DataError, match=r"no such file or folder; did you mean 'reviews.csv'\?"):
        read_table(tmp_path / "review.csv")
    with pytest.raises(DataError, match="no file matches"):
        read_table(str(tmp_path / "*.parquet"))
    with pytest.raises(DataError, match="is not there either"):
        read_table(tmp_path / "nowhere" / "a.csv")
    write(tmp_path, "others.csv", "a,b\n1,2\n")
    with pytest.raises(DataError, match=r"column 'b': the column is in others.csv and not in rev"):
        read_table(str(tmp_path / "*.csv"))
    write(tmp_path, "a.jsonl", "{}")
    with pytest.raises(DataError, match=r"several kinds \(.csv, .jsonl\)"):
        read_table(str(tmp_path / "*"))
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="holds no data file"):
        read_table(tmp_path / "none")
    write(tmp_path / "none", "state.json", "{")
    with pytest.raises(DataError, match="state.json: the file is no JSON"):
        read_table(tmp_path / "none")


def test_a_missing_column_names_the_nearest() -> None:
    require_columns(ROWS, ["text", "label"], "a.csv")
    with pytest.raises(DataError, match="a.csv, column 'labe': .*did you mean 'label'") as error:
        require_columns(ROWS, ["text", "labe"], "a.csv")
    assert error.value.column == "labe"
