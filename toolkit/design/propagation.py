"""How long it took until a trait that was due could be served, beside how old the contract lets it be."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Propagation", "propagation_of"]


@dataclass(frozen=True, slots=True)
class Propagation:
    """Seconds from the moment a trait was due (assignment, escalation) until it was read back.

    Attributes:
        customers: how many got the trait and were read back.
        p50_seconds, p95_seconds: half of them, and 95 in 100, waited at most so long; None where there are none.
        late: how many waited longer than `max_age_seconds`, those included who still wait.
        waiting: how many still wait.
        max_age_seconds: how old the contract lets the trait be.
    """

    trait: str
    customers: int
    p50_seconds: float | None
    p95_seconds: float | None
    late: int
    waiting: int
    max_age_seconds: float


def propagation_of(
    trait: str, seconds: Sequence[float], *, waiting: Sequence[float] = (), max_age_seconds: float
) -> Propagation:
    """Return how fast a trait got through.

    Args:
        trait: its name.
        seconds: per customer, from due to read back.
        waiting: per customer who was not read back yet, how long the trait has been due.
        max_age_seconds: what the contract allows.
    """
    middle, most = _quantiles(seconds)
    late = sum(each > max_age_seconds for group in (seconds, waiting) for each in group)
    return Propagation(trait, len(seconds), middle, most, late, len(waiting), max_age_seconds)


def _quantiles(seconds: Sequence[float]) -> tuple[float | None, float | None]:
    """Return the median and the 95th percentile, linear between neighbours."""
    if len(seconds) < 2:
        only = seconds[0] if seconds else None
        return only, only
    twentieths = statistics.quantiles(seconds, n=20, method="inclusive")
    return twentieths[9], twentieths[18]
