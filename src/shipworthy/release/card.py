"""Documents about a run: a model card, technical documentation, a data sheet; from evidence only.

A number that is missing, evidence that is too old or of another artefact: nothing is written, and
the error names it. What nobody measured or declared stands there as "none", and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from shipworthy.core.digest import digest_bytes
from shipworthy.core.errors import InputError, nearest
from shipworthy.core.files import write_atomically
from shipworthy.core.ledger_lines import ledger_now
from shipworthy.core.locale import text as plain_text
from shipworthy.core.records import Answer
from shipworthy.release.approvals import approved, open_place
from shipworthy.release.card_facts import Facts
from shipworthy.release.card_metadata import metadata
from shipworthy.release.card_names import NAMES, Kind
from shipworthy.release.card_staleness import check_fresh
from shipworthy.release.card_statements import Section, Writer
from shipworthy.release.card_tables import group_entries, limit_entries, other_entries
from shipworthy.release.datasheet import data_licence, datasheet, rows
from shipworthy.release.display import text
from shipworthy.release.markdown import Markdown, cell, escaped
from shipworthy.release.technical_documentation import (
    base_model,
    device,
    identity,
    lineage,
    missing,
    notes,
    openings,
    selftest,
    sign_offs,
    technical_documentation,
    verdict,
    waivers,
)

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class Card:
    """One document. sha256: of its bytes; run, verdict: what it is about."""

    kind: Kind
    path: Path
    sha256: str
    run: str
    verdict: str


def write_cards(
    run: Path | str,
    *,
    kinds: Sequence[str] = ("model",),
    out: Path | None = None,
    now: datetime | None = None,
) -> tuple[Card, ...]:
    """Write documents about a finished run and return them.

    run: its folder; out: where to, the run folder unless said. kinds: `model`, `annex-iv`,
    `datasheet`, or `all`. now: the clock, where it is not the machine's.
    Raises InputError that names a missing number, StaleError that names what no longer holds; then
    nothing is written.
    """
    wanted = _kinds(kinds)
    facts = read_facts(run, now=now)
    target = facts.folder if out is None else out
    written = {kind: render_card(facts, kind) for kind in wanted}
    found = []
    for kind, content in written.items():
        path = target / f"{NAMES[kind]}.md"
        write_atomically(path, content)
        digest, about = digest_bytes(content.encode()), facts.judgement
        found.append(Card(kind, path, digest, about.run, about.answer.value))
    return tuple(found)


def read_facts(run: Path | str, *, now: datetime | None = None) -> Facts:
    """Read a run and who signed it; raises where its evidence does not hold, see `write_cards`."""
    place = open_place(run)
    facts = Facts(place.folder, place.judgement)
    check_fresh(facts, ledger_now(place.ledger.lines(), clock=now))
    facts.check_decisions()
    # A waiver that ended would have stopped the card above: this adds who signed.
    return Facts(place.folder, approved(place))


def render_card(facts: Facts, kind: Kind) -> str:
    """Return one document as text."""
    if kind == "model":
        return _render("model_card.md.jinja", facts, **_model_card(facts))
    sections = technical_documentation(facts) if kind == "annex-iv" else datasheet(facts)
    return _render(
        "statements.md.jinja", facts, sections=sections, title=text(f"card.title.{kind}"),
        about=text(f"card.about.{kind}"), numbered=kind == "annex-iv",
    )  # fmt: skip


def _kinds(asked: Sequence[str]) -> tuple[Kind, ...]:
    known: tuple[Kind, ...] = get_args(Kind)
    for kind in asked:
        if kind not in (*known, "all"):
            fix = nearest(kind, [*known, "all"])
            raise InputError(plain_text("error.card.kind", kind=kind, fix=fix))
    return known if "all" in asked else cast("tuple[Kind, ...]", tuple(dict.fromkeys(asked)))


def _model_card(facts: Facts) -> dict[str, Any]:
    w = Writer(facts)
    return {
        "metadata": Markdown(metadata(facts)),
        "limits": limit_entries(facts),
        "groups": group_entries(facts),
        "others": other_entries(facts),
        "sections": (
            Section(text("card.head.what"), (w.point("card.what", *identity(w), *lineage(w)),)),
            Section(
                text("card.head.use"),
                (
                    w.point("annex.1.purpose", *w.declared("intended_use")),
                    w.point("card.out_of_scope", *w.declared("out_of_scope")),
                    w.point("annex.3.limitations", *w.declared("limitations")),
                    w.point("annex.3.risks", *w.declared("risks")),
                    w.point("card.contact", *w.declared("provider", "contact")),
                ),
            ),
            Section(
                text("card.head.data"),
                (
                    w.point("datasheet.rows", *rows(w)),
                    w.point("datasheet.licence", *data_licence(w)),
                ),
            ),
            Section(
                text("card.head.licence"),
                (
                    w.point("card.licence_own", *w.declared("licence")),
                    w.point("card.licence_base", *base_model(w)),
                ),
            ),
            Section(
                text("card.head.approval"),
                (
                    w.point("card.verdict", verdict(w), *openings(w)),
                    w.point("card.waivers", *waivers(w)),
                    w.point("card.sign_offs", *sign_offs(w)),
                    w.point("annex.4.selftest", selftest(w)),
                ),
            ),
            Section(
                text("card.head.missing"),
                (
                    w.point("card.not_measured", *missing(w)),
                    w.point("card.measured_on", *device(w)),
                    w.point("report.notes.heading", *notes(w)),
                ),
            ),
        ),
    }


def _first_line(facts: Facts) -> str:
    """Return the verdict as the first line of every document."""
    judgement = facts.judgement
    key = "rehearsal" if judgement.kind == "rehearsal" else judgement.answer.value
    return text(f"card.first.{key}", name=facts.named.name, run=judgement.run)


def _render(template: str, facts: Facts, **context: Any) -> str:
    page: str = (
        _environment()
        .get_template(template)
        .render(
            t=text,
            facts=facts,
            judgement=facts.judgement,
            named=facts.named,
            first_line=_first_line(facts),
            ships=facts.judgement.answer is Answer.SHIP,
            date=facts.judgement.created.date().isoformat(),
            files=list(facts.files.values()),
            cell=cell,
            **context,
        )
    )
    return page


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("shipworthy.release", "templates"),
        autoescape=False,
        finalize=escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
