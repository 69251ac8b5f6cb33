"""How good a language model is, from numbers that each row brings along.

A row of likelihoods brings its loss (nats, summed over its predicted tokens), its tokens and its
bytes; a row with an answer brings what each score says of it. Perplexity is weighted by tokens and
bits per byte by bytes, so that models with other tokenizers compare in the latter alone. A change
is taken row by row, on the same documents or prompts.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.measure.catalogue import MEASURES
from shipworthy.measure.estimates import Estimate, Unmeasured
from shipworthy.measure.rates import mean, paired_change, rate, ratio, summary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shipworthy.measure.estimates import Mean
    from shipworthy.measure.slices import Partition
    from shipworthy.model.predictions import Predictions

    FloatArray: TypeAlias = NDArray[np.float64]

SHARES = ("exact_match", "pattern_match", "valid_json", "tests_passed")
"""Scores that a row has or has not."""

_RATIO = "linearisation over units, t"


def generation(
    measure: str,
    rows: Partition,
    model: Predictions,
    parent: Predictions | None,
    *,
    identical: bool,
) -> Estimate:
    """Return a measure of a language model over the slices, or its change against the parent.

    identical: whether both are one artefact. `Unmeasured` where the rows do not bring its numbers.
    """
    needed = MEASURES[measure].values
    both = (model,) if parent is None else (model, parent)
    if any(name not in one.values for one in both for name in needed):
        return Unmeasured("not_measured", rows.m)
    if measure in ("perplexity", "bits_per_byte"):
        return _likelihood(measure, rows, model, parent, identical)
    after = model.values[measure]
    if measure in SHARES:
        everyone = np.ones(len(model), dtype=bool)
        if parent is None:
            return rate(rows, everyone, after > 0)
        before = parent.values[measure] > 0
        return paired_change(rows, everyone, before, after > 0, identical)
    if parent is None:
        return mean(rows, after, reach=1.0)
    return mean(
        rows, after - parent.values[measure], reach=1.0, method="paired mean over units, t",
        identical=identical,
    )  # fmt: skip


def _likelihood(
    measure: str, rows: Partition, model: Predictions, parent: Predictions | None, identical: bool
) -> Mean:
    value, influence, weight = _level(measure, rows, model)
    # A row of the most tokens whose loss is off by a nat a token.
    reach = np.array([weight[part].max(initial=0.0) for part in rows.parts])
    reach = reach / np.maximum(rows.sums(weight), 1.0) * np.maximum(value, 1.0)
    everyone = np.ones(len(model), dtype=bool)
    n, units = rows.sums(everyone), rows.units(everyone)
    if parent is None:
        return summary(
            rows, value, influence, n=n, units=units, reach=reach, scale="log", method=_RATIO,
            identical=False,
        )  # fmt: skip
    before, influence_before, _ = _level(measure, rows, parent)
    return summary(
        rows, value - before, influence - influence_before, n=n, units=units, reach=reach,
        scale="identity", method=f"paired {_RATIO}", identical=identical,
    )  # fmt: skip


def _level(
    measure: str, rows: Partition, model: Predictions
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the value of each slice, each row's share in its error, and each row's weight."""
    losses = model.values["loss"]
    if measure == "bits_per_byte":
        weight = model.values["bytes"]
        value, influence, _ = ratio(rows, losses / math.log(2), weight)
        return value, influence, weight
    weight = model.values["tokens"]
    nats, influence, _ = ratio(rows, losses, weight)
    value = np.exp(nats)
    # d exp(x) = exp(x) dx, so that the error on the log scale is that of the mean.
    return value, influence * value[rows.codes], weight
