"""How a judgement leaves the program: a table or one JSON document, and an exit code."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shipworthy.release.judgement import Judgement


def choose_language(language: str | None) -> None:
    """Set the language of all texts that follow."""
    from shipworthy.core.locale import set_language

    if language is not None:
        set_language(language)


def show(
    judgement: Judgement, *, as_json: bool, report: Path | None = None, folder: Path | None = None
) -> int:
    """Print a judgement and return its exit code; a rehearsal always ends with 4."""
    from shipworthy.core.errors import EXIT_UNDECIDED
    from shipworthy.release.documents import to_json
    from shipworthy.release.terminal import EXIT_CODES, render

    code = EXIT_CODES[judgement.answer]
    if judgement.kind == "rehearsal":
        code = EXIT_UNDECIDED
    if as_json:
        print_json(to_json(judgement, report=report, folder=folder, exit_code=code))
        return code
    color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    width = shutil.get_terminal_size((100, 24)).columns
    print(
        render(
            judgement,
            width=width,
            color=color,
            unicode=encoding.startswith("utf"),
            report=str(report) if report else "",
        )
    )
    return code


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document."""
    print(json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1))
