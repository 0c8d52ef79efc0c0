"""What the data said of an experiment, as values: customers, moments, caps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from toolkit.stats.estimate import Group
from toolkit.stats.moments import Moments

__all__ = ["Cap", "Readings"]


@dataclass(frozen=True, slots=True)
class Cap:
    """A pooled quantile above which a customer counts as that value.

    `covariates` are the metric's look-back columns, capped at the same quantile of their own: column → (capped
    column, value).
    """

    quantile: float
    value: float
    above: int
    covariates: Mapping[str, tuple[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Readings:
    """What the data said, as values.

    Attributes:
        customers: arm → customers assigned.
        columns: names of the numbers per customer, in the moments' order.
        moments: arm → moments of `columns`.
        active: arm → column → customers for whom it is not zero.
        terms: metric → its one or two columns.
        covariates: metric → (name, column) pairs.
        caps: metric → cap; its capped column is `c_<metric>`.
        hc2: (block, metric, arm) → the adjusted mean's HC2 variance and third cumulant.
        breakdowns: (breakdown, level) → arm → moments of `columns`.
        breakdowns_active: (breakdown, level) → arm → column → customers for whom it is not zero.
        largest: arm → column of a value → its largest value, and customers above zero.
        worth: the columns of revenue and orders per customer, where they were asked for.
        waiting: metric → why its cap cannot be taken yet, in words: it is measured without, and not to be trusted.
        exposed: arm → customers exposed, and per column the sum over them; None where exposures are not kept.
    """

    customers: Mapping[str, int]
    columns: Sequence[str]
    moments: Mapping[str, Moments]
    active: Mapping[str, Mapping[str, int]]
    terms: Mapping[str, tuple[str, ...]]
    covariates: Mapping[str, tuple[tuple[str, str], ...]]
    caps: Mapping[str, Cap] = field(default_factory=dict)
    hc2: Mapping[tuple[str, str, str], tuple[float, float]] = field(default_factory=dict)
    breakdowns: Mapping[tuple[str, str], Mapping[str, Moments]] = field(default_factory=dict)
    breakdowns_active: Mapping[tuple[str, str], Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    largest: Mapping[str, Mapping[str, tuple[float, int]]] = field(default_factory=dict)
    worth: tuple[str, str] | None = None
    waiting: Mapping[str, str] = field(default_factory=dict)
    exposed: Mapping[str, tuple[int, Mapping[str, float]]] | None = None

    def of(self, arm: str, columns: Sequence[str]) -> Moments:
        """Return the arm's moments of `columns` alone, in their order."""
        moments, places = self.moments[arm], [self.columns.index(name) for name in columns]
        return Moments(
            moments.n, moments.mean[places], moments.products[np.ix_(places, places)], moments.cubes[places]
        )

    def pooled(self, columns: Sequence[str]) -> Moments:
        """Return the moments of `columns` over all arms."""
        total = Moments.none(len(columns))
        for arm in self.moments:
            total += self.of(arm, columns)
        return total

    def mean_of(self, arm: str, column: str) -> Group:
        """Return the mean of one column in an arm, with its variance and third cumulant."""
        moments = self.of(arm, (column,))
        n = moments.n
        return Group(
            n, float(moments.mean[0]), float(moments.covariance[0, 0]) / n, float(moments.cubes[0]) / n**3
        )
