"""What an offer is worth: incremental orders, revenue and profit, and what the money spent on it brought back.

Everything is a linear combination of two numbers per customer, revenue and orders, so intervals follow from
their moments. An experiment's worth stands alone: values of several experiments are never added up, since their
customers overlap; what the whole programme brings is the universal holdout's to say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from toolkit.stats.compliance import quotient_interval
from toolkit.stats.distributions import t_upper
from toolkit.stats.estimate import Group, difference
from toolkit.stats.moments import Moments, Vector

__all__ = ["Money", "Worth", "worth_of"]


@dataclass(frozen=True, slots=True)
class Money:
    """An amount of money, or a number of orders, with its interval.

    An end is None where there is none: nothing varies, or the set of likely values has no end.
    """

    value: float
    low: float | None
    high: float | None

    def times(self, factor: float) -> Money:
        """Return the amount and its ends times a factor that is not negative."""
        return Money(
            self.value * factor,
            None if self.low is None else self.low * factor,
            None if self.high is None else self.high * factor,
        )

    def plus(self, constant: float) -> Money:
        """Return the amount and its ends moved by a constant."""
        return Money(
            self.value + constant,
            None if self.low is None else self.low + constant,
            None if self.high is None else self.high + constant,
        )


@dataclass(frozen=True, slots=True)
class Worth:
    """What the offer brought, per treated customer and for all of them.

    Attributes:
        customers: customers in the treated arm.
        revenue: incremental revenue per treated customer.
        orders: incremental orders per treated customer.
        profit: incremental profit per treated customer: margin on incremental revenue less the offer's cost.
        cost: what was spent on the offer per treated customer: counted, not estimated.
        total_revenue, total_orders, total_profit, total_cost: the same for all treated customers together.
        returned: incremental margin for each unit of money that the offer cost; above 1 it paid for itself.
            None where the offer cost nothing.
        net_returned: the same less the unit spent; above 0 it paid for itself, exactly where profit is.
        notes: sentences on what could not be told.
        trusted: whether the intervals are to be believed; whoever knows revenue's shape says so.
    """

    customers: int
    revenue: Money | None
    orders: Money | None
    profit: Money | None
    cost: float
    total_revenue: Money | None
    total_orders: Money | None
    total_profit: Money | None
    total_cost: float
    returned: Money | None
    net_returned: Money | None
    notes: tuple[str, ...] = ()
    trusted: bool = True


def worth_of(treated: Moments, control: Moments, *, margin: float, offer_cost: float, alpha: float) -> Worth:
    """Return the offer's worth from both arms' moments of (revenue, orders) per customer, in that order.

    `margin` is the share of revenue kept. `offer_cost` is money per order placed in the treated arm, whether or
    not the offer caused the order; the control costs nothing. Profit per customer is margin · revenue − cost ·
    orders in the treated arm against margin · revenue in the control.

    Differences have Welch's interval (Welch 1947) at level 1 − alpha; totals are these times the treated
    customers. The return is a quotient of two correlated estimates, with Fieller's interval (Fieller 1954) at
    the quantile of the profit's: where it is bounded, it lies above 1 exactly where the profit's lies above 0.

    Raises:
        ValueError: the margin is not within 0 to 1, or the cost is negative.
    """
    if not 0 < margin <= 1 or not offer_cost >= 0:
        raise ValueError(f"margin {margin} must lie above 0 and at most at 1, cost {offer_cost} not below 0")
    n = treated.n
    cost = offer_cost * float(treated.mean[1])
    nothing = Worth(n, None, None, None, cost, None, None, None, cost * n, None, None)
    if n < 2 or control.n < 2:
        why = f"{n:,} treated and {control.n:,} held-out customers are too few to compare"
        return replace(nothing, notes=(why,))
    revenue, _ = _gap(treated, control, (1, 0), (1, 0), alpha)
    orders, _ = _gap(treated, control, (0, 1), (0, 1), alpha)
    profit, df = _gap(treated, control, (margin, -offer_cost), (margin, 0), alpha)
    silent = () if revenue.low is not None else ("revenue does not vary, so it has no interval",)
    worth = replace(
        nothing,
        revenue=revenue,
        orders=orders,
        profit=profit,
        total_revenue=revenue.times(n),
        total_orders=orders.times(n),
        total_profit=profit.times(n),
    )
    if cost <= 0:
        why = "the offer costs nothing" if offer_cost == 0 else "no treated customer has ordered"
        return replace(worth, notes=(*silent, f"{why}, so there is no return on it to speak of"))
    brought = margin * revenue.value
    spread = treated.covariance / n
    held = control.covariance / control.n
    ends = df and quotient_interval(
        brought,
        cost,
        margin**2 * float(spread[0, 0] + held[0, 0]),
        offer_cost**2 * float(spread[1, 1]),
        margin * offer_cost * float(spread[0, 1]),
        t_upper(alpha / 2, df),
    )
    returned = Money(brought / cost, *(ends or (None, None)))
    unbounded = (
        () if ends else ("orders are too few or too alike for an interval of the return on the offer",)
    )
    return replace(worth, returned=returned, net_returned=returned.plus(-1.0), notes=(*silent, *unbounded))


def _gap(
    treated: Moments,
    control: Moments,
    treated_weights: tuple[float, float],
    control_weights: tuple[float, float],
    alpha: float,
) -> tuple[Money, float | None]:
    """Return the difference of two combinations of revenue and orders, and its degrees of freedom."""
    estimate = difference(_group(treated, treated_weights), _group(control, control_weights), alpha)
    if estimate.p_value is None:
        return Money(estimate.value, None, None), None
    return Money(estimate.value, estimate.low, estimate.high), estimate.df


def _group(moments: Moments, weights: tuple[float, float]) -> Group:
    combination: Vector = np.asarray(weights, dtype=float)
    return Group(moments.n, float(combination @ moments.mean), moments.variance_of(combination) / moments.n)
