"""Two arms before: whether the gap between their means is what drawing them at random makes of these customers.

Arms that were drawn at random are one group, split by chance. So variances are the whole group's: each arm's own
would move with its mean, and in a small arm of uneven numbers find far too much. That chance is no bell curve where
numbers are uneven and arms are not of one size, but its first three moments are known from the customers at hand
(sampling without replacement), and a gamma distribution has them too: Pearson's type III (Mielke & Berry 2007,
“Permutation Methods”, ch. 2).
"""

from __future__ import annotations

import math

import numpy as np

from toolkit.stats.adjust import usable
from toolkit.stats.distributions import chi2_sf, ndtr
from toolkit.stats.moments import Moments, Vector

__all__ = ["gap_p_value"]

EVEN = 0.35
"""Skewness of a gap by chance up to which all columns are asked together.

Both sides' errors cancel out to the fail level.
"""


def gap_p_value(treated: Moments, held: Moments) -> tuple[float, int] | None:
    """Return the p-value of means that only chance set apart, and the place of the column that differs most.

    Where every column's gap is nearly even by chance (`EVEN`), all are asked together: T² = gapᵀ V⁻¹ gap, V from the
    whole group's covariance, against chi-squared, which for few customers is a little cautious. Elsewhere each is
    asked alone, its long side by its own skewness, and the smallest p-value counts times their number (Bonferroni).
    None where an arm has fewer than two customers or nothing varies.
    """
    if treated.n < 2 or held.n < 2:
        return None
    whole = treated + held
    kept = usable(whole, list(range(len(whole.mean))))
    if not kept:
        return None
    gap = (treated.mean - held.mean)[kept]
    spread = (whole.covariance * (1 / treated.n + 1 / held.n))[np.ix_(kept, kept)]
    away = gap / np.sqrt(np.diag(spread))
    bends = _skewness(whole, treated.n)[kept]
    most = kept[int(np.argmax(np.abs(away)))]
    if (np.abs(bends) <= EVEN).all():
        return chi2_sf(len(kept), float(gap @ np.linalg.solve(spread, gap))), most
    alone = [_two_sided(*each) for each in zip(away.tolist(), bends.tolist(), strict=True)]
    least = int(np.argmin(alone))
    return min(1.0, alone[least] * len(kept)), kept[least]


def _skewness(whole: Moments, treated: int) -> Vector:
    """Return the skewness of treated − held over all draws of so many from these customers, shape (d,)."""
    n, held = whole.n, whole.n - treated
    variance = np.diag(whole.products) / n
    shape: Vector = np.divide(whole.cubes / n, variance**1.5, out=np.zeros(len(variance)), where=variance > 0)
    return shape * ((held - treated) / max(n - 2, 1) * math.sqrt((n - 1) / (treated * held)))


def _two_sided(away: float, bend: float) -> float:
    """Return twice the tail beyond `away` standard deviations of what has the skewness `bend`.

    On the long side of a gamma distribution, as Wilson and Hilferty (1931) make it normal; on the short side, and
    wherever that is nearer, of the normal itself, which is too long there.
    """
    far, skew = abs(away), abs(bend)
    if away * bend > 0:
        far = min(far, 6 / skew * math.expm1(math.log1p(skew * far / 2) / 3) + skew / 6)
    return 2 * ndtr(-far)
