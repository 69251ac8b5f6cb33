"""Verbs on two runs, or on one run again: `compare`, `rerun`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from shipworthy.cli.options import Json, Language


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command("compare")(compare)


def compare(
    before: Annotated[Path, typer.Argument(metavar="RUN")],
    after: Annotated[Path, typer.Argument(metavar="RUN")],
    everything: Annotated[
        bool,
        typer.Option("--all"),
    ] = False,
    markdown: Annotated[
        bool,
        typer.Option(
            "--markdown",
        ),
    ] = False,
    json: Json = False,
    lang: Language = None,
) -> int:
    """Say what moved from one run to another, and whether that is more than chance."""
    from shipworthy.cli.output import choose_language, print_json
    from shipworthy.release import compare_page
    from shipworthy.release.compare import compare_runs
    from shipworthy.release.load import load_run

    choose_language(lang)
    found = compare_runs(load_run(before), load_run(after), everything=everything)
    if json:
        print_json(compare_page.to_json(found))
    elif markdown:
        print(compare_page.markdown(found), end="")
    else:
        print(
            "\n".join(compare_page.lines(found, width=shutil.get_terminal_size((100, 24)).columns))
        )
    return 0
