"""Guess what the columns of somebody's file are for, and say why.

Names come first, then what a column holds. A guess is only made where it is plain; where two
columns could be the label, the user is asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shipworthy.core import locale
from shipworthy.core.errors import DataError
from shipworthy.data.sources import require_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

MOST_CLASSES = 20
MOST_GROUPS = 20
MOST_GROUP_COLUMNS = 5
LEAST_UNITS = 10
# A text shorter than this on average is rather a name or a category.
LEAST_TEXT_BYTES = 15

_TEXT = ("text", "sentence", "review", "comment", "body", "content", "message", "tweet", "document")
_LABEL = (
    "label", "labels", "class", "target", "sentiment", "category", "y", "stars", "rating", "intent",
    "topic",
)  # fmt: skip
_UNIT = (
    "unit", "author", "user", "reviewer", "writer", "speaker", "person", "patient", "customer",
    "account", "source", "document", "doc", "thread", "session", "conversation", "article",
)  # fmt: skip
_ID = ("id", "uid", "uuid", "guid", "key", "index")
_NO_GROUP = (
    "split", "fold", "score", "prediction", "predicted", "pred", "prob", "probability",
    "confidence", "date", "time", "timestamp", "created", "updated", "year", "month", "day",
)  # fmt: skip


@dataclass(frozen=True)
class Reason:
    """Why a column was taken: a locale key and its arguments."""

    key: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Columns:
    """What the columns are for; reasons has an entry for every role, found or not.

    Roles: text, label, id, unit, and groups (one reason for all of them).
    """

    text: str
    label: str
    id: str | None
    unit: str | None
    groups: tuple[str, ...]
    reasons: Mapping[str, Reason]


def guess_columns(
    frame: pl.DataFrame,
    file: str,
    *,
    text: str | None = None,
    label: str | None = None,
    id: str | None = None,  # noqa: A002 (the name of the setting)
    unit: str | None = None,
    groups: Sequence[str] | None = None,
) -> Columns:
    """Guess the columns that are not given.

    Raises DataError where there is no text, where no column or more than one could be the label, or
    where the label has more than `MOST_CLASSES` values.
    """
    given = [name for name in (text, label, id, unit, *(groups or ())) if name is not None]
    require_columns(frame, given, file)
    reasons: dict[str, Reason] = {}
    taken = set(given)

    def settle(role: str, name: str | None, guess: tuple[str | None, Reason]) -> str | None:
        chosen, reasons[role] = (name, Reason("init.given")) if name is not None else guess
        if chosen is not None:
            taken.add(chosen)
        return chosen

    chosen_text = settle("text", text, _text(frame, taken) if text is None else _none())
    if chosen_text is None:
        raise DataError(
            locale.text("error.columns.no_text"),
            file=file,
            fix=locale.text("error.columns.no_text.fix"),
        )
    chosen_label = settle("label", label, _label(frame, taken, file) if label is None else _none())
    assert chosen_label is not None
    count = frame[chosen_label].drop_nulls().n_unique()
    if count > MOST_CLASSES:
        raise DataError(
            locale.text("error.columns.many_classes", count=count, most=MOST_CLASSES),
            file=file,
            column=chosen_label,
            fix=locale.text("error.columns.many_classes.fix"),
        )
    chosen_id = settle("id", id, _id(frame, taken))
    chosen_unit = settle("unit", unit, _unit(frame, taken))
    if groups is None:
        chosen_groups = _groups(frame, taken)
        reasons["groups"] = Reason("init.groups" if chosen_groups else "init.no_groups")
    else:
        chosen_groups, reasons["groups"] = tuple(groups), Reason("init.given")
    return Columns(chosen_text, chosen_label, chosen_id, chosen_unit, chosen_groups, reasons)


def _none() -> tuple[None, Reason]:
    return None, Reason("init.given")


def _text(frame: pl.DataFrame, taken: set[str]) -> tuple[str | None, Reason]:
    import polars as pl

    best: tuple[bool, float, str] | None = None
    for name in frame.columns:
        if name in taken or frame.schema[name] != pl.String:
            continue
        length = int(frame[name].str.len_bytes().sum()) / max(1, frame.height)
        named = _called(name, _TEXT)
        # A sentence is rarely written twice; a long category ("United Kingdom") is, all the time.
        own = frame[name].n_unique() > max(MOST_CLASSES, frame.height // 10)
        if length >= LEAST_TEXT_BYTES and (own or (named and frame.height <= 2 * MOST_CLASSES)):
            best = max(best or (False, 0.0, ""), (named, length, name))
    if best is None:
        return None, Reason("init.given")
    named, _, name = best
    characters = round(int(frame[name].str.len_chars().sum()) / max(1, frame.height))
    return name, Reason("init.text_named" if named else "init.text_long", {"length": characters})


def _label(frame: pl.DataFrame, taken: set[str], file: str) -> tuple[str, Reason]:
    counts = {
        name: frame[name].drop_nulls().n_unique()
        for name in frame.columns
        if name not in taken and not frame.schema[name].is_nested()
    }
    named = [name for name in counts if _called(name, _LABEL)]
    named.sort(
        key=lambda name: (
            counts[name] > MOST_CLASSES,
            name.lower() not in _LABEL,
            name.lower() != "label",
        )
    )
    if named:
        return named[0], Reason("init.label_named", {"classes": counts[named[0]]})
    likely = [
        name
        for name, count in counts.items()
        if 2 <= count <= MOST_CLASSES
        and not frame.schema[name].is_float()
        and not _called(name, _NO_GROUP)
    ]
    if len(likely) == 1:
        return likely[0], Reason("init.label_only", {"classes": counts[likely[0]]})
    found = locale.text("error.columns.none_like_it")
    if likely:
        found = locale.text("error.columns.could_be", names=", ".join(likely))
    raise DataError(
        locale.text("error.columns.which_label", found=found),
        file=file,
        fix=locale.text("error.columns.which_label.fix"),
    )


def _id(frame: pl.DataFrame, taken: set[str]) -> tuple[str | None, Reason]:
    for name in sorted(frame.columns, key=lambda name: name.lower() != "id"):
        column = frame[name]
        if name in taken or not _called(name, _ID) or not _discrete(column):
            continue
        if column.null_count() == 0 and column.n_unique() == frame.height:
            return name, Reason("init.id_named")
    return None, Reason("init.no_id")


def _unit(frame: pl.DataFrame, taken: set[str]) -> tuple[str | None, Reason]:
    def rank(name: str) -> int:
        words = _words(name)
        known = [_UNIT.index(word) for word in words if word in _UNIT]
        return min(known, default=len(_UNIT))

    for name in sorted(frame.columns, key=rank):
        if name in taken or not (_called(name, _UNIT) or _called(name, _ID)):
            continue
        column = frame[name].drop_nulls()
        count = column.n_unique()
        if _discrete(column) and LEAST_UNITS <= count < 0.95 * len(column):
            return name, Reason("init.unit_named", {"units": f"{count:,}"})
    return None, Reason("init.no_unit")


def _groups(frame: pl.DataFrame, taken: set[str]) -> tuple[str, ...]:
    found = []
    for name in frame.columns:
        column = frame[name].drop_nulls()
        if name in taken or _called(name, (*_NO_GROUP, *_ID)) or not _discrete(column):
            continue
        # Many different whole numbers are a quantity, not a group.
        most = MOST_GROUPS // 2 if column.dtype.is_integer() else MOST_GROUPS
        if 2 <= column.n_unique() <= most:
            found.append(name)
    return tuple(found[:MOST_GROUP_COLUMNS])


def _discrete(column: pl.Series) -> bool:
    import polars as pl

    return column.dtype.is_integer() or column.dtype in (pl.String, pl.Boolean)


def _called(name: str, words: Sequence[str]) -> bool:
    return any(word in words for word in _words(name))


def _words(name: str) -> list[str]:
    """Split a column's name into words: `sourceId`, `source_id` and `Source ID` alike."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return [word for word in re.split(r"[\W_]+", apart.lower()) if word]
