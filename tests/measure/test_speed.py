import itertools
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from shipworthy.core.errors import DataError, ModelError, StageError
from shipworthy.core.locale import LANGUAGES, has_text, set_language
from shipworthy.measure import speed_worker
from shipworthy.measure.estimates import Unmeasured
from shipworthy.measure.one_sided import one_sided
from shipworthy.measure.settings import SpeedSettings
from shipworthy.measure.shown import assess
from shipworthy.measure.speed import SPEED_MEASURES, measure_speed, speed_estimates
from shipworthy.measure.speed_means import _mean
from shipworthy.measure.speed_records import LOAD_SECONDS, SpeedRecords, WorkFile
from shipworthy.measure.speed_sample import in_random_order, order_statistic, warm_up

HERE = Path(__file__).parent
TEXTS = ["a word", "a few more words"]
SMALL = {"form": "short", "requests": 72, "batches": 1, "batch_size": 2, "threads": 1}


@pytest.fixture(autouse=True)
def _loaders_on_the_path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(HERE))


def folder_of(place: Path, name: str, *, doom: bool = False) -> Path:
    folder = place / name
    folder.mkdir()
    (folder / "slowness").write_text("0.02")
    if doom:
        (folder / "doom").touch()
    return folder


def records_of(values: dict[str, list[float]], form: str = "full", digests=None, settled=True):
    """Records in which every measure of a candidate has these values, one a round."""
    rows = [
        {"candidate": name, "measure": measure, "value": value, "round": k, "position": 0,
         "requests": 400, "dropped": 20, "settled": settled, "form": form, "threads": 2, "seed": 0,
         "artefact_digest": (digests or {}).get(name, name), "device_flags": "a machine"}
        for name, numbers in values.items()
        for k, value in enumerate(numbers)
        for measure in SPEED_MEASURES
    ]  # fmt: skip
    return SpeedRecords.of(rows)


PARENT = [10.0, 10.4, 9.7, 10.1, 11.0, 9.9, 10.2]
OTHER = [12.1, 12.4, 12.0, 11.8, 13.3, 12.2, 12.0]


# The order statistic and warm-up.


@given(st.lists(st.floats(0.0, 1e9), min_size=1, max_size=300), st.sampled_from([1, 50, 95, 99]))
def test_order_statistic_equals_sorting_and_counting(times, percent):
    rank = math.ceil(percent * (len(times) + 1) / 100 - 1e-9)
    assert order_statistic(times, percent) == sorted(times)[min(rank, len(times)) - 1]


@pytest.mark.parametrize(("count", "rank"), [(19, 19), (59, 57), (72, 70), (99, 95), (400, 381)])
def test_rank_of_the_95th_percentile(count, rank):
    assert order_statistic(np.arange(1.0, count + 1)[::-1], 95) == rank


def test_order_statistic_refuses_what_has_no_percentile():
    with pytest.raises(ValueError, match="m >= 1"):
        order_statistic([], 50)
    with pytest.raises(ValueError, match="between 1 and 99"):
        order_statistic([1.0], 100)


def test_warm_up_drops_twenty_where_times_are_level():
    assert warm_up(np.full(100, 7.0)) == 20
    assert warm_up(np.full(69, 7.0)) is None


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(0, 120))
def test_warm_up_is_the_first_level_window(seed, slow):
    times = np.random.default_rng(seed).lognormal(0.0, 0.1, 300)
    times[:slow] *= 1.5
    late = np.median(times[-75:])
    level = [
        start for start in range(20, 251)
        if abs(np.median(times[start : start + 50]) - late) <= 0.05 * late
    ]  # fmt: skip
    assert warm_up(times) == (level[0] if level else None)


def test_warm_up_leaves_too_few_while_times_fall():
    # The late median is that of late windows only, after which hardly a request is left.
    assert 1400 - warm_up(np.exp(-np.arange(1400.0) / 200)) < 400
    assert warm_up(np.repeat([1.0, 9.0], [60, 20])) is None


def test_texts_come_in_random_order_and_all_before_one_comes_again():
    texts = [str(k) for k in range(7)]
    drawn = in_random_order(texts, 24, np.random.default_rng(5))
    for start in (0, 7, 14):
        assert sorted(drawn[start : start + 7]) == texts
    assert len(drawn) == 24 and len({tuple(drawn[k : k + 7]) for k in (0, 7, 14)}) == 3
    assert drawn == in_random_order(texts, 24, np.random.default_rng(5))


# Estimates.


@pytest.mark.parametrize("measure", SPEED_MEASURES)
def test_absolute_estimates_are_t_on_logs(measure):
    records = records_of({"parent": PARENT, "other": OTHER})
    estimate = speed_estimates(records, "other", parent="parent")[measure, "none"]
    logs = np.log(OTHER)
    low, high = stats.t.interval(0.95, 6, logs.mean(), stats.sem(logs))
    shown = assess(estimate)
    assert shown.value[0] == pytest.approx(stats.gmean(OTHER), rel=1e-12)
    assert [shown.low[0], shown.high[0]] == pytest.approx(np.exp([low, high]), rel=1e-9)
    for bound in (11.5, 12.0, 12.5):
        test = one_sided(estimate, bound, "at_most", alpha=0.025)
        expected = stats.ttest_1samp(logs, np.log(bound), alternative="less").pvalue
        assert test.p_pass[0] == pytest.approx(expected, rel=1e-9)
        assert test.reasons == ("",) and "7 fresh processes" in test.method


def test_changes_are_paired_t_of_log_ratios():
    # The parent lacks round 2: that round is no pair.
    records = records_of({"parent": PARENT, "other": OTHER})
    frame = records.frame.filter(
        ~((records.frame["round"] == 2) & (records.frame["candidate"] == "parent"))
    )
    estimate = speed_estimates(SpeedRecords(frame), "other", parent="parent")
    change = estimate["latency_p95_ms", "parent"]
    keep = [k for k in range(7) if k != 2]
    own, base = np.log(OTHER)[keep], np.log(PARENT)[keep]
    expected = stats.ttest_rel(own, base + np.log(1.1), alternative="greater")
    test = one_sided(change, 1.1, "at_most", alpha=0.025)
    assert test.p_fail[0] == pytest.approx(expected.pvalue, rel=1e-9)
    assert change.value[0] == pytest.approx(np.exp((own - base).mean()), rel=1e-12)
    assert "6 rounds" in test.method


@pytest.mark.parametrize("count", [1, 2, 4])
def test_fewer_than_five_processes_cannot_tell(count):
    records = records_of({"parent": PARENT[:count], "other": OTHER[:count]})
    for estimate in speed_estimates(records, "other", parent="parent").values():
        test = one_sided(estimate, 1e6, "at_most", alpha=0.025)
        assert test.reasons == ("too_few_processes",) and np.isnan(test.p_pass).all()
    if count == 1:
        shown = assess(speed_estimates(records, "other", parent="parent")["latency_p50_ms", "none"])
        assert shown.value[0] == pytest.approx(OTHER[0]) and np.isnan(shown.low).all()


def test_the_short_form_decides_absolute_limits_but_no_change():
    found = speed_estimates(
        records_of({"parent": PARENT, "other": OTHER}, form="short"), "other", parent="parent"
    )
    for (_, relative_to), estimate in found.items():
        test = one_sided(estimate, 1e6, "at_most", alpha=0.025)
        assert test.reasons == (("",) if relative_to == "none" else ("too_few_processes",))
        assert "short form" in test.method


def test_the_same_artefact_is_as_fast_as_itself():
    records = records_of(
        {"parent": PARENT, "other": OTHER}, form="short", digests={"parent": "d", "other": "d"}
    )
    change = speed_estimates(records, "other", parent="parent")["latency_p50_ms", "parent"]
    test = one_sided(change, 1.0, "at_most", alpha=0.025)
    assert (test.reasons, test.p_pass[0]) == (("identical",), 0.0)
    shown = assess(change)
    assert (shown.value[0], shown.low[0], shown.high[0]) == (1.0, 1.0, 1.0)


def test_the_parent_has_no_change_and_the_untimed_no_number():
    records = records_of({"parent": PARENT})
    assert {r for _, r in speed_estimates(records, "parent", parent="parent")} == {"none"}
    absent = speed_estimates(records, "other", parent="parent")
    assert set(absent) == set(itertools.product(SPEED_MEASURES, ["none", "parent"]))
    assert all(e == Unmeasured("not_measured") for e in absent.values())


def test_processes_that_never_settled_are_told():
    records = records_of({"parent": PARENT, "other": OTHER}, settled=False)
    found = speed_estimates(records, "other", parent="parent")
    assert found["latency_p50_ms", "none"].method.endswith("7 never settled")


def test_every_measure_has_a_name_and_a_unit_for_people():
    try:
        for language in LANGUAGES:
            set_language(language)
            for name, (unit, better) in SPEED_MEASURES.items():
                assert has_text(f"measure.{name}") and has_text(f"measure.unit.{unit}")
                assert better in ("low", "high")
    finally:
        set_language(None)


# Settings.


def test_the_short_form_fills_its_counts_and_given_ones_stand():
    full, short = SpeedSettings(), SpeedSettings.model_validate({"form": "short"})
    assert (full.processes, full.requests) == (7, 400)
    assert (short.processes, short.requests) == (5, 200)
    assert SpeedSettings(form="short", requests=72).requests == 72
    with pytest.raises(ValueError, match="at least 400 requests; .*form: short"):
        SpeedSettings(requests=399)
    for key, value in {"processes": 4, "requests": 71, "threads": 0}.items():
        with pytest.raises(ValueError, match=key):
            SpeedSettings.model_validate({"form": "short", key: value})


# Processes.


def test_a_killed_process_names_the_candidate_and_finished_rounds_stay(tmp_path):
    folders = {
        "parent": folder_of(tmp_path, "parent"),
        "bad": folder_of(tmp_path, "bad", doom=True),
    }
    arguments = {"seed": 1, "parent": "parent", "loader": "test_speed_planted:doomed"}
    with pytest.raises(StageError, match="timing bad: was ended by signal 9"):
        measure_speed(folders, TEXTS, SpeedSettings(**SMALL), **arguments)


def test_what_is_no_model_is_told(tmp_path):
    folders = {"parent": folder_of(tmp_path, "parent")}
    for loader, said in [
        ("test_speed_planted:speechless", "timing parent: speed: object is no Encodes; it lacks"),
        ("test_speed_planted:nothing", "timing parent: the loader .* cannot be used"),
    ]:
        with pytest.raises(Exception, match=said) as caught:
            measure_speed(
                folders, TEXTS, SpeedSettings(**SMALL), seed=1, parent="parent", loader=loader
            )
        assert caught.value.exit_code == 2


def test_no_texts_and_no_parent_are_refused(tmp_path):
    folders = {"parent": folder_of(tmp_path, "parent")}
    with pytest.raises(DataError, match="no text"):
        measure_speed(folders, [], SpeedSettings(), seed=0, parent="parent")
    with pytest.raises(ValueError, match="'father' is not among"):
        measure_speed(folders, TEXTS, SpeedSettings(), seed=0, parent="father")


INTERRUPTED = """
import sys
from pathlib import Path
from shipworthy.measure.settings import SpeedSettings
from shipworthy.measure.speed import measure_speed
work, folder = Path(sys.argv[1]), Path(sys.argv[2])
settings = SpeedSettings(**SMALL)
measure_speed({"parent": folder}, TEXTS, settings, seed=1, parent="parent", work=work,
              loader="test_speed_planted:sleeper")
"""


def test_a_killed_measurement_goes_on_with_the_next_round(tmp_path, monkeypatch):
    monkeypatch.setenv("SHIPWORTHY_PROGRESS", "off")
    folder, work = folder_of(tmp_path, "parent"), tmp_path / "work" / "speed.jsonl"
    code = INTERRUPTED.replace("SMALL", repr(SMALL)).replace("TEXTS", repr(TEXTS))
    with subprocess.Popen([sys.executable, "-c", code, str(work), str(folder)]) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if work.exists() and work.read_text().count("\n") >= 3:
                break
            time.sleep(0.005)
        process.kill()
    before = work.read_text()
    kept = [json.loads(line) for line in before.split("\n")[1:-1]]
    assert 2 <= len(kept) <= 5
    work.write_text(before + '{"round": 4, "ro')  # as a kill in the middle of a line leaves it

    arguments = {
        "seed": 1,
        "parent": "parent",
        "work": work,
        "loader": "test_speed_planted:sleeper",
    }
    records = measure_speed({"parent": folder}, TEXTS, SpeedSettings(**SMALL), **arguments)
    assert sorted(records.frame["round"].unique()) == [0, 1, 2, 3, 4]
    for one in kept:
        own = records.frame.filter(records.frame["round"] == one["round"])
        assert own["value"].to_list() == [row["value"] for row in one["rows"]]
    assert not work.exists()


def test_a_work_file_of_another_measurement_is_started_anew(tmp_path):
    path = tmp_path / "speed.jsonl"
    first = WorkFile(path, "a")
    first.add(0, [{"value": 1.5}])
    assert WorkFile(path, "a").rounds == {0: [{"value": 1.5}]}
    assert WorkFile(path, "b").rounds == {}
    assert WorkFile(path, "a").rounds == {}


def test_an_interrupt_ends_the_processes(tmp_path, monkeypatch):
    started = []

    def load(worker, *_, **__):
        started.append(worker.pid)
        raise KeyboardInterrupt

    from shipworthy.core.launch import Worker

    monkeypatch.setattr(Worker, "receive", load)
    with pytest.raises(KeyboardInterrupt):
        measure_speed({"parent": folder_of(tmp_path, "parent")}, TEXTS, SpeedSettings(**SMALL),
                      seed=1, parent="parent", loader="test_speed_planted:sleeper")  # fmt: skip
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)


# Records.


def test_a_file_without_records_is_refused(tmp_path):
    path = tmp_path / "speed.parquet"
    with pytest.raises(DataError, match="speed.parquet: cannot be read"):
        SpeedRecords.load(path)
    records_of({"parent": PARENT}).frame.drop("settled").write_parquet(path)
    with pytest.raises(DataError, match="column 'settled': holds no records of speed"):
        SpeedRecords.load(path)


def test_load_seconds_are_recorded_but_no_measure():
    assert LOAD_SECONDS not in SPEED_MEASURES


# The worker's own side, in this process.


def test_the_worker_times_both_parts_of_each_answer(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    folder = folder_of(tmp_path, "parent")
    (folder / "slowness").write_text("2.5")  # 2 ms a row
    assert speed_worker.load(str(folder), 1, "test_speed_planted:sleeper")["seconds"] > 0
    times = speed_worker.answer_each(["ab", "c"])
    assert len(times["encode"]) == 2 and min(times["score"]) >= 2_000_000
    assert speed_worker.answer_together(["ab", "c", "d"])["score"][0] >= 6_000_000
    assert 5 < speed_worker.peak_memory()["mb"] < 1e5
    with pytest.raises(ModelError, match="'json:nothing' cannot be used"):
        speed_worker.load(str(folder), 1, "json:nothing")


# Coverage.


def test_the_upper_end_holds_where_processes_differ_and_pooled_requests_do_not():
    """Processes differ by 5 %, requests by 25 %: the pooled end holds in .90, ours in .975."""
    rng = np.random.default_rng(20)
    count, processes, requests, spread = 600, 7, 400, 0.25
    luck = rng.normal(0.0, 0.05, (count, processes, 1))
    logs = luck + rng.normal(0.0, spread, (count, processes, requests))
    truth = spread * stats.norm.ppf(0.95)

    pooled = np.sort(logs.reshape(count, -1), axis=1)
    rank = int(stats.binom.ppf(0.975, processes * requests, 0.95))
    assert 0.85 < (pooled[:, rank] > truth).mean() < 0.945

    held = 0
    for one in logs:
        times = [order_statistic(np.exp(process), 95) for process in one]
        estimate = _mean(np.log(times), "t on logs")
        held += assess(estimate).high[0] > np.exp(truth)
    assert 0.955 < held / count < 0.993
