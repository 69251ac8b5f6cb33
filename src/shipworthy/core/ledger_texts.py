"""What must not get into a ledger: long texts, private keys, tokens.

A ledger is given to outsiders. The shapes below are a net, not a proof: what looks like a digest
passes, and so would a secret of hexadecimal digits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

LONGEST_TEXT = 512
"""Characters of one text in a payload: names and digests fit, texts of the user's data do not."""

_SHAPES = {
    "private_key": re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY|b3BlbnNzaC1rZXktdjE|PuTTY-User-Key-File|AGE-SECRET-KEY-1"
    ),
    "token": re.compile(
        r"(?<![A-Za-z0-9])(?:"
        r"(?:AKIA|ASIA)[A-Z0-9]{16}"
        r"|gh[oprsu]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"
        r"|xox[abeoprs]-[\w-]{10,}|sk-[A-Za-z0-9_-]{20,}|[rs]k_(?:live|test)_\w{16,}"
        r"|hf_[A-Za-z0-9]{20,}|AIza[\w-]{30,}|npm_[A-Za-z0-9]{30,}|pypi-Ag[\w-]{20,}"
        r"|eyJ[\w-]{8,}\.eyJ[\w-]{8,}"
        r")"
    ),
}
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}(?![A-Za-z0-9+/])")
_RUN = re.compile(r"[A-Za-z0-9+]{32,}")
_HEX = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_DIGITS = re.compile(r"[0-9]+")
# Of neighbours in random base 62, 62 % are of different classes; in CamelCase, 20 to 43 %.
_LEAST_CHANGES = 0.45
_LEAST_NUMBERS = 2


def texts_of(payload: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield all texts of a payload, names of keys too, each with the key that it stands under."""
    for key, value in payload.items():
        yield key, key
        yield from _texts_below(key, value)


def secret_in(text: str) -> str | None:
    """Say what kind of secret a text looks like: private_key, token or random; None for none.

    >>> secret_in("distilbert-base-uncased-finetuned-sst-2-english"), secret_in("ghp_" + "a1B2" * 9)
    (None, 'token')
    """
    for kind, shape in _SHAPES.items():
        if shape.search(text):
            return kind
    runs = _RUN.findall(_FINGERPRINT.sub(" ", text))
    return "random" if any(_is_random(run) for run in runs) else None


def _is_random(run: str) -> bool:
    if _HEX.fullmatch(run) or len(_DIGITS.findall(run)) < _LEAST_NUMBERS:
        return False
    classes = [
        "0" if c.isdigit() else "a" if c.islower() else "A" if c.isupper() else c for c in run
    ]
    changes = sum(a != b for a, b in zip(classes, classes[1:], strict=False))
    return changes >= _LEAST_CHANGES * (len(run) - 1)


def _texts_below(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield key, name
            yield from _texts_below(key, inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts_below(key, inner)
