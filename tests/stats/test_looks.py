"""What a schedule of looks makes of a look's own interval and p-value, adjusted or not, before a plan's end and after."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.stats.curve import ArmLook, Look, Schedule, trace_of
from toolkit.stats.distributions import ndtr, ndtri
from toolkit.stats.multiplicity import benjamini_hochberg, holm
from toolkit.stats.sequential import always_on_boundary, always_on_times, planned_boundaries

FIRST = date(2026, 1, 7)
WEEKS = np.arange(1, 27)


def arm_looks(sums, enters, looks):
    """Return an arm's sums at each look: `sums` of shape (customers, looks), zero before the look a customer enters at."""
    found = []
    for at in range(looks):
        there, before = enters <= at, enters < at
        now, then = sums[:, at], sums[:, at - 1] if at else np.zeros(len(sums))
        found.append(
            ArmLook(
                int(there.sum()),
                np.array([now[there].sum()]),
                np.array([[(now[there] ** 2).sum()]]),
                np.array([[(now[before] * then[before]).sum()]]),
                np.array([now[before].sum()]),
            )
        )
    return found


def traced(sums, enters, fractions, *, always_on=False):
    """Return the trace of two arms of such customers each."""
    on = [Look(FIRST + timedelta(days=7 * at), float(each)) for at, each in enumerate(fractions)]
    by_look = [{"one": each, "held": each} for each in arm_looks(sums, enters, len(on))]
    return on, trace_of(on, by_look, "one", "held", alpha=0.05, planned=not always_on, always_on=always_on)


def schedule(fractions, alpha=0.05, *, always_on=False, seed=1):
    rng = np.random.default_rng(seed)
    bought = rng.poisson(rng.gamma(0.5, 0.4, 500)[:, None] * np.ones(len(fractions)))
    looks, trace = traced(
        np.cumsum(bought, axis=1).astype(float), np.zeros(500), fractions, always_on=always_on
    )
    return Schedule(tuple(looks), len(looks), {("revenue", "one"): trace}, always_on, alpha)


gaps = st.lists(st.floats(0.1, 1), min_size=1, max_size=5)
alphas = st.sampled_from([0.001, 0.01, 0.05, 0.1, 0.2])


@settings(max_examples=60, deadline=None)
@given(
    gaps,
    st.sampled_from([0.6, 1.0, 2.5]),
    alphas,
    alphas,
    st.booleans(),
    st.floats(0.05, 7),
    st.floats(0, 0.6),
)
def test_a_p_value_is_below_any_alpha_exactly_where_the_interval_at_it_excludes_zero(
    steps, reached, planned_for, alpha, always_on, z, explained
):
    looks = schedule(np.cumsum(steps) / sum(steps) * reached, planned_for, always_on=always_on)
    limit = -ndtri(looks.nominal("revenue", "one", alpha, explained=explained) / 2)
    found = looks.p_value("revenue", "one", 2 * ndtr(-z), explained=explained)
    if abs(z - limit) > 1e-6:
        assert (found < alpha) == (z > limit)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([holm, benjamini_hochberg]),
    st.booleans(),
    st.sampled_from([1.0, 2.5]),
    alphas,
    st.lists(st.floats(0.5, 6), min_size=2, max_size=6),
)
def test_corrected_p_values_agree_with_corrected_intervals_at_every_kind_of_look(
    correct, always_on, reached, alpha, zs
):
    looks = schedule(np.arange(1, 6) / 5 * reached, alpha, always_on=always_on)
    found = [looks.p_value("revenue", "one", 2 * ndtr(-z)) for z in zs]
    for z, each in zip(zs, correct(found, alpha), strict=True):
        if each.alpha is not None and abs(each.p_value - alpha) > 1e-9:
            limit = -ndtri(looks.nominal("revenue", "one", each.alpha) / 2)
            assert (each.p_value < alpha) == (z > limit)


def correlation(columns):
    products = columns.T @ columns
    scale = np.sqrt(np.diag(products))
    return products / np.outer(scale, scale)


FADING = 0.5 ** (WEEKS / 6)
WORLDS = {
    "persistent rates": {},
    "fading interest": {"interest": FADING, "rate": 0.3},
    "fourfold in the last weeks": {"interest": np.where(WEEKS > 22, 4.0, 1.0)},
    "a short look-back": {"known_for": 8},
    "bought by then": {"rate": 0.02, "bought": True},
    "rolling entry": {"rolling": True},
}


@pytest.mark.parametrize("world", WORLDS)
def test_looks_at_adjusted_estimates_find_a_difference_that_is_none_as_often_as_they_may(world):
    limits, matrix, raw = adjusted_world(**WORLDS[world])
    rng = np.random.default_rng(5)
    z = rng.multivariate_normal(np.zeros(26), matrix, size=100_000, method="cholesky")
    for kind, found in limits.items():
        crossed = (np.abs(z) > found).any(axis=1).mean()
        assert crossed < 0.055, kind
        if kind == "planned":
            assert crossed > 0.042
            assert found[-1] >= raw[-1]


def adjusted_world(*, rate=0.2, interest=1.0, known_for=None, bought=False, rolling=False, customers=20_000):
    """Return boundaries of looks at adjusted estimates, how those correlate, and the boundaries of unadjusted ones.

    Adjusted are sums by what tells a customer's rate: the rate itself, or purchases over some weeks before.
    """
    rng = np.random.default_rng(3)
    rates = rng.gamma(0.3, rate / 0.3, customers)
    enters = rng.integers(0, 26, customers) if rolling else np.zeros(customers, dtype=int)
    there = np.arange(26) >= enters[:, None]
    sums = np.cumsum(rng.poisson(rates[:, None] * interest * there), axis=1).astype(float)
    sums = (sums > 0).astype(float) if bought else sums
    known = rates if known_for is None else rng.poisson(rates * known_for)
    left, plain = np.zeros_like(sums), np.zeros_like(sums)
    for at in range(26):
        of = enters <= at
        by = np.c_[np.ones(of.sum()), known[of]]
        left[of, at] = (sums[of, at] - by @ np.linalg.lstsq(by, sums[of, at], rcond=None)[0]) / of.sum()
        plain[of, at] = (sums[of, at] - sums[of, at].mean()) / of.sum()
    explained = 1 - (left[:, -1] ** 2).sum() / (plain[:, -1] ** 2).sum()
    fractions = WEEKS / 26
    _, trace = traced(sums, enters, fractions)
    found = trace.correlations_left(float(explained))
    limits = {
        "planned": [each.z for each in planned_boundaries(fractions, 0.05, found)],
        "always on": [always_on_boundary(time, 0.05).z for time in always_on_times(fractions, found)],
    }
    raw = [each.z for each in planned_boundaries(fractions, 0.05, trace.correlations)]
    return limits, correlation(left), raw


def test_covariates_that_explain_nothing_leave_the_looks_as_they_are():
    trace = schedule(WEEKS / 26).traces["revenue", "one"]
    assert trace.correlations_left(0.0) == trace.correlations_left(-0.1) == trace.correlations
    assert all(
        less <= more for less, more in zip(trace.correlations_left(0.5), trace.correlations, strict=True)
    )


def test_no_interval_says_anything_where_no_time_is_known_and_the_p_value_agrees():
    looks = (Look(FIRST, 0.2), Look(FIRST + timedelta(days=7), 0.4))
    blind = Schedule(looks, 5, {}, always_on=True)
    assert blind.nominal("revenue", "one", 0.05) < 1e-14
    assert blind.p_value("revenue", "one", 1e-9) == 1.0
    assert blind.p_value("revenue", "one", 1e-20) == 1e-20
