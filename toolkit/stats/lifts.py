"""From moments to lifts: every metric, every arm against the control, in every way that was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from toolkit.design.experiment import Experiment
from toolkit.design.metrics import Metric
from toolkit.stats.adjust import ArmRegression, fit, outcome_of, usable
from toolkit.stats.estimate import Group, Relative, difference, fieller
from toolkit.stats.moments import Moments
from toolkit.stats.results import Block, Lift

__all__ = ["FEWEST_CONVERTERS", "Cap", "Readings", "lifts_of", "regressions_of"]

FEWEST_CONVERTERS = 10
"""With fewer customers in an arm who did anything at all, no interval is to be trusted."""


@dataclass(frozen=True, slots=True)
class Cap:
    """A pooled quantile above which a customer counts as that value."""

    quantile: float
    value: float
    above: int


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

    def of(self, arm: str, columns: Sequence[str]) -> Moments:
        """Return the arm's moments of `columns` alone, in their order."""
        return _select(self.moments[arm], [self.columns.index(name) for name in columns])


def regressions_of(
    experiment: Experiment, readings: Readings
) -> dict[tuple[str, str, str], tuple[tuple[str, ...], ArmRegression]]:
    """Return (block, metric, arm) → columns and regression, for the pass that sums HC2 residuals.

    A metric is there with all its arms or not at all.
    """
    found: dict[tuple[str, str, str], tuple[tuple[str, ...], ArmRegression]] = {}
    for metric in experiment.metrics:
        if not readings.covariates[metric.name]:
            continue
        for _, block, terms in _ways(metric, readings):
            columns, kept, _ = _covariates(experiment, readings, metric, terms)
            if not kept:
                continue
            pooled = _pooled(readings, columns)
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


def lifts_of(experiment: Experiment, readings: Readings) -> list[Lift]:
    """Return every metric's lift of every arm against the control, then the breakdowns' raw lifts."""
    fits = {key: regression for key, (_, regression) in regressions_of(experiment, readings).items()}
    lifts = [
        _lift(experiment, readings, metric, arm, fits)
        for metric in experiment.metrics
        for arm in experiment.treatments
    ]
    for (breakdown, level), moments in readings.breakdowns.items():
        here = replace(
            readings,
            moments={arm: moments.get(arm, Moments.none(len(readings.columns))) for arm in experiment.arms},
            customers={arm: moments[arm].n if arm in moments else 0 for arm in experiment.arms},
            active={
                arm: readings.breakdowns_active[breakdown, level].get(arm, {}) for arm in experiment.arms
            },
            caps={},
            covariates={metric.name: () for metric in experiment.metrics},
        )
        lifts += [
            replace(_lift(experiment, here, metric, arm, {}), breakdown=breakdown, level=level)
            for metric in experiment.metrics
            for arm in experiment.treatments
        ]
    return lifts


def _lift(
    experiment: Experiment,
    readings: Readings,
    metric: Metric,
    arm: str,
    fits: Mapping[tuple[str, str, str], ArmRegression],
) -> Lift:
    alpha, control = experiment.analysis.alpha, experiment.control
    names = (arm, control)
    terms = readings.terms[metric.name]
    blocks: dict[str, Block] = {}
    notes: list[str] = []
    means: dict[str, float | None] = {arm: None, control: None}
    for plain, adjusted, columns in _ways(metric, readings):
        groups = {name: _group(readings.of(name, columns), len(columns)) for name in names}
        treated, held = groups[arm], groups[control]
        if plain == "raw":
            means = {name: group.mean if group else None for name, group in groups.items()}
        if treated is None or held is None:
            notes += [_why_not(readings, name) for name in names if groups[name] is None]
            continue
        cap = readings.caps[metric.name] if plain == "capped" else None
        estimate = difference(treated, held, alpha)
        blocks[plain] = Block(
            estimate,
            fieller(treated, held, alpha),
            estimate.p_value,
            cap=cap.value if cap else None,
            capped_customers=cap.above if cap else None,
        )
        key = (adjusted, metric.name)
        if all((*key, name) in fits and (*key, name) in readings.hc2 for name in names):
            treated, held = (fits[*key, name].group(*readings.hc2[*key, name]) for name in names)
            blocks[adjusted], said = _adjusted(
                experiment, readings, metric, columns, treated, held, blocks[plain]
            )
            notes += said
        elif readings.covariates[metric.name]:
            _, _, dropped = _covariates(experiment, readings, metric, columns)
            notes.append("not adjusted: " + "; ".join(dropped or ["an arm has too few customers for it"]))
    decision = next(
        name for name in ("capped_adjusted", "capped", "adjusted", "raw") if name in blocks or name == "raw"
    )
    converters = {name: min(readings.active[name].get(term, 0) for term in terms[:1]) for name in names}
    lift = Lift(
        metric.name,
        metric.kind,
        metric.role,
        arm,
        control,
        {name: readings.customers[name] for name in names},
        converters,
        means,
        blocks.get("raw"),
        blocks.get("adjusted"),
        blocks.get("capped"),
        blocks.get("capped_adjusted"),
        decision,
        notes=tuple(dict.fromkeys(notes)),
        harm=metric.harm,
        margin=metric.margin,
    )
    return _guarded(_trusted(lift))


def _ways(metric: Metric, readings: Readings) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return (plain block, adjusted block, outcome columns): as measured, and capped where there is a cap."""
    terms = readings.terms[metric.name]
    ways: list[tuple[str, str, tuple[str, ...]]] = [("raw", "adjusted", terms)]
    if metric.name in readings.caps:
        ways.append(("capped", "capped_adjusted", (f"c_{metric.name}",)))
    return ways


def _group(moments: Moments, terms: int) -> Group | None:
    if moments.n < 2:
        return None
    outcome = outcome_of(moments, terms)
    if outcome is None:
        return None
    return Group(moments.n, outcome.value, moments.variance_of(outcome.weights) / moments.n)


def _why_not(readings: Readings, arm: str) -> str:
    n = readings.moments[arm].n
    if n < 2:
        return f"{arm} has {n} customer{'' if n == 1 else 's'}: nothing can be computed"
    return f"{arm} has a denominator of zero: there is no ratio"


def _covariates(
    experiment: Experiment, readings: Readings, metric: Metric, terms: Sequence[str]
) -> tuple[tuple[str, ...], list[int], list[str]]:
    """Return columns (terms first), the places of usable covariates, and what was left out and why."""
    pairs = readings.covariates[metric.name]
    columns = (*terms, *(column for _, column in pairs))
    places = list(range(len(terms), len(columns)))
    kept = usable(_pooled(readings, columns), places)
    for arm in experiment.arms:  # what is constant in one arm cannot be adjusted for there
        kept = [place for place in kept if place in usable(readings.of(arm, columns), kept)]
    dropped = [
        f"{name} does not vary, or says no more than the other covariates"
        for place, (name, _) in zip(places, pairs, strict=True)
        if place not in kept
    ]
    return columns, kept, dropped


def _adjusted(
    experiment: Experiment,
    readings: Readings,
    metric: Metric,
    terms: Sequence[str],
    treated: Group,
    held: Group,
    plain: Block,
) -> tuple[Block, list[str]]:
    alpha = experiment.analysis.alpha
    estimate = difference(treated, held, alpha, normal=True)
    _, kept, dropped = _covariates(experiment, readings, metric, terms)
    pairs = readings.covariates[metric.name]
    names = tuple(dict.fromkeys(pairs[place - len(terms)][0] for place in kept))
    reduction = 1 - (estimate.se / plain.absolute.se) ** 2 if plain.absolute.se else None
    notes = [f"left out of the adjustment: {each}" for each in dropped]
    if reduction is not None and reduction < 0:
        notes.append(
            f"the adjustment widened the interval by {np.sqrt(1 - reduction) - 1:.1%}; it was planned, so it stands"
        )
    relative = (
        fieller(treated, held, alpha) if held.mean > 0 or treated.mean > 0 else Relative(None, None, None)
    )
    return Block(
        estimate, relative, estimate.p_value, names, reduction, plain.cap, plain.capped_customers
    ), notes


def _pooled(readings: Readings, columns: Sequence[str]) -> Moments:
    total = Moments.none(len(columns))
    for arm in readings.moments:
        total += readings.of(arm, columns)
    return total


def _select(moments: Moments, places: list[int]) -> Moments:
    return Moments(
        moments.n, moments.mean[places], moments.products[np.ix_(places, places)], moments.cubes[places]
    )


def _trusted(lift: Lift) -> Lift:
    if lift.raw is None:
        return replace(lift, trusted=False)
    few = {arm: n for arm, n in lift.converters.items() if n < FEWEST_CONVERTERS}
    if not few:
        return lift
    said = " and ".join(f"{n} customer{'' if n == 1 else 's'} in {arm}" for arm, n in few.items())
    return replace(
        lift,
        trusted=False,
        notes=(
            *lift.notes,
            f"rests on {said} who did it; at least {FEWEST_CONVERTERS} are needed to trust it",
        ),
    )


def _guarded(lift: Lift) -> Lift:
    block = lift.decided
    if lift.role != "guardrail" or block is None:
        return lift
    sign = 1 if lift.harm == "increase" else -1
    best, worst = sorted((sign * block.absolute.low, sign * block.absolute.high))
    if lift.margin is not None and worst < lift.margin:
        return replace(lift, answer="safe")
    return replace(lift, answer="harm" if best > 0 else "unclear")
