"""What became of a training run, in memory and as files beside the model."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from shipworthy.core.files import write_atomically
from shipworthy.train.evaluation import Evaluation

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from shipworthy.train.precision import Precision

FACTS = "training.json"
HISTORY = "history.parquet"
THROUGHPUT = "throughput.parquet"


@dataclass(frozen=True, eq=False)
class Fitted:
    """What became of a training run.

    history: frame with step, epoch, loss (mean since the row before, with smoothing, nats),
    learning_rate, calibration_loss and calibration_accuracy (null where none was taken), at most
    a few hundred rows. steps: optimizer steps done. rows: training rows. tokens: tokens trained on,
    padding not counted, repeats counted. seconds: time spent, over all sittings. best: the
    evaluation of the weights that were kept; None without calibration rows. stopped_early: whether
    the calibration loss ended the run before its last step. batches: `packed` or `buckets`, and
    batches_reason: why, as key and values of a text. token_budget: tokens of a micro-batch, and
    token_budget_reason: where it was found. layout: processes by dimension. zero_share: share of
    exact zeros among the weights that the L1 penalty touches; None without one. noise: fields of
    the noise estimate, None where none was asked for. peak_memory_mb: of the first process.
    utilization: share of the measured peak of matrix products; None where the peak was not
    measured. throughput: frame of tokens a second by token budget; None unless the budget was
    looked for.
    """

    history: pl.DataFrame
    steps: int
    rows: int
    tokens: int
    seconds: float
    best: Evaluation | None
    precision: Precision
    stopped_early: bool
    batches: str
    batches_reason: dict[str, Any]
    token_budget: int
    token_budget_reason: dict[str, Any]
    layout: dict[str, int]
    zero_share: float | None
    noise: dict[str, Any] | None
    peak_memory_mb: float
    utilization: float | None
    throughput: pl.DataFrame | None

    @property
    def tokens_per_second(self) -> float:
        """Tokens trained on in a second, padding not counted."""
        return self.tokens / self.seconds if self.seconds > 0 else 0.0

    def facts(self) -> dict[str, Any]:
        """Return all but the two curves, as JSON values."""
        values = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name not in ("history", "throughput", "best")
        }
        best = None if self.best is None else asdict(self.best)
        return {**values, "best": best, "tokens_per_second": self.tokens_per_second}


def write_fitted(folder: Path, fitted: Fitted) -> None:
    """Write facts and curves into a folder; the facts last."""
    fitted.history.write_parquet(folder / HISTORY)
    if fitted.throughput is not None:
        fitted.throughput.write_parquet(folder / THROUGHPUT)
    facts = json.dumps(fitted.facts(), indent=2, sort_keys=True, ensure_ascii=False)
    write_atomically(folder / FACTS, (facts + "\n").encode())


def read_fitted(folder: Path) -> Fitted:
    """Return what `write_fitted` wrote."""
    import polars as pl

    facts = json.loads((folder / FACTS).read_text("utf-8"))
    del facts["tokens_per_second"]
    best = facts.pop("best")
    curve = folder / THROUGHPUT
    return Fitted(
        history=pl.read_parquet(folder / HISTORY),
        throughput=pl.read_parquet(curve) if curve.is_file() else None,
        best=None if best is None else Evaluation(**best),
        **facts,
    )
