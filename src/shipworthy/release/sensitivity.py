"""Which parts of a model cost a group: each part in turn is left as the parent has it.

    the step of a recipe that costs most and can spare parts
    one part kept  ->  answers on validation  ->  what comes back of the group's loss
    parts ranked   ->  the best one, two, three kept together  ->  the chance that the limit is met

Parts are the blocks of the encoder, and for int8 its embeddings; steps before the one that spares
them stay, steps after it are made again. Parts are ranked by how much nearer the answers come to
the parent's, since every row tells that, and judged by the rows that turn.
Every candidate and its answers are cached stages: a look that ran out of time goes on where it was.
Only validation rows are asked; what is proposed becomes a recipe of the project like any other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from shipworthy.core.records import Candidate, Decision, Limit, Slice
from shipworthy.measure.estimates import PairedChange, Rate
from shipworthy.measure.quality import counted_share
from shipworthy.release.next_layers import (
    RIGHT,
    WRONG,
    Forecast,
    Slice2,
    change_states,
    divergence,
    forecast,
    given_back,
    moves,
    share_states,
)
from shipworthy.release.ruler import Ruler, Subject
from shipworthy.release.variants import Bench

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shipworthy.compress.recipes import Recipe
    from shipworthy.compress.settings import FloatPart
    from shipworthy.model.predictions import Predictions

    BoolArray: TypeAlias = NDArray[np.bool_]
    Side: TypeAlias = Literal["at_least", "at_most"]

MOST_KEPT = 3
"""Parts that are kept together at most: more of them and the lever has done nothing."""

LIKELY = 0.8
"""Chance that the limit is met from which no further part is kept."""

LEAST_CHANCE = 0.1
"""Chance below which a proposal is none."""

SEED = 20_240_229
COUNTED = (
    "accuracy", "selection_rate", "true_positive_rate", "false_positive_rate", "recall",
)  # fmt: skip
"""Measures that count rows which do not depend on the answers."""


@dataclass(frozen=True)
class Part:
    """One part kept, or several, and what that did on validation.

    back, low, high: what the measure gained by it on the group. nearer: share of the divergence
    from the parent's answers that is gone. mb: what the file grows by; ms: what p95 does, timed in
    one process for what is proposed, else NaN. seconds: of what was made for it and of asking
    validation; asking: of the latter alone. chance: of a pass of every limit looked at.
    """

    parts: tuple[FloatPart, ...]
    recipe: Recipe
    back: float
    low: float
    high: float
    nearer: float
    mb: float
    seconds: float
    chance: float
    futures: tuple[Forecast, ...] = ()
    ms: float = math.nan
    asking: float = 0.0


@dataclass(frozen=True)
class StepCost:
    """What is left after one step of a recipe.

    kind: of the step, as a project file calls it. now: the measure of the worst decision on
    validation; further: by how much the mean divergence from the parent's answers grew on its rows,
    nats. spares: whether the step can spare parts.
    """

    name: str
    kind: str
    now: float
    further: float
    spares: bool


@dataclass(frozen=True)
class Look:
    """What a look into a candidate found.

    now: the measure of the worst decision on validation. tried: single parts, the best first.
    proposal: parts to keep, None where none is worth it. left: parts, or parts together, that time
    did not reach. steps: of a recipe of several, each; at: place of the one that spares the parts.
    spent: seconds of work that was not cached.
    """

    candidate: Candidate
    decisions: tuple[Decision, ...]
    now: float
    tried: tuple[Part, ...]
    proposal: Part | None
    left: int
    steps: tuple[StepCost, ...] = ()
    at: int = 0
    spent: float = 0.0


def countable(decision: Decision, *, positive: bool = True) -> bool:
    """Say whether the rows of a limit can be followed from one candidate to the next."""
    needs = decision.measure not in ("accuracy", "recall")
    named = positive or not needs
    return decision.measure in COUNTED and named and decision.relative_to in ("none", "parent")


def look_into(bench: Bench, decisions: Sequence[Decision]) -> Look:
    """Try each part kept, then the best together, until the limits are likely met or time is out.

    decisions: of the candidate, all `countable`, the most harmful first.
    """
    from shipworthy.core.progress import progress

    view = _View.of(bench, decisions)
    steps = view.steps()
    bench.at, parts = _place(bench, steps)
    tried: list[Part] = []
    with progress("layers", total=len(parts), unit="parts") as step:
        for part in parts:
            if bench.is_spent:
                break
            tried.append(view.kept((part,)))
            step(1)
    left = len(parts) - len(tried)
    best = sorted(tried, key=lambda p: -p.nearer)
    proposal, stopped = (None, False) if left else _proposal(bench, view, best)
    if proposal is not None:
        # Made already, so that this only finds it again.
        proposal = replace(proposal, ms=bench.slower_ms(bench.variant(proposal.parts)))
    return Look(
        bench.candidate.candidate, tuple(decisions), view.now, tuple(best), proposal,
        left + stopped, steps, bench.at, bench.spent,
    )  # fmt: skip


def _place(bench: Bench, costs: Sequence[StepCost]) -> tuple[int, tuple[FloatPart, ...]]:
    """Return the step that spares parts, and its parts: of those that can, the costliest.

    Of equals, and where the costs are not known, the last one.
    """
    from shipworthy.compress.sparing import parts_to_spare, sparable

    places = [*sparable(bench.recipe)]
    if costs:
        places.sort(key=lambda place: costs[place].further)
    for place in reversed(places):
        parts = parts_to_spare(bench.after(place - 1).folder, bench.steps[place])
        if parts:
            return place, parts
    return places[-1] if places else 0, ()


def _proposal(bench: Bench, view: _View, best: Sequence[Part]) -> tuple[Part | None, bool]:
    """The cheapest single part that is likely enough; else the best two or three together.

    The second says whether time stopped the search before one was likely enough.
    """
    fits = [p for p in best if view.fits(p)]
    enough = [p for p in fits if p.chance >= LIKELY]
    if enough:
        return min(enough, key=lambda p: (p.mb, -p.chance)), False
    found = list(fits)
    order = [p.parts[0] for p in fits]
    for size in range(2, min(MOST_KEPT, len(best) - 1) + 1):
        if len(order) < size:
            break
        if bench.is_spent:
            return None, True
        together = view.kept(tuple(order[:size]))
        if not view.fits(together):
            break
        found.append(together)
        if together.chance >= LIKELY:
            return together, False
    able = [p for p in found if p.chance >= LEAST_CHANCE]
    return (max(able, key=lambda p: p.chance) if able else None), False


@dataclass(eq=False)
class _View:
    """The slices that keep a candidate back, as parent and candidate answered them."""

    bench: Bench
    decisions: tuple[Decision, ...]
    parent: Predictions
    now_answers: Predictions
    rows: tuple[NDArray[np.int64], ...]
    deffs: tuple[float, ...]
    today: tuple[Slice2, ...]
    now: float
    size_mb: float

    @classmethod
    def of(cls, bench: Bench, decisions: Sequence[Decision]) -> _View:
        from shipworthy.model.checkpoint import size_bytes

        parent = bench.answers(bench.parent, "validation")
        now = bench.answers(bench.candidate, "validation")
        ruler = bench.ruler(parent, "validation")
        subject = Subject(bench.candidate.candidate, now)
        rows, deffs, values = [], [], []
        for d in decisions:
            place, estimate, k = _estimate(ruler, subject, bench.limits[d.limit], d)
            rows.append(place)
            deffs.append(1.0 if estimate is None else float(estimate.deff[k]))
            values.append(math.nan if estimate is None else _value(estimate, k))
        return cls(
            bench, tuple(decisions), parent, now, tuple(rows), tuple(deffs),
            tuple(_today(bench, decisions)), values[0], size_bytes(bench.candidate.folder) / 1e6,
        )  # fmt: skip

    def steps(self) -> tuple[StepCost, ...]:
        """Say what each step of a recipe of several leaves; the models between are asked."""
        from shipworthy.compress.recipes import kind_of
        from shipworthy.compress.sparing import sparable

        bench, found, before = self.bench, [], 0.0
        if len(bench.steps) == 1:
            return ()
        able, first, rows = sparable(bench.recipe), self.decisions[0], self.rows[0]
        ruler = bench.ruler(self.parent, "validation")
        for place, step in enumerate(bench.steps):
            one = bench.after(place)
            told = bench.answers(one, "validation")
            limit = bench.limits[first.limit]
            _, estimate, k = _estimate(ruler, Subject(one.candidate, told), limit, first)
            now = math.nan if estimate is None else _value(estimate, k)
            far = divergence(*(np.asarray(p.probabilities)[rows] for p in (self.parent, told)))
            kind = kind_of(step)
            found.append(StepCost(step.name, kind, now, far - before, place in able))
            before = far
        return tuple(found)

    def kept(self, parts: tuple[FloatPart, ...]) -> Part:
        """Make and ask the candidate that keeps some parts."""
        from shipworthy.model.checkpoint import size_bytes

        bench = self.bench
        variant = bench.variant(parts)
        recipe, one = variant.recipe, variant.made
        then = bench.shop.predictions(bench.data, one, "validation", variant.answered)
        futures = [
            forecast(
                self.today[k], self._moves(d, then, self.rows[k]), _bound(d), deff=self.deffs[k],
                alpha=bench.alpha, seed=SEED,
            )
            for k, d in enumerate(self.decisions)
        ]  # fmt: skip
        first, rows = self.decisions[0], self.rows[0]
        counted, now = counted_share(first.measure, self.now_answers)
        held = rows[counted[rows]]
        after = counted_share(first.measure, then)[1]
        back, ends = given_back(now[held], after[held], deff=self.deffs[0])
        return Part(
            parts, recipe, back, float(ends.low[0]), float(ends.high[0]), self._nearer(then, rows),
            size_bytes(one.folder) / 1e6 - self.size_mb, variant.seconds,
            min(f.p_pass for f in futures), tuple(futures),
            asking=variant.answered.seconds,
        )  # fmt: skip

    def fits(self, part: Part) -> bool:
        """Say whether the file stays within the size that the policy allows."""
        return self.size_mb + part.mb <= self.bench.most_mb

    def _nearer(self, then: Predictions, rows: NDArray[np.int64]) -> float:
        parent, now, after = (
            np.asarray(p.probabilities)[rows] for p in (self.parent, self.now_answers, then)
        )
        before = divergence(parent, now)
        return 1 - divergence(parent, after) / before if before > 0 else 0.0

    def _moves(self, d: Decision, then: Predictions, rows: NDArray[np.int64]) -> Any:
        counted, now = counted_share(d.measure, self.now_answers)
        held = rows[counted[rows]]
        after = counted_share(d.measure, then)[1][held]
        side = _side(d)
        if d.relative_to == "none":
            return moves(share_states(now[held], side), share_states(after, side), 2)
        before = counted_share(d.measure, self.parent)[1][held]
        return moves(change_states(before, now[held], side), change_states(before, after, side), 3)


def _today(bench: Bench, decisions: Sequence[Decision]) -> list[Slice2]:
    """What the rows that decided say of the candidate, slice by slice."""
    parent = bench.answers(bench.parent, bench.decided)
    subject = Subject(bench.candidate.candidate, bench.answers(bench.candidate, bench.decided))
    ruler = bench.ruler(parent, bench.decided)
    found = []
    for d in decisions:
        _, estimate, k = _estimate(ruler, subject, bench.limits[d.limit], d)
        if isinstance(estimate, PairedChange):
            lost, gained, n = (float(x[k]) for x in (estimate.lost, estimate.gained, estimate.n))
            harmed, helped = (lost, gained) if _side(d) == "at_least" else (gained, lost)
            counts = np.array([harmed, helped, n - harmed - helped])
        elif isinstance(estimate, Rate):
            right, n = float(estimate.successes[k]), float(estimate.trials[k])
            right = right if _side(d) == "at_least" else n - right
            counts = np.zeros(2)
            counts[WRONG], counts[RIGHT] = n - right, right
        else:
            raise ValueError(f"{d.measure} counts no rows; ask `countable` first")
        found.append(Slice2(counts, float(estimate.deff[k]), float(estimate.units[k])))
    return found


def _estimate(
    ruler: Ruler, subject: Subject, limit: Limit, decision: Decision
) -> tuple[NDArray[np.int64], Any, int]:
    """Return the rows of a decision's slice, the estimate that holds it, and its place there.

    Where no row of this split is in the slice, there are no rows and no estimate.
    """
    columns = Slice.parse(decision.slice).columns
    rows = ruler.rows(columns)
    for k, one in enumerate(rows.slices):
        if one.json == decision.slice:
            estimate = ruler.estimate(subject, limit.measure, columns, limit.relative_to)
            return rows.parts[k], estimate, k
    return np.zeros(0, dtype=np.int64), None, 0


def _value(estimate: Any, k: int) -> float:
    if isinstance(estimate, PairedChange):
        n = float(estimate.n[k])
        return (float(estimate.gained[k]) - float(estimate.lost[k])) / n if n else math.nan
    n = float(estimate.trials[k])
    return float(estimate.successes[k]) / n if n else math.nan


def _side(decision: Decision) -> Side:
    return "at_least" if decision.side == "at_least" else "at_most"


def _bound(decision: Decision) -> float:
    """The bound in the direction of "at least"."""
    if decision.side == "at_least":
        return decision.bound
    return -decision.bound if decision.relative_to == "parent" else 1 - decision.bound
