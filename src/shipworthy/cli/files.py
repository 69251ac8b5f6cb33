"""Verbs on files that exist already: `judge` on predictions, `init` on data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shipworthy.cli.options import Json, Language, Report

if TYPE_CHECKING:
    from shipworthy.data.columns import Columns

_PAGE = "report.html"


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command("judge", short_help="Judge files of predictions; no model is needed.")(judge)
    app.command("init", short_help="Write a project file from your data.")(init)


def judge(
    parent: Annotated[Path, typer.Argument(help="Predictions of the parent.", metavar="PARENT")],
    candidates: Annotated[
        list[Path], typer.Argument(help="Predictions of each candidate.", metavar="CANDIDATE")
    ],
    policy: Annotated[Path, typer.Option(help="Policy file, or a project file.", metavar="FILE")],
    label: Annotated[
        str | None, typer.Option(help="Column with the true class.", metavar="COLUMN")
    ] = None,
    prediction: Annotated[
        str | None, typer.Option(help="Column with the answer.", metavar="COLUMN")
    ] = None,
    id: Annotated[
        str | None,
        typer.Option(
            help="Column that names each row; without it rows pair by position.", metavar="COLUMN"
        ),
    ] = None,
    score: Annotated[
        list[str] | None,
        typer.Option(
            help="Column with P(positive), or CLASS=COLUMN once per class.", metavar="COLUMN"
        ),
    ] = None,
    positive: Annotated[
        str | None, typer.Option(help="The positive class, if not 1, true, yes.", metavar="CLASS")
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(help="Column whose values are looked at apart; repeat it.", metavar="COLUMN"),
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option(
            help="Column of the sampling unit (author, source, person).", metavar="COLUMN"
        ),
    ] = None,
    intersections: Annotated[
        int,
        typer.Option(
            min=1, max=3, help="Cross up to so many groups for `each group`.", metavar="N"
        ),
    ] = 1,
    ledger: Annotated[
        Path | None,
        typer.Option(help="Ledger that counts looks at these rows.", metavar="FILE"),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(help="Column of the texts, to show some whose answer changed."),
    ] = None,
    examples: Annotated[
        str | None,
        typer.Option(help="Form of these texts: none, deidentified (unless said) or raw."),
    ] = None,
    report: Report = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Keep measurements, decisions and report in this folder.", metavar="DIR"),
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

    from shipworthy.release.judge import judge as judge_files
    from shipworthy.release.record import write_record
    from shipworthy.release.report import write_report

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
        text=text,
        examples=examples,
    )
    if out is not None:
        with writing(out):
            kept = write_record(found, out)
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
            raise InputError(f"--score {one}: give one column, or CLASS=COLUMN once per class")
        if name in found:
            raise InputError(f"--score {one}: the class {name!r} has a column already; drop one")
        found[name] = column
    return found


def init(
    data: Annotated[str, typer.Argument(help="Your rows: CSV, JSON Lines, Parquet, or a folder.")],
    out: Annotated[Path, typer.Option(help="Project file to write.", metavar="FILE")] = Path(
        "shipworthy.yaml"
    ),
    text: Annotated[str | None, typer.Option(help="Column with the text.")] = None,
    label: Annotated[str | None, typer.Option(help="Column with the class.")] = None,
    id: Annotated[str | None, typer.Option(help="Column that names each row.")] = None,
    unit: Annotated[str | None, typer.Option(help="Column of the sampling unit.")] = None,
    group: Annotated[
        list[str] | None, typer.Option(help="Column whose values are looked at apart; repeat it.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="Model to start from: a folder, or a builtin.")
    ] = "builtin:minilm",
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    json: Json = False,
    lang: Language = None,
) -> int:
    """Write a commented project file from your data; columns are guessed, and said so."""
    from shipworthy.cli.output import choose_language, print_json
    from shipworthy.core.locale import text as say
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
    print(say("cli.init.written", path=started.path))
    for role, column in _columns(started.columns).items():
        print(f"  {role}: {', '.join(column) if isinstance(column, list) else column or '-'}")
    for warning in started.warnings:
        print(f"  ! {warning}")
    print(say("cli.init.next", path=started.path))
    return 0


def _columns(found: Columns) -> dict[str, str | list[str] | None]:
    return {
        "text": found.text,
        "label": found.label,
        "id": found.id,
        "unit": found.unit,
        "groups": list(found.groups),
    }
