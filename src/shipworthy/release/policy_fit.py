"""Whether a policy can be applied to what is at hand: its columns, its kinds of measures.

The policy file is checked alone in `policy.py`; here it meets the group columns. What does not fit
is an error before anything is measured, never a limit that is passed over in silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipworthy.core.errors import SettingsError, nearest
from shipworthy.measure.catalogue import MEASURES

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
            raise SettingsError(problem, file=file, key=f"limit {index + 1} ({limit})", fix=fix)


def columns_of(limit: Limit) -> tuple[str, ...]:
    """Group columns that a limit names."""
    if isinstance(limit.slices, str):
        return ()
    each = limit.slices.get("each")
    if "each" in limit.slices:
        return each if isinstance(each, tuple) else (str(each),)
    return tuple(limit.slices)


def _misfit(limit: Limit, groups: Sequence[str], remedy: str) -> tuple[str, str]:
    kind = MEASURES[limit.measure].kind
    for column in columns_of(limit):
        if column not in groups:
            return f"{column!r} is no group column", f"{nearest(column, groups)} {remedy}".strip()
    if limit.slices in ("each group", "worst group") and not groups:
        return "there is no group column", remedy or "declare one"
    if limit.relative_to == "baseline":
        return "a change against a baseline is not available in this version", "use parent"
    if kind in ("speed", "fact") and limit.slices != "all":
        return f"{limit.measure} is measured once, not per slice", "leave `slice` out"
    if kind == "spread":
        return _misfit_of_spread(limit, groups, remedy)
    if "parent" in MEASURES[limit.measure].needs and limit.relative_to == "none":
        return f"{limit.measure} compares with the parent", "add `relative_to: parent`"
    if isinstance(limit.bound, str) and MEASURES[limit.bound].kind != "fact":
        return (
            f"the bound {limit.bound} is itself an estimate",
            "give a number, or a measure without sampling error, as size_mb",
        )
    return "", ""


def _misfit_of_spread(limit: Limit, groups: Sequence[str], remedy: str) -> tuple[str, str]:
    if limit.relative_to != "none":
        return f"a change of {limit.measure} is not available in this version", "limit its value"
    if not groups:
        return f"{limit.measure} compares groups, and there is no group column", remedy
    if not isinstance(limit.slices, str) and "each" not in limit.slices:
        return f"{limit.measure} compares groups", "write `slice: {each: column}`"
    return "", ""
