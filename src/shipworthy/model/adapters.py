"""Somebody's low-rank adapter (peft's form), added to the model that it was made for.

An adapter says which model it belongs to by names and shapes alone; one that does not fit is
refused with the first place where it does not.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipworthy.core import locale
from shipworthy.core.digest import digest_folder, digest_json
from shipworthy.core.errors import ModelError
from shipworthy.core.folders import make_once
from shipworthy.model.checkpoint import CONFIG

if TYPE_CHECKING:
    from torch import Tensor

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."


def merged(base: Path, adapter: Path, cache: Path) -> Path:
    """Return a folder with the adapter added to the base; a second call finds it made.

    base, adapter: folders. cache: in which the folder is made.
    Raises ModelError where the adapter is incomplete, of another kind or of another base.
    """
    name = digest_json([digest_folder(base), digest_folder(adapter)])[:16]

    def write(folder: Path) -> None:
        shutil.copytree(base, folder, ignore=shutil.ignore_patterns("*.safetensors*"))
        _write(base, adapter, folder)

    return make_once(cache / "merged" / name, write, proof=CONFIG)


def _write(base: Path, adapter: Path, out: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    from shipworthy.model.checkpoint import weight_files

    settings = _settings(adapter)
    weights: dict[str, Tensor] = {}
    for file in weight_files(base):
        if file.suffix == ".safetensors":
            weights |= load_file(file)
    parts = load_file(adapter / ADAPTER_WEIGHTS)
    scale = float(settings["lora_alpha"]) / int(settings["r"])
    for name, down in parts.items():
        if not name.endswith(".lora_A.weight"):
            continue
        stem = name.removesuffix(".lora_A.weight").removeprefix(_PREFIX)
        up = parts.get(name.replace(".lora_A.", ".lora_B."))
        whole = weights.get(f"{stem}.weight")
        fits = (
            up is not None
            and whole is not None
            and (up.shape[0], down.shape[1]) == tuple(whole.shape)
            and up.shape[1] == down.shape[0]
        )
        if not fits or up is None or whole is None:
            raise ModelError(
                locale.text("error.adapters.other_base", name=stem),
                folder=adapter,
                fix=locale.text(
                    "error.adapters.other_base.fix",
                    base=settings.get("base_model_name_or_path") or "?",
                ),
            )
        added = whole.double() + scale * up.double() @ down.double()
        weights[f"{stem}.weight"] = added.to(torch.float32)
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})


def _settings(adapter: Path) -> dict[str, Any]:
    try:
        settings = json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8"))
        known = {"r", "lora_alpha"} <= settings.keys() and settings.get("peft_type") == "LORA"
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(
            locale.text("error.checkpoint.absent", file=ADAPTER_CONFIG), folder=adapter
        ) from error
    strange = [k for k in ("use_dora", "use_rslora", "rank_pattern") if settings.get(k)]
    if not known or strange:
        raise ModelError(locale.text("error.adapters.kind"), folder=adapter)
    if not (adapter / ADAPTER_WEIGHTS).is_file():
        raise ModelError(
            locale.text("error.checkpoint.absent", file=ADAPTER_WEIGHTS), folder=adapter
        )
    result: dict[str, Any] = settings
    return result
