"""Verbs on a finished run or a policy: `report`, `selftest`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shipworthy.cli.options import Json, Language


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command("report")(report)
    app.command("selftest")(selftest)


def report(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Write the page here instead of into the run.", metavar="FILE"),
    ] = None,
    json: Json = False,
    lang: Language = None,
) -> int:
    """Show a finished run again and write its page; the exit code is that of its verdict."""
    from shipworthy.cli.output import choose_language, show
    from shipworthy.release.load import load_run
    from shipworthy.release.record import REPORT
    from shipworthy.release.report import write_report

    choose_language(lang)
    found = load_run(run)
    page = write_report(found.judgement, out or found.folder / REPORT)
    return show(found.judgement, as_json=json, report=page, folder=found.folder)


def selftest(
    policy: Annotated[Path, typer.Argument(help="Policy file, or a project file.")],
    skip: Annotated[
        list[str] | None,
        typer.Option(
            help="A planted model that this policy need not hold: broken, biased, slow, oversized."
        ),
    ] = None,
    json: Json = False,
    lang: Language = None,
) -> int:
    """Feed planted bad models to a policy: each must be held, and a good one must ship."""
    from shipworthy.cli.output import choose_language, print_json
    from shipworthy.core.errors import EXIT_HOLD, EXIT_SHIP
    from shipworthy.release.policy import load_policy
    from shipworthy.release.selftest import lines, run_selftest

    choose_language(lang)
    found = run_selftest(load_policy(policy), skip=tuple(skip or ()))
    if json:
        print_json(found.to_dict())
    else:
        print("\n".join(lines(found)))
    return EXIT_SHIP if found.passed else EXIT_HOLD
