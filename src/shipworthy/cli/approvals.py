"""Verbs by which people answer for a verdict: `signoff`, `waive`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from shipworthy.cli.options import Json, Language

if TYPE_CHECKING:
    from shipworthy.release.judgement import Judgement

Run: TypeAlias = Annotated[Path, typer.Argument(metavar="RUN")]
Person: TypeAlias = Annotated[str, typer.Option("--as", metavar="PERSON")]
Key: TypeAlias = Annotated[Path | None, typer.Option("--key", metavar="FILE")]
Team: TypeAlias = Annotated[Path | None, typer.Option("--team", metavar="FILE")]
Ledger: TypeAlias = Annotated[Path | None, typer.Option("--ledger", metavar="FILE")]


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command("signoff")(signoff)
    app.command("waive")(waive)


def signoff(
    run: Run,
    role: Annotated[str, typer.Option(metavar="ROLE")],
    person: Person = "",
    key: Key = None,
    team: Team = None,
    ledger: Ledger = None,
    json: Json = False,
    lang: Language = None,
) -> int:
    """Sign the verdict of a run in a role of the team."""
    from shipworthy.cli.output import choose_language, print_json
    from shipworthy.release.display import text
    from shipworthy.release.signing import sign_off

    choose_language(lang)
    found = sign_off(run, role=role, person=person, key=key, team=team, ledger=ledger)
    one = found.signoff
    if json:
        path = None if found.attestation is None else str(found.attestation)
        print_json(
            {
                **_seen(found.judgement, found.report),
                "written": found.written,
                "person": one.person,
                "role": one.role,
                "key": one.key,
                "created": one.created,
                "line": one.line,
                "attestation": path,
            }
        )
        return 0
    verdict = text(f"report.answer.{found.judgement.answer.value}")
    what = "done" if found.written else "again"
    print(text(f"signoff.{what}", person=one.person, role=one.role, run=found.judgement.run,
               verdict=verdict))  # fmt: skip
    _say_approvals(found.judgement)
    print(text("signoff.report", path=str(found.report)))
    if found.attestation is not None:
        print(text("signoff.attested", path=str(found.attestation)))
    return 0


def waive(
    run: Run,
    limit: Annotated[str, typer.Option(metavar="LIMIT")],
    reason: Annotated[str, typer.Option(metavar="TEXT")],
    until: Annotated[str, typer.Option(metavar="DATE")],
    candidate: Annotated[str, typer.Option(metavar="NAME")] = "",
    person: Person = "",
    key: Key = None,
    team: Team = None,
    ledger: Ledger = None,
    json: Json = False,
    lang: Language = None,
) -> int:
    """Let a candidate pass although a limit does not, for a reason and until a day."""
    from dataclasses import asdict

    from shipworthy.cli.output import choose_language, print_json
    from shipworthy.release.display import text
    from shipworthy.release.waiving import waive as waive_limit
    from shipworthy.release.wording import limit_in_full

    choose_language(lang)
    found = waive_limit(
        run, limit=limit, reason=reason, until=until, candidate=candidate, person=person, key=key,
        team=team, ledger=ledger,
    )  # fmt: skip
    if json:
        print_json(
            {
                **_seen(found.judgement, found.report),
                "written": found.written,
                "waiver": asdict(found.waiver),
            }
        )
        return 0
    one = found.waiver
    names = {c.id: c.name for c in found.judgement.candidates}
    said = next(limit_in_full(li) for li in found.judgement.limits if str(li) == one.limit)
    what = "done" if found.written else "again"
    print(text(f"waive.{what}", person=one.person, role=one.role, limit=said,
               name=names[one.candidate], date=one.expires[:10]))  # fmt: skip
    verdict = text(f"report.answer.{found.judgement.answer.value}")
    print(text("waive.verdict", run=found.judgement.run, verdict=verdict))
    _say_approvals(found.judgement)
    print(text("signoff.report", path=str(found.report)))
    return 0


def _seen(judgement: Judgement, report: Path) -> dict[str, Any]:
    """Return what both verbs say of the run: its verdict and approvals, as `report --json`."""
    from shipworthy.release.documents import to_json

    whole = to_json(judgement, report=report, folder=report.parent, exit_code=0)
    names = ("run", "folder", "verdict", "best", "approval", "waivers", "selftest", "report")
    return {name: whole[name] for name in names}


def _say_approvals(judgement: Judgement) -> None:
    from shipworthy.release.approval_rows import approval_rows
    from shipworthy.release.cells import clean, pad, width
    from shipworthy.release.standing import survey

    rows = approval_rows(survey(judgement))
    cells = max((width(row.label) for row in rows), default=0)
    for row in rows:
        print(f"  {pad(row.label, cells)}  {clean(row.value)}")
        if row.detail:
            print(f"  {pad('', cells)}  {clean(row.detail)}")
