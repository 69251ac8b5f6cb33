"""A step in parts has the gradient of the step at once; every row stands in one step."""

from __future__ import annotations

from functools import partial

import numpy as np
import polars as pl
import pytest
import torch
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast

from shipworthy.data.batches import encode
from shipworthy.train import parts
from shipworthy.train.attention import fp32_attention
from shipworthy.train.parts import LabelledRows, accumulate, cut, epoch_steps, steps_per_epoch
from shipworthy.train.precision import autocast
from shipworthy.train.regularization import set_dropout


@pytest.fixture
def labelled(rows: pl.DataFrame, tokenizer: PreTrainedTokenizerFast) -> LabelledRows:
    encoded = encode(tokenizer, rows["text"].to_list(), max_length=32)
    return LabelledRows(encoded, (rows["label"] == "good").to_numpy().astype(np.int64), 0)


def gradient(
    module: BertForSequenceClassification, data: LabelledRows, per_device: int | None
) -> tuple[float, dict[str, torch.Tensor]]:
    module.zero_grad()
    loss = accumulate(
        module,
        data,
        np.arange(50),
        per_device=per_device,
        smoothing=0.05,
        autocast=partial(autocast, "fp32"),
    )
    return loss, {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("per_device", [1, 7, 25])
def test_parts_add_up_to_one_batch(
    module: BertForSequenceClassification, labelled: LabelledRows, per_device: int
) -> None:
    set_dropout(module, 0.0)
    module.train()
    loss, whole = gradient(module, labelled, 50)
    parts_loss, added = gradient(module, labelled, per_device)
    assert parts_loss == pytest.approx(loss, rel=1e-6)
    norm = torch.sqrt(sum(g.square().sum() for g in whole.values()))
    apart = torch.sqrt(sum((added[n] - g).square().sum() for n, g in whole.items()))
    assert float(apart / norm) < 1e-6


def test_the_loss_is_the_plain_mean_over_the_step(
    module: BertForSequenceClassification, labelled: LabelledRows
) -> None:
    set_dropout(module, 0.0)
    module.eval()
    logits = []
    for row in range(50):
        arguments, _ = labelled.tensors(np.array([row]))
        logits.append(module(**arguments).logits.detach())
    labels = torch.from_numpy(labelled.labels[:50])
    plain = torch.nn.CrossEntropyLoss(label_smoothing=0.05)(torch.cat(logits), labels)
    loss, _ = gradient(module, labelled, 16)
    assert loss == pytest.approx(float(plain), rel=1e-6)


def test_attention_alike_but_in_fp32(
    module: BertForSequenceClassification, labelled: LabelledRows
) -> None:
    set_dropout(module, 0.0)
    module.eval()
    arguments, _ = labelled.tensors(np.arange(30))
    with torch.inference_mode():
        plain = module(**arguments).logits
        before = module.config._attn_implementation
        with fp32_attention(module):
            inside = module(**arguments).logits
            with autocast("bf16"):
                mixed = module(**arguments).logits
        assert module.config._attn_implementation == before
    torch.testing.assert_close(inside, plain, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(mixed.float(), plain, rtol=0, atol=0.02)


def test_attention_weights_are_never_dropped(
    module: BertForSequenceClassification, labelled: LabelledRows
) -> None:
    for part in module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    for layer in module.bert.encoder.layer:
        layer.attention.self.dropout.p = 0.9
    module.train()
    arguments, _ = labelled.tensors(np.arange(30))
    with fp32_attention(module), torch.no_grad():
        first, second = (module(**arguments).logits for _ in range(2))
    assert torch.equal(first, second)


def test_every_row_once_an_epoch_in_another_order(labelled: LabelledRows) -> None:
    lengths = labelled.encoded.lengths
    orders = [epoch_steps(lengths, global_rows=32, seed=4, epoch=e) for e in (0, 1, 0)]
    for steps in orders:
        assert len(steps) == steps_per_epoch(len(lengths), 32)
        assert sorted(np.concatenate(steps).tolist()) == list(range(len(lengths)))
        assert sorted(map(len, steps)) == [16, *[32] * 7]
    flat = [np.concatenate(steps).tolist() for steps in orders]
    assert flat[0] == flat[2] != flat[1]


def test_parts_keep_budget_and_cap(labelled: LabelledRows, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = labelled.encoded.lengths
    rows = np.arange(100, 180)
    monkeypatch.setattr(parts, "TOKEN_BUDGET", 64)
    by_tokens = cut(rows, lengths, per_device=None)
    assert sorted(np.concatenate(by_tokens).tolist()) == rows.tolist()
    assert all(len(part) * lengths[part].max() <= 64 for part in by_tokens)
    by_rows = cut(rows, lengths, per_device=9)
    assert sorted(np.concatenate(by_rows).tolist()) == rows.tolist()
    assert [len(part) for part in by_rows] == [9] * 8 + [8]
