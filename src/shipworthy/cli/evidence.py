"""Verbs on a finished run or a policy: `report`, `selftest`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shipworthy.cli.options import Json, Language


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command("report", short_help="Show a finished run again.")(report)
    app.command("selftest", short_help="Prove that a policy can say no.")(selftest)


def report(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.", metavar="RUN")],
    out: Annotated[
        Path | None,
        typer.Option(help="Write the page here instead of into the run.", metavar="FILE"),
    ] = None,
    json: Json = False,
    lang: Language = None,
) -> int:
    """Show a finished run again and write its page; the exit code is that of its verdict."""
    from shipworthy.cli.output import check_place, choose_language, show, writing
    from shipworthy.release.load import load_run
    from shipworthy.release.record import REPORT
    from shipworthy.release.report import write_report

    choose_language(lang)
    found = load_run(run)
    page = found.folder / REPORT if out is None else out
    check_place(page, "--out")
    with writing(page):
        write_report(found.judgement, page)
    return show(found.judgement, as_json=json, report=page, folder=found.folder)


def selftest(
    policy: Annotated[
        Path, typer.Argument(help="Policy file, or a project file.", metavar="POLICY")
    ],
    skip: Annotated[
        list[str] | None,
        typer.Option(
            help="A planted model that this policy need not hold: broken, biased, slow or "
            "oversized; repeat it.",
            metavar="MODEL",
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
