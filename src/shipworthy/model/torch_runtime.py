"""Answers by PyTorch, with fp32, bf16 or fp16 weights and its fused attention.

bf16 weights are computed with as they are where the processor multiplies bf16 in hardware.
Elsewhere PyTorch emulates it, several times slower than fp32, so the same rounded weights are
widened to fp32 when they are loaded: the file is still half as large, the answers are a little
nearer to the parent's, and both hold for the kind of processor they were measured on.

fp16 weights are always widened to fp32: they save half of the file and no time. On a processor
that multiplies bf16 and not fp16, computing in fp16 took 2.5 times (one short text) to 4 times (16
texts) as long as in fp32. None that multiplies fp16 was at hand to measure, and values beyond 65504
between the layers would be lost there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.core.device import native_bf16
from shipworthy.model.pretrained import load_module
from shipworthy.model.text_classifier import Batching, TextClassifier

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from shipworthy.data.batches import Batch

    FloatArray: TypeAlias = NDArray[np.float64]


class TorchClassifier(TextClassifier):
    """A folder of the runtime `torch`, `torch-bf16` or `torch-fp16`.

    module: the transformers model, in eval mode, in the precision that it computes in.
    """

    def __init__(
        self, folder: Path | str, *, threads: int | None = None, batch: Batching = "bucket"
    ) -> None:
        """Load a folder; see `TextClassifier`."""
        super().__init__(folder, threads=threads, batch=batch)
        self.module = load_module(folder)
        if self.info.runtime == "torch-fp16" or (
            self.info.runtime == "torch-bf16" and not native_bf16()
        ):
            self.module = self.module.float()

    def logits(self, batch: Batch) -> FloatArray:
        """Answer of the last layer to each row of a batch, shape (b, k)."""
        import torch

        # Without padding the mask says nothing, and leaving it out saves building the large one.
        mask = None if batch.attention_mask.all() else torch.from_numpy(batch.attention_mask)
        with torch_threads(self.threads), torch.inference_mode():
            answer = self.module(input_ids=torch.from_numpy(batch.input_ids), attention_mask=mask)
            logits: FloatArray = answer.logits.double().numpy()
        return logits


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Let PyTorch use so many threads inside the block; the count belongs to the process."""
    import torch

    before = torch.get_num_threads()
    if before != threads:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if before != threads:
            torch.set_num_threads(before)
