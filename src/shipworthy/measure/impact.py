"""Selection rates of categories and their impact ratios: the bright line, and what is known of it.

The impact ratio of a category is its rate over the highest rate. A rule that draws a line at a
ratio (four-fifths) looks at the raw figure; whether the truth lies on that side is another
question, which the ordered pairs of categories answer as for any spread (`spread.py`): inside where
every other category leaves it inside, outside where one puts it outside after Holm over all ordered
pairs. Both answers are kept apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from shipworthy.core.records import Outcome
from shipworthy.measure.decide import holm
from shipworthy.measure.effective import scaled, share_of, too_small
from shipworthy.measure.estimates import Rate, take
from shipworthy.measure.intervals import wilson
from shipworthy.measure.spread import both_groups, group_interval, pairs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]
    BoolArray: TypeAlias = NDArray[np.bool_]

FOUR_FIFTHS = Fraction(4, 5)


@dataclass(frozen=True)
class Impact:
    """One category: its rate, and its ratio to the highest rate of those that are compared.

    name: one value per column. rate: NaN without anybody assessed; low, high: Wilson's ends.
    share: of all that were assessed. excluded: left out of the ratios. ratio: from raw rates, NaN
    where excluded, without data, or where nobody at all was selected; ratio_low, ratio_high: of the
    ratio to whichever category truly is the highest. below: the raw ratio is below the line (None
    without a line or a ratio). p_within, p_beyond: one-sided, the latter after Holm; answer and
    reason: what they say against the line.
    """

    name: tuple[str, ...]
    assessed: int
    selected: int
    units: int
    rate: float
    low: float
    high: float
    share: float
    excluded: bool = False
    highest: bool = False
    ratio: float = float("nan")
    ratio_low: float = float("nan")
    ratio_high: float = float("nan")
    below: bool | None = None
    p_within: float = float("nan")
    p_beyond: float = float("nan")
    answer: Outcome | None = None
    reason: str = ""


def impacts(
    names: Sequence[tuple[str, ...]],
    rate: Rate,
    *,
    excluded: BoolArray | None = None,
    line: Fraction | None = None,
    confidence: float = 0.95,
) -> tuple[Impact, ...]:
    """Return each category with its rate and impact ratio.

    rate: the K categories, shape (K,), whole counts. excluded: shape (K,), those that take no part
    in ratios. line: the least ratio that is inside. The raw comparison with it is exact: fractions
    of counts, no rounding.
    """
    left_out = np.zeros(len(names), dtype=bool) if excluded is None else excluded
    compared = np.flatnonzero(~left_out & (np.asarray(rate.trials) > 0))
    alpha = (1 - confidence) / 2
    shown = wilson(
        scaled(rate.successes, rate.deff), scaled(rate.trials, rate.deff), confidence=confidence
    )
    share, total = share_of(rate), float(np.sum(rate.trials))
    ratios = _ratios(take(rate, compared.tolist()), line, alpha) if compared.size else {}
    counts = [(int(x), int(n)) for x, n in zip(rate.successes, rate.trials, strict=True)]
    most = max((Fraction(*counts[k]) for k in compared), default=Fraction(0))
    found = []
    for k, name in enumerate(names):
        x, n = counts[k]
        part = int(np.searchsorted(compared, k))
        taken = part < len(compared) and compared[part] == k and most > 0
        found.append(
            Impact(
                name=name, assessed=n, selected=x, units=int(rate.units[k]),
                rate=float(share[k]), low=float(shown.low[k]), high=float(shown.high[k]),
                share=n / total if total else float("nan"), excluded=bool(left_out[k]),
                highest=bool(taken and Fraction(x, n) == most),
                below=bool(Fraction(x, n) < line * most) if taken and line is not None else None,
                **({key: values[part] for key, values in ratios.items()} if taken else {}),
            )
        )  # fmt: skip
    return tuple(found)


def _ratios(rate: Rate, line: Fraction | None, alpha: float) -> dict[str, list[Any]]:
    """Return the fields of `Impact` about ratios, each of K values."""
    share, k = share_of(rate), len(rate.trials)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = share / np.max(share)
    low, high = np.ones(k), np.ones(k)
    if k > 1:
        first, second = pairs_of(rate)
        owner = np.nonzero(~np.eye(k, dtype=bool))[0]
        # Each lower end holds for all others at once; an upper end is the least of k - 1.
        np.minimum.at(low, owner, group_interval(first, second, "ratio", alpha).low)
        ends = group_interval(first, second, "ratio", alpha / (k - 1)).high
        np.minimum.at(high, owner, ends)
    fields: dict[str, list[Any]] = {
        "ratio": value.tolist(), "ratio_low": low.tolist(), "ratio_high": high.tolist(),
    }  # fmt: skip
    return fields if line is None else {**fields, **_answers(rate, float(line), alpha)}


def _answers(rate: Rate, line: float, alpha: float) -> dict[str, list[Any]]:
    k = len(rate.trials)
    small = too_small(rate.trials, rate.units)
    within, beyond = np.zeros(k), np.full(k, np.nan)
    raw = np.full(k, np.nan)
    usable = np.zeros(0, dtype=bool)
    if k > 1:
        first, second = pairs_of(rate)
        one, other = np.nonzero(~np.eye(k, dtype=bool))
        inside, outside = both_groups(first, second, line, "ratio")
        usable = (small[one] == "") & (small[other] == "")
        np.fmax.at(within, one, inside)
        np.fmin.at(raw, one, np.where(usable, outside, np.nan))
        np.fmin.at(beyond, one, holm(np.where(usable, outside, np.nan)))
    said = [
        _answer(str(small[i]), bool(np.any(small != "")), within[i], beyond[i], raw[i], alpha)
        for i in range(k)
    ]
    return {
        "p_within": [float(p) for p in within],
        "p_beyond": [float(p) for p in beyond],
        "answer": [answer for answer, _ in said],
        "reason": [reason for _, reason in said],
    }


def _answer(
    small: str, any_small: bool, within: float, beyond: float, raw: float, alpha: float
) -> tuple[Outcome, str]:
    """Decide one category; a small one beside it can still be the highest, so nothing passes."""
    if small:
        return Outcome.CANNOT_TELL, small
    if beyond <= alpha:
        return Outcome.FAIL, ""
    if any_small:
        return Outcome.CANNOT_TELL, "small_beside"
    if within <= alpha:
        return Outcome.PASS, ""
    return Outcome.CANNOT_TELL, "correction" if raw <= alpha else "across_bound"
