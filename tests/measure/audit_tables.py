"""Tables to audit, made by a seed or from counts, and the cells of them."""

from __future__ import annotations

import numpy as np
import polars as pl

from shipworthy.measure.audited import Answers
from shipworthy.measure.tally import Roles, Tally, with_classes

COUNTS = {"a": (30, 10, 5, 35), "b": (12, 8, 9, 41), "c": (7, 13, 2, 28)}
"""Group -> true positives, missed positives, false alarms, true negatives."""


def from_counts(counts=COUNTS) -> pl.DataFrame:
    """One row for each counted answer."""
    rows = [
        (group, y, p)
        for group, four in counts.items()
        for (y, p), times in zip(((1, 1), (1, 0), (0, 1), (0, 0)), four, strict=True)
        for _ in range(times)
    ]
    return pl.DataFrame(rows, schema=["g", "y", "p"], orient="row")


def drawn_table(seed: int, n: int = 900, units: int = 70) -> pl.DataFrame:
    """Labels, scores, answers, two group columns, units and weights."""
    rng = np.random.default_rng(seed)
    unit = rng.integers(0, units, n)
    y = (rng.random(n) < 0.4).astype(int)
    score = 1 / (1 + np.exp(-(2 * y - 1 + rng.normal(0, 1, units)[unit] + rng.normal(0, 1, n))))
    return pl.DataFrame({
        "g": rng.choice(["x", "y", "z"], n, p=[0.5, 0.3, 0.2]), "h": rng.choice(["m", "f"], n),
        "y": y, "p": (score > 0.5).astype(int), "s": score.round(3), "u": unit,
        "w": rng.integers(1, 5, n).astype(float), "c": rng.choice(["k", "l"], n),
    })  # fmt: skip


def tallied(frame: pl.DataFrame, *, parts: int = 1, **roles: str) -> Answers:
    """Count a table in so many parts; columns go by the names above."""
    names = {"label": "y", "prediction": "p"} | roles
    tally = Tally(Roles(("g", "h") if "h" in frame.columns else ("g",), **names), "table")
    edges = np.linspace(0, frame.height, parts + 1).astype(int)
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        tally.add(frame[int(low) : int(high)].to_arrow())
    counted = with_classes(tally.counted(), {}, ("0", "1"))
    return Answers(counted, ("0", "1"), 1, True)
