"""`decision.json`: what becomes of a model's log-probabilities before the likeliest class is taken.

A choice multiplies them by a scale and adds an offset to each class. There may be one choice for
all rows, or some for each value of a group column; of several for one group a keyed hash of the
row draws one, so that the same row always gets the same answer and shares hold over many rows.

It ships with the weights and belongs to the artefact's digest. Whoever loads the folder with plain
transformers or ONNX Runtime gets the model without it.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from shipworthy.core import locale
from shipworthy.core.errors import DataError, ModelError, nearest
from shipworthy.core.files import write_atomically
from shipworthy.core.locale.libraries import translated
from shipworthy.model.checkpoint import DECISION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl
    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]

Unknown: TypeAlias = Literal["pooled", "refuse"]


@dataclass(frozen=True, eq=False)
class Choice:
    """One way to decide. offsets: shape (k,), nats; share: of a group's rows, in (0, 1]."""

    offsets: FloatArray
    scale: float = 1.0
    share: float = 1.0

    def apply(self, told: FloatArray) -> FloatArray:
        """Return log-probabilities after the choice. told: log-probabilities, shape (n, k)."""
        if self.scale == 1.0 and not self.offsets.any():
            return told
        moved = self.scale * told + self.offsets
        moved = moved - moved.max(axis=1, keepdims=True)
        found: FloatArray = moved - np.log(np.exp(moved).sum(axis=1, keepdims=True))
        return found


@dataclass(frozen=True)
class GroupRules:
    """Choices by the value of a column, which has to be there when the model answers.

    of: choices of each value, as text; None is an absent value. unknown: what becomes of a value
    without choices: the `pooled` choice of all rows, or an error. row, key: the column whose text
    the hash draws by, and the hash's key.
    """

    column: str
    of: Mapping[str | None, tuple[Choice, ...]]
    unknown: Unknown = "pooled"
    row: str = ""
    key: str = ""

    @property
    def draws(self) -> bool:
        """Whether some answers are drawn."""
        return any(len(choices) > 1 for choices in self.of.values())


@dataclass(frozen=True)
class DecisionRule:
    """What a `decision.json` says. pooled: for all rows that no group has a choice for."""

    classes: tuple[str, ...]
    pooled: Choice
    groups: GroupRules | None = None
    folder: Path | None = field(default=None, compare=False)

    def apply(self, told: FloatArray, rows: pl.DataFrame) -> FloatArray:
        """Return log-probabilities after the decision, shape (n, k).

        told: those of the model, shape (n, k). rows: with the columns that groups ask for.
        Raises DataError for a column that is absent, and for a group without a choice where such
        are refused.
        """
        if self.groups is None:
            return self.pooled.apply(told)
        found, left = np.empty_like(told), np.ones(len(told), dtype=bool)
        values = self._column(rows, self.groups.column)
        draws = self._drawn(rows)
        for value, choices in self.groups.of.items():
            own = np.fromiter((v == value for v in values), bool, len(values))
            left &= ~own
            ends = np.cumsum([choice.share for choice in choices])
            # Rounding must leave no row without a choice.
            taken = np.minimum(np.searchsorted(ends, draws, side="right"), len(choices) - 1)
            for k, choice in enumerate(choices):
                mine = own & (taken == k)
                found[mine] = choice.apply(told[mine])
        if left.any() and self.groups.unknown == "refuse":
            row = int(left.argmax())
            known = ", ".join(str(value) for value in self.groups.of if value is not None)
            raise DataError(
                locale.text("error.decision.group", value=values[row]),
                row=row + 1,
                column=self.groups.column,
                fix=locale.text("error.decision.group.fix", known=known),
            )
        found[left] = self.pooled.apply(told[left])
        return found

    def _drawn(self, rows: pl.DataFrame) -> FloatArray:
        """Return a number in [0, 1) for each row; zeros where nothing is drawn."""
        if self.groups is None or not self.groups.draws:
            return np.zeros(rows.height)
        return keyed_draws(self._column(rows, self.groups.row), self.groups.key)

    def _column(self, rows: pl.DataFrame, name: str) -> list[str | None]:
        import polars as pl

        if name not in rows.columns:
            raise DataError(
                locale.text("error.decision.column", column=name, file=DECISION),
                fix=nearest(name, rows.columns),
            )
        return rows[name].cast(pl.String).to_list()


def keyed_draws(names: Sequence[str | None], key: str) -> FloatArray:
    """Return a number in [0, 1) for each name, the same for the same name and key; shape (n,).

    They are the first 52 bits of a keyed BLAKE2b. key: hexadecimal, of 64 bytes at most.

    >>> keyed_draws(["a", "b", "a"], "00ff").round(4).tolist()
    [0.7263, 0.5775, 0.7263]
    """
    from hashlib import blake2b

    secret = bytes.fromhex(key)
    drawn = [
        int.from_bytes(blake2b((n or "").encode(), key=secret, digest_size=8).digest()) >> 12
        for n in names
    ]
    return np.array(drawn, dtype=np.float64) / 2.0**52


def read_rule(folder: Path | str, classes: tuple[str, ...]) -> DecisionRule:
    """Return what a folder says; a choice that changes nothing where it has no `decision.json`.

    Raises ModelError where the file is damaged or is about other classes.
    """
    file = Path(folder) / DECISION
    if not file.is_file():
        return DecisionRule(classes, Choice(np.zeros(len(classes))), folder=Path(folder))
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        pooled = _choice(told, classes, folder)
        groups = None if told.get("groups") is None else _groups(told["groups"], classes, folder)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            locale.text("error.checkpoint.no_json", file=DECISION, error=translated(str(error))),
            folder=folder,
        ) from error
    return DecisionRule(classes, pooled, groups, Path(folder))


def write_rule(folder: Path | str, rule: DecisionRule) -> None:
    """Write `decision.json`."""
    document = _told(rule.pooled, rule.classes)
    if rule.groups is not None:
        groups = rule.groups
        document["groups"] = {
            "column": groups.column,
            "unknown": groups.unknown,
            **({"row": groups.row, "key": groups.key} if groups.draws else {}),
            "of": [
                {"value": value, "choices": [_told(c, rule.classes, shares=True) for c in choices]}
                for value, choices in groups.of.items()
            ],
        }
    content = json.dumps(document, indent=2, ensure_ascii=False)
    write_atomically(Path(folder) / DECISION, content + "\n")


def needs_group(folder: Path | str) -> str | None:
    """Return the column that a folder's `decision.json` asks for at each answer; None without one.

    Raises ModelError where the file is damaged.
    """
    from shipworthy.model.checkpoint import read_info

    groups = read_rule(folder, read_info(folder).classes).groups
    return None if groups is None else groups.column


def read_offsets(folder: Path | str, classes: tuple[str, ...]) -> FloatArray:
    """Return the offset of each class for rows of no known group, shape (k,), in nats.

    Zeros where the folder has none. Raises ModelError as `read_rule`.
    """
    return read_rule(folder, classes).pooled.offsets


def write_offsets(folder: Path | str, offsets: Mapping[str, float]) -> None:
    """Write a `decision.json` of offsets alone. offsets: of each class, in nats."""
    classes = tuple(offsets)
    write_rule(folder, DecisionRule(classes, Choice(np.array(list(offsets.values())))))


def _told(choice: Choice, classes: tuple[str, ...], *, shares: bool = False) -> dict[str, Any]:
    told: dict[str, Any] = {"share": choice.share} if shares else {}
    if choice.scale != 1.0:
        told["scale"] = choice.scale
    told["offsets"] = dict(zip(classes, choice.offsets.tolist(), strict=True))
    return told


def _choice(told: Mapping[str, Any], classes: tuple[str, ...], folder: Path | str) -> Choice:
    offsets = {str(name): float(value) for name, value in told["offsets"].items()}
    scale, share = float(told.get("scale", 1.0)), float(told.get("share", 1.0))
    numbers = (*offsets.values(), scale, share)
    if set(offsets) != set(classes) or not all(map(math.isfinite, numbers)):
        raise ModelError(
            locale.text("error.decision.classes", file=DECISION),
            folder=folder,
            fix=locale.text("error.decision.classes.fix", classes=", ".join(classes)),
        )
    if not (scale > 0 and 0 < share <= 1):
        raise ValueError(f"scale {scale:g}, share {share:g}")
    return Choice(np.array([offsets[name] for name in classes]), scale, share)


def _groups(told: Mapping[str, Any], classes: tuple[str, ...], folder: Path | str) -> GroupRules:
    of = {
        one["value"]: tuple(_choice(choice, classes, folder) for choice in one["choices"])
        for one in told["of"]
    }
    for value, choices in of.items():
        if not choices or abs(sum(choice.share for choice in choices) - 1) > 1e-6:
            raise ValueError(f"shares of {value}")
    unknown = told.get("unknown", "pooled")
    if unknown not in ("pooled", "refuse"):
        raise ValueError(f"unknown: {unknown}")
    found = GroupRules(
        str(told["column"]), of, unknown, str(told.get("row", "")), str(told.get("key", ""))
    )
    bytes.fromhex(found.key)
    if found.draws and not (found.row and found.key):
        raise ValueError("row, key")
    return found
