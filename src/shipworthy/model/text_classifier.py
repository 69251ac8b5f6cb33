"""What all classifiers of texts share: tokens, batches, probabilities; a runtime adds the logits.

Rows are sorted by length and answered in batches with little padding, or one by one, which is what
a runtime needs whose answer to a text depends on the texts beside it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from shipworthy.core.device import threads as available_threads
from shipworthy.core.errors import DataError, InputError, nearest
from shipworthy.core.locale import text
from shipworthy.data.batches import buckets, encode, pad
from shipworthy.model.checkpoint import artefact_files, read_config, read_info
from shipworthy.model.decision import read_rule
from shipworthy.model.pretrained import load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl
    from numpy.typing import NDArray

    from shipworthy.core.progress import Step
    from shipworthy.data.batches import Batch, Encoded

    FloatArray: TypeAlias = NDArray[np.float64]

Batching: TypeAlias = Literal["bucket", "one"]

TOKEN_BUDGET = 1024
"""Tokens of a batch, padding included: about 40 short texts. What is larger leaves the caches: four
times as many tokens took half as long again on a processor without matrix units."""


class TextClassifier(ABC):
    """A candidate's folder, loaded: it has the capabilities `Classifier` and `Encodes`.

    folder, info, classes: where it came from, its `runtime.json`, its classes.
    threads: processors that answering uses, at least 1. batch: how rows are answered. decision:
    what `decision.json` makes of the log-probabilities.
    """

    def __init__(
        self, folder: Path | str, *, threads: int | None = None, batch: Batching = "bucket"
    ) -> None:
        """Check the folder and load its tokenizer; a runtime then loads the weights.

        threads: None takes all that this process may use.
        Raises ModelError where the folder is incomplete or unsafe.
        """
        if threads is not None and threads < 1:
            raise InputError(text("error.text_classifier.threads", threads=threads))
        self.folder = Path(folder)
        self.info = read_info(folder)
        artefact_files(folder)
        config = read_config(folder)
        self.classes = self.info.classes
        self.decision = read_rule(folder, self.classes)
        self.threads = available_threads() if threads is None else threads
        self.batch = batch
        self.tokenizer = load_tokenizer(folder)
        self.pad_token_id = int(config.get("pad_token_id") or 0)

    @abstractmethod
    def logits(self, batch: Batch) -> FloatArray:
        """Answer of the last layer to each row of a batch, shape (b, k)."""

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Token ids of each text, cut to the model's longest input."""
        return encode(self.tokenizer, texts, max_length=self.info.max_length)

    def score(self, encoded: Encoded, step: Step | None = None) -> FloatArray:
        """Natural logarithms of the class probabilities of encoded texts, shape (n, k).

        Where `decision.json` differs by group, those of a row whose group nobody knows. step:
        called with the number of texts after each batch.
        """
        return self.decision.pooled.apply(self.undecided(encoded, step))

    def undecided(self, encoded: Encoded, step: Step | None = None) -> FloatArray:
        """Natural logarithms of the class probabilities before `decision.json`, shape (n, k)."""
        answers = np.zeros((len(encoded), len(self.classes)))
        for rows in self.batches(encoded):
            logits = self.logits(pad(encoded, rows, pad_token_id=self.pad_token_id))
            answers[rows] = log_softmax(logits)
            if step is not None:
                step(len(rows))
        return answers

    def log_probabilities(self, rows: pl.DataFrame, step: Step | None = None) -> FloatArray:
        """Natural logarithms of the class probabilities, shape (n, k), columns as `classes`.

        rows: a frame with the text column that `runtime.json` names, and with the column of the
        group that `decision.json` may ask for.
        Raises DataError where such a column is absent, a text is missing, or a group is unknown
        that the decision refuses.
        """
        column = self.info.text
        if column not in rows.columns:
            raise DataError(
                text("error.text_classifier.column", column=column),
                fix=nearest(column, rows.columns),
            )
        # What cannot be decided is refused before an hour of answers.
        self.decision.apply(np.zeros((rows.height, len(self.classes))), rows)
        told = self.undecided(self.encode(rows[column].to_list()), step)
        return self.decision.apply(told, rows)

    def batches(self, encoded: Encoded) -> list[NDArray[np.int64]]:
        """Row numbers of each batch, the longest texts first; every row once."""
        budget = max(TOKEN_BUDGET, int(encoded.lengths.max(initial=0)))
        most = 1 if self.batch == "one" else None
        return buckets(encoded.lengths, token_budget=budget, seed=None, max_rows=most)


def log_softmax(logits: FloatArray) -> FloatArray:
    """Natural logarithms of the class probabilities of logits, shape (n, k).

    >>> np.exp(log_softmax(np.array([[0.0, np.log(3.0)], [1000.0, 0.0]]))).round(6)
    array([[0.25, 0.75],
           [1.  , 0.  ]])
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: FloatArray = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result
