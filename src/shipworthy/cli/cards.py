"""The verb that writes documents about a finished run: `card`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shipworthy.cli.options import Json, Language


def add_to(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command("card")(card)


def card(
    run: Annotated[Path, typer.Argument(metavar="RUN")],
    kind: Annotated[list[str] | None, typer.Option(metavar="KIND")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR")] = None,
    json: Json = False,
    lang: Language = None,
) -> int:
    """Write a model card, technical documentation or a data sheet from a run's evidence."""
    from shipworthy.cli.output import check_place, choose_language, print_json, writing
    from shipworthy.release.card import write_cards

    choose_language(lang)
    if out is not None:
        check_place(out, "--out", folder=True)
    with writing(run if out is None else out):
        found = write_cards(run, kinds=kind or ("model",), out=out)
    if json:
        cards = [{"kind": c.kind, "path": str(c.path), "sha256": c.sha256} for c in found]
        print_json({"run": found[0].run, "verdict": found[0].verdict, "cards": cards})
    else:
        print("\n".join(str(c.path) for c in found))
    return 0
