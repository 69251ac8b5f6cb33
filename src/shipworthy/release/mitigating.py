"""The verb `mitigate`: the mitigations of a project, measured on validation rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shipworthy.core.errors import SettingsError
from shipworthy.core.files import room_on_disk
from shipworthy.core.locale import text
from shipworthy.core.lock import hold
from shipworthy.release.cells import Column, table
from shipworthy.release.display import measure_name, shown
from shipworthy.release.failures import Failures
from shipworthy.release.nulls import interval
from shipworthy.release.places import CACHE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from shipworthy.core.records import Measurement
    from shipworthy.core.stages import Stage
    from shipworthy.release.made import Made
    from shipworthy.release.project import Project
    from shipworthy.release.ruler import Ruler, Subject

SPREADS = (
    "accuracy_difference", "statistical_parity_difference", "equal_opportunity_difference",
    "equalized_odds_difference",
)  # fmt: skip
"""How far groups lie apart, in the order of the table."""


@dataclass(frozen=True)
class Row:
    """One candidate, or the parent. accuracy; spreads: by group column and measure."""

    name: str
    folder: str
    accuracy: Measurement
    spreads: dict[str, dict[str, Measurement]]


@dataclass(frozen=True)
class Mitigated:
    """The parent and all mitigated candidates on validation rows."""

    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "split": "validation",
            "candidates": [
                {
                    "name": row.name,
                    "folder": row.folder,
                    "accuracy": _interval(row.accuracy),
                    "groups": {
                        column: {name: _interval(one) for name, one in found.items()}
                        for column, found in row.spreads.items()
                    },
                }
                for row in self.rows
            ],
        }

    def lines(self, *, width: int) -> list[str]:
        """Return it as lines for people: a table for each column of groups."""
        said: list[str] = []
        for column in self.rows[0].spreads:
            measured = [m for m in SPREADS if m in self.rows[0].spreads[column]]
            heads = [Column(text("mitigate.head.candidate"), wraps=True)]
            heads += [
                Column(measure_name(name, short=True), align="right", wraps=True)
                for name in ("accuracy", *measured)
            ]
            cells = [
                [row.name, *(_figure(one) for one in
                             (row.accuracy, *(row.spreads[column][m] for m in measured)))]
                for row in self.rows
            ]  # fmt: skip
            drawn, _ = table(heads, cells, width)
            said += [text("mitigate.over", column=column)]
            said += ["  ".join(line).rstrip() for line in drawn]
            said.append("")
        return [*said, text("mitigate.foot")]


def mitigate_project(
    project: Project,
    root: Path,
    *,
    wait: bool = False,
    tell: Callable[[Stage], None] = lambda stage: None,
    warn: Callable[[str], None] = lambda message: None,
) -> Mitigated:
    """Make the mitigations of a project and measure them on validation rows; no test row is read.

    Raises SettingsError where the project asks for none, and what a run raises.
    """
    from shipworthy.release.artefacts import PARENT, Workshop
    from shipworthy.release.made import made
    from shipworthy.release.mitigation_stages import make_mitigations
    from shipworthy.release.ruler import Ruler, Subject

    if not project.mitigate.recipes:
        raise SettingsError(
            text("error.mitigating.none"), key="mitigate", fix=text("error.mitigating.none.fix")
        )
    cache = root / CACHE
    with room_on_disk(root), hold(cache, wait=wait, tell=warn) as held:
        shop = Workshop(project, cache, tell, held.note)
        data = shop.rows()
        parent = made(shop.train(data), PARENT, "train", settings=shop.recipe(data).reported(),
                      seed=project.seed)  # fmt: skip
        failures = Failures()
        everyone: list[Made] = [parent, *make_mitigations(shop, data, parent, failures)]
        failures.stop()
        subjects = [
            Subject(
                one.candidate,
                shop.predictions(data, one, "validation", shop.answers(data, one, "validation")),
            )
            for one in everyone
        ]
        ruler = Ruler(
            subjects[0], groups=project.data.groups, unit=project.data.unit,
            confidence=project.policy.policy().confidence, split="validation",
        )  # fmt: skip
        rows = [_row(ruler, s, one) for s, one in zip(subjects, everyone, strict=True)]
        held.complete()
    return Mitigated(tuple(rows))


def _row(ruler: Ruler, subject: Subject, one: Made) -> Row:
    (accuracy,) = ruler.rows_of(subject, "accuracy", (), "none")
    spreads: dict[str, dict[str, Measurement]] = {}
    for column in ruler.groups:
        found = {m: ruler.rows_of(subject, m, (column,), "none") for m in SPREADS}
        spreads[column] = {name: rows[0] for name, rows in found.items() if rows}
    return Row(one.candidate.name, str(one.folder), accuracy, spreads)


def _figure(one: Measurement) -> str:
    form = shown(one.measure)
    if math.isnan(one.low) or math.isnan(one.high):
        return form.figure(one.value)
    return f"{form.figure(one.value)} {form.interval(one.low, one.high)}"


def _interval(one: Measurement) -> dict[str, float | None]:
    return interval(one.value, one.low, one.high)
