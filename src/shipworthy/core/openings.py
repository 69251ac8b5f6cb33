"""How often a test set was looked at (`docs/method.md`, test openings).

Opening j of a test set is decided at level alpha / 2**(j - 1), so that all looks together err at
most twice as often as one. Test sets that share rows are one chain; a set of which at least half is
new to the chain starts again at 1. After `MOST_OPENINGS` a set is worn out.

Rows are known by a bottom-k sketch: the k smallest 64-bit hashes of their ids (Broder 1997). Below
the largest hash of a full sketch it says for certain which rows a set holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from shipworthy.core.ledger import Ledger
from shipworthy.core.ledger_lines import Line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SKETCH_SIZE = 256
MOST_OPENINGS = 5
NEW_SHARE = 0.5

# Fewer hashes than this in the range where all sketches are complete say too little to start again.
_LEAST_EVIDENCE = 16
_EVERYTHING = 1 << 64


@dataclass(frozen=True)
class Opening:
    """One earlier look at a test set, as its ledger line tells it.

    candidates: id -> digest of what was measured; nominated: ids among them.
    """

    number: int
    test_digest: str
    policy_digest: str
    rows_sketch: tuple[str, ...]
    candidates: Mapping[str, str]
    nominated: tuple[str, ...]
    after_sight: tuple[str, ...]
    hash: str

    @classmethod
    def read(cls, line: Line) -> Opening:
        """Read the payload of an `opening` line."""
        payload = line.payload
        return cls(
            number=payload["number"],
            test_digest=payload["test_digest"],
            policy_digest=payload["policy_digest"],
            rows_sketch=tuple(payload["rows_sketch"]),
            candidates=payload["candidates"],
            nominated=tuple(payload["nominated"]),
            after_sight=tuple(payload["after_sight"]),
            hash=line.hash,
        )


@dataclass(frozen=True)
class OpeningState:
    """What an opening means for the decisions.

    number: j, from 1. alpha_factor: 1 / 2**(j - 1), for p_pass and p_fail. worn_out: every limit is
    "cannot tell". after_sight: ids of candidates first seen after an earlier opening of the chain.
    first: nobody looked at these rows before. rerun: the same question as before, no new opening.
    family: how many candidates were nominated, for Holm; a re-run with fewer does not shrink it.
    hash: of the ledger line, "" without a ledger.
    """

    number: int = 1
    alpha_factor: float = 1.0
    worn_out: bool = False
    after_sight: tuple[str, ...] = ()
    first: bool = True
    rerun: bool = False
    family: int = 0
    hash: str = ""


def open_test(
    ledger: Ledger | None,
    *,
    test_digest: str,
    rows_sketch: Sequence[str],
    candidates: Mapping[str, str],
    policy_digest: str,
    nominated: Sequence[str],
) -> OpeningState:
    """Record a look at the test rows and return what it means.

    candidates: id -> digest of artefact or predictions; nominated: ids, all among the candidates.
    The same test and policy digest with candidates and nominations that were all opened before is a
    re-run: nothing is written and the earlier number holds. Without a ledger every look counts as
    the first. Raises InputError where the ledger is broken.
    """
    unknown = sorted(set(nominated) - set(candidates))
    if unknown:
        raise ValueError(f"nominated but no candidate: {', '.join(unknown)}")
    if ledger is None:
        return OpeningState(family=len(nominated))
    with ledger.locked():
        ledger.recover()
        earlier = [Opening.read(line) for line in ledger.lines() if line.kind == "opening"]
        repeated = _repeated(earlier, test_digest, policy_digest, candidates, nominated)
        if repeated:
            return _state_of_rerun(repeated, candidates, nominated)
        looked = _counted(earlier, test_digest, rows_sketch)
        number = len(looked) + 1
        after_sight = _after_sight(looked, candidates)
        question = {
            "test_digest": test_digest,
            "policy_digest": policy_digest,
            "candidates": dict(candidates),
            "nominated": sorted(nominated),
        }
        # Nomination comes first, so that the order of lines shows it was made before the look.
        ledger.append("nomination", question)
        line = ledger.append(
            "opening",
            {
                **question,
                "number": number,
                "after_sight": list(after_sight),
                "worn_out": number > MOST_OPENINGS,
                "rows_sketch": list(rows_sketch),
            },
        )
    return _state(number, after_sight, rerun=False, family=len(nominated), hash=line.hash)


def row_hashes(ids: Iterable[str]) -> NDArray[np.uint64]:
    """Return 64-bit hashes of row ids or texts, shape (n,), the same on every machine."""
    import numpy as np

    raw = b"".join(blake2b(row.encode(), digest_size=8).digest() for row in ids)
    return np.frombuffer(raw, dtype="<u8").astype(np.uint64)


def rows_sketch(hashes: NDArray[np.uint64], size: int = SKETCH_SIZE) -> tuple[str, ...]:
    """Return the `size` smallest distinct hashes as 16 hex digits each, ascending.

    hashes: shape (n,), one for a row; the sketch of fewer rows holds them all.
    """
    import numpy as np

    distinct = np.unique(np.asarray(hashes, dtype=np.uint64))
    return tuple(f"{value:016x}" for value in distinct[:size].tolist())


def share_of_new_rows(
    current: Sequence[str], earlier: Sequence[Sequence[str]], size: int = SKETCH_SIZE
) -> tuple[float, int]:
    """Estimate which share of the current rows is in none of the earlier sets.

    current, earlier: sketches. Returns the share in [0, 1] and the number of current hashes that it
    rests on: those below the largest hash of every full sketch, where membership is certain. The
    standard error is at most sqrt(0.25 / number).
    """
    sets = [_numbers(sketch) for sketch in (current, *earlier)]
    known_below = min((_complete_below(values, size) for values in sets), default=_EVERYTHING)
    seen = set().union(*sets[1:])
    certain = [value for value in sets[0] if value < known_below]
    if not certain:
        return (0.0, 0) if any(value in seen for value in sets[0]) else (1.0, 0)
    return sum(value not in seen for value in certain) / len(certain), len(certain)


def overlap(first: Sequence[str], second: Sequence[str]) -> bool:
    """Say whether two sketches show a common row.

    A common hash is a common row; a small overlap of large sets can stay unseen.
    """
    return not set(first).isdisjoint(second)


def _counted(earlier: Sequence[Opening], test_digest: str, sketch: Sequence[str]) -> list[Opening]:
    """Return the earlier openings that count against this test set, oldest first.

    Those of its chain, less the longest beginning to which the set is mostly new and after which
    the count started again; the old rows so stay worn out when a set with new ones was opened.
    """
    chain = _chain(earlier, test_digest, sketch)
    for count in range(len(chain), 0, -1):
        if count < len(chain) and chain[count].number != 1:
            continue
        sketches = [opening.rows_sketch for opening in chain[:count]]
        same = any(opening.test_digest == test_digest for opening in chain[:count])
        share, evidence = share_of_new_rows(sketch, sketches)
        enough = evidence >= min(_LEAST_EVIDENCE, len(sketch))
        if not same and enough and share >= NEW_SHARE:
            return chain[count:]
    return chain


def _chain(earlier: Sequence[Opening], test_digest: str, sketch: Sequence[str]) -> list[Opening]:
    """Return the openings whose sets share rows with this one, directly or through others."""
    rows, digests = set(sketch), {test_digest}
    members: set[int] = set()
    growing = True
    while growing:
        growing = False
        for index, opening in enumerate(earlier):
            if index in members:
                continue
            if opening.test_digest in digests or not rows.isdisjoint(opening.rows_sketch):
                members.add(index)
                rows.update(opening.rows_sketch)
                digests.add(opening.test_digest)
                growing = True
    return [earlier[index] for index in sorted(members)]


def _repeated(
    earlier: Sequence[Opening],
    test_digest: str,
    policy_digest: str,
    candidates: Mapping[str, str],
    nominated: Sequence[str],
) -> list[Opening]:
    """Return the openings that already answered this question; none if some of it is new."""
    same = [
        opening
        for opening in earlier
        if (opening.test_digest, opening.policy_digest) == (test_digest, policy_digest)
    ]
    asked = {(candidates[id], id in set(nominated)) for id in candidates}
    if not asked:
        return same[-1:]
    found: list[Opening] = []
    for opening in reversed(same):
        answered = {(digest, False) for digest in opening.candidates.values()}
        answered |= {(opening.candidates[id], True) for id in opening.nominated}
        if asked & answered:
            found.append(opening)
            asked -= answered
    return [] if asked or not found else found


def _state_of_rerun(
    repeated: Sequence[Opening], candidates: Mapping[str, str], nominated: Sequence[str]
) -> OpeningState:
    latest = max(repeated, key=lambda opening: opening.number)
    seen_late = {o.candidates[id] for o in repeated for id in o.after_sight}
    after_sight = tuple(sorted(id for id, digest in candidates.items() if digest in seen_late))
    family = max(len(nominated), *(len(opening.nominated) for opening in repeated))
    return _state(latest.number, after_sight, rerun=True, family=family, hash=latest.hash)


def _after_sight(looked: Sequence[Opening], candidates: Mapping[str, str]) -> tuple[str, ...]:
    if not looked:
        return ()
    planned = set(looked[0].candidates.values())
    return tuple(sorted(id for id, digest in candidates.items() if digest not in planned))


def _state(
    number: int, after_sight: tuple[str, ...], *, rerun: bool, family: int, hash: str
) -> OpeningState:
    return OpeningState(
        number=number,
        alpha_factor=0.5 ** (number - 1),
        worn_out=number > MOST_OPENINGS,
        after_sight=after_sight,
        first=number == 1,
        rerun=rerun,
        family=family,
        hash=hash,
    )


def _numbers(sketch: Sequence[str]) -> set[int]:
    return {int(value, 16) for value in sketch}


def _complete_below(values: set[int], size: int) -> int:
    """Return the bound below which a sketch holds every row: its largest hash, if it is full."""
    return max(values) if len(values) >= size else _EVERYTHING
