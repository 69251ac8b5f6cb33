"""A file of predictions as a model: what it answered on the rows of a test set.

`load_predictions` reads one file and checks every value in it; `align` brings candidates into the
parent's row order and gives all of them the same classes. Rows pair by an id column, or by position
where count and labels agree. Labels, groups and units always come from the parent.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from shipworthy.core.errors import DataError, nearest
from shipworthy.core.locale import text
from shipworthy.model.class_names import canonical_name, default_positive, in_order, unified
from shipworthy.model.pairing import paired_rows
from shipworthy.model.prediction_columns import PredictionColumns, check_classes
from shipworthy.model.spoken import RIGHT, WRONG, form_of_answers, row_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl
    from numpy.typing import NDArray

    IntArray: TypeAlias = NDArray[np.int64]
    FloatArray: TypeAlias = NDArray[np.float64]

AnswerForm: TypeAlias = Literal["class", "right", "likelihood", "number"]

SUM_TOLERANCE = 0.01
"""How far the scores of a row may be from 1 (rounded files); they are then divided by their sum."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Answers of one model on n rows.

    classes: names in canonical form, k of them. labels and predicted: codes into `classes`, shape
    (n,); labels is None for a candidate's file without them. scores: shape (n, s) in [0, 1], one
    column for each class in `scored` (one column alone: of two classes), or None.
    frame: the group and unit columns, n rows, of the parent once aligned.
    digest: of the whole file, all columns in order. texts: n, where they were asked for.
    values: numbers of each row by name, shape (n,): losses and scores of a language model; label
    and prediction of a model of numbers. form: what an answer is: a class; right or wrong
    (`classes` are these two); nothing but a likelihood; a number. Of the last two, labels are 0.
    """

    name: str
    file: str
    classes: tuple[str, ...]
    positive: str | None
    labels: IntArray | None
    predicted: IntArray
    scores: FloatArray | None
    scored: tuple[str, ...]
    frame: pl.DataFrame
    ids: pl.Series | None
    label: str
    id: str | None
    groups: tuple[str, ...]
    unit: str | None
    digest: str = field(default="", repr=False)
    texts: pl.Series | None = field(default=None, repr=False)
    values: Mapping[str, FloatArray] = field(default_factory=dict, repr=False)
    form: AnswerForm = "class"

    def has(self, needs: Sequence[str]) -> bool:
        """Say whether the answers are of the form that a measure needs: answers, classes."""
        if "classes" in needs:
            return self.form == "class"
        return "answers" not in needs or self.form in ("class", "right")

    def __len__(self) -> int:
        return len(self.predicted)

    @cached_property
    def probabilities(self) -> FloatArray | None:
        """Probability of each class, shape (n, k), rows sum to 1; None without scores."""
        if self.scores is None:
            return None
        out = np.zeros((len(self), len(self.classes)))
        columns = [self.classes.index(name) for name in self.scored]
        out[:, columns] = self.scores
        if len(columns) == 1:
            out[:, 1 - columns[0]] = 1.0 - self.scores[:, 0]
        return out

    @cached_property
    def data_digest(self) -> str:
        """Digest of the test set itself, the same whatever model answered and groups are looked at.

        With ids it is of the pairs of id and label, in any order; else of the labels in file order.
        """
        import polars as pl

        assert self.labels is not None
        if self.form == "number":
            return rows_digest(pl.Series(self.values["label"]).cast(pl.String), self.ids)
        names = pl.Series("label", np.array(self.classes, dtype=object)[self.labels], pl.String)
        return rows_digest(names, self.ids)


def rows_digest(labels: pl.Series, ids: pl.Series | None) -> str:
    """Return the digest of a set of labelled rows; see `Predictions.data_digest`."""
    import polars as pl

    from shipworthy.core.digest import digest_frame

    if ids is None:
        return digest_frame(labels.alias("label").to_frame())
    return digest_frame(pl.DataFrame({"id": ids, "label": labels}).sort("id"))


def load_predictions(
    source: Path | str | pl.DataFrame,
    *,
    label: str,
    prediction: str,
    score: str | Mapping[str, str] | None = None,
    id: str | None = None,
    positive: str | None = None,
    groups: Sequence[str] = (),
    unit: str | None = None,
    name: str = "",
    candidate: bool = False,
    text_column: str | None = None,
) -> Predictions:
    """Read and check a file (or frame) of predictions, or the log of an evaluation tool.

    score: the column with P(positive) of two classes, or {class: column} for any number of classes.
    candidate: label, group and unit columns may be absent; without labels an id column is needed.
    text_column: texts to keep; they change nothing else.
    Raises DataError naming file, row and column: no rows, unknown column, missing label,
    prediction, unit or id, an id twice, a score that is no probability, one class only, no known
    positive class.
    """
    import polars as pl

    from shipworthy.core.digest import digest_frame

    if isinstance(source, pl.DataFrame):
        file, table = name or "predictions", source
    else:
        from shipworthy.model.evaluation_logs import read_answers_table, recognise, score_columns

        file, table = str(source), read_answers_table(source)
        if score is None and recognise(source) is not None:
            score = score_columns(table) or None
    if table.height == 0:
        raise DataError(text("error.predictions.no_rows"), file=file)
    reader = PredictionColumns(table, file)
    wanted = tuple(dict.fromkeys(groups))
    columns = dict.fromkeys([*wanted, *([unit] if unit else [])])
    kept = [c for c in columns if not candidate or c in table.columns]
    for column in kept:
        reader.column(column)
    if unit in kept:
        reader.complete(table[unit], unit, "unit")
    ids = reader.ids(id) if id else None
    named = None
    if not candidate or label in table.columns:
        named = reader.names(label, "label")
    elif ids is None:
        raise DataError(
            text("error.table.no_column"),
            file=file,
            column=label,
            fix=text("error.predictions.no_label.fix", meant=nearest(label, table.columns)),
        )
    answers = reader.names(prediction, "prediction")
    scores, scored = reader.scores(score)

    label_names = set(named.unique().to_list()) if named is not None else set()
    seen = label_names | set(answers.unique().to_list()) | set(scored)
    renames = unified(seen | ({canonical_name(positive)} if positive else set()))
    if renames:
        answers = answers.replace(renames)
        named = named.replace(renames) if named is not None else None
        scored = tuple(renames.get(c, c) for c in scored)
        seen, label_names = ({renames.get(c, c) for c in s} for s in (seen, label_names))
    form = form_of_answers(label_names, answers.unique().to_list())
    if named is not None and form == "class":
        check_classes(label_names, answers, file, label, prediction)
    classes = in_order(seen | ({RIGHT, WRONG} if form == "right" else set()))
    plain = form == "class"
    strict = named is not None
    chosen = _positive(classes, positive, file, label, strict=strict) if plain else None
    if isinstance(score, str):
        scored = (chosen,) if chosen else ()
    return _checked_scores(
        Predictions(
            name=name or Path(file).stem,
            file=file,
            classes=classes,
            positive=chosen,
            labels=_codes(named, classes) if named is not None else None,
            predicted=_codes(answers, classes),
            scores=scores,
            scored=scored,
            frame=table.select(kept),
            ids=ids,
            label=label,
            id=id,
            groups=wanted,
            unit=unit,
            digest=digest_frame(table),
            texts=_texts(reader, text_column) if text_column else None,
            values=row_values(table, file),
            form=form,
        ),
        final=not candidate,
    )


def _texts(reader: PredictionColumns, column: str) -> pl.Series:
    import polars as pl

    return reader.column(column).cast(pl.String).fill_null("")


def align(parent: Predictions, *candidates: Predictions) -> tuple[Predictions, ...]:
    """Return parent and candidates on the same rows, in the parent's order, with the same classes.

    Each result carries the parent's labels, ids, frame and positive class; `file`, `name` and
    `digest` stay its own.
    Raises DataError naming file, row or id, and column where rows are missing, superfluous or carry
    another label, or, by position, another group.
    """
    if parent.labels is None:
        raise DataError(
            text("error.predictions.parent_labels"), file=parent.file, column=parent.label
        )
    everyone = (parent, *candidates)
    renames = unified(c for p in everyone for c in p.classes)
    classes = in_order(renames.get(c, c) for p in everyone for c in p.classes)
    base = _recoded(parent, classes, renames)
    if base.positive is None and len(classes) == 2 and base.form == "class":
        base = replace(base, positive=_positive(classes, None, base.file, base.label, strict=True))
    aligned = [_checked_scores(base, final=True)]
    for one in candidates:
        other = _recoded(one, classes, renames)
        order = paired_rows(base, other)
        scores = other.scores
        if scores is not None and not other.scored and base.positive:
            other = replace(other, scored=(base.positive,))
        aligned.append(
            _checked_scores(
                replace(
                    other,
                    positive=base.positive,
                    labels=base.labels,
                    predicted=other.predicted[order],
                    scores=scores[order] if scores is not None else None,
                    values={name: v[order] for name, v in other.values.items()},
                    frame=base.frame,
                    ids=base.ids,
                    groups=base.groups,
                    unit=base.unit,
                ),
                final=True,
            )
        )
    return tuple(aligned)


def _codes(names: pl.Series, classes: tuple[str, ...]) -> IntArray:
    import polars as pl

    return names.cast(pl.Enum(classes)).to_physical().to_numpy().astype(np.int64)


def _positive(
    classes: tuple[str, ...], positive: str | None, file: str, label: str, *, strict: bool
) -> str | None:
    if positive is not None:
        name = canonical_name(positive)
        name = {"true": "1", "false": "0"}.get(name, name) if name not in classes else name
        if strict and name not in classes:
            raise DataError(
                text("error.predictions.no_positive", positive=positive),
                file=file,
                column=label,
                fix=nearest(name, classes),
            )
        return name
    found = default_positive(classes) if len(classes) <= 2 else None
    if strict and found is None and len(classes) == 2:
        raise DataError(
            text("error.predictions.which_positive"),
            file=file,
            column=label,
            fix=text("error.predictions.which_positive.fix", classes=", ".join(classes)),
        )
    return found


def _checked_scores(one: Predictions, *, final: bool) -> Predictions:
    """Check scores against classes; a candidate's are final only beside its parent."""
    if one.scores is None or not final:
        return one
    listed = ", ".join(one.classes)
    if len(one.scored) <= 1 and len(one.classes) != 2:
        raise DataError(
            text("error.predictions.score_classes", number=len(one.classes), listed=listed),
            file=one.file,
            fix=text("error.predictions.score_classes.fix"),
        )
    if len(one.scored) == 1:
        return one
    lacking = sorted(set(one.classes) - set(one.scored))
    answered = set(np.unique(one.predicted).tolist())
    labelled = set(np.unique(one.labels).tolist()) if one.labels is not None else set()
    needed = [c for c in lacking if one.classes.index(c) in answered | labelled]
    if needed:
        raise DataError(
            text("error.predictions.no_score", name=needed[0]),
            file=one.file,
            fix=text("error.predictions.no_score.fix", name=needed[0], listed=listed),
        )
    total = one.scores.sum(axis=1)
    off = np.flatnonzero(np.abs(total - 1.0) > SUM_TOLERANCE)
    if len(off):
        raise DataError(
            text("error.predictions.sum", total=total[off[0]], rows=len(off)),
            file=one.file,
            row=int(off[0]) + 1,
            fix=text("error.predictions.sum.fix"),
        )
    return replace(one, scores=one.scores / total[:, None])


def _recoded(one: Predictions, classes: tuple[str, ...], renames: Mapping[str, str]) -> Predictions:
    """Return the predictions with codes into `classes`."""
    table = np.array([classes.index(renames.get(c, c)) for c in one.classes], dtype=np.int64)
    positive = one.positive
    return replace(
        one,
        classes=classes,
        positive=renames.get(positive, positive) if positive else None,
        labels=table[one.labels] if one.labels is not None else None,
        predicted=table[one.predicted],
        scored=tuple(renames.get(c, c) for c in one.scored),
    )
