"""A model cut into stages: embeddings and first layers, middle layers, last layers and head.

A stage is the model itself with the layers of others taken away. In the place of its embeddings a
later stage has what it is given, and an earlier one hands its hidden values on before the last
norm, so that all that lies between is computed by the model's own code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from shipworthy.core.errors import SettingsError
from shipworthy.core.locale import text

if TYPE_CHECKING:
    from torch import Tensor

# Where families keep embeddings, layers and what follows the layers, inside their base model.
_EMBEDDINGS = ("embeddings", "embed_tokens")
_LAYERS = ("encoder.layer", "transformer.layer", "layers")
_BEHIND = ("norm", "final_layer_norm", "pooler")


class Given(nn.Module):
    """Stands where the embeddings were: returns the hidden values that the stage is given."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden: Tensor | None = None

    def forward(self, *arguments: Any, **options: Any) -> Tensor:
        """Return what was given, whatever the embeddings would have been called with."""
        assert self.hidden is not None
        return self.hidden


class Same(nn.Module):
    """Stands where a part is another stage's."""

    def forward(self, hidden: Tensor, *arguments: Any, **options: Any) -> Tensor:
        """Return the hidden values as they are."""
        return hidden


def layer_counts(layers: int, stages: int) -> list[int]:
    """Return how many layers each stage has, about equally many, the first ones more.

    >>> layer_counts(7, 3)
    [3, 2, 2]
    """
    return [layers // stages + (stage < layers % stages) for stage in range(stages)]


def cut_stage(module: nn.Module, stage: int, stages: int) -> tuple[dict[str, nn.Parameter], Given]:
    """Take away from a model what belongs to other stages, in place.

    Returns the parameters that are left, by their names in the whole model, and the module to hand
    hidden values to. Raises SettingsError where the family of the model is not known, or its head
    shares the weights of its embeddings and both would be apart.
    """
    model: Any = module
    base: Any = model.base_model
    names = {id(p): name for name, p in module.named_parameters()}
    embeddings = next((name for name in _EMBEDDINGS if hasattr(base, name)), None)
    path = next((name for name in _LAYERS if _find(base, name) is not None), None)
    if embeddings is None or path is None:
        raise SettingsError(
            text("error.pipeline.family", model=type(module).__name__), key="train.parallel"
        )
    head = getattr(model, "lm_head", None)
    tied = head is not None and head.weight is getattr(base, embeddings).weight
    if tied and stages > 1:
        raise SettingsError(
            text("error.pipeline.tied", model=type(module).__name__), key="train.parallel"
        )
    counts = layer_counts(len(_find(base, path)), stages)
    first = sum(counts[:stage])
    _replace(base, path, nn.ModuleList(list(_find(base, path))[first : first + counts[stage]]))
    given = Given()
    if stage > 0:
        setattr(base, embeddings, given)
        if hasattr(base, "embeddings_project"):
            base.embeddings_project = Same()
    if stage < stages - 1:
        for name in _BEHIND:
            if isinstance(getattr(base, name, None), nn.Module):
                setattr(base, name, Same())
        for name, part in list(module.named_children()):
            if part is not base:
                setattr(model, name, nn.Identity())
    if hasattr(model.config, "num_hidden_layers"):
        model.config.num_hidden_layers = counts[stage]
    kept = {names[id(p)]: p for p in module.parameters() if p.requires_grad}
    return kept, given


def hidden_width(module: nn.Module) -> int:
    """Return how many hidden values a token has."""
    config: Any = module.config
    return int(getattr(config, "hidden_size", None) or config.dim)


def _find(base: nn.Module, path: str) -> Any:
    found: Any = base
    for name in path.split("."):
        found = getattr(found, name, None)
    return found if isinstance(found, nn.ModuleList) else None


def _replace(base: nn.Module, path: str, layers: nn.ModuleList) -> None:
    *above, last = path.split(".")
    parent: Any = base
    for name in above:
        parent = getattr(parent, name)
    setattr(parent, last, layers)


def stage_output(hidden: Tensor) -> Tensor:
    """Return hidden values as they travel between stages: (1, t, h), fp32."""
    return hidden.unsqueeze(0).to(torch.float32)
