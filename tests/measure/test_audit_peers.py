"""fairlearn and AIF360 on random tables: the same definitions; skipped without `make peers`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shipworthy.core.records import Slice
from shipworthy.measure.audited_gaps import gaps
from shipworthy.measure.consistency import inconsistencies
from shipworthy.measure.shown import assess

sys.path.insert(0, str(Path(__file__).parent))

from audit_tables import tallied

PEERS = Path(os.environ.get("SHIPWORTHY_PEERS", Path(__file__).resolve().parents[2] / ".peers"))

FAIRLEARN = """
import json, sys, pandas as pd
from fairlearn.metrics import (demographic_parity_difference as a, demographic_parity_ratio as b,
    equal_opportunity_difference as c, equalized_odds_difference as d)
t = pd.read_csv(sys.argv[1])
print(json.dumps([float(f(t.y, t.p, sensitive_features=t.g)) for f in (a, b, c, d)]))
"""
AIF360 = """
import json, logging, sys, warnings
warnings.filterwarnings("ignore"); logging.disable(logging.CRITICAL)
import pandas as pd
from aif360.datasets import BinaryLabelDataset
from aif360.metrics import BinaryLabelDatasetMetric, ClassificationMetric
t = pd.read_csv(sys.argv[1]); t = t[t.g != "z"]; t["g"] = (t.g == "x").astype(float)
def data(name, more=()):
    frame = t[["g", *more, name]].rename(columns={name: "label"})
    return BinaryLabelDataset(df=frame, label_names=["label"], protected_attribute_names=["g"],
                              favorable_label=1, unfavorable_label=0)
sides = {"unprivileged_groups": [{"g": 0.0}], "privileged_groups": [{"g": 1.0}]}
m = ClassificationMetric(data("y"), data("p"), **sides)
names = ("statistical_parity_difference", "disparate_impact", "equal_opportunity_difference",
         "average_odds_difference", "false_positive_rate_difference", "error_rate_difference",
         "theil_index", "generalized_entropy_index")
print(json.dumps({n: float(getattr(m, n)()) for n in names}))
"""
OURS = {
    "statistical_parity_difference": ("statistical_parity_difference", -1),
    "equal_opportunity_difference": ("equal_opportunity_difference", -1),
    "average_odds_difference": ("average_odds_difference", -1),
    "false_positive_rate_difference": ("false_positive_rate_difference", -1),
    # Of errors, so that the sign turns once more.
    "error_rate_difference": ("accuracy_difference", 1),
}


def peer(name: str, code: str, table: Path) -> object:
    python = PEERS / name / "bin/python"
    if not python.is_file():
        pytest.skip(f"{name} is not set up: make peers")
    command = [str(python), "-c", code, str(table)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def table(seed: int, path: Path) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    n = 500
    frame = pl.DataFrame({"g": rng.choice(["x", "y", "z"], n), "y": rng.integers(0, 2, n),
                          "p": rng.integers(0, 2, n)})  # fmt: skip
    frame.write_csv(path)
    return frame


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_gaps_are_those_of_fairlearn(tmp_path: Path, seed: int) -> None:
    frame = table(seed, tmp_path / "t.csv")
    theirs = peer("fairlearn", FAIRLEARN, tmp_path / "t.csv")
    made = {g.measure: g.value for g in gaps(tallied(frame), ("g",), confidence=0.95)}
    names = ("statistical_parity_difference", "disparate_impact_ratio",
             "equal_opportunity_difference", "equalized_odds_difference")  # fmt: skip
    assert [made[n] for n in names] == pytest.approx(theirs, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_measures_against_a_reference_are_those_of_aif360(tmp_path: Path, seed: int) -> None:
    frame = table(seed, tmp_path / "t.csv").filter(pl.col("g") != "z")
    theirs = peer("aif360", AIF360, tmp_path / "t.csv")
    assert isinstance(theirs, dict)
    answers = tallied(frame)
    reference = Slice.of({"g": "x"})
    made = {g.measure: g.value for g in gaps(answers, ("g",), confidence=0.95, reference=reference)}
    for name, (ours, sign) in OURS.items():
        assert made[ours] == pytest.approx(sign * theirs[name], abs=1e-12), name
    assert made["disparate_impact_ratio"] == pytest.approx(theirs["disparate_impact"], abs=1e-12)
    for name in ("theil_index", "generalized_entropy_index"):
        value = assess(answers.estimate(name, ())).value[0]
        assert value == pytest.approx(theirs[name], abs=1e-12), name


@pytest.mark.slow
def test_neighbours_are_those_of_scikit_learn() -> None:
    from sklearn.neighbors import NearestNeighbors

    rng = np.random.default_rng(0)
    x, answers = rng.normal(size=(300, 4)), rng.integers(0, 2, 300).astype(float)
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)
    near = NearestNeighbors(n_neighbors=5).fit(scaled).kneighbors(return_distance=False, X=scaled)
    theirs = np.abs(answers - answers[near].mean(axis=1))
    np.testing.assert_allclose(inconsistencies(x, answers), theirs)
