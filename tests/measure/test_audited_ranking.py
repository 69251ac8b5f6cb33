"""Rankings and numbers: exposure, the top, areas between groups, errors; against loops."""

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from shipworthy.core.errors import DataError
from shipworthy.measure import tally
from shipworthy.measure.audited_numbers import MEASURES, Numbers
from shipworthy.measure.audited_ranking import Ranked, discounts
from shipworthy.measure.shown import assess
from shipworthy.measure.tally import Roles, Tally

sys.path.insert(0, str(Path(__file__).parent))

from audit_tables import drawn_table


def ranked(frame, label=True):
    one = Tally(Roles(("g",), "y" if label else None, score="s", free=True), "t")
    one.add(frame.to_arrow())
    counted = one.counted()
    names = [str(n) for n in counted.names["label"]] if label else []
    return Ranked(counted.cells, names.index("1") if label else -1)


def counted(frame, parts=1, **roles):
    one = Tally(Roles(("g",), "y", "p", numeric=True, **roles), "t")
    edges = np.linspace(0, frame.height, parts + 1).astype(int)
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        one.add(frame[int(low) : int(high)].to_arrow())
    return Numbers(one.counted())


def of_numbers(seed, n=600):
    rng = np.random.default_rng(seed)
    y = rng.normal(3, 2, n)
    g = rng.choice(["x", "y", "z"], n)
    p = y + rng.normal(0, 1, n) * (1 + (g == "y")) + 0.2 * (g == "z")
    return pl.DataFrame({"g": g, "y": y, "p": p, "u": rng.integers(0, 60, n),
                         "w": rng.integers(1, 4, n).astype(float)})  # fmt: skip


# -- rankings --------------------------------------------------------------------------------------


def test_exposure_is_by_place():
    frame = pl.DataFrame({"g": ["a", "b", "a", "b"], "s": [4.0, 3.0, 2.0, 1.0]})
    one = ranked(frame, label=False)
    shown = assess(one.on("exposure", one.area(("g",))))
    by_place = 1 / np.log2(np.arange(2, 6))
    np.testing.assert_allclose(shown.value, [by_place[[0, 2]].mean(), by_place[[1, 3]].mean()])


@given(st.permutations(range(8)))
@settings(max_examples=20, deadline=None)
def test_equal_scores_share_their_places_whatever_their_order(order):
    frame = pl.DataFrame({"g": list("aabbabab"), "s": [3.0, 2, 2, 2, 1, 1, 0.5, 0.5]})
    one, other = ranked(frame, label=False), ranked(frame[list(order)], label=False)
    places = discounts(8)
    assert one.exposures.sum() == pytest.approx(places.sum())
    for measure in (lambda r: assess(r.on("exposure", r.area(("g",)))).value,
                    lambda r: r.share_of_top(r.area(("g",)), 2).successes):  # fmt: skip
        np.testing.assert_allclose(measure(one), measure(other))
    assert one.share_of_top(one.area(("g",)), 2).successes.tolist() == pytest.approx([4 / 3, 2 / 3])


def test_areas_within_and_between_groups_are_those_of_their_rows():
    frame = drawn_table(1)
    one = ranked(frame)
    where = one.area(("g",))
    g, y, s = (frame[c].to_numpy() for c in ("g", "y", "s"))
    for measure, rows in {
        "auc": lambda k: g == k,
        "bpsn_auc": lambda k: ((g == k) & (y == 0)) | ((g != k) & (y == 1)),
        "bnsp_auc": lambda k: ((g == k) & (y == 1)) | ((g != k) & (y == 0)),
    }.items():
        shown = assess(one.on(measure, where))
        for place, name in enumerate("xyz"):
            kept = rows(name)
            assert shown.value[place] == pytest.approx(metrics.roc_auc_score(y[kept], s[kept]))
            assert shown.low[place] < shown.value[place] < shown.high[place]


def test_gain_is_that_of_scikit_learn():
    frame = drawn_table(2, n=400)
    one = ranked(frame)
    shown = assess(one.on("ndcg", one.area(("g",))))
    for place, (_, part) in enumerate(sorted(frame.group_by("g"))):
        theirs = metrics.ndcg_score(part["y"].to_numpy()[None], part["s"].to_numpy()[None])
        assert shown.value[place] == pytest.approx(theirs)
        assert shown.low[place] < theirs < shown.high[place]


def test_the_top_is_shared_out():
    frame = drawn_table(3)
    one = ranked(frame.with_columns(s=pl.col("s") + pl.int_range(pl.len()) * 1e-9))
    where = one.area(("g",))
    best = frame.with_columns(s=pl.col("s") + pl.int_range(pl.len()) * 1e-9).top_k(50, by="s")
    inside = [best.filter(pl.col("g") == k).height for k in "xyz"]
    assert one.share_of_top(where, 50).successes.tolist() == pytest.approx(inside)
    assert one.selected(where, 50).trials.tolist() == [
        frame.filter(pl.col("g") == k).height for k in "xyz"
    ]


# -- numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_errors_are_those_of_scikit_learn(weighted):
    frame = of_numbers(1)
    one = counted(frame, **({"weight": "w"} if weighted else {}))
    where = one.area(("g",))
    values = {m: assess(one.on(m, where)).value for m in MEASURES}
    for place, (_, part) in enumerate(sorted(frame.group_by("g"))):
        y, p = part["y"].to_numpy(), part["p"].to_numpy()
        w = part["w"].to_numpy() if weighted else np.ones(len(y))
        theirs = {
            "mean_absolute_error": metrics.mean_absolute_error(y, p, sample_weight=w),
            "root_mean_squared_error": metrics.root_mean_squared_error(y, p, sample_weight=w),
            "mean_error": np.average(p - y, weights=w),
            "r2": metrics.r2_score(y, p, sample_weight=w),
            "mean_prediction": np.average(p, weights=w),
            "mean_label": np.average(y, weights=w),
        }
        for measure, value in theirs.items():
            assert values[measure][place] == pytest.approx(value, rel=1e-9), measure


@pytest.mark.parametrize("measure", ["mean_absolute_error", "root_mean_squared_error", "r2"])
def test_their_errors_are_those_of_the_bootstrap(measure):
    frame, rng = of_numbers(2, n=1500), np.random.default_rng(0)
    one = counted(frame)
    shown = assess(one.on(measure, one.area()))
    values = []
    for _ in range(150):
        again = counted(frame[rng.integers(0, 1500, 1500)])
        values.append(assess(again.on(measure, again.area())).value[0])
    assert (shown.high[0] - shown.low[0]) / 3.92 == pytest.approx(np.std(values), rel=0.25)


@pytest.mark.parametrize("roles", [{}, {"unit": "u"}, {"weight": "w"}])
def test_sums_of_a_long_table_say_the_same(monkeypatch, roles):
    frame = of_numbers(3, n=4000)
    exact = counted(frame, **roles)
    monkeypatch.setattr(tally, "EXACT_ROWS", 500)
    summed = counted(frame, parts=7, **roles)
    for measure in MEASURES:
        a, b = (assess(t.on(measure, t.area(("g",)))) for t in (exact, summed))
        np.testing.assert_allclose(a.value, b.value, rtol=1e-9)
        np.testing.assert_allclose(a.high - a.low, b.high - b.low, rtol=0.3)


def test_labels_that_do_not_vary_have_no_r2():
    frame = of_numbers(4).with_columns(y=pl.lit(0.1))
    one = counted(frame)
    assert np.isnan(assess(one.on("r2", one.area(("g",)))).value).all()


def test_a_text_among_numbers_is_named():
    frame = of_numbers(5, n=10).with_columns(y=pl.lit("many"))
    with pytest.raises(DataError, match="row 1, column 'y': a missing value is no finite number"):
        counted(frame)
