"""What a model can do, as protocols: all that measuring, explaining and serving ever see.

A consumer asks for the capability that it needs with `require`, which names what is missing. Rows
are Polars frames, answers are NumPy arrays; no protocol mentions the library behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar, cast

from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from shipworthy.data.batches import Batch, Encoded

    FloatArray: TypeAlias = NDArray[np.float64]

T = TypeVar("T")


@dataclass(frozen=True)
class Ragged:
    """Rows of unequal length: row i is values[offsets[i]:offsets[i + 1]].

    values: shape (total,); offsets: shape (n + 1,), from 0 to total, never falling.
    """

    values: FloatArray
    offsets: NDArray[np.int64]


@dataclass(frozen=True)
class TokenLosses(Ragged):
    """Negative log-likelihood of each predicted token, in nats."""


class Classifier(Protocol):
    """Gives one of k classes to every row."""

    classes: tuple[str, ...]

    def log_probabilities(self, rows: pl.DataFrame) -> FloatArray:
        """Natural logarithms of the class probabilities, shape (n, k), columns as `classes`."""
        ...


class Regressor(Protocol):
    """Gives a number to every row."""

    def predict(self, rows: pl.DataFrame) -> FloatArray:
        """Predicted values, shape (n,), in the unit of the label."""
        ...


class LanguageModel(Protocol):
    """Gives a likelihood to text, and continues it."""

    def token_losses(self, rows: pl.DataFrame) -> TokenLosses:
        """Loss of each token of each row, in nats."""
        ...

    def choice_log_likelihoods(
        self, rows: pl.DataFrame, *, normalize: Literal["none", "tokens", "bytes"]
    ) -> Ragged:
        """Log-likelihood of each choice of each row, as it is or per token or byte."""
        ...

    def generate(self, rows: pl.DataFrame, *, max_new_tokens: int, seed: int) -> list[str]:
        """Return one continuation a row."""
        ...


class Encodes(Protocol):
    """Splits an answer into its two costs: text to token ids, token ids to answer."""

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Token ids of each text, cut to the model's longest input."""
        ...

    def score(self, encoded: Encoded) -> FloatArray:
        """Natural logarithms of the class probabilities of encoded texts, shape (n, k)."""
        ...


class Differentiable(Protocol):
    """Knows how an answer changes with its input."""

    def gradients(self, batch: Batch, target: int) -> FloatArray:
        """Gradient of the log-probability of class `target` by the input embeddings, (b, L, d)."""
        ...


def missing(model: object, capability: type[Any]) -> tuple[str, ...]:
    """Return what `model` lacks of a protocol: names of attributes and methods, sorted."""
    names: set[str] = set()
    for base in capability.__mro__:
        if base not in (object, Protocol) and getattr(base, "_is_protocol", False):
            names |= {n for n in vars(base) if callable(vars(base)[n])}
            names |= set(base.__dict__.get("__annotations__", {}))
    public = {n for n in names if not n.startswith("_")}
    return tuple(sorted(n for n in public if not hasattr(model, n)))


def require(model: object, capability: type[T], *, purpose: str) -> T:
    """Return the model, typed as having the capability.

    Raises ModelError that names the capability, what is missing of it and the purpose.

    >>> require(object(), Regressor, purpose="residual plots")
    Traceback (most recent call last):
    ...
    shipworthy.core.errors.ModelError: residual plots: object is no Regressor; it lacks predict
    """
    lacks = missing(model, capability)
    if lacks:
        raise ModelError(
            text(
                "error.capabilities.lacks",
                purpose=purpose,
                model=type(model).__name__,
                capability=capability.__name__,
            ),
            fix=text("error.capabilities.lacks.fix", names=", ".join(lacks)),
        )
    return cast("T", model)
