"""What past customers' numbers foretell: the smallest effect of a planned size, and whether to trust it then."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.design.metrics import Metric
from toolkit.stats.estimate import Group
from toolkit.stats.planning import planned_variance
from toolkit.stats.power import (
    power_of,
    share_explained,
    smallest_conversion_effect,
    smallest_effect,
    variance_per_customer,
)
from toolkit.stats.readings import Readings
from toolkit.stats.skew import (
    FEWEST_ABOVE,
    GROSS_LIMIT_UNBOUNDED,
    NET_LIMIT,
    Skewness,
    distrust,
    skewness,
)

__all__ = [
    "Shape",
    "doubt_of",
    "effect_of",
    "shape_of",
    "skewness_of",
    "to_be_corrected",
    "too_uneven",
    "varies_more",
]

LOST = 0.03
"""So much less power than was asked for is worth a simulation."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One metric's number per customer, as the control's or past customers have it.

    Attributes:
        kind: `conversion`, `mean` or `ratio`.
        customers: of whom it was learnt.
        mean: in the metric's unit; capped where the metric is. Of a ratio: the ratio.
        variance, third: central moments of one customer's number (of a ratio: its linear form).
        active: share of customers for whom it is not zero (of a ratio: the denominator).
        explained: the share of the variance that the covariates explain (adjusted R²), 0 where there are none.
        above: share of customers above the cap; None where there is none.
        covariates: (variance, third) of each covariate's number.
    """

    kind: str
    customers: int
    mean: float
    variance: float
    third: float
    active: float
    explained: float
    above: float | None
    covariates: tuple[tuple[float, float], ...] = ()


def shape_of(readings: Readings, metric: Metric, arm: str) -> Shape | str:
    """Return the shape of `metric` among the customers of `arm`, or why there is none, in words."""
    n = readings.customers[arm]
    if n < 2:
        return f"{n:,} customers are too few to know how much they vary"
    if metric.name in readings.waiting:
        return readings.waiting[metric.name]
    cap = readings.caps.get(metric.name)
    plain = readings.terms[metric.name]
    terms = (f"c_{metric.name}",) if cap else plain
    covariates = [column for _, column in readings.covariates[metric.name]]
    if cap:  # a capped outcome is adjusted by its look-back capped likewise
        covariates = [cap.covariates[each][0] if each in cap.covariates else each for each in covariates]
    moments = readings.of(arm, [*terms, *covariates])
    variance = variance_per_customer(moments, len(terms))
    if variance is None:
        return f"none of {n:,} customers has a denominator, so there is no ratio to plan with"
    if not math.isfinite(variance):
        return "the numbers hold values that cannot be added up"
    active = readings.active[arm].get(plain[-1], 0)
    if not active or variance <= 0:
        did = "nobody did it" if not active else "all have the same number"
        return f"{did} among {n:,} customers, so there is nothing to plan with"
    places = list(range(len(terms), len(terms) + len(covariates)))
    mean, third = float(moments.mean[0]), float(moments.cubes[0]) / n
    if len(terms) == 2:
        if mean == 0:
            return "the numerator is zero for everybody, so there is nothing to plan with"
        line = readings.of(arm, [f"r_{metric.name}"])
        denominator = float(moments.mean[1])
        mean, third = mean / denominator, float(line.cubes[0]) / n / denominator**3
    return Shape(
        metric.kind,
        n,
        mean,
        variance,
        third,
        active / n,
        share_explained(moments, len(terms), places) if places else 0.0,
        cap.above / n if cap else None,
        tuple((float(moments.covariance[at, at]), float(moments.cubes[at]) / n) for at in places),
    )


def effect_of(
    shape: Shape, treated: float, held: float, *, alpha: float, power: float, inflation: float = 1.0
) -> float | None:
    """Return the smallest absolute effect found with `power`, by the normal formula; None where even 100 % is not.

    Covariates and looks count as customers more or fewer (`planned_variance`). A conversion has each arm's own
    variance p (1 − p).
    """
    factor = planned_variance(1.0, explained=shape.explained, inflation=inflation)
    if shape.kind == "conversion":
        return smallest_conversion_effect(
            shape.mean, treated / factor, held / factor, alpha=alpha, power=power
        )
    return smallest_effect(shape.variance * factor, treated, held, alpha=alpha, power=power)


def skewness_of(shape: Shape, treated: int, held: int) -> Skewness:
    """Return how uneven a difference between arms of these sizes would be."""
    return skewness(*_groups(shape.variance, shape.third, treated, held, shape.mean))


def doubt_of(shape: Shape, treated: int, held: int) -> str | None:
    """Return why an interval of that size is not going to be trusted, in words; None where it is.

    By the rule that judges the measurement (`distrust`), with the customers that are to be expected.
    """
    if min(treated, held) < 2:
        return f"an arm of {min(treated, held)} customers tells nothing"
    plain = _distrust(shape, treated, held, corrected=shape.above is not None)
    return _distrust(shape, treated, held, corrected=True) if plain and shape.kind != "ratio" else plain


def to_be_corrected(shape: Shape, treated: int, held: int) -> bool:
    """Return whether the interval is going to be the one corrected for skewness.

    It is where the metric is capped, and where the plain one is not to be trusted and the corrected one is.
    """
    if shape.above is not None or shape.kind == "ratio":
        return shape.above is not None
    plain, mended = (_distrust(shape, treated, held, corrected=each) for each in (False, True))
    return bool(plain and not mended)


def _distrust(shape: Shape, treated: int, held: int, *, corrected: bool) -> str | None:
    above = (shape.above or 0.0) * (treated + held)
    return distrust(
        *_groups(shape.variance, shape.third, treated, held, shape.mean),
        [math.floor(shape.active * treated), math.floor(shape.active * held)],
        skew_corrected=corrected,
        bounded=shape.kind == "conversion" or above >= FEWEST_ABOVE,
        covariates=[_groups(variance, third, treated, held) for variance, third in shape.covariates],
    )


def too_uneven(shape: Shape, treated: int, held: int) -> bool:
    """Return whether the normal formula is off for arms of these sizes, so that simulation is to be asked."""
    found = skewness_of(shape, treated, held)
    return shape.kind != "ratio" and (abs(found.net) > NET_LIMIT or found.gross > GROSS_LIMIT_UNBOUNDED)


def varies_more(
    shape: Shape, effect: float, treated: float, held: float, *, alpha: float, power: float, inflation: float
) -> bool:
    """Return whether so large an effect on a mean makes treated customers vary more than the formula takes them to.

    More customers with an amount raise the mean square as they do the mean; with arms of about one size that costs
    power. It counts from `LOST` on: below, the textbook's formula holds.
    """
    more = 1 + effect / shape.mean if shape.mean > 0 else 0.0
    if shape.kind != "mean" or not 0 < shape.active * more <= 1:
        return False
    factor = planned_variance(1.0, explained=shape.explained, inflation=inflation)
    own = more * (shape.variance + shape.mean**2) - (more * shape.mean) ** 2
    variances = (shape.variance * factor, max(own, 0.0) * factor)
    found = power_of(effect, variances[0], treated, held, alpha=alpha, treated_variance=variances[1])
    return found < power - LOST


def _groups(variance: float, third: float, treated: int, held: int, mean: float = 0.0) -> tuple[Group, Group]:
    sizes: Sequence[int] = (treated, held)
    one, other = (Group(n, mean, variance / n, third / n**2) for n in sizes)
    return one, other
