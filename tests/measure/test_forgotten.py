"""Slices that lost more than the rest: error rates by simulation, with fixed seeds.

The null and the planted word are those of `docs/forgotten.md`; bounds are binomial quantiles at
1e-4 above the rate that is allowed, so that a correct build practically never fails.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy import stats

from shipworthy.measure import forgotten, slice_tests
from shipworthy.measure.effective import MIN_ROWS
from shipworthy.measure.false_discovery import benjamini_yekutieli, harmonic
from shipworthy.measure.forgotten import Cut, Cuts, Losses, length_cut, losses
from shipworthy.measure.ngrams import Grams, grams, words
from shipworthy.measure.scripts import SCRIPTS, scripts
from shipworthy.measure.slice_tests import Flips, exact_p, wald_p

ROWS = 2_000
PLANTED = "refund"

Flags = NDArray[np.bool_]


def texts_of(n: int, seed: int, *, planted: float = 0.06, words_each: int = 14) -> pl.Series:
    """Texts of common and rare words; a share of them holds the planted one."""
    draw = np.random.default_rng(seed)
    known = np.array([f"w{k}" for k in range(3_000)], dtype="U8")
    cells = known[draw.zipf(1.25, size=(n, words_each)) % len(known)]
    holds = draw.random(n) < planted
    cells[holds, draw.integers(words_each)] = PLANTED
    return pl.Series([" ".join(row) for row in cells.tolist()])


def cuts_of(texts: pl.Series, *, units: NDArray[np.int64] | None = None, seed: int = 0) -> Cuts:
    draw = np.random.default_rng(seed)
    n = len(texts)
    lengths = texts.str.len_chars().to_numpy().astype(np.int64)
    label = Cut("label", ("no", "yes"), draw.integers(0, 2, n))
    cuts = (length_cut(lengths), Cut("script", SCRIPTS, scripts(texts)), label)
    return Cuts(n, cuts, grams(texts, least=MIN_ROWS, seed=0), units)


@cache
def usual() -> Cuts:
    return cuts_of(texts_of(ROWS, 1))


def flipped(draw: np.random.Generator, share: float | NDArray[np.float64], n: int = ROWS) -> tuple[
    Flags, Flags
]:  # fmt: skip
    """Right before, and right after rows flipped with a probability."""
    before = draw.random(n) < 0.88
    return before, before ^ (draw.random(n) < share)


def most_of(runs: int, allowed: float) -> int:
    return int(stats.binom.ppf(1 - 1e-4, runs, allowed))


def holds_planted(cuts: Cuts) -> Flags:
    assert cuts.grams is not None
    inside = np.zeros(cuts.n, dtype=bool)
    inside[cuts.grams.of(cuts.grams.names.index(PLANTED))] = True
    return inside


# Error rates


def test_where_nothing_is_harmed_a_find_is_rare() -> None:
    cuts, runs = usual(), 200
    draw = np.random.default_rng(7)
    found = sum(
        any(s.found for s in losses(cuts, *flipped(draw, 0.03)).slices) for _ in range(runs)
    )
    assert losses(cuts, *flipped(draw, 0.03)).tested > 200
    assert found <= most_of(runs, 0.10)


def test_without_the_correction_a_find_is_not_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    cuts, runs = usual(), 40
    monkeypatch.setattr(forgotten, "benjamini_yekutieli", np.asarray)
    draw = np.random.default_rng(7)
    found = sum(
        any(s.found for s in losses(cuts, *flipped(draw, 0.03)).slices) for _ in range(runs)
    )
    assert found > most_of(runs, 0.10)


def test_a_planted_word_is_found_and_stands_first() -> None:
    runs, first = 100, 0
    draw = np.random.default_rng(11)
    cuts = [cuts_of(texts_of(ROWS, seed, planted=0.12)) for seed in range(5)]
    for run in range(runs):
        own = cuts[run % len(cuts)]
        told = losses(own, *flipped(draw, np.where(holds_planted(own), 0.30, 0.03))).slices
        first += told[0].found and told[0].name == PLANTED
    assert first >= 95


def clustered(draw: np.random.Generator) -> tuple[Cuts, Flags, Flags]:
    """50 authors of 40 rows with a topic each; a candidate fails a few authors whole."""
    authors = np.repeat(np.arange(50), 40)
    topics = draw.permutation(np.arange(50) % 5)
    common = draw.integers(0, 150, size=(ROWS, 8))
    texts = pl.Series([
        f"topic{topics[a]} " + " ".join(f"w{k}" for k in row)
        for a, row in zip(authors.tolist(), common.tolist(), strict=True)
    ])  # fmt: skip
    harmed = draw.random(50) < 0.1
    before, after = flipped(draw, np.where(harmed[authors], 0.8, 0.01))
    return cuts_of(texts, units=authors), before, after


def test_flips_that_come_by_author_are_no_finds() -> None:
    runs, found, naive = 60, 0, 0
    draw = np.random.default_rng(5)
    for _ in range(runs):
        cuts, before, after = clustered(draw)
        found += any(s.found for s in losses(cuts, before, after).slices)
        rows = Cuts(cuts.n, cuts.cuts, cuts.grams)
        naive += any(s.found for s in losses(rows, before, after).slices)
    assert found <= most_of(runs, 0.10)
    # The same rows taken as independent: what the design effect is for.
    assert naive > runs // 2


def test_a_slice_of_few_units_is_never_found() -> None:
    authors = np.repeat(np.arange(200), 10)
    cut = Cut("source", ("few", "rest"), (authors >= 4).astype(np.int64))
    before = np.ones(ROWS, dtype=bool)
    after = authors >= 4
    with_units = losses(Cuts(ROWS, (cut,), None, authors), before, after)
    few = next(s for s in with_units.slices if s.name == "few")
    assert (few.n, few.units, few.turned_wrong, few.found) == (40, 4, 40, False)
    assert losses(Cuts(ROWS, (cut,)), before, after).slices[0].found


def test_rows_that_flip_both_ways_alike_are_not_called_harmed() -> None:
    """Hard rows flip often, as often to right as to wrong: churn, which the exact test mistakes."""
    draw = np.random.default_rng(3)
    runs, found, mistaken = 300, 0, 0
    hard = np.arange(4_000) < 400
    cut = Cut("source", ("hard", "easy"), (~hard).astype(np.int64))
    for _ in range(runs):
        before = draw.random(4_000) < np.where(hard, 0.5, 0.9)
        after = before ^ (draw.random(4_000) < np.where(hard, 0.25, 0.0))
        told = losses(Cuts(4_000, (cut,)), before, after)
        found += any(s.p <= 0.01 for s in told.slices)
        b, c = (before & ~after)[hard].sum(), (after & ~before)[hard].sum()
        # A tenth of the flips elsewhere: what makes the pooled variance too small.
        mistaken += exact_p(Flips(b, c, 400), Flips(10, 10, 3600)) <= 0.01
    assert found <= most_of(runs, 0.02)
    assert mistaken > most_of(runs, 0.02)


# The tests themselves


@pytest.mark.parametrize("m", [1, 2, 30])
def test_adjusted_p_are_those_of_scipy(m: int) -> None:
    p = np.random.default_rng(m).random(m) ** 3
    p[0] = p[-1]
    expected = stats.false_discovery_control(p, method="by")
    np.testing.assert_allclose(benjamini_yekutieli(p), expected, rtol=1e-12)
    assert harmonic(4) == pytest.approx(25 / 12)
    assert benjamini_yekutieli([]).shape == (0,)


@pytest.mark.parametrize(
    ("inside", "outside"),
    [((3, 1, 20), (4, 5, 60)), ((0, 2, 9), (6, 0, 31)), ((5, 0, 5), (0, 2, 9))],
)
def test_the_exact_p_is_that_of_every_way_to_draw_the_rows(
    inside: tuple[int, int, int], outside: tuple[int, int, int]
) -> None:
    lost, gained, n = (a + b for a, b in zip(inside, outside, strict=True))
    ways = stats.multivariate_hypergeom(m=[lost, gained, n - lost - gained], n=inside[2])
    expected = sum(
        ways.pmf([b, c, inside[2] - b - c])
        for b in range(lost + 1)
        for c in range(gained + 1)
        if b - c >= inside[0] - inside[1] and 0 <= inside[2] - b - c <= n - lost - gained
    )
    assert exact_p(Flips(*inside), Flips(*outside)) == pytest.approx(expected, rel=1e-9)


def test_many_flips_are_counted_as_well_by_the_normal(monkeypatch: pytest.MonkeyPatch) -> None:
    inside, outside = Flips(1_320, 410, 30_000), Flips(11_700, 4_100, 300_000)
    exact = exact_p(inside, outside)
    monkeypatch.setattr(slice_tests, "_MOST_CELLS", 0)
    assert exact_p(inside, outside) == pytest.approx(exact, rel=0.1)
    assert 1e-4 < exact < 0.1


def test_a_design_effect_only_makes_the_exact_p_larger() -> None:
    plain = exact_p(Flips(8, 1, 40), Flips(30, 10, 960))
    halved = exact_p(Flips(4, 0.5, 20), Flips(15, 5, 480))
    uneven = exact_p(Flips(8 / 1.3, 1 / 1.3, 40 / 1.3), Flips(30, 10, 960))
    assert plain < halved
    assert plain < uneven


def test_the_wald_p_looks_at_both_changes() -> None:
    same = wald_p([5], [5], [100], [5], [5], [100])
    harmed = wald_p([25], [2], [100], [30], [20], [1_000])
    mirrored = wald_p([2], [25], [100], [30], [20], [1_000])
    assert same.tolist() == [0.5]
    assert harmed[0] < 1e-4 < 0.999 < mirrored[0]


# Slices


def cut_words(*texts: str) -> Grams:
    return grams(pl.Series(texts), least=2, seed=0)


def test_words_and_pairs_are_those_of_enough_rows_and_not_of_all() -> None:
    found = cut_words("good film good", "Good FILM", "the end", "a film", "the film", "so bad")
    assert dict(zip(found.names, found.counts.tolist(), strict=True)) == {
        "film": 4, "good": 2, "good film": 2, "the": 2,
    }  # fmt: skip
    assert found.of(found.names.index("good")).tolist() == [0, 1]
    flags = np.array([True, False, True, False, False, False])
    assert found.sums(flags).tolist() == [1, 1, 1, 1]


def test_chinese_is_cut_into_characters_and_their_pairs() -> None:
    found = cut_words("质量很好", "质量差", "送货快", "不错")
    assert set(found.names) == {"质", "量", "质量"}
    assert words(pl.Series(["iPhone手机 don’t"])).to_list() == [["iphone", "手", "机", "don’t"]]


def test_empty_texts_hold_nothing() -> None:
    assert cut_words("", "", "!!", "?").names == ()
    assert cut_words("a b", "", "a c", "").names == ("a",)


def test_of_too_many_characters_rows_are_drawn_and_counts_are_those_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = texts_of(1_000, 2)
    whole = grams(texts, least=20, seed=4)
    monkeypatch.setattr("shipworthy.measure.ngrams.MOST_CHARACTERS", 20_000)
    part = grams(texts, least=20, seed=4)
    assert len(whole.rows) == 1_000
    assert 200 < len(part.rows) < 500
    assert set(part.names) < set(whole.names)
    inside = np.isin(whole.of(whole.names.index(PLANTED)), part.rows)
    assert inside.sum() == part.counts[part.names.index(PLANTED)]
    again = grams(texts, least=20, seed=4)
    assert again.names == part.names and again.rows.tolist() == part.rows.tolist()


def test_scripts_are_told_apart() -> None:
    told = {
        "hello": "Latin", "你好吗": "Han", "привет": "Cyrillic", "γεια": "Greek", "שלום": "Hebrew",
        "مرحبا": "Arabic", "नमस्ते": "Devanagari", "안녕": "Hangul", "東京へ行く": "Kana",
        "12:30 …": "none", "": "none", "用 Python 写的 code": "mixed", "价格 100 元": "Han",
    }  # fmt: skip
    codes = scripts(pl.Series(list(told)))
    assert [SCRIPTS[k] for k in codes] == list(told.values())


def test_lengths_are_cut_into_fifths_and_equal_ones_stay_together() -> None:
    lengths = np.array([3] * 90 + [8] * 10)
    cut = length_cut(lengths)
    assert cut.values == ("3", "8")
    assert np.bincount(cut.codes).tolist() == [90, 10]
    drawn = np.random.default_rng(0).integers(1, 500, 1_000)
    assert all(150 < n < 250 for n in np.bincount(length_cut(drawn).codes))


# What is told


def planted_run() -> tuple[Cuts, Losses]:
    cuts = usual()
    share = np.where(holds_planted(cuts), 0.5, 0.02)
    return cuts, losses(cuts, *flipped(np.random.default_rng(2), share))


def test_a_slice_is_told_with_its_counts_and_its_interval() -> None:
    cuts, told = planted_run()
    before, after = flipped(np.random.default_rng(2), np.where(holds_planted(cuts), 0.5, 0.02))
    inside, first = holds_planted(cuts), told.slices[0]
    assert first.kind == "words" and first.name == PLANTED
    assert first.n == first.units == inside.sum()
    assert first.turned_wrong == (before & ~after & inside).sum()
    assert first.turned_right == (after & ~before & inside).sum()
    assert first.value == (first.turned_right - first.turned_wrong) / first.n
    assert -1 < first.low < first.value < first.high < 0
    assert first.p <= first.p_adjusted <= 0.1
    assert [s.p for s in told.slices] == sorted(s.p for s in told.slices)
    assert all(s.found == (s.p_adjusted <= 0.1) for s in told.slices)


def test_words_of_the_same_lost_rows_are_told_once() -> None:
    texts = texts_of(ROWS, 4, planted=0.1).str.replace(PLANTED, f"{PLANTED} policy")
    cuts = cuts_of(texts)
    share = np.where(holds_planted(cuts), 0.5, 0.02)
    told = losses(cuts, *flipped(np.random.default_rng(1), share)).slices
    names = [s.name for s in told if s.found]
    together = {told[0].name, *told[0].alike}
    assert {PLANTED, "policy", f"{PLANTED} policy"} <= together
    assert len(together.intersection(names)) == 1


def test_the_same_rows_in_another_order_give_the_same_slices() -> None:
    texts = texts_of(ROWS, 9)
    lengths = texts.str.len_chars().to_numpy().astype(np.int64)
    before, after = flipped(np.random.default_rng(8), np.where(lengths > 45, 0.1, 0.02))
    shuffled = np.random.default_rng(0).permutation(ROWS)
    first = Cuts(ROWS, (length_cut(lengths),), grams(texts, least=MIN_ROWS, seed=0))
    other = Cuts(
        ROWS, (length_cut(lengths[shuffled]),), grams(texts.gather(shuffled), least=20, seed=0)
    )
    assert losses(first, before, after) == losses(other, before[shuffled], after[shuffled])


def test_without_flips_or_slices_nothing_is_found() -> None:
    right = np.ones(ROWS, dtype=bool)
    assert not any(s.found for s in losses(usual(), right, right).slices)
    assert losses(Cuts(ROWS, ()), right, ~right) == Losses((), 0)
    small = Cut("source", ("small", "rest"), (np.arange(ROWS) >= MIN_ROWS - 1).astype(np.int64))
    assert losses(Cuts(ROWS, (small,)), right, ~right).tested == 0
