"""The process in which one model is timed: it loads, answers, and says how long that took.

It holds the model and nothing else of ours; percentiles are made by `speed.py` from the times that
it sends. A loader is any `module:function` that is called as `load_classifier` is.
"""

from __future__ import annotations

import resource
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipworthy.core import locale
from shipworthy.core.errors import ModelError
from shipworthy.core.launch import answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# The module stands alone so that it counts as code of the stage that times.
_RUNTIMES = "shipworthy.model.runtimes"
LOADER = f"{_RUNTIMES}:load_predictor"

_model: Any = None


def load(folder: str, threads: int, loader: str) -> dict[str, float]:
    """Load the model of a folder; return the seconds that this took, its imports included."""
    global _model
    started = time.perf_counter()
    found = _function(loader)(Path(folder), threads=threads)
    from shipworthy.model.capabilities import Encodes, require

    # mypy takes no protocol as a value.
    _model = require(found, Encodes, purpose=locale.text("error.speed_worker.purpose"))  # type: ignore[type-abstract]
    return {"seconds": time.perf_counter() - started}


def answer_each(texts: Sequence[str]) -> dict[str, list[int]]:
    """Answer texts one by one; return nanoseconds of each to its ids and from there to the end."""
    times = [_timed([text]) for text in texts]
    return {"encode": [t[0] for t in times], "score": [t[1] for t in times]}


def answer_together(texts: Sequence[str]) -> dict[str, list[int]]:
    """Answer texts as one batch; return nanoseconds to their ids and from there to the end."""
    encode, score = _timed(texts)
    return {"encode": [encode], "score": [score]}


def peak_memory() -> dict[str, float]:
    """Return the most memory (resident set) this process has held, in 1e6 bytes."""
    try:
        # Not ru_maxrss on Linux: it starts with what the starter held when it made this process.
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return {"mb": int(line.split()[1]) * 1024 / 1e6}
    except OSError:
        pass
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"mb": most * (1 if sys.platform == "darwin" else 1024) / 1e6}


def _timed(texts: Sequence[str]) -> tuple[int, int]:
    started = time.perf_counter_ns()
    encoded = _model.encode(texts)
    middle = time.perf_counter_ns()
    _model.score(encoded)
    return middle - started, time.perf_counter_ns() - middle


def _function(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    try:
        found: Callable[..., Any] = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ModelError(
            locale.text("error.speed_worker.loader", name=name, error=error)
        ) from error
    return found


if __name__ == "__main__":
    answer({f.__name__: f for f in (load, answer_each, answer_together, peak_memory)})
