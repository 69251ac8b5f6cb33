"""What is planted in a data set is found in it, and what is not is not."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipworthy.core.errors import DataError
from shipworthy.core.records import ALL_ROWS, Outcome
from shipworthy.measure.annotators import agreement
from shipworthy.measure.composition import Composition, compose
from shipworthy.measure.composition_roles import Roles
from shipworthy.measure.label_noise import confident_learning
from shipworthy.measure.light_model import FOLDS, cross_fitted, features, folds_of
from shipworthy.measure.repeats import find_repeats
from shipworthy.measure.slices import Partition
from shipworthy.measure.text_shape import count_lengths

N = 1500


def people(seed: int = 0) -> pl.DataFrame:
    """Rows whose zip code gives race away, age nothing; labels follow income; 8 % are wrong."""
    generator = np.random.default_rng(seed)
    race = generator.choice(["a", "b"], N, p=[0.7, 0.3])
    income = generator.normal(50, 10, N)
    truth = (income > 50).astype(int)
    wrong = generator.random(N) < 0.08
    code = np.where(generator.random(N) < 0.9, np.char.add("z", race), "z")
    return pl.DataFrame(
        {
            "id": np.arange(N),
            "race": race,
            "sex": generator.choice(["f", "m"], N),
            "zip": code,
            "age": generator.integers(18, 70, N),
            "income": income,
            "y": np.where(wrong, 1 - truth, truth),
            "wrong": wrong,
        }
    )


@pytest.fixture(scope="module")
def found() -> Composition:
    frame = people().drop("wrong")
    return compose(frame, Roles(label="y", groups=("race", "sex"), id="id"))


def test_what_gives_a_group_away_is_named(found: Composition) -> None:
    race, sex = (a.found for a in found.proxies)
    assert race is not None
    assert race.answer is Outcome.FAIL
    assert race.importances[0].column == "zip"
    assert race.importances[0].low > 0.2
    assert race.low <= race.balanced_accuracy <= race.high
    assert (race.chance, race.values) == (0.5, ("a", "b"))
    # Sex is drawn apart from all else.
    assert sex is not None
    assert sex.answer is not Outcome.FAIL
    assert sex.low < 0.5 + 0.05
    assert sex.auc_low < 0.5 < sex.auc_high


def test_labels_that_were_turned_are_doubted(found: Composition) -> None:
    noise, wrong = found.noise.found, people()["wrong"].to_numpy()
    assert noise is not None
    assert noise.trusted
    precision = wrong[noise.flagged].mean()
    recall = noise.flagged[wrong].mean()
    assert precision > 0.55
    assert recall > 0.55
    assert noise.low < wrong.mean() + 0.05
    assert noise.high > wrong.mean() - 0.02
    assert noise.joint.sum() == pytest.approx(1)
    assert found.noise.suspects[0].odds >= found.noise.suspects[-1].odds > 0
    top = [s.row - 1 for s in found.noise.suspects[:20]]
    assert wrong[top].mean() > 0.8


def test_labels_that_mean_nothing_cannot_be_doubted() -> None:
    frame = people().with_columns(
        pl.Series("y", np.random.default_rng(3).integers(0, 2, N)), pl.lit("k").alias("zip")
    )
    noise = compose(frame.drop("wrong"), Roles(label="y", id="id")).noise
    assert noise.found is not None
    assert not noise.found.trusted


def test_labels_by_group(found: Composition) -> None:
    assert {b.subject for b in found.labels} == {"1"}
    assert {b.column for b in found.labels} == {"race", "sex"}
    for one in found.labels:
        assert all(c.answer is not Outcome.FAIL for c in one.contrasts)


def test_confident_learning_by_hand() -> None:
    """Thresholds of 0.7 and 0.75: the third row is confidently of class 1, the fourth of none."""
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.8, 0.2], [0.1, 0.9], [0.4, 0.6]])
    labels = np.array([0, 0, 0, 0, 1, 1])
    rows = Partition((), (ALL_ROWS,), np.zeros(6, np.int64))
    found = confident_learning(np.log(p), labels, rows)
    assert found.flagged.tolist() == [False, False, True, False, False, False]
    # Of label 0: rows of 0.9, 0.9, 0.8 reach 0.7 for class 0, one 0.75 for class 1.
    assert found.joint == pytest.approx(np.array([[3 / 6, 1 / 6], [0, 2 / 6]]))
    assert found.share == pytest.approx(1 / 6)
    assert found.margin[2] == pytest.approx(np.log(0.2 / 0.8))


def test_missing_values_by_group() -> None:
    frame = people().with_columns(
        pl.when((pl.col("sex") != "f") | (pl.col("age") >= 40)).then("age").alias("age"),
        pl.lit("  ").alias("note"),
    )  # fmt: skip
    found = compose(frame, Roles(groups=("sex",), models=False))
    assert found.missing[0].column == "note"
    assert found.missing[0].rows == N
    age = next(b for b in found.missing_by_group if b.subject == "age")
    assert {c.answer for c in age.contrasts} == {Outcome.FAIL}


def test_leaks_and_conflicts_are_counted() -> None:
    base = [f"the parcel number {k} came on a rainy day in week {k % 50}" for k in range(60)]
    texts = [*base, base[0] + "!", base[1].upper(), base[2]]
    split = ["train"] * 60 + ["test", "train", "test"]
    label = ["p"] * 60 + ["p", "n", None]
    found = find_repeats(
        pl.Series(texts), similarity=1.0, split=pl.Series(split), label=pl.Series(label)
    )
    assert found.equal.sum() == 6
    assert found.later.sum() == 3
    assert np.flatnonzero(found.leaking).tolist() == [0, 2, 60, 62]
    assert np.flatnonzero(found.conflicting).tolist() == [1, 61]


def test_rows_without_a_text_repeat_by_all_their_columns() -> None:
    frame = pl.DataFrame({"id": [1, 2, 3], "a": [1, 1, 1], "b": ["x", "x", None], "y": [0, 1, 0]})
    found = compose(frame, Roles(label="y", id="id", models=False))
    assert found.repeats.equal.tolist() == [True, True, False]
    assert found.repeats.conflicting.tolist() == [True, True, False]


@given(
    st.lists(st.sampled_from(["one text of some length", "ONE text, of some length", "b", None]))
)
def test_repeats_agree_with_counting(texts: list[str | None]) -> None:
    found = find_repeats(pl.Series(texts, dtype=pl.String), similarity=1.0)
    plain = [None if t is None else t.lower().replace(",", "") for t in texts]
    for k, text in enumerate(plain):
        assert found.equal[k] == (text is not None and plain.count(text) > 1)
    assert len(texts) - found.later.sum() == len({t for t in plain if t is not None}) + plain.count(
        None
    )


def test_units_stay_in_one_fold() -> None:
    units = np.random.default_rng(1).integers(0, 40, 500)
    fold = folds_of(units, seed=0)
    assert set(fold.tolist()) == set(range(FOLDS))
    for unit in range(40):
        assert len(set(fold[units == unit].tolist())) <= 1
    assert np.bincount(fold).max() <= 130


def test_a_row_is_judged_by_a_model_that_did_not_see_it() -> None:
    """A name of its own tells a row nothing: held out, random labels stay at chance."""
    generator = np.random.default_rng(2)
    frame = pl.DataFrame({"name": [f"n{k % 40}" for k in range(400)]})
    labels = generator.integers(0, 2, 40)[np.arange(400) % 40]
    told = features(frame, ["name"])
    parted = cross_fitted(told, labels, folds_of(np.arange(400) % 40, seed=0), 2)[0]
    leaky = cross_fitted(told, labels, folds_of(np.arange(400), seed=0), 2)[0]
    assert (leaky.argmax(axis=1) == labels).mean() > 0.95
    assert (parted.argmax(axis=1) == labels).mean() < 0.8


def test_agreement_of_krippendorffs_example() -> None:
    """Krippendorff 2011, nominal data of 12 units by 4 observers: alpha 0.743."""
    a = "1 2 3 3 2 1 4 1 2 . . ."
    b = "1 2 3 3 2 2 4 1 2 5 . 3"
    c = ". 3 3 3 2 3 4 2 2 5 1 ."
    d = "1 2 3 3 2 4 4 1 2 5 1 ."
    frame = pl.DataFrame(
        {
            n: [None if v == "." else v for v in s.split()]
            for n, s in zip("abcd", (a, b, c, d), strict=True)
        }
    )
    found = compose(frame, Roles(annotators=("a", "b", "c", "d"), models=False)).agreement
    assert round(found[0].alpha, 3) == 0.743
    assert found[0].items == 11
    assert np.isnan(found[0].low)


def test_one_row_for_each_judgement_is_the_same() -> None:
    frame = people()
    wide = frame.with_columns(
        pl.Series("z", np.where(np.arange(N) % 9 == 0, 1 - frame["y"], frame["y"]))
    )
    one = compose(wide, Roles(annotators=("y", "z"), models=False)).agreement[0]
    long = pl.concat([wide.select("id", label=c, who=pl.lit(c)) for c in ("y", "z")])
    other = compose(
        long, Roles(label="label", annotators=("who",), item="id", models=False)
    ).agreement[0]
    assert (one.alpha, one.items) == (other.alpha, other.items)
    assert one.low < one.alpha < one.high


def test_alpha_of_no_pair_is_not_a_number() -> None:
    assert np.isnan(agreement(np.array([[1.0, 0.0]])).alpha)


def test_lengths_count_words_of_several_scripts() -> None:
    counted = count_lengths(pl.Series(["two words", "你好，世界", "OK 寿司です!", "", None]))
    assert counted["words"].tolist() == [2, 4, 5, 0, 0]
    assert counted["characters"].tolist() == [9, 5, 8, 0, 0]


def test_texts_have_scripts_and_lengths_by_group() -> None:
    texts = ["short"] * 60 + ["a much longer text of some words"] * 40 + ["你好，世界"] * 40
    frame = pl.DataFrame({"t": texts, "g": ["x"] * 60 + ["y"] * 80})
    found = compose(frame, Roles(text="t", groups=("g",), models=False))
    assert found.scripts == {"Latin": 100, "Han": 40}
    means = {(one.group, one.unit): one.mean for one in found.lengths}
    assert means[("x", "words")] == 1
    assert means[("y", "words")] == 5.5
    assert {c.answer for b in found.scripts_by_group for c in b.contrasts} == {Outcome.FAIL}


def test_the_same_seed_gives_the_same_numbers() -> None:
    frame, roles = people().drop("wrong"), Roles(label="y", groups=("race",), id="id")
    one, other = compose(frame, roles), compose(frame, roles)
    assert one.proxies == other.proxies
    assert one.noise.suspects == other.noise.suspects


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        (Roles(groups=("rase",)), "'race'"),
        (Roles(groups=("id",)), "1,500"),
        (Roles(label="empty"), "missing"),
        (Roles(label="y", annotators=("sex",)), "--item"),
    ],
)
def test_what_does_not_fit_is_named(roles: Roles, words: str) -> None:
    frame = people().with_columns(pl.lit(None, pl.String).alias("empty"))
    with pytest.raises(DataError, match=words):
        compose(frame, roles)


def test_one_row_and_one_group_are_enough() -> None:
    frame = pl.DataFrame({"y": [1], "g": ["a"], "t": ["hello"]})
    found = compose(frame, Roles(label="y", text="t", groups=("g",)))
    assert found.rows == 1
    assert found.labels == ()
    assert found.noise.reason == "few_rows"
    assert found.proxies[0].reason == "few_rows"
