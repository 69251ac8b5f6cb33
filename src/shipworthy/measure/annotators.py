"""How far annotators agree: Krippendorff's alpha over items, in all rows and in each group.

Alpha is 1 - observed / expected disagreement (Krippendorff 2011); ends by a bootstrap over items,
which are what was drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.measure.preferences import krippendorff_alpha
from shipworthy.measure.slices import unit_codes
from shipworthy.model.class_names import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl
    from numpy.typing import NDArray

    from shipworthy.measure.composition_roles import Roles
    from shipworthy.measure.slices import Partition

    FloatArray: TypeAlias = NDArray[np.float64]

REPLICATES = 500
FEW_ITEMS = 30
"""Items judged by two or more below which there are no ends."""


@dataclass(frozen=True)
class Agreement:
    """Alpha of some items. group: "" for all; items: judged at least twice; NaN ends: too few."""

    group: str
    items: int
    judgements: int
    alpha: float
    low: float
    high: float


def agreement(
    counts: FloatArray, *, group: str = "", confidence: float = 0.95, seed: int = 0
) -> Agreement:
    """Return alpha of nominal labels. counts: how often each item got each label, (items, k)."""
    paired = counts[counts.sum(axis=1) >= 2]
    alpha = krippendorff_alpha(paired)
    low = high = float("nan")
    if len(paired) >= FEW_ITEMS:
        generator = np.random.default_rng(seed)
        drawn = [
            krippendorff_alpha(paired[generator.integers(len(paired), size=len(paired))])
            for _ in range(REPLICATES)
        ]
        half = (1 - confidence) / 2
        known = np.array(drawn)[~np.isnan(drawn)]
        if len(known) > REPLICATES // 2:
            low, high = (float(q) for q in np.quantile(known, [half, 1 - half]))
    return Agreement(group, len(paired), int(paired.sum()), alpha, low, high)


def agreements(
    frame: pl.DataFrame, roles: Roles, parts: Mapping[str, Partition]
) -> tuple[Agreement, ...]:
    """Return the agreement of all rows, then of each group of each column.

    An item is of the group of its first row.
    """
    import polars as pl

    if not roles.annotators:
        return ()
    if len(roles.annotators) > 1:
        said = [canonical(frame[c]) for c in roles.annotators]
        items = np.arange(frame.height)
        long = [(i, v) for one in said for i, v in enumerate(one.to_list()) if v is not None]
    else:
        if roles.label is None or roles.item is None:
            return ()
        items = unit_codes(frame[roles.item])
        values = canonical(frame[roles.label]).to_list()
        long = [(int(items[i]), v) for i, v in enumerate(values) if v is not None]
    names = sorted({v for _, v in long})
    place = {v: k for k, v in enumerate(names)}
    counts = np.zeros((int(items.max(initial=0)) + 1, len(names)))
    for item, value in long:
        counts[item, place[value]] += 1
    found = [agreement(counts, confidence=roles.confidence, seed=roles.seed)]
    for column, rows in parts.items():
        owner = pl.DataFrame({"item": items, "code": rows.codes}).group_by("item").first()
        code = dict(owner.iter_rows())
        for k, one in enumerate(rows.slices):
            own = counts[[i for i in range(len(counts)) if code.get(i) == k]]
            value = one.conditions[0][1]
            name = f"{column} = {value}" if value is not None else f"{column} = "
            found.append(agreement(own, group=name, confidence=roles.confidence, seed=roles.seed))
    return tuple(found)
