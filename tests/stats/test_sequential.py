from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.calibration.peeking import GAUSSIAN, WORLDS, World, judge, looks, peek, peek_gaussian
from tests.real_experiments import SHARED, needs_real_data
from toolkit.stats import sequential
from toolkit.stats.sequential import (
    Boundary,
    always_on_boundary,
    always_on_p_value,
    always_on_times,
    information_from,
    late_boundary,
    late_p_value,
    late_times,
    mixing_for,
    planned_boundaries,
    planned_p_value,
    safe_correlations,
    spent,
)

WEEKS = np.arange(1, 27)
EVEN = tuple(WEEKS / 26)


def independent(looks):
    """Correlations of successive looks with independent increments of equal size."""
    weeks = np.arange(1, looks)
    return tuple(np.sqrt(weeks / (weeks + 1)))


def zs(boundaries):
    return [each.z for each in boundaries]


def correlation(covariance):
    scale = np.sqrt(np.diag(covariance))
    return covariance / np.outer(scale, scale)


def summed(increments):
    return correlation(np.cumsum(np.cumsum(increments, axis=0), axis=1))


def crossings(matrix, limits, runs=100_000, seed=1):
    """Share of runs in which |Z| exceeds the limits at some look, by simulation from the whole matrix."""
    root = np.linalg.cholesky(matrix + 1e-10 * np.eye(len(matrix)))
    z = np.random.default_rng(seed).normal(size=(runs, len(matrix))) @ root.T
    return float((np.abs(z) > limits).any(axis=1).mean())


@pytest.mark.parametrize(
    "published",
    [
        (2.9626, 1.9686),
        (3.7103, 2.5114, 1.9930),
        (4.3326, 2.9631, 2.3590, 2.0141),
        (4.8769, 3.3570, 2.6803, 2.2898, 2.0310),
    ],
)
def test_equal_looks_have_the_published_boundaries(published):
    looks = len(published)
    found = planned_boundaries([(look + 1) / looks for look in range(looks)], 0.05, independent(looks))
    assert zs(found) == pytest.approx(published, abs=1e-4)
    for each in found:
        assert each.nominal_alpha == pytest.approx(2 * scipy.stats.norm.sf(each.z), rel=1e-9)
    assert found[-1].spent == pytest.approx(0.025, abs=1e-9)


@pytest.mark.parametrize("fraction", [0.1, 0.37, 0.8, 1.0, 1.7])
def test_spending_is_lan_and_demets_first(fraction):
    expected = 2 - 2 * scipy.stats.norm.cdf(scipy.stats.norm.isf(0.05 / 4) / math.sqrt(min(fraction, 1)))
    assert spent(fraction, 0.05) == pytest.approx(expected, rel=1e-9)


rhos = st.lists(st.floats(0.05, 0.99), min_size=3, max_size=3)
gaps = st.lists(st.floats(0.1, 1), min_size=4, max_size=4)


@settings(max_examples=30, deadline=None)
@given(gaps, rhos, st.floats(0.01, 0.2))
def test_each_side_has_spent_what_it_may_by_an_independent_integral(gaps, rhos, alpha):
    fractions = np.cumsum(gaps) / sum(gaps)
    found = planned_boundaries(fractions, alpha, rhos)
    logs = np.concatenate([[0], np.cumsum(np.log(rhos))])
    matrix = np.exp(-np.abs(np.subtract.outer(logs, logs)))
    inside = scipy.stats.multivariate_normal(np.zeros(4), matrix, allow_singular=True).cdf(zs(found))
    assert 1 - inside == pytest.approx(alpha / 2, abs=2e-4)
    for each, fraction in zip(found, fractions, strict=True):
        assert each.spent == pytest.approx(spent(fraction, alpha), abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(gaps, rhos, rhos, st.floats(0.01, 0.2))
def test_a_smaller_correlation_never_brings_a_boundary_nearer(gaps, some, others, alpha):
    fractions = np.cumsum(gaps) / sum(gaps)
    low, high = np.minimum(some, others), np.maximum(some, others)
    last = [planned_boundaries(fractions, alpha, each)[-1].z for each in (high, low, None)]
    assert -scipy.stats.norm.ppf(alpha / 2) - 1e-9 <= last[0]
    assert last[0] <= last[1] + 1e-7
    assert last[1] <= last[2] + 1e-7


@given(gaps, st.floats(1e-6, 0.3))
def test_spending_alone_adds_up_whatever_the_looks_dependence(gaps, alpha):
    # crossings that never coincide are the worst dependence there is: their sum is what a side has spent
    fractions = np.cumsum(gaps) / sum(gaps)
    found = planned_boundaries(fractions, alpha)
    assert sum(scipy.stats.norm.sf(zs(found))) == pytest.approx(alpha / 2, abs=1e-14)


def test_an_unknown_correlation_parts_the_looks_into_stretches_that_add_up():
    fractions, known = (0.3, 0.5, 0.8, 1.0), (0.9, None, 0.9)
    found = planned_boundaries(fractions, 0.05, known)
    pair = scipy.stats.multivariate_normal([0, 0], [[1, 0.9], [0.9, 1]])
    crossed = [1 - pair.cdf(zs(found)[:2]), 1 - pair.cdf(zs(found)[2:])]
    assert crossed[0] == pytest.approx(spent(0.5, 0.05), abs=1e-7)
    assert sum(crossed) == pytest.approx(0.025, abs=1e-7)
    for strange in (0.0, -0.3, math.nan):
        assert planned_boundaries(fractions, 0.05, (0.9, strange, 0.9)) == found


def test_a_correlation_estimated_above_one_is_a_look_that_says_nothing_new():
    found = zs(planned_boundaries((0.5, 0.75, 1), 0.05, (1.2, 1.0)))
    single = -scipy.stats.norm.ppf([spent(fraction, 0.05) for fraction in (0.5, 0.75, 1)])
    assert found == pytest.approx(single, rel=0.003)
    assert all(np.array(found) >= single - 1e-9)


def test_a_missed_look_leaves_its_share_to_the_next():
    every = planned_boundaries((0.25, 0.5, 0.75, 1), 0.05, independent(4))
    missed = planned_boundaries((0.25, 0.75, 1), 0.05, (math.sqrt(1 / 3), math.sqrt(3 / 4)))
    assert missed[0] == every[0]
    assert missed[1].spent == pytest.approx(every[2].spent)
    assert missed[1].z < every[2].z


def test_what_is_still_to_come_changes_no_boundary():
    whole = planned_boundaries(EVEN, 0.05, independent(26))
    for taken in (1, 7, 25):
        assert planned_boundaries(EVEN[:taken], 0.05, independent(taken)) == whole[:taken]


def test_the_first_look_past_the_end_is_the_last_one_and_later_ones_have_no_boundary():
    found = planned_boundaries((0.5, 1.08, 1.2, 1.3), 0.05, (0.7, 0.99, 0.99))
    assert found[1] == planned_boundaries((0.5, 1.0), 0.05, (0.7,))[1]
    assert found[2:] == (None, None)


def test_looks_so_early_that_nothing_may_be_spent_stay_finite_and_spend_nothing():
    found = planned_boundaries((0.001, 0.01, 1), 0.05, (0.3, 0.1))
    assert zs(found)[:2] == [8, 8]
    assert 0 < found[0].nominal_alpha < 1e-14
    assert found[1].spent < 1e-14
    assert found[2].z == pytest.approx(scipy.stats.norm.isf(0.025), abs=1e-8)


def test_the_grid_stays_small_however_persistent_customers_are(monkeypatch):
    sizes, weeks = [], np.arange(1, 60)

    def noted(z, before, rho, within=sequential._Path.within):
        path = within(z, before, rho)
        sizes.append(path.nodes.size)
        return path

    monkeypatch.setattr(sequential._Path, "within", noted)
    for share in (0, 0.1, 1, 1e9):
        rho = np.sqrt(weeks * (share * (weeks + 1) + 1) / ((weeks + 1) * (share * weeks + 1)))
        planned_boundaries(np.arange(1, 61) / 60, 0.0501, rho)
    assert len(sizes) > 100
    assert max(sizes) < 1000


def crossed_first(limits, correlations):
    """P(Z crosses its limit for the first time at each look), one side, by dense quadrature from look to look."""
    at, weight = np.polynomial.legendre.leggauss(800)
    shares, path = [], None
    for limit, rho in zip(limits, (None, *correlations), strict=True):
        nodes = (limit + 9) / 2 * at + (limit - 9) / 2
        if path is None:
            shares.append(scipy.stats.norm.sf(limit))
            density = scipy.stats.norm.pdf(nodes)
        else:
            sd = math.sqrt(1 - rho**2)
            shares.append(path[1] @ scipy.stats.norm.sf((limit - rho * path[0]) / sd))
            density = scipy.stats.norm.pdf((nodes[:, None] - rho * path[0]) / sd) @ path[1] / sd
        path = nodes, density * weight * (limit + 9) / 2
    return shares


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.floats(0.1, 1), min_size=6, max_size=6),
    st.lists(st.floats(0.05, 0.998), min_size=5, max_size=5),
    st.floats(0.001, 0.5),
)
def test_every_look_is_crossed_first_as_often_as_it_may_by_dense_quadrature(gaps, rhos, alpha):
    fractions = np.cumsum(gaps) / sum(gaps)
    due = np.diff([0, *(spent(fraction, alpha) for fraction in fractions)])
    found = crossed_first(zs(planned_boundaries(fractions, alpha, rhos)), rhos)
    assert found == pytest.approx(due, rel=1e-7, abs=1e-11)


@settings(max_examples=15, deadline=None)
@given(gaps, st.lists(st.floats(0.05, 0.998), min_size=3, max_size=3), st.floats(0.05, 7))
def test_a_planned_p_value_is_the_alpha_whose_last_boundary_is_there(gaps, rhos, z):
    fractions = np.cumsum(gaps) / sum(gaps)
    found = planned_p_value(z, fractions, rhos)
    if found < 0.98:
        last = planned_boundaries(fractions, found, rhos)[-1].z
        assert scipy.stats.norm.logsf(last) == pytest.approx(scipy.stats.norm.logsf(z), abs=1e-8)


@settings(max_examples=25, deadline=None)
@given(gaps, rhos, st.floats(1e-4, 0.4), st.floats(0.5, 6))
def test_a_planned_p_value_agrees_with_the_interval(gaps, rhos, alpha, z):
    fractions = np.cumsum(gaps) / sum(gaps)
    limit = planned_boundaries(fractions, alpha, rhos)[-1].z
    assert planned_p_value(limit, fractions, rhos) == pytest.approx(alpha, rel=1e-5)
    assert (planned_p_value(-z, fractions, rhos) < alpha) == (z > limit)
    assert planned_p_value(z, fractions, rhos) >= 2 * scipy.stats.norm.sf(z) * (1 - 1e-6)


def test_a_single_look_at_the_end_is_the_ordinary_test():
    assert planned_boundaries([1.0], 0.05)[0] == Boundary(
        pytest.approx(scipy.stats.norm.isf(0.025)), pytest.approx(0.05), pytest.approx(0.025)
    )
    assert planned_p_value(2.2, [1.0]) == pytest.approx(2 * scipy.stats.norm.sf(2.2), rel=1e-6)


FORMS = {
    "independent increments": np.minimum.outer(WEEKS, WEEKS),
    "persistent rates": 0.2 * np.outer(WEEKS, WEEKS) + np.minimum.outer(WEEKS, WEEKS),
    "fading interest": 0.2 * np.outer(1 - 0.9**WEEKS, 1 - 0.9**WEEKS)
    + np.minimum.outer(1 - 0.9**WEEKS, 1 - 0.9**WEEKS),
    "converted by then": np.minimum.outer(0.01 * WEEKS, 0.01 * WEEKS) - np.outer(0.01 * WEEKS, 0.01 * WEEKS),
}
TIMES = {
    "independent increments": WEEKS,
    "persistent rates": WEEKS / (0.2 * WEEKS + 1),
    "fading interest": (1 - 0.9**WEEKS) / (0.2 * (1 - 0.9**WEEKS) + 1),
    "converted by then": 0.01 * WEEKS / (1 - 0.01 * WEEKS),
}


@pytest.mark.parametrize("form", FORMS)
def test_successive_correlations_tell_all_others_of_looks_that_are_markov(form):
    matrix, times = correlation(FORMS[form]), TIMES[form]
    found = np.array(information_from(np.diag(matrix, 1)))
    assert found == pytest.approx(times / times[-1])
    assert matrix == pytest.approx(np.sqrt(np.minimum.outer(found, found) / np.maximum.outer(found, found)))
    assert safe_correlations(matrix) == pytest.approx(np.diag(matrix, 1))


def test_customers_with_rates_of_their_own_have_looks_of_that_form():
    # sums of Poisson purchases at a rate that is each customer's own: a v w + b min(v, w)
    rng = np.random.default_rng(5)
    rates = rng.gamma(0.5, 0.4, 200_000)
    sums = np.cumsum(rng.poisson(rates[:, None], (len(rates), 6)), axis=1)
    weeks = np.arange(1, 7)
    expected = 0.5 * 0.4**2 * np.outer(weeks, weeks) + 0.2 * np.minimum.outer(weeks, weeks)
    assert np.cov(sums.T) == pytest.approx(expected, rel=0.03)


def test_information_knows_nothing_of_what_came_before_an_unknown_or_negative_correlation():
    assert information_from((0.5, None, 0.8)) == pytest.approx((0, 0, 0.64, 1))
    assert information_from((0.5, -0.1, 1.1)) == pytest.approx((0, 0, 1, 1))


DRIFTING = {half: summed(0.5 ** (np.abs(np.subtract.outer(WEEKS, WEEKS)) / half)) for half in (0.6, 4, 26)}


@pytest.mark.parametrize("half", DRIFTING)
def test_safe_correlations_promise_no_pair_more_than_it_has_and_hold_alpha(half):
    matrix = DRIFTING[half]
    safe = safe_correlations(matrix)
    times = np.array(information_from(safe))
    assert (np.sqrt(np.minimum.outer(times, times) / np.maximum.outer(times, times)) <= matrix + 1e-9).all()
    assert safe_correlations(matrix[:9, :9]) == pytest.approx(safe[:8])
    limits = zs(planned_boundaries(EVEN, 0.05, safe))
    assert crossings(matrix, limits) <= 0.05
    assert limits[-1] < 1.15 * scipy.stats.norm.isf(0.025)


@pytest.mark.parametrize("half", DRIFTING)
def test_successive_correlations_alone_cost_little_where_rates_drift(half):
    matrix = DRIFTING[half]
    limits = zs(planned_boundaries(EVEN, 0.05, np.diag(matrix, 1)))
    assert crossings(matrix, limits) <= 0.0555  # 5.4 % at most, and noise of 0.07 %


def test_a_look_without_a_positive_correlation_is_not_taken_for_related():
    matrix = np.array([[1, 0.5, -0.1], [0.5, 1, 0.6], [-0.1, 0.6, 1]])
    assert safe_correlations(matrix) == (pytest.approx(0.5), None)


@given(st.floats(1, 1e6), st.floats(1e-4, 0.5))
def test_the_always_on_radius_is_that_of_the_asymptotic_confidence_sequence(n, alpha):
    # in the source's terms: n observations of variance 1, a mixture of parameter rho², tuned for n = 1000
    r = scipy.optimize.minimize_scalar(
        lambda r: (1 + 1 / r) * (math.log1p(r) - 2 * math.log(alpha)), bounds=(0.01, 100), method="bounded"
    ).x
    squared = r / 1000
    radius = math.sqrt(
        2 * (n * squared + 1) / (n**2 * squared) * math.log(math.sqrt(n * squared + 1) / alpha)
    )
    found = always_on_boundary(n / 1000, alpha)
    assert found.z == pytest.approx(min(radius * math.sqrt(n), 8), rel=1e-5)
    assert found.spent is None


@given(st.floats(1e-9, 0.99))
def test_the_mixture_is_tuned_by_lamberts_w(alpha):
    expected = -scipy.special.lambertw(-(alpha**2) / math.e, -1).real - 1
    assert mixing_for(alpha) == pytest.approx(expected, rel=1e-9)


def test_the_always_on_interval_is_narrowest_at_the_time_it_is_tuned_to():
    times = np.geomspace(0.05, 20, 401)
    found = [always_on_boundary(time, 0.05).z for time in times]
    assert times[int(np.argmin(found))] == pytest.approx(1)
    assert min(found) / scipy.stats.norm.isf(0.025) < 1.6


@given(st.floats(-7.9, 7.9), st.floats(0.01, 50), st.floats(1e-4, 0.5), st.floats(1e-3, 0.3))
def test_an_always_on_p_value_agrees_with_the_interval_of_its_mixture_at_any_alpha(z, time, alpha, tuned_for):
    limit = always_on_boundary(time, alpha, tuned_for=tuned_for).z
    if limit < 8:
        assert always_on_p_value(limit, time, tuned_for) == pytest.approx(alpha, rel=1e-6)
        if abs(abs(z) - limit) > 1e-9:
            assert (always_on_p_value(z, time, tuned_for) < alpha) == (abs(z) > limit)


def test_a_walk_watched_at_every_step_and_past_the_plan_leaves_the_always_on_interval_seldom():
    # from a hundredth of the plan to ten times as long; below 5 %, and not so far below as to say nothing
    steps = np.geomspace(0.01, 10, 1500)
    rng = np.random.default_rng(8)
    limits = np.array([always_on_boundary(time, 0.05).z for time in steps]) * np.sqrt(steps)
    walk = np.cumsum(rng.normal(size=(8000, len(steps))) * np.sqrt(np.diff(steps, prepend=0)), axis=1)
    share = (np.abs(walk) > limits).any(axis=1).mean()
    assert 0.02 < share < 0.05


def test_the_always_on_clock_arrives_with_the_plan_and_never_runs_slower_than_information():
    even = always_on_times(EVEN, independent(26))
    assert even == pytest.approx(EVEN)
    persistent = np.diag(correlation(FORMS["persistent rates"]), 1)
    assert always_on_times(EVEN, persistent) == pytest.approx(EVEN)
    growing = np.sqrt((WEEKS[:-1] / WEEKS[1:]) ** 2)
    fast = np.array(always_on_times(EVEN, growing))
    assert fast[:-1] / fast[1:] == pytest.approx(growing**2)
    assert always_on_times(EVEN, growing, pace=2) == pytest.approx(np.array(EVEN) ** 2)
    jump = np.array(always_on_times((0.25, 0.5, 0.75, 1), (0.4, 0.99, 0.99)))
    assert jump[1] == pytest.approx(0.25 / 0.16)
    assert jump[3] == pytest.approx(jump[1] / 0.99**4)


def test_after_an_unknown_correlation_there_is_no_always_on_time():
    assert always_on_times((0.25, 0.5, 1), (None, 0.9)) == (0.25, None, None)
    assert always_on_times((0.25, 0.5, 1), (0.9, -0.2)) == (0.25, 0.5, None)


@pytest.mark.parametrize("share", [0, 0.05, 0.5])
@pytest.mark.parametrize("plan", [1.5, 30 / 7, 8])
def test_half_a_year_of_looks_after_a_plans_end_finds_hardly_more(share, plan):
    # what a plan has spent is spent: more looks at its last boundary would find up to twice as much
    matrix = correlation(share * np.outer(WEEKS, WEEKS) + np.minimum.outer(WEEKS, WEEKS))
    fractions, rho = WEEKS / plan, np.diag(matrix, 1)
    ended = int(np.argmax(fractions >= 1))
    late = late_times(fractions[ended:], rho[ended:])[1:]
    limits = [each.z for each in planned_boundaries(fractions, 0.05, rho) if each]
    limits += [late_boundary(time, 0.05, tuned_for=0.05).z for time in late]
    assert crossings(matrix, limits) <= 0.055
    assert crossings(matrix[: ended + 1, : ended + 1], limits[: ended + 1]) > 0.045


@given(st.floats(-7.9, 7.9), st.floats(1, 50), st.floats(1e-4, 0.5), st.floats(1e-3, 0.3))
def test_a_late_p_value_agrees_with_the_interval(z, time, alpha, tuned_for):
    limit = late_boundary(time, alpha, tuned_for=tuned_for).z
    if limit < 8 and abs(abs(z) - limit) > 1e-9:
        assert (late_p_value(z, time, tuned_for) < alpha) == (abs(z) > limit)


def test_late_looks_are_timed_from_the_plans_end_by_what_is_known_of_them():
    assert late_times((1.1, 1.3, 1.5), (math.sqrt(0.5), None)) == pytest.approx((1.1, 2.2, 2.2 * 1.5 / 1.3))
    assert late_times((1.1, 1.3), (1.0,)) == (1.1, 1.3)
    assert late_times((1.1,), ()) == (1.1,)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: planned_boundaries((0.5, 0.5), 0.05), "increase"),
        (lambda: planned_boundaries((0.0, 0.5), 0.05), "above zero"),
        (lambda: planned_boundaries((), 0.05), "above zero"),
        (lambda: planned_boundaries((0.5, 1), 1.0), "alpha"),
        (lambda: planned_boundaries((0.5, 1), 0.05, (0.5, 0.6)), "2 looks have 1"),
        (lambda: planned_p_value(2, (0.5, 1, 1.1)), "after the one that ended"),
        (lambda: always_on_times((0.5, 1), (0.7,), pace=0), "pace"),
        (lambda: always_on_boundary(0, 0.05), "above 0"),
    ],
)
def test_what_is_no_plan_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        wrong()


RUNS = 2000
ALLOWED = scipy.stats.binom.ppf(0.999, RUNS, 0.055) / RUNS


def judged(found):
    assert found.runs == RUNS
    for method in ("planned", "spending alone", "always on"):
        assert found.won[method] <= ALLOWED, method
        assert found.width[method] <= 1.6, method
    assert found.won["fixed"] > 2 * ALLOWED  # looking every week at fixed intervals is what must not be done


@pytest.mark.parametrize(
    "name",
    [
        "fixed cohort, 50:50",
        "fixed cohort, 10:90, capped",
        "interest halves every 6 weeks, 10:90, capped",
        "rolling entry, 2-week windows, 50:50",
        "rolling entry, no window, 50:50",
    ],
)
def test_weekly_looks_without_an_effect_seldom_find_one(name):
    judged(peek(next(world for world in WORLDS if world.name == name), RUNS, seed=4))


@pytest.mark.parametrize("name", GAUSSIAN)
def test_weekly_looks_that_are_exactly_normal_seldom_find_an_effect_that_is_not_there(name):
    judged(peek_gaussian(name, RUNS, seed=4))


@pytest.mark.reference
@needs_real_data
def test_real_customers_split_at_random_and_watched_for_half_a_year_seldom_seem_to_differ():
    held, cap = 0.1, 0.998
    rows = pd.read_parquet(SHARED / "cdnow_purchases.parquet")
    everyone = rows["customer_id"].nunique()
    rows["week"] = (pd.to_datetime(rows["day"]) - pd.Timestamp("1997-07-01")).dt.days // 7
    bought = rows[rows["week"].between(0, 25)].pivot_table(
        index="customer_id", columns="week", values="amount", aggfunc="sum", fill_value=0
    )
    sums = bought.to_numpy().cumsum(axis=1)
    sums = np.minimum(sums, np.sort(sums, axis=0)[len(sums) - 1 - int(everyone * (1 - cap))])
    silent = np.zeros(26, dtype=int)
    silent[0] = everyone - len(sums)
    known = sums, np.zeros(len(sums), dtype=int), silent
    world = World("real", held=held, cap=cap)
    judged(judge("real", looks(world, RUNS, np.random.default_rng(6), known)))
