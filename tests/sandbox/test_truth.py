"""The truth is exact: against the model lived through twice, once in each arm, with the same draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from toolkit.errors import DataError
from toolkit.sandbox import PROGRAMS, Program, World
from toolkit.sandbox.model import ESCALATE_AFTER_DAYS
from toolkit.sandbox.truth import true_effect

DAYS = 28
SCALE = 2.0


@dataclass(frozen=True)
class Lived:
    bought: np.ndarray
    orders: np.ndarray
    revenue: np.ndarray
    left: np.ndarray


def live(key: str, arm: str, noise: int) -> tuple[World, np.ndarray, Lived]:
    """Let everyone in an experiment's segment live in one arm, with perfect exposure."""
    world = World(seed=2, scale=SCALE, noise=noise)
    program = PROGRAMS[key]
    numbers = np.array([n for n in world.audience(key) if world.people.ids[n]])
    enrolled = np.zeros(len(world.people), dtype=bool)
    enrolled[numbers] = True
    orders, revenue, left = (np.zeros(len(world.people)) for _ in range(3))
    last = {"day": 0}

    def serve(asked: Program, people: Sequence[int]) -> list:
        values = program.schedule[arm]
        if asked.key != key:
            return [asked.control] * len(people)
        moved = len(values) > 1 and last["day"] >= ESCALATE_AFTER_DAYS
        return [
            asked.control
            if world.people.do_not_offer[n] or not enrolled[n]
            else values[-1]
            if moved and not early[n]
            else values[0]
            for n in people
        ]

    early = np.zeros(len(world.people))
    ready = {} if arm == "holdout" else {key: numbers[~world.people.do_not_offer[numbers]]}
    end, seen = world.now + timedelta(days=DAYS), set()
    start = world.now
    for day in range(DAYS + 12):
        if day == ESCALATE_AFTER_DAYS:
            early = world.ordered.copy()
        last["day"] = day
        for event in world.live(serve, ready):
            timely = start <= event.at < end
            if timely and event.name == "Order Completed" and event.data["order_id"] not in seen:
                seen.add(event.data["order_id"])
                orders[event.person] += 1
                revenue[event.person] += float(event.data["total"])
            elif event.name == "Order Refunded" and event.data["order_id"] in seen:
                revenue[event.person] -= event.data["total"]
            elif timely and event.name == "Unsubscribed":
                left[event.person] = 1
    lived = Lived(orders[numbers] > 0, orders[numbers], revenue[numbers], left[numbers])
    return world, numbers, lived


@pytest.mark.parametrize(
    ("key", "arm"),
    [
        ("cart-free-shipping", "free_shipping"),
        ("winback-dormant", "free_shipping"),
        ("winback-dormant", "escalating"),
        ("vip-early-access", "early_access"),
    ],
)
def test_the_truth_is_what_living_through_both_arms_gives(key: str, arm: str):
    world, numbers, treated = live(key, arm, noise=11)
    _, _, held = live(key, "holdout", noise=11)
    begun = datetime(2026, 9, 28, tzinfo=UTC)
    ledger = [(world.people.ids[n], arm, begun) for n in numbers]
    world.unsubscribed_at = World(seed=2, scale=SCALE, noise=11).unsubscribed_at

    def told(metric: str) -> float:
        ends = begun + timedelta(days=DAYS)
        return true_effect(world, key, metric, ledger, ends, arm=arm, window=None)

    for metric, gain in (
        ("purchase_rate", treated.bought.astype(float) - held.bought),
        ("revenue", treated.revenue - held.revenue),
        ("unsubscribe_rate", treated.left - held.left),
    ):
        error = np.sqrt(max(gain.var(), told(metric) if metric == "unsubscribe_rate" else 0) / len(gain))
        assert abs(gain.mean() - told(metric)) < 3.5 * error, (metric, gain.mean(), told(metric), error)
        if metric != "unsubscribe_rate":
            assert gain.mean() > 6 * error
    aov = treated.revenue.sum() / treated.orders.sum() - held.revenue.sum() / held.orders.sum()
    spread = np.std(treated.revenue - aov * treated.orders) / treated.orders.mean() / np.sqrt(len(numbers))
    assert abs(aov - told("aov")) < 2 * spread


WORLD = World(seed=1, scale=0.1, starts_on=date(2026, 9, 28))


def truth(
    metric: str = "purchase_rate", *, arm: str = "free_shipping", days: int = 14, **more: object
) -> float:
    ids = [WORLD.people.ids[n] for n in WORLD.audience("cart-free-shipping") if WORLD.people.ids[n]]
    rows = more.get("rows", [(each, "holdout", WORLD.now) for each in ids])
    ends = more.get("ends", WORLD.now + timedelta(days=60))
    window = timedelta(days=days)
    return true_effect(WORLD, "cart-free-shipping", metric, rows, ends, arm=arm, window=window)


def test_the_truth_does_not_depend_on_the_arms_in_the_ledger():
    ids = [WORLD.people.ids[n] for n in WORLD.audience("cart-free-shipping") if WORLD.people.ids[n]]
    other = [(each, "free_shipping", WORLD.now) for each in ids]
    assert truth(rows=other) == truth() > 0.03


def test_outcomes_stop_at_the_earlier_of_window_and_end():
    assert truth(days=60, ends=WORLD.now + timedelta(days=14)) == pytest.approx(truth(days=14))
    assert truth(ends=WORLD.now) == 0
    assert 0 < truth(ends=WORLD.now + timedelta(hours=12)) < truth(ends=WORLD.now + timedelta(days=1))


def test_who_refuses_offers_has_no_effect():
    people = WORLD.people
    rows = [
        (people.ids[n], "free_shipping", WORLD.now) for n in people.do_not_offer.nonzero()[0] if people.ids[n]
    ]
    assert rows
    assert truth(rows=rows) == truth("revenue", rows=rows) == truth("unsubscribe_rate", rows=rows) == 0


def test_what_the_sandbox_does_not_know_is_refused():
    with pytest.raises(DataError, match="knows no clicks"):
        truth("clicks")
    with pytest.raises(DataError, match="knows no purchase_rate of ten_percent"):
        truth(arm="ten_percent")
    with pytest.raises(DataError, match="no customer 'nobody'"):
        truth(rows=[("nobody", "holdout", WORLD.now)])
    with pytest.raises(DataError, match="no row"):
        truth(rows=[])


def test_the_score_foretells_revenue():
    world, numbers, lived = live("vip-early-access", "holdout", noise=5)
    score = world.people.ltv_90d[numbers]
    assert 0.15 < np.corrcoef(score, lived.revenue)[0, 1] ** 2 < 0.6
