"""The verb `audit`: fairness of predictions by group, on any table."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from shipworthy.cli.options import Json, Language
from shipworthy.core import locale


def add_to(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command("audit")(audit)


def audit(
    file: Annotated[str, typer.Argument(metavar="FILE")],
    group: Annotated[list[str], typer.Option(metavar="COLUMN")],
    label: Annotated[str | None, typer.Option(metavar="COLUMN")] = None,
    prediction: Annotated[str | None, typer.Option(metavar="COLUMN")] = None,
    score: Annotated[str | None, typer.Option(metavar="COLUMN")] = None,
    positive: Annotated[str | None, typer.Option(metavar="CLASS")] = None,
    weight: Annotated[str | None, typer.Option(metavar="COLUMN")] = None,
    unit: Annotated[str | None, typer.Option(metavar="COLUMN")] = None,
    reference: Annotated[list[str] | None, typer.Option(metavar="COLUMN=VALUE")] = None,
    intersections: Annotated[int, typer.Option(min=1, max=3, metavar="N")] = 1,
    confidence: Annotated[float, typer.Option(metavar="SHARE")] = 0.95,
    policy: Annotated[Path | None, typer.Option(metavar="FILE")] = None,
    condition: Annotated[str | None, typer.Option(metavar="COLUMN")] = None,
    feature: Annotated[list[str] | None, typer.Option(metavar="COLUMN")] = None,
    task: Annotated[str, typer.Option(metavar="TASK")] = "classification",
    rank: Annotated[str | None, typer.Option(metavar="COLUMN")] = None,
    first: Annotated[list[int] | None, typer.Option(min=1, metavar="K")] = None,
    top: Annotated[int | None, typer.Option(metavar="N")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE")] = None,
    json: Json = False,
    lang: Language = None,
) -> int:
    """Audit predictions by group: every number with its interval, and three answers to a limit."""
    from shipworthy.cli.output import check_place, choose_language, print_json, writing

    choose_language(lang)
    if html is not None:
        check_place(html, "--html")

    from shipworthy.release.audit import audit as audit_table
    from shipworthy.release.audit_page import write_page
    from shipworthy.release.audit_terminal import render

    found = audit_table(
        file, label=label, prediction=prediction, groups=group, score=score, positive=positive,
        weight=weight, unit=unit, reference=_references(reference), intersections=intersections,
        confidence=confidence, policy=policy, condition=condition, features=tuple(feature or ()),
        task=task,  # type: ignore[arg-type]
        rank=rank, first=tuple(first or (10, 100)), top=top,
    )  # fmt: skip
    if html is not None:
        with writing(html):
            write_page(found, html)
    if json:
        print_json({**found.to_dict(), "report": None if html is None else str(html)})
        return found.exit_code
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    print(
        render(
            found,
            width=shutil.get_terminal_size((100, 24)).columns,
            color=sys.stdout.isatty() and "NO_COLOR" not in os.environ,
            unicode=encoding.startswith("utf"),
            report="" if html is None else str(html),
        ),
        end="",
    )
    return found.exit_code


def _references(given: list[str] | None) -> dict[str, str]:
    from shipworthy.core.errors import InputError

    found: dict[str, str] = {}
    for one in given or ():
        column, equals, value = one.partition("=")
        if not (column and equals and value):
            raise InputError(locale.text("error.audit.reference_form", one=one))
        found[column] = value
    return found
