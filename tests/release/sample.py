"""Hand-made judgements for the tests of everything that shows one.

`pictured()` carries the figures of the design's pictures; the others bend it to one case each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from shipworthy.core.records import (
    Answer,
    Candidate,
    Decision,
    Limit,
    Measurement,
    Outcome,
    Slice,
    Verdict,
    to_frame,
)
from shipworthy.release.judgement import Judgement, NextStep, Phrase

PASS, FAIL, OPEN = Outcome.PASS, Outcome.FAIL, Outcome.CANNOT_TELL
CREATED = datetime(2026, 11, 24, 18, 40, tzinfo=UTC)
NAN = math.nan

GROUP_ROWS = {"movie": 2029, "tweets": 661, "amazon": 632, "nyt": 610}
ALL = 3932
LIMITS = (
    Limit("accuracy", "at_least", 0.80, tier="critical", owner="ml-lead"),
    Limit("accuracy", "at_least", -0.01, slices={"each": "domain"}, relative_to="parent",
          owner="fairness"),
    Limit("latency_p95_ms", "at_most", 20.0, owner="platform"),
    Limit("size_mb", "at_most", 100.0, owner="platform"),
)  # fmt: skip
# name, lever, MB, p95 ms, accuracy %, change over all rows, then per group; turned wrong and right.
# A change is (points, low, high, outcome).
FIGURES: dict[str, dict[str, Any]] = {
    "int8 dynamic": dict(
        lever="quantize", mb=23.5, ms=8.0, acc=85.99, turned=(114, 67),
        all=(-1.2, -1.9, -0.5, OPEN),
        movie=(-1.8, -2.8, -0.9, OPEN), tweets=(0.2, -1.1, 1.4, OPEN),
        amazon=(-1.6, -3.3, 0.2, OPEN), nyt=(-0.2, -2.1, 1.8, OPEN), needed={"movie": 2800},
    ),
    "bf16 weights": dict(
        lever="quantize", mb=45.5, ms=7.0, acc=87.16, turned=(1, 0), all=(0.0, -0.1, 0.1, PASS),
        movie=(0.0, -0.3, 0.1, PASS), tweets=(0.0, -0.6, 0.6, PASS),
        amazon=(0.0, -0.55, 0.6, PASS), nyt=(0.0, -0.58, 0.6, PASS),
    ),
    "pruned 50 %": dict(
        lever="prune", mb=NAN, ms=NAN, acc=84.79, turned=(235, 141), all=(-2.4, -3.3, -1.4, FAIL),
        movie=(-4.0, -5.5, -2.6, FAIL), tweets=(-0.8, -2.4, 0.8, OPEN),
        amazon=(-0.6, -3.0, 1.7, OPEN), nyt=(-0.5, -3.1, 2.1, OPEN),
    ),
    "OpenVINO bf16": dict(
        lever="runtime", mb=91.0, ms=3.8, acc=87.16, turned=(1, 0), all=(0.0, -0.1, 0.1, PASS),
        movie=(0.0, -0.3, 0.1, PASS), tweets=(0.0, -0.6, 0.6, PASS),
        amazon=(0.0, -0.55, 0.6, PASS), nyt=(0.0, -0.58, 0.6, PASS),
    ),
    "pruned 30 %": dict(
        lever="prune", mb=NAN, ms=NAN, acc=86.72, turned=(77, 59), all=(-0.5, -1.0, 0.1, OPEN),
        movie=(-1.0, -2.0, -0.1, OPEN), tweets=(0.0, -1.2, 1.2, OPEN),
        amazon=(-0.9, -2.4, 0.5, OPEN), nyt=(1.5, 0.0, 3.1, PASS),
    ),
    "3 layers, retrained": dict(
        lever="distill", mb=48.0, ms=3.6, acc=84.05, turned=(262, 139),
        all=(-3.1, -4.1, -2.1, FAIL),
        movie=(-4.0, -5.5, -2.5, FAIL), tweets=(-1.7, -3.7, 0.4, OPEN),
        amazon=(-4.1, -6.6, -1.7, FAIL), nyt=(-0.8, -3.4, 1.7, OPEN),
    ),
}  # fmt: skip


def candidate(name: str, lever: str = "quantize", **more: Any) -> Candidate:
    return Candidate(name, lever, parents=("parent",), settings={"name": name}, **more)


PARENT = Candidate("fp32 parent", "train", artefact_digest="00" * 32)


def decision(
    owner: Candidate, limit: int, limits: Sequence[Limit], slice: Mapping[str, Any],
    numbers: tuple[float, float, float], outcome: Outcome, *, n: int, method: str = "Tango",
    reason: str = "", n_needed: int | None = None, p_fail: float = 0.5,
) -> Decision:  # fmt: skip
    of = limits[limit]
    if math.isnan(numbers[0]):
        p_fail = NAN
    if outcome is OPEN and not reason:
        reason = "not_measured" if math.isnan(numbers[0]) else "across_bound"
    return Decision(
        candidate=owner.id, measure=of.measure, slice=Slice.of(slice).json,
        relative_to=of.relative_to, bound=float(of.bound), side=of.side, value=numbers[0],
        low=numbers[1], high=numbers[2], n=n, n_units=n, p_pass=0.01 if outcome is PASS else 0.4,
        p_fail=p_fail, p_pass_adjusted=0.01, p_fail_adjusted=p_fail, alpha=0.025, method=method,
        decision=outcome, reason=reason, n_needed=n_needed, tier=of.tier, unknown=of.unknown,
        owner=of.owner, limit=limit,
    )  # fmt: skip


def measured(
    owner: Candidate, measure: str, value: float, low: float | None = None,
    high: float | None = None, *, n: int = ALL, slice: Mapping[str, Any] | None = None,
    relative_to: str = "none", value_unit: str = "", split: str = "test",
) -> Measurement:  # fmt: skip
    return Measurement(
        owner.id, measure, value, value if low is None else low, value if high is None else high,
        slice=Slice.of(slice or {}).json, relative_to=relative_to, n=n, value_unit=value_unit,
        data_digest="e2c604aa" * 8, artefact_digest=owner.artefact_digest, created=CREATED,
        split=split,
    )  # fmt: skip


def verdict(owner: Candidate, decisions: Sequence[Decision], nominated: bool = True) -> Verdict:
    counting = [d for d in decisions if d.tier != "advisory" and d.unknown == "block"]
    if any(d.decision is FAIL for d in counting):
        answer = Answer.HOLD
    elif nominated and all(d.decision is PASS for d in counting):
        answer = Answer.SHIP
    else:
        answer = Answer.UNDECIDED
    reasons = {d.reason for d in counting if d.decision is OPEN}
    if not nominated and answer is Answer.UNDECIDED:
        reasons.add("not_nominated")
    return Verdict(owner.id, answer, nominated, 0.01, 0.02, tuple(sorted(reasons)))


def judgement(
    candidates: Sequence[Candidate], decisions: Sequence[Decision],
    measurements: Sequence[Measurement], limits: Sequence[Limit], **more: Any,
) -> Judgement:  # fmt: skip
    nominated = more.pop("nominated", tuple(c.id for c in candidates))
    by_id = {c.id: [d for d in decisions if d.candidate == c.id] for c in candidates}
    verdicts = tuple(verdict(c, by_id[c.id], c.id in nominated) for c in candidates)
    answers = [v.answer for v in verdicts if v.candidate in nominated]
    shipping = [v.candidate for v in verdicts if v.answer is Answer.SHIP]
    answer = Answer.UNDECIDED
    if shipping:
        answer = Answer.SHIP
    elif all(a is Answer.HOLD for a in answers):
        answer = Answer.HOLD
    values: dict[str, Any] = dict(
        run="a91f4c2e", name="review-sentiment", kind="run", created=CREATED,
        task="text-classification", limits=tuple(limits), parent=PARENT,
        candidates=tuple(candidates), nominated=nominated,
        measurements=to_frame(measurements, Measurement), decisions=tuple(decisions),
        verdicts=verdicts, answer=answer, best=shipping[0] if shipping else None,
        objective="size", confidence=0.95, alpha=0.025, opening=1, groups=("domain",),
        unit="source_id", group_names={"nyt": "NYT"},
    )  # fmt: skip
    return Judgement(**{**values, **more})


def made(name: str) -> Candidate:
    """Return one of the pictured candidates."""
    return candidate(
        name, FIGURES[name]["lever"], artefact_digest=(name.encode().hex() * 8)[:64],
        device_flags=("amx_bf16", "avx512_vnni"), runtime="torch",
    )  # fmt: skip


def pictured(names: Sequence[str] = tuple(FIGURES), **more: Any) -> Judgement:
    """Return the judgement of the design's pictures, or a part of it."""
    measurements = [
        measured(PARENT, "accuracy", 0.8718, 0.861, 0.882),
        measured(PARENT, "size_mb", 90.9, n=0),
        measured(PARENT, "latency_p95_ms", 12.8, 12.4, 13.3, n=5),
        measured(PARENT, "expected_calibration_error", 0.021),
    ]
    candidates, decisions = [], []
    for name in names:
        figures, one = FIGURES[name], made(name)
        candidates.append(one)
        n_needed = figures.get("needed", {})
        acc, ms, mb = figures["acc"] / 100, figures["ms"], figures["mb"]
        decisions.append(
            decision(one, 0, LIMITS, {}, (acc, acc - 0.0109, acc + 0.0101), PASS, n=ALL,
                     method="exact binomial")
        )  # fmt: skip
        for group, rows in GROUP_ROWS.items():
            points, low, high, outcome = figures[group]
            decisions.append(
                decision(one, 1, LIMITS, {"domain": group}, (points / 100, low / 100, high / 100),
                         outcome, n=rows, n_needed=n_needed.get(group))
            )  # fmt: skip
        spread = (ms, ms * 0.97, ms * 1.05) if not math.isnan(ms) else (NAN, NAN, NAN)
        decisions.append(
            decision(one, 2, LIMITS, {}, spread, OPEN if math.isnan(ms) else PASS, n=5,
                     method="t over processes")
        )  # fmt: skip
        decisions.append(
            decision(one, 3, LIMITS, {}, (mb, mb, mb), OPEN if math.isnan(mb) else PASS, n=0,
                     method="exact")
        )  # fmt: skip
        points, low, high, _ = figures["all"]
        wrong, right = figures["turned"]
        measurements += [
            measured(one, "accuracy", acc, acc - 0.0109, acc + 0.0101),
            measured(one, "accuracy", points / 100, low / 100, high / 100, relative_to="parent"),
            measured(one, "size_mb", mb, n=0),
            measured(one, "latency_p95_ms", *spread, n=5),
            measured(one, "expected_calibration_error", 0.021),
            measured(one, "turned_wrong", wrong, relative_to="parent", value_unit="rows"),
            measured(one, "turned_right", right, relative_to="parent", value_unit="rows"),
        ]
    given = judgement(candidates, decisions, measurements, LIMITS, **more)
    if "not_measured" not in more:
        missing = [c.name for c in candidates if math.isnan(FIGURES[c.name]["mb"])]
        phrases = tuple(
            Phrase("report.why.short.not_measured", {"subject": f"{name}: size and speed"})
            for name in missing
        )
        given = replace(given, not_measured=phrases)
    return given


def shipping(**more: Any) -> Judgement:
    """Return the whole picture: six candidates, the smallest of two that pass ships."""
    judgement = pictured(**more)
    return replace(judgement, best=made("bf16 weights").id)


def holding() -> Judgement:
    """Return a run in which the only candidate fails."""
    return pictured(["3 layers, retrained"])


def undecided() -> Judgement:
    """Return a run in which the only candidate cannot be decided, with a next step."""
    step = NextStep(
        made("int8 dynamic").id,
        Phrase("report.why.short.more_group", {"rows": "770", "group": "movie"}),
        0.83, 0.12, 770,
    )  # fmt: skip
    return pictured(["int8 dynamic"], next_steps=(step,))


def many_groups(count: int, *, failing: int = 0, candidates: int = 2) -> Judgement:
    """Return a run with `count` groups of falling size, of which `failing` fail."""
    limits = (Limit("accuracy", "at_least", -0.025, slices={"each": "shop"}, relative_to="parent"),)
    those = [candidate(f"candidate {i + 1}") for i in range(candidates)]
    decisions, measurements = [], []
    for one in those:
        for g in range(count):
            low = -0.03 if g < failing else -0.02 + 0.0001 * g
            value, high = low + 0.01, low + 0.02
            numbers = (value - 0.03, low - 0.03, high - 0.03) if g < failing else (value, low, high)
            decisions.append(
                decision(one, 0, limits, {"shop": f"shop {g}"}, numbers,
                         FAIL if g < failing else PASS, n=1000 - g)
            )  # fmt: skip
        measurements.append(measured(one, "accuracy", 0.9, 0.89, 0.91))
    return judgement(those, decisions, measurements, limits, groups=("shop",), kind="judge",
                     objective="quality")  # fmt: skip


def without_groups(n: int = ALL) -> Judgement:
    """Return a judgement of one prediction file on all rows only: no group, size or speed."""
    limits = (
        Limit("accuracy", "at_least", 0.80),
        Limit("accuracy", "at_least", -0.01, relative_to="parent"),
    )
    one = candidate("candidate.csv")
    decisions = [
        decision(one, 0, limits, {}, (0.861, 0.85, 0.872), PASS, n=n, method="exact binomial"),
        decision(one, 1, limits, {}, (-0.001, -0.004, 0.002), PASS, n=n),
    ]
    measurements = [
        measured(PARENT, "accuracy", 0.862, 0.851, 0.873, n=n),
        measured(one, "accuracy", 0.861, 0.85, 0.872, n=n),
        measured(one, "turned_wrong", 12, relative_to="parent", n=n),
        measured(one, "turned_right", 8, relative_to="parent", n=n),
    ]
    return judgement([one], decisions, measurements, limits, groups=(), kind="judge", unit=None)


def hostile() -> Judgement:
    """Return group, candidate and owner names that try to break a page."""
    limits = (
        Limit("accuracy", "at_least", -0.025, slices={"each": "group"}, relative_to="parent",
              owner="<b>owner</b>"),
    )  # fmt: skip
    one = candidate('<script>alert("1")</script>')
    groups = [
        "<img src=x onerror=alert(1)>",
        "😀 emoji & co",
        "中文分组名称",
        "x" * 200,
        "\"quoted'",
    ]
    decisions = [
        decision(one, 0, limits, {"group": g}, (0.0, -0.01, 0.01), PASS, n=500 + i)
        for i, g in enumerate(groups)
    ]
    return judgement([one], decisions, [], limits, name="</title><script>", groups=("group",))


def advisory_and_waived() -> Judgement:
    """Return a run with an advisory fail, a waived fail and a disclosed cannot tell; it ships."""
    limits = (
        Limit("accuracy", "at_least", 0.80),
        Limit("f1", "at_least", 0.90, tier="advisory"),
        Limit("auc", "at_least", 0.95, unknown="disclose"),
    )
    one = candidate("only one")
    decisions = [
        decision(one, 0, limits, {}, (0.87, 0.86, 0.88), PASS, n=ALL, method="exact binomial"),
        decision(one, 1, limits, {}, (0.85, 0.84, 0.86), FAIL, n=ALL, method="exact binomial"),
        decision(one, 2, limits, {}, (NAN, NAN, NAN), OPEN, n=0, method="none", reason="no_data"),
    ]
    return judgement([one], decisions, [measured(one, "accuracy", 0.87)], limits)
