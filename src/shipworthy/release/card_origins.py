"""Where rows and weights of a run come from and what is in them, counted once and kept with it.

    origins.json   data: counts by split, label, group and unit, duplicates, digests of the files
                   model: the one that training started from, its licence and digest

Cards are written from this file, so that they need neither the rows nor the model of the start.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipworthy.core.digest import digest_file, digest_folder
from shipworthy.data.builtin import PREFIX, Description, describe
from shipworthy.data.splits import SPLITS

if TYPE_CHECKING:
    import polars as pl

    from shipworthy.data.settings import DataSettings

ORIGINS = "origins.json"

_DATA_KEYS = ("source", "train", "calibration", "validation", "test")


def count_data(
    frame: pl.DataFrame, split: str, settings: DataSettings, *, classes: Sequence[str]
) -> dict[str, Any]:
    """Return what is in the rows of a project, as plain values.

    frame: all rows; split: its column of split names. Absent splits have no entry. classes: without
    any, labels are texts, and none of them is told.
    """
    labels = [
        {"label": label, "rows": counts}
        for label, counts in (_by_split(frame, settings.label, split) if classes else {}).items()
    ]
    groups = [
        {"column": column, "value": value, "rows": counts}
        for column in settings.groups
        for value, counts in _by_split(frame, column, split).items()
    ]
    return {
        "rows": frame.height,
        "splits": dict(_counts(frame, split)),
        "unit": settings.unit,
        "units": {} if settings.unit is None else _units(frame, settings.unit, split),
        "labels": labels,
        "groups": groups,
        "duplicates": _duplicates(frame[settings.text], frame[split], settings),
        "sources": _sources(settings),
    }


def _counts(frame: pl.DataFrame, column: str) -> list[tuple[str, int]]:
    """Return the splits that have rows, in their order."""
    counted = dict(frame[column].value_counts().iter_rows())
    return [(name, counted[name]) for name in SPLITS if counted.get(name)]


def _by_split(frame: pl.DataFrame, column: str, split: str) -> dict[str | None, dict[str, int]]:
    """Return rows by value and split, the value with most rows first."""
    import polars as pl

    found: dict[str | None, dict[str, int]] = {}
    counted = frame.group_by(pl.col(column).cast(pl.String), split).len()
    for value, name, rows in counted.iter_rows():
        found.setdefault(value, {})[name] = rows
    ranked = sorted(found.items(), key=lambda item: (-sum(item[1].values()), str(item[0])))
    return {value: {n: rows[n] for n in SPLITS if n in rows} for value, rows in ranked}


def _units(frame: pl.DataFrame, unit: str, split: str) -> dict[str, int]:
    import polars as pl

    counted = dict(frame.group_by(split).agg(pl.col(unit).n_unique()).iter_rows())
    return {name: counted[name] for name in SPLITS if name in counted}


def _duplicates(texts: pl.Series, split: pl.Series, settings: DataSettings) -> dict[str, Any]:
    """Count repeated texts, texts that nearly repeat another, and those in more than one split."""
    import numpy as np
    import polars as pl

    from shipworthy.data.duplicates import find_duplicates

    similarity = 1.0 if settings.near_duplicates == "off" else settings.near_duplicates
    found = find_duplicates(texts, similarity=similarity)
    frame = pl.DataFrame({"text": found.text, "split": split})
    crossing = frame.group_by("text").agg(pl.len(), pl.col("split").n_unique().alias("splits"))
    return {
        "repeated_rows": int(len(texts) - crossing.height),
        "near_texts": int(np.unique(found.pairs).size),
        "rows_in_several_splits": int(crossing.filter(pl.col("splits") > 1)["len"].sum()),
        "similarity": None if settings.near_duplicates == "off" else similarity,
    }


def _sources(settings: DataSettings) -> list[dict[str, Any]]:
    from shipworthy.data.sources import source_files

    found: list[dict[str, Any]] = []
    for key in _DATA_KEYS:
        written = getattr(settings, key)
        if written is None:
            continue
        if str(written).startswith(PREFIX):
            told = describe(str(written))
            found.append(
                {"key": key, "name": told.name, "version": told.version, "sha256": told.sha256}
            )
            continue
        found += [
            {"key": key, "name": file.name, "sha256": digest_file(file)}
            for file in source_files(written)
        ]
    return found


def model_origin(name: str, folder: Path | None) -> dict[str, Any]:
    """Return what the model of the start declares about itself.

    name: as in the project file; folder: where it lies. Keys: name, sha256, licence (an identifier,
    or None), licence_from (the file that says so), base_model (its name on the Hub, or None), and
    for a builtin its version. Without a folder, which is so for tables, nothing but an empty name.
    """
    if folder is None:
        return {"name": "", "licence": None, "licence_from": None, "base_model": None}
    licence, where = declared_licence(folder)
    found: dict[str, Any] = {
        "name": name if name.startswith(PREFIX) else Path(name).name,
        "sha256": digest_folder(folder),
        "licence": licence,
        "licence_from": where,
        "base_model": _hub_name(_config(folder).get("_name_or_path")),
    }
    if name.startswith(PREFIX):
        found["version"] = describe(name).version
    return found


def declared_licence(folder: Path) -> tuple[str | None, str | None]:
    """Return the licence that a model's own files say, and the file that says it."""
    declared = {_README: _front_matter(folder / _README), "config.json": _config(folder)}
    for file, values in declared.items():
        licence = values.get("license")
        if isinstance(licence, str):
            return licence, file
    return None, None


def in_words(origins: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run kept of its origins, with the texts about built-in things.

    The record holds their names only; origin, licence and terms are in the language in use.
    """
    data, model = dict(origins["data"]), dict(origins["model"])
    data["sources"] = [
        {**one, "origin": told.source, "licence": told.licence} if told else one
        for one in data["sources"]
        for told in (_builtin(one["name"]),)
    ]
    told = _builtin(model["name"])
    if told is not None:
        model |= {"origin": told.source, "terms": told.licence}
    return {"data": data, "model": model}


def _builtin(name: str) -> Description | None:
    return describe(name) if name.startswith(PREFIX) else None


_README = "README.md"


def _front_matter(file: Path) -> Mapping[str, Any]:
    """Return the metadata at the head of a model card; {} where there are none to be read."""
    from shipworthy.core.errors import ShipworthyError
    from shipworthy.core.yaml import parse_yaml

    try:
        card = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    if not card.startswith("---"):
        return {}
    head, end, _ = card[3:].partition("\n---")
    try:
        values = parse_yaml(head, file=str(file)).data if end else {}
    except ShipworthyError:
        return {}
    return values if isinstance(values, Mapping) else {}


def _config(folder: Path) -> Mapping[str, Any]:
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, Mapping) else {}


def _hub_name(value: Any) -> str | None:
    """Return a name of the form owner/name; a path of somebody's machine is none."""
    parts = value.split("/") if isinstance(value, str) else []
    return value if len(parts) == 2 and all(p and p[0].isalnum() for p in parts) else None
