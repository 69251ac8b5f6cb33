"""The rows of a project, checked and split: what every later step of a run starts from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from shipworthy.core.errors import DataError, nearest
from shipworthy.core.locale import text
from shipworthy.data.number_labels import number_labels
from shipworthy.data.responses import checked_responses
from shipworthy.data.sources import read_table, require_columns, source_files
from shipworthy.data.splits import SPLITS, Splits, check_splits, split
from shipworthy.data.tables import (
    ROW_TEXT,
    Features,
    as_table,
    choose_features,
    same_kinds,
    with_row_text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import polars as pl

    from shipworthy.data.settings import DataSettings

AnswerKind: TypeAlias = Literal["class", "number", "response", "none"]

# A group column with more values than this is a number or a name, and no group has enough rows.
MOST_GROUP_VALUES = 200


@dataclass(frozen=True, eq=False)
class Rows:
    """All rows of a project in one frame.

    frame: the columns of the files, label as text, or as numbers where answers are numbers;
    splits: the split of each row; classes: the labels, sorted; files: what was read; features: of a
    table, else None.
    """

    frame: pl.DataFrame
    splits: Splits
    classes: tuple[str, ...]
    files: tuple[Path, ...]
    features: Features | None = None

    def part(self, name: str) -> pl.DataFrame:
        """Return the rows of a split, in the order of the files."""
        return self.frame.filter(self.splits.split == name)


def load_rows(
    settings: DataSettings,
    *,
    root: Path | None = None,
    seed: int = 0,
    answers: AnswerKind = "class",
) -> Rows:
    """Read, check and split the rows that the settings name.

    root: folder that relative paths start from. seed: of the split. answers: what a model gives to
    a row: a class, a number, a response, or nothing but the likelihood of the text. Where the text
    column is `ROW_TEXT`, rows are those of a table, and its features are chosen.
    Raises DataError naming file, row and column where a column is absent, a label, response or text
    is missing, an id is there twice, there is only one class, or a unit is in two splits.
    """
    found = _loaded(settings, root, seed, answers)
    if settings.text != ROW_TEXT:
        return found
    source = str(settings.source or settings.train)
    features = choose_features(found.frame, found.part("train"), settings, source)
    frame = with_row_text(found.frame, features.names)
    return replace(found, frame=frame, features=features)


def _loaded(settings: DataSettings, root: Path | None, seed: int, answers: AnswerKind) -> Rows:
    if settings.source is not None:
        frame = _read(settings, settings.source, root, answers)
        classes = _classes(frame, settings, settings.source, answers)
        return Rows(
            frame,
            _split(frame, settings, settings.shares.model_dump(), seed, answers),
            classes,
            tuple(source_files(settings.source, root=root)),
        )
    sources: dict[str, str] = {
        name: getattr(settings, name) for name in SPLITS if getattr(settings, name) is not None
    }
    parts = {name: _read(settings, source, root, answers) for name, source in sources.items()}
    return _put_together(parts, sources, settings, root, seed, answers)


def _put_together(
    parts: Mapping[str, pl.DataFrame],
    sources: Mapping[str, str],
    settings: DataSettings,
    root: Path | None,
    seed: int,
    answers: AnswerKind,
) -> Rows:
    """Join given splits, after checking them, and take from train those that are not given."""
    import polars as pl

    if settings.text == ROW_TEXT:
        same_kinds(parts, sources)

    similarity = _similarity(settings)
    given = check_splits(
        parts, unit=settings.unit, text=settings.text, files=sources, similarity=similarity
    )
    columns = [
        name for name in parts["train"].columns if all(name in p.columns for p in parts.values())
    ]
    frame = pl.concat((part.select(columns) for part in parts.values()), how="vertical_relaxed")
    _refuse_ids_in_two_parts(frame, parts, sources, settings)
    classes = _classes(parts["train"], settings, sources["train"], answers)
    for name, part in parts.items() if answers == "class" else ():
        _refuse_new_classes(part, classes, settings, sources[name], sources["train"])
    splits = given
    lacking = {name: share for name, share in settings.shares if name not in parts}
    if lacking:
        taken = _split(parts["train"], settings, lacking, seed, answers)
        column = pl.concat([taken.split, given.split[parts["train"].height :]])
        splits = replace(
            given,
            split=column,
            rows={**given.rows, **{n: taken.rows[n] for n in ("train", *lacking)}},
            units={**given.units, **{n: taken.units[n] for n in ("train", *lacking)}},
            phrase_rows=taken.phrase_rows,
            largest_unit=taken.largest_unit,
        )
    files = tuple(f for source in sources.values() for f in source_files(source, root=root))
    return Rows(frame, splits, classes, files)


def _read(
    settings: DataSettings, source: str, root: Path | None, answers: AnswerKind
) -> pl.DataFrame:
    frame = read_table(source, root=root)
    table = settings.text == ROW_TEXT
    named = [settings.label, settings.id, settings.unit, *settings.groups]
    named = named if table else [settings.text, *named]
    if answers == "response":
        named += [settings.system, settings.choices]
    require_columns(frame, [name for name in named if name is not None], source)
    if table:
        frame = as_table(frame, settings, source)
    else:
        _require_text(frame, settings.text, source)
    if answers == "class":
        frame = frame.with_columns(_labels(frame[settings.label], source))
    elif answers == "number":
        frame = frame.with_columns(number_labels(frame[settings.label], source))
    elif answers == "response":
        frame = checked_responses(frame, settings, source)
    _refuse_repeated_ids(frame, settings, source)
    for name in settings.groups:
        count = frame[name].n_unique()
        if count > MOST_GROUP_VALUES:
            raise DataError(
                text("error.rows.many_groups", count=count),
                file=source,
                column=name,
                fix=text("error.rows.many_groups.fix"),
            )
    return frame


def _require_text(frame: pl.DataFrame, column: str, source: str) -> None:
    import polars as pl

    if frame.schema[column] != pl.String:
        raise DataError(
            text("error.rows.no_text_column", kind=frame.schema[column]),
            file=source,
            column=column,
            fix=text("error.rows.no_text_column.fix"),
        )
    missing = frame[column].is_null().arg_true()
    if len(missing):
        raise DataError(
            text("error.rows.text_missing"),
            file=source,
            row=int(missing[0]) + 1,
            column=column,
            fix=text("error.rows.missing.fix", missing=len(missing), rows=frame.height),
        )


def _labels(values: pl.Series, source: str) -> pl.Series:
    """Return labels as text: integers and whole numbers without a point, true and false."""
    import polars as pl

    missing = values.is_null()
    if values.dtype.is_float():
        missing = missing | values.is_nan().fill_null(False)
        whole = values.cast(pl.Int64, strict=False)
        broken = ((whole.cast(pl.Float64) != values) & ~missing).fill_null(True).arg_true()
        if len(broken) and not missing[int(broken[0])]:
            raise DataError(
                text("error.rows.decimal_label", value=values[int(broken[0])]),
                file=source,
                row=int(broken[0]) + 1,
                column=values.name,
                fix=text("error.rows.decimal_label.fix"),
            )
        labels = whole.cast(pl.String)
    elif values.dtype == pl.Boolean or values.dtype.is_integer():
        labels = values.cast(pl.String)
    elif values.dtype == pl.String:
        labels = values.str.strip_chars()
        missing = missing | (labels == "").fill_null(True)
    else:
        raise DataError(
            text("error.rows.label_kind", kind=values.dtype), file=source, column=values.name
        )
    rows = missing.arg_true()
    if len(rows):
        raise DataError(
            text("error.rows.label_missing"),
            file=source,
            row=int(rows[0]) + 1,
            column=values.name,
            fix=text("error.rows.missing.fix", missing=len(rows), rows=len(values)),
        )
    return labels


def _refuse_repeated_ids(frame: pl.DataFrame, settings: DataSettings, source: str) -> None:
    import polars as pl

    if settings.id is None:
        return
    ids = frame[settings.id]
    missing = ids.is_null().arg_true()
    if len(missing):
        raise DataError(
            text("error.rows.id_missing"), file=source, row=int(missing[0]) + 1, column=settings.id
        )
    repeated = frame.select(~pl.col(settings.id).is_first_distinct()).to_series().arg_true()
    if len(repeated):
        second = int(repeated[0])
        first = int((ids == ids[second]).arg_max() or 0)
        raise DataError(
            text("error.rows.id_repeated", value=ids[second], row=first + 1),
            file=source,
            row=second + 1,
            column=settings.id,
            fix=text("error.rows.id_repeated.fix"),
        )


def _refuse_ids_in_two_parts(
    frame: pl.DataFrame,
    parts: Mapping[str, pl.DataFrame],
    sources: Mapping[str, str],
    settings: DataSettings,
) -> None:
    import polars as pl

    if settings.id is None or len(parts) < 2:
        return
    # Within a part ids are unique already.
    repeated = frame.select(~pl.col(settings.id).is_first_distinct()).to_series().arg_true()
    if len(repeated):
        value, row = frame[settings.id][int(repeated[0])], int(repeated[0])
        holders = [n for n, p in parts.items() if p[settings.id].is_in([value]).any()]
        for name in parts:
            if name == holders[1]:
                break
            row -= parts[name].height
        raise DataError(
            text("error.rows.id_elsewhere", value=value, split=holders[0]),
            file=sources[holders[1]],
            row=row + 1,
            column=settings.id,
            fix=text("error.rows.id_repeated.fix"),
        )


def _classes(
    frame: pl.DataFrame, settings: DataSettings, source: str, answers: AnswerKind
) -> tuple[str, ...]:
    if answers != "class":
        return ()
    classes = frame[settings.label].unique().to_list()
    if settings.positive is not None and settings.positive not in classes:
        raise DataError(
            text("error.rows.no_positive", name=settings.positive),
            file=source,
            column=settings.label,
            fix=nearest(settings.positive, classes),
        )
    if len(classes) < 2:
        raise DataError(
            text("error.rows.one_class", name=classes[0]),
            file=source,
            column=settings.label,
            fix=text("error.rows.one_class.fix"),
        )
    if all(name.lstrip("-").isdecimal() for name in classes):
        return tuple(sorted(classes, key=int))
    return tuple(sorted(classes))


def _refuse_new_classes(
    part: pl.DataFrame, classes: tuple[str, ...], settings: DataSettings, source: str, train: str
) -> None:
    new = (~part[settings.label].is_in(classes)).arg_true()
    if len(new):
        row = int(new[0])
        raise DataError(
            text("error.rows.new_class", name=part[settings.label][row], train=train),
            file=source,
            row=row + 1,
            column=settings.label,
            fix=text("error.rows.new_class.fix", classes=", ".join(classes[:10])),
        )


def _split(
    frame: pl.DataFrame,
    settings: DataSettings,
    shares: Mapping[str, float],
    seed: int,
    answers: AnswerKind,
) -> Splits:
    return split(
        frame,
        label=settings.label if answers == "class" else None,
        unit=settings.unit,
        text=settings.text,
        groups=settings.groups,
        shares=shares,
        seed=seed,
        similarity=_similarity(settings),
    )


def _similarity(settings: DataSettings) -> float | None:
    return None if settings.near_duplicates == "off" else settings.near_duplicates
