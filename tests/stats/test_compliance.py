from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri
from statsmodels.sandbox.regression.gmm import IV2SLS

from toolkit.stats.compliance import (
    HOLDOUT_EXPOSED,
    Exposed,
    Refused,
    Uptake,
    effect_on_exposed,
    quotient_interval,
)
from toolkit.stats.estimate import Group, difference
from toolkit.stats.moments import Moments
from toolkit.stats.skew import corrected


def rows_of(rng, n, *, reached=0.0, effect=0.0, buyers=0.1):
    """Return (revenue, exposed): those who open messages buy more anyway, and the offer adds `effect`."""
    eager = rng.random(n) < 0.4
    exposed = (rng.random(n) < reached / 0.4) & eager
    bought = rng.random(n) < buyers * (1 + eager)
    return np.c_[bought * rng.lognormal(3, 0.5, n) + effect * exposed, exposed]


def both(seed=0, n=(3000, 1000), *, reached=0.3, effect=2.0):
    rng = np.random.default_rng(seed)
    return rows_of(rng, n[0], reached=reached, effect=effect), rows_of(rng, n[1])


def uptakes(rows):
    return [Uptake.of(Moments.of(each)) for each in rows]


def on_all(treated, control, alpha, *, normal=False):
    """Return the effect on all assigned, with its interval."""
    groups = [Group(each.n, each.outcome, each.outcome_variance) for each in (treated, control)]
    return difference(*groups, alpha, normal=normal)


@pytest.mark.parametrize("seed", range(3))
def test_the_effect_on_the_exposed_is_two_stage_least_squares(seed):
    rows = both(seed)
    found = effect_on_exposed(*uptakes(rows), 0.05)
    y, d = np.r_[rows[0], rows[1]].T
    assigned = np.r_[np.ones(len(rows[0])), np.zeros(len(rows[1]))]
    oracle = IV2SLS(y, np.c_[np.ones_like(d), d], np.c_[np.ones_like(d), assigned]).fit()
    assert found.value == pytest.approx(oracle.params[1], rel=1e-9)
    assert found.exposed_share == pytest.approx(rows[0][:, 1].mean())
    first = rows[0][:, 1]
    assert found.strength == pytest.approx(first.mean() ** 2 / (first.var(ddof=1) / len(first)), rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_its_interval_holds_the_effects_that_an_anderson_rubin_test_accepts(seed, alpha):
    rows = both(seed, (3000, 2000), reached=0.3)
    rows[1][np.argsort(-rows[1][:, 0])[:2], 1] = 1.0  # within what is tolerated, and the best customers
    found = effect_on_exposed(*uptakes(rows), alpha, effect=on_all(*uptakes(rows), alpha, normal=True))
    width = found.high - found.low
    grid = np.linspace(found.low - width / 7.3, found.high + width / 6.1, 2001)
    accepted = []
    for beta in grid:
        freed = [each[:, 0] - beta * each[:, 1] for each in rows]
        se = np.sqrt(sum(each.var(ddof=1) / len(each) for each in freed))
        if abs(freed[0].mean() - freed[1].mean()) <= ndtri(1 - alpha / 2) * se:
            accepted.append(beta)
    step = grid[1] - grid[0]
    assert found.low == pytest.approx(min(accepted), abs=step)
    assert found.high == pytest.approx(max(accepted), abs=step)
    assert len(accepted) == pytest.approx((found.high - found.low) / step, abs=2)


@settings(max_examples=60)
@given(
    st.integers(0, 10_000),
    st.floats(-1, 3),
    st.sampled_from([0.05, 0.2, 0.01]),
    st.booleans(),
)
def test_it_excludes_zero_exactly_where_the_intention_to_treat_interval_does(seed, effect, alpha, normal):
    treated, control = uptakes(both(seed, (300, 200), effect=effect))
    whole = on_all(treated, control, alpha, normal=normal)
    found = effect_on_exposed(treated, control, alpha, effect=whole)
    assert isinstance(found, Exposed)
    assert (found.low > 0 or found.high < 0) == (whole.low > 0 or whole.high < 0)
    assert found.p_value == whole.p_value
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize("seed", range(6))
def test_of_a_skew_corrected_effect_it_keeps_the_two_sides_and_the_test(seed):
    rows = both(seed, (2700, 300), effect=1.5)
    moments = [Moments.of(each) for each in rows]
    groups = [
        Group(each.n, each.mean[0], each.covariance[0, 0] / each.n, each.cubes[0] / each.n**3)
        for each in moments
    ]
    whole = corrected(*groups, 0.05)
    found = effect_on_exposed(*uptakes(rows), 0.05, effect=whole)
    assert found.p_value == whole.p_value
    assert (found.low > 0) == (whole.low > 0)
    assert (found.high < 0) == (whole.high < 0)
    plain = effect_on_exposed(*uptakes(rows), 0.05)
    assert found.value == plain.value
    assert found.low < plain.low
    assert found.high < plain.high
    rows[0][:, 1] = 1.0
    everybody = effect_on_exposed(*uptakes(rows), 0.05, effect=whole)
    assert (everybody.low, everybody.high) == pytest.approx((whole.low, whole.high))


def test_where_everybody_was_exposed_it_is_the_intention_to_treat_effect():
    rows = both()
    rows[0][:, 1] = 1.0
    treated, control = uptakes(rows)
    found, whole = effect_on_exposed(treated, control, 0.05), on_all(treated, control, 0.05)
    assert (found.value, found.low, found.high) == pytest.approx((whole.value, whole.low, whole.high))
    assert found.strength is None


@pytest.mark.parametrize("reached", [0.3, 0.02])
def test_the_interval_covers_the_true_effect_also_where_few_were_exposed(reached):
    rng, covered, runs = np.random.default_rng(5), [], 1000
    for _ in range(runs):
        rows = rows_of(rng, 1800, reached=reached, effect=3.0), rows_of(rng, 600)
        found = effect_on_exposed(*uptakes(rows), 0.05)
        if isinstance(found, Exposed):
            covered.append(found.low <= 3.0 <= found.high)
    assert len(covered) > 0.99 * runs
    assert abs(np.mean(covered) - 0.95) < 3 * np.sqrt(0.05 * 0.95 / runs)


def test_a_holdout_that_was_exposed_forbids_it():
    treated, control = uptakes(both())
    found = effect_on_exposed(treated, replace(control, exposed=0.004, exposed_variance=4e-6), 0.05)
    assert found == Refused(
        "0.40% of 1,000 held-out customers were exposed, so they do not show what happens without the offer"
    )


def test_a_handful_exposed_in_a_large_holdout_is_tolerated_and_said():
    treated, control = uptakes(both())
    few = replace(control, exposed=HOLDOUT_EXPOSED / 2, exposed_variance=5e-7)
    found = effect_on_exposed(treated, few, 0.05)
    assert found.note == "0.05% of the control was exposed too"
    assert found.value == pytest.approx(
        (treated.outcome - few.outcome) / (treated.exposed - few.exposed), rel=1e-12
    )
    rare = replace(treated, exposed=0.04)  # the same handful is too much beside a treated arm hardly reached
    assert isinstance(effect_on_exposed(rare, few, 0.05), Refused)


def test_nobody_exposed_forbids_it():
    treated, control = uptakes(both(reached=0.0))
    assert effect_on_exposed(treated, control, 0.05) == Refused(
        "nobody among 3,000 treated customers was recorded as exposed"
    )


def test_a_weak_first_stage_forbids_it_and_says_how_weak():
    rows = both()
    rows[0][:, 1] = np.arange(len(rows[0])) < 6
    found = effect_on_exposed(*uptakes(rows), 0.05)
    assert found.why == (
        "too few customers were exposed: 0.20% of the treated arm and 0.00% of the control "
        "(F = 6.0; at least 10 is needed)"
    )


def test_an_interval_without_end_at_a_strict_level_is_refused_rather_than_cut():
    rows = both()
    rows[0][:, 1] = np.arange(len(rows[0])) < 15
    assert isinstance(effect_on_exposed(*uptakes(rows), 0.05), Exposed)
    found = effect_on_exposed(*uptakes(rows), 1e-5)
    assert found.why == "at level 0.99999 the interval has no end: the exposed share is not surely above zero"


def test_outcomes_that_do_not_vary_and_arms_of_one_give_no_effect():
    silent = [np.c_[np.zeros(50), np.arange(50) % 2], np.zeros((50, 2))]
    assert isinstance(effect_on_exposed(*uptakes(silent), 0.05), Refused)
    one = [both()[0], np.zeros((1, 2))]
    assert "too few" in effect_on_exposed(*uptakes(one), 0.05).why


@given(
    st.floats(-50, 50),
    st.floats(0.1, 50),
    st.floats(0.01, 5),
    st.floats(0.001, 2),
    st.floats(-0.99, 0.99),
)
def test_the_ends_of_a_quotient_solve_fiellers_equation(numerator, denominator, se, other, correlation):
    covariance = correlation * se * other
    ends = quotient_interval(numerator, denominator, se**2, other**2, covariance, 1.96)
    if ends is None:
        assert denominator <= 1.96 * other
        return
    assert ends[0] <= numerator / denominator <= ends[1]
    for end in ends:
        left = (numerator - end * denominator) ** 2
        right = 1.96**2 * (se**2 - 2 * end * covariance + end**2 * other**2)
        assert left == pytest.approx(right, rel=1e-5, abs=1e-7)


def test_a_certain_quotient_has_no_width():
    assert quotient_interval(0.0, 2.0, 0.0, 0.0, 0.0, 1.96) == (0.0, 0.0)
    assert quotient_interval(3.0, 2.0, 0.0, 0.0, 0.0, 1.96) == pytest.approx((1.5, 1.5))
