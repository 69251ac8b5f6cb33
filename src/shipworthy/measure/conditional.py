"""Conditional demographic disparity: who is refused more often than chosen, among comparable rows.

Of one group in one stratum it is its share of the refused less its share of the chosen; the
conditional one is the mean over strata by their rows (Wachter, Mittelstadt & Russell 2021). Above 0
the group is refused more than its part. With labels in place of predictions it says the same of the
data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.measure.audited_ranking import joined
from shipworthy.measure.cell_means import linear
from shipworthy.measure.cells import Area, over
from shipworthy.measure.estimates import Mean
from shipworthy.measure.slices import compacted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]
    IntArray: TypeAlias = NDArray[np.int64]
    BoolArray: TypeAlias = NDArray[np.bool_]


def conditional_disparity(groups: Area, chosen: BoolArray, stratum: IntArray) -> Mean:
    """Conditional demographic disparity of each group, in [-1, 1], over all rows compared.

    groups: the slices that are compared; chosen: answered (or labelled) positive, stratum: code of
    the condition, both shape (c,). A stratum with nobody refused, or nobody chosen, says nothing:
    it is left out, and so are its rows. NaN where no stratum is left.
    """
    w = groups.cells.w
    _, s = compacted(stratum, int(stratum.max(initial=0)) + 1)
    strata = int(s.max(initial=-1)) + 1
    refused = np.bincount(s, w * ~chosen, strata)
    accepted = np.bincount(s, w * chosen, strata)
    usable = (refused > 0) & (accepted > 0)
    inside = usable[s]
    total = float(w[inside].sum())
    side = np.where(chosen, -over(np.ones(strata), accepted)[s], over(np.ones(strata), refused)[s])
    mass = refused + accepted
    values, influences = np.full(groups.m, np.nan), np.zeros((groups.m, len(w)))
    for g in range(groups.m) if total > 0 else ():
        own = groups.codes == g
        ends = [
            over(np.bincount(s, w * (own & part), strata), whole)
            for part, whole in ((~chosen, refused), (chosen, accepted))
        ]
        each = np.where(usable, ends[0] - ends[1], 0.0)
        values[g] = float((mass * each)[usable].sum() / total)
        share = np.where(chosen, ends[1][s], ends[0][s])
        moved = mass[s] * side * (own - share) + each[s] - values[g]
        influences[g] = np.where(inside, np.nan_to_num(moved), 0.0) / total
    return _stacked(groups, values, influences, inside)


def _stacked(groups: Area, values: FloatArray, influences: FloatArray, inside: BoolArray) -> Mean:
    """One estimate a group, each resting on all rows."""
    cells = groups.cells
    whole = Area((), groups.slices[:1], np.zeros(len(cells), dtype=np.int64), cells)
    found = [
        linear(whole, values[g : g + 1], influences[g], counted=inside) for g in range(groups.m)
    ]
    return joined(found)
