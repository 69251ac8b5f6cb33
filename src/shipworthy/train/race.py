"""Recipes against the project's own, trained on equal tokens over several seeds.

A claim about a recipe is not one about a model: another seed gives another model. So each recipe is
trained with each seed, beside the default with the same seed, and the difference counts only where
its interval, which holds the scatter of the seeds and of the rows, clears zero. Else the default
stays.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.core.device import threads
from shipworthy.core.digest import digest_json
from shipworthy.core.errors import SettingsError, nearest
from shipworthy.core.files import write_atomically
from shipworthy.core.launch import Worker
from shipworthy.core.locale import text
from shipworthy.core.progress import progress
from shipworthy.train.settings import TrainSettings

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

DEFAULT = "default"
_TIMEOUT_SECONDS = 7 * 86_400.0


@dataclass(frozen=True)
class Trial:
    """One training: of which recipe, with which settings and seed; all JSON values."""

    recipe: str
    seed: int
    settings: dict[str, Any]
    tokens: int


@dataclass(frozen=True)
class Standing:
    """A recipe beside the default.

    seeds, rows: of the comparison. accuracy: mean over seeds. change: of accuracy, recipe minus
    default, with low and high at the confidence asked for and its degrees of freedom. p: one-sided,
    against no improvement, after Holm over the recipes raced. better: whether that clears alpha.
    """

    recipe: str
    seeds: int
    rows: int
    accuracy: float
    change: float
    low: float
    high: float
    df: float
    p: float
    better: bool


@dataclass(frozen=True)
class RaceResult:
    """What the race said. winner: a recipe, or `default`; tokens: of each training."""

    winner: str
    tokens: int
    default_accuracy: float
    standings: tuple[Standing, ...]
    confidence: float


def recipes_of(settings: TrainSettings) -> dict[str, TrainSettings]:
    """Return the settings of each recipe, the project's own first, as `default`.

    Raises SettingsError that names recipe and key where one changes what there is not, or cannot.
    """
    from pydantic import ValidationError

    if settings.race is None:
        raise ValueError("the settings ask for no race")
    plain = settings.model_copy(update={"race": None})
    found = {DEFAULT: plain}
    base = plain.model_dump(mode="json")
    for name, changes in settings.race.recipes.items():
        at = f"train.race.recipes.{name}"
        if name == DEFAULT:
            raise SettingsError(text("error.race.name", name=name), key=at)
        try:
            made = TrainSettings.model_validate(_merged(base, changes, at))
        except ValidationError as error:
            wrong = error.errors()[0]
            key = ".".join(map(str, wrong["loc"]))
            raise SettingsError(str(wrong["msg"]), key=f"{at}.{key}" if key else at) from error
        if made == plain:
            raise SettingsError(text("error.race.same", name=name), key=at)
        found[name] = made
    return found


def trials(recipes: dict[str, TrainSettings], *, seed: int, seeds: int, tokens: int) -> list[Trial]:
    """Return every training of a race, seeds in the outer loop."""
    return [
        Trial(name, seed + number, settings.model_dump(mode="json"), tokens)
        for number in range(seeds)
        for name, settings in recipes.items()
    ]


def race(
    asked: Sequence[Trial],
    run: Callable[[Trial], list[int]],
    *,
    work: Path,
    units: NDArray[np.int64] | None = None,
    confidence: float = 0.95,
    side_by_side: int | None = None,
) -> RaceResult:
    """Do the trainings that are not done yet, and compare.

    run: trains and returns for each validation row whether it was right, as 0 or 1. work: folder
    in which each finished training leaves a file; a race that was killed goes on from them. units:
    number of the unit of each row. side_by_side: trainings at once; by processors where not given.
    """
    work.mkdir(parents=True, exist_ok=True)
    right: dict[tuple[str, int], NDArray[np.int64]] = {}

    def one(trial: Trial) -> None:
        file = work / f"{digest_json(asdict(trial))[:24]}.json"
        try:
            found = json.loads(file.read_text("utf-8"))["right"]
        except (OSError, ValueError, KeyError):
            found = run(trial)
            write_atomically(file, json.dumps({"recipe": trial.recipe, "right": found}))
        right[trial.recipe, trial.seed] = np.asarray(found, dtype=np.int64)

    with (
        progress("race", total=len(asked), unit="trainings") as report,
        ThreadPoolExecutor(side_by_side or processes()) as pool,
    ):
        for _ in pool.map(one, asked):
            report(1)
    names = list(dict.fromkeys(trial.recipe for trial in asked))
    tables = {
        name: np.stack([found for (recipe, _), found in sorted(right.items()) if recipe == name])
        for name in names
    }
    return compare(tables, tokens=asked[0].tokens, units=units, confidence=confidence)


def compare(
    right: dict[str, NDArray[np.int64]],
    *,
    tokens: int,
    units: NDArray[np.int64] | None = None,
    confidence: float = 0.95,
) -> RaceResult:
    """Return the standing of each recipe beside `default`.

    right: for each recipe (seeds, rows), 1 where a row was right.

    The variance of the mean change is that of the means of the seeds, over their number, plus the
    mean variance of a mean over rows (by unit where there are units); degrees of freedom after
    Satterthwaite (1946).
    """
    from scipy.stats import t

    base = right[DEFAULT]
    seeds, rows = base.shape
    group = np.arange(rows) if units is None else np.unique(units, return_inverse=True)[1]
    groups = int(group.max()) + 1
    found: list[tuple[str, float, float, float, float]] = []
    for name, table in right.items():
        if name == DEFAULT:
            continue
        change = (table - base).astype(np.float64)
        means = change.mean(1)
        between = float(means.var(ddof=1)) / seeds
        apart = change - means[:, None]
        sums = np.stack([np.bincount(group, one, groups) for one in apart])
        inside = float((sums**2).sum(1).mean()) * groups / (groups - 1) / rows**2
        variance = between + inside
        parts = between**2 / (seeds - 1) + inside**2 / (groups - 1)
        df = variance**2 / parts if parts > 0 else float(seeds - 1)
        found.append((name, float(means.mean()), variance**0.5, df, float(table.mean())))
    alpha = (1.0 - confidence) / 2
    chances = [
        float(t.sf(mean / error, df)) if error > 0 else float(mean <= 0)
        for _, mean, error, df, _ in found
    ]
    adjusted = _holm(chances)
    standings = []
    for (name, mean, error, df, accuracy), p in zip(found, adjusted, strict=True):
        half = float(t.ppf(1.0 - alpha, df)) * error
        standings.append(
            Standing(
                name, seeds, rows, accuracy, mean, mean - half, mean + half, df, p,
                better=p <= alpha and mean - half > 0,
            )
        )  # fmt: skip
    winners = [one for one in standings if one.better]
    best = max(winners, key=lambda one: one.change, default=None)
    return RaceResult(
        DEFAULT if best is None else best.recipe, tokens, float(base.mean()), tuple(standings),
        confidence,
    )  # fmt: skip


def processes() -> int:
    """Return how many trainings run side by side here."""
    return max(1, threads())


def run_in_process(trial: Trial, given: dict[str, Any]) -> list[int]:
    """Train and measure in a process of its own; given: arguments of `race_trial.measured`.

    Where RAY_ADDRESS names a cluster and Ray is installed the cluster does the work, else this
    machine.
    """
    if os.environ.get("RAY_ADDRESS") and find_spec("ray") is not None:
        return _through_ray(asdict(trial), given)
    environment = {
        "OMP_NUM_THREADS": str(max(1, threads() // processes())),
        "SHIPWORTHY_PROGRESS": "off",
    }
    with Worker("shipworthy.train.race_trial", environment=environment) as worker:
        found: list[int] = worker.call(
            "measured", trial=asdict(trial), given=given, timeout=_TIMEOUT_SECONDS
        )
    return found


def _through_ray(trial: dict[str, Any], given: dict[str, Any]) -> list[int]:
    ray: Any = import_module("ray")
    from shipworthy.train.race_trial import measured

    if not ray.is_initialized():
        ray.init(ignore_reinit_error=True, log_to_driver=False)
    task = ray.remote(measured)
    found: list[int] = ray.get(task.options(num_cpus=1).remote(trial=trial, given=given))
    return found


def _merged(base: dict[str, Any], changes: dict[str, Any], at: str) -> dict[str, Any]:
    """Return the settings with changes laid over them, key by key."""
    found = dict(base)
    for key, value in changes.items():
        if key not in base or key == "race":
            raise SettingsError(
                text("error.race.key", key=key), key=at, fix=nearest(key, set(base) - {"race"})
            )
        inner = base[key]
        if isinstance(inner, dict) and isinstance(value, dict):
            value = _merged(inner, value, f"{at}.{key}")
        found[key] = value
    return found


def _holm(chances: list[float]) -> list[float]:
    """Return the chances adjusted for their number (Holm 1979)."""
    order = np.argsort(chances, kind="stable")
    adjusted = [0.0] * len(chances)
    most = 0.0
    for place, number in enumerate(order):
        most = max(most, min(1.0, chances[number] * (len(chances) - place)))
        adjusted[number] = most
    return adjusted
