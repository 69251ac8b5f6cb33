"""What can go wrong, as one tree; each kind carries its exit code.

    ShipworthyError
    ├── InputError          the user's files, rows, columns or settings; exit 2
    │   ├── DataError       a data or prediction file: names file, row, column
    │   ├── SettingsError   a project, policy or team file: names file, line, key
    │   └── ModelError      a model folder that cannot be used
    ├── MissingExtraError   an optional library is not installed; exit 2
    ├── BusyError           somebody else works in this folder; exit 2
    ├── StaleError          evidence no longer holds; exit 3
    └── StageError          a stage of a run failed; exit 1 unless its cause says 2

A message is one line: what is wrong, where, and what to do about it. Anything outside this tree is
our bug (exit 1) and is reported with the path of its trace.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from shipworthy.core.locale import text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

EXIT_SHIP = 0
EXIT_BUG = 1
EXIT_BAD_INPUT = 2
EXIT_HOLD = 3
EXIT_UNDECIDED = 4
EXIT_INTERRUPTED = 130


class ShipworthyError(Exception):
    """Base of all errors with a message for people."""

    exit_code: int = EXIT_BUG


class InputError(ShipworthyError):
    """The input is at fault; nothing was written."""

    exit_code = EXIT_BAD_INPUT


class DataError(InputError):
    """A data or prediction file cannot be used as it is.

    row counts from 1 and leaves the header of a CSV file out.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: Path | str | None = None,
        row: int | None = None,
        column: str | None = None,
        fix: str = "",
    ) -> None:
        self.file, self.row, self.column = file, row, column
        where = [str(file)] if file is not None else []
        if row is not None:
            where.append(text("error.where.row", row=row))
        if column is not None:
            where.append(text("error.where.column", column=column))
        super().__init__(_line(where, problem, fix))


class SettingsError(InputError):
    """A settings file holds an unknown key or a value that does not fit."""

    def __init__(
        self,
        problem: str,
        *,
        file: Path | str | None = None,
        line: int | None = None,
        key: str | None = None,
        fix: str = "",
    ) -> None:
        self.file, self.line, self.key = file, line, key
        where = [f"{file}:{line}" if line is not None else str(file)] if file is not None else []
        if key:
            where.append(key)
        super().__init__(_line(where, problem, fix))


class ModelError(InputError):
    """A model folder is damaged, unsafe or of a kind that this version does not read."""

    def __init__(self, problem: str, *, folder: Path | str | None = None, fix: str = "") -> None:
        self.folder = folder
        super().__init__(_line([str(folder)] if folder is not None else [], problem, fix))


class MissingExtraError(InputError):
    """A library of an optional extra is needed and absent."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(text("error.extra.missing", what=what, extra=extra))


class BusyError(InputError):
    """Another process holds the lock of this folder."""


class StaleError(ShipworthyError):
    """Evidence is too old, or of another artefact than the one that is here."""

    exit_code = EXIT_HOLD


class StageError(ShipworthyError):
    """A stage of a run failed; the finished ones are kept.

    exit_code: `EXIT_BAD_INPUT` where the cause is the input or a machine that is too small.
    """

    def __init__(self, message: str, *, exit_code: int = EXIT_BUG) -> None:
        self.exit_code = exit_code
        super().__init__(message)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "did you mean 'x'?" for the closest known name, or a list of what is known."""
    names = sorted(known)
    meant = did_you_mean(name, names)
    if meant or not names:
        return meant
    return text("error.known", names=", ".join(names))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "did you mean 'x'?" for the closest known name, or nothing where none is close."""
    close = get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return text("error.did_you_mean", name=close[0]) if close else ""


def _line(where: list[str], problem: str, fix: str) -> str:
    line = problem
    if where:
        places = text("error.where.separator").join(where)
        line = text("error.at", where=places, problem=problem)
    if fix:
        line = text("error.fix", problem=line, fix=fix)
    return " ".join(line.split())
