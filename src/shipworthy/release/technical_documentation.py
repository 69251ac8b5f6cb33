"""Technical documentation in the order of Annex IV of the EU AI Act, as far as a run can tell.

Nine headings (Regulation (EU) 2024/1689, Annex IV). It is a skeleton: what only the provider knows
comes from `documentation:`, and what nobody said is named as absent. It is no legal advice.
"""

from __future__ import annotations

from collections.abc import Mapping

from shipworthy.core.errors import ShipworthyError
from shipworthy.core.locale import number
from shipworthy.release.card_facts import Facts, Source, figure
from shipworthy.release.card_origins import ORIGINS
from shipworthy.release.card_statements import Point, Section, Statement, Writer, settings_text
from shipworthy.release.card_tables import limit_entries, slice_name
from shipworthy.release.datasheet import duplicates, rows, sources, units
from shipworthy.release.display import listed, measure_name, text
from shipworthy.release.evidence import percent, plain
from shipworthy.release.places import PROJECT
from shipworthy.release.record import DECISIONS, MEASUREMENTS, VERDICT
from shipworthy.release.sections import method_name
from shipworthy.release.wording import answer_word, phrase, reason_text


def technical_documentation(facts: Facts) -> tuple[Section, ...]:
    """Return the nine sections."""
    w = Writer(facts)
    points = (
        _general(w),
        _development(w),
        _control(w),
        _metrics(w),
        (w.point("annex.5.system", *w.declared("risk_management")), _point_evidence(w)),
        (
            w.point("annex.6.evidence", *lineage(w), *openings(w)),
            w.point("annex.6.declared", *w.declared("changes")),
        ),
        (w.point("annex.7.standards", *w.declared("standards")),),
        (w.point("annex.8.declaration", *w.declared("declaration_of_conformity")),),
        (
            w.point("annex.9.plan", *w.declared("post_market_plan")),
            w.point("annex.9.evidence", w.absent("card.why.no_monitor")),
        ),
    )
    return tuple(Section(text(f"annex.{place}"), own) for place, own in enumerate(points, start=1))


def _general(w: Writer) -> tuple[Point, ...]:
    return (
        w.point("annex.1.purpose", *w.declared("intended_use", "provider", "version")),
        w.point("annex.1.identity", *identity(w)),
        w.point("annex.1.interaction", *w.declared("interaction")),
        w.point("annex.1.software", *_software(w)),
        w.point("annex.1.forms", *w.declared("distribution"), *_size(w)),
        w.point("annex.1.hardware", *w.declared("hardware"), *device(w)),
        w.point("annex.1.pictures", w.absent("card.why.no_pictures")),
        w.point("annex.1.interface", *w.declared("interface")),
        w.point("annex.1.instructions", *w.declared("instructions")),
    )


def _development(w: Writer) -> tuple[Point, ...]:
    return (
        w.point("annex.2.methods", *base_model(w), *lineage(w)),
        w.point("annex.2.design", *w.declared("design"), _objective(w)),
        w.point("annex.2.architecture", _architecture(w), *_resources(w)),
        w.point("annex.2.data", *rows(w), *units(w), *duplicates(w), *sources(w)),
        w.point("annex.2.oversight", *w.declared("human_oversight")),
        w.point("annex.2.planned", *w.declared("planned_changes")),
        w.point("annex.2.validation", *_validation(w)),
        w.point("annex.2.security", *w.declared("cybersecurity")),
    )


def _control(w: Writer) -> tuple[Point, ...]:
    groups = [
        w.said(
            MEASUREMENTS,
            "annex.say.group",
            measure=measure_name(w.facts.main),
            group=slice_name(w.facts, g.slice.json),
            value=figure(w.facts.main, g.own),
            change=figure(w.facts.main, g.change, relative=True),
            n=number(g.own.n),
        )
        for g in w.facts.groups
    ]
    return (
        w.point("annex.3.performance", *groups),
        w.point("annex.3.limitations", *w.declared("limitations", "out_of_scope")),
        w.point("annex.3.risks", *w.declared("risks")),
        w.point("annex.3.oversight", *w.declared("human_oversight")),
        w.point("annex.3.inputs", _inputs(w), *w.declared("languages")),
    )


def _metrics(w: Writer) -> tuple[Point, ...]:
    return (
        w.point("annex.4.why", *w.declared("metrics")),
        w.point("annex.4.limits", *_limits(w)),
        w.point("annex.4.selftest", selftest(w)),
    )


def _point_evidence(w: Writer) -> Point:
    return w.point("annex.5.evidence", verdict(w), *waivers(w), *sign_offs(w), *missing(w))


# -- what a run tells ------------------------------------------------------------------------------


def identity(w: Writer) -> tuple[Statement, ...]:
    """Return what the candidate is, by its bytes, and its parent."""
    named, parent = w.facts.named, w.facts.judgement.parent
    return (
        w.said(
            VERDICT, "card.say.candidate", name=named.name, id=named.id,
            lever=text(f"card.lever.{named.lever}"), parent=parent.name, parent_id=parent.id,
        ),
        w.said(VERDICT, "card.say.artefact", name=named.name, digest=named.artefact_digest),
    )  # fmt: skip


def base_model(w: Writer) -> tuple[Statement, ...]:
    """Return which model training started from, and its licence."""
    origins = w.facts.origins
    if origins is None:
        return (w.absent("card.why.judged"),)
    model = origins["model"]
    if not model["name"]:
        return (w.said(ORIGINS, "card.say.no_base"),)
    told = [w.said(ORIGINS, "card.say.base", name=model["name"], digest=model["sha256"])]
    if "origin" in model:
        told.append(w.said(ORIGINS, "card.say.base_origin", origin=model["origin"]))
    if model["licence"] is not None:
        told.append(
            w.said(
                ORIGINS, "card.say.base_licence", licence=model["licence"],
                file=model["licence_from"],
            )
        )  # fmt: skip
    elif w.facts.documentation.base_licence:
        told += w.declared("base_licence")
    elif "terms" in model:
        told.append(w.said(ORIGINS, "card.say.base_terms", terms=model["terms"]))
    else:
        told.append(w.absent("card.why.no_licence"))
    return tuple(told)


def lineage(w: Writer) -> tuple[Statement, ...]:
    """Return by which levers and settings parent and candidate were made."""
    judgement, named = w.facts.judgement, w.facts.named
    if judgement.kind == "judge":
        return (w.absent("card.why.judged"),)
    return tuple(
        w.said(
            VERDICT, "card.say.made", name=one.name, lever=text(f"card.lever.{one.lever}"),
            settings=settings_text(one.settings) or text("report.evidence.none"), seed=one.seed,
        )
        for one in (judgement.parent, named)
    )  # fmt: skip


def openings(w: Writer) -> tuple[Statement, ...]:
    """Return how often the test rows were looked at, and at which level the verdict was reached."""
    judgement = w.facts.judgement
    return (
        w.said(
            VERDICT, "card.say.opening", opening=number(judgement.opening),
            alpha=plain(judgement.alpha), percent=percent(judgement.confidence),
        ),
    )  # fmt: skip


def device(w: Writer) -> tuple[Statement, ...]:
    """Return which machine it was measured on."""
    flags = w.facts.named.device_flags
    if not flags:
        return (w.absent("card.why.no_device"),)
    return (w.said(VERDICT, "card.say.device", flags=" ".join(flags)),)


def verdict(w: Writer) -> Statement:
    """Return the answer of the run and of the candidate."""
    judgement, own = w.facts.judgement, w.facts.judgement.verdict_of(w.facts.named.id)
    reasons = listed([reason_text(r) for r in own.reasons]) or text("report.evidence.none")
    return w.said(
        VERDICT, "card.say.verdict", answer=answer_word(judgement.answer), name=w.facts.named.name,
        own=answer_word(own.answer), reasons=reasons,
    )  # fmt: skip


def waivers(w: Writer) -> tuple[Statement, ...]:
    """Return the waivers that the verdict rests on."""
    own = [one for one in w.facts.judgement.waivers if one.candidate == w.facts.named.id]
    if not own:
        return (w.absent("card.why.no_waiver"),)
    return tuple(
        w.said(
            VERDICT, "card.say.waiver", limit=one.limit, person=one.person, role=one.role,
            reason=one.reason, expires=one.expires[:10],
        )
        for one in own
    )  # fmt: skip


def sign_offs(w: Writer) -> tuple[Statement, ...]:
    """Return who signed, and which roles did not."""
    approval = w.facts.judgement.approval
    ledger = w.facts.ledger
    if approval is None or ledger is None or not (approval.signed or approval.missing):
        return (w.absent("card.why.no_sign_off"),)
    told = [
        w.said(
            ledger, "card.say.signed", person=one.person, role=one.role, key=one.key,
            date=one.created[:10],
        )
        for one in approval.signed
    ]  # fmt: skip
    told += [w.absent("card.why.unsigned", role=role) for role in approval.missing]
    if approval.separated is False:
        told.append(w.absent("card.why.not_separated"))
    return tuple(told)


def selftest(w: Writer) -> Statement:
    """Return whether the policy was shown to be able to say no."""
    found = w.facts.judgement.selftest
    if found is None:
        return w.absent("card.why.no_selftest")
    names, key = found.not_held, "card.say.selftest_failed"
    if found.passed:
        names, key = found.skipped, "card.say.selftest_passed"
        key = "card.say.selftest_skipped" if found.skipped else key
    return w.said(VERDICT, key, date=found.created[:10], names=listed(list(names)))


def missing(w: Writer) -> tuple[Statement, ...]:
    """Return what was not measured."""
    told = [w.quoted(VERDICT, phrase(p)) for p in w.facts.judgement.not_measured]
    open_ones = dict.fromkeys(
        measure_name(d.measure) for d in w.facts.decisions if d.reason == "not_measured"
    )
    told += [w.said(DECISIONS, "card.say.not_measured", measure=name) for name in open_ones]
    return tuple(told) or (w.said(MEASUREMENTS, "card.say.all_measured"),)


def notes(w: Writer) -> tuple[Statement, ...]:
    """Return what a reader must know about the run that no number says."""
    found = tuple(w.quoted(VERDICT, phrase(p)) for p in w.facts.judgement.notes)
    return found or (w.absent("card.why.no_notes"),)


def _software(w: Writer) -> tuple[Statement, ...]:
    versions = w.facts.judgement.versions
    named = w.facts.named
    told = [w.said(VERDICT, "card.say.runtime", runtime=named.runtime)] if named.runtime else []
    if not versions:
        return (*told, w.absent("card.why.no_versions"))
    names = text("report.list_comma").join(f"{k} {v}" for k, v in versions.items())
    return (*told, w.said(VERDICT, "card.say.versions", names=names))


def _size(w: Writer) -> tuple[Statement, ...]:
    found = w.facts.survey.number(w.facts.named.id, "size_mb")
    if found is None:
        return (w.absent("card.why.no_size"),)
    return (w.said(MEASUREMENTS, "card.say.size", size=figure("size_mb", found)),)


def _objective(w: Writer) -> Statement:
    return w.said(
        VERDICT, "card.say.objective",
        objective=text(f"report.objective.{w.facts.judgement.objective}"),
    )  # fmt: skip


def _architecture(w: Writer) -> Statement:
    judgement, named = w.facts.judgement, w.facts.named
    if judgement.kind == "judge":
        return w.absent("card.why.judged")
    names = _architectures(w.facts)
    if not names:
        return w.absent("card.why.no_config")
    return w.said(Source(named.folder, named.artefact_digest), "card.say.architecture", names=names)


def _architectures(facts: Facts) -> str:
    """Return the architecture that the candidate's own settings name."""
    from shipworthy.model.checkpoint import read_config

    try:
        config: Mapping[str, object] = read_config(facts.folder / facts.named.folder)
    except ShipworthyError:
        return ""
    names = config.get("architectures")
    return listed([str(n) for n in names]) if isinstance(names, list) else ""


def _resources(w: Writer) -> tuple[Statement, ...]:
    seconds = w.facts.judgement.seconds
    if not seconds > 0:
        return (w.absent("card.why.no_seconds"),)
    return (w.said(VERDICT, "card.say.seconds", seconds=number(seconds, 1)),)


def _validation(w: Writer) -> tuple[Statement, ...]:
    decided = w.facts.decisions
    methods = dict.fromkeys(method_name(d.method) for d in decided if d.method not in ("", "none"))
    told = [*openings(w)]
    if methods:
        told.append(w.said(DECISIONS, "card.say.methods", names=listed(list(methods))))
    if w.facts.ledger is not None:
        told.append(w.said(w.facts.ledger, "card.say.ledger"))
    else:
        told.append(w.absent("card.why.no_ledger"))
    return tuple(told)


def _inputs(w: Writer) -> Statement:
    project = w.facts.project
    if project is None:
        return w.absent("card.why.no_project", key="data.text")
    return w.said(PROJECT, "card.say.inputs", text=project.data.text, task=project.task)


def _limits(w: Writer) -> tuple[Statement, ...]:
    return tuple(
        w.said(
            DECISIONS, "annex.say.limit", title=e.title, slice=e.slice, demand=e.demand,
            found=e.found, n=e.n, outcome=e.outcome, tier=e.tier, owner=e.owner,
        )
        for e in limit_entries(w.facts)
    )  # fmt: skip
