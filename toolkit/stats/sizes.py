"""Which numbers can be computed with: a statistic multiplies them several times, and a double ends at 1e308."""

from __future__ import annotations

import math

from toolkit.design.experiment import Experiment
from toolkit.design.metrics import Term
from toolkit.errors import DataError
from toolkit.stats.readings import Readings

__all__ = ["refuse_unfit", "unfit"]

SMALLEST, LARGEST = 1e-50, 1e50
"""Six of such numbers can be multiplied."""


def unfit(mean: float, spread: float) -> str | None:
    """Return why nothing can be computed from numbers of that mean and standard deviation, None where it can."""
    size = max(abs(mean), spread)
    if size == 0 or SMALLEST <= size <= LARGEST:
        return None
    limit = f"below {SMALLEST:g}" if size < SMALLEST else f"beyond {LARGEST:g}"
    return f"numbers {limit} cannot be computed with: give them in another unit"


def refuse_unfit(experiment: Experiment, readings: Readings) -> None:
    """Refuse numbers of a size that cannot be computed with.

    Raises:
        DataError: a metric's, a covariate's or the orders' numbers are too large or too small.
    """
    named: dict[str, str] = {}
    for metric in experiment.metrics:
        named |= zip(readings.terms[metric.name], map(_source, metric.terms), strict=True)
        named |= {column: f"covariate `{name}`" for name, column in readings.covariates[metric.name]}
    if readings.worth:
        named.setdefault(readings.worth[0], "the orders' amount")
    for arm, moments in readings.moments.items():
        for column, name in named.items():
            at = readings.columns.index(column)
            mean, squares = float(moments.mean[at]), float(moments.products[at, at])
            why = unfit(mean, math.sqrt(squares / moments.n)) if moments.n else None
            if why:
                raise DataError(f"{name} in {arm}: {why}")


def _source(term: Term) -> str:
    if term.column:
        return f"column `{term.column}`"
    return f"`{term.value}` of event `{term.event}`" if term.value else f"event `{term.event}`"
