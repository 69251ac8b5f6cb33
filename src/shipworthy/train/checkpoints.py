"""Where a training run stands, in one file that is either whole or absent.

The file holds weights, optimizer, generator and position together, so there is no moment in which
they belong to different steps. It is only ever used for the run that wrote it: another fingerprint
(settings, rows, starting weights, libraries) means another run, which starts at its beginning.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

import torch

from shipworthy.core.files import sync_folder

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

FILE = "checkpoint.safetensors"
_PART = f".{FILE}.part"

# A checkpoint waits at least this many times as long as the last one took to write.
_LEAST_WAIT_PER_WRITE = 20.0


class Checkpoints:
    """The checkpoint of one run in its work folder.

    folder: made where it is absent; nobody else may write to it meanwhile. fingerprint: identity of
    the run. interval_seconds: time between two checkpoints; longer where writing is slow.
    """

    def __init__(self, folder: Path, fingerprint: str, *, interval_seconds: float) -> None:
        self.folder, self.fingerprint = folder, fingerprint
        self.interval_seconds = interval_seconds
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # left by a process that was killed while it wrote
            (folder / _PART).unlink()
        self._last = monotonic()
        self._took = 0.0

    @property
    def due(self) -> bool:
        """Whether it is time for the next one."""
        wait = max(self.interval_seconds, _LEAST_WAIT_PER_WRITE * self._took)
        return monotonic() - self._last >= wait

    def save(self, tensors: dict[str, Tensor], position: dict[str, Any]) -> None:
        """Replace the checkpoint. position: where the run stands, as JSON values."""
        from safetensors.torch import save_file

        started = monotonic()
        part = self.folder / _PART
        notes = {"fingerprint": self.fingerprint, "position": json.dumps(position)}
        try:
            save_file(tensors, part, metadata=notes)
        except BaseException:
            part.unlink(missing_ok=True)  # a full disk needs its room
            raise
        handle = os.open(part, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(part, self.folder / FILE)
        sync_folder(self.folder)
        self._last = monotonic()
        self._took = self._last - started

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return tensors and position of the checkpoint, None where there is none of this run."""
        from safetensors import SafetensorError, safe_open

        path = self.folder / FILE
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                notes = file.metadata() or {}
                if notes.get("fingerprint") != self.fingerprint:
                    return None
                # Cloned: a tensor that still maps the file would change when the file does.
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        except SafetensorError:
            return None
        return tensors, json.loads(notes["position"])

    def remove(self) -> None:
        """Delete the checkpoint of a run that has ended."""
        with suppress(FileNotFoundError):
            (self.folder / FILE).unlink()
        with suppress(OSError):  # others' files lie in it
            self.folder.rmdir()


def collect(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return weights, optimizer state and the generator's state by name; nothing is copied."""
    tensors = {f"weights/{name}": value for name, value in weights(module).items()}
    for name, parameter in module.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer/{key}/{name}"] = value
    tensors["generator"] = torch.get_rng_state()
    return tensors


@torch.no_grad()
def restore(
    module: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]
) -> None:
    """Put back what `collect` returned, into the tensors that are there."""
    put_weights(module, part_of(tensors, "weights"))
    for kind in sorted({name.split("/")[1] for name in tensors if name.startswith("optimizer/")}):
        named = part_of(tensors, f"optimizer/{kind}")
        for name, parameter in module.named_parameters():
            if name in named:
                optimizer.state[parameter][kind] = named[name]
    torch.set_rng_state(tensors["generator"])


def part_of(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names start with `prefix/`, without it."""
    start = f"{prefix}/"
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}


def weights(module: nn.Module) -> dict[str, Tensor]:
    """Return parameters and saved buffers by name, tied ones once."""
    kept: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in module.state_dict().items():
        if value.data_ptr() not in seen:
            seen.add(value.data_ptr())
            kept[name] = value.detach()
    return kept


@torch.no_grad()
def put_weights(module: nn.Module, values: dict[str, Tensor]) -> None:
    """Copy weights into the module's own tensors."""
    present = weights(module)
    for name, value in values.items():
        present[name].copy_(value)
