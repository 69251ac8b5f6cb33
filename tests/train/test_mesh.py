"""A layout that a model cannot take is refused with the nearest one that works."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipworthy.core.errors import SettingsError
from shipworthy.train import mesh
from shipworthy.train.settings import ParallelSettings

BERT = {
    "model_type": "bert", "num_hidden_layers": 6, "num_attention_heads": 12,
    "intermediate_size": 1536, "hidden_size": 384,
}  # fmt: skip
LLAMA = {**BERT, "model_type": "llama", "num_key_value_heads": 3}


@pytest.mark.parametrize(
    ("layout", "config", "said"),
    [
        ({"pipeline": 7}, BERT, r"6 layers do not fill 7 stages.*pipeline: 6"),
        ({"tensor": 5}, BERT, r"12 attention heads cannot be cut over 5.*tensor: 4"),
        ({"tensor": 4}, LLAMA, r"3 key-value heads cannot be cut over 4.*tensor: 3"),
        ({"data": 3}, BERT, r"the 64 rows of a step cannot be dealt evenly to 3.*data: 2"),
        ({"pipeline": 2, "tensor": 2}, BERT, r"a pipeline goes together with data only"),
    ],
)
def test_refused_with_the_nearest(
    layout: dict[str, int], config: dict[str, Any], said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        mesh.check_layout(ParallelSettings(**layout), config, 64)


@given(
    st.fixed_dictionaries({axis: st.integers(1, 4) for axis in mesh.AXES}),
    st.sampled_from([BERT, LLAMA]),
    st.integers(1, 96),
)
def test_the_nearest_works(layout: dict[str, int], config: dict[str, Any], rows: int) -> None:
    asked = ParallelSettings(**layout)
    try:
        mesh.check_layout(asked, config, rows)
    except SettingsError as error:
        told = str(error).partition("{")[2].partition("}")[0]
        near = {k.strip(): int(v) for k, v in (pair.split(":") for pair in told.split(","))}
        found = ParallelSettings(**near)
        assert found.processes <= asked.processes
        mesh.check_layout(found, config, rows)


def test_auto_is_one_process_without_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert mesh.resolve("auto").processes == 1
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert mesh.resolve("auto").data == 4
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert mesh.resolve("auto").data == 3


def test_a_group_of_another_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "3")
    with (
        pytest.raises(SettingsError, match=r"takes 2 processes, and 3 were started.*torchrun"),
        mesh.group(ParallelSettings(data=2)),
    ):
        pass


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh, "compute_device", lambda: "cuda")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    mesh.check_devices(2)
    with pytest.raises(SettingsError, match="3 processes .* GPUs here: 2") as got:
        mesh.check_devices(3)
    assert got.value.key == "train.parallel" and "CUDA_VISIBLE_DEVICES" in str(got.value)


def test_a_process_that_finds_no_other_ends_to_be_started_anew() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    alone = {
        **os.environ, "RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "0",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), mesh.HANDED: "1",
        "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip
    script = """
from shipworthy.train import mesh
from shipworthy.train.settings import ParallelSettings
mesh.JOIN_SECONDS = 2.0
with mesh.group(ParallelSettings(data=2)):
    pass
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], env=alone, capture_output=True, text=True, timeout=100
    )
    assert ended.returncode == 1
    assert "did not find one another in 2 s" in ended.stderr
