"""Adverse impact by the four-fifths rule and by standard deviations, with exact tests.

Four-fifths: 29 CFR 1607.4(D), a line at 0.8 of the highest rate on raw rates. Standard deviations:
Castaneda v. Partida, 430 U.S. 482, 496 n. 17 (1977), and Hazelwood School District v. United
States, 433 U.S. 299, 308 n. 14 and 311 n. 17 (1977): how far a count lies below what was expected.
Both are lines on what was counted; exact tests and intervals say what the counts can carry.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from scipy import stats

from shipworthy.core.records import Outcome
from shipworthy.measure.decide import holm
from shipworthy.measure.impact import FOUR_FIFTHS, Impact, impacts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shipworthy.measure.estimates import Rate

Note: TypeAlias = Literal["few_expected", "small_group"]

SMALL_GROUP = 0.02
"""Share of the applicants below which the guidelines ask for no determination: 1607.15(A)(2)."""

FEW_EXPECTED = 5.0
"""Expected selections or rejections below which only the exact test is worth reading."""

TWO, THREE = 2.0, 3.0
"""Standard deviations: "greater than two or three" in Castaneda and Hazelwood."""


@dataclass(frozen=True)
class FourFifths:
    """One category against the one with the highest rate.

    p: Fisher's exact test, two-sided; p_lower: one-sided, that its rate is lower. one_more, fewer:
    whether the raw ratio is below four fifths with one selection more or one less in the category.
    reversed: with one different person selected the category would have the higher rate (Q&A 21,
    44 FR 11996), so that numbers are too small for a determination. short: selections more that
    would reach four fifths; 0 where it does. notes: why the rule is weak here.
    """

    impact: Impact
    against: Impact
    p: float
    p_lower: float
    one_more: bool
    one_fewer: bool
    reversed: bool
    short: int
    notes: tuple[Note, ...]

    @property
    def turns(self) -> bool:
        """Whether one selection more or less turns the rule's answer."""
        below = self.impact.below
        return below is not None and not below == self.one_more == self.one_fewer


@dataclass(frozen=True)
class Deviations:
    """How many were selected of a category against how many were to be expected.

    model: `hypergeometric`, drawn without replacement from those who were assessed, or `binomial`,
    from a population with the category's share (Hazelwood). deviations: (observed - expected) /
    standard deviation, negative where too few; NaN where nothing can vary. p: two-sided, exact;
    p_fewer: that so few are selected, one-sided, after Holm over the categories. beyond_two,
    beyond_three: the bright line. answer: fail where p_fewer is at most alpha; a test that finds
    nothing does not show that nothing is there, so it never passes.
    """

    name: tuple[str, ...]
    model: Literal["hypergeometric", "binomial"]
    assessed: int
    selected: int
    share: float
    expected: float
    standard_deviation: float
    deviations: float
    p: float
    p_fewer: float
    beyond_two: bool
    beyond_three: bool
    answer: Outcome


def four_fifths(
    names: Sequence[tuple[str, ...]], rate: Rate, *, confidence: float = 0.95
) -> tuple[Impact, tuple[FourFifths, ...]] | None:
    """Compare each category with the highest rate; None where nobody was selected at all.

    Where several share the highest rate, the largest of them is the reference.
    """
    found = impacts(names, rate, line=FOUR_FIFTHS, confidence=confidence)
    top = max((i for i in found if i.highest), key=lambda i: i.assessed, default=None)
    if top is None:
        return None
    return top, tuple(_against(i, top) for i in found if i is not top and i.assessed)


def _against(one: Impact, top: Impact) -> FourFifths:
    x, n, y, m = one.selected, one.assessed, top.selected, top.assessed
    table = [[x, n - x], [y, m - y]]
    expected = min(n, m) * min(x + y, n + m - x - y) / (n + m)
    target = FOUR_FIFTHS * Fraction(y, m)
    notes: list[Note] = []
    if expected < FEW_EXPECTED:
        notes.append("few_expected")
    if one.share < SMALL_GROUP:
        notes.append("small_group")
    # One person more here and one less there: the higher rate changes sides.
    swapped = x < n and y > 0 and Fraction(x + 1, n) > Fraction(y - 1, m)
    return FourFifths(
        impact=one,
        against=top,
        p=float(stats.fisher_exact(table).pvalue),
        p_lower=float(stats.hypergeom.cdf(x, n + m, x + y, n)),
        one_more=Fraction(min(x + 1, n), n) < target,
        one_fewer=Fraction(max(x - 1, 0), n) < target,
        reversed=bool(one.below and swapped),
        short=max(0, -((-target * n) // 1) - x),
        notes=tuple(notes),
    )


def standard_deviations(
    names: Sequence[tuple[str, ...]],
    rate: Rate,
    *,
    population: Mapping[str, float] | None = None,
    confidence: float = 0.95,
) -> tuple[Deviations, ...]:
    """Compare what was selected of each category with what was to be expected.

    population: share of each value in the population that the selected were drawn from, in (0, 1);
    None takes those who were assessed as the pool and draws without replacement.
    """
    assessed = [int(n) for n in rate.trials]
    selected = [int(x) for x in rate.successes]
    pool, chosen = sum(assessed), sum(selected)
    rows = []
    for name, n, x in zip(names, assessed, selected, strict=True):
        if population is None:
            share = n / pool if pool else float("nan")
            variance = chosen * share * (1 - share) * (pool - chosen) / max(pool - 1, 1)
            law = stats.hypergeom(pool, chosen, n)
            both = float(stats.fisher_exact(_table(x, n, chosen, pool)).pvalue)
        else:
            share = population.get(name[0], float("nan"))
            variance = chosen * share * (1 - share)
            law = stats.binom(chosen, share)
            known = 0 < share < 1 and chosen > 0
            both = float(stats.binomtest(x, chosen, share).pvalue) if known else float("nan")
        sd = float(np.sqrt(variance)) if variance > 0 else float("nan")
        fewer = float(law.cdf(x)) if sd == sd else float("nan")
        rows.append((name, n, x, share, chosen * share, sd, both, fewer))
    alpha = (1 - confidence) / 2
    adjusted = holm([row[-1] for row in rows]) if rows else np.zeros(0)
    return tuple(
        Deviations(
            name=name, model="hypergeometric" if population is None else "binomial",
            assessed=n, selected=x, share=share, expected=expected, standard_deviation=sd,
            deviations=(x - expected) / sd, p=both, p_fewer=float(p),
            beyond_two=(expected - x) / sd > TWO, beyond_three=(expected - x) / sd > THREE,
            answer=Outcome.FAIL if p <= alpha else Outcome.CANNOT_TELL,
        )
        for (name, n, x, share, expected, sd, both, _), p in zip(rows, adjusted, strict=True)
    )  # fmt: skip


def _table(x: int, n: int, chosen: int, pool: int) -> list[list[int]]:
    return [[x, n - x], [chosen - x, pool - n - (chosen - x)]]
