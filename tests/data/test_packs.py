"""Packs hold every row once, within the budget, by falling length."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipworthy.data.batches import Encoded
from shipworthy.data.packs import cut_packs, make_pack

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=40)


def encoded_of(lengths: list[int]) -> Encoded:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Encoded(np.arange(offsets[-1], dtype=np.int32) + 5, offsets)


@given(LENGTHS, st.integers(8, 200), st.none() | st.integers(1, 8))
def test_every_row_once_within_budget_and_cap(
    lengths: list[int], budget: int, cap: int | None
) -> None:
    sizes = np.array(lengths)
    rows = np.arange(len(lengths))
    packs = cut_packs(sizes, rows, token_budget=budget, max_rows=cap)
    assert sorted(np.concatenate(packs).tolist()) == rows.tolist()
    for pack in packs:
        assert len(pack) == 1 or sizes[pack].sum() <= budget
        assert cap is None or len(pack) <= cap


def test_packs_are_about_equally_full() -> None:
    sizes = np.random.default_rng(0).integers(5, 60, 300)
    packs = cut_packs(sizes, np.arange(300), token_budget=2048)
    full = [int(sizes[p].sum()) for p in packs]
    assert len(packs) == -(-int(sizes.sum()) // 2048)
    assert max(full) - min(full) <= 60


@given(LENGTHS, st.integers(0, 90))
def test_documents_stand_whole_and_by_falling_length(lengths: list[int], more: int) -> None:
    encoded = encoded_of(lengths)
    total = sum(lengths)
    pack = make_pack(encoded, np.arange(len(lengths)), pad_to=total + more, pad_token_id=0)
    assert pack.filler == more and len(pack.input_ids) == total + more
    assert pack.tokens == total
    assert sum(n * length for n, length in pack.runs) == total + more
    assert all(a >= b for a, b in zip(pack.lengths[:-1], pack.lengths[1:], strict=True))
    for row, first, last in zip(pack.rows, pack.first, pack.last, strict=True):
        ids = encoded.token_ids[encoded.offsets[row] : encoded.offsets[row + 1]]
        assert pack.input_ids[first : last + 1].tolist() == ids.tolist()
        assert pack.position_ids[first : last + 1].tolist() == list(range(len(ids)))
    assert (pack.document[: pack.tokens] >= 0).all() and (pack.document[pack.tokens :] == -1).all()
    assert int(pack.position_ids.max()) < max(lengths)


def test_more_than_it_can_hold() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        make_pack(encoded_of([5, 5]), [0, 1], pad_to=9)
