"""All that a look at an experiment needs of the data: capped and summed, in as few passes as can be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from toolkit.design.experiment import Experiment
from toolkit.design.metrics import Mean
from toolkit.lake.aggregate import Summed, Sums, cap_of, capped, centres_of, literal
from toolkit.lake.engine import Engine
from toolkit.lake.outcomes import Evidence
from toolkit.lake.residuals import residual_sums
from toolkit.lake.unit import Needs
from toolkit.stats.covariates import regressions_of
from toolkit.stats.moments import Moments
from toolkit.stats.readings import Cap, Readings
from toolkit.stats.skew import cap_for

__all__ = ["read"]


HIGHEST_CAP = 0.999
"""The cap where an arm is empty, and nothing can be compared anyway."""
SAMPLED = 20_000
"""Rows that centres and ratios are taken from at first; where that was too few, from all."""
SHIFT = 0.03
"""What another ratio may change a customer's linear number by, in standard deviations of those numbers."""


def read(con: Engine, experiment: Experiment, evidence: Evidence) -> Readings:
    """Return the readings of `unit`, which `gather` made.

    One pass, on the assumption that the first rows tell where the columns lie, and that every attribute is
    known for everybody; where that was wrong, once more with what is known then.

    Raises:
        DataError: a file holds rows that cannot be used.
    """
    needs, customers, arms = evidence.needs, evidence.customers, list(experiment.arms)
    # what is added up from events lies around zero, where most customers are: only given columns need a centre
    given = [each.name for each in needs.columns if each.attribute or (each.term and each.term.column)]
    caps, waiting = _caps(con, experiment, evidence)
    rated = [name for terms in needs.terms.values() if len(terms) > 1 for name in terms]
    means = centres_of(con, list(dict.fromkeys([*given, *rated])), rows=SAMPLED)
    centres = {name: means[name] for name in given}
    sums = _sums(experiment, needs, caps, centres, means, unknown=frozenset())
    by_arm = sums.by_arm(con, arms, customers)
    if evidence.unsettled and not all(_sound(found) for found in by_arm.values()):
        evidence.unsettled.settle()
    unknown = frozenset(
        name for name in sums.attributes if any(found.known[name] < found.rows for found in by_arm.values())
    )
    ratios = {metric: terms for metric, terms in needs.terms.items() if len(terms) > 1}
    pooled = _pooled(sums, by_arm, rated)
    if unknown or sums.far_off(by_arm.values()) or _moved(sums, by_arm, ratios, means, pooled):
        needs, means = needs.with_missing(sorted(unknown)), pooled
        sums = _sums(experiment, needs, caps, centres_of(con, given), means, unknown=unknown)
        by_arm = sums.by_arm(con, arms, customers)
    by_level = sums.by_level(con, arms, experiment.analysis.breakdowns)
    readings = Readings(
        dict(customers),
        list(sums.columns),
        {arm: found.moments for arm, found in by_arm.items()},
        {arm: found.active for arm, found in by_arm.items()},
        needs.terms,
        needs.covariates,
        caps,
        breakdowns={level: _moments(found) for level, found in by_level.items()},
        breakdowns_active={
            level: {arm: each.active for arm, each in found.items()} for level, found in by_level.items()
        },
        largest={arm: found.largest for arm, found in by_arm.items()},
        worth=needs.worth,
        waiting=waiting,
    )
    fits = regressions_of(experiment, readings)
    return replace(readings, hc2=residual_sums(con, arms, sums, by_arm, fits))


def _sound(found: Summed) -> bool:
    return bool(np.isfinite(found.moments.mean).all())


def _sums(
    experiment: Experiment,
    needs: Needs,
    caps: Mapping[str, Cap],
    centres: Mapping[str, float],
    means: Mapping[str, float],
    *,
    unknown: frozenset[str],
) -> Sums:
    # who is not known stands at the mean of those who are: anywhere else a column would mostly tell who is known
    columns = {
        each.name: f"coalesce({each.name}, {literal(centres[each.name])})"
        if each.name in unknown
        else each.name
        for each in needs.columns
    }
    columns |= {
        each.name: f"CASE WHEN {each.name.removesuffix('_missing')} IS NULL THEN 1 ELSE 0 END"
        for each in needs.columns
        if each.missing
    }
    centres = dict(centres)
    for name, cap in caps.items():
        column = needs.terms[name][0]
        columns[f"c_{name}"] = capped(column, cap.value)
        if column in centres:
            centres[f"c_{name}"] = min(centres[column], cap.value)
        for looked, (own, most) in cap.covariates.items():
            columns[own] = capped(looked, most)
    for name, (numerator, *rest) in needs.terms.items():
        if rest:  # a ratio as one linear number per customer, for its shape
            columns[f"r_{name}"] = f"{numerator} - {literal(_ratio(means, numerator, rest[0]))} * {rest[0]}"
    outcomes = [each.name for each in needs.counted if not each.lookback] + [f"c_{name}" for name in caps]
    shares = {
        each.name for each in needs.counted if each.term and each.term.how == "any" and not each.lookback
    }
    valued = [needs.terms[each.name][0] for each in experiment.metrics if each.kind == "mean"]
    return Sums(
        columns,
        centres,
        _pairs(list(columns), needs, caps),
        tuple(outcomes),
        frozenset(shares & set(outcomes)),
        tuple(each.name for each in needs.attributes if each.name not in unknown),
        tuple(valued[:1]),
    )


def _ratio(means: Mapping[str, float], numerator: str, denominator: str) -> float:
    return means[numerator] / means[denominator] if means[denominator] else 0.0


def _pooled(sums: Sums, by_arm: Mapping[str, Summed], names: Sequence[str]) -> dict[str, float]:
    """Return the mean of each of `names` over the customers of all arms."""
    customers = max(sum(found.moments.n for found in by_arm.values()), 1)
    totals = np.sum([found.moments.n * found.moments.mean for found in by_arm.values()], axis=0)
    return {name: float(totals[at]) / customers for at, name in enumerate(sums.columns) if name in names}


def _moved(
    sums: Sums,
    by_arm: Mapping[str, Summed],
    ratios: Mapping[str, Sequence[str]],
    means: Mapping[str, float],
    pooled: Mapping[str, float],
) -> bool:
    """Return whether a pooled ratio is so far from the one that was assumed that it shows in the shape.

    That is, in what the customers' linear numbers would change by, against how they vary themselves.
    """
    columns = list(sums.columns)
    for metric, (numerator, denominator) in ratios.items():
        off = abs(_ratio(pooled, numerator, denominator) - _ratio(means, numerator, denominator))
        for found in by_arm.values():
            spread = np.sqrt(np.diag(found.moments.products))
            change = off * float(spread[columns.index(denominator)])
            own, rounding = spread[columns.index(f"r_{metric}")], spread[columns.index(numerator)] * 1e-9
            if change > SHIFT * float(own) + float(rounding):
                return True
    return False


def _moments(found: Mapping[str, Summed]) -> dict[str, Moments]:
    return {arm: each.moments for arm, each in found.items()}


def _caps(con: Engine, experiment: Experiment, evidence: Evidence) -> tuple[dict[str, Cap], dict[str, str]]:
    """Return metric → cap, and for metrics that cannot be capped yet: metric → why, in words."""
    caps, waiting, needs = {}, {}, evidence.needs
    customers = sum(evidence.customers.values())
    for at, metric in enumerate(experiment.metrics):
        if isinstance(metric, Mean) and metric.cap:
            column = needs.terms[metric.name][0]
            quantile = metric.cap if metric.cap != "auto" else _quantile(experiment, evidence.customers)
            value, above = cap_of(con, column, quantile, customers)
            if value is None:
                waiting[metric.name] = _too_few(above, customers, quantile)
                continue
            if not math.isfinite(value) and evidence.unsettled:
                evidence.unsettled.settle()
            looked = [
                column for name, column in needs.covariates[metric.name] if name in _lookbacks_of(metric)
            ]
            found = {column: cap_of(con, column, quantile, customers)[0] for column in looked}
            own = {
                column: (f"k{at}_{metric.name}", limit)
                for at, (column, limit) in enumerate(found.items())
                if limit is not None and math.isfinite(limit)
            }
            caps[metric.name] = Cap(quantile, value, above, own)
    return caps, waiting


def _too_few(positive: int, customers: int, quantile: float) -> str:
    """Return why there is no cap at `quantile`, in words: with so few above zero it falls among those who have nothing."""
    needed = customers - math.ceil((customers - 1) * quantile)
    return (
        f"capped at the quantile {quantile:.6g} it needs {needed:,} of {customers:,} customers above zero, and "
        f"{f'{positive:,}' if positive else 'none'} {'are' if positive > 1 else 'is'}; it becomes readable as customers buy"
    )


def _lookbacks_of(metric: Mean) -> set[str]:
    """Return the names of a metric's covariates that are the same metric over a span before assignment."""
    return {each.name for each in metric.lookbacks}


def _quantile(experiment: Experiment, customers: Mapping[str, int]) -> float:
    """Return the quantile of `cap: auto`: from the numbers assigned alone, whatever came of them."""
    treated = [customers[arm] for arm in experiment.treatments if customers[arm]]
    if not customers[experiment.control] or not treated:
        return HIGHEST_CAP
    return cap_for(customers[experiment.control], treated)


def _pairs(columns: Sequence[str], needs: Needs, caps: Mapping[str, Cap]) -> tuple[tuple[int, int], ...]:
    """Return the places of the columns whose products are needed: within a metric, and among covariates."""
    places = {name: at for at, name in enumerate(columns)}
    everything = [column for pairs in needs.covariates.values() for _, column in pairs]
    groups = [everything]
    for metric, terms in needs.terms.items():
        covariates = [column for _, column in needs.covariates[metric]]
        groups.append([*terms, *covariates])
        if metric in caps:
            capped = caps[metric].covariates
            groups.append(
                [f"c_{metric}", *(capped[each][0] if each in capped else each for each in covariates)]
            )
    if needs.worth:
        groups.append(list(needs.worth))
    found = {
        (max(places[a], places[b]), min(places[a], places[b]))
        for group in groups
        for a in group
        for b in group
        if a != b
    }
    return tuple(sorted(found))
