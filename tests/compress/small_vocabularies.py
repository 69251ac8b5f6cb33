"""Small classifiers over tokenizers of each kind, and what is asked of their vocabularies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch

from shipworthy.compress import CompressSettings, Recipe, expand
from shipworthy.compress.material import Material
from shipworthy.model import RuntimeInfo, load_pretrained, save_model
from shipworthy.model.pretrained import load_tokenizer
from shipworthy.train.settings import TrainSettings

Kind = Literal["wordpiece", "bpe", "unigram"]
KINDS: tuple[Kind, ...] = ("wordpiece", "bpe", "unigram")
TABLE = "bert.embeddings.word_embeddings.weight"
SIZES = {"wordpiece": 130, "bpe": 540, "unigram": 130}
"""Tokens that stay, fewer than there are and more than stay in any case."""
CLASSES = ("bad", "good")

SENTENCES = (
    "the lighthouse keeper counted every passing ship before breakfast",
    "passengers complained about delayed trains and crowded stations",
    "our gardener planted tomatoes, peppers and several kinds of beans",
    "she rewrote the opening chapter twice without changing its ending",
    "heavy rainfall flooded the lower village during the night",
    "the committee postponed its decision until the following spring",
    "children gathered chestnuts beneath the old trees",
    "a careful mechanic listened to the engine for several minutes",
    "the museum displayed instruments from the nineteenth century",
    "he described the journey as long, tiring and completely unnecessary",
    "fresh bread and strong coffee made the morning bearable",
    "the new bridge shortened the journey between both towns",
)
RARE = ("zebras graze quietly", "zebras drink quietly", "quietly zebras sleep")


SIZE: dict[str, Any] = dict(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
    max_position_embeddings=80,
)  # fmt: skip
SPECIALS = {
    "DistilBert": ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    "Roberta": ("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
    "XLMRoberta": ("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
}
"""What the classes of transformers ask for, padding and unknown among them."""


def tokenizer_of(kind: Kind, names: Sequence[str] = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")) -> Any:
    """Return a fast tokenizer with special tokens, and one that was added later."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    specials = list(names)
    round_ones = "<pad>" in specials
    pad, unknown, cls, sep = (
        ("<pad>", "<unk>", "<s>", "</s>") if round_ones else ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
    )
    texts = [*SENTENCES * 4, *RARE * 4]
    trainer: Any
    if kind == "wordpiece":
        backend = Tokenizer(models.WordPiece(unk_token=unknown))
        backend.normalizer = normalizers.BertNormalizer()
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(
            vocab_size=400, special_tokens=specials, show_progress=False
        )
    elif kind == "bpe":
        backend = Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=600, special_tokens=specials, show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )  # fmt: skip
    else:
        backend = Tokenizer(models.Unigram())
        backend.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=300, special_tokens=specials, unk_token=unknown, show_progress=False
        )
    backend.train_from_iterator(texts, trainer)
    backend.add_tokens(["<name>"])
    backend.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        special_tokens=[(t, backend.token_to_id(t)) for t in (cls, sep)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token=pad, unk_token=unknown, cls_token=cls,
        sep_token=sep, model_max_length=64,
    )  # fmt: skip


def classifier(kind: Kind, place: Path, *, roberta: bool = False, spare_rows: int = 0) -> Path:
    """Write a candidate of the runtime `torch`: a BERT of 2 layers with random weights.

    roberta: positions are counted from the padding token. spare_rows: rows of the table of words
    that no token has.
    """
    from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

    tokenizer = tokenizer_of(kind)
    sizes = dict(
        SIZE, vocab_size=len(tokenizer) + spare_rows, pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.sep_token_id, bos_token_id=tokenizer.cls_token_id,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model: Any = (
            RobertaModel(RobertaConfig(**sizes)) if roberta else BertModel(BertConfig(**sizes))
        )
    return _written(place, model, tokenizer)


def of_own_class(name: str, place: Path) -> Path:
    """Write a candidate whose tokenizer is of a class of transformers' own, not a general one."""
    import transformers
    from tokenizers import Tokenizer

    kinds: dict[str, Kind] = {"DistilBert": "wordpiece", "Roberta": "bpe", "XLMRoberta": "unigram"}
    backend: Tokenizer = tokenizer_of(kinds[name], SPECIALS[name]).backend_tokenizer
    model = json.loads(backend.to_str())["model"]
    merges = {"merges": [tuple(pair) for pair in model["merges"]]} if "merges" in model else {}
    words = model["vocab"]
    if isinstance(words, list):
        words = [tuple(pair) for pair in words]
    tokenizer = getattr(transformers, f"{name}Tokenizer")(vocab=words, **merges)
    config = getattr(transformers, f"{name}Config")(
        **SIZE, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        encoder = getattr(transformers, f"{name}Model")(config)
    return _written(place, encoder, tokenizer)


def _written(place: Path, model: Any, tokenizer: Any) -> Path:
    with torch.no_grad():
        for weights in model.parameters():
            # Larger than a fresh model's, so that answers differ between texts.
            if weights.dim() == 2:
                weights.mul_(8)
    tokenizer.save_pretrained(place / "start")
    model.save_pretrained(place / "start")
    module, tokenizer = load_pretrained(place / "start", classes=CLASSES, max_length=64, seed=3)
    save_model(place / "parent", module, tokenizer, RuntimeInfo("torch", CLASSES, 64))
    return place / "parent"


def fewer(**asked: Any) -> Recipe:
    (found,) = expand(CompressSettings.model_validate({"recipes": [{"vocabulary": asked}]}))
    return found


def material(work: Path, texts: tuple[str, ...] = SENTENCES * 3) -> Material:
    """Half of the rows are for training; the texts of `RARE` are a group of their own."""
    rows = pl.DataFrame(
        {
            "text": texts,
            "label": [CLASSES[k // 2 % 2] for k in range(len(texts))],
            "group": ["few" if text in RARE else "many" for text in texts],
        }
    )
    return Material(
        rows[::2], rows[1::2], text="text", label="label", groups=("group",), seed=1,
        training=TrainSettings(max_length=64), work=work,
    )  # fmt: skip


def vocabulary(folder: Path) -> dict[str, int]:
    return load_tokenizer(folder).get_vocab(with_added_tokens=True)


def logits(folder: Path, text: str, *, plain: bool = False) -> np.ndarray:
    """What plain transformers answers, its own tokenizer or ours before it."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    for weights in model.parameters():
        # A mapped file need not be aligned, and kernels add up in an order that depends on it.
        weights.data = weights.data.clone()
    if plain:
        inputs = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    else:
        inputs = {"input_ids": torch.tensor([load_tokenizer(folder).encode(text).ids])}
    with torch.inference_mode():
        found: np.ndarray = model(**inputs).logits.numpy()
    return found
