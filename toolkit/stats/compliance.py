"""Effect on the exposed: what the offer did to those whom it reached, under one-sided non-compliance.

Assignment is the instrument. Who is assigned and not reached cannot have been changed by the offer, so the
whole difference between the arms belongs to the reached: the effect on the outcome divided by the effect on
exposure (Imbens & Angrist 1994, theorem 1; Angrist, Imbens & Rubin 1996, proposition 1). With nobody exposed
in the control this is the mean effect on the exposed themselves (Bloom 1984). Comparing the exposed with the
holdout directly would compare those who open messages with everybody.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from toolkit.stats.estimate import Estimate, Group, difference
from toolkit.stats.moments import Moments
from toolkit.stats.readings import Readings

__all__ = [
    "HOLDOUT_EXPOSED",
    "OTHERWISE_EXPOSED",
    "WEAK",
    "Exposed",
    "Refused",
    "Uptake",
    "effect_on_exposed",
    "on_exposed",
    "quotient_interval",
]

HOLDOUT_EXPOSED = 0.001
"""Share of the control that may have been exposed: staff and test accounts, one in a thousand."""

OTHERWISE_EXPOSED = 0.01
"""The control's exposed share as a part of the treated arm's: so many of the exposed would have been exposed
without the offer too, and the estimate does not speak of them. At 1 % it speaks of 99 of 100."""

WEAK = 10.0
"""First-stage F below which an instrument counts as weak (Staiger & Stock 1997). With nobody exposed in the
control F is about the number of exposed customers, or more where most of the arm was exposed."""


@dataclass(frozen=True, slots=True)
class Uptake:
    """One arm's mean outcome and exposed share, and how far chance may have moved both.

    Attributes:
        n: customers assigned.
        outcome: mean outcome per customer assigned, in the metric's unit.
        exposed: share of them exposed, 0 to 1.
        outcome_variance: the mean outcome's own variance (a standard error squared).
        exposed_variance: the exposed share's own variance.
        covariance: the covariance of these two estimates.
    """

    n: int
    outcome: float
    exposed: float
    outcome_variance: float
    exposed_variance: float
    covariance: float

    @classmethod
    def of(cls, moments: Moments) -> Uptake:
        """Return an arm's uptake from the moments of (outcome, exposed), the second 1 or 0 per customer."""
        outcome, exposed = (float(each) for each in moments.mean[:2])
        if moments.n < 2:
            return cls(moments.n, outcome, exposed, 0.0, 0.0, 0.0)
        spread = moments.covariance / moments.n
        return cls(moments.n, outcome, exposed, float(spread[0, 0]), float(spread[1, 1]), float(spread[0, 1]))


@dataclass(frozen=True, slots=True)
class Exposed:
    """The mean effect on a customer who was exposed because of the assignment.

    Attributes:
        value: in the metric's unit per exposed customer.
        low: lower end of the Anderson-Rubin interval.
        high: upper end.
        exposed_share: share of the treated arm that was exposed.
        p_value: two-sided, of no effect on the exposed: the intention-to-treat test's own.
        strength: the first stage's F; None where exposure is the assignment itself, and has no variance.
        note: what a reader should know, or None.
        block: the intention-to-treat block whose numbers and test these are.
        trusted: whether that block's interval is to be trusted, and with it this one.
        assigned: that block's difference per customer assigned, on which these rest.
    """

    value: float
    low: float
    high: float
    exposed_share: float
    p_value: float | None
    strength: float | None
    note: str | None = None
    block: str = "raw"
    trusted: bool = True
    assigned: Estimate | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """No effect on the exposed can be told; `why` is a sentence without a full stop."""

    why: str


def effect_on_exposed(
    treated: Uptake, control: Uptake, alpha: float, *, effect: Estimate | None = None
) -> Exposed | Refused:
    """Return the effect on the exposed with its Anderson-Rubin interval at level 1 − alpha, or why there is none.

    Value: (y₁ − y₀) / (d₁ − d₀), which is two-stage least squares with assignment as the only instrument. The
    interval holds every effect β for which y − β d has equal means in both arms (Anderson & Rubin 1949), each
    arm with its own variance; for one instrument that is Fieller's set (Fieller 1954). It needs no strong
    first stage to cover, and it excludes zero exactly where the intention-to-treat interval does: `effect`, at the
    same level, is that difference with its interval (Welch's if not given), and says how many standard errors each
    end is away, which are two numbers where it is skew-corrected: y − β d is taken to be as skew as y.

    Refused where an arm has fewer than two customers, nobody in the treated arm was exposed, some of the
    control was (more than `HOLDOUT_EXPOSED` of it, or than `OTHERWISE_EXPOSED` of the treated arm's share), the
    first stage is weak (F below `WEAK`), the interval has no end at this `alpha`, or outcomes do not vary.

    It is to be trusted where that interval is, and speaks of the exposed alone; the effect on
    those who were not reached stays unknown.
    """
    refused = _refused(treated, control)
    if refused:
        return Refused(refused)
    effect = effect or difference(
        Group(treated.n, treated.outcome, treated.outcome_variance),
        Group(control.n, control.outcome, control.outcome_variance),
        alpha,
    )
    if effect.p_value is None:
        return Refused("the outcome is the same for every customer, so there is no interval")
    gap = treated.exposed - control.exposed
    variance = treated.exposed_variance + control.exposed_variance
    strength = gap**2 / variance if variance > 0 else None
    if gap <= 0 or (strength is not None and strength < WEAK):
        seen = "" if strength is None else f" (F = {strength:.1f}; at least {WEAK:g} is needed)"
        return Refused(
            f"too few customers were exposed: {treated.exposed:.2%} of the treated arm and "
            f"{control.exposed:.2%} of the control{seen}"
        )
    lower, upper = (
        quotient_interval(
            effect.value,
            gap,
            treated.outcome_variance + control.outcome_variance,
            variance,
            treated.covariance + control.covariance,
            away / effect.se,
        )
        for away in (effect.value - effect.low, effect.high - effect.value)
    )
    if lower is None or upper is None:
        return Refused(
            f"at level {1 - alpha:.6g} the interval has no end: the exposed share is not surely above zero"
        )
    note = f"{control.exposed:.2%} of the control was exposed too" if control.exposed > 0 else None
    return Exposed(effect.value / gap, lower[0], upper[1], treated.exposed, effect.p_value, strength, note)


def quotient_interval(
    numerator: float,
    denominator: float,
    numerator_variance: float,
    denominator_variance: float,
    covariance: float,
    quantile: float,
) -> tuple[float, float] | None:
    """Return Fieller's interval of numerator / denominator, two correlated estimates (Fieller 1954).

    All θ with (numerator − θ denominator)² ≤ quantile² · variance of that difference. None where the set is
    unbounded: where the denominator is not itself significantly different from zero.
    """
    q2 = quantile**2
    a = denominator**2 - q2 * denominator_variance
    if a <= 0:
        return None
    b = numerator * denominator - q2 * covariance
    c = numerator**2 - q2 * numerator_variance
    far = b + math.copysign(
        math.sqrt(max(b * b - a * c, 0.0)), b
    )  # no cancellation: the other root is c / far
    if far == 0:
        return 0.0, 0.0
    low, high = sorted((far / a, c / far))
    return low, high


def _refused(treated: Uptake, control: Uptake) -> str | None:
    """Return why exposure itself forbids an estimate, or None."""
    if treated.n < 2 or control.n < 2:
        return f"{treated.n:,} treated and {control.n:,} held-out customers are too few to compare"
    if treated.exposed <= 0:
        return f"nobody among {treated.n:,} treated customers was recorded as exposed"
    if control.exposed > min(HOLDOUT_EXPOSED, OTHERWISE_EXPOSED * treated.exposed):
        return (
            f"{control.exposed:.2%} of {control.n:,} held-out customers were exposed, "
            "so they do not show what happens without the offer"
        )
    return None


def on_exposed(
    readings: Readings, column: str, arm: str, control: str, effect: Estimate, alpha: float
) -> Exposed | Refused:
    """Return the effect on those exposed in what `column` counts; `effect` is the one on all assigned, at level 1 − alpha.

    Exposures must be kept, and summed for the column.
    """
    if readings.exposed is None:
        return Refused("who was exposed is not known")
    at = readings.columns.index(column)
    uptakes = []
    for name in (arm, control):
        moments, (count, sums) = readings.moments[name], readings.exposed[name]
        n = moments.n
        mean, share = float(moments.mean[at]), count / n
        products = ((sums[column] if count else 0.0) - n * mean * share) / (n - 1) / n
        uptakes.append(
            Uptake(
                n,
                mean,
                share,
                float(moments.products[at, at]) / (n - 1) / n,
                n * share * (1 - share) / (n - 1) / n,
                products,
            )
        )
    return effect_on_exposed(uptakes[0], uptakes[1], alpha, effect=effect)
