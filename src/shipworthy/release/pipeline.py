"""A whole project, from its rows to a verdict and a page; the only file that knows every lever.

    data -> train -> candidates -> validation answers, speed -> nomination
         -> test answers -> verdict -> report

Every stage is cached by content, so `run` goes on where it was stopped and a second run reads what
the first one made. Nomination uses validation rows only and is in the ledger before the test rows
are opened; all candidates are then measured on test, but only the nominated can ship.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipworthy.core import locale
from shipworthy.core.digest import digest_json
from shipworthy.core.errors import InputError, nearest
from shipworthy.core.ledger import Ledger
from shipworthy.core.openings import OpeningState, open_test
from shipworthy.core.stages import Stage, link_into
from shipworthy.release.artefacts import PARENT, Made, Workshop, made
from shipworthy.release.judgement import Judgement
from shipworthy.release.policy import Policy, policy_digest
from shipworthy.release.policy_fit import check_fit
from shipworthy.release.record import REPORT, read_record

if TYPE_CHECKING:
    from shipworthy.release.project import Project

STAGES = ("data", "train", "candidates", "validation", "speed", "test")
"""What `--only` can stop after."""

CACHE = ".shipworthy"
RUNS = "runs"
LEDGER = "ledger.jsonl"
NOMINATED = "nominated.json"


@dataclass(frozen=True)
class Finished:
    """What a run left: the judgement (None where it stopped before), its folder and its page."""

    judgement: Judgement | None
    folder: Path | None
    report: Path | None
    stages: tuple[Stage, ...]
    seconds: float


@dataclass(frozen=True, eq=False)
class Bench:
    """All that was made and asked, ready to be measured.

    everyone: the parent first. skipped: recipes that the budget did not reach.
    answers: the stage of each one's answers by split.
    """

    shop: Workshop
    policy: Policy
    data: Stage
    everyone: tuple[Made, ...]
    skipped: tuple[str, ...]
    speed: Stage
    answers: dict[str, tuple[Stage, ...]]
    started: float


def run_project(
    project: Project,
    *,
    root: Path,
    text: str = "",
    only: str | None = None,
    rehearse: bool = False,
    tell: Callable[[Stage], None] = lambda stage: None,
) -> Finished:
    """Run all stages of a project that are not cached and reach a verdict.

    root: folder for `.shipworthy/` (cache, ledger) and `runs/`. text: of the project file, kept in
    the run. only: name of the stage to stop after. rehearse: decide on validation rows; nothing is
    opened, written to the ledger or shipped. tell: called with each finished stage.
    Raises InputError for what cannot be used.
    """
    started = time.monotonic()
    if only is not None and only not in STAGES:
        raise InputError(locale.text("error.pipeline.only", only=only, meant=nearest(only, STAGES)))
    policy = project.policy.policy()
    check_fit(policy, project.data.groups, remedy=locale.text("error.pipeline.remedy"))
    shop = Workshop(project, root / CACHE, tell)

    def stopped() -> Finished:
        return Finished(None, None, None, tuple(shop.stages), time.monotonic() - started)

    data = shop.rows()
    if only == "data":
        return stopped()
    parent = made(shop.train(data), PARENT, "train", settings=_plain(project.train),
                  seed=project.seed)  # fmt: skip
    if only == "train":
        return stopped()
    candidates, skipped = _candidates(shop, parent)
    everyone = (parent, *candidates)
    if only == "candidates":
        return stopped()
    answers = {"validation": tuple(shop.answers(data, one, "validation") for one in everyone)}
    if only == "validation":
        return stopped()
    speed = shop.speed(data, everyone)
    if only == "speed":
        return stopped()
    bench = Bench(shop, policy, data, everyone, skipped, speed, answers, started)
    nominated = _nominated(bench)
    if not rehearse:
        answers["test"] = tuple(shop.answers(data, one, "test") for one in everyone)
        if only == "test":
            return stopped()
    ledger = None if rehearse else Ledger(root / CACHE / LEDGER)
    run_id, verdict = _verdict(bench, nominated, ledger)
    folder = root / RUNS / run_id
    _put_together(folder, verdict, everyone, ledger, text)
    seconds = time.monotonic() - started
    judgement = replace(
        read_record(folder), seconds=seconds, cached_stages=sum(s.cached for s in shop.stages)
    )
    return Finished(judgement, folder, folder / REPORT, tuple(shop.stages), seconds)


def _candidates(shop: Workshop, parent: Made) -> tuple[tuple[Made, ...], tuple[str, ...]]:
    """Make candidates until the budget is spent; return them, and the recipes that are left."""
    from shipworthy.compress.recipes import expand

    found: list[Made] = []
    recipes = expand(shop.project.compress)
    for place, recipe in enumerate(recipes):
        # What is cached counts as what it took, so that a second run makes the same candidates.
        if sum(m.stage.seconds for m in found) > 60 * shop.project.compress.budget_minutes:
            return tuple(found), tuple(r.name for r in recipes[place:])
        stage = shop.compress(parent.folder, parent.candidate.artefact_digest, recipe)
        found.append(
            made(
                stage,
                recipe.name,
                recipe.lever,
                parents=(parent.candidate.id,),
                settings=dict(recipe.settings),
                seed=shop.project.seed,
            )
        )
    return tuple(found), ()


def _nominated(bench: Bench) -> tuple[str, ...]:
    """Choose on validation which candidates may ship; return their ids, best first."""

    def make(folder: Path) -> None:
        from shipworthy.release.conclusion import choose

        (folder / NOMINATED).write_text(json.dumps(choose(bench)), encoding="utf-8")

    stage = bench.shop.run(
        "nomination",
        make,
        inputs=_inputs(bench, "validation"),
        settings=_asked(bench),
        module="shipworthy.release.conclusion",
    )
    return tuple(json.loads((stage.folder / NOMINATED).read_text(encoding="utf-8")))


def _verdict(bench: Bench, nominated: tuple[str, ...], ledger: Ledger | None) -> tuple[str, Stage]:
    """Open the test rows (without a ledger: rehearse) and decide; return the run's id and stage."""
    from shipworthy.core.locale import language

    candidates = {m.candidate.id: m.candidate.artefact_digest for m in bench.everyone[1:]}
    opening = OpeningState(family=len(nominated))
    if ledger is not None:
        digest, sketch = bench.shop.test_rows(bench.data)
        opening = open_test(
            ledger,
            test_digest=digest,
            rows_sketch=sketch,
            candidates=candidates,
            policy_digest=policy_digest(bench.policy),
            nominated=nominated,
        )
    split = "validation" if ledger is None else "test"
    settings = {
        **_asked(bench),
        "candidates": candidates,
        "nominated": list(nominated),
        "split": split,
        "opening": [opening.number, opening.worn_out, list(opening.after_sight), opening.family],
        "owners": [[li.owner, li.expires_days] for li in bench.policy.limits],
        "separation_of_duties": bench.policy.separation_of_duties,
        "name": bench.shop.project.name,
    }
    run_id = digest_json(settings)[:8]

    def make(folder: Path) -> None:
        from shipworthy.release.conclusion import conclude

        conclude(bench, folder, run=run_id, split=split, nominated=nominated, opening=opening)

    stage = bench.shop.run(
        "verdict",
        make,
        inputs=_inputs(bench, split),
        settings={
            **settings,
            "language": language(),
            "examples": bench.shop.project.report.examples,
        },
        module="shipworthy.release.conclusion",
    )
    return run_id, stage


def _inputs(bench: Bench, split: str) -> dict[str, str]:
    answers = {f"answers {k}": stage.key for k, stage in enumerate(bench.answers[split])}
    return {"rows": bench.data.key, "speed": bench.speed.key, **answers}


def _asked(bench: Bench) -> dict[str, Any]:
    """What nomination and verdict depend on besides answers and speed."""
    project = bench.shop.project
    return {
        "policy": policy_digest(bench.policy),
        "objective": project.objective,
        "groups": list(project.data.groups),
        "intersections": project.data.intersections,
        "skipped": list(bench.skipped),
    }


def _put_together(
    folder: Path, verdict: Stage, everyone: Sequence[Made], ledger: Ledger | None, text: str
) -> None:
    """Make the run folder: hard links into the stages, the project file, a copy of the ledger."""
    from shipworthy.core.files import write_atomically

    for one in everyone:
        target = folder / one.candidate.folder
        if not target.exists():
            link_into(one.folder, target)
    if text:
        write_atomically(folder / "project.yaml", text)
    if ledger is not None:
        write_atomically(folder / LEDGER, ledger.path.read_bytes())
    link_into(verdict.folder, folder)


def _plain(settings: Any) -> dict[str, Any]:
    return dict(settings.model_dump(mode="json"))
