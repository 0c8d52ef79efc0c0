"""The sandbox's population: who lives in it, with what means and habits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.sandbox import model

__all__ = ["People", "populate"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
TIERS = ("bronze", "silver", "gold")


@dataclass(frozen=True, slots=True)
class People:
    """Everyone, as arrays of one length. A person's place in them is their number.

    `ids` holds "" for people known by e-mail only. `visit` (a day) and `buy` (a visit) are probabilities
    without any offer, `cart_visit` and `cart_buy` the same from the day after a first abandoned cart;
    `level` is the mean of an order in USD.
    """

    ids: tuple[str, ...]
    emails: tuple[str, ...]
    cio_ids: tuple[str, ...]
    pool: NDArray[np.int8]
    visit: Floats
    buy: Floats
    cart_visit: Floats
    cart_buy: Floats
    level: Floats
    ltv_90d: Floats
    tier: NDArray[np.int8]
    do_not_offer: Flags
    unsubscribed: Flags
    reachable: Flags
    order_of_carts: NDArray[np.int64]

    def __len__(self) -> int:
        """Return how many people there are."""
        return len(self.cio_ids)

    def members(self, pool: str) -> NDArray[np.int64]:
        """Return the numbers of everyone in the named pool."""
        return np.flatnonzero(self.pool == pool_number(pool))


def pool_number(name: str) -> int:
    """Return the number that stands for a pool in `People.pool`."""
    return next(number for number, pool in enumerate(model.POOLS) if pool.name == name)


def populate(seed: int, scale: float) -> People:
    """Return the people of a world: equal seeds and scales give equal people.

    A latent propensity drives visits, purchases and the size of orders alike, so both `ltv_90d` and the
    orders before an experiment foretell its outcome.
    """
    draw = np.random.default_rng([model.STREAM, 1, seed])
    sizes = [max(1, round(pool.people * scale)) for pool in model.POOLS]
    pool = draw.permutation(np.repeat(np.arange(len(sizes), dtype=np.int8), sizes))
    count = len(pool)
    propensity = draw.standard_normal(count)
    rho = model.RATE_LEVEL_CORRELATION
    wealth = rho * propensity + np.sqrt(1 - rho**2) * draw.standard_normal(count)
    visiting, buying = _split(propensity)
    visit = np.array([each.visit for each in model.POOLS])[pool] * visiting
    buy = np.array([each.buy for each in model.POOLS])[pool] * buying
    level = np.array([each.order for each in model.POOLS])[pool] * _lognormal(wealth, model.LEVEL_LOG_SD)
    visit, buy = np.minimum(visit, 0.9), np.minimum(buy, 0.4)
    ltv = 90 * visit * buy * level * _lognormal(draw.standard_normal(count), model.SCORE_LOG_SD)
    known_by_email = draw.random(count) < model.EMAIL_ONLY_SHARE
    numbers = draw.permutation(count)
    browsers = np.flatnonzero(pool == pool_number("browser"))
    return People(
        ids=tuple("" if hidden else f"c-{n:06d}" for n, hidden in zip(numbers, known_by_email, strict=True)),
        emails=tuple(f"shopper{n}@example.com" for n in numbers),
        cio_ids=tuple(f"a3{n:06x}" for n in numbers),
        pool=pool,
        visit=visit,
        buy=buy,
        cart_visit=np.minimum(model.CART.visit * visiting, 0.9),
        cart_buy=np.minimum(model.CART.buy * buying, 0.4),
        level=level,
        ltv_90d=np.round(ltv, 2),
        tier=np.searchsorted(np.quantile(ltv, [0.6, 0.9]), ltv).astype(np.int8),
        do_not_offer=draw.random(count) < model.DO_NOT_OFFER_SHARE,
        unsubscribed=draw.random(count) < model.UNSUBSCRIBED_AT_FIRST_SHARE,
        reachable=draw.random(count) < model.DELIVERED_SHARE,
        order_of_carts=draw.permutation(browsers),
    )


def _split(propensity: Floats) -> tuple[Floats, Floats]:
    """Return the factors on visits and on purchases at a visit, each of mean 1."""
    return _lognormal(propensity, 0.6 * model.RATE_LOG_SD), _lognormal(propensity, 0.4 * model.RATE_LOG_SD)


def _lognormal(standard: Floats, log_sd: float) -> Floats:
    """Return log-normal factors of mean 1 from standard normal draws."""
    return np.exp(log_sd * standard - log_sd**2 / 2)
