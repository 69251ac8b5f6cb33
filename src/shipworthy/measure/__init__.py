"""Measuring: counts, intervals and the rules that turn them into decisions.

Each name loads its file on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_FILES = {
    "CountCube": "counts",
    "CountError": "intervals",
    "Interval": "intervals",
    "adjusted_wald_ratio_z": "two_groups",
    "agresti_caffo": "two_groups",
    "agresti_caffo_z": "two_groups",
    "auc_change": "auc",
    "auc_variance": "auc",
    "binomial_tail_above": "intervals",
    "binomial_tail_below": "intervals",
    "bonett_price": "paired",
    "bonett_price_z": "paired",
    "clopper_pearson": "intervals",
    "count": "counts",
    "delong": "auc",
    "encode_strings": "counts",
    "equalized_odds_difference": "counts",
    "koopman": "two_groups",
    "koopman_z": "two_groups",
    "korn_graubard_n": "intervals",
    "mcnemar_exact": "paired",
    "miettinen_nurminen": "two_groups",
    "miettinen_nurminen_z": "two_groups",
    "mover_mean": "intervals",
    "multinomial_replicates": "counts",
    "newcombe": "two_groups",
    "tail": "intervals",
    "tango": "paired",
    "tango_z": "paired",
    "wilson": "intervals",
}

__all__ = [
    "CountCube",
    "CountError",
    "Interval",
    "adjusted_wald_ratio_z",
    "agresti_caffo",
    "agresti_caffo_z",
    "auc_change",
    "auc_variance",
    "binomial_tail_above",
    "binomial_tail_below",
    "bonett_price",
    "bonett_price_z",
    "clopper_pearson",
    "count",
    "delong",
    "encode_strings",
    "equalized_odds_difference",
    "koopman",
    "koopman_z",
    "korn_graubard_n",
    "mcnemar_exact",
    "miettinen_nurminen",
    "miettinen_nurminen_z",
    "mover_mean",
    "multinomial_replicates",
    "newcombe",
    "tail",
    "tango",
    "tango_z",
    "wilson",
]


def __getattr__(name: str) -> Any:
    if name in _FILES:
        return getattr(import_module(f"shipworthy.measure.{_FILES[name]}"), name)
    raise AttributeError(f"module 'shipworthy.measure' has no attribute {name!r}")
