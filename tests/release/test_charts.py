"""Drawings: places are those of the numbers, marks those of the outcomes."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipworthy.core.records import Outcome
from shipworthy.release import charts
from shipworthy.release.chart_frontier import HEIGHT, Place, frontier, unbeaten
from shipworthy.release.charts import Axis, Interval, change_axis, gauge_axis

PASS, FAIL, OPEN = Outcome.PASS, Outcome.FAIL, Outcome.CANNOT_TELL
POINTS = st.floats(-60, 60)


def lines(drawing, cls):
    return [
        tuple(float(x) for x in found)
        for found in re.findall(rf'<line class="{cls}[^"]*" x1="([\d.]+)%" x2="([\d.]+)%"', drawing)
    ]


def test_interval_limit_and_parent_stand_where_their_numbers_are():
    axis = change_axis([-1.8], -1.0)
    assert (axis.low, axis.high) == (-7.0, 3.5)
    drawing = charts.change(Interval(-1.8, -2.8, -0.9, OPEN), axis, -1.0, label="so")
    place = {v: round(100 * (v + 7) / 10.5, 2) for v in (-2.8, -0.9, -1.0, 0.0, -1.8)}
    assert lines(drawing, "i cannot_tell") == [(place[-2.8], place[-0.9])]
    assert lines(drawing, "l") == [(place[-1.0], place[-1.0])]
    assert lines(drawing, "p") == [(place[0.0], place[0.0])]
    assert f'<svg x="{charts.percent(place[-1.8])}" y="50%"' in drawing
    assert f'<rect class="out" x="0" y="0" width="{charts.percent(place[-1.0])}"' in drawing
    assert 'role="img" aria-label="so"' in drawing


def test_marks_differ_in_shape_and_shrink_over_short_intervals():
    shapes = [charts.mark(o, 50, "50%") for o in (PASS, FAIL, OPEN, None)]
    assert ['<circle r="4.5"' in s for s in shapes] == [True, False, False, False]
    assert 'width="9.0" height="9.0"' in shapes[1] and "<path" in shapes[2]
    axis = Axis(-7, 3.5)
    short = charts.interval(Interval(0, -0.1, 0.1, PASS), axis, "13")
    long = charts.interval(Interval(0, -0.6, 0.6, PASS), axis, "13")
    assert 'r="3.25"' in short and 'r="4.5"' in long
    exact = charts.interval(Interval(0, 0, 0, PASS), axis, "13")
    assert "<line" not in exact


def test_an_interval_that_leaves_ends_in_an_arrow_and_no_data_is_a_dash():
    axis = Axis(-7, 3.5)
    left = charts.interval(Interval(-6, -9, -3, FAIL), axis, "13")
    assert left.count('class="a fail"') == 1 and lines(left, "i fail")[0][0] == 0
    both = charts.interval(Interval(0, -math.inf, math.inf, OPEN), axis, "13")
    assert both.count('class="a cannot_tell"') == 2
    nothing = charts.interval(Interval(math.nan, math.nan, math.nan, OPEN), axis, "13")
    assert "—" in nothing and "class=" in nothing and "<line" not in nothing


def test_the_domain_widens_in_steps_of_one_for_points_and_limits_only():
    assert change_axis([-4.1, 0.2], -1.0) == Axis(-7, 3.5)
    assert change_axis([-9.2], -1.0) == Axis(-10, 3.5)
    assert change_axis([0.0], -8.5) == Axis(-9, 3.5)
    assert change_axis([5.0], -1.0) == Axis(-7, 5.5)
    assert change_axis([4.1], 1.0, mirrored=True) == Axis(-3.5, 7, True)


def test_small_numbers_get_an_axis_of_their_size():
    axis = change_axis([0.013], 0.02, mirrored=True)
    assert axis.high - axis.low < 0.1
    assert axis.at(0.02) < axis.at(0.013) < axis.at(0.0)


def test_ticks_are_round_and_hold_zero():
    assert Axis(-7, 3.5).ticks() == [-6, -4, -2, 0, 2]
    labels = charts.tick_labels(Axis(-7, 3.5))
    assert [t for t in ("−6", "−4", "−2", ">0<", "+2") if t not in labels] == []


@given(st.lists(POINTS, min_size=1, max_size=8), POINTS, st.booleans())
def test_points_limit_and_parent_never_leave_the_axis(points, limit, mirrored):
    axis = change_axis(points, limit, mirrored=mirrored)
    for value in (*points, limit, 0.0):
        assert -1e-6 <= axis.at(value) <= 100 + 1e-6
    assert len(axis.ticks()) >= 2


def test_a_gauge_puts_limit_at_30_and_parent_at_60_whichever_side_is_better():
    axis = gauge_axis(Interval(7, 6.8, 7.4, PASS), 20, 12.8, at_least=False)
    assert axis.at(20) == pytest.approx(30) and axis.at(12.8) == pytest.approx(60)
    assert axis.at(7) == pytest.approx(30 + 30 * 13 / 7.2)
    axis = gauge_axis(Interval(87.16, 86, 88, PASS), 80, 87.18, at_least=True)
    assert axis.at(80) == pytest.approx(30) and axis.at(87.18) == pytest.approx(60)


@given(
    st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), st.one_of(st.just(math.nan), st.floats(-1e4, 1e4)),
    st.booleans(),
)  # fmt: skip
def test_a_gauge_keeps_value_inside_and_better_to_the_right(value, limit, parent, at_least):
    if abs(value - limit) < 1e-6 and not abs(parent - limit) > 1e-6:
        parent = limit + 1
    axis = gauge_axis(Interval(value, value, value, PASS), limit, parent, at_least=at_least)
    assert axis.at(limit) == pytest.approx(30, abs=0.01)
    assert 5.9 <= axis.at(value) <= 94.1
    better = value > limit if at_least else value < limit
    if abs(value - limit) > 1e-3 * max(abs(limit), 1):
        assert (axis.at(value) > 30) is better


def test_a_gauge_without_number_or_limit_says_so():
    for value, limit in ((math.nan, 20.0), (7.0, math.nan)):
        drawing = charts.gauge(
            Interval(value, value, value, OPEN), limit, 12.8, at_least=False, label="cannot tell"
        )
        assert "—" in drawing and "nan" not in drawing


def test_labels_of_drawings_are_escaped():
    assert 'aria-label="&lt;b&gt; &quot;x&quot;"' in charts.svg("", height=10, label='<b> "x"')


def place(name, x, y, low=None, high=None, outcome=PASS):
    ends = (y if end is None else end for end in (low, high))
    return Place(name, x, str(x), Interval(y, *ends, outcome))


PLACES = [
    place("bf16 weights", 45.5, 0.0, -0.6, 0.6),
    place("OpenVINO bf16", 91.0, 0.0, -0.6, 0.6),
    place("int8 dynamic", 23.5, -1.8, -2.8, -0.9, OPEN),
    place("3 layers, retrained", 48.0, -4.1, -6.6, -1.7, FAIL),
]


def test_the_step_joins_those_that_no_other_beats():
    assert [p.name for p in unbeaten(PLACES)] == ["int8 dynamic", "bf16 weights"]


def labels(drawing):
    """Boxes of the names at a wide page: left, top, right, bottom in px."""
    pattern = (
        r'<text class="(?:name|of-parent)" x="([\d.]+)%" dx="(-?\d+)" y="([\d.]+)"'
        r'[^>]*text-anchor="(\w+)">(.*?)</text>'
    )
    boxes = []
    for x, dx, y, anchor, inner in re.findall(pattern, drawing):
        said = re.sub(r"<[^>]*>", "", inner)
        long = 6.9 * len(said) + 6 * ("<tspan" in inner)
        start = float(x) / 100 * 508 + int(dx)
        left = {"start": start, "end": start - long, "middle": start - long / 2}[anchor]
        boxes.append((left, float(y) - 7, left + long, float(y) + 7))
    return boxes


def test_labels_of_the_frontier_do_not_touch():
    panel = frontier(PLACES, parent=("fp32 parent", 90.9), limit=-1.0, title="size", label="all")
    boxes = labels(panel.drawing)
    assert len(boxes) == 5
    for i, a in enumerate(boxes):
        assert a[0] >= 0 and a[2] <= 520 and a[1] >= 0 and a[3] <= HEIGHT
        for b in boxes[:i]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_frontier_tells_limit_and_long_names_in_full():
    long = place("n" * 60, 10.0, -0.2)
    panel = frontier([long], parent=None, limit=-2.5, title="t", label="l", limit_text="−2.5")
    assert f"<title>{'n' * 60}</title>" in panel.drawing
    assert ">−2.5</text>" in panel.labels
    assert 'role="img"' in panel.drawing
    alone = frontier([long], parent=None, limit=None, title="t", label="l")
    assert 'class="out"' not in alone.drawing


@given(
    st.lists(st.tuples(st.floats(0.01, 1e5), st.floats(-40, 40)), min_size=1, max_size=6),
    st.floats(-30, 5),
)
def test_frontier_keeps_everything_in_the_drawing(points, limit):
    places = [place(f"c{i}", x, y) for i, (x, y) in enumerate(points)]
    panel = frontier(places, parent=("p", 3.0), limit=limit, title="t", label="l")
    for x, y in re.findall(
        r'<svg x="([\d.]+)%" y="([\d.]+)" overflow="visible" class="m', panel.drawing
    ):
        assert 0 <= float(x) <= 100 and 0 <= float(y) <= HEIGHT


def test_a_frontier_where_less_is_better_has_better_above():
    changes = {"near": 0.01, "at": 0.05, "far": 0.10}
    places = [place(name, 10.0 + 10 * i, y) for i, (name, y) in enumerate(changes.items())]
    panel = frontier(
        places, parent=("p", 60.0), limit=0.05, title="t", label="l", limit_text="0.05",
        mirrored=True,
    )  # fmt: skip
    heights = re.findall(r'y="([\d.]+)" overflow="visible" class="m', panel.drawing)
    near, at, far = (float(y) for y in heights)
    assert near < at < far
    outside = re.search(r'class="out" x="0" y="([\d.]+)"', panel.drawing)
    assert outside is not None and float(outside[1]) == pytest.approx(at, abs=0.1)
    # They fill the drawing, and the numbers beside it are those that were measured.
    assert far - near > HEIGHT / 4
    assert ">+0.10</text>" in panel.labels and ">−0.10</text>" not in panel.labels
