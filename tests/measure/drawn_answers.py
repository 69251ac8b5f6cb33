"""Predictions of two related models, drawn by a seed, and partitions made by hand."""

from dataclasses import replace

import numpy as np
import polars as pl

from shipworthy.core.records import Slice
from shipworthy.measure.slices import Partition
from shipworthy.model.predictions import Predictions

NAMES = ("a", "b", "c", "d", "e")


def answers(labels, probabilities, *, predicted=None, frame=None, digest="", positive="b"):
    """Predictions of one model; the likeliest class is predicted where nothing else is given."""
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=float)
    if probabilities.ndim == 1:
        probabilities = np.stack([1 - probabilities, probabilities], axis=1)
    classes = NAMES[: probabilities.shape[1]]
    chosen = probabilities.argmax(axis=1) if predicted is None else np.asarray(predicted)
    frame = pl.DataFrame({"row": np.arange(len(labels))}) if frame is None else frame
    return Predictions(
        name=digest, file=f"{digest}.csv", classes=classes,
        positive=positive if len(classes) == 2 else None, labels=labels.astype(np.int64),
        predicted=chosen.astype(np.int64), scores=probabilities, scored=classes, frame=frame,
        ids=None, label="label", id=None, groups=("group",), unit="unit", digest=digest,
    )  # fmt: skip


def drawn(seed: int, n: int = 600, k: int = 2, units: int = 60, alike: float = 0.5):
    """Parent and candidate on n rows, with a group column (one value missing) and units.

    alike: how much of the difficulty of a row is its unit's.
    """
    rng = np.random.default_rng(seed)
    unit = rng.integers(0, units, n)
    group = rng.choice(np.array(["x", "y", "z", None], dtype=object), n, p=[0.5, 0.3, 0.15, 0.05])
    frame = pl.DataFrame({
        "group": pl.Series(group.tolist(), dtype=pl.String),
        "unit": [f"u{code}" for code in unit],
    })  # fmt: skip
    labels = rng.choice(k, n, p=np.arange(2, k + 2) / np.arange(2, k + 2).sum())
    hard = alike * rng.normal(0, 1.5, units)[unit] + (1 - alike) * rng.normal(0, 1.5, n)
    logits = rng.normal(0, 1, (n, k))
    logits[np.arange(n), labels] += 1.2 + hard

    def model(noise: float, digest: str) -> Predictions:
        moved = np.exp(logits + rng.normal(0, noise, (n, k)))
        return answers(labels, moved / moved.sum(axis=1, keepdims=True), frame=frame, digest=digest)

    return model(0.2, "parent"), model(0.6, "candidate")


def rows_of(one: Predictions, chosen) -> Predictions:
    """The same answers on some of the rows, in the order given."""
    chosen = np.asarray(chosen)
    return replace(
        one, labels=one.labels[chosen], predicted=one.predicted[chosen],
        scores=one.scores[chosen], frame=one.frame[chosen],
    )  # fmt: skip


def runs(codes, m: int, units=None) -> Partition:
    """A partition into m slices by their codes; a slice is a run of a simulation."""
    slices = tuple(Slice.of({"run": k}) for k in range(m))
    units = None if units is None else np.asarray(units, dtype=np.int64)
    return Partition(("run",), slices, np.asarray(codes, dtype=np.int64), units)
