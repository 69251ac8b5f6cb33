"""Why two runs may differ besides their candidates: data, policy, device, versions.

These stand on top of every comparison: a number that moved because the rows are others, or because
the machine is, must not be read as the doing of a candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from shipworthy.core.locale import number, text
from shipworthy.core.records import Limit
from shipworthy.release.display import listed
from shipworthy.release.judgement import Judgement, Phrase
from shipworthy.release.wording import limit_in_full

if TYPE_CHECKING:
    from shipworthy.release.compare_rows import SharedAnswers
    from shipworthy.release.load import Run

_PREFIX = "compare.differs."


def differences(before: Run, after: Run, shared: SharedAnswers | None) -> Iterator[Phrase]:
    """Yield a sentence for each difference of the runs as such, data first."""
    one, other = before.judgement, after.judgement
    yield from _rows(before, after, shared)
    yield from _policy(one, other)
    for key, told in _TOLD.items():
        old, new = told(one), told(other)
        if old != new:
            yield Phrase(_PREFIX + key, {"before": old or "–", "after": new or "–"})
    if one.parent.artefact_digest != other.parent.artefact_digest:
        names = {"before": one.parent.name, "after": other.parent.name}
        yield Phrase(_PREFIX + "parent", names)
    yield from _versions(one, other)


def _rows(before: Run, after: Run, shared: SharedAnswers | None) -> Iterator[Phrase]:
    same_set = _digest(before.judgement) == _digest(after.judgement)
    if shared is None:
        lacking = [r for r in (before, after) if not _keeps(r)]
        names = listed([r.judgement.run for r in lacking])
        if not same_set:
            yield Phrase(_PREFIX + "data_unknown", {"names": names})
        yield Phrase(_PREFIX + "no_answers", {"names": names, "count": len(lacking)})
        return
    rows = shared.rows
    if shared.before.named_by != shared.after.named_by:
        told = {"before": Phrase(f"compare.named_by.{shared.before.named_by}"),
                "after": Phrase(f"compare.named_by.{shared.after.named_by}")}  # fmt: skip
        yield Phrase(_PREFIX + "named_by", told)
        return
    counts = {
        "before": number(rows.rows_before),
        "after": number(rows.rows_after),
        "shared": number(len(rows)),
    }
    if not rows.all_of_both:
        kind = "some" if rows.enough else "few" if len(rows) else "none"
        yield Phrase(f"{_PREFIX}data_{kind}", counts)
    if rows.relabelled:
        yield Phrase(_PREFIX + "labels", {"rows": number(rows.relabelled)})
    if rows.regrouped:
        yield Phrase(_PREFIX + "groups", {"rows": number(rows.regrouped)})
    if shared.before.positive != shared.after.positive:
        told_classes = {"before": shared.before.positive or "–", "after": shared.after.positive
                        or "–"}  # fmt: skip
        yield Phrase(_PREFIX + "positive", told_classes)
    if shared.after.named_by == "position" and len(rows):
        yield Phrase(_PREFIX + "position")


def _keeps(run: Run) -> bool:
    from shipworthy.release.answers_table import ANSWERS

    return (run.folder / ANSWERS).is_file()


def _policy(before: Judgement, after: Judgement) -> Iterator[Phrase]:
    old, new = ([_told(li) for li in j.limits] for j in (before, after))
    gone, come = [li for li in old if li not in new], [li for li in new if li not in old]
    if gone or come:
        between = text("clause.separator")
        sides = {"gone": between.join(gone) or "–", "come": between.join(come) or "–"}
        yield Phrase(_PREFIX + "policy", sides)


def _told(limit: Limit) -> str:
    extra = [word for word in (limit.tier, limit.unknown) if word not in ("supporting", "block")]
    told = limit_in_full(limit)
    return text("clause.aside", said=told, aside=", ".join(extra)) if extra else told


def _versions(before: Judgement, after: Judgement) -> Iterator[Phrase]:
    if not before.versions or not after.versions:
        if before.versions or after.versions:
            run = after.run if before.versions else before.run
            yield Phrase(_PREFIX + "no_versions", {"run": run})
        return
    names = sorted({*before.versions, *after.versions})
    changed = [
        f"{name} {before.versions.get(name, '–')} → {after.versions.get(name, '–')}"
        for name in names
        if before.versions.get(name) != after.versions.get(name)
    ]
    if changed:
        yield Phrase(_PREFIX + "versions", {"versions": ", ".join(changed)})


def _digest(judgement: Judgement) -> str:
    return ", ".join(sorted(set(judgement.measurements["data_digest"].to_list())))


def _devices(judgement: Judgement) -> str:
    return ", ".join(sorted({f for f in judgement.measurements["device_flags"].to_list() if f}))


_TOLD: dict[str, Callable[[Judgement], str]] = {
    "kind": lambda j: j.kind,
    "confidence": lambda j: f"{j.confidence:g}",
    "small_slices": lambda j: j.small_slices,
    "opening": lambda j: str(j.opening),
    "unit": lambda j: j.unit or "",
    "device": _devices,
}
