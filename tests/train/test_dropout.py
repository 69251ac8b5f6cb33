"""Dropout masks belong to what is dropped: row, position, place in the model, pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, chi2

from shipworthy.train.dropout import (
    KeyedDropout,
    attention_keep,
    document_keys,
    install,
    keep,
    keyed,
    salt_of,
    token_keys,
)


def keys_of(lengths: list[int], rows: list[int], *, seed: int = 1, visit: int = 0) -> torch.Tensor:
    documents = document_keys(seed=seed, visit=visit, rows=np.array(rows))
    document = np.repeat(np.arange(len(rows)), lengths)
    position = np.concatenate([np.arange(n) for n in lengths])
    return torch.from_numpy(token_keys(documents, document, position))


@pytest.mark.parametrize("probability", [0.05, 0.1, 0.5, 0.9])
def test_the_share_that_is_dropped(probability: float) -> None:
    kept = keep(keys_of([100] * 20, list(range(20))), salt_of("a"), 384, probability)
    dropped = kept.numel() - int(kept.sum())
    low, high = binom.ppf([1e-5, 1 - 1e-5], kept.numel(), probability)
    assert low <= dropped <= high


def test_values_next_to_one_another_are_independent() -> None:
    """Chi-square of two by two tables over tokens, channels, places, passes and rows."""
    keys = keys_of([200] * 10, list(range(10)))
    first = keep(keys, salt_of("layer.0"), 256, 0.3)
    again = keep(keys_of([200] * 10, list(range(10)), visit=1), salt_of("layer.0"), 256, 0.3)
    seeded = keep(keys_of([200] * 10, list(range(10)), seed=2), salt_of("layer.0"), 256, 0.3)
    others = {
        "token": (first[:-1], first[1:]),
        "channel": (first[:, :-1], first[:, 1:]),
        "word": (first[:, :-4], first[:, 4:]),
        "place": (first, keep(keys, salt_of("layer.1"), 256, 0.3)),
        "pass": (first, again),
        "seed": (first, seeded),
        "row": (first[:200], first[200:400]),
    }
    for name, (a, b) in others.items():
        x, y = a.flatten().double(), b.flatten().double()
        correlation = float(torch.corrcoef(torch.stack([x, y]))[0, 1])
        assert x.numel() * correlation**2 < chi2.ppf(1 - 1e-5, 1), name


def test_no_channel_and_no_token_is_dropped_more_often() -> None:
    kept = keep(keys_of([100] * 20, list(range(20))), salt_of("a"), 256, 0.25)
    for axis in (0, 1):
        counts = (~kept).sum(axis).numpy()
        of = kept.shape[axis]
        spread = float(((counts - of * 0.25) ** 2 / (of * 0.25 * 0.75)).sum())
        assert spread < chi2.ppf(1 - 1e-5, len(counts))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.randoms(), st.integers(1, 9))
def test_order_and_company_change_no_mask(lengths: list[int], random: object, width: int) -> None:
    rows = list(range(10, 10 + len(lengths)))
    together = keep(keys_of(lengths, rows), 7, width, 0.5)
    starts = np.cumsum([0, *lengths])
    order = list(range(len(rows)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = keep(keys_of([lengths[i] for i in order], [rows[i] for i in order]), 7, width, 0.5)
    at = 0
    for i in order:
        part = together[starts[i] : starts[i + 1]]
        assert torch.equal(shuffled[at : at + lengths[i]], part)
        assert torch.equal(keep(keys_of([lengths[i]], [rows[i]]), 7, width, 0.5), part)
        at += lengths[i]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40))
def test_fewer_channels_are_a_part_of_more(few: int, more: int) -> None:
    few, more = min(few, more), max(few, more)
    keys = keys_of([5, 3], [0, 1])
    assert torch.equal(keep(keys, 3, few, 0.5), keep(keys, 3, more, 0.5)[:, :few])


def test_gradients_pass_where_values_pass() -> None:
    drop = KeyedDropout(0.25, "a")
    values = torch.ones(1, 8, 16, requires_grad=True)
    keys = keys_of([5, 3], [0, 1])
    with keyed(keys[None], keys[[0, 5]]):
        out = drop(values)
        assert drop.eval()(values) is values
    out.sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad, out.detach())
    assert out.detach().unique().tolist() == pytest.approx([0.0, 4 / 3])


def test_pooled_values_take_the_keys_of_rows() -> None:
    drop = KeyedDropout(0.5, "head")
    keys = keys_of([5, 3], [0, 1])
    documents = torch.from_numpy(document_keys(seed=1, visit=0, rows=np.array([0, 1])))
    with keyed(keys[None], documents):
        pooled = drop(torch.ones(2, 64))
        alike = drop(torch.ones(2, 1, 64))
    assert torch.equal(pooled, alike[:, 0])
    with keyed(keys[None, 5:], documents[1:]):
        assert torch.equal(drop(torch.ones(1, 64))[0], pooled[1])
    with pytest.raises(RuntimeError, match="nobody said of which rows"):
        drop(torch.ones(2, 64))


def test_every_place_of_a_model_is_replaced_once() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout(0.5))
    model.add_module("inner", torch.nn.Sequential(torch.nn.Dropout(0.2)))
    model.eval()
    assert install(model, 0.1) == 2
    found = [m for m in model.modules() if isinstance(m, KeyedDropout)]
    assert [(m.p, m.site, m.training) for m in found] == [
        (0.1, "1", False),
        (0.1, "inner.0", False),
    ]
    assert install(model[2], 0.3) == 1
    assert model[2][0].site == "inner.0"


def test_heads_keep_their_masks_wherever_they_are_computed() -> None:
    queries = keys_of([6, 6], [0, 1]).reshape(2, 6)
    whole = attention_keep(queries, 6, first_head=0, heads=4, site="a", probability=0.5)
    upper = attention_keep(queries, 6, first_head=2, heads=2, site="a", probability=0.5)
    assert whole.shape == (2, 4, 6, 6)
    assert torch.equal(whole[:, 2:], upper)
    other = attention_keep(queries, 6, first_head=0, heads=4, site="b", probability=0.5)
    assert 0.3 < float((whole != other).float().mean()) < 0.7
    assert 0.3 < float((whole[:, 0] != whole[:, 1]).float().mean()) < 0.7
