"""The kinds of ledger lines, and what a line of each kind may say.

    artefact       a model or a file of answers that a run judged, with a digest for each file
    measurements   the table of all numbers of a run
    decisions      the table of what each limit made of them
    verdict        the answer of a run, with the digest of the whole record
    nomination     which candidates may ship, written before the test rows are opened
    opening        a look at test rows
    epsilon        privacy that was spent
    sensitive      group columns that models see, why and until when
    signoff        a person stands by a verdict; signed
    waiver         a person lets a limit go for a time; signed
    selftest       planted bad models were fed to a policy
    recovered      a half-written line was cut off

A payload has the keys of its kind and no others, so that nothing is in a ledger by accident.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, TypeAlias

Check: TypeAlias = Callable[[Any], bool]

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_KEY = re.compile(r"ssh-ed25519 AAAA[A-Za-z0-9+/]{64}(?: .*)?\Z")
_SIGNATURE = re.compile(r"[A-Za-z0-9+/]{86}==\Z")


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _digest(value: Any) -> bool:
    return isinstance(value, str) and _DIGEST.match(value) is not None


def _key(value: Any) -> bool:
    return isinstance(value, str) and _KEY.match(value) is not None


def _signature(value: Any) -> bool:
    return isinstance(value, str) and _SIGNATURE.match(value) is not None


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _amount(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and value >= 0


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _time(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


def _day(value: Any) -> bool:
    try:
        date.fromisoformat(value)
    except (TypeError, ValueError):
        return False
    return True


def _level(value: Any) -> bool:
    return value in ("example", "unit")


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(_text(one) for one in value)


def _text_or_none(value: Any) -> bool:
    return value is None or _text(value)


def _digests(value: Any) -> bool:
    return isinstance(value, dict) and all(_digest(one) for one in value.values())


def _named(value: Any) -> bool:
    return isinstance(value, dict) and all(_text(one) for one in value.values())


@dataclass(frozen=True)
class Kind:
    """What a payload holds: keys that it must have and keys that it may have."""

    needs: Mapping[str, Check]
    may: Mapping[str, Check] = field(default_factory=dict)


_TABLE: dict[str, Check] = {"run": _text, "file": _text, "sha256": _digest, "rows": _count}
_QUESTION: dict[str, Check] = {
    "test_digest": _text, "policy_digest": _text, "candidates": _named, "nominated": _texts,
}  # fmt: skip
_SIGNED: dict[str, Check] = {
    "role": _text, "person": _text, "key": _key, "signature": _signature,
}  # fmt: skip
_HEAD: dict[str, Check] = {"head_number": _count, "head_hash": _digest}

KINDS: dict[str, Kind] = {
    "artefact": Kind(
        {"run": _text, "candidate": _text, "name": _text, "lever": _text, "parents": _texts,
         "artefact_digest": _text, "by": _text},
        {"files": _digests, "part": _count, "parts": _count},
    ),
    "measurements": Kind(_TABLE),
    "decisions": Kind(_TABLE),
    "verdict": Kind(
        {"run": _text, "file": _text, "sha256": _digest, "answer": _text, "best": _text_or_none,
         "kind": _text, "created": _time, "files": _digests, "by": _text},
    ),
    "nomination": Kind(_QUESTION),
    "opening": Kind(
        {**_QUESTION, "number": _count, "after_sight": _texts, "worn_out": _flag,
         "rows_sketch": _texts},
    ),
    "epsilon": Kind(
        {"spender": _text, "epsilon": _amount, "delta": _amount, "level": _level,
         "accountant": _text},
        {"run": _text, "candidate": _text, "data_digest": _text},
    ),
    "sensitive": Kind(
        {"columns": _texts, "reason": _text, "delete_by": _day, "rows": _text, "by": _text},
    ),
    "signoff": Kind({"run": _text, "verdict_sha256": _digest, **_SIGNED, **_HEAD}),
    "waiver": Kind(
        {"limit": _text, "candidate": _text, "artefact_digest": _text, "reason": _text,
         "expires": _time, **_SIGNED, **_HEAD},
        {"run": _text, "created": _time},
    ),
    "selftest": Kind(
        {"policy_digest": _text, "code": _text, "passed": _flag},
        {"created": _time, "expires": _text, "expires_days": _count, "not_held": _texts,
         "skipped": _texts, "groups": _count},
    ),
    "recovered": Kind({"bytes": _count, "sha256": _digest}),
}  # fmt: skip


@dataclass(frozen=True)
class Misfit:
    """Why a payload is none of its kind. problem: unknown_kind, missing, unknown_key or value."""

    problem: str
    key: str = ""


def misfits(kind: str, payload: Mapping[str, Any]) -> tuple[Misfit, ...]:
    """Return all that keeps a payload from being one of this kind; () where it fits.

    >>> misfits("recovered", {"bytes": -1, "text": "a"})
    (Misfit(problem='missing', key='sha256'), Misfit(problem='unknown_key', key='text'), \
Misfit(problem='value', key='bytes'))
    """
    known = KINDS.get(kind)
    if known is None:
        return (Misfit("unknown_kind", kind),)
    checks = {**known.may, **known.needs}
    missing = [Misfit("missing", key) for key in known.needs if key not in payload]
    unknown = [Misfit("unknown_key", key) for key in payload if key not in checks]
    wrong = [
        Misfit("value", key)
        for key, value in payload.items()
        if key in checks and not checks[key](value)
    ]
    return (*missing, *unknown, *wrong)
