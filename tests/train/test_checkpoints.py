"""A checkpoint is whole or absent, and any layout reads it."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shipworthy.core.errors import StageError
from shipworthy.train.checkpoints import STATE, Box, Checkpoints


def saved(
    folder: Path, parts: list[dict[str, tuple[torch.Tensor, Box]]], *, step: int = 1, keep: int = 1
) -> None:
    """Save as a group does, a thread for each process."""
    group = [
        Checkpoints(
            folder, "same", interval_seconds=0, keep_last=keep, rank=k, processes=len(parts)
        )
        for k in range(len(parts))
    ]

    def one(k: int) -> None:
        group[k].save(parts[k], {"step": step}, step=step)
        group[k].wait()

    threads = [threading.Thread(target=one, args=(k,)) for k in range(len(parts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def cut(whole: torch.Tensor, rows: int, columns: int) -> list[dict[str, tuple[torch.Tensor, Box]]]:
    """A matrix over a grid of processes, unevenly where it does not divide."""
    shape = tuple(whole.shape)
    found = []
    for r in np.array_split(np.arange(shape[0]), rows):
        for c in np.array_split(np.arange(shape[1]), columns):
            part = whole[r[0] : r[-1] + 1, c[0] : c[-1] + 1] if len(r) and len(c) else whole[:0, :0]
            start = (int(r[0]), int(c[0])) if len(r) and len(c) else (0, 0)
            found.append({"model/w": (part, Box(shape, start))})
    return found


@settings(max_examples=25, deadline=None)
@given(
    st.integers(3, 9), st.integers(3, 9), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3),
    st.integers(1, 3),
)  # fmt: skip
def test_any_cut_is_read_as_any_other(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, r: int, c: int, r2: int,
    c2: int,
) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("cut")
    whole = torch.randn(height, width)
    saved(folder, cut(whole, r, c))
    reader = Checkpoints(folder, "same", interval_seconds=0).load()
    assert reader is not None and reader.position == {"step": 1}
    with reader:
        for other in cut(whole, r2, c2):
            part, box = other["model/w"]
            assert torch.equal(reader.get("model/w", tuple(part.shape), box), part)
        assert reader.names("model") == ["w"]


def whole_of(value: float) -> list[dict[str, tuple[torch.Tensor, Box]]]:
    tensor = torch.full((4, 4), value)
    return [{"model/w": (tensor, Box.whole(tensor))}]


def test_the_last_ones_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 9, 10, 11):
        saved(tmp_path, whole_of(step), step=step, keep=2)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["step-10", "step-11"]
    kept = Checkpoints(tmp_path, "same", interval_seconds=0)
    reader = kept.load()
    assert reader is not None and reader.position == {"step": 11}
    assert Checkpoints(tmp_path, "other", interval_seconds=0).load() is None
    kept.remove()
    assert not tmp_path.exists()


@pytest.mark.parametrize("damage", ["tensors", "state", "no state"])
def test_a_damaged_one_is_passed_over(damage: str, tmp_path: Path) -> None:
    for step in (1, 2):
        saved(tmp_path, whole_of(step), step=step, keep=2)
    newest = tmp_path / "step-2"
    if damage == "tensors":
        file = newest / "process-0.safetensors"
        file.write_bytes(file.read_bytes()[:40])
    elif damage == "state":
        (newest / STATE).write_text("{")
    else:
        (newest / STATE).unlink()
    reader = Checkpoints(tmp_path, "same", interval_seconds=0).load()
    assert reader is not None and reader.position == {"step": 1}


def test_pickled_files_are_no_checkpoints(tmp_path: Path) -> None:
    """A folder as others write it holds pickles, which can run code: it is not even opened."""
    folder = tmp_path / "step-5"
    folder.mkdir()
    torch.save({"w": torch.zeros(2)}, folder / "process-0.safetensors")
    (folder / STATE).write_text(
        '{"fingerprint": "same", "position": {}, "files": ["process-0.safetensors"]}'
    )
    assert Checkpoints(tmp_path, "same", interval_seconds=0).load() is None


def test_what_was_being_written_is_swept(tmp_path: Path) -> None:
    (tmp_path / "step-3.part").mkdir(parents=True)
    (tmp_path / "step-3.part" / "process-0.writing").write_bytes(b"half")
    kept = Checkpoints(tmp_path, "same", interval_seconds=0)
    assert kept.load() is None
    kept.sweep()
    assert not list(tmp_path.iterdir())


def test_another_models_weights_are_named(tmp_path: Path) -> None:
    saved(tmp_path, whole_of(1))
    reader = Checkpoints(tmp_path, "same", interval_seconds=0).load()
    assert reader is not None
    with reader, pytest.raises(StageError, match=r"w is 4×4, the model's is 4×8: .*another model"):
        reader.get("model/w", (4, 8), Box((4, 8), (0, 0)))


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    whole = torch.randn(4, 4)
    saved(tmp_path, cut(whole, 2, 1)[:1])
    reader = Checkpoints(tmp_path, "same", interval_seconds=0).load()
    assert reader is not None
    with reader, pytest.raises(StageError, match="a part of model/w is missing"):
        reader.get("model/w", (4, 4), Box((4, 4), (0, 0)))


def test_what_went_wrong_behind_the_steps_is_raised(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, "same", interval_seconds=0)
    (tmp_path / "step-1.part").write_text("a file where a folder should be")
    kept.save(whole_of(1)[0], {}, step=1)
    with pytest.raises(OSError, match=r"step-1\.part"):
        kept.wait()
