from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.stats.moments import Moments
from toolkit.stats.value import Money, worth_of

MARGIN, COST = 0.55, 6.0
EMPTY = Money(0.0, None, None)


def rows_of(rng, n, rate, amount=3.5):
    orders = rng.poisson(rate, n).astype(float)
    return np.c_[orders * rng.lognormal(amount, 0.5, n), orders]


def arms(seed=0, n=(4000, 2000), rates=(0.36, 0.25)):
    rng = np.random.default_rng(seed)
    return [rows_of(rng, size, rate) for size, rate in zip(n, rates, strict=True)]


def worth(rows, *, margin=MARGIN, offer_cost=COST, alpha=0.05):
    return worth_of(*(Moments.of(each) for each in rows), margin=margin, offer_cost=offer_cost, alpha=alpha)


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_each_amount_is_the_welch_difference_of_what_it_stands_for(alpha):
    treated, control = rows = arms()
    found = worth(rows, alpha=alpha)
    for money, one, other in [
        (found.revenue, treated[:, 0], control[:, 0]),
        (found.orders, treated[:, 1], control[:, 1]),
        (found.profit, MARGIN * treated[:, 0] - COST * treated[:, 1], MARGIN * control[:, 0]),
    ]:
        oracle = scipy.stats.ttest_ind(one, other, equal_var=False).confidence_interval(1 - alpha)
        assert money.value == pytest.approx(one.mean() - other.mean(), rel=1e-9)
        assert (money.low, money.high) == pytest.approx((oracle.low, oracle.high), rel=1e-9)
    assert found.cost == pytest.approx(COST * treated[:, 1].mean())


def test_totals_are_the_amounts_of_all_treated_customers():
    rows = arms()
    found = worth(rows)
    assert found.customers == 4000
    assert found.total_cost == pytest.approx(COST * rows[0][:, 1].sum())
    for total, each in [
        (found.total_revenue, found.revenue),
        (found.total_orders, found.orders),
        (found.total_profit, found.profit),
    ]:
        assert (total.value, total.low, total.high) == pytest.approx(
            (4000 * each.value, 4000 * each.low, 4000 * each.high)
        )


def test_profit_is_margin_on_revenue_less_what_the_offer_cost():
    found = worth(arms())
    assert found.profit.value == pytest.approx(MARGIN * found.revenue.value - found.cost)
    assert found.returned.value == pytest.approx(MARGIN * found.revenue.value / found.cost)
    assert found.net_returned.value == pytest.approx(found.profit.value / found.cost)
    assert found.net_returned.low == pytest.approx(found.returned.low - 1)


def test_the_returns_interval_is_the_delta_methods_where_the_cost_is_well_known():
    treated, control = rows = arms(n=(60_000, 40_000))
    found = worth(rows)
    brought, cost = MARGIN * (treated[:, 0].mean() - control[:, 0].mean()), COST * treated[:, 1].mean()
    linear = MARGIN * treated[:, 0] - brought / cost * COST * treated[:, 1]
    se = np.sqrt(
        linear.var(ddof=1) / len(linear) + (MARGIN * control[:, 0]).var(ddof=1) / len(control)
    ) / abs(cost)
    assert (found.returned.low, found.returned.high) == pytest.approx(
        (brought / cost - 1.96 * se, brought / cost + 1.96 * se), abs=0.02 * se
    )


def test_the_returns_interval_is_near_the_bootstraps():
    treated, control = rows = arms(seed=3)
    rng = np.random.default_rng(1)
    drawn = []
    for _ in range(3000):
        one = treated[rng.integers(0, len(treated), len(treated))].mean(axis=0)
        other = control[rng.integers(0, len(control), len(control)), 0].mean()
        drawn.append(MARGIN * (one[0] - other) / (COST * one[1]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    found = worth(rows).returned
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.06 * (high - low))


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.05, 0.2, 0.001]), st.floats(0.5, 20))
def test_the_return_is_surely_above_one_exactly_where_profit_is_surely_above_zero(seed, alpha, cost):
    found = worth(arms(seed, (300, 200)), offer_cost=cost, alpha=alpha)
    assert found.returned.low is not None
    assert (found.returned.low > 1) == (found.profit.low > 0)
    assert (found.returned.high < 1) == (found.profit.high < 0)


def test_intervals_cover_the_truth_of_a_known_world():
    rng, runs = np.random.default_rng(8), 1000
    rates, mean_amount = (0.3, 0.24), np.exp(3.5 + 0.5**2 / 2)
    profit = MARGIN * (rates[0] - rates[1]) * mean_amount - COST * rates[0]
    returned = MARGIN * (rates[0] - rates[1]) * mean_amount / (COST * rates[0])
    covered = np.zeros(2)
    for _ in range(runs):
        found = worth([rows_of(rng, 1500, rates[0]), rows_of(rng, 700, rates[1])])
        covered += [
            found.profit.low <= profit <= found.profit.high,
            found.returned.low <= returned <= found.returned.high,
        ]
    assert (np.abs(covered / runs - 0.95) < 3.5 * np.sqrt(0.05 * 0.95 / runs)).all()


def test_an_offer_that_costs_nothing_has_no_return():
    found = worth(arms(), offer_cost=0.0)
    assert (found.returned, found.net_returned) == (None, None)
    assert found.profit.value == pytest.approx(MARGIN * found.revenue.value)
    assert found.notes == ("the offer costs nothing, so there is no return on it to speak of",)


def test_a_return_over_too_few_orders_has_no_ends():
    treated, control = np.zeros((400, 2)), np.zeros((400, 2))
    treated[:2] = [[60.0, 1.0], [20.0, 1.0]]
    control[0] = 30.0, 1.0
    found = worth([treated, control])
    assert found.returned.value == pytest.approx(MARGIN * 50 / (COST * 2))
    assert (found.returned.low, found.returned.high) == (None, None)
    assert (found.net_returned.low, found.net_returned.high) == (None, None)
    assert found.notes == ("orders are too few or too alike for an interval of the return on the offer",)


def test_arms_without_any_order_get_no_interval():
    found = worth([np.zeros((50, 2)), np.zeros((50, 2))])
    assert (found.revenue, found.orders, found.profit) == (EMPTY, EMPTY, EMPTY)
    assert found.total_profit == EMPTY
    assert found.returned is None
    assert found.notes == (
        "revenue does not vary, so it has no interval",
        "no treated customer has ordered, so there is no return on it to speak of",
    )


def test_arms_too_small_to_compare_give_no_number_but_what_was_spent():
    found = worth([arms()[0], np.zeros((1, 2))])
    assert (found.revenue, found.profit, found.total_profit, found.returned) == (None, None, None, None)
    assert found.total_cost > 0
    assert found.notes == ("4,000 treated and 1 held-out customers are too few to compare",)


@pytest.mark.parametrize(("margin", "cost"), [(0.0, 1.0), (1.2, 1.0), (0.5, -1.0), (0.5, float("nan"))])
def test_a_margin_or_cost_that_cannot_be_is_refused(margin, cost):
    with pytest.raises(ValueError, match="margin"):
        worth(arms(), margin=margin, offer_cost=cost)


def test_worths_of_two_experiments_do_not_add_up():
    one = worth(arms())
    with pytest.raises(TypeError):
        one + one
    with pytest.raises(TypeError):
        one.profit + one.profit
