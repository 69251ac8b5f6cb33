"""What this machine is, as far as a measurement or a cached stage depends on it.

A latency measured here says nothing about another processor, and low-precision kernels give other
last bits where the instruction set differs: both carry `device_flags`.
"""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path
from typing import Literal

_FEATURES = (
    "avx2", "avx512f", "avx512_bf16", "avx512_fp16", "avx512_vnni", "avx_vnni",
    "amx_bf16", "amx_int8", "amx_tile", "asimd", "bf16", "i8mm", "sve",
)  # fmt: skip


# Instruction sets that multiply bf16 in hardware; elsewhere it is emulated, 30 times slower.
_NATIVE_BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


def native_bf16(flags: tuple[str, ...] | None = None) -> bool:
    """Say whether a processor with these flags (default: this one) multiplies bf16 itself.

    >>> native_bf16(("x86_64", "avx2")), native_bf16(("x86_64", "amx_bf16"))
    (False, True)
    """
    return not _NATIVE_BF16.isdisjoint(device_flags() if flags is None else flags)


def compute_device() -> Literal["cuda", "cpu"]:
    """Return the kind of device that models are trained on here: a GPU where torch sees one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def threads() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parse_cpuinfo(text: str) -> tuple[str, tuple[str, ...]]:
    r"""Return processor name and known features from the text of /proc/cpuinfo.

    The name carries family and model numbers, since virtual machines shorten the brand.

    >>> parse_cpuinfo("model name: A CPU @ 2GHz\ncpu family: 6\nmodel: 85\nflags: fpu avx2 sse")
    ('A CPU @ 2GHz 6/85', ('avx2',))
    """
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip().lower(), value.strip())
    name = fields.get("model name") or fields.get("cpu implementer") or "unknown"
    numbers = [fields[k] for k in ("cpu family", "model", "cpu part") if k in fields]
    has = set((fields.get("flags") or fields.get("features") or "").split())
    label = " ".join([name, "/".join(numbers)]).strip()
    return label, tuple(f for f in _FEATURES if f in has)


@cache
def device_flags() -> tuple[str, ...]:
    """Architecture, processor, instruction sets that matter to speed, and thread count."""
    try:
        name, features = parse_cpuinfo(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        name, features = platform.processor() or "unknown", ()
    return (platform.machine(), f"cpu={name}", *features, f"threads={threads()}")


def device_class() -> str:
    """All flags in one string: the part of a cache key that says which kind of machine."""
    return " ".join(device_flags())
