"""What the first rows prove about a recipe, so that a search need not ask about the others.

A recipe is stopped where it is sure that a limit is missed. Many slices of many limits are looked
at, and the worst of many that are all well looks bad by chance: so the tests are those of the gate,
one-sided, and adjusted together for their number by Holm's rule (docs/method.md, section 16). A
recipe that keeps all its limits is then stopped with a probability of `LEVEL` at most, however many
slices there are and however they depend on each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from shipworthy.measure.decide import holm
from shipworthy.measure.estimates import Unmeasured
from shipworthy.measure.one_sided import one_sided

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from shipworthy.measure.decide import Evidence

LEVEL = 0.01
"""Probability, at most, that a recipe which keeps all limits is stopped."""


def surely_missed(items: Sequence[Evidence], *, level: float = LEVEL) -> list[NDArray[np.bool_]]:
    """Return for each piece of evidence which of its slices surely miss the limit.

    Slices that are too small for a verdict, and what was not measured, are no proof.
    """
    found = []
    for item in items:
        if isinstance(item.estimate, Unmeasured):
            found.append(np.full(item.estimate.m, np.nan))
            continue
        tests = one_sided(item.estimate, item.bound, item.limit.side, alpha=level)
        found.append(np.atleast_1d(tests.p_fail))
    sizes = np.cumsum([len(p) for p in found])[:-1]
    everything = np.concatenate(found) if found else np.zeros(0)
    with np.errstate(invalid="ignore"):
        missed = holm(everything) <= level
    return list(np.split(missed, sizes))
