"""Whether licences let a model be used commercially: a small table, with "unknown" as an answer.

Only what the text of a licence says of commercial use as such is in the table; duties that come
with it (naming the source, sharing alike, rules of use, limits on the number of users) are for
people to keep, and a licence that forbids changed copies is left out, since a fine-tuned model is
one: what is not in the table is unknown, and unknown is never taken for allowed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shipworthy.measure.estimates import Fact, Unmeasured

MEASURE = "licences_forbidding_commercial_use"
UNKNOWN = "licence_unknown"

_ALLOW = frozenset({
    "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bigscience-openrail-m", "bsd",
    "bsd-2-clause", "bsd-3-clause", "bsl-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0",
    "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0",
    "cdla-sharing-1.0", "creativeml-openrail-m", "ecl-2.0", "epl-2.0", "eupl-1.2", "etalab-2.0",
    "gemma", "gpl", "gpl-2.0", "gpl-3.0", "isc", "lgpl", "lgpl-2.1", "lgpl-3.0", "llama2",
    "llama3", "llama3.1", "llama3.2", "llama3.3", "mit", "mit-0", "mpl-2.0", "ms-pl", "ncsa",
    "odbl-1.0", "odc-by-1.0", "ofl-1.1", "openrail", "openrail++", "osl-3.0", "pddl",
    "postgresql", "public-domain", "unlicense", "wtfpl", "zlib",
})  # fmt: skip
_FORBID = frozenset({
    "apple-amlr", "deepfloyd-if-license", "fair-noncommercial-research-license",
    "intel-research",
})  # fmt: skip
_CREATIVE_COMMONS_NC = re.compile(r"cc-by-nc(-sa|-nd)?(-\d\.\d)?")
_SAME = {
    "apache-license-2.0": "apache-2.0", "apache-license,-version-2.0": "apache-2.0",
    "apache2.0": "apache-2.0", "cc0": "cc0-1.0", "mit-license": "mit", "odbl": "odbl-1.0",
    "odc-by": "odc-by-1.0", "openrail-m": "openrail",
}  # fmt: skip


@dataclass(frozen=True)
class Licensed:
    """A part that a model is made of.

    part: `model`, `adapter` or `rows`; licence: None where none is told.
    """

    part: str
    name: str
    licence: str | None


def identifier(licence: str) -> str:
    """Return a licence as the table names it.

    >>> identifier("Apache License 2.0"), identifier("CC BY-NC 4.0"), identifier("GPL-3.0-or-later")
    ('apache-2.0', 'cc-by-nc-4.0', 'gpl-3.0')
    """
    short = re.sub(r"[\s_]+", "-", licence.strip().lower())
    short = re.sub(r"-(only|or-later)$", "", short)
    return _SAME.get(short, short)


def allows_commercial_use(licence: str | None) -> bool | None:
    """Return whether a licence allows it; None where nobody said which it is, or it is not known.

    >>> [allows_commercial_use(name) for name in ("MIT", "cc-by-nc-sa-4.0", "of our own", None)]
    [True, False, None, None]
    """
    if licence is None:
        return None
    short = identifier(licence)
    if short in _ALLOW:
        return True
    if short in _FORBID or _CREATIVE_COMMONS_NC.fullmatch(short):
        return False
    return None


def forbidding(parts: Sequence[Licensed]) -> Fact | Unmeasured:
    """Return how many parts forbid commercial use; unknown where none does and one is not known."""
    answers = [allows_commercial_use(part.licence) for part in parts]
    against = sum(answer is False for answer in answers)
    if not against and None in answers:
        return Unmeasured(UNKNOWN)
    return Fact(np.array([float(against)]))
