"""Numbers that are not known: NaN in memory, null in JSON, None in a table."""

from __future__ import annotations

import math


def to_null(value: float | None) -> float | None:
    """Return a number that JSON can hold; NaN and infinities are null.

    >>> to_null(0.5), to_null(math.nan)
    (0.5, None)
    """
    return None if value is None or not math.isfinite(value) else value


def interval(value: float, low: float, high: float) -> dict[str, float | None]:
    """Return a number with its interval, as JSON documents hold it.

    >>> interval(0.5, math.nan, 1.0)
    {'value': 0.5, 'low': None, 'high': 1.0}
    """
    return {"value": to_null(value), "low": to_null(low), "high": to_null(high)}


def from_null(value: float | None) -> float:
    """Return a number to reckon with; NaN where there is none.

    >>> from_null(None)
    nan
    """
    return math.nan if value is None else float(value)
