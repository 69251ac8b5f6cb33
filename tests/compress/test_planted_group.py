"""A minority whose features live in few, small neurons: who sees that pruning takes them.

The encoder is built by hand. Attention hands the mean of the words to the first token; neurons look
for one word each and write into a dimension of the class. Fifty-six large ones look for the words
of the majority, eight small ones for those of the minority, which the head reads amplified.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

import shipworthy as sw
from shipworthy.compress import CompressSettings, expand, make
from shipworthy.compress.material import Material
from shipworthy.core.records import Answer, Outcome
from shipworthy.model import RuntimeInfo, load_classifier, save_model, size_bytes
from shipworthy.train.settings import TrainSettings

CLASSES = ("no", "yes")
SIGNALS = {"majority": ("bad", "good"), "minority": ("poor", "fine")}
FILL = ("a", "film", "is", "the", "this", "very")
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *SIGNALS["majority"], *SIGNALS["minority"], *FILL]
WIDTH, NEURONS = 24, 64
SMALL = 8
"""Neurons of the minority."""
MINORITY = 0.03
POLICY = [
    {"measure": "accuracy", "relative_to": "parent", "at_least": -0.02, "owner": "ml-lead"},
    {
        "measure": "accuracy", "slice": {"each": "group"}, "relative_to": "parent",
        "at_least": -0.05, "owner": "fairness",
    },
]  # fmt: skip


def rows(count: int, seed: int, minority: float = MINORITY) -> pl.DataFrame:
    """Texts of which one word says the class, nine times in ten."""
    generator = np.random.default_rng(seed)
    groups = np.where(generator.random(count) < minority, "minority", "majority")
    labels = generator.integers(0, 2, count)
    said = np.where(generator.random(count) < 0.9, labels, 1 - labels)
    texts = []
    for group, sign in zip(groups, said, strict=True):
        words = [*generator.choice(FILL, 4), SIGNALS[group][sign]]
        texts.append(" ".join(generator.permutation(words)))
    return pl.DataFrame(
        {"text": texts, "label": [CLASSES[k] for k in labels], "group": groups}
    ).with_row_index("id")


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("planted")
    backend = Tokenizer(models.WordLevel({w: k for k, w in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]",
    )  # fmt: skip
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=WIDTH, num_hidden_layers=1, num_attention_heads=1,
        intermediate_size=NEURONS, max_position_embeddings=16, pad_token_id=0, num_labels=2,
    )  # fmt: skip
    model: Any = BertForSequenceClassification(config).eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.zero_()
        for part in model.modules():
            if isinstance(part, torch.nn.LayerNorm):
                part.weight.fill_(1.0)
        _build(model)
    out = root / "parent"
    save_model(out, model, tokenizer, RuntimeInfo("torch", CLASSES, 16))
    return out


def _build(model: Any) -> None:
    identity = torch.eye(WIDTH)
    words = model.bert.embeddings.word_embeddings.weight
    words[:, : len(WORDS)] = torch.eye(len(WORDS))
    layer = model.bert.encoder.layer[0]
    layer.attention.self.value.weight.copy_(identity)
    layer.attention.output.dense.weight.copy_(identity)
    # Without the feed-forward layer: what the first token is with and without a word.
    seen = _first_token(model, ["a film is the good", "a film is the very"])
    good = WORDS.index("good")
    middle, apart = seen[:, good].mean(), float(seen[0, good] - seen[1, good])
    generator = np.random.default_rng(0)
    order, sizes = generator.permutation(NEURONS), generator.uniform(0.5, 1.5, NEURONS)
    for place, neuron in enumerate(order):
        small = place < SMALL
        word = SIGNALS["minority" if small else "majority"][place % 2]
        target = len(WORDS) + (2 if small else 0) + place % 2
        layer.intermediate.dense.weight[neuron, WORDS.index(word)] = 6.0 / apart
        layer.intermediate.dense.bias[neuron] = -6.0 / apart * middle
        layer.output.dense.weight[target, neuron] = 0.02 if small else 0.05 * sizes[place]
    first = len(WORDS)
    for target, gain in ((first, 1.0), (first + 1, 1.0), (first + 2, 8.0), (first + 3, 8.0)):
        model.bert.pooler.dense.weight[target, target] = gain
    rest = _first_token(model, ["a film is the very"])[0]
    for target in range(first, first + 4):
        gain = model.bert.pooler.dense.weight[target, target]
        model.bert.pooler.dense.bias[target] = -gain * rest[target]
    # Said with nine in ten, as the labels are.
    for pair, texts in ((first, SIGNALS["majority"]), (first + 2, SIGNALS["minority"])):
        model.classifier.weight[:, pair] = torch.tensor([1.0, -1.0])
        model.classifier.weight[:, pair + 1] = torch.tensor([-1.0, 1.0])
        ids = _ids([f"a film is the {texts[1]}"])
        gap = model(ids).logits[0, 1] - model(ids).logits[0, 0]
        model.classifier.weight[:, pair : pair + 2] *= np.log(9) / float(gap)


def _ids(texts: list[str]) -> torch.Tensor:
    return torch.tensor([[2, *(WORDS.index(w) for w in t.split()), 3] for t in texts])


def _first_token(model: Any, texts: list[str]) -> torch.Tensor:
    return model.bert(_ids(texts)).last_hidden_state[:, 0]


def answers(folder: Path, frame: pl.DataFrame) -> pl.DataFrame:
    told = load_classifier(folder, threads=1).log_probabilities(frame)
    predicted = [CLASSES[k] for k in told.argmax(axis=1)]
    return frame.select("id", "label", "group").with_columns(p=pl.Series(predicted))


@pytest.fixture(scope="module")
def judged(parent: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("pruned")
    material = Material(
        rows(200, 9), rows(1500, 1), text="text", label="label", groups=("group",), seed=1,
        training=TrainSettings(max_length=16), work=root / "work",
    )  # fmt: skip
    test = rows(20_000, 5)
    base = answers(parent, test)
    found: dict[str, Any] = {"parent": base}
    for name, options in {
        "magnitude": {"share": 0.5, "score": "magnitude"},
        "groups": {"share": 0.5, "balance": "groups"},
    }.items():
        (recipe,) = expand(CompressSettings.model_validate({"recipes": [{"neurons": options}]}))
        make(recipe, parent, root / name, material=material)
        verdict = sw.judge(
            base, answers(root / name, test), POLICY, label="label", prediction="p", id="id",
            groups=["group"],
        )  # fmt: skip
        found[name] = (size_bytes(root / name), verdict)
    return found


def test_the_parent_answers_both_groups_as_well_as_can_be(judged: dict[str, Any]) -> None:
    base = judged["parent"].with_columns(right=pl.col("p") == pl.col("label"))
    by_group = dict(base.group_by("group").agg(pl.col("right").mean()).iter_rows())
    assert by_group["majority"] == pytest.approx(0.9, abs=0.02)
    assert by_group["minority"] == pytest.approx(0.9, abs=0.05)


def _decisions(verdict: Any) -> dict[str, Outcome]:
    return {d.slice: d.decision for d in verdict.decisions}


def test_what_the_average_lets_pass_is_held_on_the_group(judged: dict[str, Any]) -> None:
    size, verdict = judged["magnitude"]
    told = _decisions(verdict)
    assert told["{}"] is Outcome.PASS
    assert told['{"group":"majority"}'] is Outcome.PASS
    assert told['{"group":"minority"}'] is Outcome.FAIL
    assert verdict.verdict is Answer.HOLD
    assert size == judged["groups"][0]


def test_scores_of_groups_keep_at_the_same_size_what_the_group_needs(
    judged: dict[str, Any],
) -> None:
    _, verdict = judged["groups"]
    assert set(_decisions(verdict).values()) == {Outcome.PASS}
    assert verdict.verdict is Answer.SHIP
