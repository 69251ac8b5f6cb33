"""Stages that failed while those that do not stand on them went on."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from shipworthy.core.errors import EXIT_BAD_INPUT, EXIT_BUG, ShipworthyError, StageError
from shipworthy.core.files import is_full_disk
from shipworthy.core.locale import text

_T = TypeVar("_T")


@dataclass(eq=False)
class Failures:
    """What failed, by stage, in order."""

    errors: dict[str, Exception] = field(default_factory=dict)

    def attempt(self, stage: str, make: Callable[[], _T]) -> _T | None:
        """Return what `make` returns, or None where it fails, which is kept.

        A full disk comes through: no other stage would fit either.
        """
        try:
            return make()
        except Exception as error:
            if is_full_disk(error):
                raise
            # A frame of a model that was being made holds its weights.
            traceback.clear_frames(error.__traceback__)
            self.errors[stage] = error
            return None

    def stop(self) -> None:
        """Raise StageError where something failed: one line with every stage and its cause.

        Its exit code is that of bad input, unless one of the causes is a bug of ours.
        """
        if not self.errors:
            return
        causes = list(self.errors.values())
        told = text("clause.separator").join(
            text("clause.about", subject=stage, said=_said(error))
            for stage, error in self.errors.items()
        )
        bugs = any(_code(error) == EXIT_BUG for error in causes)
        raise StageError(
            text("error.stages.failed", count=len(causes), stages=told),
            exit_code=EXIT_BUG if bugs else EXIT_BAD_INPUT,
        ) from (causes[0] if len(causes) == 1 else ExceptionGroup("stages", causes))


def _code(error: Exception) -> int:
    if isinstance(error, MemoryError):
        return EXIT_BAD_INPUT
    return error.exit_code if isinstance(error, ShipworthyError) else EXIT_BUG


def _said(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return text("error.stages.memory")
    if isinstance(error, ShipworthyError):
        return " ".join(str(error).split())
    lines = str(error).split("\n")
    return f"{type(error).__name__}: {' '.join(lines[0].split())}"
