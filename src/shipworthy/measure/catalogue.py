"""The measures that a policy can limit: what kind each is, which way is better, what it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["quality", "spread", "speed", "fact"]


@dataclass(frozen=True)
class MeasureKind:
    """What is known about a measure before anything is measured.

    kind: `quality` on each slice, `spread` over the groups of a column, `speed` from fresh
    processes, `fact` without sampling error. needs: `scores`, `positive` (one class of two or a
    named one), `parent`. unit: as stored in the table; "" for shares and plain numbers.
    """

    kind: Kind
    better: Literal["high", "low"]
    needs: tuple[Literal["scores", "positive", "parent"], ...] = ()
    unit: str = ""


MEASURES: dict[str, MeasureKind] = {
    "accuracy": MeasureKind("quality", "high"),
    "balanced_accuracy": MeasureKind("quality", "high"),
    "f1": MeasureKind("quality", "high"),
    "precision": MeasureKind("quality", "high"),
    "recall": MeasureKind("quality", "high"),
    "log_loss": MeasureKind("quality", "low", ("scores",)),
    "brier_score": MeasureKind("quality", "low", ("scores",)),
    "auc": MeasureKind("quality", "high", ("scores", "positive")),
    "expected_calibration_error": MeasureKind("quality", "low", ("scores",)),
    "selection_rate": MeasureKind("quality", "high", ("positive",)),
    "true_positive_rate": MeasureKind("quality", "high", ("positive",)),
    "false_positive_rate": MeasureKind("quality", "low", ("positive",)),
    "turned_wrong": MeasureKind("quality", "low", ("parent",), "share"),
    "turned_right": MeasureKind("quality", "high", ("parent",), "share"),
    "accuracy_difference": MeasureKind("spread", "low"),
    "statistical_parity_difference": MeasureKind("spread", "low", ("positive",)),
    "disparate_impact_ratio": MeasureKind("spread", "high", ("positive",)),
    "equal_opportunity_difference": MeasureKind("spread", "low", ("positive",)),
    "equalized_odds_difference": MeasureKind("spread", "low", ("positive",)),
    "latency_p50_ms": MeasureKind("speed", "low", (), "ms"),
    "latency_p95_ms": MeasureKind("speed", "low", (), "ms"),
    "latency_p50_ids_ms": MeasureKind("speed", "low", (), "ms"),
    "latency_p95_ids_ms": MeasureKind("speed", "low", (), "ms"),
    "throughput_rows_per_s": MeasureKind("speed", "high", (), "rows_per_s"),
    "throughput_ids_rows_per_s": MeasureKind("speed", "high", (), "rows_per_s"),
    "peak_memory_mb": MeasureKind("speed", "low", (), "mb"),
    "size_mb": MeasureKind("fact", "low", (), "mb"),
    "contaminated_share": MeasureKind("fact", "low", (), "share"),
    "licences_forbidding_commercial_use": MeasureKind("fact", "low"),
}
