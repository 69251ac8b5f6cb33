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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from shipworthy.core.errors import InputError, nearest
from shipworthy.core.locale import text
from shipworthy.core.records import Answer, Candidate, Decision, Limit, Outcome, Slice
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
_LEVELS = ("a", "b", "c", "d")
_GOOD_FLIPS = 0.001


@dataclass(frozen=True)
class Planted:
    """What became of one planted model.

    held_by: limits of its own kind that fail it; ok: it was held by one, or the good one
    ships; skipped: the caller does not ask for it.
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
            key, name=name, limits="; ".join(map(limit_title, one.held_by)), verdict=verdict
        )
        told.append(f"  {mark} {said}")
    return [*told, text("selftest.passed" if found.passed else "selftest.failed")]


def _good(stage: _Stage) -> Planted:
    answer, _ = stage.judge(stage.subject("good", stage.flipped(_GOOD_FLIPS)))
    return Planted("good", answer, (), answer is Answer.SHIP)


def _bad(stage: _Stage, name: str) -> Planted:
    """Plant a bad model; it must be held, and by a limit of its own kind."""
    held: dict[int, Limit] = {}
    answers = []
    for subject in stage.bad(name):
        answer, decisions = stage.judge(subject)
        answers.append(answer)
        own = {d.limit for d in decisions if d.decision is Outcome.FAIL and stage.of_kind(name, d)}
        held |= {index: stage.policy.limits[index] for index in sorted(own)}
        answers[-1] = answer if own else Answer.UNDECIDED
    answer = answers[0] if answers else None
    ok = bool(answers) and all(a is Answer.HOLD for a in answers)
    return Planted(name, answer, tuple(held.values()), ok)


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
        self.right = self.generator.random(n) < _parent_accuracy(policy.limits)
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
        kind = "speed" if name == "slow" else "fact"
        flipped = self.flipped(_GOOD_FLIPS)
        return [
            self.subject(
                name,
                flipped,
                slow=(measure,) if kind == "speed" else (),
                large=(measure,) if kind == "fact" else (),
            )
            for measure in dict.fromkeys(li.measure for li in self.policy.limits)
            if MEASURES[measure].kind == kind
        ]

    def flipped(self, share: float) -> BoolArray:
        """Return the parent's answers with this share of rows turned each way."""
        out = self.right.copy()
        count = int(share * len(out))
        for state in (True, False):
            rows = np.flatnonzero(self.right == state)
            out[self.generator.permutation(rows)[:count]] = not state
        return out

    def of_kind(self, name: str, decision: Decision) -> bool:
        """Say whether a decision is of the kind that must hold a planted model."""
        kind = MEASURES[decision.measure].kind
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
        levels.append(list(dict.fromkeys([*named, *_LEVELS]))[: max(len(_LEVELS), len(named))])
    cells = list(product(*levels))
    copies = max(GROUP_ROWS * len(_LEVELS) // len(cells), 1)
    data = {c: [cell[k] for cell in cells] * copies for k, c in enumerate(columns)}
    return pl.DataFrame(data)


def _parent_accuracy(limits: Sequence[Limit]) -> float:
    """Return an accuracy well inside the strictest limit on a share."""
    shares = [
        float(li.bound)
        for li in limits
        if li.side == "at_least"
        and li.relative_to == "none"
        and MEASURES[li.measure].kind == "quality"
        and not isinstance(li.bound, str)
        and li.bound < 1
    ]
    return 1 - (1 - max([0.8, *shares])) / 4


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


def _speeds(
    limits: Sequence[Limit], name: str, slow: Sequence[str]
) -> Mapping[tuple[str, str], Estimate]:
    """Return speeds from planted process records: inside every limit, or beyond those named."""
    levels = {m: 10.0 for m in SPEED_MEASURES}
    for li in limits:
        if li.measure in levels and li.relative_to == "none" and not isinstance(li.bound, str):
            levels[li.measure] = float(li.bound)
    generator = np.random.default_rng(_SEED)
    rows = []
    for measure, level in levels.items():
        better_low = SPEED_MEASURES[measure][1] == "low"
        inside = level * 0.7 if better_low else level * 1.4
        for who in ("parent", name):
            beyond = measure in slow and who != "parent"
            value = inside
            if beyond:
                value = level * EXCESS if better_low else level / EXCESS
            for number in range(PROCESSES):
                noise = float(np.exp(generator.normal(0.0, 0.01)))
                rows.append(_process(who, measure, value * noise, number))
    records = SpeedRecords.of(
        {(r["candidate"], r["measure"], r["round"]): r for r in rows}.values()
    )
    return speed_estimates(records, name, parent="parent")


def _process(candidate: str, measure: str, value: float, number: int) -> dict[str, Any]:
    return {
        "candidate": candidate, "measure": measure, "value": value, "round": number,
        "position": 0, "requests": 400, "dropped": 20, "settled": True, "form": "full",
        "threads": 1, "seed": 0, "artefact_digest": candidate, "device_flags": "",
    }  # fmt: skip


def _facts(
    limits: Sequence[Limit], name: str, large: Sequence[str]
) -> Mapping[tuple[str, str], Estimate]:
    found: dict[tuple[str, str], Estimate] = {}
    for measure, kind in MEASURES.items():
        if kind.kind != "fact":
            continue
        bounds = {
            li.relative_to: float(li.bound)
            for li in limits
            if li.measure == measure and not isinstance(li.bound, str)
        }
        # The parent is as large as both limits allow a good candidate to be measured against.
        parent = bounds.get("none", 100.0)
        allowed = min(bounds.get("none", parent), bounds.get("parent", 1.0) * parent)
        value = parent if name == "parent" else allowed * 0.7
        if measure in large:
            value = max(bounds.get("none", 0.0), bounds.get("parent", 0.0) * parent) * EXCESS
        found[measure, "none"] = Fact(np.array([value]))
    return found
