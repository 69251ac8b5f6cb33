"""Scores of answers against the response that is wanted, one in [0, 1] for each row.

Words are those of SQuAD (Rajpurkar et al. 2016): lower case, without punctuation and articles. Han
characters, which no space divides, are words of their own. Full-width forms count as their plain
ones.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from shipworthy.core.errors import SettingsError
from shipworthy.core.locale import text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]

PATTERN_SECONDS = 1.0
"""Time for one answer against a pattern; one that takes longer does not match."""

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_HAN = re.compile(r"([\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")
_FENCE = re.compile(r"^\s*```[\w-]*\s*\n(.*?)\n?```\s*$", re.DOTALL)


def exact_match(answers: Sequence[str], wanted: Sequence[str]) -> FloatArray:
    """Return 1 where an answer has the words of the response, in their order.

    >>> exact_match(["The  Paris.", "in Paris"], ["paris", "Paris"]).tolist()
    [1.0, 0.0]
    """
    pairs = zip(answers, wanted, strict=True)
    return np.array([float(words(a) == words(w)) for a, w in pairs])


def token_f1(answers: Sequence[str], wanted: Sequence[str]) -> FloatArray:
    """Return the harmonic mean of the shares of words that answer and response have in common.

    >>> token_f1(["in Paris", "Rome", "我爱你"], ["Paris", "Paris", "我爱他"]).round(3).tolist()
    [0.667, 0.0, 0.667]
    """
    return np.array([_f1(words(a), words(w)) for a, w in zip(answers, wanted, strict=True)])


def rouge_l(answers: Sequence[str], wanted: Sequence[str]) -> FloatArray:
    """Return ROUGE-L (Lin 2004, eq. 2-4 with beta 1) on the words.

    >>> rouge_l(["police kill the gunman"], ["police killed the gunman"]).round(3).tolist()
    [0.667]
    """
    found = []
    for answer, response in zip(answers, wanted, strict=True):
        a, w = words(answer), words(response)
        common = _common_subsequence(a, w)
        found.append(2 * common / (len(a) + len(w)) if common else float(a == w))
    return np.array(found, dtype=np.float64)


def chrf(answers: Sequence[str], wanted: Sequence[str]) -> FloatArray:
    """Return chrF2 (Popović 2015; 2016) of characters, as sacrebleu computes it, over 100."""
    from sacrebleu.metrics.chrf import CHRF

    score: Any = CHRF()
    pairs = zip(answers, wanted, strict=True)
    return np.array([score.sentence_score(a, [w]).score / 100 for a, w in pairs])


def pattern_match(answers: Sequence[str], pattern: str) -> FloatArray:
    """Return 1 where a whole answer, outer white space stripped, matches a regular expression.

    An answer that takes longer than `PATTERN_SECONDS` to decide does not match.
    Raises SettingsError for a pattern that is none.
    """
    import regex

    try:
        compiled = regex.compile(pattern, regex.DOTALL)
    except regex.error as error:
        raise SettingsError(
            text("error.text_scores.pattern", pattern=pattern, reason=error),
            key="generate.pattern",
        ) from error

    def matches(answer: str) -> bool:
        try:
            return compiled.fullmatch(answer.strip(), timeout=PATTERN_SECONDS) is not None
        except TimeoutError:
            return False

    return np.array([float(matches(answer)) for answer in answers])


def read_schema(path: Path) -> Any:
    """Return a JSON schema from a file. Raises SettingsError where it is none."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
        Draft202012Validator.check_schema(schema)
    except (OSError, ValueError, SchemaError) as error:
        reason = str(error).partition("\n")[0]
        raise SettingsError(
            text("error.text_scores.schema", reason=reason), file=path, key="generate.json_schema"
        ) from error
    return schema


def valid_json(answers: Sequence[str], schema: Any = None) -> FloatArray:
    r"""Return 1 where an answer is JSON, in a code fence or bare, and keeps the schema if any.

    >>> valid_json(['{"a": 1}', '```json\n[1]\n```', "{a: 1}", "NaN"]).tolist()
    [1.0, 1.0, 0.0, 0.0]
    """
    from jsonschema import Draft202012Validator

    check = None if schema is None else Draft202012Validator(schema)

    def valid(answer: str) -> bool:
        try:
            found = json.loads(unfenced(answer), parse_constant=_refuse)
        except (ValueError, RecursionError):
            return False
        return check is None or bool(check.is_valid(found))

    return np.array([float(valid(answer)) for answer in answers])


def unfenced(answer: str) -> str:
    """Return what stands in a code fence, where an answer is one; else the answer."""
    found = _FENCE.match(answer)
    return found[1] if found else answer


def words(said: str) -> list[str]:
    """Return the words that scores compare.

    >>> words("The ｃａｔ, 你好!")
    ['cat', '你', '好']
    """
    plain = unicodedata.normalize("NFKC", said).lower()
    bare = "".join(c if unicodedata.category(c)[0] != "P" else " " for c in plain)
    return _HAN.sub(r" \1 ", _ARTICLES.sub(" ", bare)).split()


TEXT_SCORES: dict[str, Callable[[Sequence[str], Sequence[str]], FloatArray]] = {
    "exact_match": exact_match,
    "token_f1": token_f1,
    "chrf": chrf,
    "rouge_l": rouge_l,
}
"""Scores that need an answer and the response that is wanted."""


def _f1(answer: list[str], wanted: list[str]) -> float:
    if not answer or not wanted:
        return float(answer == wanted)
    common = sum((Counter(answer) & Counter(wanted)).values())
    return 2 * common / (len(answer) + len(wanted))


def _common_subsequence(first: list[str], second: list[str]) -> int:
    """Return the length of the longest common subsequence (dynamic programming, a row at once)."""
    row = [0] * (len(second) + 1)
    for word in first:
        above, row = row, [0]
        for k, other in enumerate(second):
            row.append(above[k] + 1 if word == other else max(above[k + 1], row[k]))
    return row[-1]


def _refuse(constant: str) -> Any:
    raise ValueError(constant)
