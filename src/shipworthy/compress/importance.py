"""How much the loss would change without a neuron or a head, of all rows or of each group.

A mask of ones on a part's values has the gradient g = sum over tokens of value x its gradient, and
the loss without the part differs by about g²/2 where the loss is flat (Kwon et al. 2022, "A fast
post-training pruning framework", eq. 5: the diagonal of the empirical Fisher information). The
mean of g² over rows is the importance of the part for these rows. Groups are brought to one scale,
each to its own total, and a part counts as much as it does for the group that needs it most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text
from shipworthy.core.progress import progress
from shipworthy.data.batches import buckets, pad
from shipworthy.data.tokens import encode_cached
from shipworthy.model.pretrained import load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import polars as pl
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from shipworthy.compress.lever_settings import Balance
    from shipworthy.compress.material import Material
    from shipworthy.data.tokens import TokenFiles
    from shipworthy.model.checkpoint import RuntimeInfo

    FloatArray = NDArray[np.float64]

MOST_ROWS = 2048
"""Rows that are looked at; a part's place among the others moves little with more."""
FEWEST_ROWS = 20
"""Rows below which nothing is said."""
FEWEST_OF_GROUP = 5
"""Rows below which a group has no importance of its own; one so small carries no verdict either."""
TOKENS = 4096


@dataclass(frozen=True, eq=False)
class Groups:
    """Which rows belong to which group. names: of the groups; members: bool, (groups, rows)."""

    names: tuple[str, ...]
    members: NDArray[np.bool_]


def groups_of(material: Material, balance: Balance) -> Groups:
    """Return the groups that importance is measured for: one of all rows, or one a value.

    Raises ModelError where groups are asked for and there is none with enough rows.
    """
    rows = material.calibration
    if balance == "rows":
        return Groups(("",), np.ones((1, rows.height), bool))
    return members_of(rows, material.groups)


def members_of(rows: pl.DataFrame, columns: Sequence[str]) -> Groups:
    """Return the groups of some rows, one a value of each column.

    Raises ModelError where there is none with enough rows.
    """
    found = {
        f"{column}={value}": (rows[column] == value).fill_null(False).to_numpy()
        for column in columns
        for value in rows[column].drop_nulls().unique().sort().to_list()
    }
    found = {name: members for name, members in found.items() if members.sum() >= FEWEST_OF_GROUP}
    if not found:
        raise ModelError(
            text("error.importance.groups", rows=FEWEST_OF_GROUP),
            fix=text("error.importance.groups.fix"),
        )
    return Groups(tuple(found), np.array(list(found.values())))


def fisher(
    module: nn.Module,
    parent: Path | str,
    info: RuntimeInfo,
    sites: Sequence[str],
    parts: int,
    material: Material,
    balance: Balance,
) -> dict[str, FloatArray]:
    """Return the importance of the parts of each site, shape (parts,), from 0 on.

    sites: names of the linear layers that read the parts; each reads `parts` runs of equal length.
    Only calibration rows are looked at.
    Raises ModelError where there are fewer than `FEWEST_ROWS` of them, or no group is large enough.
    """
    groups = groups_of(material, balance)
    squares = {site: np.zeros((len(groups.names), parts)) for site in sites}
    gradients = _gradients(module, parent, info, sites, parts, material)
    for rows, found in gradients:
        members = groups.members[:, rows].astype(np.float64)
        for site, values in found.items():
            squares[site] += members @ np.square(values)
    totals = np.sum([s.sum(axis=1) for s in squares.values()], axis=0)
    # A group whose loss does not depend on any part has nothing to say.
    scale = np.where(totals > 0, 1.0 / np.where(totals > 0, totals, 1.0), 0.0)
    return {site: (s * scale[:, None]).max(axis=0) for site, s in squares.items()}


def rows_to_look_at(material: Material) -> NDArray[np.int64]:
    """Return the numbers of the calibration rows that are looked at, at most `MOST_ROWS`."""
    chosen = np.arange(material.calibration.height)
    if len(chosen) > MOST_ROWS:
        generator = np.random.default_rng([material.seed, len(chosen)])
        chosen = np.sort(generator.choice(chosen, MOST_ROWS, replace=False))
    return chosen


def looked_at(
    parent: Path | str, info: RuntimeInfo, material: Material, *, fix: str
) -> tuple[NDArray[np.int64], TokenFiles]:
    """Return the numbers of the calibration rows that are looked at, and their tokens.

    fix: what to do where they are too few.
    Raises ModelError where there are fewer than `FEWEST_ROWS`.
    """
    frame = material.calibration
    if frame.height < FEWEST_ROWS:
        raise ModelError(
            text("error.importance.rows", rows=frame.height, least=FEWEST_ROWS), fix=fix
        )
    chosen = rows_to_look_at(material)
    texts = frame[material.text].gather(chosen).to_list()
    encoded = encode_cached(
        load_tokenizer(parent), texts, max_length=info.max_length, cache=material.tokens
    )
    return chosen, encoded


def _gradients(
    module: Any,
    parent: Path | str,
    info: RuntimeInfo,
    sites: Sequence[str],
    parts: int,
    material: Material,
) -> Any:
    """Yield row numbers of the calibration rows and the gradients of the masks at each site."""
    import torch
    from torch.nn.functional import cross_entropy

    chosen, encoded = looked_at(parent, info, material, fix=text("error.importance.rows.fix"))
    frame = material.calibration
    number = {name: k for k, name in enumerate(info.classes)}
    labels = np.array([number[str(v)] for v in frame[material.label].gather(chosen).to_list()])
    batches = buckets(encoded.lengths, token_budget=TOKENS, seed=None)
    inputs: dict[str, Tensor] = {}
    hooks = [_catch(module.get_submodule(site), site, inputs) for site in sites]
    padding = int(module.config.pad_token_id or 0)
    try:
        with progress("importance", total=len(chosen), unit="rows") as report:
            for rows in batches:
                batch = pad(encoded, rows, pad_token_id=padding)
                answer = module(
                    input_ids=torch.from_numpy(batch.input_ids),
                    attention_mask=torch.from_numpy(batch.attention_mask),
                ).logits
                loss = cross_entropy(answer, torch.from_numpy(labels[rows]), reduction="sum")
                values = [inputs[site] for site in sites]
                slopes = torch.autograd.grad(loss, values)
                yield (
                    chosen[rows],
                    {
                        site: _of_masks(value, slope, parts)
                        for site, value, slope in zip(sites, values, slopes, strict=True)
                    },
                )
                report(len(rows))
    finally:
        for hook in hooks:
            hook.remove()


def _catch(layer: nn.Module, site: str, inputs: dict[str, Tensor]) -> Any:
    """Keep what a layer is called with, as something that a gradient can be taken of."""

    def keep(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        inputs[site] = arguments[0]

    return layer.register_forward_pre_hook(keep)


def _of_masks(value: Tensor, slope: Tensor, parts: int) -> FloatArray:
    """Return the gradient of each row's mask, shape (rows, parts). value, slope: (rows, l, n)."""
    product = (value.detach() * slope).sum(dim=1).double().numpy()
    whole: FloatArray = product.reshape(len(product), parts, -1).sum(axis=-1)
    return whole


def least(scores: Mapping[str, FloatArray], share: float) -> dict[str, NDArray[np.int64]]:
    """Return the parts that go at each site: the same number everywhere, least important first.

    Among equal ones the first goes first. Numbers rise.
    """
    found = {}
    for site, values in scores.items():
        count = round(share * len(values))
        found[site] = np.sort(np.argsort(values, kind="stable")[:count])
    return found
