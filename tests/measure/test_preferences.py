"""Judgements of people: read, scored, and how far their raters agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shipworthy.core.errors import DataError
from shipworthy.measure.decide import assess
from shipworthy.measure.estimates import Unmeasured
from shipworthy.measure.preferences import (
    agreement,
    krippendorff_alpha,
    preferred_share,
    read_judgements,
)

HEAD = "item,first,second,winner,rater\n"


def written(tmp_path: Path, *rows: str) -> Path:
    file = tmp_path / "judgements.csv"
    file.write_text(HEAD + "\n".join(rows) + "\n")
    return file


def test_an_item_scores_the_mean_of_its_judgements(tmp_path: Path) -> None:
    file = written(
        tmp_path, "1,new,old,first,a", "1,old,new,second,b", "2,old,new,first,a", "3,new,old,tie,a",
        "3,new,old,first,b", "3,new,other,first,c",
    )  # fmt: skip
    found = assess(preferred_share(read_judgements(file), "new", "old"), confidence=0.95)
    assert found.value[0] == pytest.approx((1 + 0 + 0.75) / 3)
    assert found.n[0] == 3
    assert isinstance(preferred_share(read_judgements(file), "old", "other"), Unmeasured)


def test_alpha_of_a_published_example() -> None:
    """Krippendorff 2011, example C: four observers, nominal, alpha = 0.743."""
    observers = [
        ["1", "2", "3", "3", "2", "1", "4", "1", "2", ".", ".", "."],
        ["1", "2", "3", "3", "2", "2", "4", "1", "2", "5", ".", "3"],
        [".", "3", "3", "3", "2", "3", "4", "2", "2", "5", "1", "."],
        ["1", "2", "3", "3", "2", "4", "4", "1", "2", "5", "1", "."],
    ]
    counts = np.zeros((12, 5))
    for observer in observers:
        for item, value in enumerate(observer):
            if value != ".":
                counts[item, int(value) - 1] += 1
    assert krippendorff_alpha(counts) == pytest.approx(0.743, abs=0.0005)


def test_who_stood_first_is_no_disagreement(tmp_path: Path) -> None:
    rows = [f"{k},new,old,{'first' if k % 2 else 'second'},a" for k in range(6)]
    rows += [f"{k},old,new,{'second' if k % 2 else 'first'},b" for k in range(6)]
    assert agreement(read_judgements(written(tmp_path, *rows))) == 1.0


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1,new,old,new,a", "neither first, second nor tie"),
        ("1,new,new,tie,a", "compared with itself"),
        ("0,old,new,tie,a", "before"),
        ("1,new,old,first,", "missing"),
    ],
)
def test_bad_rows_are_named(row: str, message: str, tmp_path: Path) -> None:
    file = written(tmp_path, "0,new,old,first,a", row)
    with pytest.raises(DataError, match=message) as caught:
        read_judgements(file)
    assert "row 2" in str(caught.value) and "judgements.csv" in str(caught.value)
