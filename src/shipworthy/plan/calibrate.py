"""What this machine reaches: its peak of matrix products, and how far memory predictions are off.

Measured once in a process of its own, so that nothing else counts, and kept in a file with the
processor's flags and the library's version; another processor or library is measured again.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from shipworthy.core.device import compute_device, device_flags, threads
from shipworthy.core.files import write_atomically
from shipworthy.core.launch import Worker, answer
from shipworthy.plan.memory import Factors, memory_of
from shipworthy.plan.workload import Workload

# A product of the shape that a layer of a small encoder has, and that fills the caches.
_SHAPE = (4096, 384, 1536)
_ROUNDS, _SECONDS = 5, 0.15
_TIMEOUT = 120.0
# Models whose steps are measured: both rounds of each size give the growth with tokens.
_SIZES = ((2, 128, 4, 512, 2000), (4, 256, 8, 1024, 8000))
_TOKENS = (1024, 4096)


@dataclass(frozen=True)
class Calibration:
    """What was measured.

    peak_flops: of products a second, by precision. factors: of the memory model; None where they
    were not asked for yet.
    """

    peak_flops: dict[str, float]
    factors: Factors | None
    flags: tuple[str, ...]
    torch: str
    threads: int


def place() -> Path:
    """Return the file in which a machine keeps what was measured of it."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "shipworthy" / "calibration.json"


def calibration(
    *, measure: bool = True, memory: bool = False, path: Path | None = None
) -> Calibration | None:
    """Return what is known of this machine, measured now (some seconds) where it is not known yet.

    measure: whether to measure; without it None is returned where nothing is known. memory: whether
    the factors of the memory model are wanted too. path: of the file; its usual place where not
    given.
    """
    file = place() if path is None else path
    found = _read(file)
    if not measure or (found is not None and (found.factors is not None or not memory)):
        return found
    if found is None:
        with Worker("shipworthy.plan.calibrate") as worker:
            found = Calibration(worker.call("peaks", timeout=_TIMEOUT), None, *_identity())
    if memory:
        found = replace(found, factors=_measured_factors())
    write_atomically(file, json.dumps(asdict(found), indent=2, sort_keys=True) + "\n")
    return found


def _measured_factors() -> Factors:
    steps = []
    for size in _SIZES:
        for tokens in _TOKENS:
            # A process of its own each: memory that was freed is not handed back to the system.
            with Worker("shipworthy.plan.calibrate") as worker:
                steps.append(
                    worker.call("step_bytes", size=list(size), tokens=tokens, timeout=_TIMEOUT)
                )
    return _fit(steps)


def peaks() -> dict[str, float]:
    """Return the products of a second, 2 m n k each, by precision: the best of some rounds."""
    import torch

    found = {}
    rows, inner, columns = _SHAPE
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        device = torch.device(compute_device())
        a = torch.randn(rows, inner, device=device).to(dtype)
        b = torch.randn(inner, columns, device=device).to(dtype)
        best = 0.0
        for _ in range(_ROUNDS):
            times, begun = 0, perf_counter()
            while perf_counter() - begun < _SECONDS:
                torch.matmul(a, b)
                if device.type == "cuda":
                    torch.cuda.synchronize()
                times += 1
            best = max(best, times * 2.0 * rows * inner * columns / (perf_counter() - begun))
        found[name] = best
    return found


def step_bytes(size: list[int], tokens: int) -> dict[str, Any]:
    """Return memory before and after a training step of a small encoder, and what was counted."""
    import torch
    from torch import nn

    layers, hidden, heads, inner, words = size
    device = torch.device(compute_device())
    base = _resident()
    table = nn.Embedding(words, hidden, device=device)
    body = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(hidden, heads, inner, dropout=0.0, activation="gelu",
                                   batch_first=True, device=device),
        layers, enable_nested_tensor=False,
    )  # fmt: skip
    parameters = [*table.parameters(), *body.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, fused=True)
    for _ in range(2):
        ids = torch.randint(words, (tokens // 64, 64), device=device)
        body(table(ids)).float().square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return {"base": base, "peak": _peak(), "size": size, "tokens": tokens}


def _fit(steps: list[dict[str, Any]]) -> Factors:
    """Return the factors that the measured steps ask for, with the largest error that is left."""
    import numpy as np

    base = float(np.mean([step["base"] for step in steps]))
    counted, measured = [], []
    for step in steps:
        layers, hidden, heads, inner, words = step["size"]
        work = Workload(layers, hidden, heads, heads, inner, words, 0, False, True, 2)
        unit = memory_of(work, factors=Factors(0.0, 1.0, 1.0, 0.0))
        counted.append([unit.fixed, unit.per_token * step["tokens"]])
        measured.append(step["peak"] - base)
    solved, *_ = np.linalg.lstsq(np.array(counted), np.array(measured), rcond=None)
    fixed, token = (float(max(value, 0.5)) for value in solved)
    said = np.array(counted) @ np.array([fixed, token]) + base
    error = float(np.max(np.abs(said / (np.array(measured) + base) - 1.0)))
    return Factors(base, fixed, token, max(0.15, 1.5 * error))


def _read(file: Path) -> Calibration | None:
    try:
        known = json.loads(file.read_text("utf-8"))
        found = Calibration(
            {name: float(value) for name, value in known["peak_flops"].items()},
            None if known["factors"] is None else Factors(**known["factors"]),
            tuple(known["flags"]),
            str(known["torch"]),
            int(known["threads"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if (found.flags, found.torch, found.threads) == _identity() else None


def _identity() -> tuple[tuple[str, ...], str, int]:
    from importlib.metadata import version

    flags = device_flags()
    if compute_device() == "cuda":
        import torch

        flags = (*flags, torch.cuda.get_device_name())
    return flags, version("torch"), threads()


def _resident() -> float:
    if compute_device() == "cuda":
        return 0.0  # what is counted there is what torch holds of the GPU
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return float(line.split()[1]) * 1024
    return 0.0


def _peak() -> float:
    import resource

    if compute_device() == "cuda":
        import torch

        return float(torch.cuda.max_memory_allocated())
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024


if __name__ == "__main__":
    answer({"peaks": peaks, "step_bytes": step_bytes})
