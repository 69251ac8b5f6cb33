"""The folder of a run: what was made, what was decided, and the documents about both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from shipworthy.core.errors import InputError, ShipworthyError
from shipworthy.core.files import write_atomically
from shipworthy.core.locale import text
from shipworthy.core.stage_outputs import link_into
from shipworthy.release.answers_table import ANSWERS
from shipworthy.release.card_names import NAMES, Kind
from shipworthy.release.card_origins import ORIGINS
from shipworthy.release.contamination import FILE as CONTAMINATION
from shipworthy.release.places import LEDGER, PROJECT, TRIALS
from shipworthy.release.record import read_record
from shipworthy.release.settle import keep, settle

if TYPE_CHECKING:
    from shipworthy.core.ledger import Ledger
    from shipworthy.release.made import Made
    from shipworthy.release.policy import Policy
    from shipworthy.team.roster import Roster


def put_together(
    folder: Path,
    measured: Path,
    everyone: Sequence[Made],
    policy: Policy,
    ledger: Ledger | None,
    *,
    written: str,
    roster: Roster | None,
    by: str,
) -> None:
    """Make the run folder: links to what was made, the project file, and the settled record.

    measured: folder of the record as it was measured. It never lies in a run folder itself: it may
    say "ship" where a self-test is due. written: the text of the project file; by: who ran it.
    """
    for one in everyone:
        link_into(one.folder, folder / one.candidate.folder)
    if written:
        write_atomically(folder / PROJECT, written)
    link_into(measured, folder, names=(ANSWERS, ORIGINS))
    for name in (CONTAMINATION, TRIALS):
        if (measured / name).is_file():
            link_into(measured, folder, names=(name,))
    # Whoever waives or signs at this moment waits, so that a record is of one writer.
    with nullcontext() if ledger is None else ledger.locked():
        keep(settle(read_record(measured), policy, ledger, roster=roster), folder, ledger, by=by)


def check_copies(ledger: Ledger, runs: Path) -> None:
    """Raise InputError where a run of this ledger has a copy that knows more than the ledger.

    runs: the folder of run folders. Looks at the test rows would be counted anew. A run that was
    brought from elsewhere is no business of this ledger, unless there is none.
    """
    own = ledger.path.read_bytes() if ledger.path.is_file() else b""
    for path in sorted(runs.glob(f"*/{LEDGER}")):
        copy = path.read_bytes()
        of_this = not own or own.partition(b"\n")[0] == copy.partition(b"\n")[0]
        if of_this and not own.startswith(copy):
            raise InputError(text("error.ledger.cut", path=ledger.path, copy=path))


def documents_in(folder: Path) -> tuple[Kind, ...]:
    """Return the kinds of cards that a run folder holds."""
    return tuple(kind for kind, name in NAMES.items() if (folder / f"{name}.md").is_file())


def write_documents(
    folder: Path,
    warn: Callable[[str], None] = lambda message: None,
    *,
    kinds: Sequence[Kind] = tuple(NAMES),
) -> None:
    """Write the cards of a run, or leave none: one of an earlier verdict would be stale.

    warn: called with the reason where there are none. kinds: the cards to write, all unless said.
    """
    from shipworthy.release.card import write_cards

    if not kinds:
        return
    try:
        write_cards(folder, kinds=kinds)
    except ShipworthyError as error:
        for name in NAMES.values():
            (folder / f"{name}.md").unlink(missing_ok=True)
        warn(str(error))
