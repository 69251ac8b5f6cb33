"""Fewer bits a weight: bf16 and fp16 in PyTorch, int8 and int4 on ONNX Runtime.

bf16 rounds every weight to 8 significant bits and keeps its range; fp16 keeps 11 bits, and only
sizes up to 65504. int8 gives each matrix one scale per output channel, and each embedding table one
scale and zero point. The range of activations is measured for each input as it runs, so no
calibration rows are needed, and answers are given one text at a time; or it is fixed beforehand
(`static_ranges.py`), or activations are left in float (`packed_graph.py`). Blocks and embeddings
that the settings name stay in fp32.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from shipworthy.compress.blocks import matrices_by_block, require_blocks
from shipworthy.compress.graphs import compact
from shipworthy.compress.parents import require_fp32
from shipworthy.core.errors import ModelError
from shipworthy.core.files import write_atomically
from shipworthy.core.locale import text
from shipworthy.model.checkpoint import GRAPH, INFO, companions, read_info, write_info
from shipworthy.model.onnx_export import export_onnx
from shipworthy.model.pretrained import load_module, save_variant

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from shipworthy.compress.material import Material
    from shipworthy.compress.settings import Channels, FloatPart, QuantizeSettings
    from shipworthy.model.checkpoint import Runtime


def quantize_weights(
    parent: Path | str,
    out: Path | str,
    settings: QuantizeSettings,
    *,
    calibration: pl.DataFrame | None = None,
    material: Material | None = None,
) -> None:
    """Write a candidate whose weights take 16, 8 or 4 bits.

    parent: a folder of the runtime `torch`. out: a folder of `torch-bf16`, `torch-fp16`,
    `onnx-int8`, `onnx-int8-static`, `onnx-int8-weights` or `onnx-int4`, of a language model
    `torch-int8` or `torch-int4`.
    calibration: rows for rounding that looks at some. material: for ranges that are fixed
    beforehand.
    Raises ModelError where the parent is of another runtime or incomplete, lacks a block that is to
    stay in float, has weights beyond fp16, or is a classifier whose rounding is to look at rows,
    and where calibration rows are too few.
    """
    if settings.weights in ("bf16", "fp16"):
        _halve(parent, out, settings.weights)
    elif read_info(parent).does != "classify":
        from shipworthy.compress.weight_only import quantize_language_model

        quantize_language_model(parent, out, settings, calibration=calibration)
    elif settings.rounding == "compensated":
        raise ModelError(
            text("error.weight_only.classifier"),
            folder=parent,
            fix=text("error.weight_only.classifier.fix"),
        )
    else:
        _graph(parent, out, settings, material)


def _halve(parent: Path | str, out: Path | str, weights: Literal["bf16", "fp16"]) -> None:
    import torch

    info = require_fp32(parent, weights)
    module = load_module(parent).to(torch.bfloat16 if weights == "bf16" else torch.float16)
    for name, parameter in module.named_parameters():
        if not torch.isfinite(parameter).all():
            raise ModelError(
                text("error.quantize.large", name=name, weights=weights),
                folder=parent,
                fix=text("error.quantize.large.fix"),
            )
    runtime: Runtime = "torch-bf16" if weights == "bf16" else "torch-fp16"
    save_variant(out, module, replace(info, runtime=runtime), parent=parent)


def _graph(
    parent: Path | str, out: Path | str, settings: QuantizeSettings, material: Material | None
) -> None:
    import onnx

    info = require_fp32(parent, settings.weights)
    keep = settings.keep_float
    kept = _matrices(parent, keep)
    root = Path(out)
    root.mkdir(parents=True, exist_ok=True)
    (root / INFO).unlink(missing_ok=True)
    with TemporaryDirectory(dir=root, prefix=".int8-") as temporary:
        exported = Path(temporary) / "fp32"
        export_onnx(parent, exported, prepare=compact)
        quantized = Path(temporary) / GRAPH
        nodes = _nodes(exported / GRAPH, kept, keep)
        runtime: Runtime
        if settings.weights == "int4" or settings.activations == "float":
            from shipworthy.compress.packed_graph import pack_graph

            bits = 4 if settings.weights == "int4" else 8
            pack_graph(exported / GRAPH, quantized, nodes, bits=bits, group=settings.group)
            runtime = "onnx-int4" if bits == 4 else "onnx-int8-weights"
        elif material is not None and settings.ranges == "static":
            from shipworthy.compress.static_ranges import quantize_static

            with _quiet():
                quantize_static(
                    exported, quantized, nodes, material,
                    channels=settings.channels, balance=settings.balance,
                )  # fmt: skip
            runtime = "onnx-int8-static"
        else:
            _quantize(exported / GRAPH, quantized, nodes, settings.channels)
            runtime = "onnx-int8"
        graph = onnx.load(quantized)
        write_atomically(root / GRAPH, graph.SerializeToString(deterministic=True))
    for name, content in companions(parent).items():
        write_atomically(root / name, content)
    write_info(root, replace(info, runtime=runtime))


def _matrices(parent: Path | str, keep: Sequence[FloatPart]) -> set[str]:
    """Return digests of the matrices that stay in float, either way round.

    Those of the blocks; of embeddings the second half of a table that is split.
    """
    from shipworthy.compress.factors import second_halves

    numbers = [part for part in keep if part != "embeddings"]
    if not keep:
        return set()
    module = compact(load_module(parent))
    blocks = matrices_by_block(module)
    require_blocks(numbers, blocks, parent)
    kept = [w for number in numbers for w in blocks[number]]
    if "embeddings" in keep:
        kept += second_halves(module)
    arrays = [w.detach().numpy() for w in kept]
    return {_digest(one) for array in arrays for one in (array, array.T)}


def _nodes(graph_file: Path, kept: set[str], keep: Sequence[FloatPart]) -> list[str]:
    """Return the names of the nodes that stay in float.

    The exporter turns matrices round and gives them names of its own, so they are known by content.
    """
    import onnx
    from onnx.numpy_helper import to_array

    graph = onnx.load(graph_file).graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    found = []
    for node in graph.node:
        held = [weights[name] for name in node.input if name in weights]
        if node.op_type in ("MatMul", "Gemm") and any(len(t.dims) > 2 for t in held):
            found.append(node.name)  # many matrices in one: the runtime has no int8 for them
            continue
        tables = node.op_type == "Gather" and "embeddings" in keep
        products = node.op_type in ("MatMul", "Gemm") and bool(kept)
        if (tables and any(len(t.dims) == 2 for t in held)) or (
            products and any(_digest(to_array(t)) in kept for t in held)
        ):
            found.append(node.name)
    return found


def _digest(array: NDArray[Any]) -> str:
    return sha256(f"{array.shape}".encode() + array.tobytes()).hexdigest()


def _quantize(source: Path, target: Path, keep: list[str], channels: Channels) -> None:
    """Quantize matrices and embeddings, but for the nodes to keep.

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
            per_channel=channels == "channel",
            reduce_range=True,
            nodes_to_exclude=keep,
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
