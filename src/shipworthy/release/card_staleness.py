"""Evidence that is too old, or of another artefact: no card is written from it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from shipworthy.core.errors import InputError, ShipworthyError, StaleError
from shipworthy.core.locale import text
from shipworthy.core.records import Candidate
from shipworthy.release.card_facts import Facts
from shipworthy.release.expiry import expired


def check_fresh(facts: Facts, now: datetime) -> None:
    """Raise StaleError (exit 3) that names the first evidence which no longer holds.

    now: the clock, or the last line of the ledger where that is later.
    """
    for problem in _problems(facts, now):
        raise StaleError(problem)


def _problems(facts: Facts, now: datetime) -> Iterator[str]:
    judgement, name = facts.judgement, facts.named.name
    for waiver in judgement.waivers:
        if waiver.candidate == facts.named.id and datetime.fromisoformat(waiver.expires) <= now:
            yield text("error.card.waiver", limit=waiver.limit, name=name, date=waiver.expires[:10])
    for one in expired(judgement, now=now):
        if one.candidate == facts.named.id:
            yield text(
                "error.card.expired", limit=one.limit, name=name, days=one.days,
                allowed=one.limit.expires_days,
            )  # fmt: skip
    ends = "" if judgement.selftest is None else judgement.selftest.expires
    if ends and datetime.fromisoformat(ends) <= now:
        yield text("error.card.selftest", date=ends[:10])
    for whose in (facts.named, judgement.parent):
        found = _digest_now(facts.folder, whose, judged=judgement.kind == "judge")
        if found is not None and found != whose.artefact_digest:
            yield text(
                "error.card.artefact", name=whose.name, folder=whose.folder,
                measured=whose.artefact_digest[:12], found=found[:12],
            )  # fmt: skip


def _digest_now(folder: Path, one: Candidate, *, judged: bool) -> str | None:
    """Return the digest of an artefact as it lies there now; None for a file that is elsewhere.

    Raises InputError where the artefact of a run is gone: nobody could tell what would ship.
    """
    if judged:
        return _digest_of_predictions(Path(one.folder))
    from shipworthy.model.checkpoint import artefact_digest

    place = folder / one.folder
    if not place.is_dir():
        raise InputError(text("error.card.no_artefact", name=one.name, folder=place))
    return artefact_digest(place)


def _digest_of_predictions(file: Path) -> str | None:
    from shipworthy.core.digest import digest_frame
    from shipworthy.data.sources import read_table
    from shipworthy.model.evaluation_logs import recognise

    if not file.is_file() or recognise(file) is not None:
        return None
    try:
        return digest_frame(read_table(file))
    except ShipworthyError:
        return ""
