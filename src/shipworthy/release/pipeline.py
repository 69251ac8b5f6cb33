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
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from shipworthy.compress.ray_nodes import check_installed
from shipworthy.core import locale
from shipworthy.core.digest import digest_file, digest_json
from shipworthy.core.errors import InputError, StageError, nearest
from shipworthy.core.files import room_on_disk, sweep, write_atomically
from shipworthy.core.ledger import Ledger
from shipworthy.core.ledger_lines import ledger_now
from shipworthy.core.lock import hold
from shipworthy.core.openings import OpeningState, open_test
from shipworthy.core.stages import Stage
from shipworthy.release import batching
from shipworthy.release.approvals import approved, open_place, renew
from shipworthy.release.artefacts import Workshop
from shipworthy.release.asked import question_digest
from shipworthy.release.candidate_stages import make_candidates, make_parent
from shipworthy.release.contamination import asks
from shipworthy.release.data_facts import DUPLICATES, similarity_of
from shipworthy.release.data_facts import asked as data_facts_asked
from shipworthy.release.expiry import expired
from shipworthy.release.failures import Failures
from shipworthy.release.judgement import Judgement
from shipworthy.release.licences import licensed
from shipworthy.release.made import Made
from shipworthy.release.mitigation_stages import make_mitigations
from shipworthy.release.places import CACHE, LEDGER, RUNS
from shipworthy.release.policy import Policy, policy_digest
from shipworthy.release.policy_fit import check_fit
from shipworthy.release.probing import asked_probes
from shipworthy.release.project import base_folder
from shipworthy.release.record import REPORT, read_record
from shipworthy.release.run_folder import check_copies, put_together, write_documents
from shipworthy.release.tabular import check_sensitive, record_sensitive
from shipworthy.team.roster import load_roster

if TYPE_CHECKING:
    from shipworthy.release.project import Project

STAGES = ("data", "train", "candidates", "validation", "speed", "test")
"""What `--only` can stop after."""

NOMINATED = "nominated.json"
STAGE_KEYS = "stages.json"
"""In a run's folder: name -> key of every stage that the run stands on."""


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
    answers: the stage of each one's answers by split. contamination: None where no limit asks.
    probes: of the model that training started from, then of everyone; () where no limit asks.
    batches: of everyone, what the other texts of a batch change; () where no limit asks.
    """

    shop: Workshop
    policy: Policy
    data: Stage
    everyone: tuple[Made, ...]
    skipped: tuple[str, ...]
    speed: Stage
    answers: dict[str, tuple[Stage, ...]]
    started: float
    contamination: Stage | None = None
    probes: tuple[Stage, ...] = ()
    batches: tuple[Stage, ...] = ()


@dataclass(frozen=True, eq=False)
class Reached:
    """A verdict: the run's id, and the stage that holds its record."""

    bench: Bench
    run: str
    verdict: Stage


def run_project(
    project: Project,
    *,
    root: Path,
    text: str = "",
    only: str | None = None,
    rehearse: bool = False,
    wait: bool = False,
    by: str = "",
    tell: Callable[[Stage], None] = lambda stage: None,
    warn: Callable[[str], None] = lambda message: None,
) -> Finished:
    """Run all stages of a project that are not cached and reach a verdict.

    root: folder for `.shipworthy/` (cache, ledger) and `runs/`. text: of the project file, kept in
    the run. only: name of the stage to stop after. rehearse: decide on validation rows; nothing is
    opened, written to the ledger or shipped. wait: until another run in this folder is done. by: id
    of the person who runs it, for the ledger. tell: called with each finished stage; warn: with a
    line for people.
    Raises InputError for what cannot be used and for a full disk, BusyError where another run is in
    the folder, StageError where candidates could not be made or asked: the others were, and no test
    row was looked at.
    """
    started, begun = time.monotonic(), time.time()
    if only is not None and only not in STAGES:
        raise InputError(locale.text("error.pipeline.only", only=only, meant=nearest(only, STAGES)))
    policy = project.policy.policy()
    check_fit(policy, project.data.groups, remedy=locale.text("error.pipeline.remedy"))
    if project.compress.search and project.compress.workers == "ray":
        check_installed()
    roster = None if project.team is None else load_roster(project.team)
    check_sensitive(project.data, today=datetime.now(UTC).date())
    if by and roster is not None:
        roster.person(by)
    cache = root / CACHE
    with room_on_disk(root), hold(cache, wait=wait, tell=warn) as held:
        shop = Workshop(project, cache, tell, held.note, warn=warn)
        ledger = None if rehearse else Ledger(cache / LEDGER)
        if ledger is not None:
            check_copies(ledger, root / RUNS)
        reached = reach(shop, policy, ledger, only=only, started=started)
        if reached is not None and _forget_expired(reached, ledger):
            # Answers and timings that are too old are made again; the same look at the same rows.
            shop.stages.clear()
            reached = reach(shop, policy, ledger, only=only, started=started)
        if reached is None:
            return Finished(None, None, None, tuple(shop.stages), time.monotonic() - started)
        if ledger is not None:
            record_sensitive(ledger, project.data, reached.bench.data.digest, by=by)
        folder = root / RUNS / reached.run
        put_together(
            folder, reached.verdict.folder, reached.bench.everyone, policy, ledger,
            written=text, roster=roster, by=by,
        )  # fmt: skip
        write_atomically(
            folder / STAGE_KEYS, json.dumps({s.name: s.key for s in shop.stages}, indent=1)
        )
        for place in (cache, folder):
            sweep(place, before=begun)
        write_documents(folder, warn)
        kept = open_place(folder)
        found = approved(kept)
        if found.approval is not None:
            renew(kept, found)
        held.complete()
    seconds = time.monotonic() - started
    judgement = replace(found, seconds=seconds, cached_stages=sum(s.cached for s in shop.stages))
    return Finished(judgement, folder, folder / REPORT, tuple(shop.stages), seconds)


def reach(
    shop: Workshop,
    policy: Policy,
    ledger: Ledger | None,
    *,
    only: str | None = None,
    started: float = 0.0,
) -> Reached | None:
    """Make or find every stage up to the verdict; None where `only` stops before.

    ledger: where the opening of the test rows is written; without it, validation decides.
    Raises StageError where candidates or their answers failed, after all others were made.
    """
    data = shop.rows()
    if only == "data":
        return None
    parent = make_parent(shop, data)
    if only == "train":
        return None
    failures = Failures()
    candidates, skipped = make_candidates(shop, data, parent, failures)
    everyone = (parent, *candidates, *make_mitigations(shop, data, parent, failures))
    if only == "candidates":
        failures.stop()
        return None
    answers = {"validation": _answers(shop, data, everyone, "validation", failures)}
    failures.stop()
    if only == "validation":
        return None
    speed = shop.speed(data, everyone)
    if only == "speed":
        return None
    contamination = shop.contamination(data) if asks(policy) else None
    probes = tuple(map(shop.probes, (None, *everyone))) if asked_probes(policy) else ()
    bench = Bench(
        shop, policy, data, everyone, skipped, speed, answers, started, contamination, probes,
        tuple(batching.stage(shop, data, m) for m in everyone) if batching.asks(policy) else (),
    )  # fmt: skip
    nominated = _nominated(bench)
    if ledger is not None:
        answers["test"] = _answers(shop, data, everyone, "test", failures)
        failures.stop()
        if only == "test":
            return None
    run, verdict = _verdict(bench, nominated, ledger)
    return Reached(bench, run, verdict)


def look(project: Project, *, root: Path) -> Workshop:
    """Look for every stage of a project and make none; `stages` are there, `missing` are not."""
    shop = Workshop(project, root / CACHE, look=True)
    # What is wrong with it is said of the ledger itself, not of the copy below.
    Ledger(root / CACHE / LEDGER).lines()
    with TemporaryDirectory() as place, suppress(StageError):
        # What opening the test rows would mean is found out on a copy.
        ledger = Ledger(Path(place) / LEDGER)
        with suppress(FileNotFoundError):
            ledger.path.write_bytes((root / CACHE / LEDGER).read_bytes())
        reach(shop, project.policy.policy(), ledger)
    return shop


def _answers(
    shop: Workshop, data: Stage, everyone: Sequence[Made], split: str, failures: Failures
) -> tuple[Stage, ...]:
    """Ask everyone; whoever fails is left out and kept among the failures."""
    found = [
        failures.attempt(f"{split} {one.candidate.name}", partial(shop.answers, data, one, split))
        for one in everyone
    ]
    return tuple(stage for stage in found if stage is not None)


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
    candidates = {m.candidate.id: m.candidate.artefact_digest for m in bench.everyone[1:]}
    opening = OpeningState(family=len(nominated))
    if ledger is not None:
        digest, sketch = bench.shop.test_rows(bench.data)
        opening = open_test(
            ledger,
            test_digest=digest,
            rows_sketch=sketch,
            candidates=candidates,
            policy_digest=_question(bench),
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
            "examples": bench.shop.project.report.examples,
            "prices": bench.shop.project.prices,
        },
        module="shipworthy.release.conclusion",
    )
    return run_id, stage


def _inputs(bench: Bench, split: str) -> dict[str, str]:
    """What nomination and verdict stand on, by content."""
    answers = {stage.name: stage.digest for stage in bench.answers[split]}
    found = {"rows": bench.data.digest, "speed": bench.speed.digest, **answers}
    if bench.contamination is not None:
        found["contamination"] = bench.contamination.digest
    found |= {stage.name: stage.digest for stage in (*bench.probes, *bench.batches)}
    preferences = bench.shop.project.probes.preferences
    if bench.probes and preferences is not None:
        found["preferences"] = digest_file(preferences)
    return found


def _asked(bench: Bench) -> dict[str, Any]:
    """What nomination and verdict depend on besides answers and speed."""
    project = bench.shop.project
    return {
        "policy": policy_digest(bench.policy),
        "objective": project.objective,
        "groups": list(project.data.groups),
        "intersections": project.data.intersections,
        "skipped": list(bench.skipped),
        "contaminated": [project.data.contamination.share, project.data.contamination.meaning]
        if asks(bench.policy)
        else None,
        "near_duplicates": similarity_of(project.data)
        if DUPLICATES in data_facts_asked(bench.policy)
        else None,
        "licences": [[one.part, one.licence] for one in licensed(project, base_folder(project))],
        # A tie is broken by it.
        "order": [one.candidate.name for one in bench.everyone],
    }


def _question(bench: Bench) -> str:
    """Return a digest of what the test rows are asked, whichever candidates are."""
    data, parent = bench.shop.project.data, bench.everyone[0].candidate
    return question_digest(
        bench.policy,
        parent=parent.artefact_digest,
        unit=data.unit,
        groups=data.groups,
        intersections=data.intersections,
    )


def _forget_expired(reached: Reached, ledger: Ledger | None) -> bool:
    """Forget the stages of evidence that a limit calls too old; say whether there was any."""
    now = ledger_now(() if ledger is None else ledger.lines())
    if not expired(read_record(reached.verdict.folder), now=now):
        return False
    bench = reached.bench
    old = [bench.speed, reached.verdict, *(s for found in bench.answers.values() for s in found)]
    for stage in old:
        bench.shop.cache.forget(stage)
    return True
