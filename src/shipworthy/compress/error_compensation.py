"""Rounding that makes good for itself (GPTQ, Frantar et al. 2023), by Intel's neural-compressor.

Columns of a matrix are rounded one after the other; what each rounding does to the matrix's output
on calibration texts is taken back, as far as it can be, by the columns that are still to come.
Layers are gone through in order, each on what the rounded layers before it give.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from shipworthy.core.progress import Step

DAMPING = 0.01
"""Share of the mean of the diagonal that is added to it: directions that no text uses stay put."""


def compensated(
    module: Any,
    batches: Sequence[Tensor],
    matrices: set[str],
    group: int,
    step: Step | None = None,
) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """Round linear layers of a language model; return steps, scales and zeros by their names.

    The steps are uint8, of the shape of the weights; scales and zeros bf16, one a group of columns,
    so that a weight is step x scale + zero. module: in eval mode; it is of no use afterwards.
    batches: token ids, each (1, length), of calibration texts. matrices: names of the layers to
    round. group: columns that share a scale, a divisor of the columns. step: called for each layer.
    Raises ModelError where the library is absent or does not find layers that follow one another.
    """
    import torch

    linear = {name for name, m in module.named_modules() if isinstance(m, torch.nn.Linear)}
    with _library() as (gptq, prepare, convert):
        settings = gptq(
            bits=4, use_sym=False, group_size=group, percdamp=DAMPING, quant_lm_head=False
        )
        for name in sorted(linear - matrices):
            settings.set_local(name, gptq(dtype="fp32"))
        with torch.no_grad():
            ready = prepare(module, settings)
            place = ready.get_input_embeddings().weight.device  # the library takes a GPU it finds
            for tokens in batches:
                # What the first layer is given is all that is wanted of a call: it ends there.
                with suppress(ValueError):
                    ready(input_ids=tokens.to(place), use_cache=False)
            if step is not None:
                _tell_layers(ready, step)
            made = dict(convert(ready).named_modules())
    found = {name: _parts(made[name]) for name in matrices if hasattr(made[name], "unpack")}
    if len(found) < len(matrices):
        raise ModelError(text("error.compensation.layers", model=type(module).__name__))
    return found


def _tell_layers(module: Any, step: Step) -> None:
    """Call `step` when a layer of the model is first run from here on."""
    import torch

    for layers in module.base_model.children():
        for layer in layers if isinstance(layers, torch.nn.ModuleList) else ():

            def run(*_: Any, handles: list[Any]) -> None:
                handles.pop().remove()
                step(1)

            handles: list[Any] = []
            handles.append(layer.register_forward_pre_hook(partial(run, handles=handles)))


def _parts(linear: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Return steps, scales and zeros of a layer that the library has packed."""
    import torch

    told = linear.unpack()
    steps, scales = told["int_weight"].to(torch.uint8).cpu(), told["scales"].float().cpu()
    zeros = -told["zp"].float().cpu() * scales
    return steps, scales.to(torch.bfloat16), zeros.to(torch.bfloat16)


@contextmanager
def _library() -> Iterator[tuple[Any, Any, Any]]:
    """Give the library's functions; what it would log, from its import on, stays out of the way."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with TemporaryDirectory() as place:
            try:
                from neural_compressor.common import options

                # It would make a folder in the working directory, on being imported.
                options.workspace = place
                from neural_compressor.torch.quantization import GPTQConfig, convert, prepare
            except ImportError as error:
                raise ModelError(
                    text("error.compensation.absent", name=error.name),
                    fix=text("error.compensation.absent.fix"),
                ) from error
            yield GPTQConfig, prepare, convert
    finally:
        logging.disable(before)
