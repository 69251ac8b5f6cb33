"""A tiny encoder with a word tokenizer, and texts whose class a word gives away."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

GOOD, BAD = ("fine", "lovely", "great"), ("poor", "awful", "dull")
FILLER = tuple(f"w{i}" for i in range(40))
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    words = {word: i for i, word in enumerate((*SPECIAL, *GOOD, *BAD, *FILLER))}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=32,
    )


def tiny_module(seed: int = 0) -> BertForSequenceClassification:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(SPECIAL) + len(GOOD) + len(BAD) + len(FILLER),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        num_labels=2,
        pad_token_id=0,
        initializer_range=0.2,
    )
    return BertForSequenceClassification(config)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return tiny_tokenizer()


@pytest.fixture
def module() -> BertForSequenceClassification:
    return tiny_module()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    tiny_module().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def toy_rows(n: int, seed: int) -> pl.DataFrame:
    """n rows: words of no meaning, and one that gives the class away; three rows a unit."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    texts = []
    for label in labels:
        words = list(rng.choice(FILLER, rng.integers(2, 20)))
        words.insert(int(rng.integers(0, len(words))), str(rng.choice((BAD, GOOD)[label])))
        texts.append(" ".join(words))
    return pl.DataFrame(
        {
            "text": texts,
            "label": ["good" if label else "bad" for label in labels],
            "unit": [f"u{seed}-{i // 3}" for i in range(n)],
        }
    )


@pytest.fixture(scope="session")
def rows() -> pl.DataFrame:
    return toy_rows(240, seed=1)


@pytest.fixture(scope="session")
def calibration() -> pl.DataFrame:
    return toy_rows(120, seed=2)
