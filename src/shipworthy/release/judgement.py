"""What a run or a `judge` call found, whole: the one object that report, terminal and JSON show."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from shipworthy.core.records import (
    Answer,
    Candidate,
    Decision,
    Limit,
    Outcome,
    Verdict,
    to_frame,
)
from shipworthy.release.forgotten_records import Forgotten

if TYPE_CHECKING:
    import polars as pl

    from shipworthy.release.answers_table import AnswersTable


@dataclass(frozen=True)
class Phrase:
    """A sentence for people: a locale key and its arguments; `core.locale.text` renders it."""

    key: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NextStep:
    """The cheapest action likely to change a verdict.

    probability is the chance that the limit is then decided, pass_probability that it then passes;
    NaN where nobody can say. effect: value of effect_measure that is expected afterwards, on the
    scale of the decision, with its interval. The costs are rows to label, minutes of a machine,
    megabytes and p95 milliseconds of the artefact against the candidate (NaN where nobody can say),
    and money (NaN without prices). cost_basis: where megabytes and milliseconds are from:
    `measured` (both candidates were timed), `one_process` (the same at a glance), `same_shape`
    (only values change), `forecast`, or "". recipe: what to list under `compress.recipes` or
    `mitigate.recipes`, "" where the action is none.
    """

    candidate: str
    phrase: Phrase
    probability: float
    pass_probability: float
    cost_rows: int = 0
    effect: float = math.nan
    effect_low: float = math.nan
    effect_high: float = math.nan
    effect_measure: str = ""
    cost_minutes: float = 0.0
    cost_mb: float = 0.0
    cost_ms: float = 0.0
    cost_basis: str = ""
    cost: float = math.nan
    currency: str = ""
    recipe: str = ""


@dataclass(frozen=True)
class Waiver:
    """An able person lets a candidate pass although a limit does not.

    limit: its text, as `str(Limit)`; candidate: id; artefact_digest: what it is bound to. created
    and expires are UTC, ISO 8601; line: hash of the ledger line.
    """

    limit: str
    candidate: str
    artefact_digest: str
    person: str
    role: str
    reason: str
    created: str
    expires: str
    line: str


@dataclass(frozen=True)
class SignOff:
    """A person stands by a verdict in a role. key: fingerprint; line: hash of the ledger line."""

    person: str
    role: str
    key: str
    created: str
    line: str


@dataclass(frozen=True)
class Approval:
    """Who signed a verdict, which roles that own limits did not, and whether it counts.

    separated: somebody who did not train is among those that signed; None where that is not asked.
    stale: sign-offs of an earlier verdict of this run, of roles that did not sign this one.
    remarks: what does not count, and why: expired waivers, signatures that cannot be trusted.
    """

    signed: tuple[SignOff, ...] = ()
    missing: tuple[str, ...] = ()
    separated: bool | None = None
    stale: tuple[SignOff, ...] = ()
    remarks: tuple[Phrase, ...] = ()


@dataclass(frozen=True)
class SelftestEvidence:
    """The self-test that a ship verdict rests on.

    created and expires: UTC, ISO 8601; expires "" where it does not age. not_held: planted models
    that were not held; skipped: planted models that were not asked for.
    """

    passed: bool
    policy_digest: str
    code: str
    created: str
    expires: str = ""
    not_held: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Example:
    """One row whose answer differs between parent and candidate.

    row: id or 16 hex digits of a hash; groups: values of the group columns; text: as the report may
    show it; masked: what patterns find in it is replaced.
    """

    candidate: str
    row: str
    text: str
    label: str
    before: str
    after: str
    groups: Mapping[str, str] = field(default_factory=dict)
    masked: bool = True


@dataclass(frozen=True)
class Judgement:
    """One finished judgement. Candidates exclude the parent and stand in the order given.

    measurements has the columns of `Measurement`, the parent's rows included; ids are
    `Candidate.id`. `best` is the id of the candidate that ships, or None.
    """

    run: str
    name: str
    kind: Literal["judge", "run", "rehearsal"]
    created: datetime
    task: str
    limits: tuple[Limit, ...]
    parent: Candidate
    candidates: tuple[Candidate, ...]
    nominated: tuple[str, ...]
    measurements: pl.DataFrame
    decisions: tuple[Decision, ...]
    verdicts: tuple[Verdict, ...]
    answer: Answer
    best: str | None
    objective: str
    confidence: float
    alpha: float
    opening: int
    groups: tuple[str, ...] = ()
    unit: str | None = None
    next_steps: tuple[NextStep, ...] = ()
    not_measured: tuple[Phrase, ...] = ()
    notes: tuple[Phrase, ...] = ()
    evidence: tuple[tuple[str, str], ...] = ()
    """Rows of the evidence block: (locale key of the label, text)."""
    seconds: float = 0.0
    cached_stages: int = 0
    family: int = 0
    """Candidates that Holm counts in this opening, where more were looked at than are nominated."""
    nominate: int = 3
    small_slices: Literal["default", "report", "undecided"] = "default"
    separation_of_duties: bool = True
    selftest_skip: tuple[str, ...] = ()
    selftest_days: int | None = None
    """These five as the policy has them."""
    group_names: Mapping[str, str] = field(default_factory=dict)
    """Names for people of group values ("nyt" -> "NYT"), optional."""
    waivers: tuple[Waiver, ...] = ()
    """Waivers that this verdict rests on, expired ones left out."""
    selftest: SelftestEvidence | None = None
    examples: tuple[Example, ...] = ()
    forgotten: tuple[Forgotten, ...] = ()
    """What each candidate turned wrong, and where; exploratory, no verdict rests on it."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """How the parent was trained: facts, curves, race; empty where it was not trained here."""
    search: Mapping[str, Any] = field(default_factory=dict)
    """What a search for candidates tried on validation rows; empty where there was none."""
    approval: Approval | None = None
    """From the ledger, not from the record: sign-offs come after the verdict that they sign."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of this package and of the libraries that the numbers come from."""
    sources: Mapping[str, Any] = field(default_factory=dict)
    """What `judge` was asked, to ask it again: files and columns; empty for a project."""
    answers: Callable[[], AnswersTable] | None = field(default=None, repr=False, compare=False)
    """Makes the table of answers while the rows are at hand; a record read back has none."""

    @property
    def verdict(self) -> Answer:
        """The answer of the whole judgement."""
        return self.answer

    @property
    def table(self) -> pl.DataFrame:
        """One row for each limit and slice of each candidate, with the columns of `Decision`."""
        return to_frame(self.decisions, Decision)

    def verdict_of(self, candidate: str) -> Verdict:
        """Return the verdict of one candidate by id."""
        return next(v for v in self.verdicts if v.candidate == candidate)

    def decisions_of(self, candidate: str) -> tuple[Decision, ...]:
        """Return the decisions about one candidate by id."""
        return tuple(d for d in self.decisions if d.candidate == candidate)

    def outcome_of(self, candidate: str) -> Outcome:
        """Return the worst decision of the limits that count: fail, then cannot tell, then pass."""
        answer = self.verdict_of(candidate).answer
        return {
            Answer.SHIP: Outcome.PASS,
            Answer.HOLD: Outcome.FAIL,
            Answer.UNDECIDED: Outcome.CANNOT_TELL,
        }[answer]
