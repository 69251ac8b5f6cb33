"""The process in which one language model is timed: it answers and says when each token was there.

Decoding is greedy, one call of the model a token, so that every token has its time.
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipworthy.core.launch import answer as serve
from shipworthy.measure.speed_worker import peak_memory
from shipworthy.model.runtimes import load_language_model

if TYPE_CHECKING:
    from collections.abc import Sequence

_model: Any = None


def load(folder: str, threads: int) -> dict[str, float]:
    """Load the model of a folder; return the seconds that this took, its imports included."""
    global _model
    started = time.perf_counter()
    _model = load_language_model(Path(folder), threads=threads)
    # Only time is taken here: what does not fit is cut.
    _model.info = replace(_model.info, long_prompts="cut")
    return {"seconds": time.perf_counter() - started}


def answer(prompts: Sequence[str], new_tokens: int) -> dict[str, Any]:
    """Answer prompts side by side with `new_tokens` tokens each; see `Timed`."""
    return asdict(_model.timed(prompts, new_tokens))


if __name__ == "__main__":
    serve({f.__name__: f for f in (load, answer, peak_memory)})
