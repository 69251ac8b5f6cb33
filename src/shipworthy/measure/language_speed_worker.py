"""The process in which one language model is timed: it answers and says when each token was there.

Decoding is greedy and by hand, one call of the model a token, so that every token has its time.
"""

from __future__ import annotations

import time
from dataclasses import replace
from inspect import signature
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
    """Answer prompts side by side with `new_tokens` tokens each.

    Returns `stamps`, nanoseconds before the prompts are read and after each token, and `cache_mb`,
    the keys and values that were held at the end, in 1e6 bytes.
    """
    import torch

    from shipworthy.model.torch_runtime import torch_threads

    name = _cache_name()
    with torch_threads(_model.threads), torch.inference_mode():
        stamps = [time.perf_counter_ns()]
        tokens, mask = _model.padded(prompts, room=new_tokens)
        cache = None
        for _ in range(new_tokens):
            found = _model.module(
                input_ids=tokens, attention_mask=mask, use_cache=True, logits_to_keep=1,
                **{name: cache},
            )  # fmt: skip
            cache = getattr(found, name)
            tokens = found.logits[:, -1].argmax(-1, keepdim=True)
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
            stamps.append(time.perf_counter_ns())
    return {"stamps": stamps, "cache_mb": _held(cache) / 1e6}


def _cache_name() -> str:
    """Return what the model calls its keys and values: `past_key_values` has a second name."""
    known = signature(_model.module.forward).parameters
    return "cache" if "cache" in known else "past_key_values"


def _held(cache: Any) -> float:
    """Return the bytes of the tensors in a cache of keys and values."""
    parts = [t for layer in cache.layers for t in (layer.keys, layer.values)]
    return float(sum(t.numel() * t.element_size() for t in parts))


if __name__ == "__main__":
    serve({f.__name__: f for f in (load, answer, peak_memory)})
