"""A linear model trained by a lesson of ours, step by step, on arrays: no texts, no packing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from shipworthy.train.lesson import Lesson
from shipworthy.train.microbatches import LabelledRows, MicroBatch
from shipworthy.train.objectives import Classification


class Linear(nn.Module):
    """Logits of two classes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.head = nn.Linear(width, 2)
        self.config = SimpleNamespace(num_labels=2)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.head(features)


def trained(
    features: np.ndarray, labels: np.ndarray, lesson: Lesson | None, *, epochs: int = 20,
    rate: float = 2e-3, batch: int = 400, seed: int = 0, micro: int | None = None,
) -> Linear:  # fmt: skip
    """Return the model after Adam's steps. micro: rows that are computed at once."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = Linear(features.shape[1])
    table = torch.from_numpy(features).float()
    rows_of = LabelledRows(cast(Any, None), labels.astype(np.int64), 0)
    plain = Classification()
    objective: Any = plain
    if lesson is not None:
        objective = lesson.begin(module, cast(Any, None), rows_of, plain)
    optimizer = torch.optim.Adam(module.parameters(), lr=rate)
    generator = np.random.default_rng(seed)
    for _ in range(epochs):
        order = generator.permutation(len(labels))
        for start in range(0, len(order) - batch + 1, batch):
            rows = order[start : start + batch]
            weight = objective.weight(rows_of, rows)
            for part in np.array_split(rows, 1 if micro is None else batch // micro):
                loss = objective.loss_sum(module(table[part]), micro_batch(part, labels)) / weight
                torch.autograd.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
    if lesson is not None:
        lesson.end(module)
    return module


def micro_batch(rows: np.ndarray, labels: np.ndarray) -> MicroBatch:
    none = torch.zeros(0, dtype=torch.int64)
    told = torch.from_numpy(labels[rows].astype(np.int64))
    return MicroBatch(rows, {}, told, none, none, None, rows)


def answers(module: Linear, features: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return module(torch.from_numpy(features).float()).argmax(dim=1).numpy().astype(float)
