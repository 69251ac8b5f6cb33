"""Fewer bits a weight: bf16 in PyTorch, int8 on ONNX Runtime.

bf16 rounds every weight to 8 significant bits and keeps its range. int8 gives each matrix one scale
per output channel, and each embedding table one scale and zero point. The range of activations is
measured for each input as it runs, so no calibration rows are needed, and answers are given one
text at a time.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from shipworthy.compress.parents import require_fp32
from shipworthy.core.files import write_atomically
from shipworthy.model.checkpoint import GRAPH, INFO, companions, write_info
from shipworthy.model.onnx_export import export_onnx
from shipworthy.model.pretrained import load_module, save_variant

if TYPE_CHECKING:
    from shipworthy.compress.settings import QuantizeSettings


def quantize_weights(parent: Path | str, out: Path | str, settings: QuantizeSettings) -> None:
    """Write a candidate whose weights take 16 or 8 bits.

    parent: a folder of the runtime `torch`. out: a folder of `torch-bf16` or `onnx-int8`.
    Raises ModelError where the parent is of another runtime or incomplete.
    """
    if settings.weights == "bf16":
        _bf16(parent, out)
    else:
        _int8(parent, out)


def _bf16(parent: Path | str, out: Path | str) -> None:
    import torch

    info = require_fp32(parent, "bf16 weights")
    module = load_module(parent).to(torch.bfloat16)
    save_variant(out, module, replace(info, runtime="torch-bf16"), parent=parent)


def _int8(parent: Path | str, out: Path | str) -> None:
    import onnx

    info = require_fp32(parent, "int8 weights")
    root = Path(out)
    root.mkdir(parents=True, exist_ok=True)
    (root / INFO).unlink(missing_ok=True)
    with TemporaryDirectory(dir=root, prefix=".int8-") as temporary:
        exported = Path(temporary) / "fp32"
        export_onnx(parent, exported)
        quantized = Path(temporary) / GRAPH
        _quantize(exported / GRAPH, quantized)
        graph = onnx.load(quantized)
        write_atomically(root / GRAPH, graph.SerializeToString(deterministic=True))
    for name, content in companions(parent).items():
        write_atomically(root / name, content)
    write_info(root, replace(info, runtime="onnx-int8"))


def _quantize(source: Path, target: Path) -> None:
    """Quantize matrices per channel, and embeddings.

    Weights take 7 of the 8 bits: on x86 without VNNI a sum of two 8-bit products may not fit into
    its 16 bits, and would be cut off in silence. The error of the activations is larger by far.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet():
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul", "Gemm", "Gather"],
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantizer's advice, written to the root logger, to itself."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
