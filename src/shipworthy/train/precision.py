"""Number format of matrix products, by what processor or GPU multiplies natively."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from shipworthy.core.device import compute_device, native_bf16

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

Precision: TypeAlias = Literal["fp32", "bf16"]


def resolve(
    wanted: Literal["auto", "fp32", "bf16"], flags: tuple[str, ...] | None = None
) -> Precision:
    """Return the format that `wanted` means on a processor with these flags, or here.

    >>> resolve("auto", ("x86_64", "avx2")), resolve("auto", ("x86_64", "amx_bf16"))
    ('fp32', 'bf16')
    """
    if wanted != "auto":
        return wanted
    if flags is None and compute_device() == "cuda":
        import torch

        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if native_bf16(flags) else "fp32"


def autocast(precision: Precision) -> AbstractContextManager[object]:
    """Run matrix products in this format inside the block; weights stay fp32."""
    import torch

    return torch.autocast(compute_device(), dtype=torch.bfloat16, enabled=precision == "bf16")
