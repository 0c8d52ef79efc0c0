"""Differences and relative lifts between two groups, with intervals, from means and variances."""

from __future__ import annotations

import math
from dataclasses import dataclass

from toolkit.stats.distributions import ndtri, t_sf, t_upper

__all__ = ["RESIDUE", "Estimate", "Group", "Relative", "difference", "fieller", "has_base"]

RESIDUE = 1e-12
"""What is this small beside the numbers it was computed from is what rounding leaves of zero."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group's estimated mean (or ratio) and what is needed to judge it.

    Attributes:
        n: customers.
        mean: the estimate, in the metric's unit.
        variance: the estimate's own variance (a standard error squared).
        third: the estimate's third cumulant (of a mean: third central moment / n²); None where not known.
    """

    n: int
    mean: float
    variance: float
    third: float | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """An absolute difference. `df` is None where the normal distribution was used."""

    value: float
    se: float
    low: float
    high: float
    p_value: float | None
    df: float | None


@dataclass(frozen=True, slots=True)
class Relative:
    """A relative lift, as a fraction of the control; an end is None where it is unbounded.

    All three are None where the control's mean is not above zero: there is nothing to be a fraction of.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None


def difference(treated: Group, control: Group, alpha: float, *, normal: bool = False) -> Estimate:
    """Return treated − control with its two-sided interval at level 1 − alpha.

    Welch's t with Satterthwaite's degrees of freedom (Welch 1947), or the normal distribution when
    `normal`. Where both variances are zero there is no interval to speak of: its ends equal the value and
    `p_value` is None. So it is, with ends that are infinite, where a variance is too large for a number.
    """
    value = treated.mean - control.mean
    total = treated.variance + control.variance
    if not math.isfinite(total):
        return Estimate(value, total, -math.inf, math.inf, None, None)
    se = math.sqrt(total)
    if se == 0:
        return Estimate(value, 0.0, value, value, None, None)
    if normal:
        quantile, df = -ndtri(alpha / 2), None
        p_value = math.erfc(abs(value / se) / math.sqrt(2))
    else:
        df = 1 / sum(
            (group.variance / total) ** 2 / (group.n - 1) for group in (treated, control) if group.variance
        )
        quantile = t_upper(alpha / 2, df)
        p_value = 2 * t_sf(abs(value / se), df)
    return Estimate(value, se, value - quantile * se, value + quantile * se, p_value, df)


def has_base(control: Group) -> bool:
    """Return whether the control's mean is above zero, by more than rounding leaves of numbers that cancel out.

    Only then does a fraction of it have the sign of the difference.
    """
    return control.mean > RESIDUE * math.sqrt(control.variance * control.n)


def fieller(treated: Group, control: Group, alpha: float) -> Relative:
    """Return treated / control − 1 with Fieller's interval (Fieller 1954), normal quantile; needs `has_base`.

    The groups are independent. The set of ratios θ with (m₁ − θ m₀)² ≤ z² (v₁ + θ² v₀) is an interval only
    where the control's mean is surely not zero. Elsewhere an end is None: both, or the upper one alone where
    means are not negative and the set keeps a lower end among ratios that are not negative either.
    """
    if not has_base(control):
        return Relative()
    value = treated.mean / control.mean - 1
    z2 = ndtri(alpha / 2) ** 2
    a = control.mean**2 - z2 * control.variance
    b = treated.mean * control.mean
    c = treated.mean**2 - z2 * treated.variance
    inside = b * b - a * c
    if a > 0:
        root = math.sqrt(max(inside, 0.0))
        return Relative(value, (b - root) / a - 1, (b + root) / a - 1)
    if a < 0 and inside > 0 and treated.mean >= 0:
        lower, upper = sorted(((b - math.sqrt(inside)) / a, (b + math.sqrt(inside)) / a))
        if lower < 0 < upper:
            return Relative(value, upper - 1, None)
    return Relative(value, None, None)
