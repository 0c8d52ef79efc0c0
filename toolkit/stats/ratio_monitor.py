"""The sample ratio, watched: are the arms' sizes those planned, asked at every look and never too often.

A chi-squared test of the arms' sizes at every weekly look raises false alarms ever more often. Here customers are
seen as arriving one by one, each in arm j with probability θ_j (its planned share) if all is well. Against that
stands a mixture: any shares, distributed as Dirichlet(α) around the planned ones. The ratio of the two likelihoods,

    M_n = Γ(Σα) / Γ(Σα + n) · Π_j Γ(α_j + n_j) / Γ(α_j) / θ_j^{n_j},

is a martingale with mean 1 while all is well, so that it ever exceeds 1/p with probability at most p (Ville 1939):
the smallest 1/M so far is a p-value at every look (Lindon & Malek 2022, sect. 2). It holds for any number of
customers, however few: nothing is approximated. It needs counts only, since the likelihood of a sequence of arms
does not depend on its order: whatever the order inside a week, M at the week's end is the same. To look seldom is to
skip some of the chances to cross, never to add one. Customers must be drawn independently, as hashing does; where
arms are filled to exact quotas sizes vary less, and the test errs on the quiet side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from toolkit.stats.sequential import mixing_for

__all__ = ["RatioMonitor", "concentration_for", "log_evidence", "monitor_ratio"]

CUSTOMERS = 50_000
"""The size at which the default mixture is sharpest (`concentration_for` says what is lost elsewhere)."""


@dataclass(frozen=True, slots=True)
class RatioMonitor:
    """What the arms' sizes have said by the latest look.

    Attributes:
        p_value: valid at every look: the chance that it ever falls to p or below is at most p if shares are as planned.
        p_values: the same after each look; never rising.
        log_evidence: log M after each look: above 0 speaks against the planned shares.
        concentration: Σα of the mixture.
        reason: why there is no p-value, where there is none.
    """

    p_value: float | None
    p_values: tuple[float, ...]
    log_evidence: tuple[float, ...]
    concentration: float
    reason: str | None = None


def monitor_ratio(
    looks: Sequence[Mapping[str, int]], shares: Mapping[str, float], *, concentration: float | None = None
) -> RatioMonitor:
    """Return what cumulative counts per arm at successive looks say of the planned `shares`.

    The latest counts alone are one look: valid too, only blind to a deviation that has since been diluted. The
    `concentration` must not depend on how customers fell into arms; by default `concentration_for` 50,000 of them.

    Raises:
        ValueError: shares that are not positive or do not sum to 1, arms without counts or without a share, or
            counts that fall from one look to the next: those are not the same customers, cumulated.
    """
    if any(not share > 0 for share in shares.values()) or not math.isclose(
        sum(shares.values()), 1, abs_tol=1e-9
    ):
        raise ValueError(f"shares must be above zero and sum to 1, not {dict(shares)}")
    for look in looks:
        if set(look) != set(shares):
            raise ValueError(f"counts are of {sorted(look)}, shares of {sorted(shares)}")
    weight = concentration_for(CUSTOMERS) if concentration is None else concentration
    if not looks:
        return RatioMonitor(None, (), (), weight, "no look was taken yet")
    counts = np.array([[look[arm] for arm in shares] for look in looks], dtype=float)
    if (counts < 0).any() or (np.diff(counts, axis=0) < 0).any():
        raise ValueError("counts are cumulative: an arm cannot have fewer customers than at an earlier look")
    evidence = log_evidence(counts, list(shares.values()), weight)
    running = np.exp(-np.maximum.accumulate(evidence)).clip(1e-300, 1.0)
    return RatioMonitor(float(running[-1]), tuple(running.tolist()), tuple(evidence.tolist()), weight)


def log_evidence(counts: ArrayLike, shares: Sequence[float], concentration: float) -> NDArray[np.float64]:
    """Return log M for cumulative `counts`, shape (…, arms); α = concentration · shares. Shape (…)."""
    n = np.asarray(counts, dtype=float)
    planned = np.asarray(shares, dtype=float)
    alpha = concentration * planned
    per_arm = _log_gamma(alpha + n) - _log_gamma(alpha) - n * np.log(planned)
    whole = _log_gamma(np.asarray(concentration)) - _log_gamma(concentration + n.sum(axis=-1))
    found: NDArray[np.float64] = per_arm.sum(axis=-1) + whole
    return found


def concentration_for(customers: float, p_value: float = 0.001) -> float:
    """Return the Σα with which, at so many customers in all, the smallest deviation reaches `p_value`.

    Between two arms M is nearly the normal mixture's √(1 / (1 + r)) exp(z² r / (2 (1 + r))) with r = n / Σα, so
    the z that reaches p is smallest at the r of `mixing_for` (Robbins 1970): 16.7 for 0.001. At a tenth of the
    customers that z is 16 % larger than at best, at ten times as many 4 %: too small a number is the better guess.
    """
    return customers / mixing_for(p_value)


def _log_gamma(at: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.reshape([math.lgamma(each) for each in at.ravel().tolist()], at.shape)
