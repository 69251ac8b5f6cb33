"""A tiny encoder and a server over an n-gram, for the tests of the room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.model.completions_server import CompletionsServer

CLASSES = ("bad", "good", "so-so")
WORDS = ("a", "bad", "film", "good", "is", "not", "so", "the", "this", "very", "##ly", "##s", ".")
TEXTS = (
    "this film is good", "bad", "the film is not very good .", "so so", "a good good film",
    "this is not a bad film , is this not so", "unknown words", "films badly",
)  # fmt: skip


def tiny_encoder(folder: Path) -> Path:
    """Write a Hugging Face folder of a headless BERT with 2 layers and random weights."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: i for i, word in enumerate([*specials, *WORDS])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_truncation(5)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", model_max_length=32,
    )  # fmt: skip
    fast.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=32, pad_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = BertModel(config)
        # Larger than a fresh model's, so that answers differ between texts.
        with torch.no_grad():
            for weights in model.parameters():
                if weights.dim() == 2:
                    weights.mul_(8)
        model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def parent(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A candidate of the runtime `torch`."""
    import torch

    from shipworthy.model import RuntimeInfo, load_pretrained, save_model

    folder = tmp_path_factory.mktemp("candidates") / "parent"
    module, tokenizer = load_pretrained(encoder, classes=CLASSES, max_length=16, seed=3)
    with torch.no_grad():
        module.get_parameter("classifier.weight").mul_(20)
    save_model(folder, module, tokenizer, RuntimeInfo("torch", CLASSES, 16))
    return folder


@pytest.fixture
def texts() -> list[str]:
    return list(TEXTS)


@pytest.fixture
def classes() -> tuple[str, ...]:
    return CLASSES


@pytest.fixture
def copy(parent: Path, tmp_path: Path) -> Any:
    """A copy of the parent to damage."""
    import shutil

    return Path(shutil.copytree(parent, tmp_path / "copy"))


@pytest.fixture(scope="session")
def server() -> Iterator[CompletionsServer]:
    """A byte n-gram behind a server without troubles; all tests that ask it share its counts."""
    from tests.model.served_ngram import running

    with running() as found:
        yield found
