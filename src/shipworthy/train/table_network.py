"""The small network of a table is trained: dense layers, AdamW, a cosine, early stopping.

In single precision on one thread, so that the same rows and seed give the same bytes.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from shipworthy.model.table_model import forward
from shipworthy.model.torch_runtime import torch_threads

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from shipworthy.model.table_columns import Preparation
    from shipworthy.train.table_settings import NetworkSettings

    Matrix: TypeAlias = NDArray[np.float32]
    Layers: TypeAlias = list[tuple[torch.Tensor, torch.Tensor]]


def scaled(prepared: Preparation, numbers: NDArray[np.float64]) -> Preparation:
    """Return the preparation with what the label is scaled by: its mean and its deviation."""
    return replace(prepared, center=float(numbers.mean()), spread=float(numbers.std()) or 1.0)


def train_network(
    rows: tuple[Matrix, Matrix],
    answers: tuple[NDArray[Any], NDArray[Any]],
    prepared: Preparation,
    classes: tuple[str, ...],
    settings: NetworkSettings,
    *,
    seed: int,
    file: Path,
) -> tuple[int, float]:
    """Train a network, write its weights, and return passes kept and loss on calibration rows.

    rows, answers: to train on, and of calibration; without any of the latter the last pass is kept.
    """
    import torch
    from safetensors.torch import save_file

    with torch_threads(1):
        generator = torch.Generator().manual_seed(seed)
        widths = [prepared.width, *settings.hidden, max(len(classes), 1)]
        layers = _fresh(widths, generator)
        targets = [_targets(one, prepared, classes) for one in answers]
        values = [torch.from_numpy(one) for one in rows]
        best, rounds, loss = _passes(layers, values, targets, settings, generator)
    tensors: dict[str, torch.Tensor] = {}
    for place, (weight, bias) in enumerate(best):
        tensors |= {f"{place}.weight": weight.contiguous(), f"{place}.bias": bias.contiguous()}
    save_file(tensors, file)
    # In the unit of the label, squared.
    return rounds, loss if classes else loss * prepared.spread**2


def _fresh(widths: list[int], generator: torch.Generator) -> Layers:
    """Return layers drawn as torch draws those of `nn.Linear`, from this generator."""
    import torch

    layers = []
    for before, after in zip(widths, widths[1:], strict=False):
        bound = 1 / math.sqrt(max(before, 1))
        weight = torch.empty(after, before).uniform_(-bound, bound, generator=generator)
        bias = torch.empty(after).uniform_(-bound, bound, generator=generator)
        layers.append((weight.requires_grad_(), bias.requires_grad_()))
    return layers


def _targets(
    answers: NDArray[Any], prepared: Preparation, classes: tuple[str, ...]
) -> torch.Tensor:
    import torch

    if classes:
        return torch.from_numpy(answers)
    scaled_answers = (answers - prepared.center) / prepared.spread
    return torch.from_numpy(scaled_answers.astype(np.float32))


def _passes(
    layers: Layers,
    rows: list[torch.Tensor],
    targets: list[torch.Tensor],
    settings: NetworkSettings,
    generator: torch.Generator,
) -> tuple[Layers, int, float]:
    import torch

    weights = [tensor for layer in layers for tensor in layer]
    optimizer = torch.optim.AdamW(
        weights, lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    n = len(rows[0])
    total = settings.epochs * math.ceil(n / settings.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
    best, kept, lowest = _copied(layers), 0, math.inf
    for epoch in range(1, settings.epochs + 1):
        order = torch.randperm(n, generator=generator)
        for start in range(0, n, settings.batch_size):
            chosen = order[start : start + settings.batch_size]
            outputs = _dropped(rows[0][chosen], layers, settings.dropout, generator)
            loss = _loss(outputs, targets[0][chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        if not len(rows[1]):
            best, kept = _copied(layers), epoch
            continue
        with torch.inference_mode():
            held = float(_loss(forward(rows[1], layers), targets[1]))
        if held < lowest:
            best, kept, lowest = _copied(layers), epoch, held
        elif epoch - kept >= settings.patience:
            break
    return best, kept, lowest if math.isfinite(lowest) else math.nan


def _dropped(
    values: torch.Tensor, layers: Layers, share: float, generator: torch.Generator
) -> torch.Tensor:
    """Return the last layer's output, hidden units left out at random and the others raised."""
    import torch

    for weight, bias in layers[:-1]:
        values = torch.relu(torch.nn.functional.linear(values, weight, bias))
        if share > 0:
            kept = torch.rand(values.shape, generator=generator) >= share
            values = values * kept / (1 - share)
    return torch.nn.functional.linear(values, *layers[-1])


def _loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    import torch

    if targets.is_floating_point():
        return torch.nn.functional.mse_loss(outputs[:, 0], targets)
    return torch.nn.functional.cross_entropy(outputs, targets)


def _copied(layers: Layers) -> Layers:
    return [(weight.detach().clone(), bias.detach().clone()) for weight, bias in layers]
