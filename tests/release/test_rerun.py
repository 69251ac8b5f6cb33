"""Numbers of a finished run made again, from files of predictions and from models."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from answers import candidate, parent

import shipworthy as sw
from shipworthy.core.errors import InputError
from shipworthy.core.records import measurement_id
from shipworthy.release.load import Run, load_run
from shipworthy.release.pipeline import Finished
from shipworthy.release.record import MEASUREMENTS, write_record
from shipworthy.release.rerun import Again, recorded_numbers, rerun
from shipworthy.release.rerun_page import lines, listing, to_json

POLICY: list[Any] = [
    {"measure": "accuracy", "at_least": 0.8},
    {"measure": "accuracy", "slice": {"each": "domain"}, "at_least": 0.7},
]


@pytest.fixture
def judged(tmp_path: Path) -> Run:
    base = parent(400)
    base.write_csv(tmp_path / "base.csv")
    candidate(base, lost=9, gained=4).reverse().write_parquet(tmp_path / "new.parquet")
    found = sw.judge(
        tmp_path / "base.csv", tmp_path / "new.parquet", POLICY, label="y", prediction="p",
        score="s", id="i", groups=["domain"], unit="author",
    )  # fmt: skip
    write_record(found, tmp_path / "run")
    return load_run(tmp_path / "run")


def planted(run: Run, change: pl.Expr) -> Run:
    """The same run with something else in its table."""
    path = run.folder / MEASUREMENTS
    pl.read_parquet(path).with_columns(change).write_parquet(path)
    return load_run(run.folder)


def statuses(results: tuple[Again, ...]) -> set[str]:
    return {r.status for r in results}


# -- files of predictions --------------------------------------------------------------------------


def test_every_number_of_a_judgement_comes_out_equal(judged: Run) -> None:
    found = rerun(judged)
    assert len(found.results) == judged.measurements.height > 150
    assert statuses(found.results) == {"equal"}
    assert found.exit_code == 0
    assert {r.difference for r in found.results if r.difference == r.difference} == {0.0}
    (said,) = lines(found, width=100)
    assert said == f"  {len(found.results)} equal, 0 different, 0 cannot be made again."


def test_an_id_names_one_number_and_the_decision_about_it(judged: Run) -> None:
    numbers = recorded_numbers(judged)
    ids = [n.id for n in numbers]
    assert len(set(ids)) == len(ids)
    assert all(len(i) == 12 and int(i, 16) >= 0 for i in ids)
    d = judged.judgement.decisions[0]
    of = measurement_id(d.run, d.candidate, d.measure, d.slice, d.relative_to)
    (again,) = rerun(judged, [of, of]).results
    assert (again.recorded.row["measure"], again.recorded.row["slice"]) == ("accuracy", "{}")
    assert again.value == d.value
    told = listing(judged, numbers, width=120)
    assert sum(of in line for line in told) == 1
    with pytest.raises(InputError, match="holds no such number"):
        rerun(judged, ["0" * 12])


def test_a_number_that_was_changed_is_found(judged: Run) -> None:
    whole = (pl.col("measure") == "accuracy") & (pl.col("slice") == "{}")
    odd = planted(
        judged, pl.when(whole).then(pl.col("value") + 1e-5).otherwise("value").alias("value")
    )
    found = rerun(odd)
    different = [r for r in found.results if r.status == "different"]
    assert {r.recorded.row["measure"] for r in different} == {"accuracy"}
    assert len(different) == 3  # the parent's, the candidate's, and the change
    assert different[0].difference == pytest.approx(-1e-5)
    assert found.exit_code == 3
    assert "differs by -1e-05" in "\n".join(lines(found, width=120))
    # Rounding is no difference, another n is.
    tiny = planted(odd, pl.when(whole).then(pl.col("value") - 1e-5 + 1e-9).otherwise("value")
                   .alias("value"))  # fmt: skip
    assert rerun(tiny).exit_code == 0
    fewer = planted(tiny, pl.when(whole).then(pl.col("n") - 1).otherwise("n").alias("n"))
    assert rerun(fewer).exit_code == 3


def test_a_file_that_is_gone_or_changed_is_named(judged: Run, tmp_path: Path) -> None:
    mine = [n.id for n in recorded_numbers(judged) if n.candidate != judged.judgement.parent]
    frame = pl.read_parquet(tmp_path / "new.parquet")
    frame.with_columns(p=pl.when(pl.int_range(pl.len()) == 0).then(1 - pl.col("p"))
                       .otherwise("p")).write_parquet(tmp_path / "new.parquet")  # fmt: skip
    found = rerun(judged)
    assert found.exit_code == 2
    by_id = {r.recorded.id: r for r in found.results}
    assert {by_id[i].status for i in mine} == {"impossible"}
    assert {r.status for i, r in by_id.items() if i not in mine} == {"equal"}
    assert "new.parquet is not what was measured: its digest was" in by_id[mine[0]].why
    (tmp_path / "new.parquet").unlink()
    assert f"{tmp_path / 'new.parquet'} is not there" in rerun(judged, mine[:1]).results[0].why
    # All of it elsewhere, as another person would have it: the root is given.
    frame.write_parquet(tmp_path / "new.parquet")
    moved = replace(judged.judgement, sources={**judged.judgement.sources,
                                               "files": ["base.csv", "new.parquet"]})  # fmt: skip
    shutil.move(tmp_path / "base.csv", tmp_path / "run" / "base.csv")
    shutil.move(tmp_path / "new.parquet", tmp_path / "run" / "new.parquet")
    elsewhere = Run(judged.folder, moved)
    assert rerun(elsewhere, mine[:1], root=judged.folder).exit_code == 0
    assert rerun(elsewhere, mine[:1], root=tmp_path).exit_code == 2


def test_frames_from_memory_cannot_be_read_again(tmp_path: Path) -> None:
    base = parent(200)
    found = sw.judge(base, candidate(base, lost=3), POLICY[:1], label="y", prediction="p", id="i")
    write_record(found, tmp_path)
    again = rerun(load_run(tmp_path))
    assert statuses(again.results) == {"impossible"}
    assert "came from memory" in again.results[0].why
    document = to_json(again)
    assert (document["exit_code"], document["equal"]) == (2, 0)
    assert document["measurements"][0]["now"] == {"value": None, "low": None, "high": None}


# -- models ----------------------------------------------------------------------------------------


@pytest.fixture
def made(toy: Path, finished: Finished) -> Run:
    """A run of a small project, in a copy of its own; its cache is gone."""
    assert finished.folder is not None
    shutil.rmtree(toy / ".shipworthy")
    return load_run(toy / "runs" / finished.folder.name)


def test_models_in_the_run_answer_the_rows_again(made: Run) -> None:
    found = rerun(made)
    assert statuses(found.results) == {"equal"}
    measures = {r.recorded.row["measure"] for r in found.results}
    assert {"accuracy", "log_loss", "size_mb", "turned_wrong"} <= measures
    assert not any(r.recorded.is_timing for r in found.results)
    assert found.exit_code == 0


@pytest.mark.slow
def test_a_timing_is_measured_again_and_inside_its_interval_or_not(made: Run) -> None:
    parent_id = made.judgement.parent.id
    table = made.measurements

    def interval(measure: str, value: float, low: float, high: float) -> pl.DataFrame:
        one = (pl.col("measure") == measure) & (pl.col("candidate") == parent_id)
        told = {"value": value, "low": low, "high": high}
        return table.with_columns(
            pl.when(one).then(pl.lit(v)).otherwise(name).alias(name) for name, v in told.items()
        )

    # One that nothing leaves, and one that no machine reaches.
    table = interval("latency_p50_ms", 1.0, 1e-9, 1e9)
    table = interval("latency_p95_ms", 1e-6, 0.9e-6, 1.1e-6)
    odd = Run(made.folder, replace(made.judgement, measurements=table))
    wanted = [n.id for n in recorded_numbers(odd) if n.candidate.id == parent_id
              and n.row["measure"] in ("latency_p50_ms", "latency_p95_ms")]  # fmt: skip
    found = rerun(odd, wanted)
    assert [(r.status, r.inside) for r in found.results] == [("equal", True), ("different", False)]
    assert all(r.low < r.value < r.high for r in found.results)
    told = "\n".join(lines(found, width=200))
    assert "timed again: inside the interval" in told
    assert "timed again: outside the interval, by more than chance" in told
    assert found.exit_code == 3


def test_weights_or_rows_that_changed_are_named(made: Run, toy: Path) -> None:
    mine, base = made.candidates[0], made.judgement.parent
    weights = made.folder / mine.folder / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.unlink()
    weights.write_bytes(raw)
    of = {r.recorded.candidate.id: r for r in rerun(made).results}
    assert of[mine.id].status == "impossible"
    assert str(made.folder / mine.folder) in of[mine.id].why
    assert of[base.id].status == "equal"
    # Every label turned: nothing of the run can be made again.
    frame = pl.read_csv(toy / "rows.csv")
    turned = pl.Series("label", [{"yes": "no", "no": "yes"}[v] for v in frame["label"]])
    frame.with_columns(turned).write_csv(toy / "rows.csv")
    whole = rerun(made)
    assert statuses(whole.results) == {"impossible"}
    assert "the rows are not those that were measured" in whole.results[0].why
    (toy / "rows.csv").unlink()
    assert "rows.csv" in rerun(made).results[0].why
    (made.folder / "project.yaml").unlink()
    assert "project.yaml is not there" in rerun(made).results[0].why
