"""Verbs on files that exist already: `judge` on predictions, `init` on data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shipworthy.cli.options import Json, Language, Report

if TYPE_CHECKING:
    from shipworthy.data.columns import Columns


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command("judge")(judge)
    app.command("init")(init)


def judge(
    parent: Annotated[Path, typer.Argument(help="Predictions of the parent.")],
    candidates: Annotated[
        list[Path], typer.Argument(help="Predictions of each candidate.", metavar="CANDIDATE...")
    ],
    policy: Annotated[Path, typer.Option(help="Policy file, or a project file.")],
    label: Annotated[str, typer.Option(help="Column with the true class.")],
    prediction: Annotated[str, typer.Option(help="Column with the answer.")],
    id: Annotated[str | None, typer.Option(help="Column that names each row.")] = None,
    score: Annotated[
        list[str] | None,
        typer.Option(help="Column with P(positive), or CLASS=COLUMN once per class."),
    ] = None,
    positive: Annotated[str | None, typer.Option(help="The positive class.")] = None,
    group: Annotated[
        list[str] | None, typer.Option(help="Column whose values are looked at apart; repeat it.")
    ] = None,
    unit: Annotated[
        str | None, typer.Option(help="Column of the sampling unit (author, source, person).")
    ] = None,
    intersections: Annotated[
        int, typer.Option(min=1, max=3, help="Cross up to so many groups for `each group`.")
    ] = 1,
    ledger: Annotated[
        Path | None, typer.Option(help="Ledger that counts looks at these rows.")
    ] = None,
    report: Report = Path("report.html"),
    out: Annotated[
        Path | None,
        typer.Option(help="Keep measurements, decisions and report in this folder.", metavar="DIR"),
    ] = None,
    json: Json = False,
    lang: Language = None,
) -> int:
    """Judge files of predictions against their parent's: no model is needed."""
    from shipworthy.cli.output import choose_language, show
    from shipworthy.release.judge import judge as judge_files
    from shipworthy.release.record import write_record
    from shipworthy.release.report import write_report

    choose_language(lang)
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
    )
    page = report
    if out is not None:
        page = write_record(found, out)
    elif page is not None:
        write_report(found, page)
    return show(found, as_json=json, report=page, folder=out)


def _scores(given: list[str] | None) -> str | dict[str, str] | None:
    from shipworthy.core.errors import InputError

    if not given:
        return None
    if len(given) == 1 and "=" not in given[0]:
        return given[0]
    pairs = [one.split("=", 1) for one in given]
    if any(len(pair) != 2 for pair in pairs):
        raise InputError("--score: give one column, or CLASS=COLUMN once per class")
    return {name: column for name, column in pairs}


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
