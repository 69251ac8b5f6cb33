"""Names of classes as they are compared: 1, 1.0 and "1" are one class, True and "TRUE" another.

Files write one and the same class in many ways (an integer column beside one that became a float
through a missing value, booleans beside 0 and 1). Everything is compared as text in one canonical
form, and classes stand in one order: by number where all are numbers, else by text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl

POSITIVE_NAMES = ("1", "true", "yes", "pos", "positive")
"""Class names that are taken for the positive one of two where nobody says which it is."""

_INTEGRAL = r"^[+-]?\d+\.0*$"


def canonical(values: pl.Series) -> pl.Series:
    """Return class names as a String series; NaN, empty and blank text become null.

    >>> import polars as pl
    >>> canonical(pl.Series([1.0, 0.5, None])).to_list()
    ['1', '0.5', None]
    >>> canonical(pl.Series(["1.0", " yes ", "TRUE", ""])).to_list()
    ['1', 'yes', 'true', None]
    """
    import polars as pl

    if values.dtype == pl.Boolean:
        return values.cast(pl.String)
    if values.dtype.is_decimal():
        values = values.cast(pl.Float64)
    if values.dtype.is_float():
        number = values.fill_nan(None)
        whole = (number == number.round()) & (number.abs() < 2**53)
        text = number.cast(pl.String)
        integral = number.cast(pl.Int64, strict=False).cast(pl.String)
        return integral.zip_with(whole.fill_null(False), text)
    if values.dtype.is_integer():
        return values.cast(pl.String)
    text = values.cast(pl.String).str.strip_chars()
    text = text.set(text == "", None)
    numeral = text.str.contains(_INTEGRAL).fill_null(False)
    text = text.str.replace(r"\.0*$", "").zip_with(numeral, text)
    lowered = text.str.to_lowercase()
    return lowered.zip_with(lowered.is_in(["true", "false"]).fill_null(False), text)


def canonical_name(value: object) -> str:
    """Return one class name in canonical form, "" where there is none."""
    import polars as pl

    name = canonical(pl.Series([value]))[0]
    return name if isinstance(name, str) else ""


def unified(names: Iterable[str]) -> dict[str, str]:
    """Return renames that make booleans and 0/1 one pair of classes where both are in use.

    >>> unified(["true", "false", "1"])
    {'true': '1', 'false': '0'}
    >>> unified(["true", "false"])
    {}
    """
    found = set(names)
    both = found & {"true", "false"} and found & {"0", "1"}
    if both and found <= {"true", "false", "0", "1"}:
        return {"true": "1", "false": "0"}
    return {}


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return distinct names, by number where all are numbers, else by text.

    >>> in_order(["10", "2", "2"])
    ('2', '10')
    """
    distinct = set(names)
    try:
        return tuple(sorted(distinct, key=lambda name: (float(name), name)))
    except ValueError:
        return tuple(sorted(distinct))


def default_positive(classes: Iterable[str]) -> str | None:
    """Return the one class of the given that is called 1, true, yes, pos or positive.

    >>> default_positive(["neg", "pos"])
    'pos'
    >>> default_positive(["ham", "spam"]) is None
    True
    """
    named = [c for c in classes if c.lower() in POSITIVE_NAMES]
    return named[0] if len(named) == 1 else None
