"""From answers and texts to the forgotten list of each candidate, in a form that may be shown.

Words of texts are personal data as texts are: without examples there are none, and in masked form a
word is shown only where most of its texts, masked, still show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from shipworthy.measure.effective import MIN_ROWS
from shipworthy.measure.forgotten import Cut, Cuts, SliceLoss, length_cut, losses
from shipworthy.measure.ngrams import LONGEST, grams, words
from shipworthy.measure.scripts import SCRIPTS, scripts
from shipworthy.measure.slices import unit_codes
from shipworthy.release.examples import Form, row_name
from shipworthy.release.forgotten_records import Forgotten, ForgottenRow, ForgottenSlice
from shipworthy.release.mask import excerpt, mask

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from shipworthy.measure.ngrams import Grams
    from shipworthy.model.predictions import Predictions
    from shipworthy.release.ruler import Subject

MOST_ROWS = 20
"""Rows of a candidate that are kept."""

MOST_VALUES = 50
"""Values of a column beyond which it makes no slices: names and numbers are no sources."""

LONGEST_VALUE = 64
"""Characters of a value beyond which a column holds texts, not names of slices."""

_LOOKED_AT = 200
"""Texts of a word that are masked to see whether it may be shown."""

_MARGIN = 320
"""Characters beyond those that words are read from, so that no identifier is cut in two."""


def forgotten_lists(
    parent: Predictions,
    candidates: Sequence[Subject],
    texts: pl.Series | None,
    *,
    form: Form,
    further: pl.DataFrame | None = None,
    confidence: float = 0.95,
) -> tuple[Forgotten, ...]:
    """Return what each candidate forgot of what its parent knew.

    texts: of the parent's rows, in their order, or None; form: how they may be shown. further:
    columns of the same rows that may hold sources; those that hold anything else are left out.
    Nothing is returned where answers are likelihoods or numbers, neither right nor wrong.
    """
    if parent.form in ("likelihood", "number"):
        return ()
    assert parent.labels is not None  # aligned predictions have the parent's
    cuts = _cuts(parent, texts, form, further)
    before = parent.predicted == parent.labels
    found = []
    for subject in candidates:
        after = subject.predictions.predicted == parent.labels
        told = losses(cuts, before, after, confidence=confidence)
        name = subject.candidate.id
        shown = [_slice(name, one, _Shown(cuts.grams, texts, form)) for one in told.slices]
        lost = np.flatnonzero(before & ~after)
        found.append(
            Forgotten(
                candidate=name,
                turned_wrong=len(lost),
                turned_right=int((after & ~before).sum()),
                scored=parent.scores is not None,
                tested=told.tested,
                words_in=0 if cuts.grams is None else len(cuts.grams.rows),
                rows=_rows(lost, parent, subject, texts, form),
                slices=tuple(shown),
            )
        )
    return tuple(found)


def further_columns(rows: pl.DataFrame, known: Sequence[str | None]) -> pl.DataFrame:
    """Return the columns that may hold sources: names of few values that nobody named yet.

    known: columns with a meaning of their own. Not for files of predictions: a column that says
    whether the parent was right would stand out, and mean nothing.
    """
    import polars as pl

    kinds = (pl.String, pl.Boolean)
    names = [c for c in rows.columns if c not in known and rows.schema[c] in kinds]
    kept = []
    for name in names:
        values = rows[name].drop_nulls().unique()
        longest = values.cast(pl.String).str.len_chars().max()
        if 2 <= len(values) <= MOST_VALUES and (longest or 0) <= LONGEST_VALUE:  # type: ignore[operator]
            kept.append(name)
    return rows.select(kept)


# -- slices --------------------------------------------------------------------------------------


def _cuts(
    parent: Predictions, texts: pl.Series | None, form: Form, further: pl.DataFrame | None
) -> Cuts:
    assert parent.labels is not None
    n, found, vocabulary = len(parent), [], None
    if parent.form == "class":
        found.append(Cut("label", parent.classes, parent.labels))
    if texts is not None and n:
        found.append(length_cut(texts.str.len_chars().to_numpy().astype(np.int64)))
        found.append(Cut("script", SCRIPTS, scripts(texts)))
        if form != "none":
            seed = int(parent.data_digest[:12], 16)
            vocabulary = grams(texts, least=MIN_ROWS, seed=seed)
    for name in () if further is None else further.columns:
        found.append(_column_cut(name, further[name]))  # type: ignore[index]
    units = None if parent.unit is None else unit_codes(parent.frame[parent.unit])
    return Cuts(n, tuple(found), vocabulary, units)


def _column_cut(name: str, values: pl.Series) -> Cut:
    import polars as pl

    named = values.cast(pl.String)
    known = sorted(named.drop_nulls().unique().to_list())
    codes = named.cast(pl.Enum(known)).to_physical().cast(pl.Int64).fill_null(-1)
    return Cut(f"column {name}", tuple(known), codes.to_numpy())


class _Shown:
    """What may be shown of a word."""

    def __init__(self, vocabulary: Grams | None, texts: pl.Series | None, form: Form) -> None:
        self.vocabulary, self.texts, self.form = vocabulary, texts, form

    def word(self, name: str) -> str:
        """Return a word or pair; the sign of what was masked where it is part of that."""
        if self.form == "raw":
            return name
        assert self.vocabulary is not None and self.texts is not None
        import polars as pl

        rows = self.vocabulary.of(self.vocabulary.names.index(name))[:_LOOKED_AT]
        heads = self.texts.gather(rows).str.slice(0, LONGEST + _MARGIN).to_list()
        masked = words(pl.Series([mask(t) for t in heads]))
        wanted = words(pl.Series([name]))[0].to_list()
        kept = sum(_holds(one, wanted) for one in masked.to_list())
        return name if 2 * kept > len(rows) else "[…]"


def _holds(tokens: Sequence[str], wanted: Sequence[str]) -> bool:
    size = len(wanted)
    return any(tokens[k : k + size] == wanted for k in range(len(tokens) - size + 1))


def _slice(candidate: str, one: SliceLoss, shown: _Shown) -> ForgottenSlice:
    kind, _, column = one.kind.partition(" ")
    name = one.name
    if kind == "words":
        name = shown.word(name)
    elif kind == "column":
        name = excerpt(name, masked=shown.form != "raw")
    return ForgottenSlice(
        candidate=candidate,
        kind=kind,
        column=column,
        name=name,
        n=one.n,
        n_units=one.units,
        turned_wrong=one.turned_wrong,
        turned_right=one.turned_right,
        change=one.value,
        low=one.low,
        high=one.high,
        p=one.p,
        p_adjusted=one.p_adjusted,
        found=one.found,
        alike="\n".join(dict.fromkeys(shown.word(word) for word in one.alike)),
    )


# -- rows ----------------------------------------------------------------------------------------


def _rows(
    lost: NDArray[np.int64],
    parent: Predictions,
    subject: Subject,
    texts: pl.Series | None,
    form: Form,
) -> tuple[ForgottenRow, ...]:
    """Return the rows that turned wrong of which the parent was surest; else the first ones."""
    assert parent.labels is not None
    sure = np.full(len(lost), np.nan)
    if parent.probabilities is not None:
        sure = parent.probabilities[lost, parent.predicted[lost]]
        order = np.argsort(-sure, kind="stable")
        lost, sure = lost[order], sure[order]
    masked = form != "raw"
    return tuple(
        ForgottenRow(
            row=row_name(parent, row, masked=masked),
            sure=probability,
            label=parent.classes[parent.labels[row]],
            after=parent.classes[subject.predictions.predicted[row]],
            text=""
            if texts is None or form == "none"
            else excerpt(texts[row] or "", masked=masked),
        )
        for row, probability in zip(
            lost[:MOST_ROWS].tolist(), sure[:MOST_ROWS].tolist(), strict=True
        )
    )
