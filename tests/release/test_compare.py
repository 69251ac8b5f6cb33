"""Two runs beside each other: rows paired, changes tested, differences said."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from answers import answers, candidate, parent
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

import shipworthy as sw
from shipworthy.core.records import Outcome
from shipworthy.measure.decide import holm
from shipworthy.release.answers_table import ANSWERS, read_answers_table
from shipworthy.release.compare import Comparison, Moved, compare_runs
from shipworthy.release.compare_change import apart
from shipworthy.release.compare_page import lines, markdown, to_json
from shipworthy.release.compare_rows import shared_rows
from shipworthy.release.judgement import Judgement
from shipworthy.release.load import Run, load_run
from shipworthy.release.record import write_record

BASE = parent(1200)
POLICY: list[Any] = [
    {"measure": "accuracy", "at_least": 0.8},
    {
        "measure": "accuracy",
        "slice": {"each": "domain"},
        "relative_to": "parent",
        "at_least": -0.05,
    },
    {"measure": "log_loss", "at_most": 1.0},
    {"measure": "accuracy_difference", "at_most": 0.3},
]
COLUMNS: dict[str, Any] = dict(
    label="y", prediction="p", score="s", id="i", groups=["domain"], unit="author"
)


def judged(
    *frames: pl.DataFrame, base: pl.DataFrame = BASE, policy: Any = POLICY, **more: Any
) -> Judgement:
    return sw.judge(base, list(frames), policy=policy, **{**COLUMNS, **more})


@cache
def lost(rows: int) -> Judgement:
    """A judgement that several tests look at."""
    return judged(candidate(BASE, lost=rows))


def kept(judgement: Judgement, folder: Path) -> Run:
    write_record(judgement, folder)
    return load_run(folder)


def compared(tmp_path: Path, one: Judgement, other: Judgement, **more: Any) -> Comparison:
    return compare_runs(kept(one, tmp_path / "one"), kept(other, tmp_path / "other"), **more)


def keys(found: Comparison) -> list[str]:
    return [p.key.removeprefix("compare.differs.") for p in found.differences]


def move(found: Comparison, measure: str, slice: str = "{}", relative: str = "none") -> Moved:
    (one,) = [
        m
        for m in found.moves
        if (m.measure, m.slice, m.relative_to) == (measure, slice, relative)
        and m.pair.by != "parent"
    ]
    return one


# -- the table of answers --------------------------------------------------------------------------


def test_the_table_holds_who_answered_what_and_no_text(tmp_path: Path) -> None:
    other = candidate(BASE, lost=20, gained=9)
    found = judged(other.reverse(), id="i")
    folder = kept(found, tmp_path).folder
    table = read_answers_table(folder)
    assert table is not None
    assert (table.named_by, table.classes, table.positive) == ("id", ("0", "1"), "1")
    frame = table.frame
    assert frame["row"].str.len_chars().unique().to_list() == [16]
    assert frame["row"].n_unique() == BASE.height
    assert frame["label"].cast(pl.String).to_list() == [str(y) for y in BASE["y"]]
    assert frame["group:domain"].to_list() == BASE["domain"].to_list()
    assert frame["unit"].n_unique() == BASE["author"].n_unique()
    mine = found.candidates[0].id
    # In the parent's order, whatever the order of the candidate's file.
    assert frame[f"prediction:{mine}"].cast(pl.String).to_list() == [str(p) for p in other["p"]]
    assert frame[f"score:{mine}:1"].to_list() == other["s"].to_list()
    raw = (folder / ANSWERS).read_bytes()
    assert b"r1199" not in raw


def test_rows_pair_by_name_and_equal_names_as_often_as_both_have_them(tmp_path: Path) -> None:
    first = kept(judged(candidate(BASE, lost=3)), tmp_path / "a").folder
    table = read_answers_table(first)
    assert table is not None
    # A text may stand twice: here 100 rows are once more in one table, and 7 labels differ.
    again = replace(table, frame=pl.concat([table.frame[:100], table.frame]))
    both = shared_rows(again, table)
    assert (len(both), both.rows_before, both.relabelled) == (1200, 1300, 0)
    assert both.after.tolist() == list(range(1200))
    names = table.frame["row"].to_numpy()
    assert (again.frame["row"].to_numpy()[both.before] == names).all()
    turned = table.frame["label"].to_physical().to_numpy().astype(int)
    turned[:7] = 1 - turned[:7]
    labels = pl.Series(turned.astype(str)).cast(pl.Enum(["0", "1"]))
    relabelled = replace(table, frame=table.frame.with_columns(label=labels))
    both = shared_rows(table, relabelled)
    assert (len(both), both.relabelled, both.regrouped) == (1193, 7, 0)


# -- nothing moved, something moved ----------------------------------------------------------------


@settings(max_examples=4, deadline=None)
@given(lost=st.integers(0, 60), gained=st.integers(0, 60), everything=st.booleans())
def test_a_run_beside_itself_moves_nothing(
    tmp_path_factory: pytest.TempPathFactory, lost: int, gained: int, everything: bool
) -> None:
    run = kept(judged(candidate(BASE, lost=lost, gained=gained)), tmp_path_factory.mktemp("itself"))
    found = compare_runs(run, run, everything=everything)
    assert found.moves
    assert (found.moved, found.sides, found.differences) == ((), (), ())
    assert {(m.change.value, m.change.low, m.change.high) for m in found.moves} == {(0, 0, 0)}
    assert {m.change.kind for m in found.moves} <= {"identical", "exact"}
    assert [p.by for p in found.pairs] == ["parent", "artefact"]


def test_a_planted_shift_moves_where_it_was_planted(tmp_path: Path) -> None:
    before = judged(candidate(BASE, lost=5, gained=5))
    after = judged(candidate(BASE, lost=60, within="movie", seed=3))
    found = compared(tmp_path, before, after)
    moved = {(m.measure, m.slice): m.better for m in found.moved}
    assert set(moved.values()) == {False}
    assert {("accuracy", "{}"), ("accuracy", '{"domain":"movie"}')} <= moved.keys()
    assert not any(group in slice for _, slice in moved for group in ("news", "shop", "tweets"))
    assert found.pairs[1].by == "name"
    side = next(s for s in found.sides if s.slice == '{"domain":"movie"}')
    assert side.turned and side.before is not None and side.after is not None
    assert (side.before.decision, side.after.decision) == (Outcome.PASS, Outcome.FAIL)
    # The same the other way round, with every sign turned.
    back = compare_runs(found.after, found.before)
    assert {m.better for m in back.moved} == {True}
    for one, other in zip(found.moves, back.moves, strict=True):
        assert one.change.value == pytest.approx(-other.change.value, abs=1e-12)
        assert one.change.low == pytest.approx(-other.change.high, abs=1e-9)
        assert one.change.p == pytest.approx(other.change.p, abs=1e-9)


def test_a_change_without_units_is_that_of_the_flips_counted_by_hand(tmp_path: Path) -> None:
    one, other = candidate(BASE, lost=12, gained=4), candidate(BASE, lost=25, gained=30, seed=9)
    found = compared(tmp_path, judged(one, unit=None), judged(other, unit=None))
    pairs = list(zip(answers(one), answers(other), strict=True))
    for group in ("movie", "news", "shop", "tweets"):
        of = [(a, b) for a, b in pairs if a[3] == group]
        lost = sum(a[1] == a[2] and b[1] != b[2] for a, b in of)
        gained = sum(a[1] != a[2] and b[1] == b[2] for a, b in of)
        change = move(found, "accuracy", json.dumps({"domain": group}, separators=(",", ":")),
                      "parent").change  # fmt: skip
        assert change.value == pytest.approx((gained - lost) / len(of), abs=1e-12)
        assert (change.low, change.high) == pytest.approx(
            tango_by_search(lost, gained, len(of)), abs=1e-6
        )
    assert found.rows_shared == BASE.height


def tango_by_search(lost: int, gained: int, n: int) -> tuple[float, float]:
    """Tango's interval from a numeric maximum of the multinomial likelihood."""

    def z(delta: float) -> float:
        def minus_log_likelihood(down: float) -> float:
            up = down + delta
            rest = 1 - up - down
            terms = [(gained, up), (lost, down), (n - lost - gained, rest)]
            return -sum(c * math.log(max(p, 1e-300)) for c, p in terms if c)

        least, most = max(0.0, -delta), (1 - delta) / 2
        down = optimize.minimize_scalar(
            minus_log_likelihood, bounds=(least, most), method="bounded",
            options={"xatol": 1e-12},
        ).x  # fmt: skip
        return (gained - lost - n * delta) / math.sqrt(n * (2 * down + delta - delta**2))

    wanted = stats.norm.isf(0.025)
    estimate = (gained - lost) / n
    low = optimize.brentq(lambda d: z(d) - wanted, -0.5, estimate - 1e-9, xtol=1e-9)
    high = optimize.brentq(lambda d: z(d) + wanted, estimate + 1e-9, 0.5, xtol=1e-9)
    return float(low), float(high)


def test_p_is_corrected_over_all_that_is_compared(tmp_path: Path) -> None:
    found = compared(tmp_path, lost(9), judged(candidate(BASE, lost=30)))
    plain = [m.change.p for m in found.moves]
    assert [m.p_adjusted for m in found.moves] == pytest.approx(holm(plain).tolist(), nan_ok=True)
    assert found.family == sum(not math.isnan(p) for p in plain) == 7
    assert found.alpha == 0.05


def test_everything_compares_more_and_so_corrects_more(tmp_path: Path) -> None:
    runs = [lost(9), judged(candidate(BASE, lost=60, seed=4))]
    few = compared(tmp_path, *runs)
    all_of_it = compare_runs(few.before, few.after, everything=True)
    assert all_of_it.family > 3 * few.family
    assert {"turned_wrong", "f1", "auc"} <= {m.measure for m in all_of_it.moves}
    of = {m.measure: m.change for m in all_of_it.moves if m.slice == "{}"}
    assert of["turned_wrong"].value == pytest.approx((60 - 9) / 1200)
    assert of["f1"].kind == of["auc"].kind == "paired"
    stored = [
        run.judgement.measurements.filter(
            pl.col("candidate") == run.judgement.candidates[0].id, measure="auc", slice="{}",
            relative_to="none",
        )["value"].item()
        for run in (few.before, few.after)
    ]  # fmt: skip
    assert of["auc"].value == pytest.approx(stored[1] - stored[0], abs=1e-12)
    assert (of["auc"].before, of["auc"].after) == tuple(stored)


# -- runs that differ in more than a candidate -----------------------------------------------------


def test_against_another_parent_a_change_is_that_of_both(tmp_path: Path) -> None:
    worse = candidate(BASE, lost=40, seed=7)
    one, other = candidate(BASE, lost=10), candidate(BASE, lost=50, seed=8)
    found = compared(tmp_path, judged(one), judged(other, base=worse))
    assert "parent" in keys(found)
    assert [m.measure for m in found.moves if m.pair.by == "parent" and m.moved] == ["accuracy"]

    def right(frame: pl.DataFrame) -> np.ndarray:
        return (frame["y"] == frame["p"]).to_numpy().astype(float)

    here = (BASE["domain"] == "shop").to_numpy()
    gain = (right(other) - right(worse)) - (right(one) - right(BASE))
    change = move(found, "accuracy", '{"domain":"shop"}', "parent").change
    assert change.kind == "paired"
    assert change.value == pytest.approx(gain[here].mean(), abs=1e-12)
    # The rule is a t over units, widened where few rows carry it: never narrower than the plain t.
    sums = pl.DataFrame({"u": BASE["author"].filter(here), "g": gain[here]})
    per_unit = sums.group_by("u").agg(pl.col("g").sum(), n=pl.len())
    rest = per_unit["g"].to_numpy() - change.value * per_unit["n"].to_numpy()
    units, n = len(rest), here.sum()
    plain = math.sqrt(units / (units - 1) * (rest**2).sum()) / n * stats.t.isf(0.025, units - 1)
    assert plain <= (change.high - change.low) / 2 < 1.5 * plain


@pytest.mark.parametrize(("rows", "kind", "said"), [(700, "paired", "data_some"),
                                                    (300, "independent", "data_few"),
                                                    (0, "independent", "data_none")])  # fmt: skip
def test_rows_in_common_are_counted_and_said(
    tmp_path: Path, rows: int, kind: str, said: str
) -> None:
    pool = parent(2400)
    start = 1200 - rows
    first, second = pool[:1200], pool[start : start + 1200]
    found = compared(
        tmp_path,
        judged(candidate(first, lost=9), base=first, unit=None),
        judged(candidate(second, lost=20), base=second, unit=None),
    )
    assert keys(found)[0] == said
    assert (found.rows_before, found.rows_after, found.rows_shared) == (1200, 1200, rows)
    told = "\n".join(lines(found, width=200))
    assert f"{rows or 'none'} in common" in told
    change = move(found, "accuracy").change
    assert change.kind == kind
    # On rows in common alone, before and after are those of these rows.
    assert change.after - change.before == pytest.approx(change.value, abs=1e-12)
    assert change.n == (rows if kind == "paired" else 2400)


def test_a_run_without_answers_by_row_is_compared_as_independent(tmp_path: Path) -> None:
    one, other = lost(9), judged(candidate(BASE, lost=12))
    runs = kept(one, tmp_path / "one"), kept(other, tmp_path / "other")
    paired = move(compare_runs(*runs), "accuracy").change
    (runs[0].folder / ANSWERS).unlink()
    found = compare_runs(*runs)
    assert keys(found) == ["no_answers"]
    assert (found.rows_shared, found.rows_before) == (None, None)
    change = move(found, "accuracy").change
    assert change.kind == "independent"
    assert change.high - change.low > 2 * (paired.high - paired.low)


def test_policy_device_versions_and_opening_are_said(tmp_path: Path) -> None:
    one = lost(9)
    stricter = [{"measure": "accuracy", "at_least": 0.85, "tier": "critical"}, *POLICY[1:]]
    other = judged(candidate(BASE, lost=9), policy=stricter)
    flagged = other.measurements.with_columns(device_flags=pl.lit("avx2"))
    other = replace(
        other, versions={**other.versions, "numpy": "1.0"}, measurements=flagged, opening=2
    )
    found = compared(tmp_path, one, other)
    assert keys(found) == ["policy", "opening", "device", "versions"]
    told = markdown(found)
    assert "Gone: Accuracy ≥ 80 %. New: Accuracy ≥ 85 % (critical)" in told
    assert "numpy" in told and "1.0" in told and "avx2" in told
    # The bound moved although the number did not: it is listed.
    assert [(s.measure, s.turned) for s in found.sides] == [("accuracy", False)]
    older = kept(replace(one, versions={}), tmp_path / "older")
    assert keys(compare_runs(older, found.before)) == ["no_versions"]


def test_candidates_join_by_bytes_then_name_then_as_the_only_ones(tmp_path: Path) -> None:
    frames = [candidate(BASE, lost=k, seed=k) for k in (3, 5, 8)]
    for name, frame in zip(("a", "b", "c"), frames, strict=True):
        frame.write_parquet(tmp_path / f"{name}.parquet")
    frames[0].write_csv(tmp_path / "a-moved.csv")
    frames[2].write_parquet(tmp_path / "d.parquet")
    candidate(BASE, lost=6, seed=4).write_parquet(tmp_path / "new.parquet")
    (tmp_path / "two").mkdir()
    candidate(BASE, lost=7, seed=6).write_parquet(tmp_path / "two" / "b.parquet")

    def of(*names: str) -> Judgement:
        files = [tmp_path / n for n in names]
        return sw.judge(BASE, files, POLICY[:1], label="y", prediction="p", id="i")

    found = compared(tmp_path, of("a.parquet", "b.parquet", "c.parquet"),
                     of("two/b.parquet", "new.parquet", "d.parquet"))  # fmt: skip
    joined = [(p.before.name, p.after.name, p.by) for p in found.pairs[1:]]
    assert joined == [("b", "b", "name"), ("a", "new", "only"), ("c", "d", "artefact")]
    less = compared(tmp_path, of("a.parquet", "b.parquet"), of("c.parquet"))
    assert [len(x) for x in (less.pairs, less.only_before, less.only_after)] == [1, 2, 1]
    told = "\n".join(lines(less, width=100))
    assert "Only in the earlier run: a, b." in told
    assert "Only in the later run: c." in told


# -- independent numbers ---------------------------------------------------------------------------


def row(value: float, low: float, high: float, **more: Any) -> dict[str, Any]:
    told = {"measure": "accuracy", "n": 0, "n_units": 0, "confidence": 0.95}
    return {**told, "value": value, "low": low, "high": high, **more}


def test_the_difference_of_independent_shares_is_newcombes() -> None:
    # Newcombe 1998, method 10: 56 of 70 against 48 of 80 gives 0.2 [0.0524, 0.3339].
    def wilson(x: int, n: int) -> dict[str, Any]:
        low, high = stats.binomtest(x, n).proportion_ci(method="wilson")
        return row(x / n, low, high, n=n, n_units=n)

    change = apart(wilson(48, 80), wilson(56, 70), confidence=0.95)
    assert (round(change.value, 4), round(change.low, 4), round(change.high, 4)) == (
        0.2, 0.0524, 0.3339,
    )  # fmt: skip
    assert change.p < 0.05
    at_its_end = apart(wilson(48, 80), wilson(56, 70), confidence=1 - change.p)
    assert at_its_end.low == pytest.approx(0.0, abs=1e-9)


def test_a_timing_is_a_ratio_and_few_processes_ask_for_more() -> None:
    slow = row(10.0, 9.5, 10.0**2 / 9.5, measure="latency_p95_ms")
    fast = row(9.0, 8.6, 9.0**2 / 8.6, measure="latency_p95_ms")
    change = apart(slow, fast, confidence=0.95)
    assert change.is_ratio and change.value == pytest.approx(0.9)
    error = math.hypot(math.log(10 / 9.5), math.log(9 / 8.6)) / stats.t.isf(0.025, 4)
    assert change.p == pytest.approx(2 * stats.t.sf(-math.log(0.9) / error, 4), rel=1e-9)
    assert change.low < 0.9 < change.high < 1.0 or change.p > 0.05
    size = apart(row(90.0, 90.0, 90.0, measure="size_mb"),
                 row(45.0, 45.0, 45.0, measure="size_mb"), confidence=0.95)  # fmt: skip
    assert (size.kind, size.value, math.isnan(size.p)) == ("exact", -45.0, True)


# -- how it is shown -------------------------------------------------------------------------------


def test_the_document_holds_numbers_and_null_for_what_is_not_known(tmp_path: Path) -> None:
    found = compared(tmp_path, lost(5), judged(candidate(BASE, lost=60)))
    document = json.loads(json.dumps(to_json(found), allow_nan=False))
    assert document["rows"] == {"before": 1200, "after": 1200, "shared": 1200}
    assert document["moved"] == len(found.moved) > 0
    first = document["measurements"][0]
    assert (first["measure"], first["slice"], first["kind"]) == ("accuracy", {}, "paired")
    assert first["change"]["value"] == pytest.approx(-55 / 1200)
    assert document["candidates"][0]["verdict_before"] is None
    assert document["candidates"][1]["joined_by"] == "name"
    assert document["after"]["versions"]["shipworthy"]


def test_lines_keep_to_the_width_and_names_move_no_cursor(tmp_path: Path) -> None:
    hostile = BASE.with_columns(domain=pl.lit("\x1b[31m|<b>@all"))
    name = "<img src=x onerror=alert(1)> @team \x1b[2J"
    found = compared(tmp_path, lost(5), judged(candidate(BASE, lost=9), base=hostile, name=name))
    assert "groups" in keys(found)
    for width in (60, 100, 160):
        told = lines(found, width=width)
        assert "\x1b" not in "".join(told)
        assert max(len(line) for line in told) <= max(width, 90)
    page = markdown(found)
    assert re.findall(r"(?<!\\)[<>|]img|@\w", page) == []
