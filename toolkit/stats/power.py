"""Power: which effects an experiment of a size can find."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import ndtr, ndtri

__all__ = ["Curve", "curve_of", "customers_needed", "power_of", "smallest_effect"]


@dataclass(frozen=True, slots=True)
class Curve:
    """The smallest detectable effect of a metric for several shares held out.

    Attributes:
        shares: share of customers in the control.
        effects: smallest absolute effect found with the power asked for, in the metric's unit.
    """

    shares: tuple[float, ...]
    effects: tuple[float, ...]


def smallest_effect(
    variance: float, treated: float, held: float, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Return the smallest absolute difference of means that a two-sided test finds with `power`.

    Normal approximation with a common variance: (z₁₋α⁄₂ + z_power) · sqrt(σ² (1/n₁ + 1/n₀)).
    """
    return float(ndtri(1 - alpha / 2) + ndtri(power)) * math.sqrt(variance * (1 / treated + 1 / held))


def power_of(effect: float, variance: float, treated: float, held: float, *, alpha: float = 0.05) -> float:
    """Return the probability that a two-sided z-test of equal means rejects, under `effect`."""
    z = effect / math.sqrt(variance * (1 / treated + 1 / held))
    limit = float(ndtri(1 - alpha / 2))
    return float(ndtr(z - limit) + ndtr(-z - limit))


def customers_needed(
    effect: float, variance: float, share_held: float, *, alpha: float = 0.05, power: float = 0.8
) -> int:
    """Return how many customers in all are needed to find `effect` with `share_held` of them held out."""
    z = float(ndtri(1 - alpha / 2) + ndtri(power))
    return math.ceil(variance * (z / effect) ** 2 * (1 / share_held + 1 / (1 - share_held)))


def curve_of(
    variance: float, customers: float, shares: Sequence[float], *, alpha: float = 0.05, power: float = 0.8
) -> Curve:
    """Return the smallest detectable effect for each share held out of `customers`."""
    effects = [
        smallest_effect(variance, customers * (1 - share), customers * share, alpha=alpha, power=power)
        for share in shares
    ]
    return Curve(tuple(shares), tuple(effects))
