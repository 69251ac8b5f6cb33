"""Identifiers that a pattern finds in a text, replaced, so that an example can be shown.

E-mail addresses, links, @names and runs of digits, also in full-width letters and where they touch
Chinese characters. A pattern finds no names of people: what it leaves is not anonymous.
"""

from __future__ import annotations

import re
import unicodedata

LONGEST = 300
"""Characters of a text that are shown."""

_WINDOW = 4000
# An identifier that the window cuts in two is not seen as one; all that are shorter than this end
# before what is shown does.
_MARGIN = 320

_STOPS = r"\s<>\"'`，。；：！？、（）【】《》「」『』“”‘’"
_HOST = r"(?<![a-z0-9@.-])(?:[a-z0-9-]+\.)+"
# Of a name without scheme and path, only endings that are no word after a full stop.
_TOP = "com|org|net|edu|gov|info|io|dev|app|cn|hk|tw|eu|uk|de|fr|es|nl|jp|kr|ru"
_PATTERNS = (
    ("email", r"(?<![a-z0-9._%+-])[a-z0-9._%+-]+(?:@|\s?[\[({]\s?at\s?[\])}]\s?)[a-z0-9-]+"
              r"(?:\.[a-z0-9-]+)+"),
    ("url", rf"(?:https?|ftp)://[^{_STOPS}]+|(?<![a-z0-9@.])www\.[^{_STOPS}]+"
            rf"|{_HOST}(?:[a-z]{{2,}}/[^{_STOPS}]+|(?:{_TOP})(?![a-z0-9-])[/?#:]?)"),
    ("handle", r"@\w[\w.-]+"),
    # Separators of telephone, card and identity numbers may stand between the digits.
    ("number", r"\+?\d(?:[ ()./·–—-]{0,2}\d){4,}x?|[〇零一二三四五六七八九幺]{7,}"),
)  # fmt: skip
_IDENTIFIER = re.compile(
    "|".join(f"(?P<{name}>{pattern})" for name, pattern in _PATTERNS), re.IGNORECASE
)


def mask(text: str) -> str:
    """Return a text with e-mail addresses, links, @names and five digits or more replaced.

    >>> mask("写信到 li.wei@example.cn，电话１３８００１３８０００。")
    '写信到 [email]，电话[number]。'
    """
    return _IDENTIFIER.sub(lambda found: f"[{found.lastgroup}]", _plain(text))


def excerpt(text: str, *, masked: bool) -> str:
    """Return the beginning of a text on one line, at most `LONGEST` characters, as it may be shown.

    masked: replace identifiers first, so that none is cut in two and left. Characters that do not
    print or that turn the direction of writing are left out.
    """
    whole = len(text) <= _WINDOW
    # Raw text is cut first too: a text of 10 MB costs no more than one of a page.
    window = _plain(text[:_WINDOW])
    if masked:
        shown_to = len(window) if whole else max(len(window) - _MARGIN, 0)
        window, reached = _masked_up_to(window, shown_to)
        whole = whole and reached
    line = " ".join(window.split())
    if whole and len(line) <= LONGEST:
        return line
    return line[: LONGEST - 1].rstrip() + "…"


def _masked_up_to(text: str, end: int) -> tuple[str, bool]:
    """Return a text masked up to `end`, and whether that is all of it."""
    parts, at = [], 0
    for found in _IDENTIFIER.finditer(text):
        if found.start() >= end:
            break
        parts += [text[at : found.start()], f"[{found.lastgroup}]"]
        at = found.end()
    parts.append(text[at : max(end, at)])
    return "".join(parts), max(end, at) >= len(text)


def _plain(text: str) -> str:
    """Return a text without unseen characters, digits and full-width letters folded."""
    return "".join(
        _folded(c) for c in text if c in "\n\t" or unicodedata.category(c) not in _UNSEEN
    )


_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co"})


def _folded(character: str) -> str:
    """Return the plain form of a digit of any script and of a full-width ASCII character."""
    if character.isascii():
        return character
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    if "\uff01" <= character <= "\uff5e" and (character.isalnum() or character in "＠．：／－＋＿"):
        return chr(ord(character) - 0xFEE0)
    return character
