"""Tables that a run of MLflow keeps among its artifacts, as `mlflow.log_table` writes them.

A folder of artifacts is read without the library; `mlflow:RUN_ID` asks the tracking server for it.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from shipworthy.core.errors import DataError, MissingExtraError
from shipworthy.core.locale import text
from shipworthy.model.evaluation_logs import MLFLOW, parsed

if TYPE_CHECKING:
    import polars as pl

_TABLES = (".csv", ".json", ".parquet")


def read_mlflow_table(source: str) -> pl.DataFrame:
    """Return the table of a run.

    source: folder of a run or of its artifacts, one table in it, `mlflow:RUN_ID` or
    `mlflow:RUN_ID/path/of/artifact`. Raises DataError where there is no table or more than one, and
    MissingExtraError where a run is named and the library is not installed.
    """
    if not source.startswith(MLFLOW):
        path = Path(source)
        artifacts = path / "artifacts" if (path / "artifacts").is_dir() else path
        return _table(_only(artifacts, source) if artifacts.is_dir() else artifacts)
    try:
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise MissingExtraError(source, "mlflow") from None
    run, _, artifact = source.removeprefix(MLFLOW).partition("/")
    with TemporaryDirectory() as folder:
        try:
            place = download_artifacts(run_id=run, artifact_path=artifact or None, dst_path=folder)
        except (MlflowException, OSError) as error:
            problem = text("error.logs.no_run", run=run, reason=str(error).splitlines()[0])
            raise DataError(problem, file=source, fix=text("error.logs.no_run.fix")) from None
        found = Path(place)
        return _table(_only(found, source) if found.is_dir() else found)


def _only(folder: Path, source: str) -> Path:
    """Return the one table below a folder of artifacts."""
    files = [f for f in sorted(folder.rglob("*")) if f.suffix in _TABLES and _is_table(f)]
    if len(files) != 1:
        names = ", ".join(str(f.relative_to(folder)) for f in files)
        key = "error.logs.tables" if files else "error.logs.no_table"
        raise DataError(text(key, names=names), file=source, fix=text(f"{key}.fix"))
    return files[0]


def _is_table(file: Path) -> bool:
    if file.suffix != ".json":
        return True
    with file.open("rb") as opened:
        return b'"columns"' in opened.read(1 << 12)


def _table(file: Path) -> pl.DataFrame:
    import polars as pl

    if file.suffix != ".json":
        from shipworthy.data.sources import read_table

        return read_table(file)
    document = parsed(file.read_bytes(), str(file))
    try:
        return pl.DataFrame(document["data"], schema=list(document["columns"]), orient="row",
                            infer_schema_length=None)  # fmt: skip
    except (KeyError, TypeError, pl.exceptions.PolarsError) as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        raise DataError(text("error.logs.broken", reason=reason), file=file) from None
