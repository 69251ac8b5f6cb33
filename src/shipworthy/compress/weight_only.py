"""Language models of 8 or 4 bits a weight: files that really shrink, activations as they are.

Every linear layer in the blocks is packed (in 8 bits where the kernel of 4 cannot), and the table
of words in 8 bits, which is the head as well where the two are tied. Norms and biases take bf16.
Blocks and embeddings that the settings name stay in bf16.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipworthy.compress.blocks import require_blocks
from shipworthy.compress.parents import require_fp32
from shipworthy.core.errors import ModelError
from shipworthy.core.files import write_atomically
from shipworthy.core.locale import text
from shipworthy.core.progress import progress
from shipworthy.model.checkpoint import INFO, WEIGHTS, companions, write_info
from shipworthy.model.pretrained import load_chat_tokenizer, load_module
from shipworthy.train.language import predicted_rows

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor, nn

    from shipworthy.compress.settings import QuantizeSettings
    from shipworthy.model.checkpoint import Runtime, RuntimeInfo


def quantize_language_model(
    parent: Path | str,
    out: Path | str,
    settings: QuantizeSettings,
    *,
    calibration: pl.DataFrame | None = None,
) -> None:
    """Write a candidate of the runtime `torch-int8` or `torch-int4`.

    calibration: rows of texts, or of prompts with responses, for rounding that makes good for
    itself.
    Raises ModelError where the parent is of another runtime, lacks a block that is to stay, or has
    matrices that the groups do not divide.
    """
    from safetensors.torch import save_file

    from shipworthy.compress.blocks import matrices_by_block

    info = require_fp32(parent, settings.weights)
    beside = companions(parent)
    module = load_module(parent)
    blocks = matrices_by_block(module)
    require_blocks([p for p in settings.keep_float if p != "embeddings"], blocks, parent)
    kept = {id(w) for part in settings.keep_float if part != "embeddings" for w in blocks[part]}
    matrices = {id(w) for ws in blocks.values() for w in ws}
    rounded = {}
    if settings.rounding == "compensated":
        _check_groups(module, settings, matrices - kept)
        rounded = _compensated(module, parent, info, settings, matrices - kept, calibration)
    tensors = packed_tensors(module, settings, kept, matrices, rounded)
    root = Path(out)
    root.mkdir(parents=True, exist_ok=True)
    (root / INFO).unlink(missing_ok=True)
    save_file(tensors, root / WEIGHTS, metadata={"format": "pt"})
    for name, content in beside.items():
        write_atomically(root / name, content)
    runtime: Runtime = "torch-int8" if settings.weights == "int8" else "torch-int4"
    write_info(root, replace(info, runtime=runtime))


def packed_tensors(
    module: nn.Module,
    settings: QuantizeSettings,
    kept: set[int],
    matrices: set[int],
    rounded: dict[str, tuple[Tensor, Tensor, Tensor]],
) -> dict[str, Tensor]:
    """Return the tensors of a packed model by name.

    kept, matrices: ids of weights. rounded: steps, scales and zeros by the names of layers.
    """
    import torch

    from shipworthy.model.packed import ROWS_OF_FOUR, grid, pack_rows, pack_steps, steps_of

    model: Any = module
    table = model.get_input_embeddings().weight
    tied = bool(getattr(model.config, "tie_word_embeddings", False))
    found: dict[str, Tensor] = {}
    for name, parameter in module.named_parameters():
        stem, weights = name.removesuffix(".weight"), parameter.detach()
        word_table = parameter is table or (not tied and name == "lm_head.weight")
        parts: dict[str, Tensor] = {}
        if word_table and "embeddings" not in settings.keep_float:
            parts = pack_rows(weights)
        elif id(parameter) in matrices and id(parameter) not in kept:
            if settings.weights == "int8" or len(weights) % ROWS_OF_FOUR:
                parts = pack_rows(weights)
            else:
                _check_group(name, weights, settings)
                scale, zero = grid(weights, settings.group)
                steps = steps_of(weights, scale, zero, settings.group)
                parts = pack_steps(*rounded.get(stem, (steps, scale, zero)))
        if parts:
            found |= {stem + part: value.contiguous() for part, value in parts.items()}
        else:
            found[name] = weights.to(torch.bfloat16).contiguous()
    return found


CALIBRATION_TOKENS = 32_768
"""Tokens of calibration rows that rounding looks at, at most."""


def _compensated(
    module: nn.Module,
    parent: Path | str,
    info: RuntimeInfo,
    settings: QuantizeSettings,
    matrices: set[int],
    calibration: pl.DataFrame | None,
) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """Round the matrices that have 4 bits on the calibration rows."""
    import torch

    from shipworthy.compress.error_compensation import compensated
    from shipworthy.model.packed import ROWS_OF_FOUR

    if calibration is None or calibration.is_empty():
        raise ModelError(text("error.compensation.rows"), fix=text("error.compensation.rows.fix"))
    found = predicted_rows(calibration, load_chat_tokenizer(parent), info).encoded
    batches, tokens = [], 0
    for begin, end in zip(found.offsets, found.offsets[1:], strict=False):
        if tokens >= CALIBRATION_TOKENS:
            break
        batches.append(torch.from_numpy(found.token_ids[begin:end].astype("int64"))[None])
        tokens += int(end - begin)
    four = {
        name.removesuffix(".weight")
        for name, p in module.named_parameters()
        if id(p) in matrices and not len(p) % ROWS_OF_FOUR
    }
    model: Any = load_module(parent)  # of its own: the library changes what it is given
    with progress("quantize", total=int(model.config.num_hidden_layers), unit="layers") as step:
        return compensated(model, batches, four, settings.group, step)


def _check_groups(module: nn.Module, settings: QuantizeSettings, matrices: set[int]) -> None:
    for name, parameter in module.named_parameters():
        if id(parameter) in matrices:
            _check_group(name, parameter, settings)


def _check_group(name: str, weights: Tensor, settings: QuantizeSettings) -> None:
    if weights.shape[1] % settings.group:
        raise ModelError(
            text(
                "error.weight_only.group",
                group=settings.group, columns=weights.shape[1], name=name,
            ),
            fix=text("error.weight_only.group.fix"),
        )  # fmt: skip
