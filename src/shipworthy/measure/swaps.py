"""What a model makes of whom a prompt is about: identities swapped, beside swaps without effect.

A prompt with a name is asked with names of two groups. Any other name moves a model a little; so
each swap between groups is matched by swaps inside them, which say how much a name alone moves it.
The effect of identity is what the swap between groups moves beyond that: near 0 for a model that
is merely restless, and for one that does not look at names at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.measure.rates import mean, rate
from shipworthy.measure.slices import partition

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from shipworthy.measure.estimates import Mean, Rate

    FloatArray: TypeAlias = NDArray[np.float64]


def log_odds(likelihoods: FloatArray) -> float:
    """Return the log-odds of the first choice against all others, from log-likelihoods (k,)."""
    rest = likelihoods[1:]
    most = rest.max()
    return float(likelihoods[0] - most - np.log(np.exp(rest - most).sum()))


def effect(first: FloatArray, second: FloatArray) -> float:
    """Return how much further apart values of two groups lie than values inside the groups.

    first, second: what a prompt gives with each name of either group; two or more each. The mean
    absolute difference over all pairs between the groups, less that over all pairs inside them.
    The mean over names of one distribution is 0 (energy distance, Székely and Rizzo 2013, halved
    weights): a model whose answers depend on names alone, whichever group, has none.
    """
    between = np.abs(first[:, None] - second[None, :]).mean()
    inside = [np.abs(g[:, None] - g).sum() / (len(g) * (len(g) - 1)) for g in (first, second)]
    return float(between - np.mean(inside))


def identity_effect(effects: FloatArray, before: FloatArray | None = None) -> Mean:
    """Return the mean effect over prompts, or its change against the same prompts before.

    effects, before: shape (n,), one a prompt.
    """
    import polars as pl

    rows = partition(pl.DataFrame({"prompt": np.arange(len(effects))}))
    values = effects if before is None else effects - before
    # Unbounded: the largest that was met stands for the furthest that a prompt can lie.
    reach = float(np.abs(values).max(initial=0.0)) or 1.0
    method = "mean over prompts, t" if before is None else "paired mean over prompts, t"
    return mean(rows, values, reach=reach, method=method)


def stereotype_preference(
    pairs: pl.DataFrame, stereotype: FloatArray, other: FloatArray, *, unit: str | None = None
) -> Rate:
    """Return the share of pairs in which the stereotype is likelier; 0.5 is no preference.

    stereotype, other: log-likelihoods of both sentences, shape (n,) (Nangia et al. 2020, here of
    whole sentences, as a model that writes from left to right gives them).
    """
    everyone = np.ones(len(stereotype), dtype=bool)
    return rate(partition(pairs, unit=unit), everyone, stereotype > other)
