"""The one door from a candidate's folder to answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from shipworthy.model.checkpoint import read_info

if TYPE_CHECKING:
    from pathlib import Path

    from shipworthy.model.text_classifier import TextClassifier


def load_classifier(
    folder: Path | str, *, threads: int | None = None, batch: Literal["bucket", "one"] = "bucket"
) -> TextClassifier:
    """Load a candidate's folder with the runtime that its `runtime.json` names.

    threads: processors that answering uses; None takes all that this process may use.
    batch: "bucket" answers texts of like length together, "one" each alone. The runtime `onnx-int8`
    is always answered one by one: its answers would depend on the other texts of a batch.
    Raises ModelError where the folder is incomplete, unsafe or of an unknown kind.
    """
    if read_info(folder).runtime in ("torch", "torch-bf16"):
        from shipworthy.model.torch_runtime import TorchClassifier

        return TorchClassifier(folder, threads=threads, batch=batch)
    from shipworthy.model.onnx_runtime import OnnxClassifier

    return OnnxClassifier(folder, threads=threads, batch=batch)
