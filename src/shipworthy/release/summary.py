"""The verdict in two or three sentences, and the reason behind each candidate in five words."""

from __future__ import annotations

from dataclasses import dataclass

from shipworthy.core.locale import number
from shipworthy.core.records import WAIVED, Answer, Candidate, Decision, Outcome
from shipworthy.release.display import capital, listed, measure_name, text
from shipworthy.release.limit_rows import LimitRow, form_of, good_end
from shipworthy.release.standing import Number, Survey
from shipworthy.release.wording import (
    MACHINE,
    MISSING,
    about,
    finding,
    group_name,
    limit_title,
    phrase,
    reason_text,
    rows_needed,
    rows_text,
    subject,
)


@dataclass(frozen=True)
class Headline:
    """The first screen: the answer, the candidate it names, and why."""

    answer: Answer
    word: str
    name: str
    sentences: tuple[str, ...]


def headline(survey: Survey) -> Headline:
    """Return the verdict line and its sentences."""
    judgement, named = survey.judgement, survey.named
    word = text(f"report.answer.{judgement.answer.value}")
    said: list[str] = []
    if named is None:
        said.append(text("report.why.no_candidate"))
    elif judgement.answer is Answer.SHIP:
        said += [_gained_and_changed(survey, named), _closest(survey, named)]
    elif judgement.answer is Answer.HOLD:
        said += [_held(survey, named), _next(survey, named)]
    else:
        said += [_unclear(survey, named), _next(survey, named)]
    if judgement.kind == "rehearsal":
        said.append(text("report.rehearsal"))
    name = "" if named is None else named.name
    return Headline(judgement.answer, capital(word), name, tuple(s for s in said if s))


# -- ship ----------------------------------------------------------------------------------------


def _gained_and_changed(survey: Survey, candidate: Candidate) -> str:
    gained, changed = _gained(survey, candidate), _changed(survey, candidate)
    if gained and changed:
        return text("report.gain.and_changed", gained=gained, changed=changed)
    return text("report.gain.alone", gained=gained) if gained else changed


def _gained(survey: Survey, candidate: Candidate) -> str:
    size, speed = _size_part(survey, candidate), _speed_part(survey, candidate)
    if size and speed:
        return capital(text("report.gain.both", size=size, speed=speed))
    if size or speed:
        return capital(text("report.gain.size_only" if size else "report.gain.speed_only",
                            part=size or speed))  # fmt: skip
    return ""


def _size_part(survey: Survey, candidate: Candidate) -> str:
    own, parent = _both(survey, candidate, "size_mb")
    if own is None or parent is None or parent.value <= 0:
        return ""
    ratio = own.value / parent.value
    if 0.97 < ratio < 1.03:
        return ""
    if 0.48 < ratio < 0.52:
        return text("report.gain.half")
    if ratio > 1:
        return text("report.gain.times_size", times=number(ratio, 1))
    return text("report.gain.percent", percent=number(100 * ratio))


def _speed_part(survey: Survey, candidate: Candidate) -> str:
    own, parent = _both(survey, candidate, "latency_p95_ms")
    # Stated only where the intervals do not touch.
    if own is None or parent is None or (own.low <= parent.high and parent.low <= own.high):
        return ""
    ratio = parent.value / own.value
    if ratio >= 1.05:
        return text("report.gain.fast", times=number(ratio, 1))
    return text("report.gain.slow", times=number(1 / ratio, 1)) if ratio <= 0.95 else ""


def _both(
    survey: Survey, candidate: Candidate, measure: str
) -> tuple[Number | None, Number | None]:
    parent = survey.judgement.parent.id
    return survey.number(candidate.id, measure), survey.number(parent, measure)


def _changed(survey: Survey, candidate: Candidate) -> str:
    turned = survey.turned(candidate.id)
    if turned is None:
        return ""
    wrong, right, n = turned
    if wrong + right == 0:
        return text("report.changed.none", rows=rows_text(n))
    return text(
        "report.changed.some",
        wrong=rows_text(wrong), right=rows_text(right), rows=rows_text(n), count=wrong,
    )  # fmt: skip


def _closest(survey: Survey, candidate: Candidate) -> str:
    every = survey.rows[candidate.id]
    rows = [r for r in every if r.counts]
    said = text("report.inside_all", count=len(rows))
    waived = sum(r.decision.reason == WAIVED for r in every)
    if waived:
        whole = len(rows) + waived
        said = text("approval.inside", inside=number(len(rows)), whole=number(whole), count=waived)
    closest = survey.closest(candidate.id)
    if closest is None or closest.outcome is not Outcome.PASS:
        return said
    clause = finding(closest.decision)
    second = text("report.closest", subject=subject(survey, closest), finding=clause)
    said = text("report.two", first=said, second=second)
    return text("report.two", first=said, second=_beside(survey, candidate)).strip()


def _beside(survey: Survey, candidate: Candidate) -> str:
    """Return what is printed beside the verdict: slices not covered, limits only disclosed."""
    rows = [r for r in survey.rows[candidate.id] if r.uncovered]
    left = [d for r in rows if r.counts for d in r.uncovered]
    said = ""
    if left:
        tested = rows_text(sum(d.n for d in left))
        said = text("report.not_covered", count=len(left), rows=tested)
    disclosed = [limit_title(r.limit) for r in rows if not r.counts]
    if disclosed:
        more = text("report.disclosed", names=listed(disclosed))
        said = text("report.two", first=said, second=more).strip()
    return said


# -- hold and undecided --------------------------------------------------------------------------


def _held(survey: Survey, candidate: Candidate) -> str:
    rows = [r for r in survey.rows[candidate.id] if r.counts]
    failed = [r for r in rows if r.outcome is Outcome.FAIL]
    if candidate.id not in survey.judgement.nominated and not survey.judgement.nominated:
        return text("report.why.none_nominated")
    if not failed:
        return text("report.why.no_limit")
    said = text("report.outside", failed=number(len(failed)), count=len(rows))
    worst = survey.decider(candidate.id)
    assert worst is not None  # a candidate with a failed limit has one that decided
    clause = capital(
        text("report.clause", subject=subject(survey, worst), finding=finding(worst.decision))
    )
    return text("report.two", first=said, second=clause)


def _unclear(survey: Survey, candidate: Candidate) -> str:
    rows = [r for r in survey.rows[candidate.id] if r.counts]
    open_rows = [r for r in rows if r.outcome is Outcome.CANNOT_TELL]
    if not open_rows:
        verdict = survey.verdict(candidate.id)
        if verdict is not None and WAIVED in verdict.reasons:
            return text("approval.all_waived")
        if verdict is not None and "not_nominated" in verdict.reasons:
            return text("report.why.not_nominated", count=len(rows))
        for reason in ("selftest", "expired", "rehearsal"):
            if verdict is not None and reason in verdict.reasons:
                return text(f"report.why.{reason}", count=len(rows))
        nominated = len(survey.judgement.nominated)
        return text("report.why.correction", limits=number(len(rows)), count=nominated)
    inside = sum(r.outcome is Outcome.PASS for r in rows)
    said = text(
        "report.unclear", inside=number(inside), open=number(len(open_rows)), count=len(rows)
    )
    decider = survey.decider(candidate.id)
    assert decider is not None  # there is at least one open limit
    return text("report.two", first=said, second=_missing_rows(survey, decider))


def _missing_rows(survey: Survey, row: LimitRow) -> str:
    d = row.decision
    group = group_name(survey, d)
    if d.reason in MISSING:
        return capital(text("report.missing", subject=subject(survey, row)))
    by_rows = form_of(d).unit not in MACHINE
    if d.n == 0 or not by_rows or d.reason in ("worn_out", "biased_labels"):
        return capital(text("report.clause_reason", subject=subject(survey, row),
                            reason=reason_text(d.reason)))  # fmt: skip
    where = "group" if group else "all"
    needed = rows_needed(d)
    if needed is not None:
        key = f"report.tested.{where}.would"
        return text(key, count=d.n, rows=rows_text(d.n), group=group, needed=about(needed))
    return text(f"report.tested.{where}", count=d.n, rows=rows_text(d.n), group=group)


def _next(survey: Survey, candidate: Candidate) -> str:
    steps = survey.judgement.next_steps
    own = [s for s in steps if s.candidate == candidate.id] or list(steps)
    return text("report.next_is", step=phrase(own[0].phrase)) if own else ""


# -- candidates ----------------------------------------------------------------------------------


def why(survey: Survey, candidate: Candidate) -> str:
    """Return why a candidate stands where it stands, in about five words."""
    verdict, row = survey.verdict(candidate.id), survey.decider(candidate.id)
    if verdict is None:
        return text("report.why.short.unjudged")
    if WAIVED in verdict.reasons:
        return text("approval.all_waived.short")
    if verdict.answer is Answer.SHIP:
        return _best_of_passing(survey, candidate)
    if row is None:
        return text("report.why.short.no_limit")
    if row.outcome is Outcome.PASS:
        known = (
            r for r in ("not_nominated", "selftest", "expired", "rehearsal") if r in verdict.reasons
        )
        return text(f"report.why.short.{next(known, 'correction')}")
    group, d = group_name(survey, row.decision), row.decision
    if row.outcome is Outcome.FAIL:
        return _short_fail(d)
    if d.reason in MISSING:
        what = group if d.reason == "no_data" and group else _short_subject(d)
        return text(f"report.why.short.{d.reason}", subject=what)
    needed = rows_needed(d)
    if needed is not None:
        more = about(needed - d.n)
        if group:
            return text("report.why.short.more_group", rows=more, group=group)
        return text("report.why.short.more", rows=more)
    place = group or _short_subject(d)
    if d.reason == "across_bound":
        return text("report.why.short.across_bound", subject=place)
    return text("report.why.short.other", subject=place, reason=reason_text(d.reason))


def _short_subject(decision: Decision) -> str:
    return measure_name(decision.measure, short=True)


def _short_fail(d: Decision) -> str:
    form, end = form_of(d), good_end(d)
    if form.signed and form.unit == "points" and d.side == "at_least":
        if end < 0:
            return text("report.why.short.lost", value=form.with_unit(form.size(end)))
        return text("report.why.short.gained", value=form.with_unit(form.size(end)))
    figure = form.with_unit(form.figure(end))
    key = "exact" if d.low == d.high else d.side
    return text(f"report.why.short.level.{key}", subject=_short_subject(d), value=figure)


def _best_of_passing(survey: Survey, candidate: Candidate) -> str:
    passing = [c for c in survey.ordered if survey.outcome(c.id) is Outcome.PASS]
    if len(passing) == 1:
        return text("report.why.short.only")
    if smallest(survey, passing) == candidate:
        return text("report.why.short.smallest")
    if fastest(survey, passing) == candidate:
        return text("report.why.short.fastest")
    return text("report.why.short.inside")


def smallest(survey: Survey, among: list[Candidate]) -> Candidate | None:
    """Return the candidate that is smaller than each other one measured, or None."""
    return _least(survey, among, "size_mb")


def fastest(survey: Survey, among: list[Candidate]) -> Candidate | None:
    """Return the candidate whose p95 interval lies below each other's, or None."""
    return _least(survey, among, "latency_p95_ms")


def _least(survey: Survey, among: list[Candidate], measure: str) -> Candidate | None:
    found = [(n, c) for c in among if (n := survey.number(c.id, measure)) is not None]
    if len(found) < 2:
        return None
    least, candidate = min(found, key=lambda pair: pair[0].value)
    return candidate if all(least.high < n.low for n, c in found if c is not candidate) else None
