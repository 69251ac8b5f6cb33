"""Which columns of a table a model sees, what kind each is, and what stays out.

Columns that groups are measured by never become features unless the settings ask for it. That does
not hide the groups: other columns tell of them (`proxies` says how much).

Each row is also written out as JSON of its features, in the column `ROW_TEXT`: what a request to a
served model would send, and what stands for the row where texts stand for others.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from shipworthy.core.errors import DataError, nearest
from shipworthy.core.locale import text
from shipworthy.data.sources import require_columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl
    from numpy.typing import NDArray

    from shipworthy.data.settings import DataSettings

    Codes: TypeAlias = NDArray[np.int64]

ROW_TEXT = "__row__"
"""Column of the features of a row as JSON."""

NEARLY_NUMBERS = 0.9
"""Share of numbers among texts from which the others are taken for mistakes."""

LEAST_NAMED = 20
"""Rows from which a column that never repeats itself is taken for names of rows."""

BINS = 10
"""Quantiles that numbers are cut into to see what they tell of groups."""

Reason: TypeAlias = Literal["names_rows", "empty", "kind"]


@dataclass(frozen=True)
class Features:
    """What the model of a table sees.

    numbers, categories: names of columns. left_out: column -> why it is no feature though nobody
    said so. named_rows: features that have another value in nearly each row, and were asked for.
    sensitive: group columns among the features. proxies: group column -> the features that tell
    most of it, with Cramér's V in [0, 1].
    """

    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    left_out: Mapping[str, Reason] = field(default_factory=dict)
    named_rows: tuple[str, ...] = ()
    sensitive: tuple[str, ...] = ()
    proxies: Mapping[str, Sequence[tuple[str, float]]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """All features: numbers first."""
        return (*self.numbers, *self.categories)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    @staticmethod
    def of(values: Mapping[str, Any]) -> Features:
        """Return what `to_dict` gave."""
        texts = ("numbers", "categories", "named_rows", "sensitive")
        lists = {name: tuple(values[name]) for name in texts}
        return Features(**lists, left_out=values["left_out"], proxies=values["proxies"])


def candidate_columns(columns: Sequence[str], settings: DataSettings) -> list[str]:
    """Return the columns that may become features, in the order of the settings or the file."""
    if settings.features:
        return list(settings.features)
    allowed = () if settings.sensitive is None else settings.sensitive.use
    purposes = {settings.label, settings.id, settings.unit, *settings.ignore, ROW_TEXT}
    purposes |= set(settings.groups) - set(allowed)
    return [name for name in columns if name not in purposes]


def as_table(frame: pl.DataFrame, settings: DataSettings, source: str) -> pl.DataFrame:
    """Return a source's rows with the features in the form of their kind, and `ROW_TEXT`.

    Numbers stay numbers, categories become text, NaN is missing.
    Raises DataError naming file, row and column for an unknown column, an infinite number, and a
    text where a number is expected.
    """
    names = candidate_columns(frame.columns, settings)
    require_columns(frame, [*settings.features, *settings.ignore, *settings.kinds], source)
    for name in settings.kinds:
        if name not in names:
            raise DataError(
                text("error.tables.no_feature"), file=source, column=name,
                fix=nearest(name, names),
            )  # fmt: skip
    columns = [_in_form(frame[name], settings.kinds.get(name), source) for name in names]
    known = [c.name for c in columns if _kind(c) is not None]
    for column in columns if settings.features else ():
        if column.name not in known:
            raise _no_kind(column, source)
    if not known:
        fix = text("error.tables.no_features.fix")
        raise DataError(text("error.tables.no_features"), file=source, fix=fix)
    return with_row_text(frame.with_columns(columns), known)


def with_row_text(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Return the frame with `ROW_TEXT` made of these columns."""
    import polars as pl

    return frame.with_columns(pl.struct(names).struct.json_encode().alias(ROW_TEXT))


def same_kinds(parts: Mapping[str, pl.DataFrame], sources: Mapping[str, str]) -> None:
    """Raise DataError where a column is numbers in the rows to train on and text elsewhere."""
    for name, values in ((c, parts["train"][c]) for c in parts["train"].columns):
        for split, part in parts.items():
            if name not in part.columns or not values.dtype.is_numeric():
                continue
            if part[name].dtype.is_numeric() or not part[name].count():
                continue
            _numbers(part[name], sources[split])


def choose_features(
    frame: pl.DataFrame, train: pl.DataFrame, settings: DataSettings, source: str
) -> Features:
    """Return the features of checked rows, by what stands in those to train on.

    Raises DataError where a column that was asked for holds nothing, and where none is left.
    """
    numbers: list[str] = []
    categories: list[str] = []
    named: list[str] = []
    left_out: dict[str, Reason] = {}
    asked = bool(settings.features)
    for name in candidate_columns(frame.columns, settings):
        kind = _kind(frame[name])
        empty = not train[name].count()
        if kind is None or empty:
            if asked:
                raise DataError(
                    text("error.tables.empty"), file=source, column=name,
                    fix=text("error.tables.empty.fix"),
                )  # fmt: skip
            left_out[name] = "empty" if empty else "kind"
        elif _names_rows(frame[name]) and not asked:
            left_out[name] = "names_rows"
        else:
            named += [name] if _names_rows(frame[name]) else []
            (numbers if kind == "number" else categories).append(name)
    if not numbers and not categories:
        fix = text("error.tables.no_features.fix")
        raise DataError(text("error.tables.no_features"), file=source, fix=fix)
    chosen = [*numbers, *categories]
    return Features(
        numbers=tuple(numbers),
        categories=tuple(categories),
        left_out=left_out,
        named_rows=tuple(named),
        sensitive=tuple(name for name in settings.groups if name in chosen),
        proxies=proxies(train, chosen, settings.groups),
    )


def proxies(
    frame: pl.DataFrame, features: Sequence[str], groups: Sequence[str], *, most: int = 3
) -> dict[str, list[tuple[str, float]]]:
    """Return the features that tell most of each group column: Cramér's V, corrected for chance.

    Numbers are cut into `BINS` quantiles. V is that of Bergsma (2013): 0 where a feature tells
    nothing of the group beyond chance, 1 where it tells all.
    """
    found: dict[str, list[tuple[str, float]]] = {}
    codes = {name: _codes(frame[name]) for name in features}
    for group in groups:
        column = _codes(frame[group])
        told = [(n, round(cramers_v(c, column), 3)) for n, c in codes.items() if n != group]
        found[group] = sorted(told, key=lambda one: (-one[1], one[0]))[:most]
    return found


def cramers_v(first: Codes, second: Codes) -> float:
    """Return Cramér's V of two columns of codes, bias-corrected (Bergsma 2013, eq. 8); in [0, 1].

    >>> round(cramers_v(np.array([0, 1] * 50), np.array([0, 1] * 50)), 3)
    1.0
    """
    n, rows, columns = len(first), int(first.max(initial=0)) + 1, int(second.max(initial=0)) + 1
    if n < 2 or rows < 2 or columns < 2:
        return 0.0
    table = np.bincount(first * columns + second, minlength=rows * columns).reshape(rows, columns)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / n
    phi = float(((table - expected) ** 2 / np.maximum(expected, 1e-12)).sum()) / n
    phi = max(0.0, phi - (rows - 1) * (columns - 1) / (n - 1))
    shorter = min(rows - (rows - 1) ** 2 / (n - 1), columns - (columns - 1) ** 2 / (n - 1))
    return min(1.0, float(np.sqrt(phi / (shorter - 1)))) if shorter > 1 else 0.0


def _codes(values: pl.Series) -> Codes:
    """Return dense codes of the values; missing is one of them, numbers are cut into quantiles."""
    import polars as pl

    if values.dtype.is_numeric() and values.n_unique() > BINS:
        numbers = values.cast(pl.Float64).to_numpy()
        edges = np.unique(np.nanquantile(numbers, np.linspace(0, 1, BINS + 1)[1:-1]))
        cut = np.searchsorted(edges, numbers, side="right")
        cut = np.where(np.isnan(numbers), len(edges) + 1, cut)
    else:
        cut = values.rank("dense").fill_null(0).to_numpy()
    dense: Codes = np.unique(cut, return_inverse=True)[1].astype(np.int64)
    return dense


def _kind(values: pl.Series) -> Literal["number", "category"] | None:
    """Return the kind of a column in its form; None where it can be no feature."""
    import polars as pl

    if values.dtype.is_numeric():
        return "number"
    return "category" if values.dtype == pl.String else None


def _names_rows(values: pl.Series) -> bool:
    """Say whether a column has another value in each row, as names and numbers of rows have."""
    known = values.drop_nulls()
    return (
        len(known) >= LEAST_NAMED and not values.dtype.is_float() and known.n_unique() == len(known)
    )


def _in_form(values: pl.Series, asked: str | None, source: str) -> pl.Series:
    import polars as pl

    plain = (pl.Boolean, pl.Categorical, pl.Enum, pl.Null)
    if asked == "category" or values.dtype in plain:
        return values.cast(pl.String)
    if values.dtype == pl.String:
        if asked == "number" or _nearly_numbers(values):
            return _numbers(values, source)
        stripped = values.str.strip_chars()
        return stripped.set(stripped == "", None)
    if not values.dtype.is_numeric():
        if asked == "number":
            raise _no_kind(values, source)
        return values
    if values.dtype.is_float():
        values = values.fill_nan(None)
        _refuse_infinite(values, source)
    elif values.dtype.is_decimal():
        values = values.cast(pl.Float64)
    return values


def _no_kind(values: pl.Series, source: str) -> DataError:
    return DataError(
        text("error.tables.kind", kind=values.dtype), file=source, column=values.name,
        fix=text("error.tables.kind.fix"),
    )  # fmt: skip


def _nearly_numbers(values: pl.Series) -> bool:
    import polars as pl

    known = values.drop_nulls()
    if known.is_empty():
        return False
    parsed = known.str.strip_chars().cast(pl.Float64, strict=False).count()
    # Codes that all look like numbers were left as text on purpose, for a leading zero.
    return NEARLY_NUMBERS <= parsed / len(known) < 1


def _numbers(values: pl.Series, source: str) -> pl.Series:
    import polars as pl

    stripped = values.cast(pl.String).str.strip_chars()
    parsed = stripped.cast(pl.Float64, strict=False)
    broken = (parsed.is_null() & stripped.is_not_null() & (stripped != "")).arg_true()
    if len(broken):
        row = int(broken[0])
        raise DataError(
            text("error.tables.no_number", value=values[row]), file=source, row=row + 1,
            column=values.name, fix=text("error.tables.no_number.fix", column=values.name),
        )  # fmt: skip
    parsed = parsed.fill_nan(None)
    _refuse_infinite(parsed, source)
    return parsed


def _refuse_infinite(values: pl.Series, source: str) -> None:
    endless = values.is_infinite().arg_true()
    if len(endless):
        raise DataError(
            text("error.tables.infinite"), file=source, row=int(endless[0]) + 1,
            column=values.name, fix=text("error.tables.infinite.fix"),
        )  # fmt: skip
