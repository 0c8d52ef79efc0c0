"""Planning: how many weeks an experiment takes, what its looks cost, and what holding customers out costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from toolkit.stats.distributions import ndtri
from toolkit.stats.power import customers_needed, smallest_effect
from toolkit.stats.sequential import always_on_boundary, planned_boundaries

__all__ = [
    "Weeks",
    "always_on_inflation",
    "cost_of_holdout",
    "looks_inflation",
    "planned_variance",
    "weeks_needed",
]

REACH = 6.0
"""Standard errors from the mean beyond which nothing is summed."""
PANEL = 2.0
"""Width of a panel of the grid, in standard deviations of one step."""
NODES = 8
"""Gauss-Legendre nodes per panel."""


@dataclass(frozen=True, slots=True)
class Weeks:
    """How long an experiment has to run.

    Attributes:
        customers: customers needed in all; None where nothing says how many.
        pace: customers enrolled per week, the mean of the weeks given; None where none are.
        enrolment: weeks of enrolment; None where nobody enrols or `customers` is None.
        total: weeks until the last customer's window has closed; None likewise.
        text: the same as a sentence, without a full stop.
    """

    customers: int | None
    pace: float | None
    enrolment: int | None
    total: int | None
    text: str


def planned_variance(variance: float, *, explained: float = 0.0, inflation: float = 1.0) -> float:
    """Return variance · (1 − explained) · inflation, to be used wherever a variance is asked for.

    `explained` is the covariates' R² (Deng et al. 2013). `inflation` is how many times the customers of a
    single look a sequential plan needs (Jennison & Turnbull 2000, section 2.3): 1.028 for O'Brien and Fleming's
    five looks at alpha 5 % and power 80 %.

    Raises:
        ValueError: `explained` is not within 0 to 1, or `inflation` below 1.
    """
    if not 0 <= explained < 1 or inflation < 1:
        raise ValueError(f"explained {explained} must lie within 0 to 1, inflation {inflation} not below 1")
    return variance * (1 - explained) * inflation


def weeks_needed(
    enrolled: Sequence[float],
    mean: float,
    variance: float,
    share_held: float,
    *,
    relative: float,
    window_days: float = 0.0,
    waiting: int = 0,
    alpha: float = 0.05,
    power: float = 0.8,
    treated_variance: float | None = None,
    share_treated: float | None = None,
    grows: bool = True,
) -> Weeks:
    """Return how many weeks find a `relative` effect on `mean`, at the pace of the weeks in `enrolled`.

    `enrolled` has customers per week of the cohort's own history, of which the mean is taken to go on; it may be
    empty where some are `waiting`, who enrol on the first day. `variance` is `planned_variance`'s. The last week's
    customers still need their window of `window_days` to close. With several treated arms, `share_treated` is that
    of the arm compared; customers are those of all arms. A cohort that does not grow is those `waiting` and no more.

    Raises:
        ValueError: no weeks are given and nobody is waiting, or as `customers_needed`.
    """
    if not enrolled and not waiting:
        raise ValueError("at least one week of enrolment is needed to know the pace")
    pace = math.fsum(enrolled) / len(enrolled) if enrolled else None
    if mean == 0 or variance <= 0:
        return Weeks(None, pace, None, None, "nobody did it so far, so there is nothing to plan with")
    effect = relative * mean
    compared = share_held + (1 - share_held if share_treated is None else share_treated)
    pair = customers_needed(
        effect, variance, share_held / compared, alpha=alpha, power=power, treated_variance=treated_variance
    )
    customers = pair if share_treated is None else math.ceil(pair / compared)
    asked = f"{customers:,} customers are needed to find {relative:+.1%}".replace("-", "−")
    missing = max(customers - waiting, 0)
    if missing and pace is None:
        more = "how many more enrol each week is not known" if grows else "nobody else enrols"
        return Weeks(customers, None, None, None, f"{asked}: {waiting:,} are there, and {more}")
    if missing and not pace:
        return Weeks(customers, pace, None, None, f"{asked}, and nobody enrolled in the weeks given")
    enrolment = math.ceil(missing / pace) if missing and pace else 0
    total = math.ceil(enrolment + window_days / 7)
    how = (
        f"{enrolment:,} weeks of enrolment at {pace:,.0f} a week" if missing else "all enrol on the first day"
    )
    return Weeks(customers, pace, enrolment, total, f"{asked}: {how}, {total:,} weeks with the window")


def looks_inflation(looks: int, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """Return how many times the customers of a single look a plan of `looks` equal looks needs.

    The squared ratio of the drifts at which the plan (Lan & DeMets 1983, O'Brien-Fleming spending) and the single
    look reach `power` (Jennison & Turnbull 2000, section 2.3), for looks with independent increments: customers
    who enrol evenly and whose window closes. The power to cross the upper boundary at any look is integrated from
    look to look (Armitage, McPherson & Rowe 1969). One look needs 1.

    Raises:
        ValueError: fewer than one look, or a power that chance reaches or nothing does.
    """
    if looks < 1:
        raise ValueError(f"{looks} looks are none")
    single = smallest_effect(1.0, 2.0, 2.0, alpha=alpha, power=power)
    if looks == 1:
        return 1.0
    fractions = [(at + 1) / looks for at in range(looks)]
    correlations = [math.sqrt(early / late) for early, late in pairwise(fractions)]
    limits = [
        each.z * math.sqrt(at)
        for each, at in zip(planned_boundaries(fractions, alpha, correlations), fractions, strict=True)
        if each
    ]
    drift, wanted = single, ndtri(power)
    for _ in range(4):  # on the scale of quantiles power rises with drift at a slope of 1, or nearly
        drift += wanted - ndtri(_crosses(limits, drift))
    return max(1.0, (drift / single) ** 2)


def always_on_inflation(*, alpha: float = 0.05, power: float = 0.8) -> float:
    """Return the same for looks without an end, at the time that they are tuned for.

    From the boundary at that time alone, as though nothing were found earlier: an upper limit.
    """
    single = smallest_effect(1.0, 2.0, 2.0, alpha=alpha, power=power)
    return ((always_on_boundary(1.0, alpha).z + ndtri(power)) / single) ** 2


def cost_of_holdout(customers: float, share_held: float, mean: float, lift: float) -> float:
    """Return the money forgone by holding out `share_held` of `customers`; of those of a week, per week.

    `mean` is money per customer without the offer over the metric's window, `lift` the relative effect that is
    assumed: what is not known yet, so say it beside the number.
    """
    return customers * share_held * mean * lift


def _crosses(limits: Sequence[float], drift: float) -> float:
    """Return the chance that a Brownian motion with `drift` is at or above a limit at any of equal looks up to 1."""
    step = 1 / len(limits)
    sd = math.sqrt(step)
    points, weights = np.polynomial.legendre.leggauss(NODES)
    mass, nodes, within = np.ones(1), np.zeros(1), 1.0
    for look, limit in enumerate(limits):
        at = (look + 1) * step
        low = drift * at - REACH * math.sqrt(at)
        high = min(limit, drift * at + REACH * math.sqrt(at))
        if high <= low:
            return 1.0
        panels = np.linspace(low, high, math.ceil((high - low) / (PANEL * sd)) + 1)
        half = (panels[1] - panels[0]) / 2
        places = (panels[:-1, None] + half * (points + 1)).ravel()
        off = (places[:, None] - nodes[None, :] - drift * step) / sd
        density = (np.exp(-0.5 * off * off) / (sd * math.sqrt(2 * math.pi))) @ mass
        mass, nodes = density * np.tile(weights, len(panels) - 1) * half, places
        within = float(mass.sum())
    return 1 - within
