"""Shares, means and ratios over slices: loops, a bootstrap, and what few changed rows may claim."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from shipworthy.measure.one_sided import one_sided
from shipworthy.measure.rates import cautious, mean, paired_change, rate, ratio, summary
from shipworthy.measure.slices import partition

sys.path.insert(0, str(Path(__file__).parent))

from drawn_answers import drawn, runs

ALPHA = 0.025


def loop_deff(x, units):
    """Design effect of a mean from its definition, with the two events that are added."""
    n, names = len(x), sorted(set(units))
    sums = [sum(x[i] - x.mean() for i in range(n) if units[i] == u) for u in names]
    clustered = len(names) / (len(names) - 1) * sum(s * s for s in sums)
    independent = n / (n - 1) * sum((v - x.mean()) ** 2 for v in x)
    size = sum(int((np.asarray(units) == u).sum()) ** 2 for u in names) / n
    return (max(clustered, independent) + 2 * (1 + 0.2 * (size - 1))) / (independent + 2)


@pytest.mark.parametrize("seed", range(3))
def test_design_effects_agree_with_loops(seed):
    parent, candidate = drawn(seed, n=300, units=25)
    rows = partition(parent.frame, ["group"], unit="unit")
    before, after = parent.predicted == parent.labels, candidate.predicted == candidate.labels
    counted = parent.labels == 1
    one = rate(rows, counted, after)
    two = paired_change(rows, counted, before, after, False)
    names = parent.frame["unit"].to_numpy()
    for k, part in enumerate(rows.parts):
        own = part[counted[part]]
        if len(set(names[own])) < 2:
            continue
        assert one.deff[k] == pytest.approx(loop_deff(after[own].astype(float), names[own]))
        change = after[own].astype(float) - before[own]
        assert two.deff[k] == pytest.approx(loop_deff(change, names[own]))
        assert one.trials[k] == two.n[k] == len(own)
        assert one.successes[k] == after[own].sum()
        assert (two.gained - two.lost)[k] == pytest.approx(change.sum())
        assert one.units[k] == two.units[k] == len(set(names[own]))
    assert (one.deff >= 1).all() and (two.deff >= 1).all()


def test_rows_that_are_units_have_no_design_effect():
    parent, candidate = drawn(5)
    rows = partition(parent.frame, ["group"])
    everyone = np.ones(len(parent), bool)
    made = rate(rows, everyone, candidate.predicted == 1)
    assert made.deff.tolist() == [1.0] * rows.m
    assert made.units.tolist() == made.trials.tolist()


def test_rows_of_a_unit_are_taken_as_alike_where_nothing_varies():
    # 200 rows of 20 sources, no event: how alike the rows of a source are was not seen.
    rows = runs(np.zeros(200), 1, units=np.arange(200) // 10)
    none, everyone = np.zeros(200, bool), np.ones(200, bool)
    assert rate(rows, everyone, none).deff.tolist() == pytest.approx([2.8])
    still = paired_change(rows, everyone, everyone, everyone, False)
    assert still.deff.tolist() == pytest.approx([2.8])
    one = rate(rows, everyone, np.arange(200) == 0)
    assert 2 < one.deff[0] < 2.5


def test_one_unit_and_no_rows_give_finite_counts():
    rows = runs(np.zeros(50), 2, units=np.zeros(50))
    made = rate(rows, np.ones(50, bool), np.arange(50) < 25)
    assert made.trials.tolist() == [50.0, 0.0] and made.units.tolist() == [1.0, 0.0]
    assert np.isfinite(made.deff).all() and (made.deff >= 1).all()
    assert one_sided(made, 0.5, "at_least", alpha=ALPHA).reasons == ("unit_count", "no_data")
    found = mean(rows, np.arange(50.0), reach=50.0)
    assert np.isnan(found.standard_error).all() and found.value[0] == 24.5
    assert one_sided(found, 0.5, "at_least", alpha=ALPHA).reasons == ("unit_count", "no_data")


@pytest.mark.parametrize("clustered", [False, True])
def test_mean_agrees_with_loops(clustered):
    parent, _ = drawn(3, n=400)
    rows = partition(parent.frame, ["group"], unit="unit" if clustered else None)
    x = np.random.default_rng(0).gamma(2.0, size=400)
    plain = mean(rows, x, reach=16.0)
    logged = mean(rows, x, reach=16.0, scale="log")
    names = parent.frame["unit"].to_numpy() if clustered else np.arange(400)
    for k, part in enumerate(rows.parts):
        own, centre = x[part], x[part].mean()
        sums = np.array([(own - centre)[names[part] == u].sum() for u in set(names[part])])
        sums = sums / len(part)
        variance = len(sums) / (len(sums) - 1) * np.square(sums).sum()
        typical = (np.abs(sums) ** 3).sum() / np.square(sums).sum()
        skewness = abs((sums**3).sum()) / np.square(sums).sum()
        error = np.sqrt(variance + 4 * typical**2) + 0.74 * skewness
        assert plain.value[k] == pytest.approx(centre)
        assert plain.standard_error[k] == pytest.approx(error)
        assert logged.standard_error[k] == pytest.approx(error / centre)
        assert plain.df[k] == len(sums) - 1
        assert plain.deff[k] >= 1
    if not clustered:
        assert plain.deff.tolist() == [1.0] * rows.m


def test_the_linearised_ratio_agrees_with_a_bootstrap_of_units():
    parent, _ = drawn(7, n=900, units=90)
    rows = partition(parent.frame, unit="unit")
    chosen, wanted = parent.predicted == 1, parent.labels == 1
    top, bottom = (chosen & wanted).astype(float), chosen.astype(float)
    value, influence, total = ratio(rows, top, bottom)
    assert value[0] == pytest.approx(top.sum() / bottom.sum()) and total[0] == bottom.sum()
    assert influence.sum() == pytest.approx(0, abs=1e-12)
    error = np.sqrt(rows.variance(influence, rows.units(np.ones(900, bool))))[0]
    tops, _ = rows.unit_sums(top)
    bottoms, _ = rows.unit_sums(bottom)
    weights = np.random.default_rng(0).multinomial(90, np.full(90, 1 / 90), size=20_000)
    replicates = (weights @ tops) / (weights @ bottoms)
    assert error == pytest.approx(replicates.std(), rel=0.05)


def test_a_ratio_without_denominator_is_no_number():
    rows = runs([0, 0, 1, 1], 2)
    value, influence, total = ratio(rows, np.array([1.0, 0, 0, 0]), np.array([1.0, 1, 0, 0]))
    assert value[0] == 0.5 and np.isnan(value[1]) and total.tolist() == [2.0, 0.0]
    assert influence[:2].tolist() == [0.25, -0.25] and np.isnan(influence[2:]).all()


# Few changed rows


def flips_error(lost, gained):
    """Standard error in units of one flip, and that of the plain linearisation."""
    parts = np.concatenate([-np.ones(lost), np.ones(gained)])
    plain = np.sqrt(np.array([lost + gained], dtype=float))
    one = np.zeros(len(parts), dtype=np.int64)
    return cautious(plain, parts, one, np.array([1.0]))[0], plain[0]


def test_a_limit_on_few_flips_errs_as_allowed_by_exact_enumeration():
    # Lost and gained are Poisson and the truth lies on the limit; the plain error passes too often.
    z, worst, plain_worst = stats.norm.isf(ALPHA), 0.0, 0.0
    lost, gained = np.meshgrid(np.arange(90), np.arange(70), indexing="ij")
    errors = np.array([[flips_error(b, c)[0] for c in range(70)] for b in range(90)])
    plain = np.sqrt(lost + gained)
    for harm in (3, 4, 6, 10, 20, 40):
        for both in (0.0, 0.5, 2, 5, 10, 25):
            p = stats.poisson.pmf(lost, both + harm) * stats.poisson.pmf(gained, both)
            distance = gained - lost + harm
            passed, failed = p[distance >= z * errors].sum(), p[distance <= -z * errors].sum()
            worst = max(worst, passed, failed)
            plain_worst = max(plain_worst, p[(plain > 0) & (distance >= z * plain)].sum())
    assert worst <= 0.0251
    assert plain_worst > 0.1


def test_many_alike_parts_are_hardly_widened():
    parts = np.random.default_rng(0).normal(size=4000)
    plain = np.sqrt(np.array([(parts**2).sum()]))
    wide = cautious(plain, parts, np.zeros(4000, np.int64), np.array([100.0]))
    assert plain[0] < wide[0] < 1.01 * plain[0]


def test_no_change_at_all_reaches_as_far_as_a_share_without_events():
    # Like Tango at 0 flips: about z squared over n rows could have changed by as much as they can.
    n = 600
    made = mean(runs(np.zeros(n), 1), np.zeros(n), reach=1.0)
    upper = stats.norm.isf(ALPHA) * made.standard_error[0]
    assert upper == pytest.approx(2 * 1.96 / n, rel=1e-3)
    assert upper > 1 - ALPHA ** (1 / n)
    for margin, p in ((-0.0075, "pass"), (-0.005, "open")):
        found = one_sided(made, margin, "at_least", alpha=ALPHA)
        assert bool(found.p_pass[0] <= ALPHA) == (p == "pass")
        assert found.p_fail[0] > 0.5 and found.reasons == ("",)


def test_rounding_is_not_taken_for_variation():
    x = np.full(600, 0.1 + 0.2)
    made = mean(runs(np.zeros(600), 1), x, reach=1.0)
    assert made.standard_error[0] == pytest.approx(2 / 600)


def test_a_value_on_the_end_of_its_scale_is_judged_on_the_plain_one():
    rows = runs(np.repeat([0, 1], 300), 2)
    x = np.concatenate([np.zeros(300), np.random.default_rng(0).random(300)])
    made = mean(rows, x, reach=1.0, scale="log")
    assert made.scale == "identity"
    found = one_sided(made, 0.02, "at_most", alpha=ALPHA)
    assert found.p_pass[0] <= ALPHA and found.p_fail[1] <= ALPHA
    assert one_sided(made, 0.01, "at_most", alpha=ALPHA).p_pass[0] > ALPHA


def test_summary_keeps_a_variance_that_it_is_given():
    rows = runs(np.zeros(100), 1)
    influence = np.random.default_rng(0).normal(size=100) / 100
    n = np.array([100.0])
    made = summary(
        rows, np.array([0.9]), influence, n=n, units=n, reach=np.array([1.0]), scale="logit",
        method="given", identical=True, variance=np.array([0.5]),
    )  # fmt: skip
    parts = np.square(influence).sum()
    typical = (np.abs(influence) ** 3).sum() / parts
    skewness = abs((influence**3).sum()) / parts
    error = np.sqrt(0.5 + 4 * typical**2) + 0.74 * skewness
    assert made.standard_error[0] == pytest.approx(error / 0.09)
    assert made.identical.tolist() == [True] and made.method == "given"


# Units (docs/method.md, units and the design effect)


def clustered_rates(seed, count, units, size, icc, p):
    """Rates of `count` runs whose rows come in units that are alike, and as independent rows."""
    rng = np.random.default_rng(seed)
    share = rng.beta(p * (1 - icc) / icc, (1 - p) * (1 - icc) / icc, (count, units))
    success = rng.random((count, units, size)) < share[..., None]
    codes = np.repeat(np.arange(count), units * size)
    unit = np.repeat(np.arange(count * units), size) % (units * 7)
    everyone = np.ones(len(codes), bool)
    made = rate(runs(codes, count, unit), everyone, success.ravel())
    return made, rate(runs(codes, count), everyone, success.ravel())


def errors(estimate, bound):
    """Share of false passes and false fails of "at most bound" where the truth is the bound."""
    found = one_sided(estimate, bound, "at_most", alpha=ALPHA)
    return np.mean(found.p_pass <= ALPHA), np.mean(found.p_fail <= ALPHA)


@pytest.mark.parametrize(
    ("units", "p"), [(60, 0.2), (60, 0.05), pytest.param(60, 0.02, marks=pytest.mark.slow)]
)
def test_clustered_shares_err_as_allowed_and_independent_rows_do_not(units, p):
    made, independent = clustered_rates(1, 2000, units, 10, 0.2, p)
    false_pass, false_fail = errors(made, p)
    assert false_pass <= 0.047 and false_fail <= 0.047
    assert max(errors(independent, p)) > 0.08


@pytest.mark.slow
@pytest.mark.parametrize(("units", "p"), [(10, 0.1), (10, 0.3), (20, 0.02), (200, 0.02)])
def test_few_units_and_few_events_err_as_allowed(units, p):
    made, _ = clustered_rates(2, 4000, units, 10, 0.2, p)
    false_pass, false_fail = errors(made, p)
    assert false_pass <= 0.047 and false_fail <= 0.047
