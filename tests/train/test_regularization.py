"""Decay, shrinkage, dropout and smoothing do what their formulas say."""

from __future__ import annotations

import pytest
import torch
from transformers import BertForSequenceClassification

from shipworthy.train.regularization import decay_groups, set_dropout, shrink, smoothed_loss


def test_biases_and_norms_do_not_decay(module: BertForSequenceClassification) -> None:
    decayed, spared = decay_groups(module, 0.25)
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.25, 0.0)
    names = {id(p): name for name, p in module.named_parameters()}
    with_decay = {names[id(p)] for p in decayed["params"]}
    without = {names[id(p)] for p in spared["params"]}
    assert with_decay | without == set(names.values()) and not with_decay & without
    expected = {n for n in names.values() if n.endswith("bias") or "LayerNorm" in n}
    assert without == expected
    assert "bert.embeddings.word_embeddings.weight" in with_decay


def test_a_frozen_weight_is_in_no_group(module: BertForSequenceClassification) -> None:
    embeddings = module.bert.embeddings.word_embeddings.weight
    embeddings.requires_grad_(False)
    groups = decay_groups(module, 0.1)
    assert all(p is not embeddings for group in groups for p in group["params"])


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
    ours = smoothed_loss(logits, labels, smoothing=smoothing, rows=20)
    assert ours.item() == pytest.approx(written_out.item(), rel=1e-6)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)


def test_loss_of_bf16_logits_is_computed_in_fp32() -> None:
    logits = torch.tensor([[0.5, -0.25]], dtype=torch.bfloat16)
    loss = smoothed_loss(logits, torch.tensor([0]), smoothing=0.1, rows=1)
    assert loss.dtype == torch.float32


def test_dropout_is_set_but_not_in_attention(module: BertForSequenceClassification) -> None:
    set_dropout(module, 0.3)
    found = {m.p for m in module.modules() if isinstance(m, torch.nn.Dropout)}
    assert found == {0.3}
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
