"""Scores of answers against the response that is wanted, one in [0, 1] for each row.

Words of `exact_match` and `token_f1` are those of SQuAD (Rajpurkar et al. 2016), beyond ASCII of
MLQA (Lewis et al. 2020): lower case, without articles and without punctuation, which is dropped and
divides nothing (`U.S.` is `us`). Punctuation is that of ASCII, signs such as `$` among it, and of
Unicode's category P. Words of `rouge_l` are those of Google's rouge-score without its stemmer:
runs of letters and digits, articles too. In both, Han characters, which no space divides, are
words of their own, and full-width forms count as their plain ones (NFKC).

What is wanted may also be one string, the same for all answers.
"""

from __future__ import annotations

import json
import re
import string
import unicodedata
from collections import Counter
from itertools import repeat
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from shipworthy.core.errors import SettingsError
from shipworthy.core.locale import text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]
    Wanted: TypeAlias = Sequence[str] | str

PATTERN_SECONDS = 1.0
"""Time for one answer against a pattern; one that takes longer does not match."""

MOST_OVERRUNS = 10
"""Answers that may take longer before the pattern itself is refused."""

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_HAN = re.compile(r"([\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")
_RUN_OF_LETTERS = re.compile(r"[^\W_]+")
_LANGUAGE = re.compile(r"[\w+#.-]*\s*")
_FENCE = "```"


def exact_match(answers: Sequence[str], wanted: Wanted) -> FloatArray:
    """Return 1 where an answer has the words of the response, in their order.

    >>> exact_match(["The  Paris.", "in Paris"], ["paris", "Paris"]).tolist()
    [1.0, 0.0]
    """
    return _each(answers, wanted, lambda a, w: float(words(a) == words(w)))


def token_f1(answers: Sequence[str], wanted: Wanted) -> FloatArray:
    """Return the harmonic mean of the shares of words that answer and response have in common.

    >>> token_f1(["in Paris", "Rome", "我爱你"], ["Paris", "Paris", "我爱他"]).round(3).tolist()
    [0.667, 0.0, 0.667]
    """
    return _each(answers, wanted, lambda a, w: _f1(words(a), words(w)))


def rouge_l(answers: Sequence[str], wanted: Wanted) -> FloatArray:
    """Return ROUGE-L (Lin 2004, eq. 2-4 with beta 1), as rouge-score computes it on ASCII.

    >>> rouge_l(["police kill the gunman"], ["police killed the gunman"]).tolist()
    [0.75]
    """

    def score(answer: str, response: str) -> float:
        a, w = _runs(answer), _runs(response)
        common = _common_subsequence(a, w)
        return 2 * common / (len(a) + len(w)) if common else float(a == w)

    return _each(answers, wanted, score)


def chrf(answers: Sequence[str], wanted: Wanted) -> FloatArray:
    """Return chrF2 (Popović 2015; 2016) of characters, as sacrebleu computes it, over 100.

    Two empty texts score 0, as they do there.
    """
    from sacrebleu.metrics.chrf import CHRF

    score: Any = CHRF()
    return _each(answers, wanted, lambda a, w: min(score.sentence_score(a, [w]).score / 100, 1.0))


def pattern_match(answers: Sequence[str], pattern: str) -> FloatArray:
    """Return 1 where a whole answer, outer white space stripped, matches a regular expression.

    The dot matches line ends too. An answer that takes longer than `PATTERN_SECONDS` to decide does
    not match. Raises SettingsError for a pattern that is none, and for one that `MOST_OVERRUNS`
    answers were too long for: the share of matches would be that of the time limit.
    """
    import regex

    try:
        compiled = regex.compile(pattern, regex.DOTALL)
    except regex.error as error:
        raise SettingsError(
            text("error.text_scores.pattern", pattern=pattern, reason=error),
            key="generate.pattern",
        ) from error
    found, overruns = np.zeros(len(answers)), 0
    for k, answer in enumerate(answers):
        try:
            found[k] = compiled.fullmatch(answer.strip(), timeout=PATTERN_SECONDS) is not None
        except TimeoutError:
            overruns += 1
            if overruns == MOST_OVERRUNS:
                problem = text("error.text_scores.slow", pattern=pattern, answers=overruns)
                fix = text("error.text_scores.slow.fix")
                raise SettingsError(problem, key="generate.pattern", fix=fix) from None
    return found


def read_schema(path: Path) -> Any:
    """Return a JSON schema from a file. Raises SettingsError where it is none."""
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _no_schema(error, path) from error
    _check_schema(schema, path)
    return schema


def valid_json(answers: Sequence[str], schema: Any = None) -> FloatArray:
    r"""Return 1 where an answer is JSON, in a code fence or bare, and keeps the schema if any.

    schema: read by version 2020-12; nothing that it refers to is fetched. An answer does not keep
    it where it is nested too deeply, has a number too large to judge, or takes a `pattern` longer
    than `PATTERN_SECONDS`; names in `patternProperties` have no such limit.
    Raises SettingsError for a schema that is none or refers to what it does not hold.

    >>> valid_json(['{"a": 1}', '```json\n[1]\n```', "{a: 1}", "NaN"]).tolist()
    [1.0, 1.0, 0.0, 0.0]
    """
    from referencing.exceptions import Unresolvable

    check = None if schema is None else _validator(schema)

    def valid(answer: str) -> bool:
        try:
            found = json.loads(unfenced(answer), parse_constant=_refuse)
            return check is None or bool(check.is_valid(found))
        except (ValueError, RecursionError, OverflowError):
            return False
        except Unresolvable as error:
            problem = text("error.text_scores.reference", reference=error.ref)
            fix = text("error.text_scores.reference.fix")
            raise SettingsError(problem, key="generate.json_schema", fix=fix) from error

    return np.array([float(valid(answer)) for answer in answers])


def unfenced(answer: str) -> str:
    r"""Return what stands in a code fence, where an answer is one; else the answer.

    >>> unfenced("```python\nx = 1\n```\n"), unfenced("see ```x```")
    ('x = 1', 'see ```x```')
    """
    bare = answer.strip()
    first, _, rest = bare.removeprefix(_FENCE).partition("\n")
    fenced = bare.startswith(_FENCE) and rest.endswith(_FENCE)
    if not fenced or not _LANGUAGE.fullmatch(first):
        return answer
    return rest.removesuffix(_FENCE).removesuffix("\n")


def words(said: str) -> list[str]:
    """Return the words that scores compare.

    >>> words("The ｃａｔ, 你好!")
    ['cat', '你', '好']
    """
    plain = unicodedata.normalize("NFKC", said).lower()
    bare = "".join(c for c in plain if not _is_punctuation(c))
    return _HAN.sub(r" \1 ", _ARTICLES.sub(" ", bare)).split()


TEXT_SCORES: dict[str, Callable[[Sequence[str], Wanted], FloatArray]] = {
    "exact_match": exact_match,
    "token_f1": token_f1,
    "chrf": chrf,
    "rouge_l": rouge_l,
}
"""Scores that need an answer and the response that is wanted."""


def _each(answers: Sequence[str], wanted: Wanted, score: Callable[[str, str], float]) -> FloatArray:
    responses: Iterator[str] = (
        repeat(wanted, len(answers)) if isinstance(wanted, str) else iter(wanted)
    )
    pairs = zip(answers, responses, strict=True)
    return np.array([score(answer, response) for answer, response in pairs], dtype=np.float64)


def _is_punctuation(character: str) -> bool:
    return character in string.punctuation or unicodedata.category(character)[0] == "P"


def _runs(said: str) -> list[str]:
    plain = unicodedata.normalize("NFKC", said).lower()
    return _RUN_OF_LETTERS.findall(_HAN.sub(r" \1 ", plain))


def _f1(answer: list[str], wanted: list[str]) -> float:
    if not answer or not wanted:
        return float(answer == wanted)
    common = sum((Counter(answer) & Counter(wanted)).values())
    return 2 * common / (len(answer) + len(wanted))


def _common_subsequence(first: list[str], second: list[str]) -> int:
    """Return the length of the longest common subsequence (Crochemore et al. 2001).

    A row of the table of lengths is one integer whose bit k is 0 where the length grows at word k.
    """
    places: dict[str, int] = {}
    for k, word in enumerate(second):
        places[word] = places.get(word, 0) | 1 << k
    everywhere = (1 << len(second)) - 1
    row = everywhere
    for word in first:
        here = row & places.get(word, 0)
        row = (row + here | row - here) & everywhere
    return len(second) - row.bit_count()


def _validator(schema: Any) -> Any:
    """Return what checks values, without reach into the network and with a limit on patterns."""
    import regex
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError
    from jsonschema.validators import extend
    from referencing import Registry

    def keeps_pattern(validator: Any, pattern: str, value: Any, _: Any) -> Iterator[Any]:
        try:
            kept = not validator.is_type(value, "string") or regex.search(
                pattern, value, timeout=PATTERN_SECONDS
            )
        except TimeoutError:
            kept = False
        if not kept:
            yield ValidationError(pattern)

    _check_schema(schema, None)
    return extend(Draft202012Validator, {"pattern": keeps_pattern})(schema, registry=Registry())


def _check_schema(schema: Any, file: Path | None) -> None:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise _no_schema(error, file) from error


def _no_schema(error: Exception, file: Path | None) -> SettingsError:
    reason = str(error).partition("\n")[0]
    problem = text("error.text_scores.schema", reason=reason)
    return SettingsError(problem, file=file, key="generate.json_schema")


def _refuse(constant: str) -> Any:
    raise ValueError(constant)
