"""Caps compared before any lift is known: what each quantile would cut, how small an effect it would find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from toolkit.stats.moments import Vector
from toolkit.stats.shapes import Shape, doubt_of, effect_of

__all__ = ["CapChoice", "choice_of"]


@dataclass(frozen=True, slots=True)
class CapChoice:
    """What capping at one quantile does to a mean.

    Attributes:
        quantile: of the customers' numbers, zeros among them; None for no cap.
        value: the number that larger ones count as.
        above: customers above it.
        kept: the share of the sum that is kept.
        relative: smallest relative effect found, by the normal formula, without covariates, at one look.
        doubt: why the interval would not be trusted, None where it would.
    """

    quantile: float | None
    value: float | None
    above: int
    kept: float
    relative: float
    doubt: str | None


def choice_of(
    amounts: Vector,
    customers: int,
    quantile: float | None,
    *,
    treated: Sequence[int],
    held: int,
    alpha: float,
    power: float,
) -> CapChoice | None:
    """Return what a cap at `quantile` does, None where it would leave all the same.

    `amounts` are the numbers that are not zero, of so many `customers`. For arms of `treated` and `held` customers, of
    which the smallest treated one counts. Looks at all numbers together, never at a difference between arms, so that
    choosing by it does not choose a result.

    Raises:
        ValueError: nobody has a number above zero, or all have the same.
    """
    zeros = np.zeros(customers - len(amounts))
    numbers = np.concatenate([zeros, np.asarray(amounts, dtype=float)])
    total = float(numbers.sum())
    cap = None if quantile is None else float(np.quantile(numbers, quantile))
    above = 0 if cap is None else int((numbers > cap).sum())
    capped = numbers if cap is None else np.minimum(numbers, cap)
    mean = float(capped.mean())
    centred = capped - mean
    variance = float(centred @ centred) / (customers - 1)
    if total <= 0:
        raise ValueError("nobody has a number above zero")
    if cap is not None and (cap <= 0 or mean <= 0 or variance <= 0):
        return None
    if variance <= 0:
        raise ValueError("everybody has the same number")
    shape = Shape(
        "mean",
        customers,
        mean,
        variance,
        float((centred**3).mean()),
        len(amounts) / customers,
        0.0,
        None if cap is None else above / customers,
    )
    smallest = min(treated)
    effect = effect_of(shape, smallest, held, alpha=alpha, power=power)
    if effect is None:
        raise ValueError("a mean always has a smallest effect")
    return CapChoice(
        quantile, cap, above, float(capped.sum()) / total, effect / mean, doubt_of(shape, smallest, held)
    )
