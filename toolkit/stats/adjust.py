"""Covariate adjustment: Lin's interacted regression, from moments and one sum over residuals.

Each arm gets its own regression of the outcome on the covariates. An arm's adjusted mean is its regression
evaluated at the covariates' mean over all customers; differences of adjusted means are the coefficients of
the fully interacted model (Lin 2013, “Agnostic notes on regression adjustments”, eq. 3). For a ratio the
outcome is its linearised form (Deng et al. 2013, “CUPED”, appendix B).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolkit.stats.estimate import Group
from toolkit.stats.moments import Moments, Vector

__all__ = ["FEWEST_DF", "ArmRegression", "Outcome", "degrees_of_freedom", "fit", "outcome_of", "usable"]

COLLINEAR = 1e-9
"""A covariate whose variance is explained by the others to within this share adds nothing."""

FEWEST_DF = 100
"""With fewer degrees of freedom the normal quantile makes an adjusted interval miss more than 5.5 times in 100."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """An arm's mean or ratio, and the weights that make it a mean of one linear number per customer.

    Attributes:
        value: the mean, or numerator's mean / denominator's mean.
        weights: shape (d,): the number is Σ weightsᵢ (xᵢ − meanᵢ), whose variance / n is the estimate's.
    """

    value: float
    weights: Vector


def outcome_of(moments: Moments, terms: int) -> Outcome | None:
    """Return the outcome that the first one (mean) or two (ratio) numbers define.

    None where the denominator's mean is zero: there is no ratio.
    """
    weights = np.zeros(len(moments.mean))
    if terms == 1:
        weights[0] = 1.0
        return Outcome(float(moments.mean[0]), weights)
    numerator, denominator = (float(each) for each in moments.mean[:2])
    if denominator == 0:
        return None
    ratio = numerator / denominator
    weights[:2] = 1 / denominator, -ratio / denominator
    return Outcome(ratio, weights)


def usable(pooled: Moments, covariates: list[int]) -> list[int]:
    """Return those of `covariates` (indices) that vary and are not a combination of earlier ones.

    Pivots of a Cholesky factor taken in order: what an earlier column already says is left out.
    """
    kept: list[int] = []
    for each in covariates:
        own = float(pooled.products[each, each])
        scale = float(pooled.mean[each]) ** 2 * pooled.n
        if own <= COLLINEAR * COLLINEAR * max(scale, 1e-300):
            continue
        if kept:
            among = pooled.products[np.ix_(kept, kept)]
            across = pooled.products[kept, each]
            left = own - float(across @ np.linalg.solve(among, across))
            if left <= COLLINEAR * own:
                continue
        kept.append(each)
    return kept


def degrees_of_freedom(treated: int, control: int, covariates: int) -> float:
    """Return what arms of these sizes leave for the variance of an adjusted difference; 0 where an arm has too few.

    Satterthwaite's (1946) with n − k − 1 in each arm, for residuals that vary alike in both. Estimated from each
    arm's own they would be many where the smaller arm happens to vary little, which is where intervals miss.
    """
    left = [(n, n - covariates - 1) for n in (treated, control)]
    if min(rest for _, rest in left) < 1:
        return 0.0
    return (1 / treated + 1 / control) ** 2 / sum(1 / n**2 / rest for n, rest in left)


@dataclass(frozen=True, slots=True, eq=False)
class ArmRegression:
    """One arm's regression, as what a pass over its rows needs to sum HC2 residuals.

    For a row with numbers r: x = r[covariates] − centre, e = weights·(r − mean) − slope·x,
    h = 1/n + xᵀ inverse x, w = 1/n + lever·x. The adjusted mean's HC2 variance (MacKinnon & White 1985) is
    Σ w² e² / (1 − h).
    """

    n: int
    value: float
    mean: Vector
    weights: Vector
    covariates: list[int]
    slope: Vector
    inverse: Vector
    lever: Vector

    def group(self, hc2: float, third: float | None = None) -> Group:
        """Return the adjusted mean with its variance and third cumulant, once the pass has summed them."""
        return Group(self.n, self.value, hc2, third)

    def residual_sums(self, rows: Vector) -> tuple[float, float]:
        """Return Σ w² e² / (1 − h) and Σ w³ e³ over `rows`, shape (m, d).

        The first is the adjusted mean's HC2 variance, the second its third cumulant.
        """
        off = np.asarray(rows, dtype=float) - self.mean
        x = off[:, self.covariates]
        e = off @ self.weights - x @ self.slope
        h = 1 / self.n + np.einsum("ij,jk,ik->i", x, self.inverse, x)
        weighted = (1 / self.n + x @ self.lever) * e
        return float((weighted**2 / np.maximum(1 - h, 1e-12)).sum()), float((weighted**3).sum())


def fit(moments: Moments, outcome: Outcome, covariates: list[int], centre: Vector) -> ArmRegression | None:
    """Return the regression of `outcome` on `covariates` in one arm, evaluated at `centre`.

    `centre` has the covariates' means over all customers, shape (len(covariates),). None where the arm has
    too few customers, or its covariates do not vary: then there is no regression to evaluate.
    """
    if moments.n < len(covariates) + 2:
        return None
    among = moments.products[np.ix_(covariates, covariates)]
    scale = np.sqrt(np.diag(among))
    if (scale == 0).any() or np.linalg.cond(among / np.outer(scale, scale)) > 1 / COLLINEAR:
        return None
    inverse = np.linalg.inv(among / np.outer(scale, scale)) / np.outer(scale, scale)
    slope = inverse @ (moments.products[covariates] @ outcome.weights)
    shift = centre - moments.mean[covariates]
    return ArmRegression(
        moments.n,
        outcome.value + float(slope @ shift),
        moments.mean,
        outcome.weights,
        covariates,
        slope,
        inverse,
        inverse @ shift,
    )
