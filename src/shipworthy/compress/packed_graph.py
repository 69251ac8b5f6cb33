"""Classifiers of 8 or 4 bits a weight whose activations stay in float: a graph that really shrinks.

Matrices become `MatMulNBits` and tables of embeddings `GatherBlockQuantized`, two operators of ONNX
Runtime: `group` weights of an input that follow one another share a scale s and a zero point z, and
a weight is s(q - z) with q of 0 ... 2^bits - 1. The range of a group always holds 0. Products are
computed in fp32, so an answer does not depend on the other texts of a batch and no calibration rows
are looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

DOMAIN = "com.microsoft"
GROUPS_OF_EIGHT = (128, 64, 32)
"""Sizes of a group of 8 bits, the first that divides a row: 8 bits are enough for a long one."""
_FP32 = 1
"""The operator's name for products in fp32."""


def pack_graph(source: Path, target: Path, keep: Collection[str], *, bits: int, group: int) -> None:
    """Write a graph of few bits from one in fp32.

    keep: names of the nodes that stay in float. bits: 8 or 4. group: of 4 bits, weights that share
    a scale. A table whose rows the group does not divide stays in float.
    """
    import onnx
    from onnx import helper
    from onnx.numpy_helper import to_array

    model = onnx.load(source)
    graph = model.graph
    weights = {one.name: one for one in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    added: dict[str, onnx.TensorProto] = {}
    for node in graph.node:
        place = {"Gather": 0, "MatMul": 1, "Gemm": 1}.get(node.op_type)
        name = "" if place is None else node.input[place]
        tensor = weights.get(name)
        if node.name in keep or tensor is None or len(tensor.dims) != 2 or not _plain(node):
            nodes.append(node)
            continue
        array = to_array(tensor)
        rows = array if node.op_type == "Gather" or _turned(node) else array.T
        size = _group(rows.shape[1], bits, group)
        # The last group of a row of a matrix may be short, of a table not.
        if rows.dtype != np.float32 or (node.op_type == "Gather" and rows.shape[1] % size):
            nodes.append(node)
            continue
        build = _gather if node.op_type == "Gather" else _product
        made, tensors = build(node, name, rows, bits, size)
        nodes += made
        added |= {one.name: one for one in tensors}
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    left = [one for one in graph.initializer if one.name in used]
    del graph.initializer[:]
    graph.initializer.extend([*left, *added.values()])
    if DOMAIN not in {one.domain for one in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    onnx.save(model, target)


def quantized(
    rows: NDArray[np.float32], bits: int, group: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8]]:
    """Return steps, (n, groups, group), scales and zero points, (n, groups), of rows, (n, k).

    Where the group does not divide k, the last one is filled up with zeros.
    """
    n, k = rows.shape
    wide = np.pad(rows, ((0, 0), (0, -k % group))).reshape(n, -1, group)
    low, high = np.minimum(wide.min(-1), 0), np.maximum(wide.max(-1), 0)
    top = 2**bits - 1
    scales = ((high - low) / top).astype(np.float32)
    safe = np.where(scales > 0, scales, 1).astype(np.float32)
    zeros = np.clip(np.round(-low / safe), 0, top).astype(np.uint8)
    steps = np.round(wide / safe[..., None]) + zeros[..., None]
    return np.clip(steps, 0, top).astype(np.uint8), safe, zeros


def _group(columns: int, bits: int, group: int) -> int:
    if bits == 4:
        return group
    return next((size for size in GROUPS_OF_EIGHT if columns % size == 0), GROUPS_OF_EIGHT[-1])


def _plain(node: onnx.NodeProto) -> bool:
    """Say whether a node does nothing besides that has no place in the operators of few bits."""
    told = {one.name: one for one in node.attribute}
    if node.op_type == "Gather":
        return "axis" not in told or told["axis"].i == 0
    if node.op_type == "Gemm":
        scaled = any(name in told and told[name].f != 1 for name in ("alpha", "beta"))
        return not scaled and not ("transA" in told and told["transA"].i)
    return True


def _turned(node: onnx.NodeProto) -> bool:
    """Say whether a product reads its matrix as (outputs, inputs)."""
    return any(one.name == "transB" and one.i for one in node.attribute)


def _product(
    node: onnx.NodeProto, name: str, rows: NDArray[np.float32], bits: int, group: int
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    from onnx import helper
    from onnx.numpy_helper import from_array

    steps, scales, zeros = quantized(rows, bits, group)
    if bits == 4:
        steps, zeros = _pairs(steps), _pairs(np.pad(zeros, ((0, 0), (0, zeros.shape[1] % 2))))
    parts = [f"{name}.steps", f"{name}.scales", f"{name}.zeros"]
    bias = [one for one in node.input[2:] if one]
    made = helper.make_node(
        "MatMulNBits", [node.input[0], *parts, *(["", bias[0]] if bias else [])],
        list(node.output), name=node.name, domain=DOMAIN, K=rows.shape[1], N=rows.shape[0],
        bits=bits, block_size=group, accuracy_level=_FP32,
    )  # fmt: skip
    arrays: list[Any] = [steps, scales, zeros]
    return [made], [from_array(array, part) for array, part in zip(arrays, parts, strict=True)]


def _gather(
    node: onnx.NodeProto, name: str, rows: NDArray[np.float32], bits: int, group: int
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    from onnx import TensorProto, helper

    steps, scales, zeros = quantized(rows, bits, group)
    parts = [f"{name}.steps", f"{name}.scales", f"{name}.zeros"]
    made = helper.make_node(
        "GatherBlockQuantized", [parts[0], node.input[1], parts[1], parts[2]],
        list(node.output), name=node.name, domain=DOMAIN, gather_axis=0, quantize_axis=1,
        block_size=group, bits=bits,
    )  # fmt: skip
    kind = TensorProto.UINT4 if bits == 4 else TensorProto.UINT8

    def tensor(part: str, array: NDArray[np.uint8]) -> onnx.TensorProto:
        flat = array.reshape(-1)
        content = _pairs(np.pad(flat, (0, len(flat) % 2))) if bits == 4 else flat
        return helper.make_tensor(part, kind, array.shape, content.tobytes(), raw=True)

    told = [tensor(parts[0], steps.reshape(rows.shape)), tensor(parts[2], zeros)]
    size = helper.make_tensor(parts[1], TensorProto.FLOAT, scales.shape, scales.tobytes(), raw=True)
    return [made], [told[0], size, told[1]]


def _pairs(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put two steps of 4 bits into a byte, the first one low; half as many along the last axis."""
    return np.ascontiguousarray(array[..., 0::2] | (array[..., 1::2] << 4))
