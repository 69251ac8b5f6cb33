import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipworthy.core.errors import InputError
from shipworthy.core.ledger import Ledger
from shipworthy.core.openings import (
    OpeningState,
    open_test,
    overlap,
    row_hashes,
    rows_sketch,
    share_of_new_rows,
)

HASHES = np.random.default_rng(7).integers(0, 2**64, size=40_000, dtype=np.uint64)


def _rows(start: int, stop: int) -> tuple[str, ...]:
    return rows_sketch(HASHES[start:stop])


class Desk:
    """A ledger, with short calls for tests. A test set is a range of row numbers."""

    def __init__(self, path) -> None:
        self.ledger = Ledger(path)

    def look(
        self, rows: tuple[int, int], *candidates: str, policy: str = "p", nominated=None
    ) -> OpeningState:
        names = {f"id-{c}": c for c in candidates}
        chosen = names if nominated is None else [f"id-{c}" for c in nominated]
        return open_test(
            self.ledger,
            test_digest=f"test {rows}",
            rows_sketch=_rows(*rows),
            candidates=names,
            policy_digest=policy,
            nominated=list(chosen),
        )

    def kinds(self) -> list[str]:
        return [line.kind for line in self.ledger.lines()]


@pytest.fixture
def desk(tmp_path) -> Desk:
    return Desk(tmp_path / "ledger.jsonl")


def test_the_first_look(desk: Desk) -> None:
    state = desk.look((0, 1000), "a", "b")
    assert (state.number, state.alpha_factor, state.worn_out) == (1, 1.0, False)
    assert (state.first, state.rerun, state.after_sight, state.family) == (True, False, (), 2)
    assert desk.kinds() == ["nomination", "opening"]
    nomination, opening = desk.ledger.lines()
    assert state.hash == opening.hash
    assert nomination.payload["nominated"] == ["id-a", "id-b"]
    assert "rows_sketch" not in nomination.payload


def test_a_rerun_is_no_look(desk: Desk) -> None:
    first = desk.look((0, 1000), "a", "b")
    again = desk.look((0, 1000), "a", "b")
    part = desk.look((0, 1000), "b")
    assert again.rerun
    assert (again.number, again.hash, again.family) == (1, first.hash, 2)
    assert (part.number, part.rerun) == (1, True)
    assert part.family == 2, "dropping a candidate after the look must not soften Holm"
    assert len(desk.ledger.lines()) == 2


def test_other_candidates_policy_or_nomination_are_a_new_look(desk: Desk) -> None:
    desk.look((0, 1000), "a", "b", nominated=["a"])
    assert desk.look((0, 1000), "a", "c").number == 2
    assert desk.look((0, 1000), "a", "b", policy="q").number == 3
    assert desk.look((0, 1000), "a", "b", nominated=["b"]).number == 4
    assert desk.look((0, 1000), "a", "b", nominated=[]).rerun


def test_a_rerun_over_two_looks_takes_the_later_number(desk: Desk) -> None:
    desk.look((0, 1000), "a")
    desk.look((0, 1000), "b")
    both = desk.look((0, 1000), "a", "b")
    assert (both.number, both.rerun, both.after_sight) == (2, True, ("id-b",))
    assert desk.look((0, 1000), "a").number == 1


def test_levels_halve_and_the_sixth_look_is_worn_out(desk: Desk) -> None:
    states = [desk.look((0, 1000), "a", policy=f"p{k}") for k in range(7)]
    assert [s.number for s in states] == [1, 2, 3, 4, 5, 6, 7]
    assert [s.alpha_factor for s in states[:5]] == [1, 0.5, 0.25, 0.125, 0.0625]
    assert sum(s.alpha_factor for s in states) <= 2
    assert [s.worn_out for s in states] == [False] * 5 + [True] * 2
    assert [s.first for s in states] == [True] + [False] * 6


def test_candidates_made_after_a_look_are_marked(desk: Desk) -> None:
    desk.look((0, 1000), "a", "b")
    assert desk.look((0, 1000), "b", "c").after_sight == ("id-c",)
    assert desk.look((0, 1000), "a", "c", policy="q").after_sight == ("id-c",)


def test_the_same_candidate_under_another_name_is_not_new(desk: Desk) -> None:
    desk.look((0, 1000), "a")
    state = open_test(
        desk.ledger,
        test_digest="test (0, 1000)",
        rows_sketch=_rows(0, 1000),
        candidates={"other name": "a"},
        policy_digest="p",
        nominated=["other name"],
    )
    assert (state.number, state.rerun) == (1, True)


def test_more_rows_are_the_next_look(desk: Desk) -> None:
    assert desk.look((0, 1000), "a").number == 1
    assert desk.look((0, 1400), "a").number == 2
    assert desk.look((0, 1900), "a").number == 3


def test_other_rows_are_another_chain(desk: Desk) -> None:
    desk.look((0, 1000), "a")
    other = desk.look((5000, 6000), "a", "b")
    assert (other.number, other.first, other.after_sight) == (1, True, ())
    assert desk.look((0, 1000), "c").number == 2


def test_mostly_new_rows_start_again(desk: Desk) -> None:
    for k in range(6):
        desk.look((0, 1000), "a", policy=f"p{k}")
    fresh = desk.look((600, 2000), "b")
    assert (fresh.number, fresh.worn_out, fresh.after_sight) == (1, False, ())
    assert desk.look((600, 2000), "c").number == 2
    # The old rows stay worn out, also by the look at the set that holds some of them.
    assert desk.look((0, 1000), "c").number == 9


def test_rows_seen_in_parts_are_not_new(desk: Desk) -> None:
    desk.look((0, 900), "a")
    assert desk.look((800, 1500), "a").number == 1
    assert desk.look((0, 1500), "a").number == 3


def test_half_new_to_the_first_look_only_is_no_new_start(desk: Desk) -> None:
    desk.look((0, 700), "a")
    desk.look((0, 1100), "a")
    assert desk.look((0, 1600), "a").number == 3


def test_chains_join_through_a_set_between(desk: Desk) -> None:
    desk.look((0, 1000), "a")
    desk.look((1000, 2000), "a")
    joined = desk.look((500, 1500), "a")
    assert joined.number == 3


def test_without_a_ledger_every_look_is_the_first() -> None:
    state = open_test(
        None,
        test_digest="t",
        rows_sketch=(),
        candidates={"x": "a"},
        policy_digest="p",
        nominated=["x"],
    )
    assert state == OpeningState(family=1)


def test_nominated_must_be_candidates(desk: Desk) -> None:
    with pytest.raises(ValueError, match="nominated but no candidate: id-z"):
        desk.look((0, 10), "a", nominated=["z"])


def test_a_broken_ledger_counts_nothing(desk: Desk) -> None:
    desk.look((0, 1000), "a")
    rows = desk.ledger.path.read_bytes().splitlines(keepends=True)
    desk.ledger.path.write_bytes(rows[1])
    with pytest.raises(InputError, match="ledger.jsonl:1: the line says number 2"):
        desk.look((0, 1000), "b")


def test_a_look_goes_on_after_a_torn_line(desk: Desk) -> None:
    desk.look((0, 1000), "a")
    content = desk.ledger.path.read_bytes()
    desk.ledger.path.write_bytes(content[:-40])
    assert desk.look((0, 1000), "b").number == 1
    assert desk.kinds() == ["nomination", "recovered", "nomination", "opening"]


def test_the_sketch_is_bounded_distinct_and_ascending() -> None:
    sketch = rows_sketch(np.repeat(HASHES[:1000], 3))
    assert len(sketch) == 256
    assert list(sketch) == sorted(set(sketch))
    assert all(len(value) == 16 for value in sketch)
    assert rows_sketch(HASHES[:10][::-1]) == rows_sketch(HASHES[:10])
    assert rows_sketch(np.array([], dtype=np.uint64)) == ()


def test_row_hashes_are_the_same_everywhere() -> None:
    hashes = row_hashes(["a", "语言", ""])
    assert hashes.dtype == np.uint64
    # blake2b of 8 bytes, read as a little-endian number
    assert [f"{value:016x}" for value in hashes.tolist()] == [
        "2f42665b399ef840", "cafe23076c3bc9f6", "b4b2797457a0a6e4"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "seen"),
    [(300, 300), (1000, 1000), (1000, 8000), (8000, 1000), (5000, 5000)],
)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.8, 1.0])
def test_the_estimate_is_within_its_error(rows: int, seen: int, share: float) -> None:
    rng = np.random.default_rng([rows, seen, int(share * 10)])
    known = min(round(rows * (1 - share)), seen)
    truth = 1 - known / rows
    misses = 0
    for _ in range(40):
        pool = rng.integers(0, 2**64, size=rows + seen, dtype=np.uint64)
        earlier, current = pool[:seen], np.concatenate([pool[:known], pool[seen:]])[:rows]
        found, evidence = share_of_new_rows(rows_sketch(current), [rows_sketch(earlier)])
        assert evidence > 0
        error = np.sqrt(max(truth * (1 - truth), 1e-9) / evidence)
        misses += abs(found - truth) > 4 * error + 1e-9
    assert misses <= 2


@settings(deadline=None)
@given(
    st.sets(st.integers(0, 400), max_size=200),
    st.lists(st.sets(st.integers(0, 400), max_size=200), max_size=3),
)
def test_whole_sketches_are_exact(current: set[int], earlier: list[set[int]]) -> None:
    sketch = rows_sketch(HASHES[sorted(current)])
    others = [rows_sketch(HASHES[sorted(rows)]) for rows in earlier]
    share, evidence = share_of_new_rows(sketch, others)
    new = current - set().union(*earlier)
    assert evidence == len(current)
    assert share == (len(new) / len(current) if current else 1.0)
    for rows, other in zip(earlier, others, strict=True):
        assert overlap(sketch, other) == bool(current & rows)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 3000), st.integers(1, 3000), st.integers(0, 3000), st.integers(1, 3000))
def test_an_overlap_is_never_made_up(a: int, n: int, b: int, m: int) -> None:
    common = min(a + n, b + m) > max(a, b)
    assert common or not overlap(_rows(a, a + n), _rows(b, b + m))
