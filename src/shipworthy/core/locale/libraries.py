"""Sentences that come in English, in the language of the user.

Libraries and the operating system speak English, and so do records, as the method of a measurement.
Catalogues hold such sentences as templates, `library.*` and `method.*`; a sentence that matches an
English template is said by the other of the same key, any other stays as it is.
"""

from __future__ import annotations

import re
import string
from functools import cache

from shipworthy.core.locale import catalogue, language, text


def translated(sentence: str, *, group: str = "library") -> str:
    """Return an English sentence in the language in use.

    group: first part of the keys to look among.
    """
    if language() == "en":
        return sentence
    for key, pattern in _patterns(group):
        found = pattern.fullmatch(sentence)
        if found:
            parts = {k: translated(part, group=group) for k, part in found.groupdict().items()}
            return text(key, **parts)
    return sentence


def refusal(error: OSError) -> str:
    """Return why the operating system refused, in the language in use."""
    return translated(error.strerror or str(error) or type(error).__name__)


@cache
def _patterns(group: str) -> list[tuple[str, re.Pattern[str]]]:
    """Return what English sentences look like, those with the longest fixed text first."""
    sentences = {k: v for k, v in catalogue("en").items() if k.startswith(f"{group}.")}
    found = [
        (len(_fixed(v)), k, re.compile(_as_pattern(v), re.DOTALL)) for k, v in sentences.items()
    ]
    return [(key, pattern) for _, key, pattern in sorted(found, key=lambda one: -one[0])]


def _fixed(template: str) -> str:
    return "".join(literal for literal, *_ in string.Formatter().parse(template))


def _as_pattern(template: str) -> str:
    parts = []
    for literal, name, *_ in string.Formatter().parse(template):
        parts.append(re.escape(literal))
        if name is not None:
            parts.append(f"(?P<{name}>.+?)")
    return "".join(parts)
