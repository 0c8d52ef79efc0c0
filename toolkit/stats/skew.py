"""Intervals for uneven numbers: a correction for skewness, and a reason where no interval is to be trusted.

Most customers buy nothing and a few buy much, so in a small holdout the mean and its standard error move
together, and Welch's interval misses on one side far more often than on the other. The studentised difference
T has, to first order, P(T ≤ x) = Φ(x) + A (2x² + 1) φ(x) / 6, where A is the difference's third cumulant over
its standard error cubed. Hall's cubic transformation of T takes that term away (Hall 1992, “On the removal of
skewness by transformation”; for two samples Zhou & Dinh 2005, “Nonparametric confidence intervals for the one-
and two-sample problems”).

A is where this differs from the papers. Estimated from each arm's own numbers it errs together with T itself,
and at equal arms it is nothing but error. Here the arms lend each other their shape: A is the skewness of the
numbers pooled over both arms, times a factor of the arms' sizes alone. Under no effect that is A; under an
effect it is nearly A, while mean and variance remain each arm's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.stats.distributions import ndtri, t_sf, t_upper
from toolkit.stats.estimate import Estimate, Group, Relative, difference, has_base

__all__ = [
    "FEWEST_ABOVE",
    "FEWEST_CONVERTERS",
    "FEWEST_EXPECTED",
    "Skewness",
    "cap_for",
    "corrected",
    "corrected_relative",
    "distrust",
    "fewest_expected",
    "skewness",
    "smallest_found",
    "with_subject",
]

FEWEST_CONVERTERS = 10
"""With fewer customers in an arm who did anything at all, no interval is to be trusted."""

FEWEST_EXPECTED = (10, 20)
"""With fewer to be expected in the smaller arm, asking for the above would itself pick lucky samples.

At equal arms it picks either side alike, which only makes intervals miss less often; at one to nine it leaves out
increases alone, and of 10 expected up to 4.3 % would be seen as decreases. The limits are for those two splits,
and a straight line in between.
"""

FEWEST_ABOVE = 10
"""A cap with fewer customers above it bounds no tail that the sample has seen."""

NET_LIMIT = 0.045
"""Largest |A| at which Welch's interval still misses 1.9 to 3.1 % on each side: its sides shift by 0.085 A."""

GROSS_LIMIT = 0.35
"""Largest skewness, arms added, up to which the corrected interval was found right, if numbers are bounded."""

GROSS_LIMIT_UNBOUNDED = 0.15
"""The same where they are not: what the sample shows of the tail is then less than there is."""

CAP_TARGET = 0.3
"""Gross skewness that a cap is to leave, a little below the limit."""

CAP_EVENNESS = 0.7
"""Skewness of capped revenue over that of numbers which are either 0 or the cap, at most."""

LOWEST_CAP = 0.99
"""Above it stand at most 1 % of customers."""

EVEN = 1e-12
"""A skewness below this changes nothing, and would be divided by."""


@dataclass(frozen=True, slots=True)
class Skewness:
    """Standardised third cumulants of a difference between arms of one shape.

    Attributes:
        net: of treated − control; what shifts the interval's sides. 0 where arms are of one size.
        gross: what it would be if the arms' parts added up; what makes the approximation itself poor.
    """

    net: float
    gross: float


def skewness(treated: Group, control: Group) -> Skewness:
    """Return the skewness of treated − control under arms that share a shape.

    With γ the pooled skewness of the numbers, net = γ (1/n₁² − 1/n₀²) / (1/n₁ + 1/n₀)^{3/2}. Both are 0 where
    nothing varies.

    Raises:
        ValueError: a group does not know its third cumulant.
    """
    if treated.third is None or control.third is None:
        raise ValueError("a group without its third cumulant has no skewness")
    customers = treated.n + control.n
    variance = (treated.n**2 * treated.variance + control.n**2 * control.variance) / customers
    third = (treated.n**3 * treated.third + control.n**3 * control.third) / customers
    if variance <= 0:
        return Skewness(0.0, 0.0)
    gamma = third / variance**1.5
    one, other = 1 / treated.n, 1 / control.n
    scale = (one + other) ** 1.5
    return Skewness(gamma * (one**2 - other**2) / scale, abs(gamma) * (one**2 + other**2) / scale)


def corrected(treated: Group, control: Group, alpha: float) -> Estimate:
    """Return treated − control with its skew-corrected two-sided interval at level 1 − alpha.

    Hall's (1992) transformation g(T) = T + A/6 + A T²/3 + A² T³/27 of Welch's statistic is referred to
    Student's t with Welch's degrees of freedom: at A = 0 this is Welch's interval. p < alpha exactly where the
    interval excludes 0. g rises everywhere, so that any alpha gives finite ends, the wider the smaller it is; far
    out on the long side they are conservative.

    Raises:
        ValueError: a group does not know its third cumulant.
    """
    plain = difference(treated, control, alpha)
    if plain.df is None:
        return plain
    bend = skewness(treated, control).net
    reach = t_upper(alpha / 2, plain.df)
    low = plain.value - plain.se * _unbent(reach, bend)
    high = plain.value - plain.se * _unbent(-reach, bend)
    p_value = 2 * t_sf(abs(_bent(plain.value / plain.se, bend)), plain.df)
    return Estimate(plain.value, plain.se, low, high, p_value, plain.df)


def corrected_relative(treated: Group, control: Group, alpha: float) -> Relative:
    """Return treated / control − 1 with the interval that agrees with `corrected`.

    Inverts the same test of m₁ − θ m₀ = 0 over θ: Fieller's (1954) construction with a quantile for each side.
    Under θ the arms' numbers x₁ and θ x₀ share a shape, so A does not depend on θ. It excludes 0 exactly where
    `corrected` does. An end is None where it is unbounded, as in `fieller`, and all is where the control has no base.
    """
    if not has_base(control):
        return Relative()
    value = treated.mean / control.mean - 1
    df = difference(treated, control, alpha).df
    if df is None:
        return Relative(value, value, value)
    bend = skewness(treated, control).net
    reach = t_upper(alpha / 2, df)
    low = _edge(treated, control, _unbent(reach, bend))
    high = _edge(treated, control, _unbent(-reach, bend))
    return Relative(value, None if low is None else low - 1, None if high is None else high - 1)


def with_subject(name: str, why: str) -> str:
    """Return a reason of `distrust`, or a like one, as a clause that can stand alone: most leave the metric out."""
    if why.startswith("rests on "):
        return f"{name} {why}"
    return f"{name} is {why}" if why.startswith(("so uneven", "adjusted by ")) else why


def smallest_found(treated: Group, control: Group, alpha: float, power: float) -> float:
    """Return the smallest effect, up or down, that `corrected` tells from zero with `power` in arms like these.

    An increase is found where T lies beyond the interval's own, uneven reach, and falls as far below its middle as
    unevenness lets it in 1 − power of samples; a decrease likewise. The larger of both counts. Where nothing is
    uneven this is (z₁₋α⁄₂ + z_power) standard errors.

    Raises:
        ValueError: a group does not know its third cumulant.
    """
    bend = skewness(treated, control).net
    ends = [_unbent(side * -ndtri(alpha / 2), bend) for side in (1, -1)]
    short = [_unbent(side * ndtri(power), bend) for side in (-1, 1)]
    away = max(abs(end - other) for end, other in zip(ends, short, strict=True))
    return away * math.sqrt(treated.variance + control.variance)


def distrust(
    treated: Group,
    control: Group,
    converters: Sequence[int],
    *,
    skew_corrected: bool,
    bounded: bool,
    covariates: Sequence[tuple[Group, Group]] = (),
    unadjusted: tuple[Group, Group] | None = None,
) -> str | None:
    """Return why a 95 % interval is not to be trusted, in words; None where it is.

    `converters` are the customers of both arms whose number (of a ratio: denominator) is not zero.
    `skew_corrected` says which interval is meant: that of `corrected`, or Welch's, Lin's and the delta method's,
    none of which knows of skewness. `bounded` says that no customer yet unseen can count for much: numbers 0 or
    1, or capped with at least `FEWEST_ABOVE` customers above the cap. `covariates` are both arms' means of what
    the estimate is adjusted by: a slope on uneven numbers is a few customers' slope, in the smaller arm above
    all, and the variance does not show it. `unadjusted` are both arms without adjustment, which must be as even: what
    covariates happen to explain of this sample's largest customers says nothing of those yet unseen. The limits are
    what `docs/calibration.md` supports. All but the first look at pooled numbers and arm sizes only, which hardly move
    with the difference, so that trusting does not select.

    Raises:
        ValueError: a group does not know its third cumulant.
    """
    fewest, smaller = min(converters), min(treated.n, control.n)
    if fewest < FEWEST_CONVERTERS:
        return (
            f"rests on {fewest} converting customer{'' if fewest == 1 else 's'} in an arm; "
            f"at least {FEWEST_CONVERTERS} are needed to trust it"
        )
    expected = sum(converters) * smaller / (treated.n + control.n)
    needed = fewest_expected(smaller / (treated.n + control.n))
    if expected < needed:  # one is said rounded down, the other up, so that the sentence stays true
        return (
            f"only {math.floor(expected)} converting customers are to be expected in the smaller arm of {smaller:,}; "
            f"at least {math.ceil(round(needed, 9))} are needed to trust an interval"
        )
    if treated.variance == control.variance == 0:
        return "every customer of an arm has the same number, so nothing tells how far chance reaches"
    uneven = max((skewness(*each).gross for each in covariates), default=0.0)
    if uneven > GROSS_LIMIT:
        return (
            f"adjusted by a covariate so uneven (skewness {uneven:.2f}, at most {GROSS_LIMIT:g}) that a few "
            f"customers of the smaller arm of {smaller:,} decide what is adjusted; cap the covariate or leave it out"
        )
    found = skewness(treated, control)
    gross = max(found.gross, skewness(*unadjusted).gross if unadjusted else 0.0)
    limit = GROSS_LIMIT if bounded else GROSS_LIMIT_UNBOUNDED
    if gross > limit:
        return (
            f"so uneven (skewness {gross:.2f}, at most {limit:g}) that a 95 % interval from "
            f"{smaller:,} customers in the smaller arm would miss more often than 5 times in 100; "
            f"{'cap it lower' if skew_corrected else 'cap it'} or hold out more customers"
        )
    if not skew_corrected and abs(found.net) > NET_LIMIT:
        chance = "an increase" if found.net < 0 else "a decrease"
        return (
            f"so uneven in arms of such different sizes (skewness {abs(found.net):.2f}, at most {NET_LIMIT:g}) "
            f"that a 95 % interval would see {chance} too often by chance; "
            "cap it, hold out more customers or make the arms more equal"
        )
    return None


def fewest_expected(share: float) -> float:
    """Return how many converting customers the smaller arm must expect, being such a share of both arms."""
    equal, uneven = FEWEST_EXPECTED
    return equal + (uneven - equal) * min((0.5 - share) / 0.4, 1.0)


def cap_for(control: int, treated: Sequence[int]) -> float:
    """Return the quantile to cap at, given customers assigned to the control and to each other arm.

    Decided from sizes alone, before any outcome: the highest quantile at which the corrected interval is right
    whatever the tail. Numbers that are 0 or the cap have skewness 1 / √(share above); capped revenue was found
    to have at most 0.7 of it. At nine treated to one held out this leaves 4 held-out customers above the cap; at
    equal arms 6 in each, the fewest by which `distrust` calls numbers bounded. Never below 0.99: a small
    experiment is not mended by capping everyone.

    Raises:
        ValueError: an arm has no customers.
    """
    if control < 1 or not treated or min(treated) < 1:
        raise ValueError("a cap needs customers in every arm")
    factor = max((1 / each**2 + 1 / control**2) / math.pow(1 / each + 1 / control, 1.5) for each in treated)
    even = math.pow(CAP_EVENNESS * factor / CAP_TARGET, 2)
    enough = (FEWEST_ABOVE + 2) / (control + sum(treated))
    return max(1 - max(even, enough), LOWEST_CAP)


def _bent(t: float, bend: float) -> float:
    """Return Hall's g(t): T + A/6 + A T²/3 + A² T³/27, written so that A = 0 is no special case."""
    return t + bend * (1 / 6 + t * t / 3) + bend * bend * t**3 / 27


def _unbent(y: float, bend: float) -> float:
    """Return the t with g(t) = y."""
    if abs(bend) < EVEN:
        return y
    inside = bend * (y - bend / 6)
    if inside <= -1:
        return 3 / bend * (math.cbrt(1 + inside) - 1)
    return 3 / bend * math.expm1(math.log1p(inside) / 3)


def _edge(treated: Group, control: Group, reach: float) -> float | None:
    """Return the θ at which (m₁ − θ m₀) / √(v₁ + θ² v₀) = reach, m₀ being positive; None where there is none.

    A positive reach asks for the lower end, a negative one for the upper.
    """
    one, other = treated.mean, control.mean
    a = other**2 - reach**2 * control.variance
    b = one * other
    c = one**2 - reach**2 * treated.variance
    inside = b * b - a * c
    if inside < 0 or a == 0:
        return None
    root = math.sqrt(inside)
    if a > 0:
        return (b - root) / a if reach > 0 else (b + root) / a
    if reach > 0 and one >= 0 and c > 0:
        return (b - root) / a
    return None
