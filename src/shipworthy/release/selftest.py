"""A gate proves that it can say no: planted bad models must be held, a good one must ship.

Each planted model goes through the same ruler and the same rules as a real one, on rows that are
made up for the policy (its groups, both classes, 20,000 rows a group), so that only the policy is
on trial:

    good        a few flips both ways, everything else inside the limits: must ship
    broken      answers that have nothing to do with the rows
    biased      one group loses a tenth of its right answers, the others nothing
    slow        as good as the parent, half as slow again as the limit allows
    oversized   as good as the parent, half as large again as the limit allows

A bad model must be held by a limit of its own kind, named in the result. A policy without such a
limit does not hold it, and the self-test says so and fails.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from shipworthy.core.errors import InputError, nearest
from shipworthy.core.locale import text
from shipworthy.core.records import (
    Answer,
    Candidate,
    Decision,
    Limit,
    Outcome,
    RelativeTo,
    Slice,
)
from shipworthy.measure.catalogue import MEASURES
from shipworthy.measure.decide import decide_candidate, decide_run
from shipworthy.measure.estimates import Estimate, Fact
from shipworthy.measure.speed_means import SPEED_MEASURES, speed_estimates
from shipworthy.measure.speed_records import SpeedRecords
from shipworthy.release.policy_fit import check_fit, columns_of
from shipworthy.release.ruler import Ruler, Subject
from shipworthy.release.wording import limit_title

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from shipworthy.model.predictions import Predictions
    from shipworthy.release.policy import Policy

    BoolArray: TypeAlias = NDArray[np.bool_]

BAD = ("broken", "biased", "slow", "oversized")
GROUP_ROWS = 20_000
PROCESSES = 7
HARM = 0.10
"""Share of its right answers that the harmed group of the biased model loses."""

EXCESS = 1.5
"""How far the slow and the oversized model are beyond their limit, as a factor."""

_SEED = 20_260_101
_VALUES = ("a", "b", "c", "d")
_NO_LIMIT = 10.0
_GOOD_FLIPS = 0.001


@dataclass(frozen=True)
class Planted:
    """What became of one planted model.

    held_by: limits of its own kind that fail it, and for the good model the limits that it does
    not pass. ok: it was held by one, or the good one ships; skipped: it is not asked for.
    """

    name: str
    answer: Answer | None
    held_by: tuple[Limit, ...]
    ok: bool
    skipped: bool = False


@dataclass(frozen=True)
class Selftest:
    """The result for one policy."""

    planted: tuple[Planted, ...]

    @property
    def passed(self) -> bool:
        """Whether every planted model that was asked for met its fate."""
        return all(p.ok for p in self.planted if not p.skipped)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values for JSON."""
        return {
            "passed": self.passed,
            "planted": [
                {
                    "name": p.name,
                    "verdict": None if p.answer is None else p.answer.value,
                    "held_by": [str(li) for li in p.held_by],
                    "ok": p.ok,
                    "skipped": p.skipped,
                }
                for p in self.planted
            ],
        }


def run_selftest(policy: Policy, *, skip: Sequence[str] = ()) -> Selftest:
    """Plant a good model and each kind of bad one against a policy.

    skip: names of bad models that the policy need not hold. Raises InputError for another name.
    """
    for name in skip:
        if name not in BAD:
            raise InputError(f"--skip {name}: no such planted model; {nearest(name, BAD)}")
    stage = _Stage(policy)
    planted = [_good(stage)]
    for name in BAD:
        if name in skip:
            planted.append(Planted(name, None, (), True, skipped=True))
        else:
            planted.append(_bad(stage, name))
    return Selftest(tuple(planted))


def lines(found: Selftest) -> list[str]:
    """Return the result as lines for people."""
    told = []
    for one in found.planted:
        if one.skipped:
            key = "selftest.skipped"
        elif one.name == "good":
            key = "selftest.good" if one.ok else "selftest.good_not_shipped"
        else:
            key = "selftest.held" if one.ok else "selftest.not_held"
        verdict = "" if one.answer is None else text(f"report.answer.{one.answer.value}")
        mark = "-" if one.skipped else ("+" if one.ok else "!")
        name = text(f"selftest.name.{one.name}")
        said = text(
            key,
            name=name,
            limits=text("selftest.separator").join(map(limit_title, one.held_by)),
            verdict=verdict,
        )
        told.append(f"  {mark} {said}")
    return [*told, text("selftest.passed" if found.passed else "selftest.failed")]


def _good(stage: _Stage) -> Planted:
    answer, decisions = stage.judge(stage.good("good"))
    kept_back = {d.limit for d in decisions if d.decision is not Outcome.PASS and _counts(d)}
    limits = () if answer is Answer.SHIP else tuple(stage.limits(kept_back))
    return Planted("good", answer, limits, answer is Answer.SHIP)


def _bad(stage: _Stage, name: str) -> Planted:
    """Plant a bad model; it must be held, and by a limit of its own kind."""
    found = [stage.judge(subject) for subject in stage.bad(name)]
    own = [
        {d.limit for d in decisions if d.decision is Outcome.FAIL and stage.of_kind(name, d)}
        for _, decisions in found
    ]
    ok = bool(found) and all(
        answer is Answer.HOLD and limits for (answer, _), limits in zip(found, own, strict=True)
    )
    answers = [answer for answer, _ in found]
    worst = next((a for a in answers if a is not Answer.HOLD), answers[0]) if answers else None
    return Planted(name, worst, tuple(stage.limits(set().union(*own))), ok)


def _counts(decision: Decision) -> bool:
    """Say whether a decision can hold a candidate: an advisory one is only shown."""
    return decision.tier != "advisory"


class _Stage:
    """Rows, a parent, and a way to judge planted models against it."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.columns = tuple(dict.fromkeys(c for li in policy.limits for c in columns_of(li)))
        if not self.columns:
            self.columns = ("group",)
        check_fit(policy, self.columns)
        self.generator = np.random.default_rng(_SEED)
        self.frame = _frame(policy, self.columns)
        n = self.frame.height
        self.labels = self.generator.permutation(np.arange(n) % 2)
        self.gain = _gain(policy.limits)
        error = _error(policy.limits)
        self.right = self.generator.random(n) < 1 - error - self.gain
        self.parent = self.subject("parent", self.right)

    def subject(
        self,
        name: str,
        right: BoolArray,
        *,
        slow: tuple[str, ...] = (),
        large: tuple[str, ...] = (),
    ) -> Subject:
        """Return a model with these right answers; slow, large: measures beyond their limit."""
        numbers = {
            **_speeds(self.policy.limits, name, slow),
            **_facts(self.policy.limits, name, large),
        }
        candidate = Candidate(name, "predictions", artefact_digest=name)
        return Subject(candidate, _answers(name, self.labels, right, self.frame), numbers)

    def limits(self, places: Collection[int]) -> Iterator[Limit]:
        """Return limits of the policy by their places, in its order."""
        return (self.policy.limits[k] for k in sorted(places))

    def good(self, name: str, **beyond: tuple[str, ...]) -> Subject:
        """Return a model inside every limit, but for the measures named in `slow` or `large`."""
        return self.subject(name, self.flipped(_GOOD_FLIPS, self.gain), **beyond)

    def bad(self, name: str) -> list[Subject]:
        """Return the planted models of a kind: one for each limit that could be passed over."""
        if name == "broken":
            right = self.generator.random(len(self.right)) < 0.5
            return [self.subject(name, right)]
        if name == "biased":
            column = self.columns[0]
            values = self.frame[column].to_numpy()
            harmed = (values == values[0]) & (self.generator.random(len(values)) < HARM)
            return [self.subject(name, self.right & ~harmed)]
        kind, beyond = ("speed", "slow") if name == "slow" else ("fact", "large")
        return [
            self.good(name, **{beyond: (measure,)})
            for measure in dict.fromkeys(li.measure for li in self.policy.limits)
            if MEASURES[measure].kind == kind
        ]

    def flipped(self, share: float, gain: float) -> BoolArray:
        """Return the parent's answers with this share of rows turned each way.

        gain: share of the rows that turn right on top of it.
        """
        out = self.right.copy()
        for state, part in ((True, share), (False, share + gain)):
            rows = np.flatnonzero(self.right == state)
            out[self.generator.permutation(rows)[: int(part * len(out))]] = not state
        return out

    def of_kind(self, name: str, decision: Decision) -> bool:
        """Say whether a decision is of the kind that must hold a planted model."""
        kind = MEASURES[decision.measure].kind
        if not _counts(decision):
            return False
        if name == "biased":
            return kind == "spread" or Slice.parse(decision.slice).conditions != ()
        wanted = {"broken": ("quality", "spread"), "slow": ("speed",), "oversized": ("fact",)}
        return kind in wanted[name]

    def judge(self, subject: Subject) -> tuple[Answer, tuple[Decision, ...]]:
        """Judge one planted model against the parent."""
        ruler = Ruler(self.parent, groups=self.columns, unit=None)
        decided = decide_candidate(
            subject.candidate.id,
            ruler.evidence(subject, self.policy.limits),
            confidence=self.policy.confidence,
            small_slices=self.policy.small_slices,
        )
        run = decide_run([decided], [decided.candidate], alpha=self.policy.alpha, objective={})
        return run.answer, decided.decisions


def _frame(policy: Policy, columns: Sequence[str]) -> pl.DataFrame:
    """Return rows in which every combination of group values is equally frequent."""
    import polars as pl

    levels = []
    for column in columns:
        named = [
            str(li.slices[column])
            for li in policy.limits
            if not isinstance(li.slices, str) and column in li.slices
        ]
        levels.append(list(dict.fromkeys([*named, *_VALUES]))[: max(len(_VALUES), len(named))])
    cells = list(product(*levels))
    copies = max(GROUP_ROWS * len(_VALUES) // len(cells), 1)
    data = {c: [cell[k] for cell in cells] * copies for k, c in enumerate(columns)}
    return pl.DataFrame(data)


def _error(limits: Sequence[Limit]) -> float:
    """Return a share of wrong answers well inside the strictest limit on a quality."""
    room = [0.2]
    for li in limits:
        if MEASURES[li.measure].kind != "quality" or li.relative_to != "none":
            continue
        if isinstance(li.bound, str):
            continue
        if li.side == "at_least" and li.bound < 1:
            room.append(1 - float(li.bound))
        elif li.measure in _ERRORS and li.bound > 0:
            room.append(float(li.bound) * _ERRORS[li.measure])
    return min(room) / 4


_ERRORS = {"false_positive_rate": 1.0, "brier_score": 1.0, "log_loss": 0.3}
"""Measures that fall to 0 with the share of wrong answers, and that share per unit of them."""


def _gain(limits: Sequence[Limit]) -> float:
    """Return how much better than its parent a candidate must be, as a share of right answers."""
    asked = [
        float(li.bound)
        for li in limits
        if MEASURES[li.measure].kind == "quality"
        and MEASURES[li.measure].better == "high"
        and (li.relative_to, li.side) == ("parent", "at_least")
        and not isinstance(li.bound, str)
        and li.bound > 0
    ]
    return min(2 * max(asked), 0.5) if asked else 0.0


def _answers(
    name: str, labels: NDArray[np.int64], right: BoolArray, frame: pl.DataFrame
) -> Predictions:
    """Return predictions whose scores are as sure as the model is right on the whole."""
    from shipworthy.model.predictions import Predictions

    predicted = np.where(right, labels, 1 - labels)
    # A narrow band, so that ranks differ and nothing rests on ties.
    band = right.mean() + np.linspace(-1e-4, 1e-4, len(labels))
    sure = np.clip(band, 0.5, 1 - 1e-6)
    scores = np.where(predicted == 1, sure, 1 - sure)
    return Predictions(
        name=name, file=name, classes=("0", "1"), positive="1", labels=labels,
        predicted=predicted, scores=scores[:, None], scored=("1",), frame=frame, ids=None,
        label="label", id=None, groups=tuple(frame.columns), unit=None, digest=name,
    )  # fmt: skip


def _levels(limits: Sequence[Limit], measure: str) -> tuple[float, float, float]:
    """Return a time, rate or size of the parent, of a good model and of one beyond its limits."""
    low = MEASURES[measure].better == "low"
    strictest, loosest, inside = (min, max, 0.7) if low else (max, min, 1.4)
    bounds: dict[str, list[float]] = {"none": [], "parent": []}
    for li in limits:
        if li.measure == measure and not isinstance(li.bound, str):
            bounds[li.relative_to].append(float(li.bound))
    parent = strictest(bounds["none"], default=_NO_LIMIT) * inside
    ends = [*bounds["none"], *(ratio * parent for ratio in bounds["parent"])]
    beyond = EXCESS if low else 1 / EXCESS
    return parent, strictest([parent, *ends]) * inside, loosest(ends, default=parent) * beyond


def _speeds(
    limits: Sequence[Limit], name: str, slow: Sequence[str]
) -> dict[tuple[str, RelativeTo], Estimate]:
    """Return speeds from planted process records: inside every limit, or beyond those named."""
    generator = np.random.default_rng(_SEED)
    rows = []
    for measure in SPEED_MEASURES:
        parent, good, beyond = _levels(limits, measure)
        value = beyond if measure in slow else good
        for who, level in (("parent", parent), (name, parent if name == "parent" else value)):
            for number in range(PROCESSES):
                noise = float(np.exp(generator.normal(0.0, 0.01)))
                rows.append(_process(who, measure, level * noise, number))
    records = SpeedRecords.of(
        {(r["candidate"], r["measure"], r["round"]): r for r in rows}.values()
    )
    found = speed_estimates(records, name, parent="parent")
    return {(measure, relative): estimate for (measure, relative), estimate in found.items()}


def _process(candidate: str, measure: str, value: float, number: int) -> dict[str, Any]:
    return {
        "candidate": candidate, "measure": measure, "value": value, "round": number,
        "position": 0, "requests": 400, "dropped": 20, "settled": True, "form": "full",
        "threads": 1, "seed": 0, "artefact_digest": candidate, "device_flags": "",
    }  # fmt: skip


def _facts(
    limits: Sequence[Limit], name: str, large: Sequence[str]
) -> dict[tuple[str, RelativeTo], Estimate]:
    found: dict[tuple[str, RelativeTo], Estimate] = {}
    for measure, kind in MEASURES.items():
        if kind.kind == "fact":
            parent, good, beyond = _levels(limits, measure)
            value = parent if name == "parent" else (beyond if measure in large else good)
            found[measure, "none"] = Fact(np.array([value]))
    return found
