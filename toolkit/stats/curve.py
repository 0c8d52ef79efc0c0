"""The cumulative curve: what every weekly look said, from sums that grow from look to look.

Σ over customers of S² grows by 2·S·x + x² with each x that comes on a running sum S, so one pass gives all looks;
the same sums say how looks correlate, which is what a boundary for many looks needs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise

import numpy as np

from toolkit.stats.distributions import ndtri
from toolkit.stats.estimate import Estimate, Group, difference
from toolkit.stats.moments import Vector

__all__ = ["ArmLook", "Look", "Point", "Schedule", "Trace", "trace_of"]


@dataclass(frozen=True, slots=True, eq=False)
class ArmLook:
    """One arm at one look, as sums over its customers assigned until then.

    Attributes:
        n: customers.
        first: shape (d,): Σ S, of the metric's one or two numbers.
        second: shape (d, d): Σ S Sᵀ.
        cross: shape (d, d): Σ S₋ Sᵀ, with S₋ the same customer's numbers at the look before.
        kept: shape (d,): Σ S over those who were there at the look before.
    """

    n: int
    first: Vector
    second: Vector
    cross: Vector
    kept: Vector


@dataclass(frozen=True, slots=True)
class Look:
    """A date at whose end was looked, and how much of the plan had passed; 1 at its end."""

    on: date
    fraction: float


@dataclass(frozen=True, slots=True)
class Point:
    """What a look said of a metric: `estimate` at the level of a single look, `sequential` at that of its boundary.

    `boundary` is how many standard errors from zero decide at this look; None where the look does not decide.
    """

    on: date
    customers: dict[str, int]
    means: dict[str, float]
    estimate: Estimate
    sequential: Estimate | None
    boundary: float | None


@dataclass(frozen=True, slots=True)
class Spread:
    """How far chance moves the estimate of a look.

    Attributes:
        variance: its own.
        shared: its covariance with the estimate of the look before; None where that is not known.
        size, size_shared: of these two, what covariates that explain it take away, up to one factor for all looks.
    """

    variance: float
    shared: float | None
    size: float
    size_shared: float


@dataclass(frozen=True, slots=True)
class Trace:
    """All looks at one metric in one arm, oldest first.

    Attributes:
        points: looks from which something could be computed.
        spreads: of each of them.
        taken: which of them decide: their places.
        fractions: of those that decide, as `planned_boundaries` takes them.
    """

    points: tuple[Point, ...]
    spreads: tuple[Spread, ...]
    taken: tuple[int, ...]
    fractions: tuple[float, ...]

    @property
    def correlations(self) -> tuple[float | None, ...]:
        """Return those of successive looks that decide, as `planned_boundaries` takes them."""
        return self.correlations_left(0.0)

    def correlations_left(self, explained: float) -> tuple[float | None, ...]:
        """Return the correlations where covariates explain such a share of the last look's variance.

        Adjustment takes away what lasts, and what is left of looks correlates less. Covariates that tell customers'
        rates explain each look in proportion to its mean: with β_v = c · mean_v they take from Cov(D_v, D_w) the
        variance of c X times mean_v / n_w times the later mean of who was there at v, added over arms. The one factor
        is what they explain of the last look; where its mean is zero, nothing is known. Never more than without covariates.
        """
        factor = 0.0
        if explained > 0 and self.spreads:
            last = self.spreads[-1]
            if last.size == 0:
                return (None,) * (len(self.taken) - 1)
            factor = explained * last.variance / last.size
        found: list[float | None] = [None]
        for before, now in pairwise(self.spreads):
            left = [each.variance - factor * each.size for each in (before, now)]
            if now.shared is None or min(left) <= 0:
                found.append(None)
                continue
            rho = (now.shared - factor * now.size_shared) / math.sqrt(left[0] * left[1])
            found.append(min(rho, now.shared / math.sqrt(before.variance * now.variance)))
        return tuple(_product(found[before + 1 : at + 1]) for before, at in pairwise(self.taken))


@dataclass(frozen=True, slots=True)
class Schedule:
    """Which look this is, of how many, and what earlier ones take from what may be claimed now.

    Attributes:
        looks: all looks until now, the present one last; empty where the only look is this one.
        total: looks that the plan has in all.
        traces: (metric, arm) → its looks; without one, looks may depend on each other in any way.
        always_on: looks have no planned end.
        alpha: the experiment's, for which looks without an end are sharpest.
        ended_on: the look that ended the plan, where the present one comes a look or more after it.
        growing: the metrics whose numbers went on growing after that one, which have looks beyond the plan's.
    """

    looks: tuple[Look, ...]
    total: int
    traces: Mapping[tuple[str, str], Trace]
    always_on: bool = False
    alpha: float = 0.05
    ended_on: date | None = None
    growing: tuple[str, ...] = ()

    @classmethod
    def single(cls) -> Schedule:
        """Return the schedule of one look alone."""
        return cls((), 1, {})

    def _path(
        self, metric: str, arm: str, explained: float
    ) -> tuple[tuple[float, ...], tuple[float | None, ...] | None]:
        trace = self.traces.get((metric, arm))
        if trace and trace.points and trace.points[-1].on == self.looks[-1].on:
            return trace.fractions, trace.correlations_left(explained)
        return tuple(look.fraction for look in self.looks), None

    def nominal(self, metric: str, arm: str, alpha: float, *, explained: float = 0.0) -> float:
        """Return the alpha at which an interval is to be computed now, so that all looks together keep `alpha`.

        `explained` is the share of the estimate's variance that covariates took away.
        """
        if not self.looks:
            return alpha
        fractions, correlations = self._path(metric, arm, explained)
        given = correlations if correlations is not None else (None,) * (len(fractions) - 1)
        boundaries = _boundaries(
            fractions,
            given,
            alpha,
            planned=not self.always_on,
            always_on=self.always_on,
            tuned_for=self.alpha,
        )
        last = boundaries[-1]
        return last[1] if last else TINIEST

    def p_value(
        self, metric: str, arm: str, p_value: float | None, *, explained: float = 0.0
    ) -> float | None:
        """Return the p-value that holds at all looks together, from that of this look alone.

        It is below any alpha where the interval at `nominal` of that alpha excludes zero, and nowhere else.
        """
        if not self.looks or p_value is None:
            return p_value
        from toolkit.stats.sequential import (
            always_on_p_value,
            always_on_times,
            late_p_value,
            late_times,
            planned_p_value,
        )

        z = equivalent_z(p_value)
        fractions, correlations = self._path(metric, arm, explained)
        given = correlations if correlations is not None else (None,) * (len(fractions) - 1)
        if self.always_on:
            time = always_on_times(fractions, given)[-1]
            if time is None:
                return p_value if p_value < TINIEST else 1.0
            return always_on_p_value(z, time, self.alpha)
        ended = _ended(fractions)
        if ended < len(fractions) - 1:
            return late_p_value(z, late_times(fractions[ended:], given[ended:])[-1], self.alpha)
        return planned_p_value(z, fractions, correlations)


ROUNDING = 1e-12
"""So small a part of the sum of squares is what rounding leaves where all customers have one value."""
TINIEST = 1e-15
"""The alpha of an interval where nothing may be claimed."""


def trace_of(
    looks: Sequence[Look],
    sums: Sequence[Mapping[str, ArmLook]],
    arm: str,
    control: str,
    *,
    alpha: float,
    planned: bool = True,
    always_on: bool = False,
    counted: Sequence[bool] | None = None,
) -> Trace:
    """Return every look at `arm` against `control`.

    A look at which an arm has too few customers, or nothing varies, is left out; the next one then is compared
    with what may depend on it in any way. With `planned` each look has the boundary of a plan that ends at
    fraction 1, and later ones that of looks after a plan's end; with `always_on` all have that of looks without end.
    Looks that are not `counted` (all are, if not given) are shown without a boundary, and take nothing from the
    others; across them correlations are multiplied.
    """
    rows: list[_Row] = []
    for at, (look, by_arm) in enumerate(zip(looks, sums, strict=True)):
        groups = {name: _group(by_arm[name]) for name in (arm, control)}
        found = {name: each for name, each in groups.items() if each is not None}
        if len(found) < 2 or not any(group.variance for group, _ in found.values()):
            continue
        before = rows[-1] if rows and rows[-1].place == at - 1 else None
        rows.append(_Row(at, look, found, _spread(before, sums[at - 1] if before else {}, by_arm, found)))
    taken = tuple(at for at, row in enumerate(rows) if counted is None or counted[row.place])
    fractions = tuple(rows[at].look.fraction for at in taken)
    trace = Trace((), tuple(row.spread for row in rows), taken, fractions)
    found_of = _boundaries(
        fractions, trace.correlations, alpha, planned=planned, always_on=always_on, tuned_for=alpha
    )
    boundaries = dict(zip(taken, found_of, strict=True))
    points = []
    for at, row in enumerate(rows):
        (treated, _), (held, _) = row.found[arm], row.found[control]
        boundary = boundaries.get(at)
        points.append(
            Point(
                row.look.on,
                {arm: treated.n, control: held.n},
                {arm: treated.mean, control: held.mean},
                difference(treated, held, alpha),
                difference(treated, held, boundary[1]) if boundary else None,
                boundary[0] if boundary else None,
            )
        )
    return replace(trace, points=tuple(points))


@dataclass(frozen=True, slots=True)
class _Row:
    """A look from which something could be computed."""

    place: int
    look: Look
    found: dict[str, tuple[Group, Vector]]
    spread: Spread


def _spread(
    before: _Row | None,
    sums: Mapping[str, ArmLook],
    by_arm: Mapping[str, ArmLook],
    found: Mapping[str, tuple[Group, Vector]],
) -> Spread:
    """Return a look's spread; `sums` and `by_arm` are those of the look before, and its own."""
    variance = sum(group.variance for group, _ in found.values())
    size = sum(
        _scale(weights) ** 2 * _level(by_arm[name]) ** 2 / by_arm[name].n
        for name, (_, weights) in found.items()
    )
    if before is None:
        return Spread(variance, None, size, 0.0)
    shared = size_shared = 0.0
    for name, (_, later) in found.items():
        then, now, earlier = sums[name], by_arm[name], before.found[name][1]
        shared += _shared(then, now, earlier, later)
        kept = _scale(later) * float(now.kept[-1]) / then.n
        size_shared += _scale(earlier) * _level(then) * kept / now.n
    return Spread(variance, shared, size, size_shared)


def _level(sums: ArmLook) -> float:
    """Return the mean of what covariates are taken to explain in proportion: the number, or a ratio's denominator."""
    return float(sums.first[-1]) / sums.n


def _scale(weights: Vector) -> float:
    """Return what a mean of 1 weighs in the estimate: 1, or in a ratio one over the mean of its denominator."""
    return float(weights[0])


def _product(correlations: Iterable[float | None]) -> float | None:
    product = 1.0
    for rho in correlations:
        if rho is None or rho <= 0:
            return None
        product *= rho
    return product


def _boundaries(
    fractions: Sequence[float],
    correlations: Sequence[float | None],
    alpha: float,
    *,
    planned: bool,
    always_on: bool,
    tuned_for: float,
) -> list[tuple[float, float] | None]:
    """Return each look's (z, nominal alpha), None where it has none."""
    if not fractions or not (planned or always_on):
        return [None] * len(fractions)
    from toolkit.stats.sequential import (
        always_on_boundary,
        always_on_times,
        late_boundary,
        late_times,
        planned_boundaries,
    )

    if always_on:
        times = always_on_times(fractions, correlations)
        found = [always_on_boundary(time, alpha, tuned_for=tuned_for) if time else None for time in times]
    else:
        ended = _ended(fractions)
        found = list(planned_boundaries(fractions, alpha, correlations))[: ended + 1]
        late = late_times(fractions[ended:], correlations[ended:])[1:]
        found += [late_boundary(time, alpha, tuned_for=tuned_for) for time in late]
    return [(each.z, each.nominal_alpha) if each else None for each in found]


def _ended(fractions: Sequence[float]) -> int:
    """Return the place of the look that ended the plan, or of the last one before."""
    return next((at for at, fraction in enumerate(fractions) if fraction >= 1), len(fractions) - 1)


def _group(sums: ArmLook) -> tuple[Group, Vector] | None:
    """Return the arm's mean (or ratio) with its variance, and the weights that make it linear; None if it can't be."""
    n, width = sums.n, len(sums.first)
    if n < 2:
        return None
    mean = sums.first / n
    if width == 1:
        value, weights = float(mean[0]), np.ones(1)
    elif mean[1] == 0:
        return None
    else:
        value = float(mean[0] / mean[1])
        weights = np.array([1.0, -value]) / mean[1]
    products = sums.second - n * np.outer(mean, mean)
    spread, whole = float(weights @ products @ weights), float(abs(weights) @ abs(sums.second) @ abs(weights))
    variance = spread / (n - 1) / n if spread > ROUNDING * whole else 0.0
    return Group(n, value, variance), weights


def _shared(before: ArmLook, now: ArmLook, earlier: Vector, later: Vector) -> float:
    """Return the covariance of an arm's estimates at two successive looks.

    Σ (S₋ − mean₋) Sᵀ / (n₋ n) over those who were there at the first of them (`toolkit/stats/sequential.py`), with
    n₋ − 1 for n₋ as in the variances: looks that say the same correlate at 1.
    """
    products = now.cross - np.outer(before.first / before.n, now.kept)
    return float(earlier @ products @ later) / ((before.n - 1) * now.n)


def equivalent_z(p_value: float) -> float:
    """Return the standard normal deviate with the two-sided `p_value`."""
    return 0.0 if p_value >= 1 else -ndtri(max(p_value, 1e-300) / 2)
