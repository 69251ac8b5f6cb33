"""Verbs on files that exist already: `judge` on predictions, `init` on data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shipworthy.cli.options import Json, Language, Report
from shipworthy.core import locale

if TYPE_CHECKING:
    from shipworthy.data.columns import Columns

_PAGE = "report.html"


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command("judge")(judge)
    app.command("init")(init)


def judge(
    parent: Annotated[Path, typer.Argument(metavar="PARENT")],
    candidates: Annotated[list[Path], typer.Argument(metavar="CANDIDATE")],
    policy: Annotated[Path, typer.Option(metavar="FILE")],
    label: Annotated[str | None, typer.Option(metavar="COLUMN")] = None,
    prediction: Annotated[str | None, typer.Option(metavar="COLUMN")] = None,
    id: Annotated[
        str | None,
        typer.Option(metavar="COLUMN"),
    ] = None,
    score: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN"),
    ] = None,
    positive: Annotated[str | None, typer.Option(metavar="CLASS")] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN"),
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option(metavar="COLUMN"),
    ] = None,
    intersections: Annotated[
        int,
        typer.Option(min=1, max=3, metavar="N"),
    ] = 1,
    ledger: Annotated[Path | None, typer.Option(metavar="FILE")] = None,
    team: Annotated[Path | None, typer.Option(metavar="FILE")] = None,
    text: Annotated[str | None, typer.Option(metavar="COLUMN")] = None,
    examples: Annotated[str | None, typer.Option(metavar="FORM")] = None,
    report: Report = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR"),
    ] = None,
    json: Json = False,
    lang: Language = None,
) -> int:
    """Judge files of predictions against their parent's: no model is needed."""
    from shipworthy.cli.output import check_place, choose_language, show, writing

    choose_language(lang)
    page = Path(_PAGE) if report is None else report
    # A look at the test rows is written down before the answer is: nothing may fail after it.
    if report is not None or out is None:
        check_place(page, "--report")
    if out is not None:
        check_place(out, "--out", folder=True)

    from shipworthy.core.ledger import Ledger
    from shipworthy.release.judge import judge as judge_files
    from shipworthy.release.places import LEDGER
    from shipworthy.release.report import write_report
    from shipworthy.release.settle import keep

    if out is not None and ledger is None and (out / LEDGER).is_file():
        # It counts the looks as well, or they would begin anew in the same folder.
        ledger = out / LEDGER
    if out is not None and ledger is not None:
        Ledger(ledger).check_copy(out / LEDGER)

    found = judge_files(
        parent,
        candidates,
        policy,
        label=label,
        prediction=prediction,
        score=_scores(score),
        id=id,
        positive=positive,
        groups=group or (),
        unit=unit,
        ledger=ledger,
        intersections=intersections,
        team=team,
        text=text,
        examples=examples,
    )
    if out is not None:
        with writing(out):
            kept = keep(found, out, None if ledger is None else Ledger(ledger))
        page = kept if report is None else page
    if report is not None or out is None:
        with writing(page):
            write_report(found, page)
    return show(found, as_json=json, report=page, folder=out)


def _scores(given: list[str] | None) -> str | dict[str, str] | None:
    from shipworthy.core.errors import InputError

    if not given:
        return None
    if len(given) == 1 and "=" not in given[0]:
        return given[0]
    found: dict[str, str] = {}
    for one in given:
        name, equals, column = one.partition("=")
        if not (name and equals and column):
            raise InputError(locale.text("error.files.score", one=one))
        if name in found:
            raise InputError(locale.text("error.files.score_twice", one=one, name=name))
        found[name] = column
    return found


def init(
    data: Annotated[str, typer.Argument(metavar="DATA")],
    out: Annotated[Path, typer.Option(metavar="FILE")] = Path("shipworthy.yaml"),
    text: Annotated[str | None, typer.Option(metavar="COLUMN")] = None,
    label: Annotated[str | None, typer.Option(metavar="COLUMN")] = None,
    id: Annotated[str | None, typer.Option(metavar="COLUMN")] = None,
    unit: Annotated[str | None, typer.Option(metavar="COLUMN")] = None,
    group: Annotated[list[str] | None, typer.Option(metavar="COLUMN")] = None,
    model: Annotated[str, typer.Option(metavar="MODEL")] = "builtin:minilm",
    force: Annotated[bool, typer.Option("--force")] = False,
    json: Json = False,
    lang: Language = None,
) -> int:
    """Write a commented project file from your data; columns are guessed, and said so."""
    from shipworthy.cli.output import choose_language, print_json
    from shipworthy.release.init import write_project

    choose_language(lang)
    started = write_project(
        data, out, text=text, label=label, id=id, unit=unit,
        groups=None if group is None else tuple(group), model=model, force=force,
    )  # fmt: skip
    if json:
        print_json(
            {
                "project": str(started.path),
                "columns": _columns(started.columns),
                "warnings": list(started.warnings),
            }
        )
        return 0
    print(locale.text("cli.init.written", path=started.path))
    for role, column in _columns(started.columns).items():
        print(f"  {role}: {', '.join(column) if isinstance(column, list) else column or '-'}")
    for warning in started.warnings:
        print(f"  ! {warning}")
    print(locale.text("cli.init.next", path=started.path))
    return 0


def _columns(found: Columns) -> dict[str, str | list[str] | None]:
    return {
        "text": found.text,
        "label": found.label,
        "id": found.id,
        "unit": found.unit,
        "groups": list(found.groups),
    }
