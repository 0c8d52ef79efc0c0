"""Centred moments of several numbers per customer: all that the statistics need to know of rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["Moments"]

Vector = NDArray[np.float64]

ROUNDING = 1e-12
"""So small a part of what a variance is the sum of is what rounding leaves where the parts cancel out."""


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """What is known of `n` customers with `d` numbers each.

    Attributes:
        n: customers.
        mean: shape (d,), in the numbers' own units.
        products: shape (d, d), centred: Σ (x − mean)(x − mean)ᵀ.
        cubes: shape (d,), centred: Σ (x − mean)³.
    """

    n: int
    mean: Vector
    products: Vector
    cubes: Vector

    @classmethod
    def of(cls, rows: Vector) -> Moments:
        """Return the moments of `rows`, shape (n, d)."""
        rows = np.asarray(rows, dtype=float)
        if len(rows) == 0:
            return cls.none(rows.shape[1])
        mean = rows.mean(axis=0)
        off = rows - mean
        return cls(len(rows), mean, off.T @ off, (off**3).sum(axis=0))

    @classmethod
    def none(cls, width: int) -> Moments:
        """Return the moments of no customers, with `width` numbers each."""
        return cls(0, np.zeros(width), np.zeros((width, width)), np.zeros(width))

    @classmethod
    def silent(cls, n: int, width: int) -> Moments:
        """Return the moments of `n` customers whose numbers are all zero."""
        return replace(cls.none(width), n=n)

    def __add__(self, other: Moments) -> Moments:
        """Return the moments of both groups together.

        Exact for centred moments: Chan, Golub & LeVeque (1983) for products, Pébay (2008, eq. 3.1) for cubes.
        """
        if self.n == 0 or other.n == 0:
            return self if other.n == 0 else other
        n = self.n + other.n
        gap = other.mean - self.mean
        a, b = self.n / n, other.n / n
        mine, theirs = np.diag(self.products), np.diag(other.products)
        return Moments(
            n,
            self.mean + gap * b,
            self.products + other.products + np.outer(gap, gap) * (self.n * b),
            self.cubes + other.cubes + gap**3 * (self.n * b * (a - b)) + 3 * gap * (a * theirs - b * mine),
        )

    def with_silent(self, customers: int) -> Moments:
        """Return the moments of `customers` in all, of whom those not yet counted are all zero.

        Raises:
            ValueError: more are counted already.
        """
        if customers < self.n:
            raise ValueError(f"{self.n} customers are counted already; {customers} cannot be the total")
        return self + Moments.silent(customers - self.n, len(self.mean))

    @property
    def covariance(self) -> Vector:
        """Return the sample covariance, shape (d, d), with divisor n − 1; needs n ≥ 2."""
        return self.products / (self.n - 1)

    def variance_of(self, weights: Vector) -> float:
        """Return the sample variance of the combination Σ weightsᵢ xᵢ; zero where it is the same for everybody."""
        parts = self.covariance * np.outer(weights, weights)
        total = float(parts.sum())
        return 0.0 if total < ROUNDING * float(np.abs(parts).sum()) else total
