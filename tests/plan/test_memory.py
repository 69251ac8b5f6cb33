"""What is predicted of memory grows as it should, and is near what a real step takes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipworthy.plan.calibrate import calibration
from shipworthy.plan.memory import Factors, memory_of
from shipworthy.plan.workload import Workload

MINILM = Workload(6, 384, 12, 12, 1536, 30522, 512, False, True, 2)


def test_fixed_bytes_are_four_copies_of_the_weights() -> None:
    found = memory_of(MINILM, factors=Factors(0.0, 1.0, 1.0, 0.0))
    assert found.fixed == pytest.approx(16 * MINILM.parameters)
    halved = memory_of(MINILM, shard=2, factors=Factors(0.0, 1.0, 1.0, 0.0))
    assert halved.fixed == pytest.approx(found.fixed / 2)


@given(st.floats(1e8, 1e11), st.sampled_from(["fp32", "bf16"]))
def test_the_most_tokens_fit_and_one_more_does_not(available: float, precision: str) -> None:
    found = memory_of(MINILM, precision=precision)  # type: ignore[arg-type]
    most = found.most_tokens(available)
    room = available / (1 + found.error)
    assert most == 0 or found.total(most) <= room
    assert found.total(most + 1) > room


def test_more_is_never_less() -> None:
    base = memory_of(MINILM)
    for changed in (
        memory_of(replace(MINILM, layers=12)),
        memory_of(MINILM, precision="bf16"),
        memory_of(MINILM, attention_dropout=True),
        memory_of(replace(MINILM, language_model=True, outputs=30522)),
    ):
        assert changed.total(2048) > base.total(2048)
    assert memory_of(MINILM, pipeline=2).total(2048) < base.total(2048)
    assert memory_of(MINILM, tensor=2).total(2048) < base.total(2048)


@pytest.mark.slow
def test_a_real_step_takes_what_was_predicted(tmp_path: Path) -> None:
    """A model of another size than those of the calibration, within the error that is stated."""
    known = calibration(memory=True, path=tmp_path / "calibration.json")
    assert known is not None and known.factors is not None
    assert calibration(memory=True, path=tmp_path / "calibration.json") == known
    assert known.peak_flops["fp32"] > 1e9
    script = """
import json, sys
from shipworthy.plan.calibrate import step_bytes
print(json.dumps(step_bytes([6, 192, 6, 768, 12000], int(sys.argv[1]))))
"""
    for tokens in (2048, 8192):
        done = subprocess.run(
            [sys.executable, "-c", script, str(tokens)], capture_output=True, text=True, check=True
        )
        work = Workload(6, 192, 6, 6, 768, 12000, 0, False, True, 2)
        said = memory_of(work, factors=known.factors)
        assert said.total(tokens) == pytest.approx(
            json.loads(done.stdout)["peak"], rel=known.factors.error
        )
