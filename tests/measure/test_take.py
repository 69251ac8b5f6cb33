"""Some slices of an estimate, in another order."""

import sys
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from shipworthy.measure.catalogue import MEASURES
from shipworthy.measure.estimates import Fact, Unmeasured, take
from shipworthy.measure.one_sided import one_sided
from shipworthy.measure.quality import quality
from shipworthy.measure.shown import assess
from shipworthy.measure.slices import partition

sys.path.insert(0, str(Path(__file__).parent))

from drawn_answers import drawn

QUALITY = [name for name, kind in MEASURES.items() if kind.kind == "quality"]


def arrays(estimate, m):
    """Every array and list of reasons in an estimate, with its first axis over the slices."""
    if is_dataclass(estimate):
        for field in fields(estimate):
            yield from arrays(getattr(estimate, field.name), m)
    elif isinstance(estimate, tuple):
        if not estimate or isinstance(estimate[0], str):
            yield np.array(estimate)
        else:
            for part in estimate:
                yield from arrays(part, m)
    elif hasattr(estimate, "shape"):
        assert estimate.shape[0] == m
        yield estimate


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("measure", QUALITY)
@pytest.mark.parametrize("places", [[3, 0], [1, 1], []])
def test_the_slices_that_are_asked_for(measure, k, places):
    parent, candidate = drawn(1, n=500, k=k)
    rows = partition(parent.frame, ["group"], unit="unit")
    for before in (None, parent):
        made = quality(measure, rows, candidate, before)
        if isinstance(made, Unmeasured):
            continue
        some = take(made, places)
        assert type(some) is type(made)
        pairs = list(zip(arrays(made, 4), arrays(some, len(places)), strict=True))
        assert pairs
        for whole, part in pairs:
            np.testing.assert_array_equal(part, whole[list(places)])
        if len(places) == 0:
            continue
        one, two = assess(made), assess(some)
        np.testing.assert_array_equal(two.low, one.low[list(places)])
        if measure not in ("accuracy", "f1", "log_loss"):
            continue  # others are decided by the same rules, more slowly
        tests = [one_sided(e, 0.1, "at_least", alpha=0.025) for e in (made, some)]
        np.testing.assert_array_equal(tests[1].p_pass, tests[0].p_pass[list(places)])
        assert tests[1].reasons == tuple(tests[0].reasons[p] for p in places)


def test_what_does_not_run_over_slices_stays():
    parent, candidate = drawn(1)
    rows = partition(parent.frame, ["group"])
    made = replace(quality("log_loss", rows, candidate), reason="too_few_processes")
    some = take(made, [1])
    assert (some.scale, some.method, some.reason) == ("log", made.method, "too_few_processes")


def test_facts_and_gaps_are_taken_too():
    assert take(Fact(np.array([1.0, 2.0])), [1]).value.tolist() == [2.0]
    assert take(Unmeasured("no_scores", 4), [1, 2]) == Unmeasured("no_scores", 2)
