"""Verbs on a file of rows that need no model: `standards`, `composition`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shipworthy.cli.options import Json, Language

if TYPE_CHECKING:
    from shipworthy.release.plain_page import Page

Columns = Annotated[list[str] | None, typer.Option(metavar="COLUMN")]
Column = Annotated[str | None, typer.Option(metavar="COLUMN")]
File = Annotated[Path | None, typer.Option(metavar="FILE")]
Confidence = Annotated[float, typer.Option(min=0.5, max=0.9999, metavar="LEVEL")]


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command("composition")(composition)
    app.command("standards")(standards)


def composition(
    file: Annotated[str, typer.Argument(metavar="FILE")],
    label: Column = None,
    text: Column = None,
    group: Columns = None,
    split: Column = None,
    unit: Column = None,
    id: Column = None,
    annotator: Columns = None,
    item: Column = None,
    reference: File = None,
    governance: File = None,
    margin: Annotated[float, typer.Option(min=0.001, max=0.5, metavar="SHARE")] = 0.05,
    near: Annotated[float, typer.Option(min=0.01, max=1, metavar="SIMILARITY")] = 0.8,
    models: Annotated[bool, typer.Option("--models/--no-models")] = True,
    tokenizer: Annotated[Path | None, typer.Option(metavar="FOLDER")] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N")] = 0,
    confidence: Confidence = 0.95,
    html: File = None,
    json: Json = False,
    lang: Language = None,
) -> int:
    """Say what the rows of a file are made of."""
    from shipworthy.cli.output import choose_language, print_json
    from shipworthy.measure.composition_roles import Roles
    from shipworthy.release import composition as asked
    from shipworthy.release.composition_page import page

    choose_language(lang)
    _check(html, "--html")
    found = asked.composition(
        file,
        Roles(
            label=label, text=text, groups=tuple(dict.fromkeys(group or ())), split=split,
            unit=unit, id=id, annotators=tuple(dict.fromkeys(annotator or ())), item=item,
            margin=margin, similarity=near, models=models, confidence=confidence, seed=seed,
            tokens=asked.token_counter(tokenizer),
        ),
        reference=reference, governance=governance,
    )  # fmt: skip
    told = page(found)
    _show(told, html)
    if json:
        print_json(asked.to_json(found))
    else:
        _print(told)
    return 0


def standards(
    file: Annotated[str, typer.Argument(metavar="FILE")],
    standard: Annotated[list[str] | None, typer.Option(metavar="NAME")] = None,
    selected: Column = None,
    positive: Annotated[str | None, typer.Option(metavar="VALUE")] = None,
    score: Column = None,
    classified: Column = None,
    sex: Column = None,
    race: Column = None,
    group: Columns = None,
    unknown: Annotated[list[str] | None, typer.Option(metavar="VALUE")] = None,
    unknown_in: Annotated[str, typer.Option(metavar="WHERE")] = "any",
    exclude_small: Annotated[str | None, typer.Option(metavar="REASON")] = None,
    population: File = None,
    unit: Column = None,
    date: Annotated[str, typer.Option(metavar="DATE")] = "",
    distribution_date: Annotated[str, typer.Option(metavar="DATE")] = "",
    source: Annotated[str, typer.Option(metavar="TEXT")] = "",
    confidence: Confidence = 0.95,
    csv: File = None,
    html: File = None,
    json: Json = False,
    lang: Language = None,
) -> int:
    """Calculate what legal standards ask of selection rates, per category."""
    from shipworthy.cli.output import choose_language, print_json
    from shipworthy.release import standards as asked
    from shipworthy.release.standards_page import page, to_csv

    choose_language(lang)
    for place, option in ((csv, "--csv"), (html, "--html")):
        _check(place, option)
    found = asked.standards(
        file,
        asked.Question(
            standards=tuple(dict.fromkeys(standard or ())), sex=sex, race=race,
            groups=tuple(group or ()), selected=selected, positive=positive, classified=classified,
            score=score, unknown=tuple(unknown or ()), unknown_in=asked.unknown_in(unknown_in),
            justification=asked.justification(exclude_small), population=population, unit=unit,
            confidence=confidence, stated=asked.Stated(date, distribution_date, source),
        ),
    )  # fmt: skip
    if csv is not None:
        _write(csv, to_csv(found))
    told = page(found)
    _show(told, html)
    if json:
        print_json(asked.to_json(found))
    else:
        _print(told)
    return found.exit_code


def _check(place: Path | None, option: str) -> None:
    from shipworthy.cli.output import check_place

    if place is not None:
        check_place(place, option)


def _show(told: Page, html: Path | None) -> None:
    from shipworthy.release import plain_page

    if html is not None:
        _write(html, plain_page.html(told))


def _print(told: Page) -> None:
    from shipworthy.release.plain_page import lines

    width = shutil.get_terminal_size((100, 24)).columns
    print("\n".join(lines(told, width=width)))


def _write(path: Path, content: str) -> None:
    from shipworthy.cli.output import writing
    from shipworthy.core.files import write_atomically

    with writing(path):
        write_atomically(path, content)
