"""A model that is trained in another form than it is stored in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn


@dataclass(frozen=True)
class Form:
    """How a model is brought into the form that is trained, and back.

    name: of the form, a part of the run's identity. prepare: brings a fresh model into it, in
    place, the same way each time; finish: brings the trained one back into plain transformers.
    """

    name: str
    prepare: Callable[[nn.Module], None]
    finish: Callable[[nn.Module], None]
