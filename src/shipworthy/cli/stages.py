"""Verbs on the stages of a project: `why` one was made, `clean` away what is not needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shipworthy.cli.options import Json, Language


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command("why")(why)
    app.command("clean")(clean)


def why(
    stage: Annotated[list[str], typer.Argument(metavar="STAGE")],
    project: Annotated[Path, typer.Option(metavar="PATH")] = Path(),
    json: Json = False,
    lang: Language = None,
) -> int:
    """Say which part of a stage's key changed since it was made; nothing is made."""
    from shipworthy.cli.output import choose_language, print_json
    from shipworthy.release.project import load_project
    from shipworthy.release.why import lines
    from shipworthy.release.why import why as find_out

    choose_language(lang)
    file = project / "shipworthy.yaml" if project.is_dir() else project
    asked = load_project(file) if file.exists() or not project.is_dir() else None
    found = find_out(" ".join(stage), file.resolve().parent, asked)
    if json:
        print_json(found.to_dict())
    else:
        print("\n".join(lines(found)))
    return 0


def clean(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER")] = Path(),
    keep: Annotated[int, typer.Option(min=0, metavar="N")] = 3,
    dry_run: Annotated[bool, typer.Option("--dry-run")] = False,
    json: Json = False,
    lang: Language = None,
) -> int:
    """Remove runs that neither shipped nor are among the last, and stages that no kept run uses."""
    from shipworthy.cli.output import choose_language, print_json
    from shipworthy.release.cleaning import clean as clean_up
    from shipworthy.release.cleaning import lines

    choose_language(lang)
    found = clean_up(folder, keep=keep, dry_run=dry_run)
    if json:
        print_json(found.to_dict())
    else:
        print("\n".join(lines(found)))
    return 0
