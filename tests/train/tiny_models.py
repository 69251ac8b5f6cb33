"""Tiny models of several families, and encoded rows for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import transformers

from shipworthy.data.batches import Encoded
from shipworthy.train.microbatches import LabelledRows

VOCABULARY = 60
COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "initializer_range": 0.2,
    "num_labels": 3,
}
GROUPED = {**COMMON, "num_key_value_heads": 2}
WINDOWED = {**GROUPED, "sliding_window": 4}
SPLIT = {**COMMON, "embedding_size": 32}


def tiny(family: str, *, seed: int = 0, **changes: Any) -> torch.nn.Module:
    """Return a model in fp32, in training mode."""
    distilled = {
        "vocab_size": VOCABULARY, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48,
        "max_position_embeddings": 64, "pad_token_id": 0, "initializer_range": 0.2,
        "num_labels": 3,
    }  # fmt: skip
    configs: dict[str, tuple[str, str, dict[str, Any]]] = {
        "bert": ("BertConfig", "BertForSequenceClassification", COMMON),
        "roberta": ("RobertaConfig", "RobertaForSequenceClassification", COMMON),
        "electra": ("ElectraConfig", "ElectraForSequenceClassification", SPLIT),
        "distilbert": ("DistilBertConfig", "DistilBertForSequenceClassification", distilled),
        "llama": ("LlamaConfig", "LlamaForSequenceClassification", GROUPED),
        "qwen2": ("Qwen2Config", "Qwen2ForSequenceClassification", GROUPED),
        "qwen3": ("Qwen3Config", "Qwen3ForSequenceClassification", {**GROUPED, "head_dim": 8}),
        "llama-lm": ("LlamaConfig", "LlamaForCausalLM", GROUPED),
        "mistral": ("MistralConfig", "MistralForSequenceClassification", WINDOWED),
        "gpt2": (
            "GPT2Config", "GPT2ForSequenceClassification",
            {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64,
             "pad_token_id": 0, "initializer_range": 0.2, "num_labels": 3},
        ),
    }  # fmt: skip
    config, model, options = configs[family]
    torch.manual_seed(seed)
    made: torch.nn.Module = getattr(transformers, model)(
        getattr(transformers, config)(**{**options, **changes})
    )
    with torch.no_grad():  # biases of 0 would hide a mistake
        for name, parameter in made.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.1)
    return made.train()


def labelled(lengths: list[int], *, seed: int = 0, classes: int = 3) -> LabelledRows:
    """Return rows of random tokens; every text ends with token 1."""
    generator = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = generator.integers(2, VOCABULARY, offsets[-1]).astype(np.int32)
    ids[offsets[1:] - 1] = 1
    labels = generator.integers(0, classes, len(lengths)).astype(np.int64)
    return LabelledRows(Encoded(ids, offsets), labels, 0)
