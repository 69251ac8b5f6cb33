"""int8 with ranges that are fixed beforehand: the same answer in any batch.

Calibration rows are answered in fp32, each alone so that no padding is looked at, and the smallest
and the largest value that goes into each matrix is kept. Matrices multiply in int8 and give fp32;
what does not go through a matrix (the sums around each block) stays fp32 as well, which is nearer
to the parent than the quantizer's own way, by a quarter of the error on the built-in encoder. A
value beyond what the calibration rows reached is cut off at the end of its range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.compress.importance import FEWEST_OF_GROUP, FEWEST_ROWS
from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text
from shipworthy.core.progress import progress
from shipworthy.data.batches import pad
from shipworthy.model.checkpoint import GRAPH
from shipworthy.model.onnx_runtime import OnnxClassifier

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

    from shipworthy.compress.lever_settings import Balance
    from shipworthy.compress.material import Material
    from shipworthy.compress.settings import Channels
    from shipworthy.core.progress import Step
    from shipworthy.data.batches import Encoded

    IntArray = NDArray[np.int64]

MOST_ROWS = 512
"""Rows that ranges are from; more widen them little, and each is answered alone."""
_PRODUCTS = ("MatMul", "Gemm")


def calibration_rows(material: Material, balance: Balance, *, most: int = MOST_ROWS) -> IntArray:
    """Return the numbers of the calibration rows that ranges are from, rising.

    With balance `groups` each column of groups has an equal part of them, drawn so that each of its
    values has equally many: no more than the smallest has. A row that two columns drew stands there
    once. most: rows in all, or one of each value where there are more values.
    Raises ModelError where fewer than `FEWEST_ROWS` are left, or there is no group.
    """
    frame = material.calibration
    generator = np.random.default_rng([material.seed, frame.height])
    if balance == "groups":
        drawn = _balanced(material, most, generator)
    else:
        drawn = generator.permutation(frame.height)[:most]
    rows = np.unique(drawn).astype(np.int64)
    if len(rows) < FEWEST_ROWS:
        raise ModelError(
            text("error.static_ranges.rows", rows=len(rows), least=FEWEST_ROWS),
            fix=text("error.static_ranges.rows.fix"),
        )
    return rows


def _balanced(material: Material, most: int, generator: np.random.Generator) -> IntArray:
    frame, drawn = material.calibration, []
    for column in material.groups:
        values = frame[column].drop_nulls().unique().sort().to_list()
        found = [np.flatnonzero((frame[column] == v).fill_null(False)) for v in values]
        members = [rows for rows in found if len(rows) >= FEWEST_OF_GROUP]
        if not members:
            continue
        share = most // len(material.groups) // len(members)
        each = min(max(share, 1), *(len(rows) for rows in members))
        drawn += [generator.permutation(rows)[:each] for rows in members]
    if not drawn:
        raise ModelError(
            text("error.importance.groups", rows=FEWEST_OF_GROUP),
            fix=text("error.importance.groups.fix"),
        )
    return np.concatenate(drawn)


class _Reader:
    """Hands the quantizer one text at a time."""

    def __init__(self, encoded: Encoded, pad_token_id: int, step: Step) -> None:
        self.encoded, self.pad_token_id, self.step = encoded, pad_token_id, step
        self.row = 0

    def get_next(self) -> dict[str, Any] | None:
        if self.row == len(self.encoded):
            return None
        batch = pad(self.encoded, [self.row], pad_token_id=self.pad_token_id)
        self.row += 1
        self.step(1)
        return {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}


def quantize_static(
    exported: Path, target: Path, keep: Sequence[str], material: Material,
    *, channels: Channels, balance: Balance,
) -> None:  # fmt: skip
    """Write the int8 graph of an fp32 folder of the runtime `onnx`.

    keep: names of the nodes that stay in float. Raises ModelError for too few calibration rows.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType
    from onnxruntime.quantization import quantize_static as quantize

    chosen = calibration_rows(material, balance)
    classifier = OnnxClassifier(exported, threads=1)
    encoded = classifier.encode(material.calibration[material.text].gather(chosen).to_list())
    with progress("quantize", total=len(encoded), unit="rows") as step:
        quantize(
            exported / GRAPH,
            target,
            _Reader(encoded, classifier.pad_token_id, step),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=[*_PRODUCTS, "Gather"],
            nodes_to_exclude=_others(onnx.load(exported / GRAPH), keep),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=channels == "channel",
            # As for dynamic ranges: sums of two products have 16 bits where there is no VNNI.
            reduce_range=True,
            extra_options={"OpTypesToExcludeOutputQuantization": list(_PRODUCTS)},
        )
    graph = onnx.load(target)
    _leave_sums_in_float(graph)
    onnx.save(graph, target)


def _others(model: onnx.ModelProto, keep: Sequence[str]) -> list[str]:
    """Return the nodes that stay in float: those to keep, and products of two activations."""
    tables = {w.name for w in model.graph.initializer if len(w.dims) == 2}
    found = set(keep)
    for node in model.graph.node:
        place = {"Gather": 0, "MatMul": 1, "Gemm": 1}.get(node.op_type)
        if place is not None and node.input[place] not in tables:
            found.add(node.name)
    return sorted(found)


def _leave_sums_in_float(model: onnx.ModelProto) -> None:
    """Let only matrices read what was rounded, in place.

    The quantizer hands the rounded values to all that read them. Those of an embedding are left as
    they are: only so does the runtime take rows out of the table before it widens them.
    """
    made = {name: node for node in model.graph.node for name in node.output}
    exact: dict[str, str] = {}
    for node in model.graph.node:
        rounded = made.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if rounded is None or rounded.op_type != "QuantizeLinear":
            continue
        source = made.get(rounded.input[0])
        if source is not None and source.op_type != "Gather":
            exact[node.output[0]] = rounded.input[0]
    for node in model.graph.node:
        if node.op_type not in _PRODUCTS:
            for place, name in enumerate(node.input):
                node.input[place] = exact.get(name, name)
