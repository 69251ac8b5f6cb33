"""On GPUs the same training is done as on a processor, and over NCCL the same as on one GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from layout_job import Case, run_cases
from test_invariance import compare, layouts

pytestmark = pytest.mark.gpu
# A GPU adds in another order, and its exponentials differ in the last bits.
LOSS = 1e-3


@pytest.mark.parametrize("family", ["bert", "llama", "qwen3"])
def test_one_gpu_and_the_processor(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_cases([Case("one", family)], tmp_path, 1)
    with monkeypatch.context() as hidden:
        hidden.setenv("CUDA_VISIBLE_DEVICES", "")
        run_cases([Case("processor", family)], tmp_path, 1)
    gpu, processor = np.load(tmp_path / "one.npz"), np.load(tmp_path / "processor.npz")
    assert np.array_equal(gpu["orders"], processor["orders"])
    assert np.array_equal(gpu["rates"], processor["rates"])
    np.testing.assert_allclose(gpu["losses"], processor["losses"], rtol=0, atol=LOSS)


def test_products_in_bf16_learn_as_in_fp32(tmp_path: Path) -> None:
    run_cases([Case("wide", "llama"), Case("half", "llama", precision="bf16")], tmp_path, 1)
    wide, half = np.load(tmp_path / "wide.npz"), np.load(tmp_path / "half.npz")
    assert not np.array_equal(half["losses"], wide["losses"])
    np.testing.assert_allclose(half["losses"], wide["losses"], rtol=0, atol=0.05)


@pytest.mark.parametrize("processes", [2, 4])
@pytest.mark.parametrize("family", ["bert", "llama"])
def test_every_layout_over_nccl(processes: int, family: str, tmp_path: Path) -> None:
    if torch.cuda.device_count() < processes:
        pytest.skip(f"{processes} GPUs are needed, {torch.cuda.device_count()} are here")
    run_cases([Case("one", family)], tmp_path, 1)
    cases = layouts(family, 0.1)[processes]
    run_cases(cases, tmp_path, processes)
    for case in cases:
        compare(tmp_path, case.name)
