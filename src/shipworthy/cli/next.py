"""The verb on what a run leaves open: `next`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shipworthy.cli.options import Json, Language


def add_to(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command("next")(next_)


def next_(
    run: Annotated[Path, typer.Argument(metavar="RUN")],
    minutes: Annotated[float, typer.Option(min=0, metavar="MINUTES")] = 10.0,
    candidate: Annotated[str | None, typer.Option(metavar="NAME")] = None,
    json: Json = False,
    lang: Language = None,
) -> int:
    """Say what to do next, and look into the layers of what is held; goes on where it stopped."""
    from shipworthy.cli.output import choose_language, print_json
    from shipworthy.cli.runs import tell, warn
    from shipworthy.release.next_run import find_next
    from shipworthy.release.next_shown import lines, to_json

    choose_language(lang)
    found = find_next(run, minutes=minutes, candidate=candidate, tell=tell, warn=warn)
    if json:
        print_json(to_json(found))
    else:
        print("\n".join(lines(found, run=str(run), minutes=minutes)))
    return 0
