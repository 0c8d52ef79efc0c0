from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.duration.survfunc import SurvfuncRight

from toolkit.stats.maturity import ENOUGH, Lags, lags_of, maturity_of, refund_rate, restated

DAYS = tuple(range(31))


def seen(rng, n, *, spread=3.0, span=40.0):
    """Return lags and ages of `n` orders over `span` days, exponential lags, of those that have come."""
    age = rng.random(n) * span
    lag = rng.exponential(spread, n)
    come = lag <= age
    return lag[come], age[come]


def true_share(days, spread=3.0, longest=30.0):
    return -np.expm1(-np.asarray(days) / spread) / -np.expm1(-longest / spread)


def test_the_shares_are_the_product_limit_in_reverse_time():
    rng = np.random.default_rng(1)
    lag, age = (np.floor(each) for each in seen(rng, 4000, spread=6.0))
    found = lags_of(lag, age, edges=DAYS)
    judged = (age > lag) & (lag < 30)
    oracle = SurvfuncRight(-lag[judged], np.ones(judged.sum()), entry=-np.minimum(age[judged], 31))
    for edge, share in zip(found.edges[1:-1], found.shares[1:-1], strict=True):
        theirs = oracle.surv_prob[oracle.surv_times <= -edge][-1]  # of −lag above −edge
        assert share == pytest.approx(theirs, rel=1e-9)


def test_lags_that_could_not_be_seen_yet_are_made_up_for():
    lag, age = seen(np.random.default_rng(2), 40_000)
    found = lags_of(lag, age, edges=DAYS)
    truth = true_share(found.edges)
    assert found.edges[-1] == 30
    np.testing.assert_allclose(found.shares, truth, atol=0.015)
    lag, age = seen(np.random.default_rng(3), 40_000, span=8.0)
    found = lags_of(lag, age, edges=(0, 1, 2, 3, 4, 5, 6, 7))
    truth = true_share(found.edges, longest=7.0)
    naive = np.array([(lag[lag < 7] < edge).mean() for edge in found.edges])
    assert np.abs(np.array(found.shares) - truth).max() < 0.02
    assert np.abs(naive - truth).max() > 0.05  # what has come says too little of what is late


@given(st.integers(0, 1000), st.sampled_from([DAYS, (0, 0.5, 2, 7, 14), (0, 1, 40)]))
def test_shares_rise_from_nothing_to_all(seed, edges):
    lag, age = seen(np.random.default_rng(seed), 400)
    found = lags_of(lag, age, edges=edges)
    assert found.shares[0] == 0
    assert found.shares[-1] == 1
    assert (np.diff(found.shares) >= 0).all()
    assert found.edges == tuple(edges)[: len(found.edges)]


def test_events_grouped_by_bucket_give_the_same_shares():
    rng = np.random.default_rng(4)
    lag, age = seen(rng, 3000)
    amount = rng.lognormal(3, 1, len(lag))
    edges = np.array([0, 0.5, 1, 2, 5, 10, 20])
    by_lag, by_age = (edges[np.searchsorted(edges, each, side="right") - 1] for each in (lag, age))
    groups = sorted(set(zip(by_lag, by_age, strict=True)))
    chosen = [(by_lag == one) & (by_age == other) for one, other in groups]
    grouped = lags_of(
        *np.array(groups).T,
        [each.sum() for each in chosen],
        [amount[each].sum() for each in chosen],
        edges=edges,
    )
    whole = lags_of(lag, age, amounts=amount, edges=edges)
    assert grouped.edges == whole.edges
    assert grouped.shares == pytest.approx(whole.shares, rel=1e-12)
    assert grouped.shares != pytest.approx(lags_of(lag, age, edges=edges).shares, rel=1e-3)


def test_lags_that_too_few_orders_are_old_enough_for_are_not_judged():
    lag, age = np.full(200, 0.1), np.r_[np.full(180, 3.5), np.full(20, 25.0)]
    found = lags_of(lag, age, edges=DAYS)
    assert found.edges[-1] == 3
    assert found.seen == 200
    assert lags_of(lag[: ENOUGH - 1], age[: ENOUGH - 1], edges=DAYS) is None
    assert lags_of(lag[:ENOUGH], age[:ENOUGH], edges=DAYS) is not None
    assert lags_of([], [], edges=DAYS) is None


def test_clocks_that_run_ahead_count_as_no_lag_and_impossible_lags_are_refused():
    lag, age = np.full(50, -0.01), np.full(50, 10.0)
    assert lags_of(lag, age, edges=(0, 1, 2)).shares == (0.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="after the data were read"):
        lags_of([11.0], [10.0])
    with pytest.raises(ValueError, match="rise"):
        lags_of(lag, age, edges=(0, 2, 1))


def look(rng, n, spread=3.0, span=20.0):
    """Return ages of orders that have come and the share of orders that has."""
    age = rng.random(n) * span
    come = rng.exponential(spread, n) <= age
    return age[come], come.mean()


def test_completeness_is_the_share_of_orders_that_has_come():
    rng = np.random.default_rng(5)
    lags = lags_of(*seen(rng, 60_000), edges=(0, 0.25, 0.5, 0.75, *range(1, 31)))
    age, truth = look(rng, 20_000)
    found = maturity_of(age, np.ones_like(age), orders=lags)
    assert found.share == found.arrived == pytest.approx(truth, abs=0.02)
    assert found.provisional
    assert found.settled is None
    assert found.text == (
        f"about {found.share:.1%} of orders have come in (of those that come within 30 days); "
        "how late refunds come is not known"
    )
    expected = maturity_of(rng.random(5000) * 20, np.ones(5000), orders=lags, expected=True)
    assert expected.share == pytest.approx(truth, abs=0.02)


def test_orders_too_late_to_be_there_are_missed_unless_customers_stand_for_them():
    lags = Lags((0, 2, 3, 10), (0.0, 0.0, 1.0, 1.0), 500)
    days = np.arange(10) + 0.5
    there = (days >= 2.5).astype(float)
    assert maturity_of(days, there, orders=lags).share > 0.9
    assert maturity_of(days, np.ones(10), orders=lags, expected=True).share == pytest.approx(0.75)


def test_old_orders_are_complete():
    lags = Lags((0, 1, 2), (0.0, 0.7, 1.0), 500)
    found = maturity_of([30.0, 40.0], [1.0, 1.0], orders=lags)
    assert (found.share, found.provisional) == (1.0, False)
    assert found.text.startswith("about 100% of orders have come in (of those that come within 2 days)")
    assert not maturity_of([1.5], [1.0], orders=lags, complete=0.85).provisional
    assert maturity_of([1.5], [1.0], orders=lags, complete=0.86).provisional


def test_refunds_still_to_come_count_as_far_as_they_take_value_away():
    refunds = Lags((0, 10, 20), (0.0, 0.5, 1.0), 500)
    ages, amounts = np.array([5.0, 15.0, 40.0]), np.array([100.0, 100.0, 200.0])
    rate = refund_rate(refunds, ages, amounts, refunded=32.5)
    assert rate == pytest.approx(32.5 / (50 + 75 + 200))
    found = maturity_of(ages, amounts, orders=None, refunds=refunds, rate=rate)
    still = 0.1 * (0.5 * 100 + 0.25 * 100) / 400
    assert found.settled == found.share == pytest.approx(1 - still)
    assert found.arrived is None
    assert found.text == (
        "how late orders come is not known; "
        "about 1.9% of their value is still to be refunded (within 20 days of the order)"
    )
    orders = Lags((0, 10, 20), (0.0, 0.9, 1.0), 500)
    both = maturity_of(ages, amounts, orders=orders, refunds=refunds, rate=rate)
    assert both.share == pytest.approx(both.arrived * both.settled)
    assert refund_rate(refunds, [], [], 0.0) is None


def test_refunds_to_come_are_foretold():
    rng = np.random.default_rng(6)
    age, amount = rng.random(40_000) * 30, rng.lognormal(3, 0.5, 40_000)
    back, lag = rng.random(40_000) < 0.08, rng.exponential(6.0, 40_000)
    shown = back & (lag <= age)
    lags = lags_of(lag[shown], age[shown], amounts=amount[shown], edges=range(29))
    rate = refund_rate(lags, age, amount, amount[shown].sum())
    assert rate == pytest.approx(0.08 * -np.expm1(-28 / 6), abs=0.006)
    found = maturity_of(age, amount, orders=None, refunds=lags, rate=rate)
    late = amount[back & (lag > age) & (lag < 28)].sum() / amount.sum()
    assert 1 - found.settled == pytest.approx(late, abs=0.003)


def test_what_is_not_known_is_not_said():
    unknown = maturity_of([1.0], [1.0], orders=None)
    assert (unknown.share, unknown.provisional) == (None, False)
    assert unknown.text == "how late orders come is not known; how late refunds come is not known"
    empty = maturity_of([], [], orders=Lags((0, 1), (0.0, 1.0), 50))
    assert (empty.share, empty.text) == (None, "there are no orders yet to be complete")


ON = date(2026, 11, 23)


def test_a_lift_that_changed_is_restated_in_words():
    found = restated(ON, 0.021, 0.018)
    assert (found.on, found.from_, found.to) == (ON, 0.021, 0.018)
    assert found.text == "restated from +2.1% to +1.8%"
    assert restated(ON, 0.021, -0.018).text == "restated from +2.1% to −1.8%"
    assert restated(ON, 0.02101, 0.02149, tolerance=0.0).text == "restated from +2.10% to +2.15%"
    assert restated(ON, 1234.5, 1230.0, relative=False).text == "restated from +1,234.50 to +1,230.00"
    assert restated(ON, None, 0.018).text == "restated from no number to +1.8%"
    assert restated(ON, 0.018, None).text == "restated from +1.8% to no number"


@given(st.floats(-2, 2), st.floats(-2, 2), st.sampled_from([0.0005, 0.01, 0.0]))
def test_a_restatement_is_made_exactly_where_the_change_exceeds_the_tolerance(before, now, tolerance):
    found = restated(ON, before, now, tolerance=tolerance)
    assert (found is not None) == (abs(now - before) > tolerance)
    if found and tolerance:
        first, second = found.text.removeprefix("restated from ").split(" to ")
        assert first != second


def test_what_has_not_changed_is_not_restated():
    assert restated(ON, 0.021, 0.021) is None
    assert restated(ON, None, None) is None
