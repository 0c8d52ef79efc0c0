"""How often does looking every week find something where there is nothing? Twenty-six looks, no effect.

A world is a way in which customers buy. Its cohorts are drawn anew and randomised a hundred times each: under no
effect a customer's purchases are the same in whichever arm, so that arms' sums at every look are matrix products, and
the runs cost no more than their boundaries. Everything is estimated as it would be from data: variances and
correlations of looks from each arm's own sums. A look that shows no interval (too few buyers, or too uneven numbers
for the skew-corrected one) is no look; the next one spends its share.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr, stdtrit

from toolkit.stats.sequential import (
    Boundary,
    always_on_boundary,
    always_on_times,
    planned_boundaries,
    safe_correlations,
    spent,
)
from toolkit.stats.skew import (
    FEWEST_CONVERTERS,
    GROSS_LIMIT,
    GROSS_LIMIT_UNBOUNDED,
    cap_for,
    fewest_expected,
)

__all__ = [
    "GAUSSIAN",
    "METHODS",
    "WORLDS",
    "Looks",
    "Peeked",
    "World",
    "judge",
    "looks",
    "peek",
    "peek_gaussian",
    "run",
    "table",
]

Array = NDArray[np.float64]
Cohort = tuple[Array, NDArray[np.int64], NDArray[np.int64]]

ALPHA = 0.05
LOOKS = 26
FRACTIONS = np.arange(1, LOOKS + 1) / LOOKS
RANDOMISATIONS = 100
"""Runs, at most, that share one cohort and differ in who was held out."""
METHODS = ("fixed", "planned", "spending alone", "always on")


@dataclass(frozen=True, slots=True)
class World:
    """A way in which customers buy, and an interval to judge it by.

    Attributes:
        name: what is told apart.
        customers: in all, by the last look.
        held: share held out.
        rate: purchases of a customer per week, on average.
        shape: of the gamma distribution of rates: the smaller, the fewer buy the more.
        log_sd: of an amount, for one customer; amounts also differ between customers, with log-sd 0.5.
        interest: factor of the rates per week, shape (LOOKS,).
        lapse: share of customers who stop for good, per week.
        rolling: customers enrol evenly over the weeks; otherwise all before the first.
        window: weeks after enrolment that count; None for all.
        cap: pooled quantile at which a customer's sum is capped, at each look; None for none.
        bought: count whether a customer bought, instead of revenue.
        corrected: the interval is skew-corrected and shown where it is to be trusted; otherwise Welch's.
        pace: of the always-on clock.
    """

    name: str
    customers: int = 20_000
    held: float = 0.5
    rate: float = 0.01
    shape: float = 0.3
    log_sd: float = 0.8
    interest: tuple[float, ...] = (1.0,) * LOOKS
    lapse: float = 0.0
    rolling: bool = False
    window: int | None = None
    cap: float | None = None
    bought: bool = False
    corrected: bool = True
    pace: float = 1.0


FADING = tuple(0.5 ** (week / 6) for week in range(LOOKS))
SEASON = tuple(4.0 if week >= LOOKS - 4 else 1.0 for week in range(LOOKS))
CAP = cap_for(2_000, [18_000])
WORLDS = (
    World("fixed cohort, 50:50, Welch", corrected=False),
    World("fixed cohort, 10:90, Welch (a warning)", held=0.1, corrected=False),
    World("fixed cohort, 10:90, log-sd 1.2, Welch (a warning)", held=0.1, log_sd=1.2, corrected=False),
    World("fixed cohort, 50:50"),
    World("fixed cohort, 50:50, log-sd 1.2, capped", log_sd=1.2, cap=CAP),
    World("fixed cohort, 10:90", held=0.1),
    World("fixed cohort, 10:90, capped", held=0.1, cap=CAP),
    World("fixed cohort, 10:90, log-sd 1.2, capped", held=0.1, log_sd=1.2, cap=CAP),
    World("bought by then, 10:90", held=0.1, bought=True),
    World("interest halves every 6 weeks, 50:50", interest=FADING, rate=0.02),
    World("interest halves every 6 weeks, 10:90, capped", interest=FADING, rate=0.02, held=0.1, cap=CAP),
    World("fourfold in the last 4 weeks, 50:50", interest=SEASON),
    World("customers lapse, 5 % a week, 50:50", lapse=0.05, rate=0.03),
    World("rolling entry, 2-week windows, 50:50", rolling=True, window=2, rate=0.05),
    World("rolling entry, no window, 50:50", rolling=True, rate=0.03, pace=2),
    World("rolling entry, no window, 10:90, capped", rolling=True, rate=0.03, held=0.1, cap=CAP, pace=2),
)


def _summed(increments: Array) -> Array:
    """Return the correlation of running sums, given their increments' covariance."""
    covariance = np.cumsum(np.cumsum(increments, axis=0), axis=1)
    scale = np.sqrt(np.diag(covariance))
    return covariance / np.outer(scale, scale)


APART = np.abs(np.subtract.outer(np.arange(LOOKS), np.arange(LOOKS)))
GAUSSIAN = {
    "Gaussian, independent increments": _summed(np.eye(LOOKS)),
    "Gaussian, persistent rates": _summed(np.eye(LOOKS) + 0.1),
    "Gaussian, rates drift, half-life 4 weeks": _summed(np.eye(LOOKS) + 0.5 ** (APART / 4)),
    "Gaussian, increments correlate 0.6, 0.36, …": _summed(0.6**APART),
}


@dataclass(frozen=True, slots=True)
class Peeked:
    """What the looks of many runs of a world found.

    Attributes:
        world: its name.
        runs: how many.
        shown: looks that show an interval, on average.
        at_end: share of runs whose fixed interval excludes zero at the last look.
        won: method → share of runs in which some look's interval excludes zero.
        up: method → share in which the first to do so lies above zero.
        width: method → mean width of the interval at the last look, over the fixed one's.
    """

    world: str
    runs: int
    shown: float
    at_end: float
    won: dict[str, float]
    up: dict[str, float]
    width: dict[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """Runs as their looks.

    Attributes:
        z: the interval's p-value as a normal quantile, with the difference's sign, shape (runs, LOOKS).
        df: Satterthwaite's, at the last look, shape (runs,).
        rho: correlation of successive looks, shape (runs, LOOKS − 1).
        shown: whether a look shows an interval, shape (runs, LOOKS).
    """

    z: Array
    df: Array
    rho: Array
    shown: NDArray[np.bool_]


def cohort(world: World, rng: np.random.Generator) -> Cohort:
    """Return buyers' sums by look (buyers, LOOKS), their week of entry, and others' number by week of entry."""
    n = world.customers
    enters = rng.integers(0, LOOKS, n) if world.rolling else np.zeros(n, dtype=int)
    rates = rng.gamma(world.shape, world.rate / world.shape, n)
    age = np.arange(LOOKS) - enters[:, None]
    there = (age >= 0) & (age < (world.window or LOOKS))
    if world.lapse:
        there &= age < rng.geometric(world.lapse, n)[:, None]
    counts = rng.poisson(rates[:, None] * np.array(world.interest) * there)
    who, week = np.nonzero(counts)
    who, week = np.repeat(who, counts[who, week]), np.repeat(week, counts[who, week])
    amounts = np.exp(rng.normal(3.5, 0.5, n)[who] + world.log_sd * rng.normal(size=len(who)))
    buyers, at = np.unique(who, return_inverse=True)
    weekly = np.zeros((len(buyers), LOOKS))
    np.add.at(weekly, (at, week), amounts)
    sums = np.cumsum(weekly, axis=1)
    if world.bought:
        sums = (sums > 0).astype(float)
    if world.cap is not None:
        above = np.floor(np.cumsum(np.bincount(enters, minlength=LOOKS)) * (1 - world.cap)).astype(int)
        sums = np.minimum(sums, np.sort(sums, axis=0)[len(buyers) - 1 - above, np.arange(LOOKS)])
    return sums, enters[buyers], np.bincount(np.delete(enters, buyers), minlength=LOOKS)


def looks(world: World, runs: int, rng: np.random.Generator, known: Cohort | None = None) -> Looks:
    """Return `runs` randomisations of one cohort: one of the world's, or a `known` one."""
    sums, enters, silent = known or cohort(world, rng)
    here = (enters[:, None] <= np.arange(LOOKS)).astype(float)
    products = [sums[:, :-1] * sums[:, 1:], here[:, :-1] * sums[:, 1:]]
    features = np.hstack([here, sums, sums**2, sums > 0, *products])
    held = (rng.random((runs, len(sums))) < world.held).astype(float) @ features
    held[:, :LOOKS] += np.cumsum(rng.binomial(silent, world.held, (runs, LOOKS)), axis=1)
    whole = features.sum(axis=0)
    whole[:LOOKS] += np.cumsum(silent)
    sizes, means, variances, buyers, covariance = [], [], [], [], np.zeros((runs, LOOKS - 1))
    for total in (held, whole - held):
        n, first, second, bought, cross, ahead = np.split(total, np.cumsum([LOOKS] * 4 + [LOOKS - 1]), axis=1)
        sizes.append(n)
        means.append(first / n)
        variances.append((second - first**2 / n) / (n - 1) / n)
        buyers.append(bought)
        covariance += (cross - first[:, :-1] * ahead / n[:, :-1]) / (n[:, :-1] - 1) / n[:, 1:]
    variance = np.maximum(variances[0] + variances[1], 1e-300)
    df = variance**2 / sum(own**2 / (n - 1) for own, n in zip(variances, sizes, strict=True)).clip(1e-300)
    t = (means[1] - means[0]) / np.sqrt(variance)
    fewest, share = np.minimum(*buyers), np.minimum(*sizes) / (sizes[0] + sizes[1])
    shown = (fewest >= FEWEST_CONVERTERS) & (variance > 1e-300)
    if world.corrected:
        everyone = whole[:LOOKS]
        off = np.vstack([sums, np.zeros(LOOKS)]) - whole[LOOKS : 2 * LOOKS] / everyone
        weights = np.vstack([np.ones_like(sums), everyone - len(sums)])
        gamma = (weights * off**3).sum(axis=0) / everyone
        gamma /= ((weights * off**2).sum(axis=0) / everyone).clip(1e-300) ** 1.5
        inverse = [1 / n for n in sizes]
        scale = gamma / (inverse[0] + inverse[1]) ** 1.5
        net, gross = scale * (inverse[1] ** 2 - inverse[0] ** 2), scale * (inverse[1] ** 2 + inverse[0] ** 2)
        t = t + net * (1 / 6 + t**2 / 3) + net**2 * t**3 / 27
        limit = GROSS_LIMIT if world.bought or world.cap is not None else GROSS_LIMIT_UNBOUNDED
        needed = np.array([fewest_expected(each) for each in share.ravel()]).reshape(share.shape)
        shown &= ((buyers[0] + buyers[1]) * share >= needed) & (gross <= limit)
    z = -ndtri(stdtr(df, -np.abs(t))) * np.sign(t)
    return Looks(z, df[:, -1], covariance / np.sqrt(variance[:, :-1] * variance[:, 1:]), shown)


def boundaries(method: str, held: NDArray[np.int64], rho: Array, pace: float) -> list[Boundary]:
    """Return the boundaries of the looks `held`, given the correlations of all successive ones."""
    fractions = FRACTIONS[held].tolist()
    between = [float(np.prod(rho[a:b].clip(min=0))) for a, b in pairwise(held)]
    found: Sequence[Boundary | None] = [Boundary(-float(ndtri(ALPHA / 2)), ALPHA, None)] * len(held)
    if method == "planned":
        found = planned_boundaries(fractions, ALPHA, between)
    elif method == "spending alone":
        found = planned_boundaries(fractions, ALPHA)
    elif method == "always on":
        times = always_on_times(fractions, between, pace)
        found = [always_on_boundary(time, ALPHA) if time else None for time in times]
    return [each or Boundary(math.inf, 0.0, None) for each in found]


SPENT = np.array([-ndtri(spent(fraction, ALPHA)) for fraction in FRACTIONS]).clip(max=8.0)
LEAST = {  # no boundary is lower, whatever the correlations: a run that stays below need not be looked at
    "fixed": np.full(LOOKS, -ndtri(ALPHA / 2)),
    "planned": SPENT,
    "spending alone": SPENT,
    "always on": np.full(LOOKS, always_on_boundary(1.0, ALPHA).z),
}


def judge(name: str, seen: Looks, *, pace: float = 1.0, widths: int = 50) -> Peeked:
    """Return how often each method's looks exclude zero; widths are the means over `widths` of the runs."""
    runs = len(seen.z)
    won, up, width = {}, {}, {}
    for method in METHODS:
        signs = []
        for run in np.nonzero((seen.shown & (np.abs(seen.z) >= LEAST[method] - 1e-6)).any(axis=1))[0]:
            held = np.nonzero(seen.shown[run])[0]
            z = seen.z[run, held]
            limits = np.array([each.z for each in boundaries(method, held, seen.rho[run], pace)])
            beyond = np.nonzero(np.abs(z) > limits)[0]
            if len(beyond):
                signs.append(z[beyond[0]] > 0)
        won[method], up[method] = len(signs) / runs, sum(signs) / runs
        ratios = []
        ended = np.nonzero(seen.shown[:, -1])[0]
        for run in ended[:: max(1, len(ended) // widths)]:
            last = boundaries(method, np.nonzero(seen.shown[run])[0], seen.rho[run], pace)[-1]
            quantiles = stdtrit(seen.df[run], [last.nominal_alpha / 2, ALPHA / 2])
            ratios.append(quantiles[0] / quantiles[1])
        width[method] = float(np.mean(ratios)) if ratios else math.nan
    at_end = seen.shown[:, -1] & (np.abs(seen.z[:, -1]) > LEAST["fixed"][-1])
    return Peeked(name, runs, float(seen.shown.sum(axis=1).mean()), float(at_end.mean()), won, up, width)


def peek(world: World, runs: int, seed: int) -> Peeked:
    """Return what weekly looks find in `runs` runs of `world` without an effect."""
    rng = np.random.default_rng(seed)
    each = min(RANDOMISATIONS, math.ceil(runs / 20))
    done = [looks(world, each, rng) for _ in range(math.ceil(runs / each))]
    parts = (np.concatenate([getattr(part, name) for part in done])[:runs] for name in Looks.__slots__)
    return judge(world.name, Looks(*parts), pace=world.pace)


def peek_gaussian(name: str, runs: int, seed: int, *, safe: bool = False) -> Peeked:
    """Return the same of looks that are exactly normal, judged by successive correlations or by the whole matrix."""
    matrix = GAUSSIAN[name]
    z = np.random.default_rng(seed).normal(size=(runs, LOOKS)) @ np.linalg.cholesky(matrix).T
    known = np.array(safe_correlations(matrix) if safe else np.diag(matrix, 1), dtype=float)
    rho = np.broadcast_to(known, (runs, LOOKS - 1))
    seen = Looks(z, np.full(runs, 1e9), rho, np.full((runs, LOOKS), True))
    return judge(name + (" (whole matrix)" if safe else ""), seen, widths=1)


def table(found: Sequence[Peeked]) -> str:
    """Return results as markdown."""
    methods = METHODS[1:]
    head = ["world", "looks shown", "fixed, last look only", "fixed, every look"]
    head += [f"{method}: any win (up, down)" for method in methods] + [
        f"{method}: width" for method in methods
    ]
    rows = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    for each in found:
        cells = [each.world, f"{each.shown:.1f}", f"{each.at_end:.2%}", f"{each.won['fixed']:.1%}"]
        cells += [f"{each.won[m]:.2%} ({each.up[m]:.2%}, {each.won[m] - each.up[m]:.2%})" for m in methods]
        cells += [f"{each.width[m]:.3f}" for m in methods]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def run(runs: int, seed: int) -> str:
    """Return a table of all worlds, with progress on standard error."""
    found = []
    every: list[Callable[[int], Peeked]] = [partial(peek, world, runs) for world in WORLDS]
    every += [partial(peek_gaussian, name, runs, safe=safe) for name in GAUSSIAN for safe in (False, True)]
    for at, look in enumerate(every, 1):
        print(f"\rpeeking: world {at} of {len(every)}", end="", file=sys.stderr, flush=True)
        found.append(look(seed + at))
    print(file=sys.stderr)
    said = f"{runs:,} runs a world, {LOOKS} weekly looks, no effect, alpha {ALPHA}; width over a fixed interval's."
    return f"{said}\n\n{table(found)}"


if __name__ == "__main__":
    print(
        run(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000, int(sys.argv[2]) if len(sys.argv) > 2 else 26)
    )
