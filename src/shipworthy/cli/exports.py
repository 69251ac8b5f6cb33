"""Verbs that hand things to other tools: `export` a run, `schema` of the settings files."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from shipworthy.cli.options import Json, Language


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command("export")(export)
    app.command("schema")(schema)


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN")],
    form: Annotated[str, typer.Option("--format", metavar="FORMAT")],
    out: Annotated[Path | None, typer.Option(metavar="FILE")] = None,
    policy: Annotated[Path | None, typer.Option(metavar="FILE")] = None,
    json: Json = False,
    lang: Language = None,
) -> int:
    """Write a finished run as JUnit XML, SARIF, or Markdown for a pull request."""
    from shipworthy.cli.output import check_place, choose_language, print_json, writing
    from shipworthy.core.files import write_atomically
    from shipworthy.core.locale import text
    from shipworthy.release.exports import export as exported
    from shipworthy.release.load import load_run

    choose_language(lang)
    if out is not None:
        check_place(out, "--out")
    content = exported(load_run(run), form, policy=policy)
    if out is not None:
        with writing(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(out, content)
    if json:
        told = None if out is None else str(out)
        print_json({"format": form, "file": told, "content": None if out else content})
    elif out is None:
        sys.stdout.write(content)
    else:
        print(text("exports.written", path=out))
    return 0


def schema(
    subject: Annotated[str, typer.Argument(metavar="FILE")] = "project",
    json: Json = False,
    lang: Language = None,
) -> int:
    """Say what a settings file may hold: every key with its meaning, type, range and default."""
    from shipworthy.cli.output import choose_language, print_json
    from shipworthy.release.schema import json_schema
    from shipworthy.release.schema_page import lines

    choose_language(lang)
    if json:
        print_json(json_schema(subject))
    else:
        print("\n".join(lines(subject, width=shutil.get_terminal_size((100, 24)).columns)))
    return 0
