"""Thresholds tuned again: a small model that leans to one class is set upright, at no price.

What is added to each class's log-probability is chosen on calibration rows, so that most of them
are right, or most with every group weighing alike. The best of many thresholds flatters itself; so
of all that are within one standard error of the best, on the same rows, the one nearest to no
change is taken (the one-standard-error rule of Breiman et al. 1984, sec. 3.4.3).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shipworthy.compress.importance import FEWEST_ROWS
from shipworthy.compress.recover import balanced
from shipworthy.core.errors import ModelError
from shipworthy.core.files import write_atomically
from shipworthy.core.locale import text
from shipworthy.model.checkpoint import INFO, artefact_files, read_info, write_info
from shipworthy.model.decision import read_offsets, write_offsets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shipworthy.compress.lever_settings import ThresholdSettings
    from shipworthy.compress.material import Material

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

SWEEPS = 5
"""Times that each class's offset is looked at again; two classes take one."""


def tune_threshold(
    parent: Path | str, out: Path | str, settings: ThresholdSettings, material: Material
) -> None:
    """Write a candidate of the same weights and another `decision.json`; any runtime.

    Raises ModelError where the calibration rows are too few, or groups are to weigh alike and there
    are none.
    """
    from shipworthy.model.runtimes import load_classifier

    rows = material.calibration
    if rows.height < FEWEST_ROWS:
        raise ModelError(
            text("error.importance.rows", rows=rows.height, least=FEWEST_ROWS),
            fix=text("error.threshold.rows.fix"),
        )
    weights = np.ones(rows.height)
    if settings.balance == "groups":
        weights = balanced(rows, material.groups).to_numpy()
    info = read_info(parent)
    told = load_classifier(parent).log_probabilities(rows)
    number = {name: k for k, name in enumerate(info.classes)}
    labels = np.array([number[str(value)] for value in rows[material.label].to_list()])
    found = read_offsets(parent, info.classes) + best_offsets(told, labels, weights)
    root = Path(out)
    root.mkdir(parents=True, exist_ok=True)
    (root / INFO).unlink(missing_ok=True)
    for name, file in artefact_files(parent).items():
        if name != INFO:
            write_atomically(root / name, file.read_bytes())
    write_offsets(root, dict(zip(info.classes, found.tolist(), strict=True)))
    write_info(root, info)


def best_offsets(told: FloatArray, labels: IntArray, weights: FloatArray) -> FloatArray:
    """Return what to add to the log-probabilities, shape (k,); 0 for the first class.

    told: log-probabilities, shape (n, k). labels: numbers of the classes, shape (n,). weights: how
    much each row counts, shape (n,).
    """
    offsets = np.zeros(told.shape[1])
    for _ in range(1 if len(offsets) == 2 else SWEEPS):
        before = offsets.copy()
        for place in range(1, len(offsets)):
            offsets[place] += _step(told + offsets, labels, weights, place)
        if np.array_equal(before, offsets):
            break
    return offsets


def _step(told: FloatArray, labels: IntArray, weights: FloatArray, place: int) -> float:
    """Return what to add to one class, the others as they are."""
    others = told.copy()
    others[:, place] = -np.inf
    rival = others.argmax(axis=1)
    # With more than this the row is given to the class.
    needed = others.max(axis=1) - told[:, place]
    order = np.argsort(needed, kind="stable")
    gain = weights * ((labels == place).astype(float) - (labels == rival).astype(float))
    # Worth of giving the class the first 0, 1, ..., n rows, against giving it none.
    worth = np.concatenate([[0.0], np.cumsum(gain[order])])
    spent = np.concatenate([[0.0], np.cumsum((gain**2)[order])])
    sorted_needed = needed[order]
    ends = np.concatenate([[-np.inf], sorted_needed, [np.inf]])
    low, high = ends[:-1], ends[1:]
    # Between equal values no threshold fits.
    fits = high > low
    best = int(np.argmax(np.where(fits, worth, -np.inf)))
    # The rows whose answer lies between two thresholds are all that tells them apart.
    error = np.sqrt(np.abs(spent - spent[best]))
    near = fits & (worth >= worth[best] - error)
    places = np.clip(0.0, low, high)
    # Half-way to the next row, so that rounding on another processor turns none; 0 where it fits.
    middle = np.where(np.isfinite(low) & np.isfinite(high), (low + high) / 2, places)
    value = np.where((low < 0) & (high >= 0), 0.0, middle)
    found = np.flatnonzero(near)
    return float(value[found[np.argmin(np.abs(value[found]))]])
