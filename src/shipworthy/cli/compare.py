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
    app.command("rerun")(rerun)


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


def rerun(
    run: Annotated[Path, typer.Argument(metavar="RUN")],
    measurement: Annotated[list[str] | None, typer.Option(metavar="ID")] = None,
    everything: Annotated[bool, typer.Option("--all")] = False,
    timings: Annotated[bool, typer.Option("--timings")] = False,
    root: Annotated[Path | None, typer.Option(metavar="DIR")] = None,
    json: Json = False,
    lang: Language = None,
) -> int:
    """Make numbers of a finished run again, without its cache; without an option list their ids."""
    from shipworthy.cli.output import choose_language, print_json
    from shipworthy.core.errors import EXIT_SHIP, InputError
    from shipworthy.core.locale import text
    from shipworthy.release import rerun_page
    from shipworthy.release.load import load_run
    from shipworthy.release.rerun import recorded_numbers
    from shipworthy.release.rerun import rerun as make_again

    choose_language(lang)
    width = shutil.get_terminal_size((100, 24)).columns
    if timings and not everything:
        raise InputError(text("error.rerun.timings"))
    found = load_run(run)
    if not measurement and not everything:
        numbers = recorded_numbers(found)
        if json:
            print_json(
                {"run": found.judgement.run, "measurements": list(map(rerun_page.named, numbers))}
            )
        else:
            print("\n".join(rerun_page.listing(found, numbers, width=width)))
        return EXIT_SHIP
    again = make_again(found, measurement or None, timings=timings, root=root)
    if json:
        print_json(rerun_page.to_json(again))
    else:
        print("\n".join(rerun_page.lines(again, width=width)))
    return again.exit_code
