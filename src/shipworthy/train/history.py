"""The curve of a training run: losses and rates by step, thinned so that its size is bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from shipworthy.train.evaluation import Evaluation

MOST_POINTS = 200


class History:
    """Points of a curve; a point is the mean over the steps since the one before.

    steps: of the whole run; at most `MOST_POINTS` points are kept beside those of evaluations.
    """

    def __init__(self, steps: int, steps_per_epoch: int) -> None:
        self.steps_per_epoch = steps_per_epoch
        self._every = max(1, -(-steps // MOST_POINTS))
        self._points: list[dict[str, Any]] = []
        self._loss = 0.0
        self._rows = 0
        self._rate = 0.0

    def add(self, step: int, loss: float, rows: int, learning_rate: float) -> None:
        """Count a step. step: steps done, from 1; loss: mean over its `rows`."""
        self._loss += loss * rows
        self._rows += rows
        self._rate = learning_rate
        if step == 1 or step % self._every == 0:
            self._close(step)

    def evaluated(self, found: Evaluation) -> None:
        """Note an evaluation at the point of its step, which is made if it is not there."""
        if self._rows:
            self._close(found.step)
        self._points[-1]["calibration_loss"] = found.loss
        self._points[-1]["calibration_accuracy"] = found.accuracy

    def frame(self) -> pl.DataFrame:
        """Return the points: step, epoch, loss, learning_rate and the calibration columns."""
        import polars as pl

        kinds: dict[str, Any] = {"step": pl.Int64}
        names = ("epoch", "loss", "learning_rate", "calibration_loss", "calibration_accuracy")
        return pl.DataFrame(self._points, schema={**kinds, **dict.fromkeys(names, pl.Float64)})

    def state(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        pending = {"loss": self._loss, "rows": self._rows, "rate": self._rate}
        # Copied: a checkpoint is written down behind the next steps, which add to the points.
        return {"points": [dict(point) for point in self._points], "pending": pending}

    def restore(self, state: dict[str, Any]) -> None:
        """Take what `state` returned."""
        self._points = state["points"]
        pending = state["pending"]
        self._loss, self._rows, self._rate = pending["loss"], pending["rows"], pending["rate"]

    def _close(self, step: int) -> None:
        self._points.append(
            {
                "step": step,
                "epoch": step / self.steps_per_epoch,
                "loss": self._loss / self._rows,
                "learning_rate": self._rate,
                "calibration_loss": None,
                "calibration_accuracy": None,
            }
        )
        self._loss, self._rows = 0.0, 0
