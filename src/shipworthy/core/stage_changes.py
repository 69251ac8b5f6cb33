"""Why a stage is made anew: which parts of its key changed, as a text for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shipworthy.core.locale import text

_MOST_NAMED = 6
_LONGEST_VALUE = 40


def changes(
    name: str,
    asked: Mapping[str, Any] | None,
    before: Mapping[str, Any] | None,
    damaged: str | None = None,
) -> str:
    """Compare the key parts asked for with those of an earlier record.

    damaged: an output that was not as recorded. None for asked or before: there are no such parts.
    """
    if damaged is not None:
        return text("stage.damaged", name=name, file=damaged)
    if asked is None or before is None:
        return text("stage.first", name=name)
    found = list(_differences(asked, before))
    if not found:
        return text("stage.same", name=name)
    shown = found[:_MOST_NAMED]
    if len(found) > _MOST_NAMED:
        shown.append(text("stage.more", count=len(found) - _MOST_NAMED))
    return text("stage.changed", name=name, changes=text("clause.separator").join(shown))


def _differences(asked: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[str]:
    for key in ("settings", "seed", "versions", "device"):
        for path, new, old in _unequal(asked[key], before[key], key):
            yield text("stage.value", part=path, before=_shown(old), after=_shown(new))
    for key, sentence in (("inputs", "stage.input"), ("code", "stage.code")):
        for path, new, old in _unequal(asked[key], before[key], ""):
            state = "added" if old is None else "removed" if new is None else "changed"
            yield text(f"{sentence}.{state}", part=path)


def _unequal(new: Any, old: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield (path, new, old) of the smallest parts that differ; None stands for absent."""
    if isinstance(new, Mapping) and isinstance(old, Mapping):
        for key in sorted({*new, *old}):
            below = f"{path}.{key}" if path else str(key)
            yield from _unequal(new.get(key), old.get(key), below)
    elif new != old:
        yield path, new, old


def _shown(value: Any) -> str:
    words = text("stage.absent") if value is None else str(value)
    return words if len(words) <= _LONGEST_VALUE else f"{words[: _LONGEST_VALUE - 1]}…"
