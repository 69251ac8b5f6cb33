"""An audit of predictions by group: any table that has them, no model and no parent.

Every number has its interval; limits of a policy are answered pass, fail or cannot tell. The table
is read in parts and counted, so that its size is of no account.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from shipworthy.core.errors import DataError, InputError, nearest
from shipworthy.core.locale import text
from shipworthy.core.progress import progress
from shipworthy.measure.audited import Answers
from shipworthy.measure.audited_numbers import Numbers
from shipworthy.measure.slices import crossings
from shipworthy.measure.tally import Counted, Roles, Tally, with_classes
from shipworthy.model.class_names import canonical_name, default_positive, in_order, unified
from shipworthy.release.audit_policy import decide
from shipworthy.release.audit_records import Audit, Task
from shipworthy.release.audit_rows import Found, found_of
from shipworthy.release.audit_source import Table, kept_values, table_of
from shipworthy.release.judgement import Phrase

if TYPE_CHECKING:
    from shipworthy.core.records import Decision, Outcome
    from shipworthy.release.policy import Policy

Provider: TypeAlias = Answers | Numbers

TASKS: tuple[Task, ...] = ("classification", "regression", "ranking")
MOST_CLASSES_EACH = 20
"""Classes that are each looked at against the rest; of more, only accuracy is compared."""


def audit(
    frame: Any,
    *,
    label: str | None = None,
    prediction: str | None = None,
    groups: Sequence[str],
    score: str | None = None,
    positive: str | None = None,
    weight: str | None = None,
    unit: str | None = None,
    reference: Mapping[str, str] | None = None,
    intersections: int = 1,
    confidence: float = 0.95,
    policy: Path | str | Policy | Sequence[Any] | Mapping[str, Any] | None = None,
    condition: str | None = None,
    features: Sequence[str] = (),
    task: Task = "classification",
    rank: str | None = None,
    top: int | None = None,
    first: Sequence[int] = (10, 100),
) -> Audit:
    """Audit predictions by group.

    frame: a Polars or pandas frame, a mapping of columns, or a file (Parquet, CSV, JSON Lines).
    label, prediction, groups, weight, unit, condition, features: columns. score: P(positive), for a
    ranking any number of which more is better. positive: the class of interest; of more than two
    classes each is looked at against the rest where none is named. reference: group column -> value
    that others are compared with. intersections: up to how many group columns are crossed.
    condition: column whose values make rows comparable. features: numeric columns that say which
    rows are alike. rank: column of places from 1, for a ranking. top: compare the most frequent
    values of a group column and leave the others out. first: lengths of the top of a ranking.
    Raises InputError (with file, row and column) where something does not fit.
    """
    table = table_of(frame)
    _check_arguments(label, prediction, score, rank, groups, task, confidence, intersections, top)
    if weight is not None and task == "ranking":
        raise InputError(text("error.audit.ranking_weight"))
    if policy is not None and task != "classification":
        raise InputError(text("error.audit.policy_task", task=task))
    columns = tuple(dict.fromkeys(groups))
    # A slice names its columns in the order of the alphabet, and so do crossings here.
    crossed = tuple(tuple(sorted(c)) for c in crossings(columns, intersections))
    if task == "ranking":
        from shipworthy.release.audit_ranking import ranking

        return ranking(
            table, columns, crossed, label=label, score=score, rank=rank, unit=unit,
            reference=reference or {}, positive=positive, confidence=confidence, first=first,
        )  # fmt: skip
    kept = {} if top is None else kept_values(table, columns, top)
    roles = Roles(
        columns, label, prediction, score, weight, unit, condition, numeric=task == "regression",
        kept=kept,
    )  # fmt: skip
    counted = count(table, roles)
    notes = list(_notes(counted, roles))
    asked = {c: canonical_name(v) for c, v in (reference or {}).items()}
    check_reference(table, counted, asked, columns)
    if task == "regression":
        found = found_of(Numbers(counted), crossed, confidence=confidence, reference=asked)
        return _audit(table, task, counted, found, crossed, roles, confidence, notes)
    counted, classes = _classes(table, counted, roles, positive)
    looked_at = _looked_at(table, counted, classes, roles, positive)
    notes += _notes_of_classes(counted, classes, roles)
    providers = [
        Answers(counted, classes, None if c is None else classes.index(c), label is not None)
        for c in looked_at
    ]
    parts = [
        found_of(
            p, crossed, confidence=confidence, reference=asked,
            name=c if len(looked_at) > 1 else None,
        )
        for p, c in zip(providers, looked_at, strict=True)
    ]  # fmt: skip
    found = Found.together(parts)
    if features:
        from shipworthy.release.audit_consistency import consistency

        found = found.with_whole(
            consistency(table, roles, features, looked_at[0], counted.rows, confidence)
        )
    decisions: tuple[Decision, ...] = ()
    verdict: Outcome | None = None
    if policy is not None:
        # Of several classes none is the one that limits look at: those on accuracy can be answered.
        one = providers[0] if len(providers) == 1 else replace(providers[0], positive=None)
        decisions, verdict = decide(policy, one, columns, crossed)
    named = looked_at[0] if len(looked_at) == 1 else None
    return _audit(
        table, task, counted, found, crossed, roles, confidence, notes,
        positive=named, classes=classes, decisions=decisions, verdict=verdict,
    )  # fmt: skip


def count(table: Table, roles: Roles) -> Counted:
    """Read and count all parts of a table, with progress on stderr for long ones."""
    tally = Tally(roles, table.name)
    shown = progress("audit", total=table.rows, unit="rows") if table.long else nullcontext()
    with shown as step:
        for part in table.parts(roles.columns):
            tally.add(part)
            if step is not None:
                step(part.num_rows)
    return tally.counted()


def _audit(
    table: Table, task: Task, counted: Counted, found: Found, crossed: tuple[tuple[str, ...], ...],
    roles: Roles, confidence: float, notes: list[Phrase], **more: Any,
) -> Audit:  # fmt: skip
    if roles.unit is None:
        notes.append(Phrase("judge.note.independent"))
    return Audit(
        name=table.name, task=task, rows=counted.rows, whole=found.whole, slices=found.slices,
        comparisons=found.comparisons, confidence=confidence, attributes=crossed, unit=roles.unit,
        weighted=roles.weight is not None, notes=tuple(notes), columns=_named(roles), **more,
    )  # fmt: skip


def _named(roles: Roles) -> dict[str, str]:
    named = {
        "label": roles.label, "prediction": roles.prediction, "score": roles.score,
        "weight": roles.weight, "unit": roles.unit, "condition": roles.condition,
    }  # fmt: skip
    return {k: v for k, v in named.items() if v is not None}


def _check_arguments(
    label: str | None, prediction: str | None, score: str | None, rank: str | None,
    groups: Sequence[str], task: str, confidence: float, intersections: int, top: int | None,
) -> None:  # fmt: skip
    if task not in TASKS:
        raise InputError(text("error.audit.task", task=task, hint=nearest(task, TASKS)))
    if isinstance(groups, str) or not groups:
        raise InputError(text("error.audit.no_groups"))
    if not 0.5 <= confidence < 1:
        raise InputError(text("error.audit.confidence", confidence=confidence))
    if intersections < 1:
        raise InputError(text("error.audit.intersections", intersections=intersections))
    if top is not None and top < 2:
        raise InputError(text("error.audit.top", top=top))
    if task == "ranking":
        if (score is None) == (rank is None):
            raise InputError(text("error.audit.ranking"))
    elif prediction is None:
        raise InputError(text("error.audit.no_prediction"))
    elif task == "regression" and label is None:
        raise InputError(text("error.audit.no_label"))


def check_reference(
    table: Table, counted: Counted, asked: Mapping[str, str], columns: Sequence[str]
) -> None:
    """Raise where a reference is of no group column, or no row has it."""
    for column, value in asked.items():
        if column not in columns:
            raise InputError(
                text("error.audit.reference_column", column=column, hint=nearest(column, columns))
            )
        known = [n for n in counted.cells.levels[column] if n is not None]
        if value not in known:
            raise DataError(
                text("error.audit.reference", value=value),
                file=table.name,
                column=column,
                fix=nearest(value, known),
            )


def _classes(
    table: Table, counted: Counted, roles: Roles, positive: str | None
) -> tuple[Counted, tuple[str, ...]]:
    """Give labels and predictions codes into the same classes."""
    seen = {str(n) for key in ("label", "prediction") for n in counted.names.get(key, ())}
    asked = {canonical_name(positive)} if positive else set()
    renames = unified(seen | asked)
    classes = in_order(renames.get(c, c) for c in seen)
    decimal = [c for c in classes if _is_decimal(c)]
    if decimal:
        raise DataError(
            text("error.audit.decimal", value=decimal[0]),
            file=table.name,
            column=roles.prediction,
            fix=text("error.audit.decimal.fix"),
        )
    return with_classes(counted, renames, classes), classes


def _is_decimal(name: str) -> bool:
    try:
        return not float(name).is_integer()
    except (ValueError, OverflowError):
        return False


def _looked_at(
    table: Table, counted: Counted, classes: tuple[str, ...], roles: Roles, positive: str | None
) -> tuple[str | None, ...]:
    """Return the classes that are each looked at against the rest; (None,) for accuracy alone."""
    column = roles.label or roles.prediction
    if positive is not None:
        name = canonical_name(positive)
        name = {"true": "1", "false": "0"}.get(name, name) if name not in classes else name
        if name not in classes:
            raise DataError(
                text("error.predictions.no_positive", positive=positive),
                file=table.name, column=column, fix=nearest(name, classes),
            )  # fmt: skip
        return (name,)
    found = default_positive(classes) if len(classes) <= 2 else None
    if found is not None:
        return (found,)
    if len(classes) <= 2 or counted.scored is not None:
        key = "which_positive" if len(classes) == 2 else "positive_of"
        raise DataError(
            text(f"error.audit.{key}", number=len(classes)), file=table.name, column=column,
            fix=text("error.audit.which_positive.fix", classes=", ".join(classes[:10])),
        )  # fmt: skip
    return classes if len(classes) <= MOST_CLASSES_EACH else (None,)


def _notes(counted: Counted, roles: Roles) -> list[Phrase]:
    notes = [
        Phrase("audit.note.left_out", {"column": c, "rows": f"{n:,}"})
        for c, n in counted.left_out.items()
    ]
    if not counted.exact:
        notes.append(Phrase("audit.note.binned", {"rows": f"{counted.rows:,}"}))
    return notes


def _notes_of_classes(counted: Counted, classes: tuple[str, ...], roles: Roles) -> list[Phrase]:
    if roles.label is None:
        return [Phrase("audit.note.no_label")]
    notes = []
    cells = counted.cells
    held = {k: set(cells.keys[k].tolist()) for k in ("label", "prediction")}
    for key, other in (("prediction", "label"), ("label", "prediction")):
        alone = [classes[c] for c in sorted(held[key] - held[other])]
        if alone:
            notes.append(Phrase(f"audit.note.only_{key}", {"names": ", ".join(alone)}))
    if len(classes) > MOST_CLASSES_EACH:
        notes.append(Phrase("audit.note.many_classes", {"number": len(classes)}))
    return notes
