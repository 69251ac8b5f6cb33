"""The verb `import`: a log of an evaluation tool as a table of answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shipworthy.cli.options import Json, Language

if TYPE_CHECKING:
    import polars as pl


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command("import")(import_log)


def import_log(
    log: Annotated[
        str,
        typer.Argument(metavar="LOG"),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE")] = Path("answers.parquet"),
    json: Json = False,
    lang: Language = None,
) -> int:
    """Turn an evaluation log into a table of answers that `judge` reads."""
    from shipworthy.cli.output import check_place, choose_language, print_json, writing
    from shipworthy.core.errors import DataError, InputError
    from shipworthy.core.files import write_atomically
    from shipworthy.core.locale import number, text
    from shipworthy.model.evaluation_logs import LABEL, PREDICTION, read_answers_table, recognise

    choose_language(lang)
    if out.suffix not in _WRITERS:
        raise InputError(text("error.import.out", path=out))
    check_place(out, "--out")
    table = read_answers_table(log)
    tool = recognise(log)
    if tool is None:
        raise DataError(text("error.import.plain"), file=log, fix=text("error.import.plain.fix"))
    with writing(out):
        write_atomically(out, _WRITERS[out.suffix](table))
    known = {LABEL, PREDICTION} <= set(table.columns)
    right = float((table[LABEL] == table[PREDICTION]).mean()) if known else None  # type: ignore[arg-type]
    if json:
        print_json(
            {
                "table": str(out),
                "tool": tool,
                "rows": table.height,
                "columns": table.columns,
                "right": right,
            }
        )
        return 0
    told = {"path": out, "rows": number(table.height), "tool": tool}
    if right is None:
        print(text("import.written.bare", **told))
    else:
        print(text("import.written", **told, right=number(100 * right, 1)))
    print(text("import.columns", names=", ".join(table.columns)))
    return 0


def _parquet(table: pl.DataFrame) -> bytes:
    import io

    buffer = io.BytesIO()
    table.write_parquet(buffer)
    return buffer.getvalue()


def _csv(table: pl.DataFrame) -> bytes:
    return table.write_csv().encode()


def _json_lines(table: pl.DataFrame) -> bytes:
    return table.write_ndjson().encode()


_WRITERS = {".parquet": _parquet, ".csv": _csv, ".jsonl": _json_lines}
