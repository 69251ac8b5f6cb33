"""`audit`: one call, one document; limits with three answers; what is refused, and how."""

import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import shipworthy as sw
from shipworthy.core.errors import DataError, InputError, SettingsError
from shipworthy.core.locale import set_language
from shipworthy.core.records import Outcome
from shipworthy.measure import tally
from shipworthy.release.audit_page import render_page
from shipworthy.release.audit_terminal import render


def table(seed: int = 0, n: int = 3000, gap: float = 0.3) -> pl.DataFrame:
    """Answers that choose group a more often by `gap`, the same for both sexes."""
    rng = np.random.default_rng(seed)
    race, sex = rng.choice(["a", "b", "c"], n), rng.choice(["male", "female"], n)
    y = (rng.random(n) < 0.4).astype(int)
    s = np.clip(0.3 * y + gap * (race == "a") + 0.6 * rng.random(n), 0, 1).round(4)
    return pl.DataFrame({
        "race": race, "sex": sex, "y": y, "p": (s > 0.5).astype(int), "s": s,
        "u": rng.integers(0, 400, n), "w": rng.uniform(0.5, 2, n), "x": rng.normal(size=n),
        "d": rng.choice(["k", "l"], n),
    })  # fmt: skip


COLUMNS = {"label": "y", "prediction": "p", "groups": ["sex", "race"]}
FAIR = {"measure": "statistical_parity_difference", "slice": {"each": "sex"}, "at_most": 0.1}
UNFAIR = {"measure": "statistical_parity_difference", "slice": {"each": "race"}, "at_most": 0.1}
CLOSE = {"measure": "statistical_parity_difference", "slice": {"each": "sex"}, "at_most": 0.03}


def test_the_document_has_the_names_that_others_build_on():
    found = sw.audit(table(), **COLUMNS, score="s", intersections=2).to_dict()
    json.dumps(found, allow_nan=False)
    assert found["rows"] == 3000
    first = found["groups"][0]
    assert first["group"] == {"sex": "female"} and first["n"] > 1000
    for measure in (
        "selection_rate", "true_positive_rate", "false_positive_rate", "false_negative_rate",
        "positive_predictive_value", "accuracy", "auc",
    ):  # fmt: skip
        assert first[measure]["low"] <= first[measure]["value"] <= first[measure]["high"]
    spd = found["measures"][0]
    assert spd["name"] == "statistical_parity_difference" and spd["attribute"] == "sex"
    assert sorted(spd["between"]) == ["female", "male"]
    assert spd["low"] <= spd["value"] <= spd["high"]
    assert {m["attribute"] for m in found["measures"]} == {"sex", "race", "race × sex"}
    assert len(found["groups"]) == 2 + 3 + 6
    assert "verdict" not in found and found["exit_code"] == 0 and "ll144" not in found


def test_frames_have_a_row_for_each_slice_and_each_comparison():
    found = sw.audit(table(), **COLUMNS, score="s", intersections=2)
    groups, measures = found.groups, found.measures
    assert groups.height == 11 and groups["n"].sum() == 3 * 3000
    row = groups.filter(pl.col("group.race") == "a", pl.col("group.sex").is_null())
    part = table().filter(pl.col("race") == "a")
    assert row["selection_rate"][0] == pytest.approx(part["p"].mean())
    assert row["selection_rate_low"][0] < row["selection_rate"][0] < row["selection_rate_high"][0]
    assert measures.height == 3 * 13
    assert {"name", "attribute", "value", "low", "high", "between"} <= set(measures.columns)


@pytest.mark.parametrize(
    ("limits", "verdict", "code"),
    [
        ([FAIR], Outcome.PASS, 0), ([FAIR, UNFAIR], Outcome.FAIL, 3),
        ([FAIR, CLOSE], Outcome.CANNOT_TELL, 4),
        ([{"measure": "accuracy", "at_least": 0.6}], Outcome.PASS, 0),
        ([{"measure": "precision", "slice": "each group", "at_least": 0.99}], Outcome.FAIL, 3),
        ([{"measure": "auc", "slice": {"race": "a"}, "at_least": 0.55}], Outcome.PASS, 0),
        ([{"measure": "true_positive_rate", "slice": {"race": "zz"}, "at_least": 0.1}],
         Outcome.CANNOT_TELL, 4),
        ([{"measure": "predictive_parity_difference", "at_most": 0.9}], Outcome.PASS, 0),
    ],
)  # fmt: skip
def test_a_limit_has_three_answers(limits, verdict, code):
    found = sw.audit(table(), **COLUMNS, score="s", policy=limits)
    assert (found.verdict, found.exit_code) == (verdict, code)
    told = found.to_dict()
    assert told["verdict"] == verdict.value and told["exit_code"] == code
    assert {d["decision"] for d in told["limits"]} <= {"pass", "fail", "cannot_tell"}
    open_ones = [d for d in found.decisions if d.reason == "across_bound"]
    assert all(d.n_needed and d.n_needed > d.n for d in open_ones)


def test_limits_say_what_the_judge_says():
    """The same rows judged against themselves: the same decisions on the same limits."""
    frame = table()
    limits = [FAIR, UNFAIR, CLOSE, {"measure": "accuracy", "slice": {"each": "race"},
                                    "at_least": 0.7}]  # fmt: skip
    audited = sw.audit(frame, **COLUMNS, unit="u", policy=limits).decisions
    judged = sw.judge(frame, frame, {"limits": limits, "selftest": {"skip": ["broken", "biased"]}},
                      **COLUMNS, unit="u").decisions  # fmt: skip
    for one, other in zip(audited, judged, strict=True):
        assert (one.decision, one.reason) == (other.decision, other.reason)
        assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))
        assert one.p_fail_adjusted == pytest.approx(other.p_fail_adjusted)


def test_a_reference_turns_gaps_into_reference_minus_group():
    frame = table()
    found = sw.audit(frame, **COLUMNS, reference={"race": "b"}).measures
    spd = found.filter(pl.col("name") == "statistical_parity_difference")
    rates = dict(frame.group_by("race").agg(pl.col("p").mean()).iter_rows())
    by_pair = {tuple(b): v for b, v in zip(spd["between"], spd["value"], strict=True)}
    assert by_pair["b", "a"] == pytest.approx(rates["b"] - rates["a"])
    assert by_pair["b", "c"] == pytest.approx(rates["b"] - rates["c"])
    ratio = found.filter(pl.col("name") == "disparate_impact_ratio", pl.col("attribute") == "race")
    assert ratio["value"][0] == pytest.approx(rates["a"] / rates["b"])
    assert found.filter(pl.col("attribute") == "sex")["value"][0] >= 0


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_a_file_says_what_its_frame_says(tmp_path: Path, kind):
    frame = table(n=800)
    path = tmp_path / f"t.{kind}"
    {"csv": frame.write_csv, "parquet": frame.write_parquet, "jsonl": frame.write_ndjson}[kind](
        path
    )
    more = {"score": "s", "weight": "w", "unit": "u", "condition": "d"}
    one, other = (sw.audit(source, **COLUMNS, **more) for source in (frame, path))
    a, b = one.to_dict(), other.to_dict()
    assert a["measures"] == b["measures"] and a["groups"] == b["groups"]


def test_long_files_are_counted_in_parts(tmp_path: Path, monkeypatch):
    frame = table(n=3000)
    frame.write_parquet(tmp_path / "t.parquet", row_group_size=500)
    whole = sw.audit(tmp_path / "t.parquet", **COLUMNS, score="s")
    monkeypatch.setattr(tally, "EXACT_ROWS", 1000)
    parts = sw.audit(tmp_path / "t.parquet", **COLUMNS, score="s")
    assert any(n.key == "audit.note.binned" for n in parts.notes)
    shares = whole.measures.filter(pl.col("name") != "auc_difference")
    theirs = parts.measures.filter(pl.col("name") != "auc_difference")
    assert shares["value"].to_list() == pytest.approx(theirs["value"].to_list())
    a, b = (m.filter(pl.col("name") == "auc_difference")["value"].to_list()
            for m in (whole.measures, parts.measures))  # fmt: skip
    assert a == pytest.approx(b, abs=2e-4)


def test_other_sources():
    frame = table(n=500)
    one = sw.audit(frame, **COLUMNS).to_dict()
    assert sw.audit(frame.lazy(), **COLUMNS).to_dict() == one
    columns = {name: frame[name].to_list() for name in ("y", "p", "sex", "race")}
    assert sw.audit(columns, **COLUMNS).to_dict() == one
    with pytest.raises(InputError, match="cannot audit a int"):
        sw.audit(5, **COLUMNS)


def test_several_classes_are_each_looked_at():
    rng = np.random.default_rng(0)
    y = rng.choice(["cat", "dog", "eel"], 900)
    p = np.where(rng.random(900) < 0.7, y, rng.choice(["cat", "dog", "eel"], 900))
    frame = pl.DataFrame({"g": rng.choice(["a", "b"], 900), "y": y, "p": p})
    found = sw.audit(frame, label="y", prediction="p", groups=["g"])
    assert found.groups["class"].unique().sort().to_list() == ["cat", "dog", "eel"]
    named = sw.audit(frame, label="y", prediction="p", groups=["g"], positive="dog")
    dog = found.groups.filter(pl.col("class") == "dog")["true_positive_rate"]
    assert named.groups["true_positive_rate"].to_list() == dog.to_list()
    limits = [{"measure": "balanced_accuracy", "at_least": 0.5},
              {"measure": "equal_opportunity_difference", "at_most": 0.5}]  # fmt: skip
    limited = sw.audit(frame, label="y", prediction="p", groups=["g"], policy=limits)
    assert [str(d.decision) for d in limited.decisions] == ["pass", "cannot_tell"]
    assert limited.decisions[1].reason == "no_positive_class"
    two = frame.with_columns(y=pl.col("y") == "dog", p=pl.col("p") == "dog")
    alone = sw.audit(two, label="y", prediction="p", groups=["g"])
    assert alone.groups["false_positive_rate"].to_list() == pytest.approx(
        named.groups["false_positive_rate"].to_list()
    )


def test_without_labels_selection_is_compared():
    found = sw.audit(table(), prediction="p", groups=["race"])
    assert set(found.measures["name"]) == {
        "statistical_parity_difference",
        "disparate_impact_ratio",
    }
    assert any(n.key == "audit.note.no_label" for n in found.notes)
    limits = [{"measure": "equal_opportunity_difference", "at_most": 0.1}]
    limited = sw.audit(table(), prediction="p", groups=["race"], policy=limits)
    assert [d.reason for d in limited.decisions] == ["not_measured"] and limited.exit_code == 4


def test_conditional_disparity_and_consistency_are_there_where_asked_for():
    frame = table()
    plain = sw.audit(frame, **COLUMNS).to_dict()
    assert "conditional_demographic_disparity" not in plain["groups"][0]
    found = sw.audit(frame, **COLUMNS, condition="d", features=["x", "s"]).to_dict()
    assert {"value", "low", "high"} <= set(found["groups"][0]["conditional_demographic_disparity"])
    assert 0 < found["overall"][0]["consistency"]["value"] <= 1


def test_numbers_and_rankings():
    frame = table()
    found = sw.audit(frame, label="y", prediction="s", groups=["race"], task="regression", unit="u")
    part = frame.filter(pl.col("race") == "a")
    row = found.groups.filter(pl.col("group.race") == "a")
    assert row["mean_error"][0] == pytest.approx((part["s"] - part["y"]).mean())
    assert "mean_absolute_error_difference" in found.measures["name"].to_list()
    best = sw.audit(frame, label="y", score="s", groups=["race"], task="ranking", first=[100])
    assert best.groups["share_of_top_100"].sum() == pytest.approx(1.0)
    places = frame.with_columns(r=pl.col("s").rank("ordinal", descending=True))
    by_rank = sw.audit(places, rank="r", groups=["race"], task="ranking", first=[100])
    assert by_rank.groups["exposure"].to_list() == pytest.approx(
        best.groups["exposure"].to_list(), abs=2e-4
    )
    assert by_rank.groups["skew_at_100"][0] > 0 > by_rank.groups["skew_at_100"][1]


def test_the_most_frequent_values_are_compared_and_the_rest_told():
    rng = np.random.default_rng(0)
    names = np.array([f"v{k}" for k in range(10_000)])
    group = np.concatenate([np.repeat(["big", "huge"], [500, 900]), names])
    frame = pl.DataFrame({"g": group, "y": rng.integers(0, 2, 11_400),
                          "p": rng.integers(0, 2, 11_400)})  # fmt: skip
    with pytest.raises(DataError, match=r"column 'g': at least 10,?002 values.*--top 50"):
        sw.audit(frame, label="y", prediction="p", groups=["g"])
    found = sw.audit(frame, label="y", prediction="p", groups=["g"], top=2)
    assert found.groups["group.g"].to_list() == ["big", "huge"]
    assert found.rows == 11_400
    (note,) = [n for n in found.notes if n.key == "audit.note.left_out"]
    assert note.arguments == {"column": "g", "rows": "10,000"}


def test_small_groups_are_drawn_towards_the_others_beside_their_raw_share():
    frame = pl.concat([table(), pl.DataFrame(table()[:8]).with_columns(race=pl.lit("rare"))])
    found = sw.audit(frame, **COLUMNS)
    rare = next(r for r in found.slices if dict(r.slice.conditions).get("race") == "rare")
    number = rare.number("selection_rate")
    others = [r.number("selection_rate").value for r in found.slices if r.columns == ("race",)]
    assert min(others) <= number.shrunk <= max(others) and number.shrunk != number.value
    assert "shrunk" in render_page(found)


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({}, {"groups": []}, "no group column is named"),
        ({}, {"groups": ["rase"]}, "column 'rase'.*did you mean 'race'"),
        ({}, {"prediction": None}, "--prediction"),
        ({}, {"task": "regresion"}, "did you mean 'regression'"),
        ({}, {"confidence": 1.0}, "confidence is 1.0"),
        ({}, {"reference": {"race": "A"}}, "no row has the reference 'A'"),
        ({}, {"reference": {"age": "A"}}, "which is no group column"),
        ({}, {"prediction": "s"}, "is a number with decimals.*--task regression"),
        ({}, {"positive": "2"}, "positive"),
        ({"y": pl.lit("n"), "p": pl.lit("n")}, {}, "1 classes, and a score or a verdict"),
        ({"y": pl.lit("n"), "p": pl.lit("m")}, {}, "2 classes, and none is called 1"),
        ({"y": pl.lit(None)}, {}, "row 1, column 'y': the label is missing"),
        ({"x": pl.lit(None)}, {"features": ["x"]}, "column 'x': a missing value is no number"),
        ({}, {"task": "ranking"}, "either --score or --rank"),
        ({}, {"task": "ranking", "rank": "s", "prediction": None}, "is no place from 1 on"),
        ({}, {"policy": [{"measure": "accuracy", "relative_to": "parent", "at_least": 0}]},
         "looks at one model alone"),
        ({}, {"policy": [{"measure": "size_mb", "at_most": 3}]}, "not measured by an audit"),
        ({}, {"policy": [{"measure": "accuracy", "slice": {"each": "age"}, "at_least": 0}]},
         "--group"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_clear_line(change, options, said):
    frame = table(n=100).with_columns(**change)
    with pytest.raises((InputError, SettingsError), match=said) as caught:
        sw.audit(frame, **COLUMNS | options)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


def test_an_empty_table_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="there are no rows"):
        sw.audit(table(n=10)[:0], **COLUMNS)
    (tmp_path / "e.csv").write_text("", "utf-8")
    with pytest.raises(DataError, match=r"e\.csv"):
        sw.audit(tmp_path / "e.csv", **COLUMNS)
    (tmp_path / "h.csv").write_text("y,p,sex,race\n", "utf-8")
    with pytest.raises(DataError, match="there are no rows"):
        sw.audit(tmp_path / "h.csv", **COLUMNS)
    (tmp_path / "b.csv").write_text("y,p,sex,race\n1,1,m\n", "utf-8")
    with pytest.raises(DataError, match=r"b\.csv, row 1"):
        sw.audit(tmp_path / "b.csv", **COLUMNS)
    (tmp_path / "x.parquet").write_bytes(b"no parquet at all")
    with pytest.raises(DataError, match=r"x\.parquet"):
        sw.audit(tmp_path / "x.parquet", **COLUMNS)


@pytest.mark.parametrize("column", ["p", "race"])
def test_constant_answers_and_missing_groups_give_no_data_and_no_error(column):
    value = 0 if column == "p" else None
    found = sw.audit(table(n=300).with_columns(pl.lit(value).alias(column)), **COLUMNS,
                     policy=[UNFAIR])  # fmt: skip
    if column == "p":
        ppv = [r.number("positive_predictive_value").value for r in found.slices]
        assert all(map(math.isnan, ppv))
    else:
        assert {"(missing)"} == set(found.groups["group.race"].drop_nulls())
        assert [d.reason for d in found.decisions] == ["no_data"]
        assert found.verdict is Outcome.CANNOT_TELL


def test_classes_of_one_side_only_are_told():
    frame = table(n=300).with_columns(p=pl.when(pl.int_range(pl.len()) < 2).then(7).otherwise("p"))
    found = sw.audit(frame, **COLUMNS, positive="1")
    (note,) = [n for n in found.notes if n.key == "audit.note.only_prediction"]
    assert note.arguments == {"names": "7"}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_page_and_terminal_escape_names_and_hold_every_task(language):
    frame = table().with_columns(race=pl.col("race").replace("c", "<script>alert(1)</script>"))
    set_language(language)
    try:
        for found in (
            sw.audit(frame, **COLUMNS, score="s", policy=[FAIR, UNFAIR, CLOSE], intersections=2),
            sw.audit(frame, label="y", prediction="s", groups=["race"], task="regression"),
            sw.audit(frame, label="y", score="s", groups=["race"], task="ranking"),
        ):
            page = render_page(found)
            assert "<script" not in page and "&lt;script&gt;" in page
            assert "<script" not in found._repr_html_()
            assert page.count("<svg") > 3 and "http" not in page.replace("http-equiv", "")
            for cells in (80, 120):
                said = render(found, width=cells, color=False, unicode=True)
                assert "None" not in said and "nan" not in said
    finally:
        set_language(None)


def test_a_page_has_one_size_whatever_the_rows():
    sizes = [len(render_page(sw.audit(table(n=n), **COLUMNS, score="s"))) for n in (1000, 40_000)]
    assert sizes[1] < 1.1 * sizes[0]
