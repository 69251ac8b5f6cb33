"""Every number of the table counted by hand, and which slices a limit looks at."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest
from answers import candidate, parent

from shipworthy.core.records import Candidate, Limit, Slice, to_frame
from shipworthy.core.records import Measurement as Row
from shipworthy.measure.estimates import Fact, Rate, Unmeasured
from shipworthy.model.predictions import align, load_predictions
from shipworthy.release.ruler import MOST_COMPARED, Ruler, Subject, over, value_unit

BASE = parent(240, wrong=24).with_columns(
    male=pl.int_range(pl.len()) % 3 == 0, year=2020 + pl.int_range(pl.len()) % 2
)
NEW = candidate(BASE, lost=6, gained=2)


def ruler(groups: tuple[str, ...] = ("domain",), **more: Any) -> tuple[Ruler, Subject]:
    unit = more.get("unit")
    loaded = [
        load_predictions(
            frame, label="y", prediction="p", id="i", groups=groups, unit=unit, candidate=k > 0,
            score="s",
        )
        for k, frame in enumerate((BASE, NEW))
    ]  # fmt: skip
    base, new = align(*loaded)
    numbers = {("size_mb", "none"): Fact(np.array([90.0]))}
    first = Subject(Candidate("base", "train", artefact_digest="a"), base, numbers)
    second = Subject(
        Candidate("new", "prune", artefact_digest="b"), new,
        {("size_mb", "none"): Fact(np.array([30.0]))},
    )  # fmt: skip
    more.setdefault("unit", None)
    return Ruler(first, groups=groups, **more), second


@cache
def table() -> pl.DataFrame:
    """What is measured of the candidate without being asked, on all rows and each domain."""
    measured, new = ruler()
    return to_frame(measured.measurements(new), Row)


def rows_by_hand(group: str | None) -> list[tuple[int, int, int]]:
    """(label, parent's answer, candidate's answer) of each row of a group."""
    both = BASE.join(NEW.select("i", new="p"), on="i")
    if group is not None:
        both = both.filter(pl.col("domain") == group)
    return list(both.select("y", "p", "new").iter_rows())


@pytest.mark.parametrize("group", [None, "movie", "tweets"])
def test_values_and_denominators_by_hand(group: str | None) -> None:
    rows = rows_by_hand(group)
    slice_ = "{}" if group is None else f'{{"domain":"{group}"}}'
    found = {
        (row["measure"], row["relative_to"]): (row["value"], row["n"])
        for row in table().filter(slice=slice_).iter_rows(named=True)
    }
    n = len(rows)
    right = sum(y == q for y, _, q in rows)
    lost = sum(y == p != q for y, p, q in rows)
    gained = sum(p != y == q for y, p, q in rows)
    said = [y for y, _, q in rows if q == 1]
    true = [q for y, _, q in rows if y == 1]
    false = [q for y, _, q in rows if y == 0]
    precision, recall = np.mean(said), np.mean(true)
    expected = {
        ("accuracy", "none"): (right / n, n),
        ("accuracy", "parent"): ((gained - lost) / n, n),
        ("turned_wrong", "parent"): (lost / n, n),
        ("turned_right", "parent"): (gained / n, n),
        ("precision", "none"): (precision, len(said)),
        ("recall", "none"): (recall, len(true)),
        ("true_positive_rate", "none"): (recall, len(true)),
        ("false_positive_rate", "none"): (np.mean(false), len(false)),
        ("selection_rate", "none"): (len(said) / n, n),
        ("balanced_accuracy", "none"): ((recall + 1 - np.mean(false)) / 2, n),
    }
    for key, (value, count) in expected.items():
        assert found[key][0] == pytest.approx(value, abs=1e-12), key
        assert found[key][1] == count, key
    assert found["f1", "none"][0] == pytest.approx(
        2 * precision * recall / (precision + recall), abs=1e-12
    )
    assert {"log_loss", "brier_score", "auc", "expected_calibration_error"} <= {m for m, _ in found}


def test_facts_once_and_as_a_ratio_and_the_parent_without_changes() -> None:
    measured, new = ruler(())
    sizes = table().filter(measure="size_mb")
    assert sizes.select("slice", "relative_to", "value", "value_unit", "method").rows() == [
        ("{}", "none", 30.0, "mb", "exact"),
        ("{}", "parent", pytest.approx(1 / 3), "ratio", "exact"),
    ]
    assert set(table()["candidate"]) == {new.candidate.id}
    own = to_frame(measured.measurements(measured.parent), Row)
    assert set(own["relative_to"]) == {"none"}
    assert own.filter(measure="size_mb")["value"].to_list() == [90.0]
    assert table().group_by("measure", "slice", "relative_to").len()["len"].max() == 1


def test_spreads_stand_for_all_groups_of_a_column_and_only_for_a_few() -> None:
    spreads = table().filter(measure="accuracy_difference")
    shares = []
    for group in sorted(set(BASE["domain"])):
        rows = rows_by_hand(group)
        shares.append(np.mean([y == q for y, _, q in rows]))
    assert spreads["slice"].to_list() == ['{"each":"domain"}']
    assert spreads["value"][0] == pytest.approx(max(shares) - min(shares), abs=1e-12)

    assert BASE["author"].n_unique() > MOST_COMPARED
    many, new = ruler(("author",))
    kinds = set(to_frame(many.measurements(new), Row)["measure"])
    assert "accuracy_difference" not in kinds
    asked = Limit("accuracy_difference", "at_most", 0.5)
    kinds = set(to_frame(many.measurements(new, [asked]), Row)["measure"])
    assert "accuracy_difference" in kinds
    assert "equalized_odds_difference" not in kinds


def slices_of(limit: Limit, **more: Any) -> list[str]:
    measured, new = ruler(("domain", "male"), **more)
    return [str(s) for item in measured.evidence(new, [limit]) for s in item.slices]


EACH_DOMAIN = [f"domain={g}" for g in ("movie", "news", "shop", "tweets")]
EACH_MALE = ["male=False", "male=True"]


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        ("all", [""]),
        ({"each": "domain"}, EACH_DOMAIN),
        ("each group", [*EACH_DOMAIN, *EACH_MALE]),
        ("worst group", [*EACH_DOMAIN, *EACH_MALE]),
        ({"domain": "news"}, ["domain=news"]),
        ({"male": True}, ["male=True"]),
        # YAML of other tools writes booleans as text.
        ({"male": "true"}, ["male=True"]),
        ({"domain": "news", "male": False}, ["domain=news, male=False"]),
        ({"each": ("domain", "male")}, [f"{d}, {m}" for d in EACH_DOMAIN for m in EACH_MALE]),
    ],
)
def test_the_slices_of_a_limit(slices: Any, expected: list[str]) -> None:
    assert slices_of(Limit("accuracy", "at_least", 0.5, slices)) == expected


def test_intersections_cross_what_each_group_asks() -> None:
    limit = Limit("accuracy", "at_least", 0.5, "each group")
    crossed = [f"{d}, {m}" for d in EACH_DOMAIN for m in EACH_MALE]
    assert slices_of(limit, intersections=2) == [*EACH_DOMAIN, *EACH_MALE, *crossed]
    measured, new = ruler(("domain", "male"), intersections=2)
    assert [e.intersection for e in measured.evidence(new, [limit])] == [False, False, True]


def test_one_value_takes_its_own_counts_and_an_absent_one_is_no_data() -> None:
    measured, new = ruler(("domain", "year"))
    limits = [
        Limit("accuracy", "at_least", 0.5, {"domain": "shop"}),
        Limit("accuracy", "at_least", 0.5, {"year": 2021}),
        Limit("accuracy", "at_least", 0.5, {"domain": "shops"}),
    ]
    shop, year, nothing = measured.evidence(new, limits)
    assert isinstance(shop.estimate, Rate)
    rows = rows_by_hand("shop")
    assert shop.estimate.trials.tolist() == [len(rows)]
    assert shop.estimate.successes.tolist() == [sum(y == q for y, _, q in rows)]
    assert isinstance(year.estimate, Rate)
    assert year.estimate.trials.tolist() == [120]
    assert isinstance(nothing.estimate, Unmeasured)
    assert nothing.estimate.reason == "no_data"
    assert nothing.slices == (Slice.of({"domain": "shops"}),)


def test_a_bound_that_is_a_measure_and_one_that_was_not_measured() -> None:
    measured, new = ruler()
    known, unknown = measured.evidence(
        new,
        [Limit("size_mb", "at_most", "size_mb"), Limit("size_mb", "at_most", "peak_memory_mb")],
    )
    assert known.bound == 30.0
    assert np.isnan(unknown.bound)


def test_units_are_those_of_the_measure() -> None:
    assert value_unit("latency_p95_ms", "none") == "ms"
    assert value_unit("latency_p95_ms", "parent") == "ratio"
    assert value_unit("accuracy", "parent") == ""
    assert over(("domain", "male")).json == '{"each":"domain × male"}'


def test_rows_without_any_column_are_still_rows() -> None:
    measured, new = ruler(())
    assert measured.rows().m == 1
    assert measured.rows().sums(np.ones(240)).tolist() == [240]
