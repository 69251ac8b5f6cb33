"""How a judgement leaves the program: a table or one JSON document, and an exit code."""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipworthy.core.locale import set_language, text
from shipworthy.core.locale.libraries import refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shipworthy.release.judgement import Judgement


def choose_language(language: str | None) -> None:
    """Set the language of all texts that follow."""
    if language is not None:
        set_language(language)


def check_place(path: Path, option: str, *, folder: bool = False) -> None:
    """Raise InputError where a file (or folder) can't be written, before anything is measured.

    option: how the path was given, for the message.
    """
    from shipworthy.core.errors import InputError

    if folder and path.exists() and not path.is_dir():
        raise InputError(text("error.output.file", option=option, path=path))
    if not folder and path.is_dir():
        raise InputError(text("error.output.folder", option=option, path=path))
    nearest = next(p for p in (path, *path.absolute().parents) if p.exists())
    if nearest.is_file() and nearest != path:
        raise InputError(text("error.output.below_file", option=option, path=path, nearest=nearest))
    if not os.access(nearest, os.W_OK):
        raise InputError(text("error.output.read_only", option=option, path=path, nearest=nearest))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses while a result is written into an InputError."""
    from shipworthy.core.errors import InputError

    try:
        yield
    except OSError as error:
        reason = refusal(error)
        raise InputError(text("error.output.unwritable", path=path, reason=reason)) from error


def show(
    judgement: Judgement,
    *,
    as_json: bool,
    report: Path | None = None,
    folder: Path | None = None,
    approval_lacks: bool = False,
) -> int:
    """Print a judgement and return its exit code.

    A rehearsal always ends with 4, and so does a ship that waits for an approval.
    """
    from shipworthy.core.errors import EXIT_SHIP, EXIT_UNDECIDED
    from shipworthy.core.records import Answer
    from shipworthy.release.documents import to_json
    from shipworthy.release.terminal import EXIT_CODES, render

    code = EXIT_CODES[judgement.answer]
    if judgement.kind == "rehearsal" or (approval_lacks and code == EXIT_SHIP):
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
            waits=approval_lacks and judgement.answer is Answer.SHIP,
        )
    )
    return code


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document."""
    print(json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1))
