from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from toolkit.stats.adjust import fit, outcome_of, usable
from toolkit.stats.estimate import Group, difference, fieller
from toolkit.stats.moments import Moments

NUMBERS = st.floats(-1e4, 1e4, allow_nan=False)


def group(rows, terms=1):
    moments = Moments.of(rows)
    outcome = outcome_of(moments, terms)
    return Group(moments.n, outcome.value, moments.variance_of(outcome.weights) / moments.n)


def simulated(seed=0, n=600, share=0.3):
    rng = np.random.default_rng(seed)
    x = rng.lognormal(size=(n, 2))
    treated = rng.random(n) < share
    y = x @ [1, 0.5] + treated * 0.5 * x[:, 0] + rng.normal(size=n)
    return np.c_[y, x], treated


@given(arrays(float, st.tuples(st.integers(1, 12), st.just(3)), elements=NUMBERS), st.data())
def test_moments_add_up_to_those_of_all_rows_however_they_are_split(rows, data):
    cut = data.draw(st.integers(0, len(rows)))
    whole, parts = Moments.of(rows), Moments.of(rows[:cut]) + Moments.of(rows[cut:])
    assert parts.n == whole.n
    scale = max(1.0, float(np.abs(rows).max()))
    np.testing.assert_allclose(parts.mean, whole.mean, atol=1e-10 * scale)
    np.testing.assert_allclose(parts.products, whole.products, atol=1e-9 * scale**2)
    np.testing.assert_allclose(parts.cubes, whole.cubes, atol=1e-8 * scale**3)


@given(arrays(float, st.tuples(st.integers(1, 12), st.just(2)), elements=NUMBERS), st.integers(0, 50))
def test_silent_customers_count_as_rows_of_zeros(rows, silent):
    merged = Moments.of(rows).with_silent(len(rows) + silent)
    whole = Moments.of(np.r_[rows, np.zeros((silent, 2))])
    scale = max(1.0, float(np.abs(rows).max()))
    np.testing.assert_allclose(merged.products, whole.products, atol=1e-9 * scale**2)
    np.testing.assert_allclose(merged.cubes, whole.cubes, atol=1e-8 * scale**3)


def test_moments_stay_exact_far_from_zero():
    rows = 1e9 + np.random.default_rng(0).random((1000, 1))
    assert Moments.of(rows).covariance[0, 0] == pytest.approx(np.var(rows, ddof=1), rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_a_difference_is_welchs(seed):
    rows, treated = simulated(seed)
    found = difference(group(rows[treated, :1]), group(rows[~treated, :1]), 0.05)
    oracle = scipy.stats.ttest_ind(rows[treated, 0], rows[~treated, 0], equal_var=False)
    interval = oracle.confidence_interval(0.95)
    assert found.p_value == pytest.approx(oracle.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found.df == pytest.approx(oracle.df, rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_an_adjusted_difference_is_the_interacted_regressions_with_hc2(seed):
    rows, treated = simulated(seed)
    arms = [rows[treated], rows[~treated]]
    moments = [Moments.of(each) for each in arms]
    pooled = moments[0] + moments[1]
    kept = usable(pooled, [1, 2])
    fits = [fit(each, outcome_of(each, 1), kept, pooled.mean[kept]) for each in moments]
    groups = [each.group(*each.residual_sums(part)) for each, part in zip(fits, arms, strict=True)]
    found = difference(*groups, 0.05, normal=True)
    centred = rows[:, 1:] - rows[:, 1:].mean(axis=0)
    design = np.c_[np.ones(len(rows)), treated, centred, centred * treated[:, None]]
    oracle = sm.OLS(rows[:, 0], design).fit(cov_type="HC2")
    assert found.value == pytest.approx(oracle.params[1], rel=1e-9)
    assert found.se == pytest.approx(oracle.bse[1], rel=1e-9)
    assert (found.low, found.high) == pytest.approx(tuple(oracle.conf_int()[1]), rel=1e-9)


def test_a_ratio_has_the_delta_methods_variance():
    rng = np.random.default_rng(4)
    orders = rng.poisson(0.4, 4000).astype(float)
    rows = np.c_[orders * rng.lognormal(3, 0.5, 4000), orders]
    found = group(rows, terms=2)
    m, cov = rows.mean(axis=0), np.cov(rows.T)
    ratio = m[0] / m[1]
    variance = (cov[0, 0] - 2 * ratio * cov[0, 1] + ratio**2 * cov[1, 1]) / m[1] ** 2 / len(rows)
    assert found.mean == pytest.approx(ratio, rel=1e-12)
    assert found.variance == pytest.approx(variance, rel=1e-9)


positive = st.floats(0.01, 100)


@settings(max_examples=200)
@given(positive, positive, st.floats(0.001, 3), st.floats(0.001, 3))
def test_fiellers_ends_solve_his_equation(treated, control, treated_se, control_se):
    found = fieller(Group(50, treated, treated_se**2), Group(50, control, control_se**2), 0.05)
    assert found.value == pytest.approx(treated / control - 1)
    for end in (found.low, found.high):
        if end is not None:
            ratio = end + 1
            left = (treated - ratio * control) ** 2
            right = 1.959963984540054**2 * (treated_se**2 + ratio**2 * control_se**2)
            assert left == pytest.approx(right, rel=1e-6, abs=1e-9)


def test_a_relative_lift_over_an_uncertain_control_has_no_upper_end():
    found = fieller(Group(1000, 0.03, 2.9e-5), Group(1000, 0.002, 2e-6), 0.05)
    assert found.low is not None
    assert found.high is None


@pytest.mark.parametrize(("mean", "variance"), [(0.0, 0.0), (-0.2, 1e-4), (1e-16, 1e-4)])
def test_over_a_control_not_above_zero_there_is_no_relative_lift(mean, variance):
    found = fieller(Group(1000, 0.03, 2.9e-5), Group(1000, mean, variance), 0.05)
    assert (found.value, found.low, found.high) == (None, None, None)


def test_published_relative_lift_from_sums_is_reproduced():
    # sums, sums of squares and counts of a published case of two revenue metrics
    def of(total, squares, n):
        mean = total / n
        return Group(n, mean, (squares - total * mean) / (n - 1) / n)

    control, treated = of(1396.87, 52377.9767, 3407), of(2422.7, 134698.29, 3461)
    relative = treated.mean / control.mean - 1
    se = np.sqrt(treated.variance / control.mean**2 + control.variance * treated.mean**2 / control.mean**4)
    assert relative == pytest.approx(0.70732, abs=1e-5)
    assert (relative - 1.96 * se, relative + 1.96 * se) == pytest.approx((-0.03526, 1.44989), abs=2e-4)
    exact = fieller(treated, control, 0.05)
    assert exact.low < relative < exact.high


@given(st.integers(3, 30), st.integers(1, 4))
def test_collinear_and_constant_covariates_are_left_out(n, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    assume(np.ptp(x) > 0.1)
    rows = np.c_[rng.normal(size=n), x, 2 * x + 1, np.full(n, 7.0)]
    assert usable(Moments.of(rows), [1, 2, 3]) == [1]


def test_an_arm_too_small_for_its_covariates_is_not_adjusted():
    moments = Moments.of(np.random.default_rng(0).normal(size=(3, 3)))
    assert fit(moments, outcome_of(moments, 1), [1, 2], np.zeros(2)) is None


def test_groups_that_do_not_vary_get_no_p_value():
    found = difference(Group(10, 1.0, 0.0), Group(10, 1.0, 0.0), 0.05)
    assert (found.value, found.se, found.p_value) == (0.0, 0.0, None)


def test_lalondes_experiment_gives_its_published_difference_and_hc2_error():
    from causaldata import nsw_mixtape

    data = nsw_mixtape.load_pandas().data
    treated, control = (group(data[data["treat"] == arm][["re78"]].to_numpy(dtype=float)) for arm in (1, 0))
    found = difference(treated, control, 0.05)
    assert found.value == pytest.approx(1794.343, abs=1e-3)
    assert found.se == pytest.approx(670.997, abs=1e-3)
