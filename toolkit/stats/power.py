"""Power: which effects an experiment of a size can find, and which size finds an effect.

Sizes are customers, effects are differences of means in the metric's unit, variances are of one customer's
number. Two tests are planned for: `z`, the normal approximation, and `t`, Student's.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from toolkit.stats.adjust import outcome_of, usable
from toolkit.stats.distributions import ndtr, ndtri, t_upper
from toolkit.stats.moments import Moments

__all__ = [
    "customers_needed",
    "power_of",
    "share_explained",
    "smallest_conversion_effect",
    "smallest_effect",
    "variance_per_customer",
]

Test = Literal["z", "t"]


def power_of(
    effect: float,
    variance: float,
    treated: float,
    held: float,
    *,
    alpha: float = 0.05,
    treated_variance: float | None = None,
    test: Test = "z",
) -> float:
    """Return the probability that a two-sided test of equal means rejects, under `effect`.

    `variance` is the control's, and the treated arm's too unless `treated_variance` says otherwise: a conversion
    has p (1 − p) in each arm. With `z` and one variance this is Cohen (1988, chapter 2) as in statsmodels'
    NormalIndPower; with two it is `normal_power_het` with both standard deviations those of the alternative,
    the power of the unpooled test. With `t` and one variance it is TTestIndPower's non-central t with n − 2
    degrees of freedom; with two, Satterthwaite's degrees of freedom (Welch 1947), which is an approximation.
    """
    own = variance if treated_variance is None else treated_variance
    parts = own / treated, variance / held
    shift = effect / math.sqrt(sum(parts))
    if test == "z":
        return _rejects(shift, None, alpha)
    if treated_variance is None:
        return _rejects(shift, treated + held - 2, alpha)
    df = sum(parts) ** 2 / (parts[0] ** 2 / (treated - 1) + parts[1] ** 2 / (held - 1))
    return _rejects(shift, df, alpha)


def smallest_effect(
    variance: float,
    treated: float,
    held: float,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    treated_variance: float | None = None,
    test: Test = "z",
) -> float:
    """Return the smallest absolute difference of means that a two-sided test finds with `power`.

    The effect at which `power_of` is `power`; with `z` within a millionth of the textbook's
    (z₁₋α⁄₂ + z_power) · sqrt(σ² (1/n₁ + 1/n₀)) at 80 % power, and right at low power too.

    Raises:
        ValueError: `power` is not above `alpha`, which chance alone reaches, or not below 1.
    """
    _check(alpha, power)
    own = variance if treated_variance is None else treated_variance
    se = math.sqrt(own / treated + variance / held)
    if se == 0:
        return 0.0
    return se * _crossing(
        lambda shift: power_of(
            shift * se, variance, treated, held, alpha=alpha, treated_variance=treated_variance, test=test
        ),
        power,
    )


def smallest_conversion_effect(
    base: float,
    treated: float,
    held: float,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    scale: Literal["share", "arcsine"] = "share",
) -> float | None:
    """Return the smallest rise of a share `base` that is found with `power`; None where even 100 % is not.

    `share` plans for the test that is run, with each arm's own variance p (1 − p). `arcsine` is Cohen's h
    (Cohen 1988, chapter 6), as statsmodels' NormalIndPower with `proportion_effectsize` has it: closed form,
    and off where shares are small and arms unequal, since there it takes both variances to be the same.
    """
    _check(alpha, power)
    if scale == "arcsine":
        angle = math.asin(math.sqrt(base)) + smallest_effect(1, treated, held, alpha=alpha, power=power) / 2
        return math.sin(angle) ** 2 - base if angle <= math.pi / 2 else None

    def rejects(effect: float) -> float:
        share = base + effect
        parts = share * (1 - share), base * (1 - base)
        if parts[0] / treated + parts[1] / held <= 0:
            return 1.0 if effect > 0 else alpha
        return power_of(effect, parts[1], treated, held, alpha=alpha, treated_variance=parts[0])

    return _bisected(rejects, power, 1 - base) if rejects(1 - base) >= power else None


def customers_needed(
    effect: float,
    variance: float,
    share_held: float,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    treated_variance: float | None = None,
    test: Test = "z",
) -> int:
    """Return how many customers in all are needed to find `effect` with `share_held` of them held out.

    Raises:
        ValueError: the effect is zero, the share not between 0 and 1, or the power not between alpha and 1.
    """
    _check(alpha, power)
    if effect == 0 or not 0 < share_held < 1:
        raise ValueError("an effect of zero is never found, and both arms need customers")
    own = variance if treated_variance is None else treated_variance
    per = own / (1 - share_held) + variance / share_held
    shift = _crossing(lambda each: _rejects(each, None, alpha), power)
    found = math.ceil(per * (shift / effect) ** 2)
    if test == "z":
        return max(found, 2)

    def rejects(customers: float) -> float:
        arms = customers * (1 - share_held), customers * share_held
        return power_of(effect, variance, *arms, alpha=alpha, treated_variance=treated_variance, test="t")

    low = max(found, 3, math.floor(2 / min(share_held, 1 - share_held)) + 1) - 1
    step = 1
    while rejects(low + step) < power:  # Student's test needs a few more
        step *= 2
    return low + bisect_left(range(step + 1), power, key=lambda more: rejects(low + more), lo=1)


def variance_per_customer(moments: Moments, terms: int) -> float | None:
    """Return the variance to plan with: of a mean (one term), or of a ratio's linear form (two).

    The ratio's is the delta method's: the variance of (x₁ − ratio · x₂) / mean of x₂ (Deng et al. 2013, appendix
    B), so that effects are differences of ratios. None where there are fewer than two customers or no ratio.
    """
    outcome = outcome_of(moments, terms) if moments.n > 1 else None
    return moments.variance_of(outcome.weights) if outcome else None


def share_explained(moments: Moments, terms: int, covariates: Sequence[int]) -> float:
    """Return the share of that variance which covariates (their places in the moments) explain, 0 to 1.

    The adjusted R² of the regression on those that are usable; 0 where it is not positive or cannot be had.
    """
    variance = variance_per_customer(moments, terms)
    outcome = outcome_of(moments, terms) if variance else None
    kept = usable(moments, list(covariates)) if outcome else []
    if not variance or outcome is None or not kept or moments.n <= len(kept) + 1:
        return 0.0
    across = (moments.covariance @ outcome.weights)[kept]
    explained = float(across @ np.linalg.solve(moments.covariance[np.ix_(kept, kept)], across)) / variance
    return max(0.0, 1 - (1 - explained) * (moments.n - 1) / (moments.n - 1 - len(kept)))


def _rejects(shift: float, df: float | None, alpha: float) -> float:
    """Return the chance that a two-sided test rejects when its statistic is moved by `shift`."""
    shift = abs(shift)
    if df is None:
        limit = -ndtri(alpha / 2)
        return ndtr(shift - limit) + ndtr(-shift - limit)
    from scipy.special import nctdtr  # slow to load, and seldom asked for

    limit = t_upper(alpha / 2, df)
    wrong_way = float(nctdtr(df, shift, -limit))  # not a number where it is below 1e-11 or so
    return float(nctdtr(df, -shift, -limit)) + (0.0 if math.isnan(wrong_way) else wrong_way)


def _crossing(rising: Callable[[float], float], target: float) -> float:
    """Return where a rising function of what is not negative reaches `target`."""
    high = 1.0
    while rising(high) < target:
        high *= 2
    return _bisected(rising, target, high)


def _bisected(rising: Callable[[float], float], target: float, high: float) -> float:
    low = 0.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < target else (low, middle)
    return high


def _check(alpha: float, power: float) -> None:
    if not alpha < power < 1:
        raise ValueError(
            f"power {power} must lie above alpha {alpha}, which chance alone reaches, and below 1"
        )
