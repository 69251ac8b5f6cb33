"""What each step of a run came to, as JSON lines that can be followed while it runs.

A line holds step, epoch, rows, tokens, loss, learning_rate, gradient_norm, seconds (since the run
began, over all sittings), tokens_per_second, memory_mb and utilization (share of the measured peak
of matrix products; null where the peak is not known). A run that goes on cuts what it does again.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from time import monotonic
from typing import TYPE_CHECKING, Any

from shipworthy.core.locale import number, text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE = "metrics.jsonl"


class Metrics:
    """Writes a line a step.

    path: of the file; None writes nothing. flops_per_token: of forward and backward; peak_flops: of
    matrix products a second, over all processes; without either there is no utilization.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        flops_per_token: float | None = None,
        peak_flops: float | None = None,
    ) -> None:
        self.path = path
        self._share = None
        if flops_per_token and peak_flops:
            self._share = flops_per_token / peak_flops
        self._last = monotonic()
        self._before = 0.0
        self.latest = ""

    def resume(self, step: int, seconds: float) -> None:
        """Go on after this many steps: lines of later ones are cut off."""
        self._last, self._before = monotonic(), seconds
        if self.path is None or not self.path.exists():
            return
        kept = []
        for line in self.path.read_text("utf-8").splitlines(keepends=True):
            try:
                if not line.endswith("\n") or json.loads(line)["step"] > step:
                    break
            except (ValueError, KeyError):
                break
            kept.append(line)
        part = self.path.with_suffix(".part")
        part.write_text("".join(kept), encoding="utf-8")
        os.replace(part, self.path)

    def step(self, *, tokens: int, **values: Any) -> None:
        """Write the line of a step that has just ended. tokens: of the step, without padding."""
        now = monotonic()
        taken, self._last = now - self._last, now
        self._before += taken
        rate = tokens / taken if taken > 0 else 0.0
        line = {
            **values,
            "tokens": tokens,
            "seconds": round(self._before, 3),
            "tokens_per_second": round(rate, 1),
            "memory_mb": round(memory_mb(), 1),
            "utilization": self.utilization(rate),
        }
        self.latest = live(line)
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def utilization(self, tokens_per_second: float) -> float | None:
        """Return the share of the measured peak that this rate is."""
        return None if self._share is None else round(tokens_per_second * self._share, 4)


def live(line: Mapping[str, Any]) -> str:
    """Return the line of a step for people: loss, learning rate, speed, memory, share of peak."""
    shown = text(
        "training.live",
        loss=number(float(line["loss"]), 4), rate=f"{line['learning_rate']:.2e}",
        speed=number(line["tokens_per_second"]), memory=number(line["memory_mb"]),
    )  # fmt: skip
    if line["utilization"] is None:
        return shown
    return text("training.live.peak", line=shown, share=f"{100 * line['utilization']:.1f}")


def memory_mb() -> float:
    """Peak memory of this process so far, MB; on a GPU what torch has held of it at most."""
    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated()) / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3 * 1.024
