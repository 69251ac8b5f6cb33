"""A language model as a GGUF file of fp32 weights, as llama.cpp reads it.

Names of tensors and fields are those of the library `gguf`. What it does not carry is how llama.cpp
cuts a text before it merges bytes: of the ways that it knows, the first is taken under which it
gives the tokens that the model's own tokenizer gives, on texts that tell them apart.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text
from shipworthy.model.checkpoint import TOKENIZER, read_config

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32]

ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
"""`model_type` of transformers -> architecture of llama.cpp."""

CUTS = ("gpt-2", "smollm", "llama-bpe", "qwen2", "starcoder", "deepseek-llm", "default")
"""Ways of llama.cpp to cut a text before bytes are merged (`tokenizer.ggml.pre`), in turn."""


def export_gguf(folder: Path | str, module: Any, target: Path, cut: str) -> None:
    """Write a file of fp32 weights. cut: one of `CUTS`.

    folder: of the model, with config and tokenizer. module: its weights; None leaves them out.
    Raises ModelError for an architecture or a tokenizer that is not among those known here.
    """
    from gguf import GGUFWriter

    config = read_config(folder)
    architecture = _architecture(config, folder)
    writer = GGUFWriter(target, architecture)
    _add_shape(writer, config)
    _add_vocabulary(writer, folder, config, cut)
    if module is not None:
        for name, values in _tensors(module, config, architecture, folder):
            writer.add_tensor(name, np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def check_exportable(folder: Path | str) -> None:
    """Raise ModelError where a model cannot become a GGUF file."""
    _architecture(read_config(folder), folder)
    _byte_tokens(folder)


def _architecture(config: Mapping[str, Any], folder: Path | str) -> str:
    kind = str(config.get("model_type"))
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    scaled = rope.get("rope_type", rope.get("type", "default")) != "default"
    if kind not in ARCHITECTURES or scaled:
        raise ModelError(
            text("error.gguf_export.rope" if scaled else "error.gguf_export.kind", kind=kind),
            folder=folder,
            fix=text("error.gguf_export.kind.fix", kinds=", ".join(ARCHITECTURES)),
        )
    return ARCHITECTURES[kind]


def _add_shape(writer: Any, config: Mapping[str, Any]) -> None:
    heads = int(config["num_attention_heads"])
    width = int(config.get("head_dim") or config["hidden_size"] // heads)
    rope = config.get("rope_parameters") or config
    writer.add_context_length(int(config["max_position_embeddings"]))
    writer.add_embedding_length(int(config["hidden_size"]))
    writer.add_block_count(int(config["num_hidden_layers"]))
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(heads)
    writer.add_head_count_kv(int(config.get("num_key_value_heads") or heads))
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_rope_dimension_count(width)
    writer.add_rope_freq_base(float(rope.get("rope_theta", 10_000.0)))
    writer.add_layer_norm_rms_eps(float(config["rms_norm_eps"]))
    writer.add_vocab_size(int(config["vocab_size"]))
    writer.add_file_type(0)


def _byte_tokens(folder: Path | str) -> dict[str, Any]:
    """Return `tokenizer.json`, which merges bytes."""
    told: dict[str, Any] = json.loads((Path(folder) / TOKENIZER).read_text(encoding="utf-8"))
    cutter = json.dumps(told.get("pre_tokenizer"))
    if told["model"].get("type") != "BPE" or '"ByteLevel"' not in cutter or told.get("normalizer"):
        raise ModelError(
            text("error.gguf_export.tokenizer"),
            folder=folder,
            fix=text("error.gguf_export.tokenizer.fix"),
        )
    return told


def _add_vocabulary(writer: Any, folder: Path | str, config: Mapping[str, Any], cut: str) -> None:
    from gguf import SpecialVocab, TokenType

    told = _byte_tokens(folder)
    size = int(config["vocab_size"])
    words = {int(k): word for word, k in told["model"]["vocab"].items()}
    added = {int(one["id"]): one for one in told.get("added_tokens", ())}
    tokens, kinds = [], []
    for k in range(size):
        if k in added:
            tokens.append(str(added[k]["content"]))
            kinds.append(TokenType.CONTROL if added[k]["special"] else TokenType.USER_DEFINED)
        else:
            tokens.append(words.get(k, f"[PAD{k}]"))
            kinds.append(TokenType.NORMAL if k in words else TokenType.UNUSED)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(cut)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    special = SpecialVocab(folder, load_merges=True, n_vocab=size)
    special.add_to_gguf(writer, quiet=True)


def _tensors(
    module: Any, config: Mapping[str, Any], architecture: str, folder: Path | str
) -> Iterator[tuple[str, FloatArray]]:
    from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, get_tensor_name_map

    kinds: dict[str, MODEL_ARCH] = {name: kind for kind, name in MODEL_ARCH_NAMES.items()}
    known = get_tensor_name_map(kinds[architecture], int(config["num_hidden_layers"]))
    heads = int(config["num_attention_heads"])
    shared = int(config.get("num_key_value_heads") or heads)
    tied = bool(config.get("tie_word_embeddings"))
    for name, parameter in module.named_parameters():
        if tied and name == "lm_head.weight":
            continue
        target = known.get_name(name, try_suffixes=(".weight", ".bias"))
        if target is None:
            raise ModelError(text("error.gguf_export.tensor", name=name), folder=folder)
        values = parameter.detach().float().numpy()
        if architecture == "llama" and ".q_proj." in name:
            values = _interleaved(values, heads)
        elif architecture == "llama" and ".k_proj." in name:
            values = _interleaved(values, shared)
        yield target, values


def _interleaved(values: FloatArray, heads: int) -> FloatArray:
    """Put rows that are turned together side by side: llama.cpp turns pairs of neighbours."""
    halves = values.reshape(heads, 2, len(values) // heads // 2, *values.shape[1:])
    return halves.swapaxes(1, 2).reshape(values.shape)
