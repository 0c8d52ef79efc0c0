"""Maturity: how complete a look is, from how late orders and refunds are seen to come.

What is late is seen only once it has come, so lags seen so far are too short on average: an order of age a can
only have shown a lag up to a (right truncation). The share that comes within a lag is found in reverse time: of
what came before the end of a bucket, among orders old enough to have shown all of that bucket, the part that
came within it is the reverse-time hazard, and the product of one minus these from the longest lag down is the
distribution (Lagakos, Barraj & De Gruttola 1988; Kalbfleisch & Lawless 1989). It is the chain ladder
of insurance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from toolkit.stats.moments import Vector

__all__ = [
    "EDGES",
    "ENOUGH",
    "Lags",
    "Maturity",
    "Restatement",
    "lags_of",
    "maturity_of",
    "refund_rate",
    "restated",
]

EDGES = (0, 1 / 24, 0.25, 1, 2, 3, 5, 7, 10, 14, 21, 30, 45, 60, 90)
"""Bounds of lag buckets in days: fine where most things come, since shares are straight lines in between."""

ENOUGH = 30
"""Fewer events old enough to have shown a lag say nothing of it."""

COMPLETE = 0.98


@dataclass(frozen=True, slots=True)
class Lags:
    """How soon events come.

    Attributes:
        edges: lags in days, rising from 0; the last one is the longest lag that can be judged.
        shares: of events that come within the last edge, the share that comes within each; 0 first, 1 last.
        seen: events it rests on.
    """

    edges: tuple[float, ...]
    shares: tuple[float, ...]
    seen: int

    def share_within(self, ages: ArrayLike) -> Vector:
        """Return the share of events that have come when their order has each of `ages` (days), shape (m,).

        A straight line between edges, which errs towards incompleteness as long as short lags are the denser.
        Below the first edge above 0 the share is that edge's: what happens inside it is not known, so it should be
        short.
        """
        within: Vector = np.interp(np.asarray(ages, dtype=float), self.edges[1:], self.shares[1:])
        return within


@dataclass(frozen=True, slots=True)
class Maturity:
    """How complete a look is.

    Attributes:
        share: `arrived` times `settled`; None where neither is known.
        arrived: share of the look's order value that has come in, of what will; None where not known.
        settled: share of that value which later refunds leave alone; None where not known.
        provisional: `share` is below the bound.
        text: the same as a sentence, without a full stop.
    """

    share: float | None
    arrived: float | None
    settled: float | None
    provisional: bool
    text: str

    def of_orders(self) -> Maturity:
        """Return the same where refunds change nothing that is decided by."""
        return replace(self, provisional=self.arrived is not None and self.arrived < COMPLETE)


@dataclass(frozen=True, slots=True)
class Restatement:
    """A lift that was recorded for a date, and what today's data say of the same date.

    Attributes:
        on: the date that both speak of.
        from_: as recorded; None where there was no number.
        to: as today's data have it; None where there is no number any more.
        text: a sentence, without a full stop.
    """

    on: date
    from_: float | None
    to: float | None
    text: str


def lags_of(
    lags: ArrayLike,
    ages: ArrayLike,
    counts: ArrayLike | None = None,
    amounts: ArrayLike | None = None,
    *,
    edges: Sequence[float] = EDGES,
) -> Lags | None:
    """Return the distribution of lags, corrected for lags that could not be seen yet.

    Each row, shape (k,), is an event that has come or a group of such: its lag in days (received − happened, or
    refund − order), the age in days that its order has when the data are read, how many events it stands for
    (one each), and their amounts (else each event counts alike). Events grouped by the buckets of both give the
    lower edges, and the same answer. Lags below zero, of clocks that run ahead, count as zero. A bucket rests on
    orders old enough to have shown all of it. Lags beyond the longest edge for which `ENOUGH` events are old
    enough are not judged: shares are of what comes within it. Lags are taken not to change over time.

    None where even the shortest bucket has fewer events than that.

    Raises:
        ValueError: edges do not rise from 0, or a lag is longer than its age.
    """
    lag, age = np.maximum(np.asarray(lags, dtype=float), 0.0), np.asarray(ages, dtype=float)
    many = np.ones_like(lag) if counts is None else np.asarray(counts, dtype=float)
    weight = many if amounts is None else np.asarray(amounts, dtype=float)
    bounds = np.asarray(edges, dtype=float)
    if len(bounds) < 2 or bounds[0] != 0 or (np.diff(bounds) <= 0).any():
        raise ValueError(f"edges {tuple(edges)} must rise from 0")
    if (lag > age).any():
        raise ValueError("a lag is longer than its order's age: it came after the data were read")
    kept: list[float] = []  # one minus the reverse-time hazard of each bucket
    seen, last = 0, 0
    for place, (lower, upper) in enumerate(pairwise(bounds)):
        judged = (lag < upper) & (age >= upper)
        before, within = weight[judged & (lag < lower)].sum(), weight[judged].sum()
        kept.append(float(before / within) if within > 0 else 0.0)
        if many[judged].sum() >= ENOUGH:
            seen, last = int(many[lag < upper].sum()), place + 1
    if not last:
        return None
    shares = np.r_[np.cumprod(kept[:last][::-1])[::-1], 1.0]
    return Lags(tuple(bounds[: last + 1].tolist()), tuple(shares.tolist()), seen)


def refund_rate(refunds: Lags, ages: ArrayLike, amounts: ArrayLike, refunded: float) -> float | None:
    """Return the share of order value that is refunded in the end, from what is `refunded` by now.

    `ages` (days) and `amounts` are of orders, shape (m,), the older the better. Each order's amount counts as far
    as its refund could have come. None where no order is old enough for any.
    """
    amount = np.asarray(amounts, dtype=float)
    exposed = float((amount * refunds.share_within(ages)).sum())
    return min(refunded / exposed, 1.0) if exposed > 0 else None


def maturity_of(
    ages: ArrayLike,
    amounts: ArrayLike,
    *,
    orders: Lags | None,
    refunds: Lags | None = None,
    rate: float | None = None,
    counts: ArrayLike | None = None,
    read_days: float = 0.0,
    expected: bool = False,
    complete: float = COMPLETE,
) -> Maturity:
    """Return how complete a look is whose orders have `ages` (days, at its end) and `amounts`.

    Ages are true ages, or the middle of a group's. Arrived: each order (of a group, its `counts`, else its amount)
    stands for those of its age that have not come, one over the share that has (Horvitz & Thompson 1952); the
    data were read `read_days` after the look's end, so that orders have had so much longer to come. Where everything comes late, the youngest orders are not there to stand for anybody: then give
    customers, or customer-days, by age as `amounts` and say `expected`, and each counts by the share that has
    come. Settled: 1 − `rate` · share of refunds still to come, `rate` being `refund_rate`'s.

    What is not known (`orders` or `refunds` None) is left out of `share`, and the sentence says so.
    """
    age, amount = np.asarray(ages, dtype=float), np.asarray(amounts, dtype=float)
    many = amount if counts is None else np.asarray(counts, dtype=float)
    total, number = float(amount.sum()), float(many.sum())
    if total <= 0:
        return Maturity(None, None, None, provisional=False, text="there are no orders yet to be complete")
    arrived = settled = None
    said = []
    if orders is None:
        said.append("how late orders come is not known")
    else:
        come = orders.share_within(age + read_days)
        if expected:
            arrived = float((many * come).sum()) / number
        else:  # an order that is there has come: its share is not zero
            come = np.maximum(come, min(each for each in orders.shares if each > 0))
            arrived = number / float((many / come).sum())
        said.append(
            f"about {_share(arrived)} of orders have come in (of those that come within {_days(orders)})"
        )
    if refunds is None or rate is None:
        said.append("how late refunds come is not known")
    else:
        still = 1 - float((amount * refunds.share_within(age)).sum()) / total
        settled = 1 - rate * still
        said.append(
            f"about {_share(rate * still)} of their value is still to be refunded (within {_days(refunds)} of the order)"
        )
    if arrived is None and settled is None:
        return Maturity(None, None, None, provisional=False, text="; ".join(said))
    share = (1.0 if arrived is None else arrived) * (1.0 if settled is None else settled)
    return Maturity(share, arrived, settled, share < complete, "; ".join(said))


def restated(
    on: date, before: float | None, now: float | None, *, tolerance: float = 0.0005, relative: bool = True
) -> Restatement | None:
    """Return how the lift recorded for `on` has changed, or None where it has not by more than `tolerance`.

    Both are relative lifts as fractions, shown as percentages, or, unless `relative`, differences in the metric's
    unit.
    """
    if before is None and now is None:
        return None
    if before is not None and now is not None and abs(now - before) <= tolerance:
        return None
    decimals = 1 if relative else 2
    said = [_signed(each, decimals, relative=relative) for each in (before, now)]
    while said[0] == said[1] and decimals < 17:
        decimals += 1
        said = [_signed(each, decimals, relative=relative) for each in (before, now)]
    return Restatement(on, before, now, f"restated from {said[0]} to {said[1]}")


def _signed(value: float | None, decimals: int, *, relative: bool) -> str:
    if value is None:
        return "no number"
    shown = f"{value:+,.{decimals}%}" if relative else f"{value:+,.{decimals}f}"
    return shown.replace("-", "−")


def _share(value: float) -> str:
    """Return a share in words that never rounds up to all, nor down to nothing."""
    if 0 < value < 0.001:
        return "less than 0.1%"
    return f"{min(value, 0.999):.1%}" if value < 1 else "100%"


def _days(lags: Lags) -> str:
    last = lags.edges[-1]
    return f"{last * 24:.0f} hours" if last < 1 else f"{last:g} day{'' if last == 1 else 's'}"
