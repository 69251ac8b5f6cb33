"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Language: TypeAlias = Annotated[
    str | None, typer.Option("--lang", help="Language of texts: en or zh.", metavar="LANG")
]
Report: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--report",
        help="Write the HTML page here; else into the folder of --out, else report.html.",
        metavar="FILE",
    ),
]
