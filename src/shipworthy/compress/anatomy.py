"""Where the matrices of a block are: what its attention and its feed-forward layer are made of.

Architectures give them different names and do the same with them. A model whose names are not in
the tables is left as it is by the levers that need them, and named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shipworthy.compress.blocks import repeated
from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

# Names inside a block: query, key, value and what the heads' values go through.
_ATTENTION = (
    (
        "attention.self.query", "attention.self.key", "attention.self.value",
        "attention.output.dense",
    ),
    ("attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin"),
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"),
)  # fmt: skip
# What makes the neurons, and what reads them.
_FEED_FORWARD = (
    (("intermediate.dense",), "output.dense"),
    (("ffn.lin1",), "ffn.lin2"),
    (("mlp.gate_proj", "mlp.up_proj"), "mlp.down_proj"),
)  # fmt: skip
# What the configuration calls the number of blocks, of neurons, of heads and the hidden width.
_BLOCKS = ("num_hidden_layers", "n_layers")
_NEURONS = ("intermediate_size", "hidden_dim")
_HEADS = ("num_attention_heads", "n_heads")
_HIDDEN = ("hidden_size", "dim")


@dataclass(frozen=True)
class Block:
    """One block: its module, its number from 0, and names of the matrices inside it.

    attention: query, key, value and output; makes: what gives the neurons their values; reads: what
    takes them.
    """

    number: int
    module: nn.Module
    attention: tuple[str, str, str, str]
    makes: tuple[str, ...]
    reads: str

    def linear(self, name: str) -> nn.Linear:
        """Return one of the matrices."""
        found: Any = self.module.get_submodule(name)
        return found  # type: ignore[no-any-return]


def blocks_of(module: nn.Module, folder: Path | str) -> tuple[Block, ...]:
    """Return the blocks of a model; raises ModelError where their parts are not known by name."""
    from torch import nn

    _, _, layers = repeated(module, folder)
    found = []
    for number, layer in enumerate(layers):
        linear = {name for name, part in layer.named_modules() if isinstance(part, nn.Linear)}
        attention = next((names for names in _ATTENTION if linear.issuperset(names)), None)
        forward = next(((m, r) for m, r in _FEED_FORWARD if linear.issuperset((*m, r))), None)
        # Where half of the heads are something else, the parts have the names and not the sizes.
        whole = attention is not None and _fits(layer, attention)
        if attention is None or forward is None or not whole:
            raise ModelError(
                text("error.anatomy.unknown", model=type(module).__name__, number=number),
                folder=folder,
                fix=text("error.anatomy.unknown.fix"),
            )
        found.append(Block(number, layer, attention, *forward))
    return tuple(found)


def _fits(layer: nn.Module, attention: tuple[str, ...]) -> bool:
    """Say whether the output of an attention reads what its queries give, and that alone."""
    query, _, _, output = (layer.get_submodule(name) for name in attention)
    return bool(query.out_features == output.in_features)


def set_blocks(config: Any, kept: tuple[int, ...]) -> None:
    """Write down in a configuration which blocks are left."""
    setattr(config, _key(config, _BLOCKS), len(kept))
    kinds = getattr(config, "layer_types", None)
    if kinds:
        config.layer_types = [kinds[number] for number in kept]


def set_neurons(config: Any, count: int) -> None:
    """Write down in a configuration how many neurons each block has."""
    setattr(config, _key(config, _NEURONS), count)


def heads_of(config: Any) -> int:
    """Return how many heads each block has."""
    return int(getattr(config, _key(config, _HEADS)))


def set_heads(config: Any, count: int) -> None:
    """Write down in a configuration how many heads each block has."""
    setattr(config, _key(config, _HEADS), count)


def set_hidden(config: Any, width: int) -> None:
    """Write down in a configuration how many hidden dimensions there are."""
    key = _key(config, _HIDDEN)
    # ELECTRA may have tables narrower than its blocks; where they were as wide, they still are.
    if config.to_dict().get("embedding_size") == getattr(config, key):
        config.embedding_size = width
    setattr(config, key, width)


def _key(config: Any, names: tuple[str, ...]) -> str:
    # DistilBERT's configuration answers to both names, but only stores its own.
    stored = config.to_dict()
    return next((name for name in names if name in stored), names[0])
