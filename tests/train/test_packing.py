"""A model called with documents end to end says and learns what it does of them one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import labelled, tiny
from torch.nn.functional import cross_entropy

from shipworthy.core.errors import ModelError
from shipworthy.train.attention import trained_attention
from shipworthy.train.dropout import install
from shipworthy.train.packing import Packed, Padded, choose

LENGTHS = [9, 3, 9, 17, 2, 3, 12, 9, 1]
FAMILIES = [
    "bert", "roberta", "electra", "distilbert", "llama", "qwen2", "qwen3", "mistral", "gpt2",
]  # fmt: skip


def step(
    module: torch.nn.Module, caller: Any, lengths: list[int], **options: Any
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return logits and gradient of the summed loss, rows in the order of their numbers."""
    data = labelled(lengths)
    rows = np.arange(len(lengths))
    dropout = options.pop("attention_dropout", 0.0)
    module.zero_grad()
    with trained_attention(module, dropout=dropout):
        micro = caller.micro_batch(data, rows, seed=3, visit=0, **options)
        logits = caller.logits(module, micro)
    labels = micro.labels.repeat(options.get("copies", 1))
    cross_entropy(logits, labels, reduction="sum").backward()
    return logits.detach(), {
        n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None
    }


def assert_alike(
    one: tuple[torch.Tensor, dict[str, torch.Tensor]],
    other: tuple[torch.Tensor, dict[str, torch.Tensor]],
) -> None:
    torch.testing.assert_close(one[0], other[0], rtol=1e-5, atol=1e-5)
    norm = torch.sqrt(sum(g.square().sum() for g in other[1].values()))
    apart = torch.sqrt(sum((one[1][n] - g).square().sum() for n, g in other[1].items()))
    assert one[1].keys() == other[1].keys()
    assert float(apart / norm) < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_and_gradient_are_those_of_the_padded_model(family: str) -> None:
    module = tiny(family)
    install(module, 0.0)
    assert choose(module, labelled(LENGTHS), "auto")[0].name == "packed"
    assert_alike(step(module, Packed(module), LENGTHS), step(module, Padded(), LENGTHS))


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "llama", "gpt2"])
@pytest.mark.parametrize("attention", [0.0, 0.2])
def test_dropout_is_that_of_the_padded_model(family: str, attention: float) -> None:
    module = tiny(family)
    install(module, 0.3)
    options = {"attention_dropout": attention}
    packed = step(module, Packed(module), LENGTHS, **options)
    assert_alike(packed, step(module, Padded(), LENGTHS, **options))
    if family != "llama" or attention:
        module.eval()
        assert not torch.allclose(step(module, Packed(module), LENGTHS, **options)[0], packed[0])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.sampled_from(["bert", "llama"]))
def test_any_lengths(lengths: list[int], family: str) -> None:
    module = tiny(family)
    install(module, 0.1)
    assert_alike(step(module, Packed(module), lengths), step(module, Padded(), lengths))


def test_filler_changes_nothing() -> None:
    for family in ("bert", "llama"):
        module = tiny(family)
        install(module, 0.1)
        total = sum(LENGTHS)
        bare = step(module, Packed(module), LENGTHS)
        for more in (1, 20, 40):
            assert_alike(step(module, Packed(module), LENGTHS, pad_to=total + more), bare)


def test_two_copies_have_masks_of_their_own() -> None:
    module = tiny("bert")
    install(module, 0.3)
    packed = step(module, Packed(module), LENGTHS, copies=2)
    assert_alike(packed, step(module, Padded(), LENGTHS, copies=2))
    once = step(module, Packed(module), LENGTHS)[0]
    torch.testing.assert_close(packed[0][: len(LENGTHS)], once)
    assert not torch.allclose(packed[0][len(LENGTHS) :], once)


@pytest.mark.parametrize("starts", [None, [1, 3, 2, 1, 2, 1, 7, 5, 1]])
def test_language_models_give_logits_of_each_predicted_token(starts: list[int] | None) -> None:
    module = tiny("llama-lm").eval()
    data = labelled(LENGTHS)
    given = np.ones(len(LENGTHS), np.int64) if starts is None else np.array(starts)
    given = np.minimum(given[: len(LENGTHS)], LENGTHS)
    data = replace(data, starts=given)
    caller, _ = choose(module, data, "auto")
    assert caller.name == "packed"
    rows = np.arange(len(LENGTHS))
    with trained_attention(module), torch.no_grad():
        micro = caller.micro_batch(data, rows, seed=0, visit=0)
        assert micro.pack is not None and micro.targets is not None
        sizes = [int(LENGTHS[row] - given[row]) for row in micro.pack.rows]
        parts = zip(
            caller.logits(module, micro).split(sizes), micro.targets.split(sizes), strict=True
        )
        for row, (logits, targets) in zip(micro.pack.rows, parts, strict=True):
            ids = torch.from_numpy(data.encoded.take([row]).token_ids.astype(np.int64))[None]
            expected = module(input_ids=ids).logits[0, given[row] - 1 : -1]
            torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
            assert targets.tolist() == ids[0, given[row] :].tolist()
            alone = Padded().micro_batch(data, np.array([row]), seed=0, visit=0)
            padded = Padded().logits(module, alone)
            torch.testing.assert_close(padded, expected, rtol=1e-5, atol=1e-5)


def test_bf16_stays_near_fp32() -> None:
    module = tiny("bert").eval()
    data = labelled(LENGTHS)
    packed = Packed(module)
    micro = packed.micro_batch(data, np.arange(len(LENGTHS)), seed=0, visit=0)
    with trained_attention(module), torch.no_grad():
        exact = packed.logits(module, micro)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = packed.logits(module, micro)
    torch.testing.assert_close(mixed.float(), exact, rtol=0.05, atol=0.05)


def test_a_model_that_cannot_is_padded_and_says_why() -> None:
    class Mixing(torch.nn.Module):
        """Looks at neighbours whatever attention says, as convolutions do."""

        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return hidden + hidden.roll(1, dims=1)

    module = tiny("bert")
    module.bert.embeddings.dropout = Mixing()  # type: ignore[union-attr, unused-ignore]
    data = labelled(LENGTHS)
    caller, reason = choose(module, data, "auto")
    assert caller.name == "buckets"
    assert "BertForSequenceClassification answers differently" in reason.told()
    with pytest.raises(ModelError, match="answers differently"):
        choose(module, data, "packed")
    headless = tiny("bert")
    del headless.classifier
    assert choose(headless, data, "auto")[1].told() == (
        "the head of BertForSequenceClassification is not known"
    )
    assert choose(tiny("bert"), data, "buckets")[0].name == "buckets"


@pytest.mark.parametrize("caller", ["packed", "buckets"])
def test_parts_hold_every_row_once(caller: str) -> None:
    data = labelled(LENGTHS)
    module = tiny("bert")
    found = choose(module, data, caller)[0]  # type: ignore[arg-type]
    rows = np.array([8, 3, 1, 0, 5])
    for tokens, per_device in ((17, None), (4, None), (100, None), (100, 1), (4, 2)):
        parts = found.cut(data, rows, tokens=tokens, per_device=per_device)
        assert sorted(np.concatenate(parts).tolist()) == [0, 1, 3, 5, 8]
        if per_device is not None:
            assert max(map(len, parts)) <= per_device
        else:
            most = max(tokens, 17)  # a text longer than the budget is a part all the same
            assert all(data.encoded.lengths[p].sum() <= most for p in parts)
