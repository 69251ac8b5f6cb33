"""A torch candidate as an ONNX graph of any batch and length.

Two exports of one model are the same bytes: what the exporter notes about source files and module
paths is taken out, and the weights lie in the graph's own file.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipworthy.core import locale
from shipworthy.core.errors import ModelError
from shipworthy.core.files import write_atomically
from shipworthy.core.locale.libraries import translated
from shipworthy.model.checkpoint import GRAPH, INFO, companions, read_info, write_info
from shipworthy.model.pretrained import load_module

if TYPE_CHECKING:
    import onnx
    import torch

OPSET = 20
# protobuf's limit for one message; weights beyond it would need a file beside the graph.
LARGEST_BYTES = 2**31 - 2**20


def export_onnx(
    folder: Path | str,
    out: Path | str,
    *,
    prepare: Callable[[torch.nn.Module], torch.nn.Module] = lambda module: module,
) -> None:
    """Write a candidate of the runtime `onnx` from one of the runtime `torch`.

    The graph has the inputs `input_ids` and `attention_mask`, int64 of shape (batch, length), and
    the output `logits`, fp32 of shape (batch, k). prepare: returns the module that is exported.
    Raises ModelError where the folder is not of the runtime `torch`, the graph is too large, or
    torch cannot trace a model of this kind.
    """
    info = read_info(folder)
    if info.runtime != "torch":
        raise ModelError(
            locale.text("error.onnx_export.runtime", runtime=info.runtime), folder=folder
        )
    beside = companions(folder)
    root = Path(out)
    root.mkdir(parents=True, exist_ok=True)
    (root / INFO).unlink(missing_ok=True)
    content = _graph(prepare(load_module(folder))).SerializeToString(deterministic=True)
    write_atomically(root / GRAPH, content)
    for name, text in beside.items():
        write_atomically(root / name, text)
    write_info(root, replace(info, runtime="onnx"))


def _graph(module: torch.nn.Module) -> onnx.ModelProto:
    import torch

    size = sum(p.numel() * p.element_size() for p in module.parameters())
    if size > LARGEST_BYTES:
        raise ModelError(locale.text("error.onnx_export.size", size=size / 2**30))
    model: Any = module
    # The plain attention is fewer nodes than the fused one, which is taken apart by the exporter.
    model.set_attn_implementation("eager")
    # Decoders would give keys and values for a next token besides, which a graph has no room for.
    model.config.use_cache = False
    longest = getattr(model.config, "max_position_embeddings", None)
    shape = {
        0: torch.export.Dim("batch", min=1),
        1: torch.export.Dim("length", min=2, max=longest) if longest else torch.export.Dim.AUTO,
    }
    # Sizes of 1 would be taken for constants; distinct sizes keep the two dimensions apart.
    ids = torch.full((3, 7), int(model.config.pad_token_id or 0) + 1)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    try:
        with _quiet(), torch.inference_mode():
            program = torch.onnx.export(
                model, kwargs=inputs, dynamo=True, dynamic_shapes=dict.fromkeys(inputs, shape),
                input_names=list(inputs), output_names=["logits"], opset_version=OPSET,
                external_data=False, verbose=False,
            )  # fmt: skip
    except torch.onnx.OnnxExporterError as error:
        # What went wrong stands in the cause; the error itself tells how to debug torch.
        told = str(error.__cause__ or error).strip()
        reason = told.splitlines()[0] if told else type(error.__cause__ or error).__name__
        kind = model.config.model_type
        raise ModelError(
            locale.text("error.onnx_export.graph", kind=kind, reason=translated(reason)),
            fix=locale.text("error.onnx_export.graph.fix"),
        ) from error
    assert program is not None
    proto: onnx.ModelProto = program.model_proto
    _strip(proto)
    return proto


def _strip(proto: Any) -> None:
    """Remove notes about where each node came from: paths of this machine, and 2 % of the bytes."""
    graph = proto.graph
    proto.doc_string = graph.doc_string = ""
    parts = (graph.node, graph.input, graph.output, graph.value_info, graph.initializer)
    for thing in (proto, graph, *proto.functions, *(one for part in parts for one in part)):
        del thing.metadata_props[:]
        thing.doc_string = ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks, about packages that are absent and ways it tried, to itself."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
