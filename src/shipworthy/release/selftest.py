"""A gate proves that it can say no: planted bad models must be held, a good one must ship.

Each planted model goes through the same ruler and the same rules as a real one, on rows that are
made up for the policy (its groups, two classes, a good parent), so that only the policy is on
trial. Four bad models must be held by every policy that does not say otherwise, each by a limit of
its own kind:

    broken      answers by the toss of a coin         a limit on quality, or on a spread
    biased      one group harmed, or favoured         a limit that looks at groups
    slow        beyond the limit by half              a limit on latency or throughput
    oversized   beyond the limit by half              a limit on size or memory

And every limit that counts must fail one planted model, harmed as that limit should see: one that
nothing breaks never says no. A good model, inside every limit, must ship.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shipworthy.core.errors import InputError, nearest
from shipworthy.core.locale import text
from shipworthy.core.records import Answer, Limit, Outcome
from shipworthy.measure.catalogue import MEASURES
from shipworthy.release.selftest_models import Plant
from shipworthy.release.selftest_stage import COIN, Stage, Tried

if TYPE_CHECKING:
    from shipworthy.release.policy import Policy

BAD = ("broken", "biased", "slow", "oversized")
GOOD = "good"


@dataclass(frozen=True)
class Planted:
    """What became of one of the standard models.

    held_by: limits of its own kind that fail it, and for the good model the limits that it does
    not pass. ok: it was held by one, or the good one ships; skipped: it is not asked for.
    """

    name: str
    held_by: tuple[Limit, ...]
    ok: bool
    skipped: bool = False


@dataclass(frozen=True)
class Selftest:
    """The result for one policy; columns: group columns that its limits name."""

    planted: tuple[Planted, ...]
    limits: tuple[Tried, ...]
    columns: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every planted model met its fate and every limit that counts said no."""
        return not self.not_held

    @property
    def not_held(self) -> tuple[str, ...]:
        """Names of the standard models that did not meet their fate, and limits that never fail."""
        models = [p.name for p in self.planted if not p.ok]
        return (*models, *(str(t.limit) for t in self.limits if t.plant is None))

    @property
    def skipped(self) -> tuple[str, ...]:
        """Names of the standard models that were not asked for."""
        return tuple(p.name for p in self.planted if p.skipped)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values for JSON."""
        return {
            "passed": self.passed,
            "planted": [
                {
                    "name": p.name,
                    "held_by": [str(li) for li in p.held_by],
                    "ok": p.ok,
                    "skipped": p.skipped,
                    "add": None if p.ok or p.name == GOOD else example(p.name, self.columns),
                }
                for p in self.planted
            ],
            "limits": [
                {
                    "limit": str(t.limit),
                    "ok": t.plant is not None,
                    "model": None if t.plant is None else _plain(t.plant),
                    "value": None if t.decision is None else t.decision.value,
                    "bound": None if t.decision is None else t.decision.bound,
                }
                for t in self.limits
            ],
        }


def run_selftest(policy: Policy, *, skip: Collection[str] = ()) -> Selftest:
    """Plant a good model and bad ones against a policy.

    skip: names of bad models that it need not hold, besides those that the policy itself names.
    Raises InputError for another name, SettingsError for a limit that cannot be applied.
    """
    for name in skip:
        if name not in BAD:
            raise InputError(text("error.selftest.unknown", name=name, nearest=nearest(name, BAD)))
    skipped = {*skip, *policy.selftest.skip}
    stage = Stage(policy)
    tried = tuple(stage.tried(place) for place in stage.counting)
    planted = [_good(stage)]
    for name in BAD:
        if name in skipped:
            planted.append(Planted(name, (), True, skipped=True))
        else:
            held_by = _broken(stage) if name == "broken" else _held_by(name, tried)
            planted.append(Planted(name, held_by, bool(held_by)))
    return Selftest(tuple(planted), tried, stage.columns)


def example(name: str, columns: Sequence[str]) -> str:
    """Return a limit, as a policy file writes it, that would hold a standard bad model."""
    return {
        "broken": "{measure: accuracy, relative_to: parent, at_least: -0.02}",
        "biased": f"{{measure: accuracy, slice: {{each: {columns[0]}}}, relative_to: parent, "
        "at_least: -0.03}",
        "slow": "{measure: latency_p95_ms, at_most: 50}",
        "oversized": "{measure: size_mb, at_most: 500}",
    }[name]


def _good(stage: Stage) -> Planted:
    ships = stage.good is Answer.SHIP
    kept_back = {
        d.limit
        for d in stage.decisions
        if d.limit in stage.counting and d.decision is not Outcome.PASS and not ships
    }
    return Planted(GOOD, tuple(stage.policy.limits[k] for k in sorted(kept_back)), ships)


def _broken(stage: Stage) -> tuple[Limit, ...]:
    """Return the limits on quality and spreads that hold a model which tosses a coin."""
    _, decisions = stage.judge(COIN)
    failed = {
        d.limit
        for d in decisions
        if d.limit in stage.counting
        and d.decision is Outcome.FAIL
        and MEASURES[d.measure].kind in ("quality", "spread")
    }
    return tuple(stage.policy.limits[k] for k in sorted(failed))


def _held_by(name: str, tried: Sequence[Tried]) -> tuple[Limit, ...]:
    return tuple(t.limit for t in tried if t.kind == name and t.holds)


def _plain(plant: Plant) -> dict[str, Any]:
    return {"family": plant.family, "share": plant.share, "where": dict(plant.where)}
