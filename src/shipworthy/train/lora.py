"""Low-rank adapters (LoRA, Hu et al. 2021): only a narrow path beside each matrix is trained.

The adapters are peft's, put into the model as it stands, so that the loop and its packs see the
same model. After training they are added to the weights: what ships is a plain model, measured as
any other. An adapter that did not move is refused, since it would be measured as if it had.

The frozen matrices may lie in 4 bits meanwhile (QLoRA, Dettmers et al. 2023), by bitsandbytes. What
ships is then what was trained: the matrices as the 4 bits have them, and the adapters on top.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from shipworthy.core.errors import ModelError, SettingsError
from shipworthy.core.locale import text

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from shipworthy.train.settings import LoraSettings, ParallelSettings

FOLDER = "adapter"
"""Folder of the adapter beside the model that it was added to."""


def check_layout(layout: ParallelSettings) -> None:
    """Raise SettingsError for a layout that cuts the matrices that adapters lie beside."""
    if max(layout.shard, layout.tensor, layout.pipeline) > 1:
        raise SettingsError(
            text("error.lora.layout"), key="train.parallel", fix=text("error.lora.layout.fix")
        )


def add_adapters(module: nn.Module, settings: LoraSettings, *, seed: int) -> nn.Module:
    """Put adapters into a model and freeze everything else; return the model.

    Raises ModelError where peft is absent or no matrix has a name that the settings ask for.
    """
    import torch

    peft = _peft()
    config = _config(peft, settings)
    if settings.base == "nf4":
        _four_bits(module)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            found: nn.Module = peft.inject_adapter_in_model(config, module)
        except ValueError as error:
            raise ModelError(
                text("error.lora.targets", reason=str(error).partition("\n")[0]),
                fix=text("error.lora.targets.fix"),
            ) from error
    return found


def merge_adapters(module: nn.Module) -> nn.Module:
    """Add the adapters to the weights and take them out; return the plain model, all in place.

    Raises ModelError where no adapter moved.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [(n, m) for n, m in module.named_modules() if isinstance(m, BaseTunerLayer)]
    if not any(bool(b.weight.any()) for _, m in layers for b in _up(m)):
        raise ModelError(text("error.lora.still"), fix=text("error.lora.still.fix"))
    for name, layer in layers:
        parent, _, own = name.rpartition(".")
        setattr(module.get_submodule(parent), own, _merged(layer))
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    model: Any = module
    for name in ("peft_config", "is_loaded_in_4bit"):
        if hasattr(model, name):
            delattr(model, name)
    return module


def _merged(layer: Any) -> nn.Module:
    """Return a layer with its adapter added; of 4 bits it is widened before."""
    base: Any = layer.get_base_layer()
    if hasattr(base.weight, "quant_state"):
        wide = _widened(base)
        for name in layer.lora_B:
            wide.weight.data += layer.get_delta_weight(name)
        widened: nn.Module = wide
        return widened
    layer.merge(safe_merge=True)
    merged: nn.Module = layer.get_base_layer()
    return merged


def _four_bits(module: Any) -> None:
    """Put the linear layers of the blocks into 4 bits, in place.

    Raises ModelError where bitsandbytes is absent.
    """
    from torch import nn

    try:
        library: Any = import_module("bitsandbytes")  # it carries no types, where it is there
    except (ImportError, OSError) as error:
        raise ModelError(
            text("error.lora.nf4", reason=str(error).partition("\n")[0]),
            fix=text("error.lora.nf4.fix"),
        ) from error
    head = module.get_output_embeddings()
    for name, layer in list(module.named_modules()):
        if not isinstance(layer, nn.Linear) or layer is head:
            continue
        few: Any = library.nn.Linear4bit(
            layer.in_features, layer.out_features, bias=layer.bias is not None, quant_type="nf4"
        )
        few.weight = library.nn.Params4bit(
            layer.weight.data, requires_grad=False, quant_type="nf4", module=few
        )
        if layer.bias is not None:
            few.bias = layer.bias
        # Processors with bf16 lay the weights out anew at the first evaluation, without gradients.
        few.support_avx512bf16_for_cpu = False
        parent, _, own = name.rpartition(".")
        # What moves to a device is rounded then.
        setattr(module.get_submodule(parent), own, few.to(layer.weight.device))
    module.is_loaded_in_4bit = True  # peft looks for it


def _widened(few: Any) -> Any:
    """Return a layer of 4 bits in fp32."""
    from torch import nn

    functions: Any = import_module("bitsandbytes.functional")
    values = functions.dequantize_4bit(few.weight.data, few.weight.quant_state).float()
    wide = nn.Linear(few.in_features, few.out_features, bias=few.bias is not None)
    wide.weight = nn.Parameter(values.reshape(few.out_features, few.in_features))
    if few.bias is not None:
        wide.bias = few.bias
    return wide


def save_adapter(module: nn.Module, settings: LoraSettings, folder: Path, *, base: str) -> None:
    """Write the adapter alone as peft reads it, before it is merged. base: where it starts from."""
    from safetensors.torch import save_file

    peft = _peft()
    folder.mkdir(parents=True, exist_ok=True)
    weights = peft.get_peft_model_state_dict(module)
    prefixed = {
        f"base_model.model.{name}": value.detach().contiguous().cpu()
        for name, value in weights.items()
    }
    save_file(prefixed, folder / "adapter_model.safetensors")
    config = _config(peft, settings)
    config.base_model_name_or_path = base
    config.save_pretrained(folder)


def _up(layer: Any) -> list[Any]:
    return list(layer.lora_B.values())


def _config(peft: Any, settings: LoraSettings) -> Any:
    targets = "all-linear" if settings.targets == "auto" else list(settings.targets)
    return peft.LoraConfig(
        r=settings.rank, lora_alpha=settings.alpha, lora_dropout=0.0, target_modules=targets,
        bias="none", task_type="CAUSAL_LM",
    )  # fmt: skip


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise ModelError(
            text("error.gguf.absent", name=error.name), fix=text("error.gguf.absent.fix")
        ) from error
    return peft
