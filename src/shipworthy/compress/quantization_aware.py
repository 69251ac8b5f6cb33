"""Training that rounds as int8 will, so that the weights come to bear it.

What is written is an ordinary fp32 folder: the rounding is only there while it is trained, and the
calibration rows are looked at with it. `int8` as the next step then rounds in the same places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipworthy.compress.blocks import repeated, require_blocks
from shipworthy.compress.parents import require_fp32
from shipworthy.compress.recover import adapted, train_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from shipworthy.compress.lever_settings import QuantizationAwareSettings
    from shipworthy.compress.material import Material
    from shipworthy.train.fake_quantization import FakeQuantization
    from shipworthy.train.microbatches import LabelledRows
    from shipworthy.train.objectives import Classification
    from shipworthy.train.packing import Caller


def train_quantization_aware(
    parent: Path | str, out: Path | str, settings: QuantizationAwareSettings, material: Material
) -> None:
    """Write a candidate in fp32 whose weights were trained under the rounding of int8.

    Goes on after a kill from what lies in `material.work`.
    Raises ModelError where the parent is of another runtime or lacks a block that is to stay in
    float, and what training raises.
    """
    info = require_fp32(parent, "trained")
    # Products in bf16 would round what is rounded already, and otherwise than int8 does.
    training = adapted(material.training, settings).model_copy(update={"precision": "fp32"})
    train_on(
        parent, out, training, settings.balance, material, classes=info.classes,
        work="quantization-aware", lesson=Rounding(Path(parent), settings.keep_float),
    )  # fmt: skip


@dataclass(eq=False)
class Rounding:
    """The lesson: plain training of a model that rounds. keep: parts that do not."""

    parent: Path
    keep: tuple[str | int, ...] = ()
    _fake: FakeQuantization | None = None

    @property
    def identity(self) -> Mapping[str, Any]:
        """Where it rounds, and that it does."""
        return {"rounding": "int8", "keep": list(self.keep)}

    def begin(
        self, module: nn.Module, caller: Caller, train: LabelledRows, plain: Classification
    ) -> Classification:
        """Let the layers round."""
        from shipworthy.train.fake_quantization import FakeQuantization

        self._fake = FakeQuantization(module, kept_layers(module, self.keep, self.parent))
        return plain

    def end(self, module: nn.Module) -> None:
        """Let the layers compute as they are again."""
        if self._fake is not None:
            self._fake.stop()


def kept_layers(
    module: nn.Module, keep: Sequence[str | int], folder: Path | str
) -> tuple[nn.Module, ...]:
    """Return the layers of the parts that do not round: numbers of blocks, and `embeddings`.

    Raises ModelError where there is no such block.
    """
    from torch import nn

    found: list[nn.Module] = []
    if "embeddings" in keep:
        found += [part for part in module.modules() if isinstance(part, nn.Embedding)]
    numbers = [part for part in keep if isinstance(part, int)]
    if numbers:
        _, _, blocks = repeated(module, folder)
        require_blocks(numbers, range(len(blocks)), folder)
        found += [part for number in numbers for part in blocks[number].modules()]
    return tuple(found)
