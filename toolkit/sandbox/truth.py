"""What an experiment truly does to the sandbox's shoppers, computed from the model, not from draws.

Exact for assignments made at a midnight and acted on at once, which is how the sandbox's time moves; other
instants count by the part of the day that remains. An order counts though refunded later; revenue is net
of all refunds that its orders will ever see.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from toolkit.errors import DataError
from toolkit.sandbox import model
from toolkit.sandbox.model import PROGRAMS, Program
from toolkit.sandbox.people import Floats
from toolkit.sandbox.world import Numbers, World, rates

__all__ = ["Expected", "expected", "true_effect"]

METRICS = ("purchase_rate", "revenue", "aov", "unsubscribe_rate")


@dataclass(frozen=True, slots=True)
class Expected:
    """Expected outcomes of each customer: P(any order), orders, USD net of refunds, P(unsubscribed)."""

    purchase_rate: Floats
    orders: Floats
    revenue: Floats
    unsubscribe_rate: Floats


def true_effect(
    world: World,
    experiment: str,
    metric: str,
    assigned: Iterable[tuple[str, str, datetime]],
    as_of_end: datetime,
    *,
    arm: str,
    window: timedelta | None,
) -> float:
    """Return the absolute effect of `arm` against the holdout, per assigned customer.

    The mean runs over all rows (id, arm, assigned_at) of the ledger, whatever their arm: what would be, were
    everyone in `arm`, less what would be, were everyone held out. Outcomes count from assignment until
    `as_of_end`, and within `window` of assignment if there is one. `aov` is a ratio of two means in each.

    Raises:
        DataError: an unknown experiment, arm, metric or customer, or no row at all.
    """
    if experiment not in PROGRAMS or arm not in PROGRAMS[experiment].schedule or metric not in METRICS:
        raise DataError(f"the sandbox knows no {metric} of {arm} in {experiment}")
    program = PROGRAMS[experiment]
    numbers = {key: number for number, key in enumerate(world.people.ids) if key}
    rows: defaultdict[datetime, list[int]] = defaultdict(list)
    for customer, _, assigned_at in assigned:
        if customer not in numbers:
            raise DataError(f"the sandbox knows no customer {customer!r}")
        rows[assigned_at].append(numbers[customer])
    if not rows:
        raise DataError("the ledger has no row, so there is no effect to tell")
    treated, held = (
        [
            expected(world, program, each, np.array(group), at, _end(at, as_of_end, window))
            for at, group in sorted(rows.items())
        ]
        for each in (arm, "holdout")
    )
    if metric == "aov":
        return _total(treated, "revenue") / _total(treated, "orders") - _total(held, "revenue") / _total(
            held, "orders"
        )
    return (_total(treated, metric) - _total(held, metric)) / sum(map(len, rows.values()))


def expected(
    world: World, program: Program, arm: str, numbers: Numbers, assigned_at: datetime, end: datetime
) -> Expected:
    """Return what is expected of `numbers`, assigned to `arm` at one instant, until `end`."""
    start, stop = ((each - world.starts_at) / timedelta(days=1) for each in (assigned_at, end))
    days = np.arange(math.floor(start), max(math.ceil(stop), math.floor(start)))
    part = np.clip(np.minimum(days + 1, stop) - np.maximum(days, start), 0.0, 1.0)
    column = numbers[:, np.newaxis]
    visit, buy = rates(world.people, column, world.carted_on[column], days)
    offered = ~world.people.do_not_offer[numbers] & (arm != "holdout")
    subscribed = world.unsubscribed_at[numbers] > start
    messaged = offered & subscribed & world.people.reachable[numbers]
    moved = messaged[:, np.newaxis] & (days < math.floor(start) + model.MESSAGE_LASTS_DAYS)
    more = np.where(moved, program.message_buy, 1.0)

    def hazards(value: bool | str) -> tuple[Floats, Floats]:
        """Return the daily chances of an order, and the expected revenue, under a served value."""
        lift = np.where(offered, program.offer(value).buy, 1.0)[:, np.newaxis]
        size = np.where(offered, program.offer(value).order, 1.0) * world.people.level[numbers]
        chance = part * visit * np.minimum(1.0, buy * lift * more)
        return chance, chance * size[:, np.newaxis] * model.KEPT_REVENUE

    first, first_worth = hazards(program.schedule[arm][0])
    last, last_worth = hazards(program.schedule[arm][-1])
    early = days < start + model.ESCALATE_AFTER_DAYS
    silent = np.prod(1 - first[:, early], axis=1)
    stay = np.prod(1 - part * model.UNSUBSCRIBE_A_DAY)
    on_message = np.where(messaged, 1 - model.UNSUBSCRIBE_ON_MESSAGE * part[:1].sum(), 1.0)

    def both(before: Floats, after: Floats) -> Floats:
        """Sum the early days, then the later ones as the customer escalated or, having bought, did not."""
        first_days: Floats = before[:, early].sum(axis=1)
        escalated: Floats = silent * after[:, ~early].sum(axis=1)
        rest: Floats = (1 - silent) * before[:, ~early].sum(axis=1)
        return first_days + escalated + rest

    return Expected(
        purchase_rate=1 - silent * np.prod(1 - last[:, ~early], axis=1),
        orders=both(first, last),
        revenue=both(first_worth, last_worth),
        unsubscribe_rate=np.where(subscribed, 1 - stay * on_message, 0.0),
    )


def _end(assigned_at: datetime, as_of_end: datetime, window: timedelta | None) -> datetime:
    """Return when a customer's outcomes stop counting."""
    return as_of_end if window is None else min(as_of_end, assigned_at + window)


def _total(groups: Iterable[Expected], name: str) -> float:
    """Return the sum of an expected outcome over all customers."""
    return float(sum(getattr(group, name).sum() for group in groups))
