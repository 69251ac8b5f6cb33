"""The ruler on files: predictions of a parent and of candidates become a judgement.

No model is needed, only what each of them answered on the same rows. Every candidate file counts as
nominated, because there is no validation that could have chosen among them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from shipworthy.core import locale
from shipworthy.core.digest import digest_frame, digest_json
from shipworthy.core.errors import InputError
from shipworthy.core.ledger import Ledger
from shipworthy.core.openings import OpeningState, open_test, row_hashes, rows_sketch
from shipworthy.core.records import Candidate
from shipworthy.measure.catalogue import MEASURES
from shipworthy.model.predictions import Predictions, align, load_predictions
from shipworthy.release.answers_table import AnswersTable, answers_table
from shipworthy.release.asked import question_digest
from shipworthy.release.examples import Form, choose_examples, form_of
from shipworthy.release.forgotten import forgotten_lists
from shipworthy.release.judgement import Example, Judgement, Phrase
from shipworthy.release.policy import Policy, load_policy
from shipworthy.release.policy_fit import check_fit
from shipworthy.release.ruler import Ruler, Subject
from shipworthy.release.settle import settle
from shipworthy.release.verdicts import Question, reach_verdict
from shipworthy.team.roster import check_owners, load_roster

if TYPE_CHECKING:
    import polars as pl

    Source: TypeAlias = Path | str | pl.DataFrame


def judge(
    parent: Source,
    candidates: Source | Sequence[Source],
    policy: Path | str | Policy | Sequence[Any] | Mapping[str, Any],
    *,
    label: str | None = None,
    prediction: str | None = None,
    score: str | Mapping[str, str] | None = None,
    id: str | None = None,
    positive: str | None = None,
    groups: Sequence[str] = (),
    unit: str | None = None,
    ledger: Path | str | Ledger | None = None,
    intersections: int = 1,
    team: Path | str | None = None,
    name: str = "",
    text: str | None = None,
    examples: str | None = None,
) -> Judgement:
    """Judge candidates against their parent on the same rows.

    parent, candidates: files (CSV, JSON Lines, Parquet), frames of predictions, or logs of the
    tools that `model.evaluation_logs` knows, which name their columns themselves. policy: a file, a
    Policy, or its parsed value. label, prediction, id, unit: columns; groups: columns whose values
    are slices; score: the column of P(positive), or {class: column}. positive: the positive class
    where it is not called 1, true, yes or pos. ledger: a file that counts looks at these rows.
    intersections: up to how many group columns are crossed where the policy says `each group`.
    team: file of the people who may waive limits, where the ledger has waivers.
    text: column of the parent's texts, of which the report shows some whose answer changed;
    examples: their form, `none`, `deidentified` (unless said) or `raw`; with texts, slices that
    lost more than the rest are looked for in them too. None of it is another look.
    Raises InputError (with file, row, column or key) where something does not fit; nothing is
    written to the ledger then.
    """
    started = time.monotonic()
    form = form_of(examples, text)
    several = isinstance(candidates, Sequence) and not isinstance(candidates, str)
    sources: list[Any] = list(candidates) if several else [candidates]  # type: ignore[arg-type]
    if not sources:
        raise InputError(locale.text("error.judge.no_candidate"))
    written = policy if isinstance(policy, Policy) else load_policy(policy)
    file = policy if isinstance(policy, Path | str) else None
    roster = None if team is None else load_roster(team)
    if team is not None and roster is not None:
        check_owners(written.limits, roster, team)
    check_fit(written, groups, file=file, remedy=locale.text("error.judge.remedy"))
    label, prediction, id = _named(parent, label, prediction, id)
    columns: dict[str, Any] = dict(
        label=label, prediction=prediction, score=score, id=id, positive=positive,
        groups=groups, unit=unit,
    )  # fmt: skip
    everyone = [parent, *sources]
    names = _names(everyone)
    subjects = read_subjects(everyone, names, columns, text=text)
    base, others = subjects[0], subjects[1:]
    asked = _asked(written, base.predictions, prediction, score, intersections)
    book = Ledger(ledger) if isinstance(ledger, Path | str) else ledger
    opened = _open(book, asked, base.predictions, others)
    question = Question(
        run=_run_id(asked, subjects),
        name=name or names[0],
        kind="judge",
        policy=written,
        nominated=tuple(s.candidate.id for s in others),
        objective="quality",
        opening=opened,
    )
    ruler = Ruler(
        base, groups=tuple(dict.fromkeys(groups)), unit=unit, intersections=intersections,
        confidence=written.confidence, run=question.run,
    )  # fmt: skip
    notes = [] if ledger is not None else [Phrase("judge.note.no_ledger")]
    if unit is None:
        notes.append(Phrase("judge.note.independent"))
    asked_again = {
        **columns,
        "groups": list(groups),
        "intersections": intersections,
        "policy": None if file is None else str(file),
        "files": [s.candidate.folder for s in subjects] if _are_files(parent, *sources) else [],
    }
    found = reach_verdict(
        question, ruler, others, notes=tuple(notes), sources=asked_again,
        answers=lambda: _answers(subjects), examples=_examples(subjects, form),
        forgotten=forgotten_lists(
            base.predictions, others, base.predictions.texts, form=form,
            confidence=written.confidence,
        ),
    )  # fmt: skip
    found = settle(found, written, book, roster=roster)
    return replace(found, seconds=time.monotonic() - started)


def _named(
    parent: Source, label: str | None, prediction: str | None, id: str | None
) -> tuple[str, str, str | None]:
    """Return the columns of label, prediction and id; a log of an evaluation has its own."""
    from shipworthy.model import evaluation_logs, spoken

    if isinstance(parent, Path | str) and evaluation_logs.recognise(parent) in (
        "lm-eval",
        "inspect",
    ):
        label = label or evaluation_logs.LABEL
        prediction = prediction or evaluation_logs.PREDICTION
        id = id or evaluation_logs.ID
    if isinstance(parent, Path | str) and spoken.is_spoken(parent):
        label, prediction = label or spoken.EXPECTED, prediction or spoken.ANSWER
    if label is None or prediction is None:
        missing = "--label" if label is None else "--prediction"
        raise InputError(locale.text("error.judge.no_column", file=parent, option=missing))
    return label, prediction, id


def read_subjects(
    sources: Sequence[Source],
    names: Sequence[str],
    columns: Mapping[str, Any],
    *,
    text: str | None = None,
) -> list[Subject]:
    """Read parent and candidates as subjects on the same rows; a file is its own artefact.

    sources, names: the parent's first. columns: the arguments of `load_predictions` by name; text:
    column of the parent's texts.
    """
    loaded = [
        load_predictions(
            source,
            **columns,
            name=name,
            candidate=place > 0,
            text_column=None if place else text,
        )
        for place, (source, name) in enumerate(zip(sources, names, strict=True))
    ]
    aligned = align(*loaded)
    first = aligned[0]
    parent = Candidate(first.name, "predictions", artefact_digest=first.digest, folder=first.file)
    subjects = [Subject(parent, first)]
    for one in aligned[1:]:
        candidate = Candidate(
            one.name,
            "predictions",
            parents=(parent.id,),
            # Two files of equal content are two candidates all the same.
            settings={"name": one.name},
            artefact_digest=one.digest,
            folder=one.file,
        )
        subjects.append(Subject(candidate, one))
    return subjects


def _asked(
    policy: Policy,
    parent: Predictions,
    prediction: str,
    score: str | Mapping[str, str] | None,
    intersections: int,
) -> str:
    """Return a digest of what is asked of the rows; see `question_digest`.

    Of the parent its answers count, whatever else its file holds.
    """
    scored = any("scores" in MEASURES[li.measure].needs for li in policy.limits)
    return question_digest(
        policy,
        parent=_answered(parent, scores=scored),
        unit=parent.unit,
        groups=parent.groups,
        intersections=intersections,
        prediction=prediction,
        positive=parent.positive,
        score=(dict(score) if isinstance(score, Mapping) else score) if scored else None,
    )


def _answered(parent: Predictions, *, scores: bool) -> str:
    """Return a digest of what was answered on which row, in any order where rows have ids."""
    import polars as pl

    names = pl.Series(_row_names(parent), dtype=pl.String)
    columns = {"row": names, "answer": pl.Series(parent.predicted)}
    if scores and parent.scores is not None:
        columns |= {
            f"score {k}": pl.Series(parent.scores[:, k]) for k in range(parent.scores.shape[1])
        }
    return digest_json([list(parent.classes), digest_frame(pl.DataFrame(columns).sort("row"))])


def _open(
    ledger: Ledger | None,
    asked: str,
    parent: Predictions,
    candidates: Sequence[Subject],
) -> OpeningState:
    hashes = row_hashes(_row_names(parent))
    return open_test(
        ledger,
        test_digest=parent.data_digest,
        rows_sketch=rows_sketch(hashes),
        candidates={s.candidate.id: s.candidate.artefact_digest for s in candidates},
        policy_digest=asked,
        nominated=[s.candidate.id for s in candidates],
    )


def _examples(subjects: Sequence[Subject], form: Form) -> tuple[Example, ...]:
    parent = subjects[0].predictions
    if parent.texts is None:
        return ()
    return choose_examples(parent, subjects[1:], parent.texts, form=form)


def _row_names(parent: Predictions) -> list[str]:
    """Names of the rows; without ids a row is known only as the n-th of this very test set."""
    if parent.ids is not None:
        return parent.ids.to_list()
    return [f"{parent.data_digest}/{place}" for place in range(len(parent))]


def _answers(subjects: Sequence[Subject]) -> AnswersTable:
    parent = subjects[0].predictions
    return answers_table(
        {s.candidate.id: s.predictions for s in subjects},
        _row_names(parent),
        named_by="position" if parent.ids is None else "id",
    )


def _are_files(*sources: Any) -> bool:
    return all(isinstance(source, Path | str) for source in sources)


def _names(sources: Sequence[Any]) -> list[str]:
    """Return a short name for each source: its file's; the path, or a number, where that repeats.

    >>> _names(["base.csv", "a/new.csv", "b/new.csv", "base.csv"])
    ['base', 'a/new.csv', 'b/new.csv', 'base (3)']
    """
    files = [isinstance(source, Path | str) for source in sources]
    stems = [
        Path(source).stem if file else (f"candidate {k}" if k else "parent")
        for k, (source, file) in enumerate(zip(sources, files, strict=True))
    ]
    names: list[str] = []
    for k, (source, stem) in enumerate(zip(sources, stems, strict=True)):
        paths = {str(s) for s, other in zip(sources, stems, strict=True) if other == stem}
        name = stem if len(paths) == 1 or not files[k] else str(source)
        names.append(f"{name} ({k})" if name in names else name)
    return names


def _run_id(asked: str, subjects: Sequence[Subject]) -> str:
    artefacts = [s.candidate.id for s in subjects]
    return digest_json([asked, *artefacts, subjects[0].predictions.data_digest])[:8]
