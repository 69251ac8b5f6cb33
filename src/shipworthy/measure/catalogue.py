"""The measures that a policy can limit: what kind each is, which way is better, what it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["quality", "spread", "speed", "fact", "probe"]
Need: TypeAlias = Literal["answers", "classes", "scores", "positive", "parent"]


@dataclass(frozen=True)
class MeasureKind:
    """What is known about a measure before anything is measured.

    kind: `quality` on each slice, `spread` over the groups of a column, `speed` from fresh
    processes, `fact` without sampling error, `probe` on prompts of its own. needs: `answers` that
    are right or wrong, `classes` that are told apart, `scores`, `positive` (one class of two or a
    named one), `parent`. unit: as stored in the table; "" for shares and plain numbers. values:
    numbers that each row has to bring along. of_data: a fact about rows and origins, the same for
    every candidate, so that there is no change of it. alone: a figure that the parent's says
    nothing about, so that there is none either.
    """

    kind: Kind
    better: Literal["high", "low"]
    needs: tuple[Need, ...] = ()
    unit: str = ""
    values: tuple[str, ...] = ()
    of_data: bool = False
    alone: bool = False


NUMBER = ("label", "prediction")
"""What each row of a model that predicts numbers brings along."""

MEASURES: dict[str, MeasureKind] = {
    "accuracy": MeasureKind("quality", "high", ("answers",)),
    "balanced_accuracy": MeasureKind("quality", "high", ("classes",)),
    "f1": MeasureKind("quality", "high", ("classes",)),
    "precision": MeasureKind("quality", "high", ("classes",)),
    "recall": MeasureKind("quality", "high", ("classes",)),
    "log_loss": MeasureKind("quality", "low", ("scores",)),
    "brier_score": MeasureKind("quality", "low", ("scores",)),
    "auc": MeasureKind("quality", "high", ("scores", "positive")),
    "expected_calibration_error": MeasureKind("quality", "low", ("scores",)),
    "selection_rate": MeasureKind("quality", "high", ("positive",)),
    "true_positive_rate": MeasureKind("quality", "high", ("positive",)),
    "false_positive_rate": MeasureKind("quality", "low", ("positive",)),
    "true_negative_rate": MeasureKind("quality", "high", ("positive",)),
    "false_negative_rate": MeasureKind("quality", "low", ("positive",)),
    "negative_predictive_value": MeasureKind("quality", "high", ("positive",)),
    "turned_wrong": MeasureKind("quality", "low", ("answers", "parent"), "share"),
    "turned_right": MeasureKind("quality", "high", ("answers", "parent"), "share"),
    "perplexity": MeasureKind("quality", "low", values=("loss", "tokens")),
    "bits_per_byte": MeasureKind("quality", "low", unit="bits", values=("loss", "bytes")),
    "exact_match": MeasureKind("quality", "high", values=("exact_match",)),
    "token_f1": MeasureKind("quality", "high", values=("token_f1",)),
    "chrf": MeasureKind("quality", "high", values=("chrf",)),
    "rouge_l": MeasureKind("quality", "high", values=("rouge_l",)),
    "pattern_match": MeasureKind("quality", "high", values=("pattern_match",)),
    "valid_json": MeasureKind("quality", "high", values=("valid_json",)),
    "tests_passed": MeasureKind("quality", "high", values=("tests_passed",)),
    "mean_absolute_error": MeasureKind("quality", "low", values=NUMBER),
    "root_mean_squared_error": MeasureKind("quality", "low", values=NUMBER),
    "mean_error": MeasureKind("quality", "low", values=NUMBER),
    "r2": MeasureKind("quality", "high", values=NUMBER),
    "accuracy_difference": MeasureKind("spread", "low", ("answers",)),
    "statistical_parity_difference": MeasureKind("spread", "low", ("positive",)),
    "disparate_impact_ratio": MeasureKind("spread", "high", ("positive",)),
    "equal_opportunity_difference": MeasureKind("spread", "low", ("positive",)),
    "equalized_odds_difference": MeasureKind("spread", "low", ("positive",)),
    "false_positive_rate_difference": MeasureKind("spread", "low", ("positive",)),
    "false_negative_rate_difference": MeasureKind("spread", "low", ("positive",)),
    "predictive_parity_difference": MeasureKind("spread", "low", ("positive",)),
    "latency_p50_ms": MeasureKind("speed", "low", (), "ms"),
    "latency_p95_ms": MeasureKind("speed", "low", (), "ms"),
    "latency_p50_ids_ms": MeasureKind("speed", "low", (), "ms"),
    "latency_p95_ids_ms": MeasureKind("speed", "low", (), "ms"),
    "throughput_rows_per_s": MeasureKind("speed", "high", (), "rows_per_s"),
    "throughput_ids_rows_per_s": MeasureKind("speed", "high", (), "rows_per_s"),
    "time_to_first_token_ms": MeasureKind("speed", "low", (), "ms"),
    "inter_token_latency_ms": MeasureKind("speed", "low", (), "ms"),
    "tokens_per_s": MeasureKind("speed", "high", (), "tokens_per_s"),
    "kv_cache_mb": MeasureKind("speed", "low", (), "mb"),
    "cost_per_million_tokens": MeasureKind("speed", "low", (), "money"),
    "peak_memory_mb": MeasureKind("speed", "low", (), "mb"),
    "refusal_rate": MeasureKind("probe", "high", (), "share"),
    "over_refusal_rate": MeasureKind("probe", "low", (), "share"),
    "identity_effect": MeasureKind("probe", "low"),
    "stereotype_preference": MeasureKind("probe", "low", (), "share"),
    "preferred_share": MeasureKind("probe", "high", (), "share"),
    "size_mb": MeasureKind("fact", "low", (), "mb"),
    "batch_dependence": MeasureKind("fact", "low", alone=True),
    "contaminated_share": MeasureKind("fact", "low", (), "share", of_data=True),
    "duplicate_share": MeasureKind("fact", "low", (), "share", of_data=True),
    "smallest_group_rows": MeasureKind("fact", "high", (), "rows", of_data=True),
    "licences_forbidding_commercial_use": MeasureKind("fact", "low", of_data=True),
}
