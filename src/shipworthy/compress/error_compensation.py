"""Rounding that makes good for itself (GPTQ, Frantar et al. 2023).

Columns of a matrix are rounded one after the other; what each rounding does to the matrix's output
on calibration texts is taken back, as far as it can be, by the columns that are still to come.
Layers are gone through in order, each on what the rounded layers before it give.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import Tensor, nn

    from shipworthy.core.progress import Step

DAMPING = 0.01
"""Share of the mean of the diagonal that is added to it: directions that no text uses stay put."""

COLUMNS = 128
"""Columns after which what is left of a matrix is moved all at once."""


def compensated_steps(weights: Tensor, gram: Tensor, group: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return steps (uint8, shape of the weights), scales and zeros of a matrix.

    weights: (n, k); gram: sum of x x^T over the inputs x of the matrix, (k, k); group: columns that
    share a scale and zero, a divisor of k.
    """
    import torch

    from shipworthy.model.packed import grid

    left = weights.detach().double().clone()
    matrix = gram.double().clone()
    dead = torch.diagonal(matrix) <= 0
    matrix[dead, dead] = 1.0
    damping = DAMPING * float(torch.diagonal(matrix).mean())
    matrix.diagonal().add_(damping)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(matrix))
    factor = torch.linalg.cholesky(inverse, upper=True)
    steps = torch.zeros(weights.shape, dtype=torch.uint8)
    scales, zeros = [], []
    for start in range(0, weights.shape[1], COLUMNS):
        stop = min(start + COLUMNS, weights.shape[1])
        part, errors = left[:, start:stop], torch.zeros(len(left), stop - start).double()
        for column in range(stop - start):
            place = start + column
            if place % group == 0:
                # The grid is that of the weights as they have become by now.
                scale, zero = grid(left[:, place : place + group].float(), group)
                scales.append(scale)
                zeros.append(zero)
            scale64, zero64 = scales[-1][:, 0].double(), zeros[-1][:, 0].double()
            found = ((part[:, column] - zero64) / scale64).round().clamp(0, 15)
            steps[:, place] = found.to(torch.uint8)
            error = (part[:, column] - (found * scale64 + zero64)) / factor[place, place]
            part[:, column:] -= error[:, None] * factor[place, place:stop]
            errors[:, column] = error
        left[:, stop:] -= errors @ factor[start:stop, stop:]
    return steps, torch.cat(scales, dim=1), torch.cat(zeros, dim=1)


def compensated(
    module: nn.Module,
    batches: Sequence[Tensor],
    matrices: set[int],
    group: int,
    step: Step | None = None,
) -> dict[int, tuple[Tensor, Tensor, Tensor]]:
    """Round the matrices of a language model; return steps, scales and zeros by the weights' ids.

    module: in eval mode; its weights become what they were rounded to. batches: token ids, each
    (1, length), of calibration texts. matrices: ids of the weights to round, all of them in the
    repeated layers.
    Raises ModelError where the model has no list of layers that follow one another.
    """
    import torch

    layers = _layers(module)
    found: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
    with torch.no_grad():
        inputs = [_first_input(module, layers[0], tokens) for tokens in batches]
        for layer in layers:
            rounded = [
                m for m in layer.modules()
                if isinstance(m, torch.nn.Linear) and id(m.weight) in matrices
            ]  # fmt: skip
            with _grams(rounded) as grams:
                for hidden, options in inputs:
                    layer(hidden, **options)
            for matrix in rounded:
                parts = compensated_steps(matrix.weight, grams[id(matrix)], group)
                found[id(matrix.weight)] = parts
                matrix.weight.copy_(_values(*parts, group))
            inputs = [(_output(layer(hidden, **options)), options) for hidden, options in inputs]
            if step is not None:
                step(1)
    return found


def _values(steps: Tensor, scales: Tensor, zeros: Tensor, group: int) -> Tensor:
    parted = steps.float().reshape(len(steps), -1, group)
    return (parted * scales.float()[..., None] + zeros.float()[..., None]).flatten(1)


def _layers(module: nn.Module) -> list[nn.Module]:
    import torch

    model: Any = module
    lists = [m for m in model.base_model.children() if isinstance(m, torch.nn.ModuleList)]
    if len(lists) != 1:
        raise ModelError(text("error.compensation.layers", model=type(module).__name__))
    return list(lists[0])


class _FoundError(Exception):
    """What the first layer is called with is known."""


def _first_input(
    module: nn.Module, layer: nn.Module, tokens: Tensor
) -> tuple[Tensor, dict[str, Any]]:
    """Return the hidden values and options that the first layer is called with."""
    caught: list[tuple[Tensor, dict[str, Any]]] = []

    def catch(_: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        rest = dict(options)
        hidden = arguments[0] if arguments else rest.pop("hidden_states")
        caught.append((hidden, rest))
        raise _FoundError

    handle = layer.register_forward_pre_hook(catch, with_kwargs=True)
    model: Any = module
    try:
        model.base_model(input_ids=tokens, use_cache=False)
    except _FoundError:
        pass
    finally:
        handle.remove()
    return caught[0]


@contextmanager
def _grams(matrices: Sequence[nn.Module]) -> Iterator[dict[int, Tensor]]:
    """Sum up what the inputs of matrices are like inside the block, by the layer's id."""
    found: dict[int, Tensor] = {}

    def add(layer: nn.Module, arguments: tuple[Any, ...]) -> None:
        rows: torch.Tensor = arguments[0].detach().flatten(0, -2).float()
        gram = rows.T @ rows
        found[id(layer)] = found[id(layer)] + gram if id(layer) in found else gram

    handles = [m.register_forward_pre_hook(add) for m in matrices]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _output(given: Any) -> Tensor:
    found: Tensor = given[0] if isinstance(given, tuple) else given
    return found
