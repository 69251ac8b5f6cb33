"""Decay, shrinkage, dropout, smoothing and averages do what their formulas say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import labelled, tiny
from transformers import BertForSequenceClassification

from shipworthy.train.attention import trained_attention
from shipworthy.train.averaging import Average
from shipworthy.train.dropout import KeyedDropout
from shipworthy.train.microbatches import MicroBatch
from shipworthy.train.objectives import Classification, NextToken
from shipworthy.train.optimizer import AdamW, rate_factors, shrink
from shipworthy.train.packing import Packed
from shipworthy.train.regularization import set_dropout
from shipworthy.train.settings import TrainSettings


def settings_of(**regularization: Any) -> TrainSettings:
    return TrainSettings.model_validate({"regularization": regularization})


def test_biases_and_norms_do_not_decay(module: BertForSequenceClassification) -> None:
    parameters = dict(module.named_parameters())
    optimizer = AdamW(parameters, settings_of(weight_decay=0.25, no_decay=["query"]))
    names = {id(p): name for name, p in parameters.items()}
    spared, decayed = (
        {names[id(p)] for g in optimizer.groups if g["decayed"] is kind for p in g["params"]}
        for kind in (False, True)
    )
    assert spared | decayed == set(parameters) and not spared & decayed
    assert spared == {n for n in parameters if n.endswith("bias") or "Norm" in n or "query" in n}
    assert {g["weight_decay"] for g in optimizer.groups if g["decayed"]} == {0.25}
    assert {g["weight_decay"] for g in optimizer.groups if not g["decayed"]} == {0.0}


def step_of(module: torch.nn.Module, optimizer: AdamW, rate: float) -> None:
    for number, parameter in enumerate(module.parameters()):
        generator = torch.Generator().manual_seed(number)
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimizer.step(rate)
    optimizer.zero_grad()


def test_three_steps_are_those_of_torch() -> None:
    """Decoupled decay is AdamW's, classical decay that of Adam."""
    for kind, theirs in (
        ({"weight_decay": 0.1}, torch.optim.AdamW),
        ({"weight_decay": 0.0, "l2": 0.1}, torch.optim.Adam),
    ):
        ours, reference = tiny("bert"), tiny("bert")
        optimizer = AdamW(dict(ours.named_parameters()), settings_of(**kind))
        matrices = [p for p in reference.parameters() if p.ndim >= 2]
        vectors = [p for p in reference.parameters() if p.ndim < 2]
        groups = [
            {"params": matrices, "weight_decay": 0.1},
            {"params": vectors, "weight_decay": 0.0},
        ]
        peer = theirs(groups, lr=0.01)
        for _ in range(3):
            step_of(ours, optimizer, 0.01)
            for number, parameter in enumerate(reference.parameters()):
                generator = torch.Generator().manual_seed(number)
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            peer.step()
        for a, b in zip(ours.parameters(), reference.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_lower_layers_move_less() -> None:
    names = [
        "bert.embeddings.word_embeddings.weight", "bert.encoder.layer.0.output.dense.weight",
        "bert.encoder.layer.1.output.dense.weight", "bert.pooler.dense.weight", "classifier.bias",
    ]  # fmt: skip
    factors = rate_factors(names, 0.5)
    assert [factors[name] for name in names] == [0.125, 0.25, 0.5, 1.0, 1.0]
    assert set(rate_factors(names, 1.0).values()) == {1.0}
    llama = ["model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight", "score.weight"]
    assert list(rate_factors(llama, 0.5).values()) == [0.25, 0.5, 1.0]
    module = tiny("bert")
    optimizer = AdamW(dict(module.named_parameters()), settings_of(layer_decay=0.5, weight_decay=0))
    before = {n: p.detach().clone() for n, p in module.named_parameters()}
    step_of(module, optimizer, 0.01)
    moved = {n: float((p.detach() - before[n]).abs().max()) for n, p in module.named_parameters()}
    assert moved["bert.encoder.layer.1.output.dense.weight"] == pytest.approx(0.005, rel=1e-3)
    assert moved["bert.encoder.layer.0.output.dense.weight"] == pytest.approx(0.0025, rel=1e-3)
    assert moved["classifier.weight"] == pytest.approx(0.01, rel=1e-3)


def test_the_optimizer_goes_on_from_its_state() -> None:
    whole, halves = tiny("bert"), tiny("bert")
    first = AdamW(dict(whole.named_parameters()), settings_of())
    for _ in range(4):
        step_of(whole, first, 0.01)
    second = AdamW(dict(halves.named_parameters()), settings_of())
    for _ in range(2):
        step_of(halves, second, 0.01)
    third = AdamW(dict(halves.named_parameters()), settings_of())
    third.restore({name: value.clone() for name, value in second.state().items()})
    for _ in range(2):
        step_of(halves, third, 0.01)
    for a, b in zip(whole.parameters(), halves.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_average_is_that_of_torch() -> None:
    module = tiny("bert")
    theirs = torch.optim.swa_utils.AveragedModel(
        module, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    )
    parameters = dict(module.named_parameters())
    ours = Average(parameters, decay=0.9)
    optimizer = AdamW(parameters, settings_of())
    for _ in range(5):
        step_of(module, optimizer, 0.01)
        theirs.update_parameters(module)
        ours.update(parameters)
    for name, value in theirs.module.named_parameters():
        torch.testing.assert_close(ours.values[name], value.detach(), rtol=1e-6, atol=1e-7)


def micro_of(labels: torch.Tensor) -> MicroBatch:
    rows = np.arange(len(labels))
    nothing = torch.zeros(0)
    return MicroBatch(rows, {}, labels, nothing, nothing, None, rows)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("smoothing", [0.0, 0.05, 0.3])
def test_smoothing_is_its_formula_and_torchs(classes: int, smoothing: float) -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(20, classes, generator=generator)
    labels = torch.randint(classes, (20,), generator=generator)
    target = torch.full((20, classes), smoothing / classes)
    target[torch.arange(20), labels] += 1 - smoothing
    written_out = -(target * logits.log_softmax(-1)).sum() / 20
    theirs = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)(logits, labels)
    ours = Classification(smoothing).loss_sum(logits, micro_of(labels)) / 20
    assert ours.item() == pytest.approx(written_out.item(), rel=1e-6)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)


def test_disagreement_of_two_passes() -> None:
    """R-Drop written out: both cross entropies and both divergences, halved."""
    generator = torch.Generator().manual_seed(4)
    first, second = torch.randn(2, 6, 3, generator=generator).unbind()
    labels = torch.randint(3, (6,), generator=generator)
    p, q = first.softmax(-1), second.softmax(-1)
    apart = (p * (p / q).log()).sum() + (q * (q / p).log()).sum()
    entropy = torch.nn.CrossEntropyLoss(reduction="sum")
    expected = (entropy(first, labels) + entropy(second, labels)) / 2 + 1.5 * apart / 4
    found = Classification(r_drop=1.5).loss_sum(torch.cat([first, second]), micro_of(labels))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_loss_of_bf16_logits_is_computed_in_fp32() -> None:
    logits = torch.tensor([[0.5, -0.25]], dtype=torch.bfloat16)
    assert Classification(0.1).loss_sum(logits, micro_of(torch.tensor([0]))).dtype == torch.float32


@pytest.mark.parametrize("parts", [[[0, 1, 2, 3, 4]], [[3], [0, 1, 4], [2]]])
def test_tokens_weigh_alike_in_every_part(parts: list[list[int]]) -> None:
    """A mean in each part would weigh the tokens of short parts more."""
    module = tiny("llama-lm").eval()
    data = labelled([9, 2, 30, 4, 17])
    objective, packed = NextToken(), Packed(module)
    rows = np.arange(5)
    assert objective.weight(data, rows) == 8 + 1 + 29 + 3 + 16
    total = 0.0
    with trained_attention(module), torch.no_grad():
        for part in parts:
            micro = packed.micro_batch(data, np.array(part), seed=0, visit=0, pad_to=70)
            total += float(objective.loss_sum(packed.logits(module, micro), micro))
        each = []
        for row in rows:
            ids = torch.from_numpy(data.encoded.take([row]).token_ids.astype(np.int64))[None]
            logits = module(input_ids=ids).logits[0, :-1]
            each.append(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum"))
    assert total == pytest.approx(float(sum(each)), rel=1e-5)


def test_dropout_is_set_but_not_in_attention(module: BertForSequenceClassification) -> None:
    set_dropout(module, 0.3)
    assert not any(isinstance(m, torch.nn.Dropout) for m in module.modules())
    assert {m.p for m in module.modules() if isinstance(m, KeyedDropout)} == {0.3}
    assert module.config.hidden_dropout_prob == 0.3
    assert module.config.attention_probs_dropout_prob == 0.0


def test_shrinking_stops_at_zero() -> None:
    weights = torch.tensor([[0.5, -0.5], [0.05, -0.05]])
    shrink([weights], 0.1)
    torch.testing.assert_close(weights, torch.tensor([[0.4, -0.4], [0.0, 0.0]]))


def test_shrinking_minimises_the_penalised_distance() -> None:
    before = torch.linspace(-1, 1, 21, dtype=torch.float64)
    after = before.clone()
    shrink([after], 0.25)
    grid = torch.linspace(-1.5, 1.5, 30_001, dtype=torch.float64)
    for start, found in zip(before, after, strict=True):
        cost = (grid - start) ** 2 / 2 + 0.25 * grid.abs()
        assert grid[cost.argmin()].item() == pytest.approx(found.item(), abs=1e-4)
