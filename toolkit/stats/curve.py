"""The cumulative curve: what every weekly look said, from sums that grow from look to look.

Σ over customers of S² grows by 2·S·x + x² with each x that comes on a running sum S, so one pass gives all looks;
the same sums say how looks correlate, which is what a boundary for many looks needs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
class Trace:
    """All looks at one metric in one arm, oldest first.

    Attributes:
        points: looks from which something could be computed.
        fractions, correlations: of those looks, as `planned_boundaries` takes them.
    """

    points: tuple[Point, ...]
    fractions: tuple[float, ...]
    correlations: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Which look this is, of how many, and what earlier ones take from what may be claimed now.

    Attributes:
        looks: all looks until now, the present one last; empty where the only look is this one.
        total: looks that the plan has in all.
        traces: (metric, arm) → its looks; without one, looks may depend on each other in any way.
        always_on: looks have no planned end.
    """

    looks: tuple[Look, ...]
    total: int
    traces: Mapping[tuple[str, str], Trace]
    always_on: bool = False

    @classmethod
    def single(cls) -> Schedule:
        """Return the schedule of one look alone."""
        return cls((), 1, {})

    def _path(self, metric: str, arm: str) -> tuple[tuple[float, ...], tuple[float | None, ...] | None]:
        trace = self.traces.get((metric, arm))
        if trace and trace.points and trace.points[-1].on == self.looks[-1].on:
            return trace.fractions, trace.correlations
        return tuple(look.fraction for look in self.looks), None

    def nominal(self, metric: str, arm: str, alpha: float) -> float:
        """Return the alpha at which an interval is to be computed now, so that all looks together keep `alpha`."""
        if not self.looks:
            return alpha
        fractions, correlations = self._path(metric, arm)
        given = correlations if correlations is not None else (None,) * (len(fractions) - 1)
        boundaries = _boundaries(
            fractions, given, alpha, planned=not self.always_on, always_on=self.always_on
        )
        last = boundaries[-1]
        return last[1] if last else TINIEST

    def p_value(self, metric: str, arm: str, p_value: float | None) -> float | None:
        """Return the p-value that holds at all looks together, from that of this look alone."""
        if not self.looks or p_value is None:
            return p_value
        from toolkit.stats.sequential import always_on_p_value, always_on_times, planned_p_value

        z = equivalent_z(p_value)
        fractions, correlations = self._path(metric, arm)
        if self.always_on:
            given = correlations if correlations is not None else (None,) * (len(fractions) - 1)
            time = always_on_times(fractions, given)[-1]
            return always_on_p_value(z, time, TUNED_FOR) if time else 1.0
        return planned_p_value(z, fractions, correlations)


ROUNDING = 1e-12
"""So small a part of the sum of squares is what rounding leaves where all customers have one value."""
TINIEST = 1e-15
"""The alpha of an interval where nothing may be claimed."""
TUNED_FOR = 0.05
"""The alpha for which always-on p-values are sharpest."""


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
    fraction 1, with `always_on` that of looks without end. Looks that are not `counted` (all are, if not given)
    are shown without a boundary, and take nothing from the others; across them correlations are multiplied.
    """
    rows: list[_Row] = []
    for at, (look, by_arm) in enumerate(zip(looks, sums, strict=True)):
        groups = {name: _group(by_arm[name]) for name in (arm, control)}
        found = {name: each for name, each in groups.items() if each is not None}
        if len(found) < 2 or not any(group.variance for group, _ in found.values()):
            continue
        se = math.sqrt(sum(group.variance for group, _ in found.values()))
        rho = None
        if rows and rows[-1].place == at - 1:
            shared = sum(
                _shared(sums[at - 1][name], by_arm[name], rows[-1].found[name][1], found[name][1])
                for name in found
            )
            rho = shared / (se * rows[-1].se)
        rows.append(_Row(at, look, found, se, rho))
    taken = [at for at, row in enumerate(rows) if counted is None or counted[row.place]]
    fractions = tuple(rows[at].look.fraction for at in taken)
    correlations = tuple(
        _product(row.rho for row in rows[before + 1 : at + 1]) for before, at in pairwise(taken)
    )
    found_of = _boundaries(fractions, correlations, alpha, planned=planned, always_on=always_on)
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
    return Trace(tuple(points), fractions, correlations)


@dataclass(frozen=True, slots=True)
class _Row:
    """A look from which something could be computed; `rho` is its correlation with the row before it."""

    place: int
    look: Look
    found: dict[str, tuple[Group, Vector]]
    se: float
    rho: float | None


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
) -> list[tuple[float, float] | None]:
    """Return each look's (z, nominal alpha), None where it has none."""
    if not fractions or not (planned or always_on):
        return [None] * len(fractions)
    from toolkit.stats.sequential import always_on_boundary, always_on_times, planned_boundaries

    if always_on:
        times = always_on_times(fractions, correlations)
        found = [always_on_boundary(time, alpha) if time else None for time in times]
    else:
        found = list(planned_boundaries(fractions, alpha, correlations))
    return [(each.z, each.nominal_alpha) if each else None for each in found]


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
