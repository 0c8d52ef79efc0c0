"""Looking more than once without being fooled: boundaries for intervals that are read at every look.

At look w the estimate D_w is a difference between arms in what came in *until then*, of a cohort that is fixed
or grows; Z_w = (D_w − θ_w) / se_w, with θ_w the true effect until then. The Z of all looks are jointly normal in
large samples, but neither independent nor, in calendar time, of independent increments: who spends much goes on
spending much. So the calendar says how much error may have been spent by a look, and the estimated correlation of
successive looks says how much was (Lan & DeMets 1989: the two clocks may differ).

`planned_boundaries` are for a planned end: spending of the O'Brien-Fleming type, alpha / 2 on each side.
`always_on_boundary` is for none: the normal mixture of an asymptotic confidence sequence, narrowest at a planned
time. Either way D_w ± z_w se_w holds θ_w at all looks together with probability at least 1 − alpha: repeated
confidence intervals (Jennison & Turnbull 1989). θ_w is another number at each look, so intervals of different
looks are not to be intersected.

**Successive correlations are enough where looks are Markov.** A Gaussian sequence is so if and only if
Cov(D_v, D_w) = f(v) g(w) for v ≤ w. Then, with t = f / g, looks correlate as √(t_v / t_w): a Brownian motion read
at times t, the *information*. Of this form are independent increments (b v; f = v, g = b), customers with
persistent rates of spending besides (a v w + b v; f = v, g = a w + b), either on a clock of fading or seasonal
interest (A(v), A(w) for v, w), and having converted by then (p_v (1 − p_w); t is the odds).

**Where they are not**, Slepian (1962) holds: if every correlation is at least the assumed one, each side is crossed
no more often than computed. Noise that a look does not share with later ones is safe in this way. Rates that drift
(lapsing customers, rolling entry without a window) are not: over 26 looks they cost at most 5.4 % instead of 5 %,
whatever the drift's half-life, by simulation. `safe_correlations` brings that below 5 %, given the whole matrix.

**The covariance of looks v < w**, for an arm with customers i of whom n_v are there at v and n_w at w:
Cov(D_v, D_w) = Σ_i (S_iv − mean_v) S_iw / (n_v n_w), over the customers there at v; a difference of arms adds both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from toolkit.stats.distributions import ndtr, ndtri

__all__ = [
    "Boundary",
    "always_on_boundary",
    "always_on_p_value",
    "always_on_times",
    "information_from",
    "late_boundary",
    "late_p_value",
    "late_times",
    "mixing_for",
    "planned_boundaries",
    "planned_p_value",
    "safe_correlations",
    "spent",
]

Vector = NDArray[np.float64]

USUAL = 0.05
"""The alpha at which boundaries are most likely to be known already."""
FARTHEST = 8.0
"""No boundary is farther out: 6e-16 of a normal distribution lies beyond, and 1 − alpha / 2 is still not 1."""
LATE = 0.5
"""The part of alpha at which looks after a plan's end are bounded, all of them together: alpha itself is spent by then.

By simulation, half a year of them makes 5 % at most 5.3 %, after plans of 1.5 to 13 weeks; the whole of alpha, 5.7 %.
"""
CLOSEST = math.sqrt(0.998)
"""Successive looks count as correlated no more than this: smaller is the safe side, and spares a finer grid."""
FAINTEST = 1e-6
"""A smaller correlation of successive looks is what rounding leaves of none: nothing is known, which is the safe side."""
LAST_STEP = 3e-4
"""So near (in the logarithm of a probability) one step of Halley's leads to within its cube, 3e-11."""
ROOT_OF_CIRCLE = math.sqrt(2 * math.pi)
LOWEST, PANEL, NODES = -6.0, 6.0, 16
"""The grid: from where, panels of how many standard deviations of the step, Gauss-Legendre nodes in each."""


@dataclass(frozen=True, slots=True)
class Boundary:
    """How far from zero an estimate must be at one look.

    Attributes:
        z: in standard errors; at most 8.
        nominal_alpha: 2 (1 − Φ(z)): an interval of this alpha, of whatever kind, is the one to show at this look.
        spent: what of alpha / 2 one side has spent up to and with this look; None without a planned end.
    """

    z: float
    nominal_alpha: float
    spent: float | None


def spent(fraction: float, alpha: float) -> float:
    """Return what one side may have spent by a fraction of the plan: 2 − 2Φ(z / √fraction), Φ(z) = 1 − alpha / 4.

    Lan & DeMets (1983, α₁*): spending of the O'Brien-Fleming type, alpha / 2 in all. Past the end it stays there.
    """
    return 2 * ndtr(ndtri(alpha / 4) / math.sqrt(min(fraction, 1.0)))


def planned_boundaries(
    fractions: Sequence[float], alpha: float, correlations: Sequence[float | None] | None = None
) -> tuple[Boundary | None, ...]:
    """Return the boundary of each look of a plan that ends at fraction 1; each side spends alpha / 2.

    `fractions` are the looks' dates as fractions of the plan, increasing, in whatever gaps, and not chosen by what
    was seen. A look that was missed is left out: the next one spends its share. The first look at or after the end
    spends what is left. Those after it have no boundary (None), for alpha is spent: what comes late restates that
    look, and is no new one; where the numbers go on growing it is one, and `late_boundary` is for it. No look's
    boundary depends on later looks.

    `correlations` are those of successive looks' estimates, one fewer than looks (across a missed look their own,
    or the product). By the recursion of Armitage, McPherson & Rowe (1969; Jennison & Turnbull 2000, ch. 19), on
    each side alone, so that both together are at most alpha. None between two looks, or nothing above zero, means
    that those before and those after may depend on each other in any way (Bonferroni between the two stretches).
    Without `correlations` every look stands alone like that: valid under any dependence, and 1.42 times a fixed
    interval at the last of 26 looks, where the recursion gives 1.00 to 1.09 if revenue comes in evenly.

    Raises:
        ValueError: fractions that do not increase from above zero, an alpha outside (0, 1), or a wrong length.
    """
    _checked(fractions, alpha, correlations)
    return _planned(tuple(fractions), alpha, None if correlations is None else tuple(correlations))


@lru_cache(maxsize=256)
def _planned(
    fractions: tuple[float, ...], alpha: float, correlations: tuple[float | None, ...] | None
) -> tuple[Boundary | None, ...]:
    return _boundaries(fractions, alpha, correlations, None)


def _boundaries(
    fractions: Sequence[float],
    alpha: float,
    correlations: Sequence[float | None] | None,
    near: Sequence[float] | None,
) -> tuple[Boundary | None, ...]:
    """Return what `planned_boundaries` does; `near` is about where each look's z is, if that is known."""
    given = [None] * (len(fractions) - 1) if correlations is None else correlations
    steps = [None, *(_step(rho) for rho in given), None]
    found: list[Boundary | None] = []
    path: _Path | None = None
    done, z, off = 0.0, FARTHEST, 1.0
    for look, fraction in enumerate(fractions):
        if look and fractions[look - 1] >= 1:
            found.append(None)
            continue
        before = None if steps[look] is None else path
        due = spent(fraction, alpha) - done
        ahead = math.sqrt(fractions[look - 1] / fraction) if look else 1.0
        if near and look:
            ahead = near[look] / near[look - 1]
        guess = z * ahead
        if due <= ndtr(-FARTHEST):
            z, crossed = FARTHEST, ndtr(-FARTHEST) if before is None else before.beyond(FARTHEST)[0]
        else:
            z, crossed = _reach(before, due, near=guess * off)  # it is off by about as much as the last time
        off = z / guess if before else 1.0
        done += crossed
        found.append(Boundary(z, _nominal(z), done))
        following = steps[look + 1]
        untouched = before is None and z == FARTHEST  # nobody can have crossed: the next is as a first
        path = None if following is None or untouched else _Path.within(z, before, following)
    return tuple(found)


def planned_p_value(
    z: float, fractions: Sequence[float], correlations: Sequence[float | None] | None = None
) -> float:
    """Return the smallest alpha whose plan would exclude zero at the last of these looks, z standard errors away.

    The repeated p-value (Jennison & Turnbull 2000, sect. 9.1): below alpha if and only if that look's interval, with
    its `nominal_alpha`, excludes zero. From the farthest boundary on it is the nominal one. About five times the
    work of the boundaries.

    Raises:
        ValueError: as `planned_boundaries`, or a last look after the end.
    """
    _checked(fractions, 0.5, correlations)
    if len(fractions) > 1 and fractions[-2] >= 1:
        raise ValueError("the last look comes after the one that ended the plan")
    far = abs(z)
    if far >= FARTHEST:
        return _nominal(far)

    usual = planned_boundaries(fractions, USUAL, correlations)  # most likely known already
    solved = [(math.log(USUAL), [each.z for each in usual if each])]
    alone = math.log(_nominal(far))

    def excess(ends: Sequence[float]) -> float:
        # all looks together have an alpha a few times this look's own, nearly the same few times wherever z is
        return alone - math.log(_nominal(ends[-1]))

    # the nominal p-value is a floor: a plan asks no less than a single look
    low = lowest = min(alone, math.log(0.98))
    high = highest = math.log(0.99)
    known, begun = solved[0][0], excess(solved[0][1])
    if lowest < known:
        low, high = (known, high) if begun > 0 else (low, known)
    at = known + begun
    at = at if low < at < high else _nearest_end(at, low, high, lowest, highest)
    for _ in range(60):
        boundaries = _boundaries(fractions, math.exp(at), correlations, _extrapolated(solved, at))
        solved.append((at, [each.z for each in boundaries if each]))
        found = excess(solved[-1][1])
        if found > 0 and at == highest:
            return 1.0
        if abs(found) < 1e-9 or (found < 0 and at == lowest) or high - low < 1e-10:
            break
        low, high = (max(low, at), high) if found > 0 else (low, min(high, at))
        step, bend = _root([(x, excess(ends)) for x, ends in solved[-3:]])
        if low < step < high and bend < 1e-9:
            return math.exp(step)
        at = step if low < step < high else _nearest_end(step, low, high, lowest, highest)
    return math.exp(at)


def _root(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return about where a falling function of two or three known points (x, y) is zero, and what the third is worth.

    Inverse interpolation of what is nearly a line.
    """
    (x, y), (was, before) = points[-1], points[-2]
    if not (x - was) * (y - before) < 0:  # nothing to go by
        return x + y, math.inf
    slope = (x - was) / (y - before)
    step = x - y * slope
    if len(points) > 2 and (points[0][0] - was) * (points[0][1] - before) < 0 and points[0][1] != y:
        first, start = points[0]
        bend = (slope - (was - first) / (before - start)) / (y - start) * y * before
        return step + bend, abs(bend)
    return step, math.inf


def _extrapolated(solved: Sequence[tuple[float, Sequence[float]]], log_alpha: float) -> list[float]:
    """Return about where the boundaries of an alpha are, from the last ones solved: z² is nearly a line in its logarithm."""
    (last, ends), (before, starts) = solved[-1], solved[-2] if len(solved) > 1 else solved[-1]
    share = (log_alpha - last) / (last - before) if last != before else 0.0
    squares = (end**2 + (end**2 - start**2) * share for start, end in zip(starts, ends, strict=True))
    return [math.sqrt(max(square, 1e-4)) for square in squares]


def _nearest_end(step: float, low: float, high: float, lowest: float, highest: float) -> float:
    """Return the end that was not looked at yet where a step leads beyond it, else the middle."""
    if step >= high and high == highest:
        return highest
    if step <= low and low == lowest:
        return lowest
    return (low + high) / 2


def information_from(correlations: Sequence[float | None]) -> tuple[float, ...]:
    """Return each look's information relative to the last one's: t_v / t_{v+1} = ρ_v², one longer than given.

    Exact for Markov looks (above). A correlation above 1 counts as 1; one that is unknown or below 0 counts as 0:
    nothing earlier is known to bear on what comes after.
    """
    times = [1.0]
    for rho in reversed(correlations):
        times.append(times[-1] * min(rho, 1.0) ** 2 if rho is not None and rho > 0 else 0.0)
    return tuple(reversed(times))


def safe_correlations(matrix: Vector) -> tuple[float | None, ...]:
    """Return successive correlations whose products no pair of looks in `matrix`, shape (looks, looks), falls short of.

    Then both kinds of boundary are valid for looks that are not Markov (Slepian 1962). The logarithm of information
    grows by at least −2 log ρ_vw between any two looks v < w: the longest path, from first to last. A look knows
    only earlier ones, so that a later look changes none. None where a look correlates with some earlier one at
    zero or less.
    """
    grown, start, found = [0.0], 0, list[float | None]()
    for look in range(1, len(matrix)):
        row = [min(float(rho), 1.0) for rho in matrix[start:look, look]]
        if all(rho > 0 for rho in row):
            grown.append(max(past - 2 * math.log(rho) for past, rho in zip(grown, row, strict=True)))
            found.append(math.exp((grown[-2] - grown[-1]) / 2))
        else:
            grown, start = [0.0], look
            found.append(None)
    return tuple(found)


def always_on_times(
    fractions: Sequence[float], correlations: Sequence[float | None], pace: float = 1.0
) -> tuple[float | None, ...]:
    """Return each look's time for `always_on_boundary`: 1 is the time planned for.

    What counts as time is not 1 / variance, which falls while revenue accumulates, but information as correlations
    tell it: t_{v+1} / t_v = 1 / ρ_v². The boundary stays valid on any clock that runs faster (Slepian), so this one
    is never behind the plan, fraction^pace, on which it starts: t_w = max(fraction_w^pace, t_{w−1} / ρ²). It
    arrives at 1 with the plan wherever information grows no faster: at pace 1 with persistent rates, independent
    increments and fading interest. (The variance of accumulated revenue is a clock as well, faster still, where who
    spent more goes on to spend no less.) Where it grows faster, as when a season ends high, it arrives later than
    1, and the interval is a little wider: 3 % at time 4. A cohort that grows *and* accumulates without a window
    wants pace 2. The plan and pace are to be fixed beforehand. After a correlation that is unknown, or nothing
    above zero, no time is known: None.

    Raises:
        ValueError: fractions that do not increase from above zero, a pace not above zero, or a wrong length.
    """
    _checked(fractions, 0.5, correlations)
    if not pace > 0:
        raise ValueError(f"pace {pace} must lie above 0")
    times: list[float | None] = [fractions[0] ** pace]
    for fraction, rho in zip(fractions[1:], correlations, strict=True):
        past = times[-1]
        known = past is not None and rho is not None and rho > 0
        times.append(max(fraction**pace, past / min(rho, 1.0) ** 2) if known and past and rho else None)
    return tuple(times)


def mixing_for(alpha: float) -> float:
    """Return the r of the normal mixture that is sharpest at time 1: log(1 + r) − 2 log alpha = r.

    Newton's method, from Chatzigeorgiou's (2013) bound on Lambert's W. `alpha` lies between 0 and 1.
    """
    given = -2 * math.log(alpha)
    r = given + math.sqrt(2 * given)
    for _ in range(30):
        r -= (r - math.log1p(r) - given) * (1 + r) / r
    return r


def always_on_boundary(time: float, alpha: float, *, tuned_for: float | None = None) -> Boundary:
    """Return the boundary at `time` of looks without an end, narrowest at time 1 for the alpha it is `tuned_for`.

    Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2024, theorem 2.2), after Robbins (1970), in standard errors:
    z² = (1 + 1 / rt) log((1 + rt) / alpha²). With the r of `mixing_for` it is least at time 1, r + 1: for alpha 0.05
    z is 3.04 there, 1.55 times a fixed interval. Valid, for samples that are large at the first look, at all looks
    together if they correlate at least as √(t_v / t_w). Any r is valid at any alpha: `tuned_for` (`alpha` itself if not
    given) says whose it is, for a p-value knows one mixture only, and agrees with the intervals of no other.

    Raises:
        ValueError: a time not above zero, or an alpha outside (0, 1).
    """
    if not 0 < alpha < 1 or not time > 0:
        raise ValueError(f"alpha {alpha} must lie between 0 and 1, and time {time} above 0")
    grown = mixing_for(tuned_for or alpha) * time
    z = min(math.sqrt((1 + 1 / grown) * (math.log1p(grown) - 2 * math.log(alpha))), FARTHEST)
    return Boundary(z, _nominal(z), None)


def always_on_p_value(z: float, time: float, alpha: float) -> float:
    """Return the p-value at `time` of an estimate z standard errors from zero, on the boundary tuned for `alpha`.

    It is valid at all looks together, and below any alpha if and only if the interval of that mixture excludes zero:
    √(1 + rt) exp(−z² rt / (2 (1 + rt))), the inverse of the mixture's likelihood ratio (Johari et al. 2022).
    From the farthest boundary on it is at most the nominal one.
    """
    grown = mixing_for(alpha) * time
    p_value = min(1.0, math.exp(0.5 * math.log1p(grown) - z * z * grown / (2 * (1 + grown))))
    return min(p_value, _nominal(abs(z))) if abs(z) >= FARTHEST else p_value


def late_times(fractions: Sequence[float], correlations: Sequence[float | None]) -> tuple[float, ...]:
    """Return the times of looks after a plan's end for `late_boundary`; the first is the look that ended the plan.

    As `always_on_times`, from that look on: whatever was looked at before it has been paid for. Where a correlation is
    unknown, or nothing above zero, time goes as the calendar does, as with independent increments.
    """
    times = [fractions[0]]
    for (before, now), rho in zip(pairwise(fractions), correlations, strict=True):
        grown = min(rho, 1.0) ** -2 if rho is not None and rho > 0 else now / before
        times.append(max(now, times[-1] * grown))
    return tuple(times)


def late_boundary(time: float, alpha: float, *, tuned_for: float) -> Boundary:
    """Return the boundary of a look that comes after a plan's end, at numbers that went on growing.

    The plan has spent alpha, so that of looks without an end, at `LATE` of alpha, is for all that come later.
    """
    return always_on_boundary(time, LATE * alpha, tuned_for=tuned_for)


def late_p_value(z: float, time: float, tuned_for: float) -> float:
    """Return the p-value that is below an alpha if and only if the interval of `late_boundary` excludes zero."""
    return min(1.0, always_on_p_value(z, time, tuned_for) / LATE)


@dataclass(frozen=True, slots=True, eq=False)
class _Path:
    """Z at a look, of those that have not crossed: mass on rising nodes, shape (panels, NODES), and ρ to the next look.

    `above` is the mass of each node and all above it, and zero, shape (panels × NODES + 1,).
    """

    nodes: Vector
    mass: Vector
    above: Vector
    width: float
    rho: float

    @property
    def sd(self) -> float:
        return math.sqrt(1 - self.rho**2)

    @classmethod
    def within(cls, z: float, before: _Path | None, rho: float) -> _Path:
        """Return what stays below z, on a grid fine enough for the step that led here and for the next."""
        sd = min(1.0 if before is None else before.sd, math.sqrt(1 - rho**2))
        panels = max(1, math.ceil((z - LOWEST) / (PANEL * sd)))
        width = (z - LOWEST) / panels
        at, weight = _rule()
        middles = LOWEST + width * (np.arange(panels, dtype=np.float64) + 0.5)
        nodes = middles[:, None] + at * (width / 2)
        density = _normal(nodes) if before is None else before.density(middles, width)
        mass = density * (weight * (width / 2))
        above = np.zeros(mass.size + 1)
        np.cumsum(mass.reshape(-1)[::-1], out=above[-2::-1])
        return cls(nodes, mass, above, width, rho)

    def density(self, middles: Vector, width: float) -> Vector:
        """Return the density of the next look's Z on the nodes of panels of this width; from what lies within 8 sd.

        With D from the middle of one panel to ρ times that of another, and a and b from there to their nodes,
        exp(−(D + a − ρ b)² / 2) is exp(−D² / 2 − D a) · exp(−(a − ρ b)² / 2) · exp(D ρ b): few of these depend on both
        nodes and panels.
        """
        panels, sd = len(self.nodes), self.sd
        span = min(panels, math.ceil((width + 16 * sd) / (self.rho * self.width)) + 1)
        begins = (middles / self.rho - LOWEST) / self.width - span / 2
        first = np.minimum(np.maximum(np.rint(begins), 0), panels - span).astype(int)
        near = first[:, None] + np.arange(span)
        at, _ = _rule()
        a, b = at * (width / (2 * sd)), at * (self.rho * self.width / (2 * sd))
        step = (self.rho / sd) * (LOWEST + self.width * (near + 0.5))
        between = (middles / sd)[:, None, None] - step[:, :, None]
        within = np.exp(-0.5 * (a - b[:, None]) ** 2)
        there = (np.exp(between * b) * self.mass[near]).reshape(-1, NODES) @ within
        here = np.exp(between * (-0.5 * between - a)).reshape(-1, NODES)
        found: Vector = (here * there).reshape(-1, span, NODES).sum(axis=1)
        return found * (1 / (sd * ROOT_OF_CIRCLE))

    def beyond(self, z: float) -> tuple[float, float, float]:
        """Return the probability that the next look is the first to cross z, the density of its Z there, and its slope."""
        nodes, mass, sd = self.nodes.reshape(-1), self.mass.reshape(-1), self.sd
        low, high = ((z + side * FARTHEST * sd) / self.rho for side in (-1, 1))
        first, last = nodes.searchsorted((low, high)).tolist()
        off, near = (self.rho * nodes[first:last] - z) / sd, mass[first:last]
        shares = [*map(ndtr, off.tolist())]
        here = near * _normal(off)
        return float(self.above[last] + near @ shares), float(here.sum()) / sd, float(here @ off) / sd**2


def _reach(before: _Path | None, due: float, *, near: float) -> tuple[float, float]:
    """Return the z that is crossed for the first time with probability `due`, and with which it is.

    Halley's method on its logarithm, held in. `near` is where to begin: boundaries of this type fall about as one over
    the root of the fraction.
    """
    low, high = LOWEST, min(-ndtri(due), FARTHEST)
    if before is None:
        return high, ndtr(-high)
    z = min(near, high)
    for _ in range(100):
        over, density, slope = before.beyond(z)
        off = math.log(over / due) if over > 0 else math.inf
        low, high = (z, high) if over > due else (low, z)
        if abs(off) <= 1e-11 or high - low < 1e-11:
            break
        step = low
        if over > 0 and density > 0:
            bend = 1 + 0.5 * off * (1 + slope * over / density**2)
            step = z + off * over / density / bend if bend > 0.5 else low
        if not low < step < high:
            z = (low + high) / 2
        elif abs(off) < LAST_STEP:
            return step, due
        else:
            z = step
    return z, over


def _normal(at: Vector) -> Vector:
    density: Vector = np.exp(-0.5 * at * at) / ROOT_OF_CIRCLE
    return density


def _nominal(z: float) -> float:
    return 2 * ndtr(-z)


def _step(rho: float | None) -> float | None:
    return None if rho is None or not rho > FAINTEST else min(rho, CLOSEST)


@lru_cache(maxsize=1)
def _rule() -> tuple[Vector, Vector]:
    at, weight = np.polynomial.legendre.leggauss(NODES)
    return at, weight


def _checked(fractions: Sequence[float], alpha: float, correlations: Sequence[float | None] | None) -> None:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha {alpha} must lie between 0 and 1")
    if not len(fractions) or not all(
        early < late for early, late in zip((0.0, *fractions), fractions, strict=False)
    ):
        raise ValueError(f"fractions must increase from above zero, not {tuple(fractions)}")
    if correlations is not None and len(correlations) != len(fractions) - 1:
        raise ValueError(
            f"{len(fractions)} looks have {len(fractions) - 1} successive correlations, not {len(correlations)}"
        )
