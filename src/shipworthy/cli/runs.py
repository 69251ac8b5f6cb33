"""Verbs that run a whole project: `demo` on built-in data, `run` on the user's own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shipworthy.cli.options import Json, Language

if TYPE_CHECKING:
    from shipworthy.core.stages import Stage
    from shipworthy.release.pipeline import Finished

Only = Annotated[
    str | None,
    typer.Option(metavar="STAGE"),
]
Rehearse = Annotated[bool, typer.Option("--rehearse")]
Wait = Annotated[bool, typer.Option("--wait")]
Person = Annotated[str, typer.Option("--as", metavar="PERSON", envvar="SHIPWORTHY_PERSON")]


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command("demo")(demo)
    app.command("run")(run)


def demo(
    folder: Annotated[Path, typer.Option(metavar="DIR")] = Path(),
    only: Only = None,
    rehearse: Rehearse = False,
    wait: Wait = False,
    json: Json = False,
    lang: Language = None,
) -> int:
    """Run the main job on built-in real data, to a verdict and a report."""
    from importlib.resources import as_file, files

    from shipworthy.cli.output import choose_language

    choose_language(lang)
    with as_file(files("shipworthy.release") / "demo.yaml") as path:
        return _run(
            path, folder, only=only, rehearse=rehearse, wait=wait, as_json=json, builtin=True
        )


def run(
    project: Annotated[Path, typer.Argument(metavar="PROJECT")] = Path("shipworthy.yaml"),
    only: Only = None,
    rehearse: Rehearse = False,
    wait: Wait = False,
    person: Person = "",
    json: Json = False,
    lang: Language = None,
) -> int:
    """Run all stages of a project to a verdict; a second call goes on where the first stopped."""
    from shipworthy.cli.output import choose_language

    choose_language(lang)
    root = project.resolve().parent
    return _run(project, root, only=only, rehearse=rehearse, wait=wait, as_json=json, by=person)


def _run(
    path: Path,
    root: Path,
    *,
    only: str | None,
    rehearse: bool,
    wait: bool,
    as_json: bool,
    by: str = "",
    builtin: bool = False,
) -> int:
    from shipworthy.cli.output import show
    from shipworthy.release.pipeline import run_project
    from shipworthy.release.project import load_project

    project = load_project(path)
    if builtin:
        _introduce()
    finished = run_project(
        project,
        root=root,
        text=path.read_text(encoding="utf-8"),
        only=only,
        rehearse=rehearse,
        wait=wait,
        by=by,
        tell=tell,
        warn=warn,
    )
    if finished.judgement is None:
        return _stopped(finished, only or "", as_json)
    return show(finished.judgement, as_json=as_json, report=finished.report, folder=finished.folder)


def _introduce() -> None:
    """Say where the built-in model and texts come from, and under which licence."""
    from shipworthy.data.builtin import describe

    for name in ("minilm", "sentiment"):
        print(describe(name), file=sys.stderr)


def tell(stage: Stage) -> None:
    """Print a line for each finished stage, so that a log shows what was made and what was not."""
    from shipworthy.core.locale import number, text
    from shipworthy.release.cells import pad

    took = text("run.stage.cached")
    if not stage.cached:
        took = text("run.stage.made", seconds=number(stage.seconds, 1))
    what, _, of = stage.name.partition(" ")
    print(f"  {pad(text(f'run.stage.{what}', name=of), 32)} {took}", file=sys.stderr)


def warn(line: str) -> None:
    """Print a line that people must know of while something runs."""
    print(line, file=sys.stderr)


def _stopped(finished: Finished, only: str, as_json: bool) -> int:
    from shipworthy.cli.output import print_json
    from shipworthy.core.locale import text

    if as_json:
        print_json(
            {
                "stopped_after": only,
                "stages": [
                    {
                        "name": s.name,
                        "key": s.key,
                        "folder": str(s.folder),
                        "cached": s.cached,
                        "seconds": s.seconds,
                    }
                    for s in finished.stages
                ],
                "seconds": finished.seconds,
            }
        )
    else:
        print(text("run.stopped", stage=only))
    return 0
