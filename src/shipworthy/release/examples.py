"""Rows whose answer changed, a few of each candidate, for the report.

Rows are drawn by a fixed seed, spread over groups, never by a score: a reader sees what a change
looks like, not the worst or the best of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias, cast, get_args

import numpy as np

from shipworthy.core.digest import digest_bytes
from shipworthy.core.errors import InputError, nearest
from shipworthy.core.locale import text
from shipworthy.release.judgement import Example
from shipworthy.release.mask import excerpt, mask

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from shipworthy.model.predictions import Predictions
    from shipworthy.release.ruler import Subject

Form: TypeAlias = Literal["none", "deidentified", "raw"]

TURNED_WRONG = 5
"""Most examples of a candidate that were right before."""

TURNED_RIGHT = 3
"""Most examples of a candidate that are right now."""


def choose_examples(
    parent: Predictions, candidates: Sequence[Subject], texts: pl.Series, *, form: Form
) -> tuple[Example, ...]:
    """Return rows of each candidate that turned wrong or right against the parent.

    texts: of the parent's rows, in their order. form: `none` gives none, `deidentified` masks what
    `mask` finds.
    The same answers give the same rows.
    """
    if form == "none":
        return ()
    assert parent.labels is not None  # aligned predictions have the parent's
    before = parent.predicted == parent.labels
    found: list[Example] = []
    for subject in candidates:
        after = subject.predictions.predicted == parent.labels
        generator = np.random.default_rng(int(parent.data_digest[:12], 16))
        for turned, most in ((before & ~after, TURNED_WRONG), (~before & after, TURNED_RIGHT)):
            rows = _spread(np.flatnonzero(turned), parent, most, generator)
            found += _shown(rows, parent, subject, texts, form)
    return tuple(found)


def form_of(asked: str | None, column: str | None) -> Form:
    """Return the form of examples that was asked for; None asks for masked ones.

    column: with the texts, or None. Raises InputError for another form, or one without texts.
    """
    forms = get_args(Form)
    if asked is not None and asked not in forms:
        raise InputError(text("error.examples.form", form=asked, fix=nearest(asked, forms)))
    if column is None:
        if asked not in (None, "none"):
            raise InputError(text("error.examples.no_text", form=asked))
        return "none"
    return cast("Form", asked or "deidentified")


def _spread(
    rows: NDArray[np.int64], parent: Predictions, most: int, generator: np.random.Generator
) -> list[int]:
    """Draw rows at random, one of each value of the first group column in turn."""
    drawn: list[int] = generator.permutation(rows).tolist()
    if not parent.groups or len(drawn) <= most:
        return sorted(drawn[:most])
    by_value: dict[object, list[int]] = {}
    values = parent.frame[parent.groups[0]].gather(drawn).to_list()
    for row, value in zip(drawn, values, strict=True):
        by_value.setdefault(value, []).append(row)
    turns = max(map(len, by_value.values()))
    in_turn = [own[turn] for turn in range(turns) for own in by_value.values() if turn < len(own)]
    return sorted(in_turn[:most])


def _shown(
    rows: Sequence[int], parent: Predictions, subject: Subject, texts: pl.Series, form: Form
) -> Iterator[Example]:
    assert parent.labels is not None
    masked, classes = form == "deidentified", parent.classes
    for row in rows:
        yield Example(
            candidate=subject.candidate.id,
            row=row_name(parent, row, masked=masked),
            text=excerpt(texts[row] or "", masked=masked),
            label=classes[parent.labels[row]],
            before=classes[parent.predicted[row]],
            after=classes[subject.predictions.predicted[row]],
            groups=_groups(parent, row),
            masked=masked,
        )


def row_name(parent: Predictions, row: int, *, masked: bool) -> str:
    """Return the id of a row; where there is none that may be shown, 16 digits of a hash.

    The hash is of the place in the test set: one of an id could be found by trying ids.
    """
    name = parent.ids[row] if parent.ids is not None else None
    if name is not None and not (masked and mask(name) != name):
        return excerpt(name, masked=False)
    return digest_bytes(f"{parent.data_digest}/{row}".encode())[:16]


def _groups(parent: Predictions, row: int) -> Mapping[str, str]:
    """Return the groups of a row as text, a missing one left out."""
    values = {column: parent.frame[column][row] for column in parent.groups}
    return {
        column: str(value).lower() if isinstance(value, bool) else str(value)
        for column, value in values.items()
        if value is not None
    }
