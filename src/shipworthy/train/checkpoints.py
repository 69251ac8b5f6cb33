"""Where a training run stands, on disk: whole or absent, and readable under any layout.

A checkpoint is a folder `step-N`. Each process writes the parts of tensors that it holds as
safetensors, with their place in the whole tensor beside them; nothing is pickled. The first process
gives the folder its name when all parts are there. Tensors are copied within the step and written
behind it. A process of another layout reads just the parts that overlap its own.

It is only ever used for the run that wrote it: another fingerprint (settings, rows, starting
weights, libraries) means another run, which starts at its beginning.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import torch

from shipworthy.core.errors import StageError
from shipworthy.core.files import sync_folder, write_atomically
from shipworthy.core.locale import text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from torch import Tensor

STATE = "state.json"
_PREFIX, _PART = "step-", ".part"
# A checkpoint waits at least this many times as long as the last one took to write.
_LEAST_WAIT_PER_WRITE = 20.0
# How long the first process waits for the parts of the others.
_PATIENCE_SECONDS = 600.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Box:
    """Which part of a whole tensor is held: the shape of the whole, and where the part begins."""

    shape: tuple[int, ...]
    start: tuple[int, ...]

    @classmethod
    def whole(cls, tensor: Tensor) -> Box:
        """Return the box of a tensor that is held as a whole."""
        return cls(tuple(tensor.shape), (0,) * tensor.ndim)


class Checkpoints:
    """The checkpoints of one run in its work folder.

    folder: made where it is absent; nobody but the processes of the run may write to it meanwhile.
    fingerprint: identity of the run. interval_seconds: time between two checkpoints; longer where
    writing is slow. keep_last: how many are kept. rank, processes: of this process in its group.
    """

    def __init__(
        self,
        folder: Path,
        fingerprint: str,
        *,
        interval_seconds: float,
        keep_last: int = 1,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.folder, self.fingerprint = folder, fingerprint
        self.interval_seconds, self.keep_last = interval_seconds, keep_last
        self.rank, self.processes = rank, processes
        folder.mkdir(parents=True, exist_ok=True)
        self._last = monotonic()
        self._took = 0.0
        self._writer: threading.Thread | None = None
        self._failed: BaseException | None = None

    @property
    def due(self) -> bool:
        """Whether it is time for the next one; the first process decides for all."""
        if self._writer is not None and self._writer.is_alive():
            return False
        wait = max(self.interval_seconds, _LEAST_WAIT_PER_WRITE * self._took)
        return monotonic() - self._last >= wait

    def sweep(self) -> None:
        """Remove what was left by processes that were killed while they wrote."""
        if self.rank == 0:
            for left in self.folder.glob(f"{_PREFIX}*{_PART}"):
                shutil.rmtree(left, ignore_errors=True)

    def save(
        self, tensors: Mapping[str, tuple[Tensor, Box]], position: dict[str, Any], *, step: int
    ) -> None:
        """Write a checkpoint behind the next steps; every process of the group calls it.

        tensors: what this process writes, with its place in the whole. position: where the run
        stands, as JSON values. Raises what went wrong with the one before.
        """
        self.wait()
        copies = {name: value.detach().cpu().clone() for name, (value, _) in tensors.items()}
        boxes = {name: [list(box.shape), list(box.start)] for name, (_, box) in tensors.items()}
        started = monotonic()

        def write() -> None:
            try:
                self._write(copies, boxes, position, step)
            except BaseException as error:  # noqa: BLE001 - raised by the next call
                self._failed = error
            self._last = monotonic()
            self._took = self._last - started

        self._writer = threading.Thread(target=write, name="checkpoint", daemon=True)
        self._writer.start()

    def wait(self) -> None:
        """Wait until the checkpoint that is being written lies on disk; raise what went wrong."""
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        if self._failed is not None:
            failed, self._failed = self._failed, None
            raise failed

    def load(self) -> Reader | None:
        """Open the newest checkpoint of this run; None where there is none."""
        for folder in self._kept():
            found = Reader.open(folder)
            if found is not None and found.fingerprint == self.fingerprint:
                return found
        return None

    def remove(self) -> None:
        """Delete the checkpoints of a run that has ended."""
        self.wait()
        if self.rank:
            return
        for folder in self._kept():
            shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # others' files lie in it
            self.folder.rmdir()

    def _kept(self) -> list[Path]:
        """Whole checkpoints, the newest first."""
        found = [
            folder
            for folder in self.folder.glob(f"{_PREFIX}*")
            if folder.name.removeprefix(_PREFIX).isdigit()
        ]
        return sorted(found, key=lambda folder: -int(folder.name.removeprefix(_PREFIX)))

    def _write(
        self,
        tensors: dict[str, Tensor],
        boxes: dict[str, list[list[int]]],
        position: dict[str, Any],
        step: int,
    ) -> None:
        from safetensors.torch import save_file

        part = self.folder / f"{_PREFIX}{step}{_PART}"
        part.mkdir(exist_ok=True)
        names = [f"process-{rank}.safetensors" for rank in range(self.processes)]
        file = part / names[self.rank]
        unfinished = file.with_suffix(".writing")
        try:
            save_file(
                {name: value.contiguous() for name, value in tensors.items()},
                unfinished,
                metadata={"boxes": json.dumps(boxes)},
            )
            _sync(unfinished)
            os.replace(unfinished, file)
        except BaseException:
            unfinished.unlink(missing_ok=True)  # a full disk needs its room
            raise
        if self.rank:
            return
        self._await([part / name for name in names])
        state = {
            "fingerprint": self.fingerprint,
            "step": step,
            "files": names,
            "position": position,
        }
        write_atomically(part / STATE, json.dumps(state))
        final = self.folder / f"{_PREFIX}{step}"
        if final.exists():
            shutil.rmtree(final)
        sync_folder(part)
        os.replace(part, final)
        sync_folder(self.folder)
        for old in self._kept()[self.keep_last :]:
            shutil.rmtree(old, ignore_errors=True)

    def _await(self, files: list[Path]) -> None:
        patience = monotonic() + _PATIENCE_SECONDS
        for file in files:
            while not file.exists():
                if monotonic() > patience:
                    raise StageError(text("error.checkpoints.part", file=file.name))
                sleep(_POLL_SECONDS)


class Reader:
    """An open checkpoint; a context manager that closes its files."""

    def __init__(self, fingerprint: str, position: dict[str, Any], files: list[Any]) -> None:
        self.fingerprint, self.position, self._files = fingerprint, position, files
        self._stack = ExitStack()
        self._parts: dict[str, list[tuple[Any, Box]]] = {}
        for file in files:
            self._stack.enter_context(file)
            boxes = json.loads((file.metadata() or {}).get("boxes", "{}"))
            for name, (shape, start) in boxes.items():
                box = Box(tuple(shape), tuple(start))
                self._parts.setdefault(name, []).append((file, box))

    @classmethod
    def open(cls, folder: Path) -> Reader | None:
        """Return the reader of a folder; None where it is damaged."""
        from safetensors import SafetensorError, safe_open

        try:
            state = json.loads((folder / STATE).read_text("utf-8"))
            files = [safe_open(folder / name, framework="pt") for name in state["files"]]
            return cls(state["fingerprint"], state["position"], files)
        except (OSError, ValueError, KeyError, SafetensorError):
            return None

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def names(self, prefix: str) -> list[str]:
        """Return what follows `prefix/` in the names of the tensors."""
        start = f"{prefix}/"
        return [name.removeprefix(start) for name in self._parts if name.startswith(start)]

    def get(self, name: str, shape: tuple[int, ...], box: Box) -> Tensor:
        """Return the part of a tensor that a process holds.

        shape: of the part; box: its place in the whole. Raises KeyError where the tensor is not
        there, StageError where its whole has another shape or a part of it is missing.
        """
        parts = self._parts[name]
        if any(there.shape != box.shape for _, there in parts):
            raise StageError(
                text(
                    "error.checkpoints.shape",
                    name=name,
                    found="×".join(map(str, parts[0][1].shape)),
                    wanted="×".join(map(str, box.shape)),
                )
            )
        found: Tensor | None = None
        filled = 0
        for file, there in parts:
            piece = file.get_slice(name)
            size = tuple(piece.get_shape())
            if size == shape and there.start == box.start:
                # Cloned: a tensor that still maps the file would change when the file does.
                whole: Tensor = file.get_tensor(name).clone()
                return whole
            low = [max(a, b) for a, b in zip(there.start, box.start, strict=True)]
            high = [
                min(a + n, b + m)
                for a, n, b, m in zip(there.start, size, box.start, shape, strict=True)
            ]
            if any(stop <= first for first, stop in zip(low, high, strict=True)):
                continue
            source, target = (
                tuple(
                    slice(first - start, stop - start)
                    for first, stop, start in zip(low, high, of.start, strict=True)
                )
                for of in (there, box)
            )
            values = piece[source]
            if found is None:
                found = torch.empty(shape, dtype=values.dtype)
            found[target] = values
            filled += values.numel()
        wanted = 1
        for n in shape:
            wanted *= n
        if wanted == 0:
            return torch.empty(shape)
        if found is None or filled < wanted:
            raise StageError(text("error.checkpoints.hole", name=name))
        return found


def _sync(file: Path) -> None:
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
