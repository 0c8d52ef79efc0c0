"""Power by simulation: for numbers too uneven for the normal formulas, drawn from the cohort's own history."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator

from toolkit.stats.distributions import t_sf
from toolkit.stats.estimate import Group
from toolkit.stats.moments import Moments, Vector
from toolkit.stats.skew import skewness

__all__ = [
    "Simulated",
    "SmallestSimulated",
    "corrected_p_value",
    "simulated_power",
    "simulated_smallest",
    "welch_p_value",
]

Effect = Literal["more", "larger"]
Test = Callable[[Moments, Moments], float | None]
LARGEST = 16.0
"""Relative effects beyond that are not looked for: nobody plans for seventeen times the base."""
MOST_DRAWN = 1_000_000
"""Customers with an amount drawn at a time."""
CLOSE = 1.01
"""The search ends where its ends differ by 1 %, less than the simulation's own error."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """Power found by simulation.

    Attributes:
        power: share of simulated experiments that rejected equal means.
        low: lower end of its exact binomial 95 % interval (Clopper & Pearson 1934).
        high: upper end.
        wrong: share of simulated experiments that rejected, and in the wrong direction.
        runs: simulated experiments.
    """

    power: float
    low: float
    high: float
    wrong: float
    runs: int


@dataclass(frozen=True, slots=True)
class SmallestSimulated:
    """The smallest relative effect that simulated experiments find with the power asked for.

    Attributes:
        relative: the effect on the mean, as a fraction of it.
        at: the power found there, with its interval.
    """

    relative: float
    at: Simulated


def simulated_power(
    amounts: Vector,
    silent: int,
    treated: int,
    held: int,
    *,
    relative: float,
    effect: Effect,
    rng: Generator,
    runs: int = 2000,
    alpha: float = 0.05,
    p_value: Test | None = None,
) -> Simulated:
    """Return the power for a cohort like its own history, where the normal formulas do not hold.

    `amounts` has the numbers of past customers that are not zero, shape (k,), and `silent` counts the zeros. Each
    run draws both arms from them with replacement; the treated arm's mean is 1 + `relative` times the control's,
    by `more` customers with an amount or by `larger` amounts. `p_value` is the test, of (treated, control), each
    the moments of one column; Welch's where None is given. A test without an answer has not rejected. Cost
    follows runs times customers with an amount.

    Raises:
        ValueError: there are no amounts, or the effect asks for more customers with an amount than customers.
    """
    amounts = np.asarray(amounts, dtype=float)
    share = len(amounts) / (len(amounts) + silent) if len(amounts) else 0.0
    raised = share * (1 + relative) if effect == "more" else share
    if not share > 0 or not 0 <= raised <= 1:
        raise ValueError(f"{share:.2%} of customers have an amount; {relative:+.0%} of that cannot be drawn")
    scale = 1.0 if effect == "more" else 1 + relative
    test = p_value or welch_p_value
    rejected = wrong = 0
    pairs = zip(
        _drawn(amounts * scale, raised, treated, rng, runs),
        _drawn(amounts, share, held, rng, runs),
        strict=True,
    )
    for one, other in pairs:
        found = test(one, other)
        if found is not None and found < alpha:
            rejected += 1
            wrong += int((one.mean[0] - other.mean[0]) * relative < 0)
    from scipy.special import betaincinv  # slow to load, and seldom asked for

    low = float(betaincinv(rejected, runs - rejected + 1, 0.025)) if rejected else 0.0
    high = float(betaincinv(rejected + 1, runs - rejected, 0.975)) if rejected < runs else 1.0
    return Simulated(rejected / runs, low, high, wrong / runs, runs)


def simulated_smallest(
    amounts: Vector,
    silent: int,
    treated: int,
    held: int,
    *,
    guess: float,
    effect: Effect = "more",
    seed: int = 0,
    runs: int = 1000,
    alpha: float = 0.05,
    power: float = 0.8,
    p_value: Test | None = None,
) -> SmallestSimulated | None:
    """Return the smallest rise of the mean that simulated experiments find with `power`, from `simulated_power`.

    `guess` is where the search begins: the formula's relative effect. Every effect tried meets the same random
    numbers (`seed`), so that power rises with it but for little. With 1,000 runs the effect found is right to about
    3 %. None where no effect that can be drawn is found that often.

    Raises:
        ValueError: there are no amounts.
    """

    def found(relative: float) -> Simulated:
        rng = np.random.default_rng(seed)
        return simulated_power(
            amounts,
            silent,
            treated,
            held,
            relative=relative,
            effect=effect,
            rng=rng,
            runs=runs,
            alpha=alpha,
            p_value=p_value,
        )

    share = len(amounts) / (len(amounts) + silent) if len(amounts) else 0.0
    most = min(LARGEST, 1 / share - 1) if effect == "more" and share else LARGEST
    high = min(max(guess, 1e-6), most)
    at = found(high)
    low = 0.0 if at.power >= power else high
    while at.power < power:
        if high >= most:
            return None
        low, high = high, min(high * 1.5, most)
        at = found(high)
    while not low:
        tried = found(high / 1.5)
        if tried.power < power:
            low = high / 1.5
        else:
            high, at = high / 1.5, tried
    while high > low * CLOSE:
        middle = math.sqrt(low * high)
        tried = found(middle)
        if tried.power < power:
            low = middle
        else:
            high, at = middle, tried
    return SmallestSimulated(high, at)


def welch_p_value(treated: Moments, control: Moments) -> float | None:
    """Return the p-value of `difference`, for one column each, without the cost of its interval."""
    return _p_value(_group(treated), _group(control), 0.0)


def corrected_p_value(treated: Moments, control: Moments) -> float | None:
    """Return the p-value of `corrected` (Hall 1992; `skew.py`), for one column each, without its interval's cost."""
    one, other = _group(treated), _group(control)
    return _p_value(one, other, skewness(one, other).net)


def _p_value(treated: Group, control: Group, bend: float) -> float | None:
    total = treated.variance + control.variance
    if total == 0:
        return None
    t = (treated.mean - control.mean) / math.sqrt(total)
    df = total**2 / sum(each.variance**2 / (each.n - 1) for each in (treated, control) if each.variance > 0)
    return 2 * t_sf(abs(t + bend * (1 / 6 + t * t / 3) + bend * bend * t**3 / 27), df)


def _group(moments: Moments) -> Group:
    n = moments.n
    variance = float(moments.products[0, 0]) / (n - 1) / n
    return Group(n, float(moments.mean[0]), variance, float(moments.cubes[0]) / n**3)


def _drawn(amounts: Vector, share: float, customers: int, rng: Generator, runs: int) -> Iterator[Moments]:
    """Yield the moments of one arm of `customers` per run, many runs drawn at a time."""
    centre = share * float(amounts.mean())
    off = amounts - centre
    powers = np.stack([off, off**2, off**3])
    silent = np.array([-centre, centre**2, -(centre**3)])
    together = max(1, int(MOST_DRAWN / max(1.0, share * customers)))
    for first in range(0, runs, together):
        active = rng.binomial(customers, share, min(together, runs - first))
        drawn = powers[:, rng.integers(len(amounts), size=int(active.sum()))]
        ends = np.concatenate([[0], np.cumsum(active)])
        running = np.concatenate([np.zeros((3, 1)), np.cumsum(drawn, axis=1)], axis=1)
        sums = np.diff(running[:, ends], axis=1).T + (customers - active)[:, None] * silent
        for one, two, three in sums.tolist():
            gap = one / customers
            yield Moments(
                customers,
                np.array([centre + gap]),
                np.array([[max(two - customers * gap**2, 0.0)]]),
                np.array([three - 3 * gap * two + 2 * customers * gap**3]),
            )
