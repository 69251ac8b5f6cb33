"""A declared reference population: the share of each value of a column, from YAML or CSV.

source: who says so            # YAML; a text, kept beside the result
population:
  sex: {female: 0.51, male: 0.49}

column,value,share             # CSV, or count in place of share
sex,female,0.51
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shipworthy.core.errors import DataError, SettingsError, nearest
from shipworthy.core.locale import text
from shipworthy.core.yaml import Document, read_yaml
from shipworthy.data.sources import read_table, require_columns
from shipworthy.model.class_names import canonical, canonical_name

SLACK = 0.005
"""How far shares may be from 1 together: published ones are rounded."""


@dataclass(frozen=True)
class Reference:
    """Shares by column and value, each column's summing to 1; source: who says so, or ""."""

    shares: Mapping[str, Mapping[str, float]]
    source: str = ""


def read_reference(path: Path | str) -> Reference:
    """Read a reference population from a YAML file, or from a table.

    Raises SettingsError or DataError with file and line or row where a share is no share, a value
    stands there twice, or the shares of a column don't sum to 1.
    """
    if Path(path).suffix.lower() in (".yaml", ".yml", ".json"):
        return _from_yaml(read_yaml(path))
    return _from_table(path)


def _from_yaml(document: Document) -> Reference:
    data = document.data
    if not isinstance(data, dict) or not isinstance(data.get("population"), dict):
        raise document.error(text("error.reference.form"), fix=text("error.reference.form.fix"))
    for key in data:
        if key not in ("source", "population"):
            raise document.error(
                text("error.reference.key"), [key], fix=nearest(str(key), ("source", "population"))
            )
    found: dict[str, dict[str, float]] = {}
    for column, values in data["population"].items():
        where = ["population", column]
        if not isinstance(values, dict) or not values:
            raise document.error(text("error.reference.values"), where)
        shares: dict[str, float] = {}
        for value, share in values.items():
            name = canonical_name(value)
            if not _is_share(share):
                raise document.error(text("error.reference.share", value=share), [*where, value])
            if name in shares:
                raise document.error(text("error.reference.twice", value=name), [*where, value])
            shares[name] = float(share)
        if not _sums_up(shares):
            problem = text("error.reference.sum", sum=f"{sum(shares.values()):g}")
            raise document.error(problem, where, fix=text("error.reference.sum.fix"))
        found[str(column)] = _normalised(shares)
    return Reference(found, str(data.get("source") or ""))


def _from_table(path: Path | str) -> Reference:
    table = read_table(str(path))
    require_columns(table, ("column", "value"), str(path))
    amount = "count" if "count" in table.columns else "share"
    require_columns(table, (amount,), str(path))
    names = canonical(table["value"])
    found: dict[str, dict[str, float]] = {}
    for row, (column, value, share) in enumerate(
        zip(table["column"].to_list(), names.to_list(), table[amount].to_list(), strict=True), 1
    ):
        where: dict[str, Any] = {"file": str(path), "row": row}
        if not _is_share(share):
            raise DataError(text("error.reference.share", value=share), column=amount, **where)
        if column is None or value is None:
            missing = "column" if column is None else "value"
            raise DataError(text("error.reference.missing"), column=missing, **where)
        shares = found.setdefault(str(column), {})
        if value in shares:
            raise DataError(text("error.reference.twice", value=value), column="value", **where)
        shares[value] = float(share)
    for column, shares in found.items():
        whole = sum(shares.values()) > 0 if amount == "count" else _sums_up(shares)
        if not whole:
            problem = text("error.reference.sum", sum=f"{sum(shares.values()):g}")
            raise SettingsError(problem, file=path, key=column, fix=text("error.reference.sum.fix"))
    return Reference({column: _normalised(shares) for column, shares in found.items()})


def _is_share(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and value >= 0  # type: ignore[arg-type,operator]


def _sums_up(shares: Mapping[str, float]) -> bool:
    return abs(sum(shares.values()) - 1) <= SLACK


def _normalised(shares: Mapping[str, float]) -> dict[str, float]:
    total = sum(shares.values())
    return {value: share / total for value, share in shares.items()}
