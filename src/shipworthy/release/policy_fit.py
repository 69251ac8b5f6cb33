"""Whether a policy can be applied to what is at hand: its columns, its kinds of measures.

The policy file is checked alone in `policy.py`; here it meets the group columns. What does not fit
is an error before anything is measured, never a limit that is passed over in silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipworthy.core.errors import SettingsError, nearest
from shipworthy.core.locale import text
from shipworthy.measure.catalogue import MEASURES
from shipworthy.release.data_facts import SMALLEST

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from shipworthy.core.records import Limit
    from shipworthy.release.policy import Policy


def check_fit(
    policy: Policy, groups: Sequence[str], *, file: Path | str | None = None, remedy: str = ""
) -> None:
    """Raise SettingsError for a limit that cannot be applied with these group columns.

    file: of the policy, for the message. remedy: how a further group column is declared.
    """
    for index, limit in enumerate(policy.limits):
        problem, fix = _misfit(limit, groups, remedy)
        if problem:
            key = text("error.policy_fit.place", number=index + 1, limit=_told(limit))
            raise SettingsError(problem, file=file, key=key, fix=fix)


def columns_of(limit: Limit) -> tuple[str, ...]:
    """Group columns that a limit names."""
    if isinstance(limit.slices, str):
        return ()
    each = limit.slices.get("each")
    if "each" in limit.slices:
        return each if isinstance(each, tuple) else (str(each),)
    return tuple(limit.slices)


def _told(limit: Limit) -> str:
    """Return a limit's measure and slice as the policy file writes them."""
    if isinstance(limit.slices, str):
        return limit.measure
    inner = ", ".join(
        f"{column}: [{', '.join(value)}]" if isinstance(value, tuple) else f"{column}: {value}"
        for column, value in limit.slices.items()
    )
    return f"{limit.measure}, slice: {{{inner}}}"


def _misfit(limit: Limit, groups: Sequence[str], remedy: str) -> tuple[str, str]:
    kind = MEASURES[limit.measure].kind
    for column in columns_of(limit):
        if column not in groups:
            problem = text("error.policy_fit.no_column", column=column)
            return problem, _declare(column, groups, remedy)
    if limit.slices in ("each group", "worst group") and not groups:
        problem = text("error.policy_fit.no_groups", slice=limit.slices)
        return problem, _declare("", (), remedy)
    if limit.measure == SMALLEST and not groups:
        problem = text("error.policy_fit.spread_groups", measure=limit.measure)
        return problem, _declare("", (), remedy)
    if limit.relative_to == "baseline" and kind != "probe":
        return _said("baseline")
    if kind in ("speed", "fact", "probe") and limit.slices != "all":
        return _said("once", measure=limit.measure)
    if limit.relative_to != "none":
        if MEASURES[limit.measure].of_data:
            return _said("change", measure=limit.measure)
        if MEASURES[limit.measure].alone:
            return _said("alone", measure=limit.measure)
    ratio = kind in ("speed", "fact") and limit.relative_to != "none"
    if ratio and not isinstance(limit.bound, str) and limit.bound <= 0:
        return _said("ratio", measure=limit.measure, bound=limit.bound)
    if isinstance(limit.bound, str) and MEASURES[limit.bound].kind != "fact":
        return _said("bound", bound=limit.bound)
    if kind == "spread":
        return _misfit_of_spread(limit, groups, remedy)
    if "parent" in MEASURES[limit.measure].needs and limit.relative_to == "none":
        return _said("parent", measure=limit.measure)
    return "", ""


def _misfit_of_spread(limit: Limit, groups: Sequence[str], remedy: str) -> tuple[str, str]:
    if limit.relative_to != "none":
        return _said("change", measure=limit.measure)
    if not groups:
        problem = text("error.policy_fit.spread_groups", measure=limit.measure)
        return problem, _declare("", (), remedy)
    if not isinstance(limit.slices, str) and "each" not in limit.slices:
        return _said("spread", measure=limit.measure)
    return "", ""


def _said(problem: str, **told: object) -> tuple[str, str]:
    """Return a problem and how to put it right, both from the catalogue."""
    key = f"error.policy_fit.{problem}"
    return text(key, **told), text(f"{key}.fix")


def _declare(column: str, groups: Sequence[str], remedy: str) -> str:
    """Return how to put a group column right: the nearest that there is, and how to add one."""
    remedy = remedy.strip("()") or text("error.policy_fit.declare")
    close = nearest(column, groups) if groups else ""
    return text("error.policy_fit.declare_near", meant=close, remedy=remedy) if close else remedy
