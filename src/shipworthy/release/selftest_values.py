"""Numbers that rows of planted language models bring along: inside every limit, or harmed.

A row's luck is the same for every model, as it is on real rows: how hard a text is. So changes are
small beside levels, and a good model keeps limits on both.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.measure.catalogue import MEASURES, NUMBER
from shipworthy.measure.generation import SHARES
from shipworthy.release.selftest_regression import planted_numbers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from shipworthy.core.records import Limit

    FloatArray: TypeAlias = NDArray[np.float64]
    BoolArray: TypeAlias = NDArray[np.bool_]

TOKENS = 20.0
"""Predicted tokens of a made-up row."""

RUINED = 3.0
"""Factor of the loss of a row that is harmed."""

_LIKELIHOOD = ("perplexity", "bits_per_byte")
_PLAIN = {"perplexity": 8.0, "bits_per_byte": 1.2}
"""Levels where no limit asks for better."""

_HIGH = 0.9
_ROOM = 0.03


class RowValues:
    """Row values of the measures that limits name, by model.

    luck: of each row, in (0, 1), shape (n,).
    """

    def __init__(self, limits: Sequence[Limit], luck: FloatArray) -> None:
        names = [m for m, kind in MEASURES.items() if kind.values and kind.values != NUMBER]
        self._asked = {m: levels(limits, m) for m in names if any(li.measure == m for li in limits)}
        self._luck = luck
        self._numbers = planted_numbers(limits, luck)

    def of(
        self, who: int, harmed: BoolArray | None = None, *, low: bool = False
    ) -> Mapping[str, FloatArray]:
        """Return the values of the parent (0) or of a good model (1), some rows of it harmed.

        low: whether harmed numbers are too low; else they are too high.
        """
        hurt = np.zeros(len(self._luck), bool) if harmed is None else harmed
        found: dict[str, FloatArray] = {}
        for measure, level in self._asked.items():
            if measure in _LIKELIHOOD:
                continue
            value = level[who]
            if measure in SHARES:
                good = (self._luck < value).astype(float)
            else:
                good = np.clip(value + 0.05 * (self._luck - 0.5), 0.0, 1.0)
            found[measure] = np.where(hurt, 0.0, good)
        if any(m in self._asked for m in _LIKELIHOOD):
            found |= self._likelihood(who, hurt)
        if self._numbers is not None:
            found |= self._numbers.of(who, hurt, low=low)
        return found

    def _likelihood(self, who: int, hurt: BoolArray) -> dict[str, FloatArray]:
        tokens = np.full(len(self._luck), TOKENS)
        bits = self._asked.get("bits_per_byte")
        perplexity = self._asked.get("perplexity")
        if perplexity is None:
            assert bits is not None
            # Four bytes a token, so that nats follow from bits.
            nats, of_bytes = tuple(b * 4 * math.log(2) for b in bits), 4.0
        else:
            nats = tuple(math.log(p) for p in perplexity)
            of_bytes = 4.0 if bits is None else nats[1] / math.log(2) / bits[1]
        loss = TOKENS * nats[who] * (1 + 0.02 * (self._luck - self._luck.mean()))
        loss = np.where(hurt, RUINED * loss + TOKENS, loss)
        return {"loss": loss, "tokens": tokens, "bytes": tokens * of_bytes}


def levels(limits: Sequence[Limit], measure: str) -> tuple[float, float]:
    """Return what the parent and what a good model has, inside every limit on its good side."""
    low = MEASURES[measure].better == "low"
    side = "at_most" if low else "at_least"
    asked = [li for li in limits if li.measure == measure and li.side == side]
    own = [float(li.bound) for li in asked if li.relative_to == "none"]
    change = [float(li.bound) for li in asked if li.relative_to == "parent"]
    if low:
        floor = 1.0 if measure == "perplexity" else 0.0
        bound = min(own, default=_PLAIN[measure])
        good = floor + (bound - floor) / 1.4
        room = min(change, default=0.0)
        return max(good - room + _ROOM * good, floor + (good - floor) / 2), good
    good = min(1.0, max([_HIGH, *((b + 1) / 2 for b in own)]))
    room = max(change, default=0.0)
    return min(good, max(0.0, good - max(room, 0.0) - (_ROOM if change and room >= 0 else 0))), good
