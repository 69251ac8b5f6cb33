"""How far groups lie apart, as spreads over the groups of one column (`spread.py` decides them)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from shipworthy.measure.catalogue import MEASURES
from shipworthy.measure.estimates import Estimate, Spread, Unmeasured
from shipworthy.measure.quality import counted_share
from shipworthy.measure.rates import rate

if TYPE_CHECKING:
    from shipworthy.measure.slices import Partition
    from shipworthy.model.predictions import Predictions

SPREADS: dict[str, tuple[Literal["difference", "ratio"], tuple[str, ...]]] = {
    "accuracy_difference": ("difference", ("accuracy",)),
    "statistical_parity_difference": ("difference", ("selection_rate",)),
    "disparate_impact_ratio": ("ratio", ("selection_rate",)),
    "equal_opportunity_difference": ("difference", ("true_positive_rate",)),
    "equalized_odds_difference": ("difference", ("true_positive_rate", "false_positive_rate")),
    "false_positive_rate_difference": ("difference", ("false_positive_rate",)),
    "false_negative_rate_difference": ("difference", ("false_negative_rate",)),
    "predictive_parity_difference": ("difference", ("positive_predictive_value",)),
}
"""Each spread: how groups are compared, and in which shares."""


def spread_over(measure: str, groups: Partition, model: Predictions) -> Estimate:
    """Return the spread of a model over all slices of a partition; it is one number.

    Differences are highest minus lowest, the ratio is lowest over highest; equalised odds takes the
    wider of both rates. `Unmeasured` where there is no positive class or only one group.
    """
    kind, shares = SPREADS[measure]
    if not model.has(MEASURES[measure].needs):
        return Unmeasured("not_measured")
    if shares != ("accuracy",) and model.positive is None:
        return Unmeasured("no_positive_class")
    if groups.m < 2:
        return Unmeasured("no_data")
    return Spread(
        rates=tuple(rate(groups, *counted_share(share, model)) for share in shares),
        kind=kind,
        groups=tuple(str(s) for s in groups.slices),
    )
