"""What actions cost, and in which order they are told: cheapest for the chance that they buy.

A project may price a labelled row and an hour of its machine. Without prices nothing is said in
money, and the order takes a row for as dear as 7.5 minutes of the machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from shipworthy.release.judgement import NextStep

UNPRICED_ROW = 0.05
UNPRICED_HOUR = 0.4
_UNKNOWN_CHANCE = 0.5
_LEAST_CHANCE = 0.01
_LEAST_COST = 0.01
_VAGUE = ("next.change", "next.faster", "next.smaller", "next.milder")


class PriceSettings(BaseModel):
    """What work costs, so that next steps can be told in money."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    label_row: float | None = Field(None, ge=0)
    """Money for one row that is labelled; 0 or more."""

    machine_hour: float | None = Field(None, ge=0)
    """Money for one hour of the machine that makes and measures candidates; 0 or more."""

    currency: str = Field("", max_length=12)
    """Name of the money, as USD or CNY."""


def priced(step: NextStep, prices: PriceSettings) -> NextStep:
    """Return a step with its cost in money; NaN where a part that it needs has no price."""
    parts = ((step.cost_rows, prices.label_row), (step.cost_minutes / 60, prices.machine_hour))
    needed = [(amount, price) for amount, price in parts if amount > 0]
    if prices.label_row is None and prices.machine_hour is None:
        return step
    if any(price is None for _, price in needed):
        return step
    cost = math.fsum(amount * (price or 0.0) for amount, price in needed)
    return replace(step, cost=cost, currency=prices.currency)


def ranked(steps: Iterable[NextStep], prices: PriceSettings) -> tuple[NextStep, ...]:
    """Return the steps with their cost in money, lowest cost for the chance first.

    The chance is that of a pass, or of any decision where the limit cannot tell yet.
    """
    return tuple(sorted((priced(s, prices) for s in steps), key=lambda s: _place(s, prices)))


def _place(step: NextStep, prices: PriceSettings) -> tuple[bool, float]:
    row = UNPRICED_ROW if prices.label_row is None else prices.label_row
    hour = UNPRICED_HOUR if prices.machine_hour is None else prices.machine_hour
    cost = _LEAST_COST + step.cost_rows * row + step.cost_minutes / 60 * hour
    chance = _UNKNOWN_CHANCE if math.isnan(step.probability) else step.probability
    # "Make another candidate" names none: what can be done as it stands comes before it.
    return step.phrase.key.startswith(_VAGUE), cost / max(chance, _LEAST_CHANCE)
