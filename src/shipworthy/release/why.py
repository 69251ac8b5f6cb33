"""Why a stage was made, or would be made anew: what of its key changed since its newest record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipworthy.core.errors import InputError, nearest
from shipworthy.core.locale import text
from shipworthy.core.stage_changes import changes
from shipworthy.core.stages import StageCache
from shipworthy.release.artefacts import PARENT
from shipworthy.release.batching import asks as asks_batches
from shipworthy.release.batching import stage_name
from shipworthy.release.contamination import asks
from shipworthy.release.pipeline import look
from shipworthy.release.places import CACHE

if TYPE_CHECKING:
    from shipworthy.release.project import Project


@dataclass(frozen=True)
class Why:
    """What becomes of a stage.

    state: `cached`; `changed`, it would be made anew; `waits`, an earlier one (`waits_for`) would
    be; or `recorded`, without a project to ask. reason: in words. key and created: of its newest
    record, "" without one; seconds: what that took.
    """

    stage: str
    state: str
    reason: str
    waits_for: str = ""
    key: str = ""
    created: str = ""
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document of the verb `why`."""
        return dict(vars(self))


def why(stage: str, root: Path, project: Project | None) -> Why:
    """Say why a stage would be made now, or was made the last time.

    stage: a name as a run prints it. root: folder with `.shipworthy/`. project: what a run would be
    asked for now; None compares the two newest records only. Makes nothing.
    Raises InputError for a name that is none, and where nothing was ever run.
    """
    cache = StageCache(root / CACHE)
    records = cache.records()
    if not records:
        raise InputError(text("error.why.nothing", folder=root))
    known = {str(record["name"]) for record in records}
    if project is not None:
        known |= set(stage_names(project))
    if stage not in known:
        raise InputError(text("error.why.unknown", name=stage, nearest=nearest(stage, known)))
    own = [record for record in records if record["name"] == stage]
    about: dict[str, Any] = {}
    if own:
        about = {name: own[0][name] for name in ("key", "created", "seconds")}
    if project is None:
        return Why(stage, "recorded", _last_time(stage, own), **about)
    shop = look(project, root=root)
    found = {made.name: made for made in shop.stages}
    if stage in found:
        at = next(k for k, record in enumerate(own) if record["key"] == found[stage].key)
        about = {name: own[at][name] for name in ("key", "created", "seconds")}
        return Why(stage, "cached", _last_time(stage, own[at:]), **about)
    if stage in shop.missing:
        return Why(stage, "changed", shop.missing[stage], **about)
    first, reason = next(iter(shop.missing.items()), (stage, text("stage.first", name=stage)))
    return Why(stage, "waits", reason, waits_for=first, **about)


def lines(why: Why) -> list[str]:
    """Return what the verb `why` prints."""
    created = why.created[:16].replace("T", " ")
    told = {"name": why.stage, "created": created, "seconds": f"{why.seconds:.1f}"}
    if why.state in ("cached", "recorded"):
        return [text(f"why.{why.state}", **told), text("why.then", reason=why.reason)]
    if why.state == "waits":
        return [text("why.waits", name=why.stage, other=why.waits_for), why.reason]
    return [why.reason]


def stage_names(project: Project) -> list[str]:
    """Return the names of all stages of a project."""
    from shipworthy.compress.recipes import expand

    policy = project.policy.policy()
    candidates = [recipe.name for recipe in expand(project.compress)]
    parent = PARENT
    if project.table is not None:
        parent, candidates = project.table.title, [m.title for m in project.challengers]
    everyone = [parent, *candidates]
    return [
        "data",
        *(["race"] if project.train.race is not None else []),
        "train",
        *(["search"] if project.compress.search else []),
        *(f"candidate {name}" for name in candidates),
        *(f"validation {name}" for name in everyone),
        "speed",
        *(["contamination"] if asks(policy) else []),
        *(map(stage_name, everyone) if asks_batches(policy) else []),
        "nomination",
        *(f"test {name}" for name in everyone),
        "test rows",
        "verdict",
    ]


def _last_time(stage: str, records: list[dict[str, Any]]) -> str:
    """Say why the first of these records was made: what differs from the one before it."""
    before = records[1]["parts"] if len(records) > 1 else None
    return changes(stage, records[0]["parts"], before) if records else ""
