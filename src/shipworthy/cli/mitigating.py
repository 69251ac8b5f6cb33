"""The verb `mitigate`: one lever alone, its candidates measured on validation rows."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from shipworthy.cli.options import Json, Language


def add_to(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command("mitigate")(mitigate)


def mitigate(
    project: Annotated[Path, typer.Argument(metavar="PROJECT")] = Path("shipworthy.yaml"),
    wait: Annotated[bool, typer.Option("--wait")] = False,
    json: Json = False,
    lang: Language = None,
) -> int:
    """Make the mitigations of a project, measure them on validation rows, and stop before test."""
    from shipworthy.cli.output import choose_language, print_json
    from shipworthy.cli.runs import tell
    from shipworthy.release.mitigating import mitigate_project
    from shipworthy.release.project import load_project

    choose_language(lang)
    root = project.resolve().parent
    found = mitigate_project(load_project(project), root, wait=wait, tell=tell)
    if json:
        print_json(found.to_dict())
    else:
        print("\n".join(found.lines(width=shutil.get_terminal_size((100, 24)).columns)))
    return 0
