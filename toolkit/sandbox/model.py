"""How the sandbox's shoppers behave: every rate, share and effect that is true of them.

A shopper visits on a day with some probability, at one instant uniform in that day, and buys at the visit
with some probability. What the site shows and what message arrived scale the latter. Nothing else differs
between arms, so the true effect follows from this file alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["PROGRAMS", "UNIVERSAL_HOLDOUT_SEGMENT", "Offer", "Pool", "Program"]

UNIVERSAL_HOLDOUT_SEGMENT = "lift-always-on-2026h2-holdout"
"""The LaunchDarkly segment of customers who are in no experiment."""

STREAM = 0x5A17D
"""Sets the sandbox's draws apart from anybody's `default_rng(seed)`, lest assignments correlate with them."""
HISTORY_DAYS = 30
"""Days of orders before the first simulated day."""
ESCALATE_AFTER_DAYS = 14
"""Days without an order after which an escalating customer gets the larger offer."""
MESSAGE_LASTS_DAYS = 14
"""Days for which an arrived message moves its reader."""
DELIVERED_SHARE = 0.96
"""Share of customers whom a campaign's message can reach."""
FRESH_DAYS = 14
"""Days after abandoning a cart in which its owner visits most."""
STALE_VISITS = 0.5
"""What remains of the daily visits after those days."""

DO_NOT_OFFER_SHARE = 0.03
EMAIL_ONLY_SHARE = 0.03
UNSUBSCRIBED_AT_FIRST_SHARE = 0.04
UNSUBSCRIBE_A_DAY = 0.0003
"""Daily probability that a subscribed customer unsubscribes, whatever happens."""
UNSUBSCRIBE_ON_MESSAGE = 0.001
"""Probability that an arrived message makes its reader unsubscribe."""

REFUNDED_SHARE = 0.06
FULL_REFUND_SHARE = 0.7
PARTIAL_REFUND = 0.5
"""Part of the total that a partial refund returns."""
KEPT_REVENUE = 1 - REFUNDED_SHARE * (FULL_REFUND_SHARE + (1 - FULL_REFUND_SHARE) * PARTIAL_REFUND)
"""Expected share of an order's total that is not refunded."""
REFUND_DELAY_DAYS = (1.0, 8.0)
LATE_SHARE = 0.05
LATE_DAYS = 2.0
"""Longest time between an order and a late event about it."""
TWICE_SHARE = 0.01
ORDER_LOG_SD = 0.5
"""Standard deviation of the logarithm of an order's total around its shopper's level."""
RATE_LOG_SD = 0.8
LEVEL_LOG_SD = 0.45
RATE_LEVEL_CORRELATION = 0.5
SCORE_LOG_SD = 0.35
"""Error of `ltv_90d`, a score, in the logarithm of the expected value of 90 days."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A kind of shopper. Visits and purchases are daily and per visit; `order` in USD; sizes at scale 1."""

    name: str
    people: int
    visit: float
    buy: float
    order: float
    buys_before: bool


@dataclass(frozen=True, slots=True)
class Offer:
    """What a flag's value does: factors on the chance to buy at a visit and on the order's total."""

    buy: float = 1.0
    order: float = 1.0


@dataclass(frozen=True, slots=True)
class Program:
    """An experiment that the sandbox's world knows, with its effects.

    `offers` maps a served value to its effect, `schedule` an arm to the values it should be served: one
    value, or two where the second follows after `ESCALATE_AFTER_DAYS` days without an order.
    """

    key: str
    name: str
    pool: str
    audience: int
    audience_name: str
    flag: str
    variations: tuple[bool | str, ...]
    control: bool | str
    eligible: Mapping[str, bool | str]
    holdout_segment: str
    campaign: int
    offers: Mapping[bool | str, Offer]
    schedule: Mapping[str, tuple[bool | str, ...]]
    message_buy: float

    def offer(self, value: bool | str) -> Offer:
        """Return the effect of a served value; a value without offer has none."""
        return self.offers.get(value, Offer())


POOLS = (
    Pool("winback", people=3000, visit=0.05, buy=0.05, order=48.0, buys_before=False),
    Pool("vip", people=1500, visit=0.28, buy=0.093, order=85.0, buys_before=True),
    Pool("browser", people=7500, visit=0.05, buy=0.06, order=55.0, buys_before=True),
)
"""Who there is. A browser becomes a `CART` shopper on first abandoning a cart."""
CART = Pool("cart", people=0, visit=0.20, buy=0.085, order=55.0, buys_before=True)
CARTS_A_WEEK = 450
RETURNING_CARTS = 0.10
"""Carts abandoned again by shoppers who had left the segment, as a share of the new ones."""

PROGRAMS: Mapping[str, Program] = MappingProxyType(
    {
        each.key: each
        for each in (
            Program(
                key="cart-free-shipping",
                name="Free shipping for high-value cart abandoners",
                pool="browser",
                audience=7,
                audience_name="High-value cart abandoners",
                flag="free-shipping-banner",
                variations=(True, False),
                control=False,
                eligible=MappingProxyType({"lift-free-shipping-eligible": True}),
                holdout_segment="lift-cart-free-shipping-holdout",
                campaign=101,
                offers=MappingProxyType({True: Offer(buy=1.28, order=1.03)}),
                schedule=MappingProxyType({"holdout": (False,), "free_shipping": (True,)}),
                message_buy=1.10,
            ),
            Program(
                key="winback-dormant",
                name="Win back dormant customers",
                pool="winback",
                audience=12,
                audience_name="Dormant 90 days",
                flag="winback-offer",
                variations=("none", "free_shipping", "ten_percent"),
                control="none",
                eligible=MappingProxyType(
                    {
                        "lift-winback-offer-free-shipping": "free_shipping",
                        "lift-winback-offer-ten-percent": "ten_percent",
                    }
                ),
                holdout_segment="lift-winback-dormant-holdout",
                campaign=102,
                offers=MappingProxyType(
                    {"free_shipping": Offer(buy=1.35, order=1.03), "ten_percent": Offer(buy=1.80, order=0.93)}
                ),
                schedule=MappingProxyType(
                    {
                        "holdout": ("none",),
                        "free_shipping": ("free_shipping",),
                        "escalating": ("free_shipping", "ten_percent"),
                    }
                ),
                message_buy=1.20,
            ),
            Program(
                key="vip-early-access",
                name="Early access for VIP customers",
                pool="vip",
                audience=21,
                audience_name="VIP customers",
                flag="vip-early-access",
                variations=(True, False),
                control=False,
                eligible=MappingProxyType({"lift-early-access-eligible": True}),
                holdout_segment="lift-vip-early-access-holdout",
                campaign=103,
                offers=MappingProxyType({True: Offer(buy=1.18, order=1.02)}),
                schedule=MappingProxyType({"holdout": (False,), "early_access": (True,)}),
                message_buy=1.08,
            ),
        )
    }
)
"""The experiments of the world, by key. Their pools are disjoint."""
