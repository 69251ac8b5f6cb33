"""Where planted models are judged: by the ruler and the rules that judge real ones.

Few rows are made first, and more only where a good candidate does not ship on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shipworthy.core.records import Answer, Decision, Limit, Outcome
from shipworthy.measure.batching import MEASURE as BATCH_DEPENDENCE
from shipworthy.measure.catalogue import MEASURES
from shipworthy.measure.decide import decide_candidate, decide_run
from shipworthy.measure.licences import MEASURE as LICENCES
from shipworthy.release.contamination import MEASURE as CONTAMINATED
from shipworthy.release.data_facts import DUPLICATES, SMALLEST
from shipworthy.release.policy_fit import check_fit, columns_of
from shipworthy.release.ruler import Ruler, Subject
from shipworthy.release.selftest_models import Plant, Rows, looks_at_groups, plants
from shipworthy.release.selftest_numbers import Machine, with_numbers
from shipworthy.release.selftest_pair import Pair, churned_pair, fitting_pair

if TYPE_CHECKING:
    from shipworthy.release.policy import Policy

GROUP_ROWS = (3_000, 20_000, 200_000)
"""Rows of each group for the good model: more where few are too few for the policy's margins.

The bad ones, harmed in a tenth of their answers and more, are seen on the fewest."""

PLAUSIBLE = 0.5
"""A biased model harms at most this share of what one group is answered."""

COIN = Plant("random")

_OWN = {
    LICENCES: "unlicensed", CONTAMINATED: "contaminated", BATCH_DEPENDENCE: "swayed",
    DUPLICATES: "repeated", SMALLEST: "thin",
}  # fmt: skip
"""Kinds of bad models that only a limit on their own measure is there to hold."""


@dataclass(frozen=True)
class Tried:
    """A limit that counts, and the mildest planted model that fails it.

    asked: what it says about the good model. plant and decision are None where no model fails it.
    """

    place: int
    limit: Limit
    asked: Decision
    plant: Plant | None
    decision: Decision | None

    @property
    def kind(self) -> str:
        """Which of the standard bad models this limit is there to hold."""
        kind = MEASURES[self.limit.measure]
        if self.limit.measure in _OWN:
            return _OWN[self.limit.measure]
        if kind.kind == "probe":
            return "unsafe"
        if kind.kind in ("speed", "fact"):
            return "oversized" if kind.unit == "mb" else "slow"
        return "biased" if looks_at_groups(self.limit) else "broken"

    @property
    def holds(self) -> bool:
        """Whether it fails a model that is no worse than could well be."""
        if self.plant is None:
            return False
        return self.kind != "biased" or self.plant.whole or self.plant.share <= PLAUSIBLE


class Stage:
    """Rows, a parent, and a way to judge planted models against it.

    Raises SettingsError for a limit that cannot be applied.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        named = tuple(dict.fromkeys(c for li in policy.limits for c in columns_of(li)))
        self.columns = named or ("group",)
        check_fit(policy, self.columns)
        self.counting = tuple(k for k, li in enumerate(policy.limits) if li.tier != "advisory")
        limits = with_numbers(policy.limits)
        counting = [limits[k] for k in self.counting]
        self.limits, self.machine = limits, Machine(counting)
        self.pair = fitting_pair(counting)
        self.rows, self.ruler = self._ground(self.pair)
        for per_group in GROUP_ROWS:
            rows, ruler = self.rows, self.ruler
            if per_group != GROUP_ROWS[0]:
                rows, ruler = self._ground(self.pair, per_group)
            self.good, self.decisions = self._judged(ruler, rows.good(self.machine.good))
            if self.good is not Answer.UNDECIDED:
                break

    def judge(self, plant: Plant) -> tuple[Answer, tuple[Decision, ...]]:
        """Judge a planted model by all limits, as the only candidate."""
        return self._judged(self.ruler, self.rows.planted(plant, self.machine.good))

    def _judged(self, ruler: Ruler, subject: Subject) -> tuple[Answer, tuple[Decision, ...]]:
        decided = decide_candidate(
            subject.candidate.id,
            ruler.evidence(subject, self.policy.limits),
            confidence=self.policy.confidence,
            small_slices=self.policy.small_slices,
        )
        run = decide_run([decided], [decided.candidate], alpha=self.policy.alpha, objective={})
        return run.answer, decided.decisions

    def tried(self, place: int) -> Tried:
        """Plant models against one limit that counts until one of them fails it."""
        limit = self.policy.limits[place]
        asked = next(d for d in self.decisions if d.limit == place)
        for plant in plants(limit, place, self.rows.levels):
            decision = self._failed(place, plant)
            if decision is not None:
                return Tried(place, limit, asked, plant, decision)
        return Tried(place, limit, asked, None, None)

    def _failed(self, place: int, plant: Plant) -> Decision | None:
        """Return the decision of one limit that holds a model; None where it lets it through.

        Only this limit is looked at, at a level so strict that it fails the model however many
        others stand beside it.
        """
        limit, rows, ruler, numbers = self.limits[place], self.rows, self.ruler, self.machine.good
        if plant.family == "beyond":
            numbers = self.machine.beyond(limit)
        if plant.family == "churning":
            # Only wrong answers can turn right, and a good parent has few.
            rows, ruler = self._ground(churned_pair(self.pair, float(limit.bound)))
        decided = decide_candidate(
            "",
            ruler.evidence(rows.planted(plant, numbers), [self.policy.limits[place]]),
            confidence=1 - 2 * self.policy.alpha / len(self.decisions),
        )
        return next((d for d in decided.decisions if d.decision is Outcome.FAIL), None)

    def _ground(self, pair: Pair, per_group: int = GROUP_ROWS[0]) -> tuple[Rows, Ruler]:
        rows = Rows(self.policy.limits, self.columns, pair, per_group)
        parent = rows.parent(self.machine.parent)
        return rows, Ruler(parent, groups=self.columns, unit=None)
