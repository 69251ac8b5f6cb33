"""Bytes of a training step, from the numbers of a model and the layout of its processes.

Fixed: weights, gradients and the two moments of AdamW, each in fp32, divided over the processes
that hold parts. Growing with the tokens computed at once: what the backward pass needs of each
layer. The form is counted from the operations of a layer; the two factors that no count gives (what
the libraries take, and how much an allocator holds beyond what is asked) are measured on the
machine (`calibrate`), and the error of the prediction is stated with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from shipworthy.plan.workload import Workload

_FP32 = 4
# Tensors of a layer that are kept for the backward pass, in hidden sizes and in inner sizes of a
# token: inputs of both blocks and of both norms, queries, keys, values and the attention's answer,
# its projection, the two dropout masks' factors; before and after the activation (and the gate).
_KEPT_HIDDEN, _KEPT_INNER, _KEPT_GATED = 11, 2, 3
# Under bf16 each product keeps a copy of its input in half the bytes; attention stays fp32.
_BF16_SHARE = 1.25


@dataclass(frozen=True)
class Factors:
    """What was measured on a machine.

    base_bytes: of a process with its libraries, without a model. per_fixed, per_token: bytes taken
    for each byte counted. error: half width of the interval around a prediction, as a share.
    """

    base_bytes: float = 350e6
    per_fixed: float = 1.1
    per_token: float = 1.3
    error: float = 0.35


@dataclass(frozen=True)
class Memory:
    """Bytes of one process, part by part.

    base, weights, gradients, optimizer: whatever is computed. per_token: for each token computed at
    once. error: of the whole, as a share.
    """

    base: float
    weights: float
    gradients: float
    optimizer: float
    per_token: float
    error: float

    @property
    def fixed(self) -> float:
        """Bytes that do not hang on how much is computed at once."""
        return self.base + self.weights + self.gradients + self.optimizer

    def total(self, tokens: int) -> float:
        """Bytes of a step that computes so many tokens at once."""
        return self.fixed + self.per_token * tokens

    def most_tokens(self, available: float, *, safe: bool = True) -> int:
        """Return the most tokens at once that fit; 0 where nothing does.

        available: bytes that the process may take in all. safe: count with the upper end of the
        prediction's interval.
        """
        room = available / (1.0 + self.error if safe else 1.0) - self.fixed
        return max(0, int(room / self.per_token))


def memory_of(
    workload: Workload,
    *,
    precision: Literal["fp32", "bf16"] = "fp32",
    attention_dropout: bool = False,
    length: int = 128,
    shard: int = 1,
    tensor: int = 1,
    pipeline: int = 1,
    factors: Factors | None = None,
) -> Memory:
    """Return what a process of a training run takes.

    length: of the longest text; it counts only where attention weights are laid down, for their
    dropout. shard, tensor, pipeline: processes along each axis.
    """
    known = factors or Factors()
    layers = -(-workload.layers // pipeline)
    layer = workload.layer_parameters / (shard * tensor)
    # Tables lie in the first stage, on every process that cuts layers.
    fixed = (layers * layer + workload.embedding_parameters / shard) * _FP32
    kept: float = _KEPT_HIDDEN * workload.hidden
    kept += (_KEPT_GATED if workload.gated else _KEPT_INNER) * workload.inner / tensor
    if attention_dropout:  # weights, factors and scores, each query with each key
        kept += 3 * workload.heads / tensor * length
    per_token = layers * kept * _FP32 * (_BF16_SHARE if precision == "bf16" else 1.0)
    if workload.language_model:
        per_token += 3 * workload.outputs * _FP32
    return Memory(
        known.base_bytes,
        fixed * known.per_fixed,
        fixed * known.per_fixed,
        2 * fixed * known.per_fixed,
        per_token * known.per_token,
        known.error,
    )
