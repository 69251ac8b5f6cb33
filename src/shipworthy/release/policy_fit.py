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
            key = f"limit {index + 1} ({_told(limit)})"
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
            return f"{column!r} is no group column", _declare(column, groups, remedy)
    if limit.slices in ("each group", "worst group") and not groups:
        return f"it asks for {limit.slices!r}, and there is no group column", _declare(
            "", (), remedy
        )
    if limit.relative_to == "baseline":
        return "a change against a baseline is not available in this version", "use parent"
    if kind in ("speed", "fact") and limit.slices != "all":
        return f"{limit.measure} is measured once, not per slice", "leave `slice` out"
    ratio = kind in ("speed", "fact") and limit.relative_to != "none"
    if ratio and not isinstance(limit.bound, str) and limit.bound <= 0:
        return (
            f"{limit.measure} against the parent is a ratio, so {limit.bound:g} is out of reach",
            "1 is unchanged; write 0.9 for a tenth less, 1.1 for a tenth more",
        )
    if isinstance(limit.bound, str) and MEASURES[limit.bound].kind != "fact":
        return (
            f"the bound {limit.bound} is itself an estimate",
            "give a number, or a measure without sampling error, as size_mb",
        )
    if kind == "spread":
        return _misfit_of_spread(limit, groups, remedy)
    if "parent" in MEASURES[limit.measure].needs and limit.relative_to == "none":
        return f"{limit.measure} compares with the parent", "add `relative_to: parent`"
    return "", ""


def _misfit_of_spread(limit: Limit, groups: Sequence[str], remedy: str) -> tuple[str, str]:
    if limit.relative_to != "none":
        return f"a change of {limit.measure} is not available in this version", "limit its value"
    if not groups:
        problem = f"{limit.measure} compares groups, and there is no group column"
        return problem, _declare("", (), remedy)
    if not isinstance(limit.slices, str) and "each" not in limit.slices:
        return f"{limit.measure} compares groups", "write `slice: {each: column}`"
    return "", ""


def _declare(column: str, groups: Sequence[str], remedy: str) -> str:
    """Return how to put a group column right: the nearest that there is, and how to add one."""
    remedy = remedy.strip("()") or "declare one"
    close = nearest(column, groups) if groups else ""
    return f"{close} ({remedy})" if close else remedy
