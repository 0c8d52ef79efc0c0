"""Which covariates adjust which numbers, and the regressions on them."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.design.experiment import Experiment
from toolkit.design.metrics import Metric
from toolkit.stats.adjust import ArmRegression, fit, outcome_of, usable
from toolkit.stats.readings import Readings
from toolkit.stats.sizes import refuse_unfit

__all__ = ["covariates_of", "pairs_of", "regressions_of", "ways_of"]


def regressions_of(
    experiment: Experiment, readings: Readings
) -> dict[tuple[str, str, str], tuple[tuple[str, ...], ArmRegression]]:
    """Return (block, metric, arm) → columns and regression, for the pass that sums HC2 residuals.

    A metric is there with all its arms or not at all.

    Raises:
        DataError: numbers are too large or too small to compute with.
    """
    refuse_unfit(experiment, readings)
    found: dict[tuple[str, str, str], tuple[tuple[str, ...], ArmRegression]] = {}
    for metric in experiment.metrics:
        if not readings.covariates[metric.name]:
            continue
        for _, block, terms in ways_of(metric, readings):
            columns, kept, _ = covariates_of(experiment, readings, metric, terms)
            if not kept:
                continue
            pooled = readings.pooled(columns)
            fits = {}
            for arm in experiment.arms:
                moments = readings.of(arm, columns)
                outcome = outcome_of(moments, len(terms)) if moments.n else None
                regression = outcome and fit(moments, outcome, kept, pooled.mean[kept])
                if regression:
                    fits[block, metric.name, arm] = (columns, regression)
            if len(fits) == len(experiment.arms):
                found.update(fits)
    return found


def ways_of(metric: Metric, readings: Readings) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return (plain block, adjusted block, outcome columns): as measured, and capped where there is a cap."""
    terms = readings.terms[metric.name]
    ways: list[tuple[str, str, tuple[str, ...]]] = [("raw", "adjusted", terms)]
    if metric.name in readings.caps:
        ways.append(("capped", "capped_adjusted", (f"c_{metric.name}",)))
    return ways


def pairs_of(readings: Readings, metric: Metric, terms: Sequence[str]) -> list[tuple[str, str]]:
    """Return (covariate, column) pairs; a capped outcome is adjusted by its look-back capped likewise."""
    cap = readings.caps.get(metric.name)
    capped = cap.covariates if cap and terms[0].startswith("c_") else {}
    return [
        (name, capped[column][0] if column in capped else column)
        for name, column in readings.covariates[metric.name]
    ]


def covariates_of(
    experiment: Experiment, readings: Readings, metric: Metric, terms: Sequence[str]
) -> tuple[tuple[str, ...], list[int], list[str]]:
    """Return columns (terms first), the places of usable covariates, and what was left out and why."""
    pairs = pairs_of(readings, metric, terms)
    columns = (*terms, *(column for _, column in pairs))
    places = list(range(len(terms), len(columns)))
    kept = usable(readings.pooled(columns), places)
    for arm in experiment.arms:  # what is constant in one arm cannot be adjusted for there
        kept = [place for place in kept if place in usable(readings.of(arm, columns), kept)]
    dropped = [
        f"{name} does not vary, or says no more than the other covariates"
        for place, (name, _) in zip(places, pairs, strict=True)
        if place not in kept
    ]
    return columns, kept, dropped
