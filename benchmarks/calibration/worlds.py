"""Worlds whose truth is known: shoppers most of whom buy nothing, and few of whom buy much.

Only those who did anything are drawn; the silent ones enter by formula, as they do in the toolkit. `purchases`
draws many runs at once and sums them as arrays; `histories` yields one run's rows at a time, for what needs
rows. Amounts are log-normal with median 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from toolkit.stats.estimate import Group
from toolkit.stats.moments import Moments

Array = NDArray[np.float64]

DRAWS = 2_000_000
"""Amounts held in memory at a time."""

REPEATERS = 0.5
"""Of those who buy in the span that is measured, the share who bought in the span before."""

CONSTANCY = 0.8
"""Correlation of the logarithms of two amounts of one shopper."""

FURTHER_ORDERS = 0.35
"""Orders of a buyer beyond the first, on average (Poisson)."""


@dataclass(frozen=True, slots=True)
class World:
    """Two arms of customers. `more_buyers` and `larger_amounts` are what the treatment multiplies."""

    control: int
    treated: int
    buyers: float = 0.03
    log_sd: float = 1.0
    more_buyers: float = 1.0
    larger_amounts: float = 1.0

    @property
    def customers(self) -> int:
        """Return the customers of both arms."""
        return self.control + self.treated

    def truth(self, cap: Array | float = np.inf) -> Array:
        """Return treated − control in expected purchase per customer, each purchase counted up to `cap`.

        With a cap this is the estimand of a capped metric: the cap that the pooled sample gave is taken as
        given, effect and all, and the same for both arms.
        """
        return self._expected(self.buyers * self.more_buyers, self.larger_amounts, cap) - self._expected(
            self.buyers, 1.0, cap
        )

    def ratio(self, cap: Array | float = np.inf) -> Array:
        """Return treated / control − 1 of the same expected purchases."""
        return (
            self._expected(self.buyers * self.more_buyers, self.larger_amounts, cap)
            / self._expected(self.buyers, 1.0, cap)
            - 1
        )

    def _expected(self, share: float, scale: float, cap: Array | float) -> Array:
        # E min(x, c) for log x ~ N(log scale, sd²)
        cap = np.asarray(cap, dtype=float)
        sd = self.log_sd
        at = np.log(cap / scale)
        over = np.where(np.isinf(cap), 0.0, np.nan_to_num(cap, posinf=0.0) * ndtr(-at / sd))
        return share * (scale * np.exp(sd * sd / 2) * ndtr(at / sd - sd) + over)


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """One number per customer in many runs: shape (runs, 2), the control first; `cap` has shape (runs,)."""

    customers: tuple[int, int]
    buyers: Array
    mean: Array
    products: Array
    cubes: Array
    cap: Array
    above: Array

    @property
    def runs(self) -> int:
        """Return how many runs there are."""
        return len(self.cap)

    def moments(self, run: int, arm: int) -> Moments:
        """Return one run's moments of one arm (0 control, 1 treated), as the toolkit takes them."""
        return Moments(
            self.customers[arm],
            self.mean[run, arm : arm + 1],
            self.products[run, arm : arm + 1, None],
            self.cubes[run, arm : arm + 1],
        )

    def groups(self, run: int) -> tuple[Group, Group]:
        """Return one run's estimated means, the treated first."""
        treated, control = (
            Group(
                n,
                float(self.mean[run, arm]),
                float(self.products[run, arm]) / (n - 1) / n,
                float(self.cubes[run, arm]) / n**3,
            )
            for arm, n in ((1, self.customers[1]), (0, self.customers[0]))
        )
        return treated, control

    def converters(self, run: int) -> tuple[int, int]:
        """Return one run's buyers, treated and control."""
        return int(self.buyers[run, 1]), int(self.buyers[run, 0])


@dataclass(frozen=True, slots=True, eq=False)
class Purchases:
    """Some runs: amounts, shape (runs, width), 0 where there is no buyer; the control's are the first `cut`."""

    world: World
    amounts: Array
    cut: int

    def sums(self, quantile: float | None = None) -> Sums:
        """Return the sums of amounts, capped at the pooled `quantile` of all customers if given."""
        caps = np.full(len(self.amounts), np.inf)
        if quantile is not None:
            caps = cap_of(np.sort(self.amounts, axis=1), self.world.customers, quantile)
        above = (self.amounts > caps[:, None]).sum(axis=1)
        counted = np.minimum(self.amounts, caps[:, None])
        arms = [
            _summed(part, n)
            for part, n in (
                (counted[:, : self.cut], self.world.control),
                (counted[:, self.cut :], self.world.treated),
            )
        ]
        buyers, mean, products, cubes = (np.stack(each, axis=1) for each in zip(*arms, strict=True))
        customers = (self.world.control, self.world.treated)
        return Sums(customers, buyers, mean, products, cubes, caps, above)

    def conversions(self) -> Sums:
        """Return the sums of 1 for who bought."""
        return Purchases(self.world, (self.amounts > 0).astype(float), self.cut).sums()


def purchases(world: World, runs: int, seed: int) -> Iterator[Purchases]:
    """Yield `runs` runs in chunks."""
    rng = np.random.default_rng(seed)
    at_once = max(1, int(DRAWS / (world.buyers * world.customers)))
    for begin in range(0, runs, at_once):
        size = min(at_once, runs - begin)
        counts = [
            rng.binomial(n, share, size)
            for n, share in (
                (world.control, world.buyers),
                (world.treated, world.buyers * world.more_buyers),
            )
        ]
        parts = [
            _amounts(rng, each, world.log_sd, scale)
            for each, scale in zip(counts, (1.0, world.larger_amounts), strict=True)
        ]
        yield Purchases(world, np.concatenate(parts, axis=1), parts[0].shape[1])


def cap_of(ordered: Array, customers: int, quantile: float) -> Array:
    """Return the quantile of all customers, linear between order statistics, shape (runs,).

    `ordered` has the amounts of those who bought in rising order, shape (runs, width); all others count as 0.
    """
    place = quantile * (customers - 1)
    below = int(place)
    start = ordered.shape[1] - customers + below
    if start < 0:
        raise ValueError("the quantile lies among those who bought nothing")
    lower, upper = ordered[:, start], ordered[:, min(start + 1, ordered.shape[1] - 1)]
    return lower + (upper - lower) * (place - below)


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """One arm in one run: rows of those who did anything, columns `COLUMNS`, among `customers`."""

    customers: int
    rows: Array


COLUMNS = ("bought", "revenue", "orders", "before")


def histories(world: World, runs: int, seed: int) -> Iterator[tuple[History, History]]:
    """Yield control and treated of each run: purchases, orders, and revenue of the span before."""
    rng = np.random.default_rng(seed)
    at_once = max(1, int(DRAWS / 4 / (world.buyers * world.customers)))
    for begin in range(0, runs, at_once):
        size = min(at_once, runs - begin)
        arms = [
            _arm(rng, world, n, share, scale, size)
            for n, share, scale in (
                (world.control, world.buyers, 1.0),
                (world.treated, world.buyers * world.more_buyers, world.larger_amounts),
            )
        ]
        yield from zip(*arms, strict=True)


def _arm(
    rng: np.random.Generator, world: World, n: int, share: float, scale: float, runs: int
) -> Iterator[History]:
    both = share * REPEATERS
    counts = rng.multinomial(
        n, [both, share - both, world.buyers - both, 1 - share - world.buyers + both], runs
    )
    buying, active = counts[:, :2].sum(axis=1), counts[:, :3].sum(axis=1)
    ends = np.cumsum(active)
    first = np.arange(ends[-1]) - np.repeat(ends - active, active)  # place within the run
    bought = first < np.repeat(buying, active)
    earlier = (first < np.repeat(counts[:, 0], active)) | ~bought
    habit = np.sqrt(CONSTANCY) * rng.standard_normal(ends[-1])
    orders = np.where(bought, 1 + rng.poisson(FURTHER_ORDERS, ends[-1]), 0)
    each = np.repeat(habit, orders) + np.sqrt(1 - CONSTANCY) * rng.standard_normal(orders.sum())
    starts = np.cumsum(orders) - orders
    revenue = np.zeros(ends[-1])
    revenue[bought] = scale * np.add.reduceat(np.exp(world.log_sd * each), starts[bought])
    before = np.where(
        earlier,
        np.exp(world.log_sd * (habit + np.sqrt(1 - CONSTANCY) * rng.standard_normal(ends[-1]))),
        0.0,
    )
    rows = np.column_stack([bought.astype(float), revenue, orders.astype(float), before])
    return (History(n, each) for each in np.split(rows, ends[:-1]))


def _amounts(rng: np.random.Generator, counts: NDArray[np.int64], log_sd: float, scale: float) -> Array:
    drawn = scale * np.exp(log_sd * rng.standard_normal((len(counts), int(counts.max()))))
    drawn[np.arange(drawn.shape[1]) >= counts[:, None]] = 0.0
    return drawn


def _summed(amounts: Array, customers: int) -> tuple[Array, Array, Array, Array]:
    # amounts of 0 in the padding and silent customers are one and the same: all count as 0 − mean
    buyers = (amounts > 0).sum(axis=1)
    mean = amounts.sum(axis=1) / customers
    off = amounts - mean[:, None]
    squares = off * off
    silent = customers - amounts.shape[1]
    return (
        buyers,
        mean,
        squares.sum(axis=1) + silent * mean**2,
        (squares * off).sum(axis=1) - silent * mean**3,
    )
