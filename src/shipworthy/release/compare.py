"""Two runs beside each other: what moved, significantly or not, and what makes them incomparable.

Candidates join by the bytes of their artefact, else by name and lever, else as the only ones left.
What is compared: every number that a limit of either run looks at, and accuracy on all rows (or
all numbers). "Moved" is two-sided at 1 - confidence after Holm over all of these.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shipworthy.core.records import ALL_ROWS, Answer, Candidate, Decision
from shipworthy.measure.catalogue import MEASURES
from shipworthy.measure.decide import holm
from shipworthy.release.answers_table import read_answers_table
from shipworthy.release.compare_change import (
    Change,
    apart,
    better,
    columns_of_slice,
    paired,
    still,
    stored,
    unmoved,
)
from shipworthy.release.compare_differences import differences
from shipworthy.release.compare_rows import SharedAnswers, Sides, equal_answers, shared_rows
from shipworthy.release.judgement import Judgement, Phrase
from shipworthy.release.load import Run

Key = tuple[str, str, str]
"""measure, slice, relative_to."""

ALWAYS: Key = ("accuracy", ALL_ROWS.json, "none")


@dataclass(frozen=True)
class Pair:
    """One candidate in both runs.

    by: `artefact`, `name`, `only` (one was left on each side), or `parent`.
    """

    before: Candidate
    after: Candidate
    by: str


@dataclass(frozen=True)
class Moved:
    """One number of one pair.

    moved: beyond chance, after correction. better: None where it did not move.
    """

    pair: Pair
    measure: str
    slice: str
    relative_to: str
    value_unit: str
    change: Change
    p_adjusted: float
    moved: bool
    better: bool | None


@dataclass(frozen=True)
class Side:
    """A limit on a slice whose decision or bound is another than before; None: not asked there."""

    pair: Pair
    measure: str
    slice: str
    relative_to: str
    before: Decision | None
    after: Decision | None

    @property
    def turned(self) -> bool:
        """Whether the limit was decided in both runs, and otherwise."""
        return (
            self.before is not None
            and self.after is not None
            and self.before.decision is not self.after.decision
        )


@dataclass(frozen=True)
class Comparison:
    """All that two runs have to say about each other.

    differences: why numbers of the two may differ besides the candidates; never empty of what is
    known. family: numbers that Holm counts. rows_shared is None where a run keeps no answers.
    """

    before: Run
    after: Run
    differences: tuple[Phrase, ...]
    rows_before: int | None
    rows_after: int | None
    rows_shared: int | None
    pairs: tuple[Pair, ...]
    only_before: tuple[Candidate, ...]
    only_after: tuple[Candidate, ...]
    moves: tuple[Moved, ...]
    sides: tuple[Side, ...]
    alpha: float
    family: int

    @property
    def moved(self) -> tuple[Moved, ...]:
        """Numbers that moved beyond chance."""
        return tuple(m for m in self.moves if m.moved)

    def verdicts(self, pair: Pair) -> tuple[Answer | None, Answer | None]:
        """Return the verdict of a pair's candidate before and after; the parent has none."""
        found = []
        for run, one in ((self.before, pair.before), (self.after, pair.after)):
            by_id = {v.candidate: v.answer for v in run.judgement.verdicts}
            found.append(by_id.get(one.id))
        return found[0], found[1]


def compare_runs(before: Run, after: Run, *, everything: bool = False) -> Comparison:
    """Compare two finished runs.

    everything: every number that both tables hold, not only those that a limit looks at.
    Raises InputError where a table of answers is damaged.
    """
    one, other = before.judgement, after.judgement
    pairs, only_before, only_after = _joined(one, other)
    shared = _shared(before, after)
    confidence = other.confidence
    found = list(_changes(one, other, pairs, shared, everything, confidence))
    alpha = round(1 - confidence, 12)
    p = [change.p for _, _, change in found]
    adjusted = holm(p).tolist() if p else []
    moves = []
    for (pair, row, change), corrected in zip(found, adjusted, strict=True):
        moved = corrected <= alpha or (change.kind == "exact" and change.value != 0)
        moves.append(
            Moved(
                pair, row["measure"], row["slice"], row["relative_to"], row["value_unit"], change,
                corrected, moved, better(row["measure"], change) if moved else None,
            )
        )  # fmt: skip
    rows = None if shared is None else shared.rows
    return Comparison(
        before=before,
        after=after,
        differences=tuple(differences(before, after, shared)),
        rows_before=None if rows is None else rows.rows_before,
        rows_after=None if rows is None else rows.rows_after,
        rows_shared=None if rows is None else len(rows),
        pairs=pairs,
        only_before=only_before,
        only_after=only_after,
        moves=tuple(moves),
        sides=tuple(_sides(one, other, pairs)),
        alpha=alpha,
        family=sum(not math.isnan(value) for value in p),
    )


# -- who is who ------------------------------------------------------------------------------------


def _joined(
    before: Judgement, after: Judgement
) -> tuple[tuple[Pair, ...], tuple[Candidate, ...], tuple[Candidate, ...]]:
    """Join the candidates of two runs, the parents first; return the pairs and who is left."""
    left, right = list(before.candidates), list(after.candidates)
    pairs: dict[str, Pair] = {}

    def join(one: Candidate, other: Candidate, by: str) -> None:
        left.remove(one)
        right.remove(other)
        pairs[other.id] = Pair(one, other, by)

    def digest(c: Candidate) -> str:
        return c.artefact_digest

    def named(c: Candidate) -> tuple[str, ...]:
        return (c.name, c.lever)

    def both(c: Candidate) -> tuple[str, ...]:
        return (c.artefact_digest, *named(c)) if c.artefact_digest else ()

    for key, by in ((both, "artefact"), (digest, "artefact"), (named, "name")):
        for other in tuple(right):
            one = next((c for c in left if key(other) and key(c) == key(other)), None)
            if one is not None:
                join(one, other, by)
    if len(left) == len(right) == 1:
        join(left[0], right[0], "only")
    parents = Pair(before.parent, after.parent, "parent")
    ordered = (pairs[c.id] for c in after.candidates if c.id in pairs)
    return (parents, *ordered), tuple(left), tuple(right)


def _shared(before: Run, after: Run) -> SharedAnswers | None:
    old, new = read_answers_table(before.folder), read_answers_table(after.folder)
    if old is None or new is None:
        return None
    return SharedAnswers(shared_rows(old, new), old, new)


# -- what moved ------------------------------------------------------------------------------------


def _changes(
    before: Judgement,
    after: Judgement,
    pairs: Iterable[Pair],
    shared: SharedAnswers | None,
    everything: bool,
    confidence: float,
) -> Iterator[tuple[Pair, Mapping[str, Any], Change]]:
    """Yield each number that both runs have, with its change."""
    asked = None if everything else {ALWAYS, *_asked(before), *_asked(after)}
    tables = _table(before), _table(after)
    for pair in pairs:
        old, new = tables[0].get(pair.before.id, {}), tables[1].get(pair.after.id, {})
        keys = [k for k in new if k in old and (asked is None or k in asked)]
        sides = None
        if shared is not None and shared.rows.enough:
            sides = shared.sides(
                pair.before, pair.after, parent_before=before.parent, parent_after=after.parent
            )
        if sides is not None and equal_answers(sides[0].parent, sides[1].parent):
            # Against an unmoved parent a change moved as the number itself did: once is enough.
            keys = [k for k in keys if k[2] == "none" or (k[0], k[1], "none") not in keys]
        if sides is not None and unmoved(*sides):
            answered = [k for k in keys if MEASURES[k[0]].kind in ("quality", "spread")]
            keys = [k for k in keys if k not in answered]
            if pair.by != "parent":
                yield from ((pair, new[k], still(old[k], new[k])) for k in answered)
        by_slice = _paired(keys, sides, shared, confidence)
        for key in keys:
            change = by_slice.get(key) or apart(old[key], new[key], confidence=confidence)
            if shared is not None and shared.rows.all_of_both and key in by_slice:
                change = replace(change, before=stored(old[key]), after=stored(new[key]))
            yield pair, new[key], change


def _paired(
    keys: Sequence[Key],
    sides: tuple[Sides, Sides] | None,
    shared: SharedAnswers | None,
    confidence: float,
) -> dict[Key, Change]:
    if sides is None or shared is None:
        return {}
    found: dict[Key, Change] = {}
    for columns in dict.fromkeys(columns_of_slice(k[1]) for k in keys):
        rows = shared.partition(columns)
        if rows is None:
            continue
        here = [k for k in keys if columns_of_slice(k[1]) == columns]
        for measure, relative_to in dict.fromkeys((k[0], k[2]) for k in here):
            changes = paired(measure, relative_to, rows, *sides, confidence=confidence)
            found |= {(measure, slice, relative_to): c for slice, c in changes.items()}
    return found


def _asked(judgement: Judgement) -> set[Key]:
    return {(d.measure, d.slice, d.relative_to) for d in judgement.decisions}


def _table(judgement: Judgement) -> dict[str, dict[Key, Mapping[str, Any]]]:
    """Return the measurements by candidate and key."""
    found: dict[str, dict[Key, Mapping[str, Any]]] = {}
    for row in judgement.measurements.iter_rows(named=True):
        key = (row["measure"], row["slice"], row["relative_to"])
        found.setdefault(row["candidate"], {}).setdefault(key, row)
    return found


# -- limits ----------------------------------------------------------------------------------------


def _sides(before: Judgement, after: Judgement, pairs: Iterable[Pair]) -> Iterator[Side]:
    """Yield limits on slices that were decided otherwise, or bound otherwise, or asked once."""
    for pair in pairs:
        old, new = _decided(before, pair.before), _decided(after, pair.after)
        for key in dict.fromkeys([*new, *old]):
            one, other = old.get(key), new.get(key)
            equal = one is not None and other is not None and (
                (one.decision, one.bound) == (other.decision, other.bound)
            )  # fmt: skip
            if not equal:
                yield Side(pair, key[0], key[1], key[2], one, other)


def _decided(judgement: Judgement, candidate: Candidate) -> dict[tuple[str, ...], Decision]:
    """Return decisions by what they are about; two limits of one kind keep their order."""
    found: dict[tuple[str, ...], Decision] = {}
    for d in judgement.decisions_of(candidate.id):
        key: tuple[str, ...] = (d.measure, d.slice, d.relative_to, d.side)
        while key in found:
            key = (*key, "again")
        found[key] = d
    return found
