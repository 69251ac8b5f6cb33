"""Files of the user into one Polars frame: CSV, TSV, JSON Lines, Parquet, Hugging Face folders.

A source is a file, a glob (its files are put one below the other, in order of their names), a
folder or `builtin:sentiment`. Nothing is guessed that would change a row: what does not fit is an
error that names file and row.
"""

from __future__ import annotations

import json
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipworthy.core.errors import DataError, did_you_mean, nearest
from shipworthy.core.locale import text
from shipworthy.core.locale.libraries import translated

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl

EXTENSIONS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".arrow")
_SPLITS = ("train", "validation", "valid", "val", "dev", "test")


def read_table(source: str | Path, *, root: Path | None = None) -> pl.DataFrame:
    """Return the rows of a source.

    root: folder that a relative path starts from; None is the working folder.
    Columns of categories become text. An integer column that a Hugging Face folder declares as
    class labels becomes text by its names.
    Raises DataError where a file is absent, empty, not UTF-8 or broken, or where the files of a
    glob have different columns.
    """
    import polars as pl

    if str(source).startswith("builtin:"):
        from shipworthy.data.builtin import builtin_table

        return builtin_table(str(source))
    files = source_files(source, root=root)
    named = Path(root or ".", source).is_dir()
    frames = [_read(file, class_names=named) for file in files]
    for file, frame in zip(files[1:], frames[1:], strict=True):
        _same_columns(files[0], frames[0], file, frame)
    columns = frames[0].columns
    try:
        frame = pl.concat((f.select(columns) for f in frames), how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        problem = text("error.sources.no_fit", reason=translated(str(error).splitlines()[0]))
        raise DataError(problem, file=source) from None
    if files[0].suffix.lower() in (".csv", ".tsv"):
        from shipworthy.data.delimited import infer_types

        # After putting files together: a column can look like numbers in one of them only.
        frame = infer_types(frame)
    if frame.height == 0:
        raise DataError(
            text("error.sources.no_row"), file=source, fix=text("error.sources.empty.fix")
        )
    return frame.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))


def source_files(source: str | Path, *, root: Path | None = None) -> list[Path]:
    """Return the files that `read_table` would read, sorted; their digests identify the rows.

    Raises DataError where there is none, or where they are of more than one kind.
    """
    if str(source).startswith("builtin:"):
        from shipworthy.data.builtin import builtin_archive

        return [builtin_archive(str(source))]
    path = Path(root or ".", Path(source).expanduser())
    if path.is_dir():
        files = _files_of_folder(path)
    elif path.exists():
        files = [path]
    elif any(mark in str(source) for mark in "*?["):
        files = sorted(Path(name) for name in glob(str(path), recursive=True))
        files = [file for file in files if file.is_file()]
        if not files:
            raise DataError(
                text("error.sources.no_match"), file=path, fix=text("error.sources.no_match.fix")
            )
    else:
        raise DataError(text("error.sources.absent"), file=path, fix=_similar(path))
    kinds = sorted({_kind(file) for file in files})
    if len(kinds) > 1:
        raise DataError(
            text("error.sources.several_kinds", kinds=", ".join(kinds)),
            file=path,
            fix=text("error.sources.several_kinds.fix", kind=kinds[0]),
        )
    return files


def require_columns(frame: pl.DataFrame, names: Iterable[str], file: str | Path | None) -> None:
    """Raise DataError for the first name that is no column, with the nearest one that is."""
    for name in names:
        if name not in frame.columns:
            fix = nearest(name, frame.columns)
            raise DataError(text("error.table.no_column"), file=file, column=name, fix=fix)


def _read(file: Path, *, class_names: bool) -> pl.DataFrame:
    from polars.exceptions import PolarsError
    from pyarrow import ArrowException

    if file.stat().st_size == 0:
        raise DataError(text("error.table.empty"), file=file, fix=text("error.sources.empty.fix"))
    kind = _kind(file)
    try:
        if kind in (".csv", ".tsv"):
            from shipworthy.data.delimited import read_text_columns

            return read_text_columns(file, "\t" if kind == ".tsv" else ",")
        if kind in (".jsonl", ".ndjson"):
            from shipworthy.data.json_lines import read_json_lines

            return read_json_lines(file)
        return _read_arrow(file, kind, class_names=class_names)
    except (PolarsError, ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            text("error.sources.unreadable", kind=kind, reason=translated(reason)), file=file
        ) from None


def _read_arrow(file: Path, kind: str, *, class_names: bool) -> pl.DataFrame:
    import polars as pl
    from pyarrow import ipc, parquet

    if kind == ".parquet":
        frame = pl.read_parquet(file, glob=False, hive_partitioning=False)
        schema = parquet.read_schema(file) if class_names else None
    else:
        # `save_to_disk` of Hugging Face datasets writes the stream format.
        with ipc.open_stream(file) as reader:
            schema = reader.schema
            frame = pl.DataFrame(pl.from_arrow(reader.read_all()))
    if schema is None or b"huggingface" not in (schema.metadata or {}):
        return frame
    features = json.loads(schema.metadata[b"huggingface"]).get("info", {}).get("features") or {}
    return frame.with_columns(
        pl.col(name).replace_strict(dict(enumerate(classes)), default=None, return_dtype=pl.String)
        for name, classes in _class_labels(features)
        if name in frame.columns and frame.schema[name].is_integer()
    )


def _class_labels(features: dict[str, Any]) -> list[tuple[str, list[str]]]:
    return [
        (name, feature["names"])
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and "names" in feature
    ]


def _files_of_folder(folder: Path) -> list[Path]:
    """Return the data files of a Hugging Face folder that holds one split."""
    splits = _json(folder / "dataset_dict.json").get("splits", [])
    if splits:
        raise _several_splits(folder, splits, f"{folder.name}/{splits[0]}")
    saved = _json(folder / "state.json").get("_data_files", [])
    if saved:
        return [folder / Path(entry["filename"]).name for entry in saved]
    files = sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in EXTENSIONS
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )
    if not files:
        known = ", ".join(EXTENSIONS)
        raise DataError(
            text("error.sources.empty_folder"), file=folder, fix=text("error.known", names=known)
        )
    stems = [file.stem.lower() for file in files]
    splits = [s for s in _SPLITS if any(x == s or x.startswith((s + "-", s + "_")) for x in stems)]
    if len(splits) > 1:
        raise _several_splits(folder, splits, f"{folder.name}/**/{splits[0]}*")
    return files


def _json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        raise DataError(
            text("error.sources.no_json"), file=file, fix=text("error.sources.no_json.fix")
        ) from None
    return content if isinstance(content, dict) else {}


def _several_splits(folder: Path, splits: list[str], example: str) -> DataError:
    problem = text("error.sources.several_splits", splits=", ".join(splits))
    return DataError(
        problem, file=folder, fix=text("error.sources.several_splits.fix", example=example)
    )


def _kind(file: Path) -> str:
    kind = file.suffix.lower()
    if kind not in EXTENSIONS:
        known = ", ".join(EXTENSIONS)
        raise DataError(
            text("error.sources.kind", kind=kind), file=file, fix=text("error.known", names=known)
        )
    return kind


def _same_columns(first: Path, frame: pl.DataFrame, file: Path, other: pl.DataFrame) -> None:
    missing = [name for name in frame.columns if name not in other.columns]
    extra = [name for name in other.columns if name not in frame.columns]
    if missing or extra:
        more, less = (first, file) if missing else (file, first)
        raise DataError(
            text("error.sources.other_columns", more=more.name, less=less.name),
            file=file,
            column=(missing or extra)[0],
            fix=text("error.sources.other_columns.fix"),
        )


def _similar(path: Path) -> str:
    if not path.parent.is_dir():
        return text("error.sources.no_parent", folder=path.parent)
    meant = did_you_mean(path.name, [p.name for p in path.parent.iterdir()])
    return meant or text("error.sources.check_path")
