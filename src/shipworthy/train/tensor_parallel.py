"""Each layer cut over several processes: heads and inner features apart, one sum behind each.

Projections into heads and into the inner features are cut by their outputs, those out of them by
their inputs (Shoeybi et al. 2019). Embeddings, norms and head are held by every process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shipworthy.core.errors import SettingsError
from shipworthy.core.locale import text
from shipworthy.train.attention import FIRST_HEAD
from shipworthy.train.mesh import number_of

if TYPE_CHECKING:
    from torch import nn
    from torch.distributed.device_mesh import DeviceMesh

# Names of the linear maps inside a layer; the first names of a family's map are told apart by the
# rest of the path.
_OUT = (
    "attention.self.query", "attention.self.key", "attention.self.value", "intermediate.dense",
    "attention.q_lin", "attention.k_lin", "attention.v_lin", "ffn.lin1",
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj",
)  # fmt: skip
_IN = (
    "attention.output.dense", "output.dense", "attention.out_lin", "ffn.lin2", "self_attn.o_proj",
    "mlp.down_proj",
)  # fmt: skip
_QUERIES = ("query", "q_lin", "q_proj")
# Held by every process, but computed with its own heads only: their gradients are parts of a sum.
_OF_HEADS = (".q_norm.", ".k_norm.")


def cut_layers(module: nn.Module, mesh: DeviceMesh) -> None:
    """Cut the layers of a transformers model over the processes of a mesh with one axis.

    Raises SettingsError where the family of the model is not known.
    """
    from torch import nn
    from torch.distributed.tensor.parallel import (
        ColwiseParallel,
        RowwiseParallel,
        parallelize_module,
    )

    model: Any = module
    heads = number_of(model.config.to_dict(), ("num_attention_heads", "n_heads"))
    plan: dict[str, Any] = {}
    for name, part in module.named_modules():
        if not isinstance(part, nn.Linear) or not _in_layer(name):
            continue
        if name.endswith(_OUT):
            plan[name] = ColwiseParallel()
        elif name.endswith(_IN):
            plan[name] = RowwiseParallel()
    if not plan or heads is None:
        raise SettingsError(
            text("error.mesh.family", model=type(module).__name__), key="train.parallel"
        )
    first = mesh.get_local_rank() * (heads // mesh.size())
    for part in module.modules():
        if any(hasattr(part, name) for name in _QUERIES):
            setattr(part, FIRST_HEAD, first)
    parallelize_module(module, mesh, plan)


def sums_over_heads(name: str) -> bool:
    """Return whether a parameter that all hold has a gradient that each knows a part of."""
    return any(part in f".{name}." for part in _OF_HEADS)


def _in_layer(name: str) -> bool:
    return any(part.isdigit() for part in name.split("."))
