"""The verb `compress`: one lever alone, searched within a budget of time."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from shipworthy.cli.options import Json, Language


def add_to(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command("compress")(compress)


def compress(
    project: Annotated[Path, typer.Argument(metavar="PROJECT")] = Path("shipworthy.yaml"),
    minutes: Annotated[float | None, typer.Option("--minutes", metavar="N")] = None,
    wait: Annotated[bool, typer.Option("--wait")] = False,
    json: Json = False,
    lang: Language = None,
) -> int:
    """Search smaller models of a project on validation rows, and stop before any test row."""
    from shipworthy.cli.output import choose_language, print_json
    from shipworthy.cli.runs import tell
    from shipworthy.release.compressing import compress_project, within
    from shipworthy.release.project import load_project

    choose_language(lang)
    asked = within(load_project(project), minutes)
    found = compress_project(asked, project.resolve().parent, wait=wait, tell=tell)
    if json:
        print_json(found.to_dict())
    else:
        print("\n".join(found.lines(width=shutil.get_terminal_size((100, 24)).columns)))
    return 0
