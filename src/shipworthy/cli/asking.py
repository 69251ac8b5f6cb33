"""The verb `ask`: rows put before a running server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shipworthy.cli.options import Json, Language


def add_to(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command("ask")(ask)


def ask(
    settings: Annotated[Path, typer.Argument(metavar="FILE")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE")] = Path("answers.parquet"),
    dry_run: Annotated[bool, typer.Option("--dry-run")] = False,
    json: Json = False,
    lang: Language = None,
) -> int:
    """Ask a server of OpenAI's protocol rows, and write what it says for `judge`."""
    from shipworthy.cli.output import check_place, choose_language, print_json
    from shipworthy.release.ask import ask_server, load_ask

    choose_language(lang)
    if not dry_run:
        check_place(out, "--out")
    found = ask_server(load_ask(settings), None if dry_run else out)
    if json:
        print_json(found.to_dict())
    else:
        print("\n".join(found.lines()))
    return 0
