"""What the head of a classifier reads, and a classifier with another head on the same features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text
from shipworthy.data.batches import pad
from shipworthy.model.torch_runtime import TorchClassifier

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    FloatArray: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Head:
    """The last layer of a classifier. layer: its name in the module."""

    model: TorchClassifier
    layer: str

    def features(self, texts: Sequence[str]) -> FloatArray:
        """Return what the layer is given for each text, shape (n, d)."""
        linear: Any = self.model.module.get_submodule(self.layer)
        caught: list[Tensor] = []
        hook = linear.register_forward_pre_hook(lambda _, given: caught.append(given[0]))
        encoded = self.model.encode(texts)
        found = np.zeros((len(encoded), linear.in_features))
        try:
            for rows in self.model.batches(encoded):
                caught.clear()
                self.model.logits(pad(encoded, rows, pad_token_id=self.model.pad_token_id))
                found[rows] = caught[0].double().reshape(len(rows), -1).numpy()
        finally:
            hook.remove()
        return found

    def write(self, weights: FloatArray, bias: FloatArray, out: Path) -> None:
        """Write the classifier with another last layer. weights: (k, d); bias: (k,)."""
        import torch

        from shipworthy.model.pretrained import load_module, save_variant

        module = load_module(self.model.folder)
        linear: Any = module.get_submodule(self.layer)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weights))
            linear.bias.copy_(torch.from_numpy(bias))
        save_variant(out, module, self.model.info, parent=self.model.folder)


def open_head(folder: Path, recipe: str) -> Head:
    """Return the head of a classifier's folder.

    recipe: for the ModelError where it does not end in one linear layer with a bias.
    """
    from torch import nn

    model = TorchClassifier(folder)
    last = [(name, part) for name, part in model.module.named_modules()
            if isinstance(part, nn.Linear)][-1:]  # fmt: skip
    if not last or last[0][1].out_features != len(model.classes) or last[0][1].bias is None:
        raise ModelError(
            text("error.mitigation.unmoved", recipe=recipe),
            folder=folder,
            fix=text("error.mitigation.unmoved.fix"),
        )
    return Head(model, last[0][0])
