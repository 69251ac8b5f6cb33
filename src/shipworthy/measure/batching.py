"""How far the other texts of a batch move the answer to a text.

    max over rows and classes of |P(class | text in a batch) - P(class | text alone)|

0 is a batch-invariant model. A little is left where a sum is taken in another order; much where the
range of int8 activations is measured over the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from shipworthy.data.batches import pad
from shipworthy.model.text_classifier import TextClassifier, log_softmax

if TYPE_CHECKING:
    from shipworthy.core.progress import Step
    from shipworthy.model.runtimes import Predictor

    FloatArray: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
    Answer: TypeAlias = Callable[[Sequence[int]], FloatArray]

MEASURE = "batch_dependence"
ROWS, BATCH = 256, 32
"""Rows that are looked at, and rows of a batch."""


@dataclass(frozen=True)
class BatchDependence:
    """largest: change of a probability; turned: rows that get another class; of rows in all."""

    largest: float
    turned: int
    rows: int


def batch_dependence(
    model: Predictor, texts: Sequence[str], *, step: Step | None = None
) -> BatchDependence:
    """Answer each text alone, and all of them in padded batches of `BATCH` as they come.

    The model itself is asked, whatever `model.batch` says of how it is asked here: a graph that
    this package answers one by one may be served otherwise elsewhere. step: called with the number
    of texts after each batch.
    """
    ask = _text_answers if isinstance(model, TextClassifier) else _row_answers
    answer = ask(model, texts)
    largest, turned = 0.0, 0
    for start in range(0, len(texts), BATCH):
        rows = range(start, min(start + BATCH, len(texts)))
        together = answer(rows)
        alone = np.concatenate([answer([row]) for row in rows])
        largest = max(largest, float(np.abs(together - alone).max()))
        turned += int((together.argmax(axis=1) != alone.argmax(axis=1)).sum())
        if step is not None:
            step(len(rows))
    return BatchDependence(largest, turned, len(texts))


def _text_answers(model: Any, texts: Sequence[str]) -> Answer:
    encoded = model.encode(texts)

    def answer(chosen: Sequence[int]) -> FloatArray:
        batch = pad(encoded, chosen, pad_token_id=model.pad_token_id)
        return np.exp(log_softmax(model.logits(batch)))

    return answer


def _row_answers(model: Any, rows: Sequence[str]) -> Answer:
    """Rows of a table have no padding; their answers may still be summed in another order."""
    return lambda chosen: np.exp(model.score(model.encode([rows[row] for row in chosen])))
