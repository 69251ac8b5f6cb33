"""Verbs on a finished run or a policy: `report`, `selftest`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from shipworthy.cli.options import Json, Language


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command("report")(report)
    app.command("selftest")(selftest)


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE"),
    ] = None,
    team: Annotated[Path | None, typer.Option(metavar="FILE")] = None,
    need_approval: Annotated[bool, typer.Option("--approved")] = False,
    json: Json = False,
    lang: Language = None,
) -> int:
    """Show a finished run again and write its page; the exit code is that of its verdict."""
    from shipworthy.cli.output import check_place, choose_language, show, writing
    from shipworthy.release.approvals import approved, fully_approved, open_place
    from shipworthy.release.record import REPORT
    from shipworthy.release.report import write_report

    choose_language(lang)
    found = open_place(run, team=team)
    judgement = approved(found)
    waiting = False
    if need_approval:
        # Without a team file nobody can tell who may sign: an error, not an answer.
        waiting = bool(found.team.people) and not fully_approved(judgement)
    page = found.folder / REPORT if out is None else out
    check_place(page, "--out")
    with writing(page):
        write_report(judgement, page)
    return show(judgement, as_json=json, report=page, folder=found.folder, approval_lacks=waiting)


def selftest(
    policy: Annotated[Path, typer.Argument(metavar="POLICY")],
    skip: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL",
        ),
    ] = None,
    ledger: Annotated[
        Path | None,
        typer.Option(metavar="FILE"),
    ] = None,
    json: Json = False,
    lang: Language = None,
) -> int:
    """Feed planted bad models to a policy: each must be held, and a good one must ship."""
    from shipworthy.cli.output import check_place, choose_language, print_json
    from shipworthy.core.errors import EXIT_HOLD, EXIT_SHIP
    from shipworthy.core.ledger import Ledger
    from shipworthy.core.locale import text
    from shipworthy.release.policy import load_policy
    from shipworthy.release.selftest import run_selftest
    from shipworthy.release.selftest_evidence import record_selftest
    from shipworthy.release.selftest_shown import lines

    choose_language(lang)
    if ledger is not None:
        check_place(ledger, "--ledger")
    written = load_policy(policy)
    found = run_selftest(written, skip=tuple(skip or ()))
    if ledger is not None:
        record_selftest(Ledger(ledger), written, found)
    if json:
        print_json(found.to_dict())
    else:
        print("\n".join(lines(found, width=shutil.get_terminal_size((100, 24)).columns)))
        if ledger is not None:
            print(text("selftest.ledger", path=ledger))
    return EXIT_SHIP if found.passed else EXIT_HOLD
