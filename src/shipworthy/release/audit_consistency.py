"""Consistency of an audit: like rows answered alike, by features that the user names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.core.errors import DataError, InputError
from shipworthy.core.locale import text
from shipworthy.core.records import ALL_ROWS
from shipworthy.measure.cell_means import mean_of
from shipworthy.measure.cells import Area, Cells
from shipworthy.measure.consistency import inconsistencies, sampled
from shipworthy.measure.tally_columns import Levels, numbers
from shipworthy.model.prediction_columns import MOST_CLASSES
from shipworthy.release.audit_rows import numbers_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shipworthy.measure.tally import Roles
    from shipworthy.release.audit_records import GroupNumber
    from shipworthy.release.audit_source import Table

    FloatArray: TypeAlias = NDArray[np.float64]


def consistency(
    table: Table, roles: Roles, features: Sequence[str], positive: str | None, rows: int,
    confidence: float,
) -> GroupNumber:  # fmt: skip
    """Return one minus the mean distance of an answer from its neighbours' answers.

    rows: of the table; of many a seeded sample is looked at. Raises DataError where a feature is no
    finite number.
    """
    if positive is None:
        raise InputError(text("error.audit.positive_of", number=MOST_CLASSES))
    assert roles.prediction is not None
    names = tuple(dict.fromkeys(features))
    answers = Levels(roles.prediction, table.name, most=MOST_CLASSES)
    wanted, read = sampled(rows), 0
    x: list[FloatArray] = []
    codes: list[NDArray[np.int32]] = []
    for part in table.parts(tuple(dict.fromkeys((*names, roles.prediction)))):
        here = wanted[(wanted >= read) & (wanted < read + part.num_rows)] - read
        read += part.num_rows
        chosen = part.take(here) if len(here) < part.num_rows else part
        columns = [numbers(chosen[name]) for name in names]
        for name, column in zip(names, columns, strict=True):
            wrong = ~np.isfinite(column)
            if wrong.any():
                shown = text("error.audit.nothing")
                raise DataError(
                    text("error.audit.feature", shown=shown), file=table.name, column=name,
                    fix=text("error.audit.feature.fix"),
                )  # fmt: skip
        x.append(np.stack(columns, axis=1))
        codes.append(answers.codes(chosen[roles.prediction]))
    selected = (np.concatenate(codes) == answers.names.get(positive, -1)).astype(np.float64)
    apart = inconsistencies(np.concatenate(x), selected)
    one = np.ones(len(apart))
    where = Area((), (ALL_ROWS,), np.zeros(len(apart), np.int64), Cells({}, {}, one, one, one))
    return replace(
        numbers_of("consistency", mean_of(where, 1 - apart, reach=1.0), confidence)[0],
        method="mean over rows, t; neighbours taken as given",
    )
