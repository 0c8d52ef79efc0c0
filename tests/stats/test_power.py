from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.power import NormalIndPower, TTestIndPower, normal_power_het
from statsmodels.stats.proportion import proportion_effectsize

from toolkit.stats.estimate import Group, difference
from toolkit.stats.moments import Moments
from toolkit.stats.planning import (
    always_on_inflation,
    cost_of_holdout,
    looks_inflation,
    planned_variance,
    weeks_needed,
)
from toolkit.stats.power import (
    customers_needed,
    power_of,
    share_explained,
    smallest_conversion_effect,
    smallest_effect,
    variance_per_customer,
)
from toolkit.stats.sequential import planned_boundaries
from toolkit.stats.simulated import corrected_p_value, simulated_power, simulated_smallest, welch_p_value
from toolkit.stats.skew import corrected

EFFECT = st.floats(0.0, 1.5)
SIZE = st.floats(20, 50_000)
ALPHA = st.sampled_from([0.05, 0.01, 0.2])
ORACLES = {"z": NormalIndPower(), "t": TTestIndPower()}
BOTH = pytest.mark.parametrize("test", ["z", "t"])


@BOTH
@settings(deadline=None)
@given(effect=EFFECT, treated=SIZE, held=SIZE, alpha=ALPHA, sd=st.floats(0.1, 50))
def test_power_is_that_of_statsmodels(test, effect, treated, held, alpha, sd):
    found = power_of(effect * sd, sd**2, treated, held, alpha=alpha, test=test)
    oracle = ORACLES[test].power(effect, treated, alpha, ratio=held / treated)
    if math.isnan(oracle):  # the wrong tail of the non-central t underflows there
        oracle = ORACLES[test].power(effect, treated, alpha / 2, ratio=held / treated, alternative="larger")
    if math.isnan(oracle):  # and here both do: the effect is so many standard errors that none is missed
        assert abs(effect) / math.sqrt(1 / treated + 1 / held) > 30
        oracle = 1.0
    assert found == pytest.approx(oracle, rel=1e-9, abs=1e-12)


@BOTH
@pytest.mark.parametrize(("treated", "held"), [(900, 100), (50, 50), (12, 7), (18_000, 2_000)])
@pytest.mark.parametrize("power", [0.8, 0.95, 0.1])
def test_the_smallest_effect_is_that_of_statsmodels(test, treated, held, power):
    found = smallest_effect(4.0, treated, held, power=power, test=test)
    oracle = ORACLES[test].solve_power(None, treated, 0.05, power, ratio=held / treated)
    assert found == pytest.approx(2 * oracle, rel=1e-4)  # as close as its solver comes
    theirs = ORACLES[test].power(found / 2, treated, 0.05, ratio=held / treated)
    assert theirs == pytest.approx(power, rel=1e-9)


@BOTH
@pytest.mark.parametrize("effect", [0.05, 0.2, 0.9])
@pytest.mark.parametrize("held", [0.5, 0.1])
def test_customers_needed_are_those_of_statsmodels(test, effect, held):
    found = customers_needed(effect * 3, 9.0, held, test=test)
    ratio = held / (1 - held)
    oracle = ORACLES[test].solve_power(effect, None, 0.05, 0.8, ratio=ratio) * (1 + ratio)
    assert found == math.ceil(oracle)


@settings(deadline=None)
@given(st.floats(0.005, 0.5), st.floats(0, 0.4), st.integers(200, 20_000), st.integers(200, 20_000))
def test_two_shares_have_the_unpooled_tests_power(base, effect, treated, held):
    share = base + effect
    found = power_of(effect, base * (1 - base), treated, held, treated_variance=share * (1 - share))
    sd = math.sqrt(share * (1 - share) / treated + base * (1 - base) / held)
    assert found == pytest.approx(normal_power_het(effect, 1, 0.05, sd, sd), rel=1e-9)


@pytest.mark.parametrize(("base", "treated", "held"), [(0.03, 18_000, 2_000), (0.2, 500, 500), (0.5, 90, 40)])
def test_the_smallest_rise_of_a_share_is_found_with_the_power_asked_for(base, treated, held):
    rise = smallest_conversion_effect(base, treated, held)
    share = base + rise
    power = power_of(rise, base * (1 - base), treated, held, treated_variance=share * (1 - share))
    assert power == pytest.approx(0.8, rel=1e-9)
    rise = smallest_conversion_effect(base, treated, held, scale="arcsine")
    h = proportion_effectsize(base + rise, base)
    assert NormalIndPower().power(h, treated, 0.05, ratio=held / treated) == pytest.approx(0.8, rel=1e-9)


def test_a_share_near_one_has_no_rise_to_find():
    assert smallest_conversion_effect(0.99, 20, 20, scale="arcsine") is None
    assert smallest_conversion_effect(0.99, 20, 20) is None


def test_a_welch_test_of_shares_rejects_as_often_as_planned():
    rng, runs = np.random.default_rng(3), 20_000
    rise = smallest_conversion_effect(0.1, 6000, 1500)
    one = rng.binomial(6000, 0.1 + rise, runs) / 6000
    other = rng.binomial(1500, 0.1, runs) / 1500
    z = (one - other) / np.sqrt(one * (1 - one) / 6000 + other * (1 - other) / 1500)
    assert np.mean(np.abs(z) > 1.959964) == pytest.approx(0.8, abs=0.015)


def test_the_t_test_with_two_variances_is_near_its_simulated_power():
    rng, runs = np.random.default_rng(4), 4000
    found = power_of(1.0, 1.0, 12, 40, treated_variance=4.0, test="t")
    one, other = rng.normal(1.0, 2.0, (runs, 12)), rng.normal(0.0, 1.0, (runs, 40))
    rejected = scipy.stats.ttest_ind(one, other, axis=1, equal_var=False).pvalue < 0.05
    assert found == pytest.approx(rejected.mean(), abs=3 * math.sqrt(0.25 / runs))


@given(st.integers(3, 200), st.floats(0.1, 2))
def test_equal_arms_of_equal_variance_have_students_power_whether_pooled_or_not(n, effect):
    pooled = power_of(effect, 2.0, n, n, test="t")
    assert power_of(effect, 2.0, n, n, treated_variance=2.0, test="t") == pytest.approx(pooled, rel=1e-9)


@given(st.floats(0.01, 0.5), ALPHA)
def test_the_smallest_effect_falls_towards_equal_arms(share, alpha):
    shares = share, (share + 0.5) / 2, 0.5
    effects = [smallest_effect(4.0, 10_000 * (1 - each), 10_000 * each, alpha=alpha) for each in shares]
    assert effects[0] >= effects[1] >= effects[2]


@pytest.mark.parametrize("power", [0.05, 1.0, 0.01])
def test_power_that_chance_reaches_or_nothing_does_is_refused(power):
    with pytest.raises(ValueError, match="power"):
        smallest_effect(1.0, 10, 10, power=power)
    with pytest.raises(ValueError, match="power"):
        customers_needed(0.1, 1.0, 0.5, power=power)
    with pytest.raises(ValueError, match="never found"):
        customers_needed(0.0, 1.0, 0.5)


def ratio_rows(rng, n):
    orders = rng.poisson(0.5, n).astype(float)
    return np.c_[orders * rng.lognormal(3, 0.4, n), orders]


def test_a_ratios_smallest_effect_is_found_as_often_as_planned():
    rng = np.random.default_rng(6)
    past = Moments.of(ratio_rows(rng, 200_000))
    variance = variance_per_customer(past, 2)
    effect = smallest_effect(variance, 1500, 500)
    found = 0
    for _ in range(800):
        one, other = ratio_rows(rng, 1500), ratio_rows(rng, 500)
        one[:, 0] += effect * one[:, 1]
        groups = []
        for rows in (one, other):
            moments = Moments.of(rows)
            ratio = moments.mean[0] / moments.mean[1]
            groups.append((ratio, variance_per_customer(moments, 2) / moments.n))
        z = (groups[0][0] - groups[1][0]) / math.sqrt(groups[0][1] + groups[1][1])
        found += abs(z) > 1.96
    assert found / 800 == pytest.approx(0.8, abs=3 * math.sqrt(0.16 / 800))


def test_without_a_ratio_or_customers_there_is_no_variance():
    assert variance_per_customer(Moments.silent(50, 2), 2) is None
    assert variance_per_customer(Moments.silent(1, 1), 1) is None
    assert variance_per_customer(Moments.of(np.array([[1.0], [3.0]])), 1) == pytest.approx(2.0)


def test_the_share_explained_is_the_regressions_adjusted_r_squared():
    rng = np.random.default_rng(7)
    x = rng.lognormal(size=(400, 2))
    rows = np.c_[x @ [1.0, 0.4] + rng.normal(0, 2, 400), x, 2 * x[:, 0]]
    oracle = sm.OLS(rows[:, 0], sm.add_constant(x)).fit()
    found = share_explained(Moments.of(rows), 1, [1, 2, 3])
    assert found == pytest.approx(oracle.rsquared_adj, rel=1e-9)
    assert share_explained(Moments.of(rows), 1, []) == 0.0
    noise = np.c_[rng.normal(size=20), rng.normal(size=20)]
    assert 0 <= share_explained(Moments.of(noise), 1, [1]) < 0.3
    assert share_explained(Moments.silent(20, 2), 1, [1]) == 0.0


def test_covariates_save_customers_and_looks_cost_some():
    plain = customers_needed(0.1, 4.0, 0.1)
    assert customers_needed(0.1, planned_variance(4.0, explained=0.3), 0.1) == pytest.approx(
        0.7 * plain, abs=1
    )
    assert customers_needed(0.1, planned_variance(4.0, inflation=1.028), 0.1) == pytest.approx(
        1.028 * plain, abs=1
    )
    for wrong in ({"explained": 1.0}, {"explained": -0.1}, {"inflation": 0.9}):
        with pytest.raises(ValueError, match="inflation"):
            planned_variance(1.0, **wrong)


def test_weeks_are_those_until_enough_have_enrolled_and_their_window_has_closed():
    needed = customers_needed(0.1 * 1.5, 9.0, 0.2)
    found = weeks_needed([900, 1100], 1.5, 9.0, 0.2, relative=0.1, window_days=14)
    assert found.customers == needed
    assert found.pace == 1000
    assert found.enrolment == math.ceil(needed / 1000)
    assert found.total == found.enrolment + 2
    assert found.text == (
        f"{needed:,} customers are needed to find +10.0%: "
        f"{found.enrolment} weeks of enrolment at 1,000 a week, {found.total} weeks with the window"
    )
    waiting = weeks_needed([900, 1100], 1.5, 9.0, 0.2, relative=0.1, window_days=10, waiting=needed)
    assert (waiting.enrolment, waiting.total) == (0, 2)
    longer = weeks_needed([900, 1100], 1.5, 9.0, 0.2, relative=0.1, window_days=15)
    assert longer.total == found.enrolment + 3
    assert weeks_needed([900, 1100], 1.5, 9.0, 0.2, relative=-0.1).customers == needed


def test_weeks_that_cannot_be_told_are_not():
    silent = weeks_needed([900], 0.0, 0.0, 0.2, relative=0.1)
    assert (silent.customers, silent.enrolment, silent.total) == (None, None, None)
    assert silent.text == "nobody did it so far, so there is nothing to plan with"
    nobody = weeks_needed([0, 0], 1.5, 9.0, 0.2, relative=0.1)
    assert nobody.customers is not None
    assert (nobody.enrolment, nobody.total) == (None, None)
    assert nobody.text.endswith("nobody enrolled in the weeks given")
    with pytest.raises(ValueError, match="week"):
        weeks_needed([], 1.5, 9.0, 0.2, relative=0.1)


def test_a_holdout_costs_what_its_customers_would_have_brought_more():
    assert cost_of_holdout(2000, 0.1, 3.0, 0.08) == pytest.approx(200 * 0.24)
    assert cost_of_holdout(2000, 0.1, 3.0, -0.08) < 0


def test_simulated_power_is_the_formulas_where_the_formula_holds():
    rng = np.random.default_rng(9)
    amounts = rng.normal(20, 4, 3000)
    zeros = 3000
    past = np.r_[amounts, np.zeros(zeros)]
    variance = past.var(ddof=1)
    effect = 0.15 * past.mean()
    formula = power_of(effect, variance, 1200, 600, treated_variance=(1.15**2) * variance)
    found = simulated_power(amounts, zeros, 1200, 600, relative=0.15, effect="larger", rng=rng, runs=1000)
    assert found.low <= formula <= found.high
    assert found.high - found.low < 0.07
    none = simulated_power(amounts, zeros, 1200, 600, relative=0.0, effect="more", rng=rng, runs=1000)
    assert none.low <= 0.05 <= none.high


def test_a_mean_raised_by_more_customers_is_found_as_shares_are():
    rng = np.random.default_rng(10)
    found = simulated_power(np.ones(100), 900, 3000, 1000, relative=0.3, effect="more", rng=rng, runs=1000)
    formula = power_of(0.03, 0.09, 3000, 1000, treated_variance=0.13 * 0.87)
    assert formula == pytest.approx(found.power, abs=0.03)


@pytest.mark.parametrize("effect", ["more", "larger"])
def test_uneven_amounts_are_found_less_often_than_the_formula_says(effect):
    rng = np.random.default_rng(2)
    amounts, silent = rng.lognormal(3, 1.5, 600), 19_400
    past = np.r_[amounts, np.zeros(silent)]
    relative = smallest_effect(past.var(ddof=1), 18_000, 2_000) / past.mean()
    found = simulated_power(
        amounts, silent, 18_000, 2_000, relative=relative, effect=effect, rng=rng, runs=1000
    )
    assert found.high < 0.8
    assert found.wrong == 0.0


def test_a_simulation_uses_the_test_it_is_given_and_the_generator_alone():
    amounts = np.ones(50)

    def simulate(p_value=None, seed=1):
        rng = np.random.default_rng(seed)
        return simulated_power(
            amounts, 450, 400, 100, relative=0.5, effect="more", rng=rng, runs=50, p_value=p_value
        )

    assert simulate() == simulate()
    assert simulate(lambda treated, control: 0.0).power == 1.0
    never = simulate(lambda treated, control: None)
    assert (never.power, never.low, never.wrong) == (0.0, 0.0, 0.0)
    assert never.high == pytest.approx(scipy.stats.binomtest(0, 50).proportion_ci().high)
    sizes = set()
    simulate(lambda treated, control: sizes.add((treated.n, control.n)))
    assert sizes == {(400, 100)}
    wrong = simulate(lambda treated, control: 0.0 if treated.mean[0] < control.mean[0] else 1.0)
    assert wrong.wrong == wrong.power


def test_the_simulations_interval_is_clopper_and_pearsons():
    found = simulated_power(
        np.ones(50), 450, 400, 100, relative=0.8, effect="more", rng=np.random.default_rng(1), runs=200
    )
    oracle = scipy.stats.binomtest(round(found.power * 200), 200).proportion_ci()
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), rel=1e-9)


@pytest.mark.parametrize(
    ("amounts", "silent", "relative"), [([], 10, 0.1), ([1.0], 1, 1.5), ([1.0], 1, -1.5)]
)
def test_effects_that_cannot_be_drawn_are_refused(amounts, silent, relative):
    with pytest.raises(ValueError, match="cannot be drawn"):
        simulated_power(
            np.array(amounts), silent, 9, 9, relative=relative, effect="more", rng=np.random.default_rng()
        )


def test_weekly_looks_cost_what_a_simulated_plan_says_they_do():
    looks, rng = 8, np.random.default_rng(12)
    fractions = [(at + 1) / looks for at in range(looks)]
    correlations = [math.sqrt(one / two) for one, two in zip(fractions, fractions[1:], strict=False)]
    limits = [each.z for each in planned_boundaries(fractions, 0.05, correlations)]
    drift = (scipy.stats.norm.isf(0.025) + scipy.stats.norm.isf(0.2)) * math.sqrt(looks_inflation(looks))
    steps = rng.normal(drift / looks, math.sqrt(1 / looks), (200_000, looks))
    z = steps.cumsum(axis=1) / np.sqrt(fractions)
    assert (z >= limits).any(axis=1).mean() == pytest.approx(0.8, abs=0.003)


def test_one_look_costs_nothing_and_looks_without_an_end_cost_most():
    assert looks_inflation(1) == 1.0
    costs = [looks_inflation(looks) for looks in (2, 5, 13, 26)]
    assert costs == sorted(costs)
    assert 1.0 < costs[0] < 1.01  # O'Brien and Fleming's own two looks cost 1.008
    assert 1.02 < costs[1] < 1.03  # and their five 1.028
    assert always_on_inflation() > costs[-1]
    with pytest.raises(ValueError, match="none"):
        looks_inflation(0)


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_the_simulated_smallest_effect_is_the_formulas_where_that_holds(alpha):
    rise = smallest_conversion_effect(0.1, 6000, 1500, alpha=alpha) / 0.1
    found = simulated_smallest(np.ones(200), 1800, 6000, 1500, guess=0.01, alpha=alpha)
    assert found.relative == pytest.approx(rise, rel=0.06)
    assert found.at.low < 0.8 < found.at.high


def test_the_simulated_smallest_effect_is_found_by_welchs_test_as_often_as_asked_for():
    rng = np.random.default_rng(13)
    amounts, silent, treated, held = rng.lognormal(3, 1.2, 600), 19_400, 9000, 1000
    found = simulated_smallest(amounts, silent, treated, held, guess=0.3)
    past, rejected = np.r_[amounts, np.zeros(silent)], 0
    raised = rng.random((400, treated)) < 0.03 * (1 + found.relative)
    for bought in raised:
        one = np.where(bought, rng.choice(amounts, treated), 0.0)
        rejected += scipy.stats.ttest_ind(one, rng.choice(past, held), equal_var=False).pvalue < 0.05
    assert rejected / 400 == pytest.approx(0.8, abs=3.5 * math.sqrt(0.16 / 400))


def test_an_effect_that_no_draw_can_have_is_not_found():
    assert simulated_smallest(np.ones(50), 10, 6, 6, guess=0.1) is None


@pytest.mark.parametrize("p_value", [corrected_p_value, welch_p_value])
def test_the_tests_p_values_are_those_of_the_intervals(p_value):
    rng = np.random.default_rng(14)
    one, other = (Moments.of(rng.lognormal(0, 1, (n, 1))) for n in (300, 80))
    groups = [
        Group(each.n, each.mean[0], each.covariance[0, 0] / each.n, each.cubes[0] / each.n**3)
        for each in (one, other)
    ]
    interval = corrected if p_value is corrected_p_value else difference
    assert p_value(one, other) == pytest.approx(interval(*groups, 0.05).p_value, rel=1e-9)


def test_weeks_of_several_arms_count_the_customers_of_all():
    pair = customers_needed(0.15, 9.0, 0.2 / 0.6)
    found = weeks_needed([1000], 1.5, 9.0, 0.2, relative=0.1, share_treated=0.4)
    assert found.customers == math.ceil(pair / 0.6)


def test_weeks_without_a_pace_say_so():
    found = weeks_needed([], 1.5, 9.0, 0.2, relative=0.1, waiting=10)
    assert (found.pace, found.enrolment, found.total) == (None, None, None)
    assert found.text.endswith("10 are there, and how many more enrol each week is not known")
    fixed = weeks_needed([], 1.5, 9.0, 0.2, relative=0.1, waiting=10, grows=False)
    assert fixed.text.endswith("10 are there, and nobody else enrols")
