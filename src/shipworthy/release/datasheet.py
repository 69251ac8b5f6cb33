"""The data sheet: what is in the rows of a run, and what people declared about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shipworthy.core.locale import number
from shipworthy.release.card_facts import Facts
from shipworthy.release.card_origins import ORIGINS
from shipworthy.release.card_statements import Section, Statement, Writer
from shipworthy.release.card_tables import slice_name
from shipworthy.release.display import text
from shipworthy.release.record import MEASUREMENTS, VERDICT

MOST_VALUES = 50
"""Values of one group column, or labels, that are listed; further ones are said to be left out."""


def datasheet(facts: Facts) -> tuple[Section, ...]:
    """Return the sections of the data sheet."""
    w = Writer(facts)
    return (
        Section(
            text("datasheet.motivation"),
            (w.point("datasheet.why", *w.declared("data.motivation")),),
        ),
        Section(
            text("datasheet.composition"),
            (
                w.point("datasheet.rows", *rows(w)),
                w.point("datasheet.labels", *_labels(w)),
                w.point("datasheet.groups", *_groups(w)),
                w.point("datasheet.units", *units(w)),
                w.point("datasheet.duplicates", *duplicates(w)),
                w.point("datasheet.personal", *w.declared("data.personal_data")),
            ),
        ),
        Section(
            text("datasheet.collection"),
            (
                w.point("datasheet.sources", *sources(w)),
                w.point("datasheet.how", *w.declared("data.collection")),
                w.point("datasheet.labelling", *w.declared("data.labelling")),
                w.point("datasheet.preprocessing", *w.declared("data.preprocessing")),
            ),
        ),
        Section(
            text("datasheet.use"),
            (
                w.point("datasheet.used", _used(w)),
                w.point("datasheet.other_uses", *w.declared("data.uses")),
            ),
        ),
        Section(
            text("datasheet.keeping"),
            (
                w.point("datasheet.licence", *data_licence(w)),
                w.point("datasheet.distribution", *w.declared("data.distribution")),
                w.point("datasheet.maintenance", *w.declared("data.maintenance")),
            ),
        ),
    )


def by_split(counts: Mapping[str, int]) -> str:
    """Return counts with the names of their splits: "train 120, test 80"."""
    comma = text("report.list_comma")
    return comma.join(
        text("datasheet.split_rows", split=text(f"datasheet.split.{name}"), rows=number(rows))
        for name, rows in counts.items()
    )


def _data(w: Writer) -> Mapping[str, Any] | None:
    return None if w.facts.origins is None else w.facts.origins["data"]


def rows(w: Writer) -> tuple[Statement, ...]:
    """Return how many rows there are, by split; of judged files those that were tested."""
    data = _data(w)
    if data is None:
        found = w.facts.groups[0].own
        return (w.said(MEASUREMENTS, "datasheet.say.tested", rows=number(found.n)),)
    said = w.said(
        ORIGINS, "datasheet.say.rows", rows=number(data["rows"]), splits=by_split(data["splits"])
    )
    return (said,)


def _labels(w: Writer) -> tuple[Statement, ...]:
    data = _data(w)
    if data is None:
        return (w.absent("card.why.judged"),)
    return tuple(_listed(w, [(one["label"], one["rows"]) for one in data["labels"]]))


def _listed(w: Writer, entries: list[tuple[str, Mapping[str, int]]]) -> Iterator[Statement]:
    for name, counts in entries[:MOST_VALUES]:
        yield w.said(ORIGINS, "datasheet.say.value", name=name, splits=by_split(counts))
    if len(entries) > MOST_VALUES:
        last = entries[MOST_VALUES - 1]
        yield w.said(ORIGINS, "datasheet.say.rarer", name=last[0])


def _groups(w: Writer) -> tuple[Statement, ...]:
    data = _data(w)
    if data is None:
        found = w.facts.groups[1:]
        if not found:
            return (w.absent("card.why.no_groups_judged"),)
        return tuple(
            w.said(
                MEASUREMENTS, "datasheet.say.tested_group",
                name=slice_name(w.facts, g.slice.json), rows=number(g.own.n),
            )
            for g in found
        )  # fmt: skip
    if not data["groups"]:
        return (w.absent("card.why.no_groups"),)
    said: list[Statement] = []
    for column in dict.fromkeys(one["column"] for one in data["groups"]):
        own = [one for one in data["groups"] if one["column"] == column]
        entries = [
            (f"{column} = {text('report.missing_value') if v is None else v}", one["rows"])
            for one in own
            for v in (one["value"],)
        ]
        said += _listed(w, entries)
    return tuple(said)


def units(w: Writer) -> tuple[Statement, ...]:
    """Return how many units (authors, sources, people) the rows come from."""
    data = _data(w)
    unit = w.facts.judgement.unit
    if unit is None:
        return (w.absent("card.why.no_unit"),)
    if data is None:
        return (w.said(VERDICT, "datasheet.say.unit", unit=unit),)
    said = w.said(ORIGINS, "datasheet.say.units", unit=unit, splits=by_split(data["units"]))
    return (said,)


def duplicates(w: Writer) -> tuple[Statement, ...]:
    """Return what was found of repeated texts."""
    data = _data(w)
    if data is None:
        return (w.absent("card.why.judged"),)
    found = data["duplicates"]
    said = [
        w.said(
            ORIGINS, "datasheet.say.repeated", rows=number(found["repeated_rows"]),
            several=number(found["rows_in_several_splits"]),
        )
    ]  # fmt: skip
    if found["similarity"] is None:
        said.append(w.absent("card.why.near_off"))
    else:
        said.append(
            w.said(
                ORIGINS, "datasheet.say.near", texts=number(found["near_texts"]),
                similarity=f"{found['similarity']:g}",
            )
        )  # fmt: skip
    return tuple(said)


def sources(w: Writer) -> tuple[Statement, ...]:
    """Return the files of the rows with their digests."""
    data = _data(w)
    if data is None:
        digests = w.facts.judgement.measurements["data_digest"].unique(maintain_order=True)
        known = [d for d in digests.to_list() if d]
        return tuple(w.said(MEASUREMENTS, "datasheet.say.data_digest", digest=d) for d in known)
    return tuple(_source(w, one) for one in data["sources"])


def _source(w: Writer, one: Mapping[str, Any]) -> Statement:
    if "origin" in one:
        return w.said(
            ORIGINS, "datasheet.say.builtin", name=one["name"], origin=one["origin"],
            version=one["version"], digest=one["sha256"],
        )  # fmt: skip
    return w.said(ORIGINS, "datasheet.say.file", name=one["name"], digest=one["sha256"])


def data_licence(w: Writer) -> tuple[Statement, ...]:
    """Return the licence of the rows: what builtins carry, else what was declared."""
    data = _data(w)
    told = [] if data is None else [one for one in data["sources"] if one.get("licence")]
    if told:
        return tuple(
            w.said(ORIGINS, "datasheet.say.licence", name=one["name"], licence=one["licence"])
            for one in told
        )
    return w.declared("data.licence")


def _used(w: Writer) -> Statement:
    judgement = w.facts.judgement
    return w.said(VERDICT, "datasheet.say.used", name=judgement.name, task=judgement.task)
