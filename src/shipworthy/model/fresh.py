"""A small Llama that knows nothing yet: the start of a training from nothing.

Its weights were never rounded, so that what compression costs is seen in full. The tokenizer is a
byte-level BPE made from a corpus; the weights are drawn by a seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipworthy.core.folders import make_once
from shipworthy.model.checkpoint import CONFIG
from shipworthy.model.pretrained import quiet_transformers

if TYPE_CHECKING:
    from collections.abc import Iterable

END = "<|end|>"


@dataclass(frozen=True)
class Sizes:
    """What a fresh model is made of."""

    vocabulary: int = 4096
    hidden: int = 256
    layers: int = 4
    heads: int = 4
    inner: int = 704
    positions: int = 512


def fresh_llama(
    target: Path, texts: Iterable[str], sizes: Sizes | None = None, *, seed: int = 0
) -> Path:
    """Return a folder with an untrained model; a second call finds it made.

    texts: what the tokenizer is made from. The same texts, sizes and seed give the same bytes.
    """
    return make_once(
        target, lambda folder: _write(folder, texts, sizes or Sizes(), seed), proof=CONFIG
    )


def _write(folder: Path, texts: Iterable[str], sizes: Sizes, seed: int) -> None:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=sizes.vocabulary, special_tokens=[END], show_progress=False,
            initial_alphabet=alphabet,
        ),
    )  # fmt: skip
    wrapped: Any = PreTrainedTokenizerFast  # it carries no types
    tokenizer = wrapped(tokenizer_object=backend, eos_token=END, pad_token=END)
    config = LlamaConfig(
        vocab_size=backend.get_vocab_size(), hidden_size=sizes.hidden,
        intermediate_size=sizes.inner, num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads, num_key_value_heads=sizes.heads,
        max_position_embeddings=sizes.positions, bos_token_id=None, eos_token_id=0,
        pad_token_id=0, tie_word_embeddings=True,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]), quiet_transformers(folder):
        torch.manual_seed(seed)
        LlamaForCausalLM(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
