"""Whether arms were alike before: differences of covariates in units of their spread, comparable with each other."""

from __future__ import annotations

import math
from dataclasses import dataclass

from toolkit.stats.distributions import ndtri
from toolkit.stats.readings import Readings

__all__ = ["Difference", "standardised_differences"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One covariate's difference, arm less control, in pooled standard deviations, with its interval."""

    covariate: str
    arm: str
    value: float
    low: float
    high: float


def standardised_differences(
    readings: Readings, control: str, *, alpha: float = 0.05
) -> tuple[Difference, ...]:
    """Return every covariate's standardised difference (Cohen's d) for each arm, each covariate once.

    The interval is the large-sample one, d ± z · √(1/n₁ + 1/n₀) (Austin 2009, for balance); over many covariates 1
    in 20 leaves out zero by chance. A covariate that does not vary is left out.
    """
    reach = -ndtri(alpha / 2)
    columns = dict(pair[::-1] for pairs in readings.covariates.values() for pair in pairs)
    found = []
    for column, name in columns.items():
        held = readings.of(control, [column])
        for arm in readings.moments:
            treated = readings.of(arm, [column])
            if arm == control or min(treated.n, held.n) < 2:
                continue
            spread = math.sqrt((float(treated.covariance[0, 0]) + float(held.covariance[0, 0])) / 2)
            if spread <= 0:
                continue
            value = (float(treated.mean[0]) - float(held.mean[0])) / spread
            half = reach * math.sqrt(1 / treated.n + 1 / held.n)
            found.append(Difference(name, arm, value, value - half, value + half))
    return tuple(found)
