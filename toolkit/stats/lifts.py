"""From moments to lifts: every metric, every arm against the control, in every way that was asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from toolkit.design.experiment import Experiment
from toolkit.design.metrics import Metric
from toolkit.stats.adjust import ArmRegression, outcome_of
from toolkit.stats.cells import cells_of
from toolkit.stats.compliance import Exposed, Refused, on_exposed
from toolkit.stats.covariates import covariates_of, pairs_of, regressions_of, ways_of
from toolkit.stats.curve import Schedule
from toolkit.stats.distributions import ndtri
from toolkit.stats.estimate import RESIDUE, Estimate, Group, Relative, difference, fieller, has_base
from toolkit.stats.moments import Moments
from toolkit.stats.multiplicity import benjamini_hochberg, holm
from toolkit.stats.readings import Readings
from toolkit.stats.results import Block, Correction, Decision, Lift
from toolkit.stats.sizes import unfit
from toolkit.stats.skew import corrected, corrected_relative, smallest_found
from toolkit.stats.trust import Judged, judge

__all__ = ["lifts_of"]

PLAIN: dict[Decision, Decision] = {"adjusted": "raw", "capped_adjusted": "capped"}
"""Of an adjusted block, the one that the effect on the exposed rests on: exposures are summed without covariates."""
POWER = 0.8
"""The smallest detectable effect is found in this share of such experiments."""
UNEXPLAINED = 1e-13
"""So small a share of the variance is what rounding leaves of it where the covariates that are used are hardly distinct."""


def lifts_of(experiment: Experiment, readings: Readings, schedule: Schedule | None = None) -> list[Lift]:
    """Return every metric's lift of every arm against the control, then the breakdowns' raw lifts.

    With a `schedule` of looks, intervals and p-values are those that hold at all looks together.
    """
    fits = {key: regression for key, (_, regression) in regressions_of(experiment, readings).items()}
    looks = schedule or Schedule.single()
    found = [
        _lift(experiment, readings, metric, arm, fits, looks)
        for metric in experiment.metrics
        for arm in experiment.treatments
    ]
    if experiment.analysis.correction == "holm":
        found = _in_family(
            found, experiment.analysis.alpha, "holm", lambda lift: lift.lift.role == "secondary"
        )
    parts = [
        each
        for breakdown in experiment.analysis.breakdowns
        for each in _broken_down(experiment, readings, breakdown, looks)
    ]
    parts = _in_family(parts, experiment.analysis.alpha, "benjamini_hochberg", lambda _: True)
    return [each.lift for each in (*found, *parts)]


@dataclass(frozen=True, slots=True)
class _Worked:
    """A lift, and how to compute its deciding interval at another alpha."""

    lift: Lift
    interval: Callable[[float], tuple[Estimate, Relative]] | None


def _broken_down(
    experiment: Experiment, readings: Readings, breakdown: str, looks: Schedule
) -> list[_Worked]:
    """Return the lifts within a breakdown's levels; small ones are merged, or hidden (`cells_of`)."""
    levels = {level: moments for (name, level), moments in readings.breakdowns.items() if name == breakdown}
    counts = {level: {arm: each.n for arm, each in moments.items()} for level, moments in levels.items()}
    cells = cells_of(counts)
    width = len(readings.columns)
    out = []
    for shown in sorted({level for level in cells.shown.values() if level is not None}):
        parts = [level for level, as_what in cells.shown.items() if as_what == shown]
        moments = {}
        active: dict[str, dict[str, int]] = {}
        for arm in experiment.arms:
            moments[arm] = sum(
                (levels[level].get(arm, Moments.none(width)) for level in parts), Moments.none(width)
            )
            counted = [readings.breakdowns_active[breakdown, level].get(arm, {}) for level in parts]
            active[arm] = {name: sum(each.get(name, 0) for each in counted) for name in {*chain(*counted)}}
        here = replace(
            readings,
            moments=moments,
            customers={arm: each.n for arm, each in moments.items()},
            active=active,
            caps={},
            waiting={},
            covariates={metric.name: () for metric in experiment.metrics},
            exposed=None,
        )
        for metric in experiment.metrics:
            for arm in experiment.treatments:
                worked = _lift(experiment, here, metric, arm, {}, looks)
                lift = replace(
                    worked.lift, breakdown=breakdown, level=shown, notes=(*worked.lift.notes, *cells.notes)
                )
                out.append(replace(worked, lift=lift))
    return out


def _in_family(
    found: Sequence[_Worked], alpha: float, method: str, member: Callable[[_Worked], bool]
) -> list[_Worked]:
    """Return the lifts with the members of the family corrected together."""
    places = [at for at, each in enumerate(found) if member(each) and each.interval and each.lift.decided]
    if not places:
        return list(found)
    p_values = [found[at].lift.decided.p_value for at in places]  # type: ignore[union-attr]
    adjust = holm if method == "holm" else benjamini_hochberg
    out = list(found)
    for at, adjusted in zip(places, adjust(p_values, alpha), strict=True):
        worked = found[at]
        if adjusted.alpha is None or worked.interval is None:
            continue
        estimate, relative = worked.interval(adjusted.alpha)
        correction = Correction(method, len(places), adjusted.p_value, adjusted.alpha, estimate, relative)
        out[at] = replace(worked, lift=replace(worked.lift, corrected=correction))
    return out


def _lift(
    experiment: Experiment,
    readings: Readings,
    metric: Metric,
    arm: str,
    fits: Mapping[tuple[str, str, str], ArmRegression],
    looks: Schedule,
) -> _Worked:
    alpha, control = experiment.analysis.alpha, experiment.control
    names = (arm, control)
    explained: dict[str, float] = {}

    def level_of(block: str, overall: float) -> float:
        return looks.nominal(metric.name, arm, overall, explained=explained.get(block, 0.0))

    def p_value_of(block: str, alone: float | None) -> float | None:
        return looks.p_value(metric.name, arm, alone, explained=explained.get(block, 0.0))

    blocks: dict[str, Block] = {}
    groups_of: dict[str, tuple[Group, Group]] = {}
    notes: list[str] = []
    means: dict[str, float | None] = {arm: None, control: None}
    based = True
    for plain, adjusted, columns in ways_of(metric, readings):
        found = {name: _group(readings, metric, name, columns) for name in names}
        treated, held = found[arm], found[control]
        if plain == "raw":
            means = {name: None if isinstance(group, str) else group.mean for name, group in found.items()}
        if isinstance(treated, str) or isinstance(held, str):
            notes += [group for group in found.values() if isinstance(group, str)]
            continue
        if plain == "raw" and not has_base(held):
            based = False
            notes.append("there is no relative lift: the control's mean is not above zero")
        groups_of[plain] = treated, held
        cap = readings.caps.get(metric.name) if plain == "capped" else None
        estimate, relative = _interval(plain, treated, held, level_of(plain, alpha), based=based)
        blocks[plain] = Block(
            estimate,
            relative,
            p_value_of(plain, estimate.p_value),
            cap=cap.value if cap else None,
            capped_customers=cap.above if cap else None,
        )
        key = (adjusted, metric.name)
        if all((*key, name) in fits and (*key, name) in readings.hc2 for name in names):
            treated, held = (fits[*key, name].group(*readings.hc2[*key, name]) for name in names)
            if _is_told(groups_of[plain], (treated, held)):
                notes.append(
                    "not adjusted: the covariates tell the outcome exactly, and leave no chance to judge by"
                )
                continue
            groups_of[adjusted] = treated, held
            if estimate.se:
                explained[adjusted] = 1 - (treated.variance + held.variance) / estimate.se**2
            blocks[adjusted], said = _adjusted(
                experiment,
                readings,
                metric,
                columns,
                _interval(adjusted, treated, held, level_of(adjusted, alpha), based=based),
                blocks[plain],
            )
            p_value = p_value_of(adjusted, blocks[adjusted].p_value)
            blocks[adjusted] = replace(blocks[adjusted], p_value=p_value)
            notes += said
        elif readings.covariates[metric.name]:
            _, _, dropped = covariates_of(experiment, readings, metric, columns)
            notes.append("not adjusted: " + "; ".join(dropped or ["an arm has too few customers for it"]))
    decision: Decision = next(
        name for name in ("capped_adjusted", "capped", "adjusted", "raw") if name in blocks or name == "raw"
    )
    converters = {name: readings.active[name].get(readings.terms[metric.name][-1], 0) for name in names}
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
        decision=decision,
        alpha=level_of(decision, alpha),
        notes=tuple(dict.fromkeys(notes)),
        harm=metric.harm,
        margin=metric.margin,
    )
    if decision not in groups_of:
        return _Worked(replace(lift, trusted=False), None)
    judged = judge(experiment, readings, metric, names, decision, groups_of, converters)
    treated, held = groups_of[judged.block]
    level = level_of(judged.block, alpha)
    if judged.corrected:
        estimate, relative = _interval("skew_corrected", treated, held, level, based=based)
        p_value = p_value_of(judged.block, estimate.p_value)
        block = replace(blocks[judged.block], absolute=estimate, relative=relative, p_value=p_value)
        lift = replace(lift, skew_corrected=block, decision="skew_corrected", corrects=judged.block)
    else:
        lift = replace(lift, decision=judged.block)
    decision = lift.decision
    lift = replace(lift, alpha=level, trusted=judged.trusted, notes=(*lift.notes, *judged.notes))
    lift = _guarded(replace(lift, detectable=_detectable(decision, treated, held, level) or None))
    if readings.exposed is not None and metric.kind != "ratio":
        on = PLAIN.get(judged.block, judged.block)
        if on != judged.block:
            judged = judge(experiment, readings, metric, names, on, groups_of, converters)
        way = "skew_corrected" if judged.corrected else on
        level = level_of(on, alpha)
        effect, _ = _interval(way, *groups_of[on], level, based=based)
        reached = _on_exposed(readings, metric, names, judged, effect, level)
        if isinstance(reached, Exposed):
            reached = replace(reached, p_value=p_value_of(on, effect.p_value), block=way, assigned=effect)
        lift = replace(lift, exposed=reached)

    def interval(overall: float) -> tuple[Estimate, Relative]:
        return _interval(decision, treated, held, level_of(lift.corrects or decision, overall), based=based)

    return _Worked(lift, interval)


def _on_exposed(
    readings: Readings, metric: Metric, names: tuple[str, str], judged: Judged, effect: Estimate, level: float
) -> Exposed | Refused:
    """Return the effect on the exposed in the judged block, from `effect`, its own on all assigned."""
    column = f"c_{metric.name}" if judged.block == "capped" else readings.terms[metric.name][0]
    found = on_exposed(readings, column, *names, effect, level)
    if isinstance(found, Refused) or judged.trusted:
        return found
    said = "; ".join(each for each in (found.note, *judged.notes) if each)
    return replace(found, trusted=False, note=said or None)


def _interval(
    block: str, treated: Group, held: Group, alpha: float, *, based: bool
) -> tuple[Estimate, Relative]:
    """Return the block's difference and relative lift with intervals at level 1 − alpha.

    As measured: Welch and Fieller. Adjusted: normal and Fieller. Capped, or skew-corrected: `skew.py`. Without a
    base as measured there is no relative lift in any block.
    """
    if _is_corrected(block, treated, held):
        estimate = corrected(treated, held, alpha)
        return estimate, corrected_relative(treated, held, alpha) if based else Relative()
    estimate = difference(treated, held, alpha, normal=block == "adjusted")
    return estimate, fieller(treated, held, alpha) if based else Relative()


def _detectable(block: str, treated: Group, held: Group, alpha: float) -> float:
    """Return the smallest effect that the block's interval tells from zero in `POWER` of such looks."""
    if _is_corrected(block, treated, held):
        return smallest_found(treated, held, alpha, POWER)
    return (-ndtri(alpha / 2) + ndtri(POWER)) * math.sqrt(treated.variance + held.variance)


def _is_corrected(block: str, treated: Group, held: Group) -> bool:
    return block not in {"raw", "adjusted"} and treated.third is not None and held.third is not None


def _group(readings: Readings, metric: Metric, arm: str, columns: Sequence[str]) -> Group | str:
    """Return the arm's mean or ratio, or in words why there is none."""
    moments = readings.of(arm, columns)
    n = moments.n
    if n < 2:
        return f"{arm} has {n} customer{'' if n == 1 else 's'}: nothing can be computed"
    spread = np.sqrt(np.diag(moments.covariance))
    why = next(filter(None, map(unfit, moments.mean.tolist(), spread.tolist())), None)
    if why:
        return why
    outcome = outcome_of(moments, len(columns))
    if outcome is None:
        return f"{arm} has a denominator of zero: there is no ratio"
    variance = moments.variance_of(outcome.weights)
    why = unfit(outcome.value, math.sqrt(variance))
    if why:
        return why
    if len(columns) == 1:
        cubes = float(moments.cubes[0])
    else:  # the shape of numerator − pooled ratio · denominator, in units of the denominator's mean
        shape = readings.of(arm, (f"r_{metric.name}",))
        cubes = float(shape.cubes[0]) / float(moments.mean[1]) ** 3
    if math.sqrt(variance) <= RESIDUE * abs(outcome.value):
        return Group(n, outcome.value, 0.0, 0.0)
    return Group(n, outcome.value, variance / n, cubes / n**3)


def _is_told(plain: tuple[Group, Group], adjusted: tuple[Group, Group]) -> bool:
    """Return whether the covariates leave of the outcome only what rounding leaves."""
    left, spread = (sum(each.variance * each.n for each in groups) for groups in (adjusted, plain))
    return left <= max(UNEXPLAINED * spread, *((RESIDUE * each.mean) ** 2 for each in plain))


def _adjusted(
    experiment: Experiment,
    readings: Readings,
    metric: Metric,
    terms: Sequence[str],
    interval: tuple[Estimate, Relative],
    plain: Block,
) -> tuple[Block, list[str]]:
    estimate, relative = interval
    _, kept, dropped = covariates_of(experiment, readings, metric, terms)
    pairs = pairs_of(readings, metric, terms)
    names = tuple(dict.fromkeys(pairs[place - len(terms)][0] for place in kept))
    reduction = 1 - (estimate.se / plain.absolute.se) ** 2 if plain.absolute.se else None
    notes = [f"left out of the adjustment: {each}" for each in dropped]
    if reduction is not None and reduction < 0:
        notes.append(
            f"the adjustment widened the interval by {np.sqrt(1 - reduction) - 1:.1%}; it was planned, so it stands"
        )
    return Block(
        estimate, relative, estimate.p_value, names, reduction, plain.cap, plain.capped_customers
    ), notes


def _guarded(lift: Lift) -> Lift:
    block = lift.decided
    if lift.role != "guardrail" or block is None or block.p_value is None:
        return lift
    sign = 1 if lift.harm == "increase" else -1
    best, worst = sorted((sign * block.absolute.low, sign * block.absolute.high))
    if lift.margin is not None and worst < lift.margin:
        return replace(lift, answer="safe")
    return replace(lift, answer="harm" if best > 0 else "unclear")
