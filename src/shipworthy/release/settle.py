"""What was measured becomes what is decided: waivers, the self-test, and the record of both.

A verdict as measured is cached with its stage. What people said since, and when a gate last proved
that it can say no, is in the ledger and changes without anything being measured again.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from shipworthy.core.ledger import Ledger
from shipworthy.core.ledger_lines import ledger_now
from shipworthy.release.attestation import drop_stale
from shipworthy.release.card_names import NAMES
from shipworthy.release.expiry import without_expired_evidence
from shipworthy.release.judgement import Judgement
from shipworthy.release.places import LEDGER
from shipworthy.release.record import write_record
from shipworthy.release.recorded import record_run
from shipworthy.release.selftest_evidence import with_selftest
from shipworthy.release.waivers import active_waivers, apply_waivers

if TYPE_CHECKING:
    from shipworthy.release.policy import Policy
    from shipworthy.team.roster import Roster


def settle(
    measured: Judgement, policy: Policy, ledger: Ledger | None, *, roster: Roster | None
) -> Judgement:
    """Return a judgement with the waivers that count; only fresh evidence and self-tests ship.

    ledger: None where nothing is kept; waivers then do not exist, and the self-test is made now.
    roster: who may waive what. Raises InputError where the ledger is broken.
    """
    lines = () if ledger is None else ledger.lines()
    now = ledger_now(lines)
    waivers = active_waivers(lines, measured, now=now, roster=roster)
    found = apply_waivers(measured, waivers) if waivers else measured
    found = without_expired_evidence(found, now=now)
    return with_selftest(found, policy, ledger, groups=measured.groups, now=now)


def keep(judgement: Judgement, folder: Path, ledger: Ledger | None, *, by: str = "") -> Path:
    """Write the record of a judgement, note it in the ledger, and return the path of its page.

    by: id of the person that ran it. The folder gets a copy of the ledger, so that it can be
    checked wherever it goes; without a ledger, one that the folder has of its own goes on. An
    attestation of an earlier verdict is removed, and so are cards. Raises InputError, before
    anything is written, where the folder holds a ledger with entries that this one lacks.
    """
    copy = folder / LEDGER
    if ledger is None and copy.is_file():
        ledger = Ledger(copy)
    if ledger is not None:
        ledger.check_copy(copy)
    # A kill must not leave what an earlier verdict said beside the record of this one.
    for name in NAMES.values():
        (folder / f"{name}.md").unlink(missing_ok=True)
    page = write_record(judgement, folder)
    drop_stale(folder)
    if ledger is not None:
        record_run(ledger, folder, judgement, by=by)
        if ledger.path.absolute() != copy.absolute():
            ledger.copy_to(copy)
    return page
