from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from toolkit.stats.ratio_monitor import RatioMonitor, concentration_for, log_evidence, monitor_ratio

SHARES = {"holdout": 0.1, "a": 0.3, "b": 0.6}
LOOKS = 52


def arrivals(runs, looks=LOOKS, shares=(0.1, 0.3, 0.6), weekly=400, seed=0):
    """Cumulative counts, shape (runs, looks, arms), of weeks of unequal size."""
    rng = np.random.default_rng(seed)
    sizes = rng.poisson(weekly, looks) + 1
    return np.cumsum(np.stack([rng.multinomial(size, shares, runs) for size in sizes], axis=1), axis=1)


@given(st.lists(st.integers(0, 400), min_size=3, max_size=3), st.floats(0.5, 5000))
def test_evidence_is_the_ratio_of_the_dirichlet_multinomial_to_the_planned_multinomial(counts, concentration):
    shares = np.array(list(SHARES.values()))
    n = sum(counts)
    mixture = scipy.stats.dirichlet_multinomial(concentration * shares, n).logpmf(counts)
    planned = scipy.stats.multinomial(n, shares).logpmf(counts)
    assert log_evidence(counts, shares, concentration) == pytest.approx(mixture - planned, abs=1e-7)


def test_evidence_between_two_arms_is_the_integral_over_all_shares():
    a, n, shares = 40.0, (130, 190), (0.5, 0.5)
    planned = n[0] * math.log(shares[0]) + n[1] * math.log(shares[1])

    def weighted(p):
        likelihood = math.exp(n[0] * math.log(p) + n[1] * math.log(1 - p) - planned)
        return likelihood * scipy.stats.beta.pdf(p, a * shares[0], a * shares[1])

    assert log_evidence(n, shares, a) == pytest.approx(math.log(quad(weighted, 0, 1)[0]), abs=1e-9)


@given(st.permutations([0] * 5 + [1] * 9 + [2] * 14), st.floats(1, 500))
def test_the_order_in_which_customers_arrive_does_not_matter(order, concentration):
    # one by one, each arm's predicted share over its planned share
    shares = list(SHARES.values())
    seen, logarithm = [0, 0, 0], 0.0
    for arm in order:
        predicted = (concentration * shares[arm] + seen[arm]) / (concentration + sum(seen))
        logarithm += math.log(predicted / shares[arm])
        seen[arm] += 1
    assert log_evidence(seen, shares, concentration) == pytest.approx(logarithm, abs=1e-9)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.1, 0.9), (0.2, 0.3, 0.5)])
@pytest.mark.parametrize("concentration", [20.0, 3000.0])
def test_watching_for_a_year_raises_no_more_false_alarms_than_said(shares, concentration):
    runs = 10_000
    evidence = log_evidence(arrivals(runs, shares=shares, weekly=100), shares, concentration).max(axis=1)
    for p in (0.01, 0.001):
        alarms = int((evidence >= -math.log(p)).sum())
        assert alarms <= scipy.stats.binom.ppf(0.999, runs, p), (p, alarms)


def test_a_chi_squared_test_at_every_look_raises_many():
    # what the monitor is for: if this were not so, the test above would prove little
    runs, shares = 4000, np.array([0.5, 0.5])
    counts = arrivals(runs, shares=shares)
    planned = counts.sum(axis=2, keepdims=True) * shares
    p = scipy.stats.chi2.sf(((counts - planned) ** 2 / planned).sum(axis=2), 1)
    assert (p < 0.01).any(axis=1).mean() > 0.05


def test_evidence_has_mean_one_while_all_is_well():
    shares = (0.4, 0.6)
    evidence = np.exp(log_evidence(arrivals(40_000, looks=3, shares=shares, weekly=30), shares, 200.0))
    for look in range(3):
        se = evidence[:, look].std() / math.sqrt(len(evidence))
        assert evidence[:, look].mean() == pytest.approx(1, abs=4 * se)


def test_a_lost_fiftieth_of_an_arm_of_a_hundred_thousand_is_found():
    runs, keep = 2000, 0.98
    counts = arrivals(runs, shares=(keep / (1 + keep), 1 / (1 + keep)), weekly=3800)
    found = (log_evidence(counts, (0.5, 0.5), concentration_for(50_000)) >= math.log(1000)).any(axis=1)
    assert found.mean() > 0.55


def test_a_p_value_never_rises_and_is_the_smallest_inverse_evidence_so_far():
    counts = arrivals(1, shares=(0.13, 0.27, 0.6))[0]
    looks = [dict(zip(SHARES, map(int, row), strict=True)) for row in counts]
    found = monitor_ratio(looks, SHARES)
    smallest = np.minimum.accumulate(np.minimum(1, np.exp(-np.array(found.log_evidence))))
    assert found.p_values == pytest.approx(tuple(smallest))
    assert all(late <= early for early, late in pairwise(found.p_values))
    assert found.p_value == found.p_values[-1] < 0.001
    assert monitor_ratio(looks[-1:], SHARES).p_value == pytest.approx(math.exp(-found.log_evidence[-1]))


def test_the_default_mixture_is_sharpest_where_it_says():
    customers = 80_000
    tuned = concentration_for(customers)

    def needed(concentration):
        # the smallest excess in one of two even arms that reaches 0.001
        excess = np.arange(0, 2000)
        counts = np.stack([customers / 2 + excess, customers / 2 - excess], axis=1)
        return int(np.argmax(log_evidence(counts, (0.5, 0.5), concentration) >= math.log(1000)))

    assert needed(tuned) == min(needed(tuned * factor) for factor in (0.1, 0.3, 0.7, 1, 1.4, 3, 10))


def test_without_looks_there_is_no_p_value_but_a_reason():
    found = monitor_ratio([], SHARES)
    assert isinstance(found, RatioMonitor)
    assert found.p_value is None
    assert found.reason


def test_before_anyone_has_come_nothing_is_held_against_the_shares():
    assert monitor_ratio([dict.fromkeys(SHARES, 0)], SHARES).p_value == 1


@pytest.mark.parametrize(
    ("looks", "shares", "said"),
    [
        ([{"a": 1, "b": 1}], {"a": 0.5, "b": 0.4}, "sum to 1"),
        ([{"a": 1, "b": 1}], {"a": 1.0, "b": 0.0}, "above zero"),
        ([{"a": 1}], {"a": 0.5, "b": 0.5}, "counts are of"),
        ([{"a": 5, "b": 5}, {"a": 4, "b": 9}], {"a": 0.5, "b": 0.5}, "cumulative"),
    ],
)
def test_what_is_no_cumulative_count_of_the_arms_is_refused(looks, shares, said):
    with pytest.raises(ValueError, match=said):
        monitor_ratio(looks, shares)
