"""Number format of matrix products, by what the processor multiplies natively."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from shipworthy.core.device import device_flags

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

Precision: TypeAlias = Literal["fp32", "bf16"]

# Instruction sets that multiply bf16 in hardware; elsewhere bf16 is emulated, slower than fp32.
NATIVE_BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


def resolve(
    wanted: Literal["auto", "fp32", "bf16"], flags: tuple[str, ...] | None = None
) -> Precision:
    """Return the format that `wanted` means on a processor with these flags (default: this one).

    >>> resolve("auto", ("x86_64", "avx2")), resolve("auto", ("x86_64", "amx_bf16"))
    ('fp32', 'bf16')
    """
    if wanted != "auto":
        return wanted
    present = device_flags() if flags is None else flags
    return "bf16" if NATIVE_BF16 & set(present) else "fp32"


def autocast(precision: Precision) -> AbstractContextManager[object]:
    """Run matrix products in this format inside the block; weights stay fp32."""
    import torch

    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16")
