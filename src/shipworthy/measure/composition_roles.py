"""What the columns of a data set are for, and a share of rows by the groups of one column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shipworthy.measure.contrasts import Contrast

MOST_CLASSES = 20
"""Classes that are looked at by group, the commonest first."""
MOST_FITTED = 10_000
"""Rows that light models are fitted on; of more a sample is drawn."""
MOST_COLUMNS = 200
"""Columns that are looked through for missing values and for what stands in for an attribute."""


@dataclass(frozen=True)
class Roles:
    """What the columns of a table are for, and how it is looked at.

    annotators: columns of labels by several people, or one column that names who labelled, with
    item naming what. margin: difference of shares that matters. similarity: see `find_duplicates`.
    models: whether light models are fitted. tokens: counts the tokens of texts.
    """

    label: str | None = None
    text: str | None = None
    groups: tuple[str, ...] = ()
    split: str | None = None
    unit: str | None = None
    id: str | None = None
    annotators: tuple[str, ...] = ()
    item: str | None = None
    margin: float = 0.05
    similarity: float = 0.8
    models: bool = True
    confidence: float = 0.95
    seed: int = 0
    tokens: Callable[[list[str]], list[int]] | None = None

    @property
    def alpha(self) -> float:
        """One-sided level."""
        return (1 - self.confidence) / 2


@dataclass(frozen=True)
class ByGroup:
    """A share of rows by the groups of one column. subject: a label, a column or a script."""

    column: str
    subject: str
    contrasts: tuple[Contrast, ...]
