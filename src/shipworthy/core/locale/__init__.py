"""Text for people, in their language.

Catalogues are flat JSON files, `<language>/<subject>.json`, that map a key to a `str.format`
template; a key stands in one file only, and both languages have the same keys and placeholders.
The language is set once by `--lang` or `SHIPWORTHY_LANG`, else it is English.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

LANGUAGES = ("en", "zh")
NO_NUMBER = "—"

_HERE = Path(__file__).parent
_chosen: str | None = None


def set_language(language: str | None) -> None:
    """Choose the language of all later texts; None goes back to `SHIPWORTHY_LANG` or English.

    Accepts forms as `zh-CN` or `zh_CN.UTF-8`. Raises SettingsError for a language without texts.
    """
    global _chosen
    _chosen = None if language is None else _known(language, "--lang")


def language() -> str:
    """Return the language in use: `en` or `zh`."""
    if _chosen is not None:
        return _chosen
    asked = os.environ.get("SHIPWORTHY_LANG", "")
    return _known(asked, "SHIPWORTHY_LANG") if asked else "en"


def text(key: str, /, **arguments: Any) -> str:
    """Return the text of a key with its placeholders filled.

    With an argument `count` equal to 1, the key `<key>.one` is taken where there is one.
    Raises KeyError for an unknown key: that is our bug, not the user's.
    """
    texts = catalogue(language())
    if arguments.get("count") in (1, "1") and f"{key}.one" in texts:
        key = f"{key}.one"
    return texts[key].format(**arguments)


def has_text(key: str) -> bool:
    """Say whether a key has a text."""
    return key in catalogue(language())


def number(value: float | None, decimals: int = 0, *, sign: bool = False) -> str:
    """Return a number for people: fixed decimals, thousands separators, a real minus sign.

    sign puts a plus before positive values; a value that rounds to zero has no sign. None and NaN
    give a dash, since an absent number is not a zero.

    >>> number(-1234.56, 1), number(0.25, 1, sign=True), number(-0.04, 1), number(None)
    ('−1,234.6', '+0.2', '0.0', '—')
    """
    if value is None or math.isnan(value):
        return NO_NUMBER
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    digits = f"{abs(value):,.{decimals}f}"
    if not digits.strip("0.,"):
        return digits
    if value < 0:
        return f"−{digits}"
    return f"+{digits}" if sign else digits


def _known(asked: str, where: str) -> str:
    global _chosen
    short = asked.replace("_", "-").split(".")[0].split("-")[0].lower()
    if short in LANGUAGES:
        return short
    # The words of errors come from here, so that file imports this one.
    from shipworthy.core.errors import SettingsError

    # Said in English: the language that was asked for can't be used.
    before, _chosen = _chosen, "en"
    try:
        known = text("error.known", names=", ".join(LANGUAGES))
        raise SettingsError(text("error.locale.unknown", asked=asked), key=where, fix=known)
    finally:
        _chosen = before


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """Return all texts of a language, by key."""
    texts: dict[str, str] = {}
    for file in sorted((_HERE / language).glob("*.json")):
        texts.update(json.loads(file.read_text(encoding="utf-8")))
    return texts
