"""Design: what an experiment can find, how long it takes and what it costs, from what its customers did before."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date, timedelta

from toolkit.design.experiment import Experiment
from toolkit.design.metrics import Mean, Metric
from toolkit.errors import NotEnoughData
from toolkit.stats.moments import Vector
from toolkit.stats.planning import (
    Weeks,
    always_on_inflation,
    cost_of_holdout,
    looks_inflation,
    planned_variance,
    weeks_needed,
)
from toolkit.stats.shapes import (
    Shape,
    doubt_of,
    effect_of,
    shape_of,
    skewness_of,
    to_be_corrected,
    too_uneven,
    varies_more,
)
from toolkit.stats.simulated import corrected_p_value, simulated_smallest, welch_p_value
from toolkit.stats.skew import cap_for
from toolkit.steps.detectable import Cost, Curves, Design, Detectable
from toolkit.steps.past import Past, learn
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["Cost", "Curves", "Design", "Detectable", "design"]

POWER = 0.8
LIFTS = (0.05, 0.10, 0.20)
SHARES = tuple(each / 100 for each in range(1, 51))
MOST_WEEKS = 52
FEWEST_DRAWN = 30
WEEK = timedelta(days=7)


def design(
    workspace: Workspace,
    spec: Spec,
    *,
    as_of: date | None = None,
    lift: float | None = None,
    pace: float | None = None,
) -> Design:
    """Return what the experiment can find: per metric and arm, the smallest effect, and how long others take.

    Before anybody is assigned it is planned from the cohort's own history: the same metrics over a window as long
    before `as_of` (or before the start), as if all who qualify now had been assigned then. Afterwards from the
    control's own numbers until the end of `as_of`. `lift` is a relative effect to plan for, 5, 10 and 20 % where
    none is given; `pace` is how many customers enrol each week, where nothing else tells.

    Raises:
        NotEnoughData: there is no history.
        SpecError, DataError, VendorError: the cohort or its events cannot be had.
    """
    experiment = spec.experiment
    past = learn(workspace, spec, as_of=as_of, pace=pace)
    looks, inflation = _looks(experiment)
    rows, curves = [], []
    for metric in experiment.metrics:
        shape = shape_of(past.readings, metric, experiment.control)
        for arm in experiment.treatments:
            found = _detectable(experiment, past, metric, arm, shape, inflation)
            if not isinstance(shape, str) and found.effect is not None:
                scale = found.effect / (found.formula or found.effect)
                weeks = _weeks(experiment, past, metric, arm, shape, inflation * scale**2, lift)
                found = replace(found, weeks=weeks)
                curves.append(_curves(experiment, past, metric, arm, shape, inflation, scale))
            rows.append(found)
    if all(each.base is None for each in rows):
        later = "; a cohort chosen for what it has not done shows what it does only once it is assigned"
        raise NotEnoughData(
            f"{spec.path}: {past.source}: {rows[0].why}{later if past.basis == 'history' else ''}"
        )
    return Design(
        experiment.key,
        experiment.title,
        past.basis,
        past.source,
        dict(experiment.arms),
        experiment.control,
        sum(past.customers.values()),
        past.per_week,
        math.ceil((experiment.end - experiment.start) / WEEK) if past.per_week else None,
        experiment.analysis.alpha,
        POWER,
        looks,
        inflation,
        tuple(rows),
        tuple(curves),
        _cost(experiment, past, lift),
        (*past.notes, *_more_notes(experiment, past, lift)),
    )


def _looks(experiment: Experiment) -> tuple[int, float]:
    """Return the planned looks, and how many times the customers of a single one they need."""
    analysis = experiment.analysis
    if analysis.looks == "fixed":
        return 1, 1.0
    looks = max(math.ceil((experiment.complete_at - experiment.starts_at) / WEEK), 1)
    if analysis.boundary == "always_on":
        return looks, always_on_inflation(alpha=analysis.alpha, power=POWER)
    return looks, looks_inflation(looks, alpha=analysis.alpha, power=POWER)


def _detectable(
    experiment: Experiment, past: Past, metric: Metric, arm: str, shape: Shape | str, inflation: float
) -> Detectable:
    treated, held = past.customers[arm], past.customers[experiment.control]
    found = Detectable(metric.name, metric.kind, metric.role, arm, treated, held)
    if isinstance(shape, str):
        if past.basis == "history" and metric.name in past.readings.waiting:
            shape += ". If no more will, cap it higher before anybody is assigned"
        return replace(found, why=shape)
    cap = past.readings.caps.get(metric.name)
    found = replace(found, base=shape.mean, explained=shape.explained, cap=cap.value if cap else None)
    if min(treated, held) < 2:
        return replace(found, why=f"{treated:,} treated and {held:,} held out are too few to compare")
    alpha = experiment.analysis.alpha
    effect = effect_of(shape, treated, held, alpha=alpha, power=POWER, inflation=inflation)
    found = replace(found, effect=effect, formula=effect, method="formula" if effect else None)
    found = replace(
        found, doubt=_doubt(shape, metric, treated, [past.customers[a] for a in experiment.treatments], held)
    )
    if effect is None:
        return replace(found, method=None, why="no rise up to 100 % would be found with so few customers")
    if too_uneven(shape, treated, held):
        uneven = f"skewness {skewness_of(shape, treated, held).gross:.2f}"
        off, why = f"too uneven for the formula ({uneven})", f"numbers so uneven ({uneven})"
    elif varies_more(shape, effect, treated, held, alpha=alpha, power=POWER, inflation=inflation):
        off = "an effect so large makes treated customers vary more than the formula takes them to"
        why = "an effect so large that treated customers vary more than the control's"
    else:
        return found
    amounts = past.amounts(metric, shape)
    if len(amounts) < FEWEST_DRAWN:
        few = f"{off}, and {len(amounts)} customers are too few to simulate from"
        return replace(found, why=f"{few}: take it for a lower limit")
    return _by_simulation(found, shape, amounts, alpha, inflation, why)


def _by_simulation(
    found: Detectable, shape: Shape, amounts: Vector, alpha: float, inflation: float, why: str
) -> Detectable:
    """Return the effect that simulated experiments find, in place of the formula's; `why` it does not hold."""
    factor = planned_variance(1.0, explained=shape.explained, inflation=inflation)
    plain = effect_of(replace(shape, explained=0.0), found.treated, found.held, alpha=alpha, power=POWER)
    corrected = to_be_corrected(shape, found.treated, found.held)
    smallest = simulated_smallest(
        amounts,
        shape.customers - len(amounts),
        found.treated,
        found.held,
        guess=(plain or shape.mean) / shape.mean,
        alpha=alpha,
        power=POWER,
        p_value=corrected_p_value if corrected else welch_p_value,
    )
    if smallest is None:
        none = f"for {why}, simulated experiments find no effect, however large, in 8 of 10"
        return replace(found, effect=None, method="simulation", why=none)
    effect = smallest.relative * shape.mean * math.sqrt(factor)
    return replace(
        found,
        effect=effect,
        method="simulation",
        simulated=effect,
        why=f"simulated: for {why} the formula does not hold",
    )


def _doubt(shape: Shape, metric: Metric, treated: int, arms: list[int], held: int) -> str | None:
    said = doubt_of(shape, treated, held)
    if said and isinstance(metric, Mean) and min(arms) > 0 and said.startswith("so uneven"):
        quantile = cap_for(held, arms)
        if metric.cap != "auto" and (metric.cap is None or quantile < metric.cap):
            return f"{said}. `cap: auto` would cap at the quantile {quantile:.4g} for arms of these sizes"
    return said


def _weeks(
    experiment: Experiment,
    past: Past,
    metric: Metric,
    arm: str,
    shape: Shape,
    inflation: float,
    lift: float | None,
) -> tuple[tuple[float, Weeks], ...]:
    factor = planned_variance(1.0, explained=shape.explained, inflation=max(inflation, 1.0))
    found = []
    for relative in (lift,) if lift else LIFTS:
        share = shape.mean * (1 + relative)
        own = None
        if shape.kind == "conversion":
            if not 0 < share < 1:
                continue
            own = share * (1 - share) * factor
        weeks = weeks_needed(
            past.weekly,
            shape.mean,
            shape.variance * factor,
            experiment.arms[experiment.control],
            relative=relative,
            window_days=(metric.window or experiment.end - experiment.start) / timedelta(days=1),
            waiting=past.waiting,
            alpha=experiment.analysis.alpha,
            power=POWER,
            treated_variance=own,
            share_treated=experiment.arms[arm] if len(experiment.treatments) > 1 else None,
            grows=bool(experiment.cohort and experiment.cohort.entry == "rolling"),
        )
        found.append((relative, weeks))
    return tuple(found)


def _curves(
    experiment: Experiment,
    past: Past,
    metric: Metric,
    arm: str,
    shape: Shape,
    inflation: float,
    scale: float,
) -> Curves:
    """Return both curves: the formula's, times what simulation found it to be off by at the planned size."""
    held = experiment.arms[experiment.control]
    mine = experiment.arms[arm]

    def relative(customers: float, share: float) -> float | None:
        treated = customers * (1 - share) * mine / (1 - held)
        effect = effect_of(
            shape,
            treated,
            customers * share,
            alpha=experiment.analysis.alpha,
            power=POWER,
            inflation=inflation,
        )
        return effect * scale / shape.mean if effect is not None else None

    total = sum(past.customers.values())
    by_share = [(share, relative(total, share)) for share in SHARES if total * share >= 2]
    by_week: list[tuple[float, float | None]] = []
    if past.per_week:
        planned = math.ceil((experiment.end - experiment.start) / WEEK)
        most = min(max(2 * planned, 8), MOST_WEEKS)
        by_week += [(at, relative(past.waiting + past.per_week * at, held)) for at in range(1, most + 1)]
    return Curves(
        metric.name,
        arm,
        tuple((at, effect) for at, effect in by_share if effect is not None),
        tuple((at, effect) for at, effect in by_week if effect is not None),
    )


def _cost(experiment: Experiment, past: Past, lift: float | None) -> Cost | None:
    value, readings = experiment.value, past.readings
    if value is None or readings.worth is None or not lift:
        return None
    revenue, orders = (float(each) for each in readings.of(experiment.control, readings.worth).mean)
    share = experiment.arms[experiment.control]
    profit = value.margin * revenue * lift - value.offer_cost * orders * (1 + lift)
    if past.per_week:
        per_week, how = past.per_week, f"{past.per_week:,.0f} customers a week"
    else:
        weeks = past.days / 7
        per_week = sum(past.customers.values()) / weeks
        how = f"{sum(past.customers.values()):,} customers, spread over {past.days:g} days"
    lost = cost_of_holdout(per_week, share, revenue, lift)
    gone = per_week * share * profit
    text = (
        f"holding out {share:.0%} of {how} {_forgone(lost, f' {value.currency}')} of revenue a week and {_forgone(gone)} of profit "
        f"(margin {value.margin:.0%}, an offer costs {value.offer_cost:g} per order), if the lift is {lift:+.1%}, "
        "which is assumed"
    )
    return Cost(value.currency, lift, lost, gone, text)


def _forgone(amount: float, unit: str = "") -> str:
    size = abs(amount)
    return f"{'forgoes' if amount >= 0 else 'saves'} {size:,.{0 if size >= 100 else 2}f}{unit}"


def _more_notes(experiment: Experiment, past: Past, lift: float | None) -> list[str]:
    whose = "all arms' customers so far" if past.basis == "control" else "the customers learnt from"
    notes = [
        f"{name} is capped at {cap.value:,.6g}, the quantile {cap.quantile:.4g} over {whose}"
        for name, cap in past.readings.caps.items()
    ]
    others = sum(each.role == "secondary" for each in experiment.metrics) * len(experiment.treatments)
    if experiment.analysis.correction == "holm" and others > 1:
        notes.append(
            f"secondary metrics are planned at alpha {experiment.analysis.alpha:g}; corrected together (Holm, {others} "
            "comparisons) they need more"
        )
    if experiment.value and past.readings.worth and not lift:
        notes.append("what the holdout costs depends on the lift: assume one with `--lift`")
    return notes
