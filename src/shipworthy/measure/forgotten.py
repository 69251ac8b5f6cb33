"""What a candidate forgot: rows that it turned wrong, and slices that lost more than the rest.

Slices are found without group labels: lengths, scripts, true classes, further columns, and words.
Each is tested against all other rows, and false discoveries among all slices of a candidate are
kept at one in ten on average (`docs/forgotten.md`). Exploratory: no verdict looks at it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from shipworthy.core.records import ALL_ROWS
from shipworthy.measure.effective import MIN_ROWS, MIN_UNITS, flips_of
from shipworthy.measure.false_discovery import benjamini_yekutieli, harmonic
from shipworthy.measure.paired import tango
from shipworthy.measure.rates import paired_change
from shipworthy.measure.slice_tests import Flips, exact_p, wald_p
from shipworthy.measure.slices import Partition

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shipworthy.measure.ngrams import Grams

    IntArray: TypeAlias = NDArray[np.int64]
    FloatArray: TypeAlias = NDArray[np.float64]
    BoolArray: TypeAlias = NDArray[np.bool_]

FALSE_DISCOVERIES = 0.1
"""Expected share of slices that are called found and are not harmed."""

SHOWN = 20
"""Most slices of a candidate that are returned, the most telling first."""

LEADING = 5
"""Slices that are returned at least, found or not."""

ALIKE = 0.8
"""Share of its lost rows that another word holds too, from which a word is told with that one."""

MOST_ALIKE = 5
"""Words that are told together with another one at most."""

_LENGTH_BINS = 5
_EXACT_FOR = 30


@dataclass(frozen=True, eq=False)
class Cut:
    """One way to cut all rows into slices: names of the slices, and the slice of each row.

    codes: shape (n,), -1 where a row is in none.
    """

    kind: str
    values: tuple[str, ...]
    codes: IntArray


@dataclass(frozen=True, eq=False)
class Cuts:
    """All slices that are looked at, before anything is known of the answers.

    units: the sampling unit of each row, from 0, or None where rows are units.
    """

    n: int
    cuts: tuple[Cut, ...]
    grams: Grams | None = None
    units: IntArray | None = None


@dataclass(frozen=True)
class SliceLoss:
    """The paired change on one slice.

    value, low, high: of the change, negative where more rows turned wrong than right.
    p: one-sided, of "harmed more than the rest"; p_adjusted: after Benjamini-Yekutieli over all
    slices of the candidate. alike: values of the same kind that mostly are the same lost rows.
    """

    kind: str
    name: str
    n: int
    units: int
    turned_wrong: int
    turned_right: int
    value: float
    low: float
    high: float
    p: float
    p_adjusted: float
    found: bool
    alike: tuple[str, ...] = ()


@dataclass(frozen=True)
class Losses:
    """Slices of one candidate, the smallest p first, and how many were tested."""

    slices: tuple[SliceLoss, ...]
    tested: int


@dataclass(frozen=True, eq=False)
class _Counts:
    """Counts of m slices and of the rows that each is compared with; shape (m,)."""

    lost: FloatArray
    gained: FloatArray
    n: FloatArray
    rest_lost: FloatArray
    rest_gained: FloatArray
    rest_n: FloatArray


def length_cut(lengths: IntArray) -> Cut:
    """Cut rows into fifths by a length, named by its ends; equal lengths stay together.

    >>> length_cut(np.arange(1, 11)).values
    ('1–2', '3–4', '5–6', '7–8', '9–10')
    """
    shares = np.arange(1, _LENGTH_BINS) / _LENGTH_BINS
    inner = np.unique(np.quantile(lengths, shares, method="inverted_cdf"))
    codes = np.searchsorted(inner, lengths, side="left")
    present, codes = np.unique(codes, return_inverse=True)
    ends = [(lengths[codes == k].min(), lengths[codes == k].max()) for k in range(len(present))]
    names = tuple(f"{low}–{high}" if low < high else f"{low}" for low, high in ends)
    return Cut("length", names, np.asarray(codes, dtype=np.int64))


def losses(cuts: Cuts, before: BoolArray, after: BoolArray, *, confidence: float = 0.95) -> Losses:
    """Return the slices that lost most against the rest; before, after: right or not, shape (n,).

    Slices with fewer than 20 rows inside or outside are not tested; one with fewer than 10 units is
    never found. Ties in p are broken by kind and name, longer words first, so that the same answers
    give the same list.
    """
    lost, gained = before & ~after, after & ~before
    names, counts = _counted(cuts, lost, gained)
    m = len(names)
    if m == 0:
        return Losses((), 0)
    p = wald_p(
        counts.lost, counts.gained, counts.n, counts.rest_lost, counts.rest_gained, counts.rest_n
    )
    # The exact test and design effects only raise p. Where it is above what any rank allows, or far
    # from being shown, they change nothing that is found.
    limit = max(FALSE_DISCOVERIES / harmonic(m), float(np.sort(p)[:_EXACT_FOR][-1]))
    units = counts.n.astype(np.int64)
    changes: dict[int, tuple[Flips, int]] = {}
    for place in np.flatnonzero(p <= limit).tolist():
        inside, outside, own = _effective(cuts, names[place], counts, place, lost, gained)
        changes[place], units[place] = (inside, own), own
        p[place] = max(p[place], _p(inside, outside, own))
    adjusted = benjamini_yekutieli(p)
    order = sorted(range(m), key=lambda k: (p[k], *_before(*_named(cuts, names[k]))))
    kept = _merged(cuts, names, [k for k in order if k in changes], lost, adjusted)
    return Losses(
        tuple(
            _loss(cuts, names[k], counts, k, changes[k], p[k], adjusted[k], alike, confidence)
            for k, alike in kept
        ),
        m,
    )


# -- counting ------------------------------------------------------------------------------------


_Name: TypeAlias = tuple[int, int]
"""Number of the cut, -1 for words, and place among its values."""


def _counted(cuts: Cuts, lost: BoolArray, gained: BoolArray) -> tuple[list[_Name], _Counts]:
    """Return name and counts of each slice that has enough rows inside and outside."""
    names: list[_Name] = []
    tables: list[FloatArray] = []
    for number, cut in enumerate(cuts.cuts):
        inside, m = cut.codes >= 0, len(cut.values)
        own = cut.codes[inside]
        counts = [np.bincount(own, weights, m) for weights in (lost[inside], gained[inside], None)]
        tables.append(_beside(counts, (lost.sum(), gained.sum(), cuts.n)))
        names += [(number, k) for k in range(m)]
    if cuts.grams is not None:
        grams, rows = cuts.grams, cuts.grams.rows
        counts = [grams.sums(lost), grams.sums(gained), grams.counts]
        tables.append(_beside(counts, (lost[rows].sum(), gained[rows].sum(), len(rows))))
        names += [(-1, k) for k in range(len(grams.names))]
    table = np.concatenate(tables, axis=1) if tables else np.empty((6, 0))
    enough = (table[2] >= MIN_ROWS) & (table[5] >= MIN_ROWS)
    kept = [name for name, holds in zip(names, enough.tolist(), strict=True) if holds]
    return kept, _Counts(*table[:, enough])


def _beside(inside: Sequence[NDArray[Any]], total: Sequence[Any]) -> FloatArray:
    """Return counts inside and outside as one table, shape (6, m)."""
    counts = np.array(inside, dtype=np.float64)
    return np.concatenate([counts, np.array(total, dtype=np.float64)[:, None] - counts])


def _named(cuts: Cuts, name: _Name) -> tuple[str, str]:
    """Return kind and value of a slice."""
    cut, place = name
    if cut < 0:
        assert cuts.grams is not None
        return "words", cuts.grams.names[place]
    return cuts.cuts[cut].kind, cuts.cuts[cut].values[place]


def _before(kind: str, name: str) -> tuple[str, int, str]:
    """Return what breaks ties: of words in the same rows the longest says the most."""
    return kind, -len(name) if kind == "words" else 0, name


def _members(cuts: Cuts, name: _Name) -> tuple[IntArray | slice, BoolArray]:
    """Return the rows that a slice is looked for in, and which of these it holds."""
    cut, place = name
    if cut >= 0:
        return slice(None), cuts.cuts[cut].codes == place
    assert cuts.grams is not None
    inside = np.zeros(cuts.n, dtype=bool)
    inside[cuts.grams.of(place)] = True
    return cuts.grams.rows, inside[cuts.grams.rows]


# -- testing -------------------------------------------------------------------------------------


def _effective(
    cuts: Cuts, name: _Name, counts: _Counts, k: int, lost: BoolArray, gained: BoolArray
) -> tuple[Flips, Flips, int]:
    """Return the flips inside and outside after design effects, and the units inside."""
    if cuts.units is None:
        inside = Flips(counts.lost[k], counts.gained[k], counts.n[k])
        outside = Flips(counts.rest_lost[k], counts.rest_gained[k], counts.rest_n[k])
        return inside, outside, int(counts.n[k])
    rows, members = _members(cuts, name)
    # Two slices, outside and inside; what they are called is not asked for.
    halves = Partition(
        (), (ALL_ROWS, ALL_ROWS), members.astype(np.int64), np.asarray(cuts.units[rows])
    )
    b, c = lost[rows], gained[rows]
    change = paired_change(halves, np.ones(len(b), dtype=bool), ~c, ~b, identical=False)
    b_, c_, n_, df = flips_of(change)
    parts = [
        Flips(float(b_[i]), float(c_[i]), float(n_[i]), float(change.deff[i]), float(df[i]))
        for i in range(2)
    ]
    return parts[1], parts[0], int(change.units[1])


def _p(inside: Flips, outside: Flips, units: int) -> float:
    if units < MIN_UNITS:
        return 1.0
    df = np.fmin(inside.df, outside.df)
    wald = wald_p(inside.lost, inside.gained, inside.n, outside.lost, outside.gained, outside.n, df)
    return max(float(wald), exact_p(inside, outside))


def _merged(
    cuts: Cuts, names: Sequence[_Name], order: list[int], lost: BoolArray, adjusted: FloatArray
) -> list[tuple[int, tuple[str, ...]]]:
    """Return the slices to tell of, words told together where their lost rows are the same.

    order: places, the smallest p first. The first of several is the most telling one.
    """
    kept: list[tuple[int, set[int], list[str]]] = []
    for k in order:
        found = adjusted[k] <= FALSE_DISCOVERIES
        if len(kept) >= (SHOWN if found else LEADING):
            break
        if names[k][0] >= 0 or cuts.grams is None:
            kept.append((k, set(), []))
            continue
        holders = cuts.grams.of(names[k][1])
        own = set(holders[lost[holders]].tolist())
        first = next((o for o in kept if o[1] and len(own & o[1]) >= ALIKE * len(own)), None)
        if first is None:
            kept.append((k, own, []))
        elif found and len(first[2]) < MOST_ALIKE:
            first[2].append(cuts.grams.names[names[k][1]])
    return [(k, tuple(alike)) for k, _, alike in kept]


def _loss(
    cuts: Cuts, name: _Name, counts: _Counts, k: int, of: tuple[Flips, int], p: float,
    adjusted: float, alike: tuple[str, ...], confidence: float,
) -> SliceLoss:  # fmt: skip
    flips, units = of
    kind, value = _named(cuts, name)
    ends = tango(flips.lost, flips.gained, flips.n, confidence=confidence, df=flips.df)
    return SliceLoss(
        kind=kind,
        name=value,
        n=int(counts.n[k]),
        units=units,
        turned_wrong=int(counts.lost[k]),
        turned_right=int(counts.gained[k]),
        value=float((counts.gained[k] - counts.lost[k]) / counts.n[k]),
        low=float(ends.low),
        high=float(ends.high),
        p=float(p),
        p_adjusted=float(adjusted),
        found=bool(adjusted <= FALSE_DISCOVERIES),
        alike=alike,
    )
