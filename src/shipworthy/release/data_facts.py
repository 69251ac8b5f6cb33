"""Facts about the rows behind a verdict that a limit can look at: repeated ones, smallest group.

Rows that say the same count more than once, and make intervals narrower than they are; a group of a
few rows can be shown to be inside nothing. Both are counts of the rows of one split and the same
for every candidate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.measure.estimates import Estimate, Fact, Unmeasured

if TYPE_CHECKING:
    import polars as pl

    from shipworthy.core.records import RelativeTo
    from shipworthy.data.settings import DataSettings
    from shipworthy.release.policy import Policy

DUPLICATES = "duplicate_share"
SMALLEST = "smallest_group_rows"
MEASURES = (DUPLICATES, SMALLEST)


def asked(policy: Policy) -> tuple[str, ...]:
    """Return which of these a policy limits."""
    return tuple(m for m in MEASURES if any(m in (li.measure, li.bound) for li in policy.limits))


def similarity_of(settings: DataSettings) -> float:
    """Return the similarity from which two texts are one: that of the split; `off` is equality."""
    return 1.0 if settings.near_duplicates == "off" else settings.near_duplicates


def data_facts(
    rows: pl.DataFrame, settings: DataSettings, measures: tuple[str, ...]
) -> Mapping[tuple[str, RelativeTo], Estimate]:
    """Return the facts that are asked for, of the rows of one split."""
    found: dict[tuple[str, Any], Estimate] = {}
    if DUPLICATES in measures:
        found[DUPLICATES, "none"] = duplicate_share(rows[settings.text], similarity_of(settings))
    if SMALLEST in measures:
        found[SMALLEST, "none"] = smallest_group(rows, settings.groups)
    return found


def duplicate_share(texts: pl.Series, similarity: float) -> Estimate:
    """Return the share of texts that are equal, or nearly so, to one before them."""
    from shipworthy.measure.repeats import find_repeats

    if not len(texts):
        return Unmeasured("no_data")
    return Fact(np.array([float(find_repeats(texts, similarity=similarity).later.mean())]))


def smallest_group(rows: pl.DataFrame, groups: tuple[str, ...]) -> Estimate:
    """Return the rows of the smallest group of any of the columns; a missing value is a group."""
    counts = [int(n) for c in groups for n in rows.group_by(c).len()["len"].to_list()]
    return Fact(np.array([float(min(counts))])) if counts else Unmeasured("not_measured")
