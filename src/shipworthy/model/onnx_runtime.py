"""Answers by ONNX Runtime, from an fp32 graph or one with int8 weights.

The int8 graph of `onnx-int8` measures the range of its activations anew for each input, over the
whole batch: in a batch, an answer would depend on the other texts in it. Such a folder is therefore
answered text by text, whatever batch is asked for, each text on one thread and several side by
side. In the graph of `onnx-int8-static` the ranges are fixed, so it is answered in batches.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text
from shipworthy.core.locale.libraries import translated
from shipworthy.data.batches import pad
from shipworthy.model.checkpoint import GRAPH, GRAPHS
from shipworthy.model.text_classifier import Batching, TextClassifier, log_softmax

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from shipworthy.core.progress import Step
    from shipworthy.data.batches import Batch, Encoded

    FloatArray: TypeAlias = NDArray[np.float64]

# Texts that a thread takes at a time: few enough to share the work, many enough to be cheap.
_SHARE = 16


class OnnxClassifier(TextClassifier):
    """A folder of a runtime in `GRAPHS`; neither torch nor transformers is loaded."""

    def __init__(
        self, folder: Path | str, *, threads: int | None = None, batch: Batching = "bucket"
    ) -> None:
        """Load a folder; see `TextClassifier`. Of `onnx-int8`, `batch` is "one" in any case."""
        super().__init__(folder, threads=threads, batch=batch)
        if self.info.runtime not in GRAPHS:
            raise ModelError(
                text("error.runtime.other", runtime=self.info.runtime, wanted="onnx"), folder=folder
            )
        if self.info.runtime == "onnx-int8":
            self.batch = "one"
        self.session = self._session(self.threads)

    def logits(self, batch: Batch) -> FloatArray:
        """Answer of the last layer to each row of a batch, shape (b, k)."""
        return self._run(self.session, batch)

    def undecided(self, encoded: Encoded, step: Step | None = None) -> FloatArray:
        """Natural logarithms of the class probabilities before `decision.json`, shape (n, k).

        step: called with the number of texts after each batch.
        """
        if self.batch == "bucket" or len(encoded) == 1 or self.threads == 1:
            return super().undecided(encoded, step)
        answers = np.zeros((len(encoded), len(self.classes)))

        def answer(rows: list[NDArray[np.int64]]) -> int:
            for row in rows:
                batch = pad(encoded, row, pad_token_id=self.pad_token_id)
                answers[row] = log_softmax(self._run(self._shared, batch))
            return len(rows)

        ones = self.batches(encoded)
        shares = [ones[start : start + _SHARE] for start in range(0, len(ones), _SHARE)]
        with ThreadPoolExecutor(self.threads) as pool:
            for done in pool.map(answer, shares):
                if step is not None:
                    step(done)
        return answers

    @cached_property
    def _shared(self) -> Any:
        """A session without threads of its own: it runs in the thread that calls it."""
        return self._session(1)

    def _run(self, session: Any, batch: Batch) -> FloatArray:
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        logits: FloatArray = session.run(None, inputs)[0].astype(np.float64)
        return logits

    def _session(self, threads: int) -> Any:
        return open_graph(self.folder, threads)


def open_graph(folder: Path, threads: int) -> Any:
    """Return a session of ONNX Runtime for the graph of a folder.

    threads: that one call uses, at least 1. Raises ModelError where it cannot be loaded.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that wait for the next call would otherwise keep their processors busy.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return onnxruntime.InferenceSession(
            folder / GRAPH, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its errors share no base below Exception
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            text("error.onnx_runtime.load", file=GRAPH, reason=translated(reason)), folder=folder
        ) from error
