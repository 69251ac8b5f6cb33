"""What a training may do otherwise than a plain one: another loss, a changed forward pass.

A lesson is handed to `fit`, which stays the only loop: checkpoints, packing, early stopping and
progress are those of every training. It belongs to the identity of the run, so that nothing goes
on from the checkpoints of another lesson.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from shipworthy.core.errors import SettingsError
from shipworthy.core.locale import text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from shipworthy.train.microbatches import LabelledRows
    from shipworthy.train.objectives import Classification, Objective
    from shipworthy.train.packing import Caller


class Lesson(Protocol):
    """A change of a training of classifiers in one process."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """JSON values that all that the lesson does follows from."""

    def begin(
        self, module: nn.Module, caller: Caller, train: LabelledRows, plain: Classification
    ) -> Objective:
        """Make the model ready in place, before its parameters are counted; return the objective.

        Parameters that are added to the model are trained and kept in checkpoints with it. plain:
        the objective of a training without the lesson.
        """

    def end(self, module: nn.Module) -> None:
        """Take out of the trained model what `begin` put into it."""


def check_lesson(lesson: Lesson | None, processes: int, *, language: bool) -> None:
    """Raise SettingsError for a lesson of a language model, or in several processes."""
    if lesson is None:
        return
    if language:
        raise SettingsError(text("error.lesson.language"))
    if processes > 1:
        raise SettingsError(
            text("error.lesson.processes", processes=processes),
            key="train.parallel",
            fix=text("error.lesson.processes.fix"),
        )
