"""The verb `train`: one lever alone, in one process or several."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shipworthy.cli.options import Json, Language


def add_to(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command("train")(train)


def train(
    project: Annotated[Path, typer.Argument(metavar="PROJECT")] = Path("shipworthy.yaml"),
    nproc: Annotated[int | None, typer.Option("--nproc", min=1, metavar="N")] = None,
    parallel: Annotated[str | None, typer.Option("--parallel", metavar="LAYOUT")] = None,
    preview: Annotated[bool, typer.Option("--preview")] = False,
    wait: Annotated[bool, typer.Option("--wait")] = False,
    json: Json = False,
    lang: Language = None,
) -> int:
    """Fine-tune the parent of a project, and stop there; the same result under every layout."""
    import os

    from shipworthy.cli.output import choose_language, print_json
    from shipworthy.cli.runs import tell
    from shipworthy.release.project import load_project
    from shipworthy.release.training import laid_out, train_project
    from shipworthy.release.training import preview as draw
    from shipworthy.train.mesh import inside

    choose_language(lang)
    if inside():
        from shipworthy.train.launcher import follow, lead

        if os.environ["RANK"] != "0":
            return follow()
        lead()
    try:
        asked = laid_out(load_project(project), parallel=parallel, nproc=nproc)
        root = project.resolve().parent
        found = (
            draw(asked, root, wait=wait)
            if preview
            else train_project(asked, root, wait=wait, tell=tell)
        )
    finally:
        if inside():
            from shipworthy.train.launcher import let_go

            let_go()
    if json:
        print_json(found.to_dict())
    else:
        print("\n".join(found.lines()))
    return 0
