"""Caps: what capping a mean at one quantile or another would do, from the past that a design is planned from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

from toolkit.design.metrics import Mean
from toolkit.errors import NotEnoughData, SpecError
from toolkit.stats.caps import CapChoice, choice_of
from toolkit.stats.skew import cap_for
from toolkit.steps.past import learn
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["Caps", "caps"]

QUANTILES = (0.99, 0.992, 0.994, 0.995, 0.996, 0.997, 0.998, 0.9985, 0.999, 0.9995, 0.9999)
POWER = 0.8


@dataclass(frozen=True, slots=True)
class Caps:
    """A metric's caps, the lowest first and none at all last.

    Attributes:
        source: whose numbers these are, in words; a quantile is of them alone, where a measurement's is over all arms.
        auto: the quantile of `cap: auto` at the planned sizes.
        planned: the file's, as a quantile; None where it does not cap.
        choices: of those two and usual ones, whichever would cut some customers' numbers and not everybody's.
    """

    experiment: str
    title: str
    metric: str
    source: str
    auto: float
    planned: float | None
    choices: tuple[CapChoice, ...]


def caps(
    workspace: Workspace, spec: Spec, metric: str, *, as_of: date | None = None, pace: float | None = None
) -> Caps:
    """Return what caps on `metric` would do; nothing is written, and no difference between arms is looked at.

    Raises:
        SpecError: there is no such metric, or it is not a mean.
        NotEnoughData: there is no history, or nobody has a number.
    """
    experiment = spec.experiment
    means = {each.name: each for each in experiment.metrics if isinstance(each, Mean)}
    if metric not in means:
        has = ", ".join(means) or "none"
        raise SpecError(f"{spec.path}: {metric!r} is no mean that could be capped; the means are {has}")
    uncapped = tuple(
        each.model_copy(update={"cap": None}) if isinstance(each, Mean) else each
        for each in experiment.metrics
    )
    past = learn(
        workspace,
        replace(spec, experiment=experiment.model_copy(update={"metrics": uncapped})),
        as_of=as_of,
        pace=pace,
    )
    customers = past.readings.customers[experiment.control]
    treated = [past.customers[arm] for arm in experiment.treatments]
    held = past.customers[experiment.control]
    if min(*treated, held) < 2 or customers < 2:
        raise NotEnoughData(
            f"{spec.path}: {held:,} held out of {sum(past.customers.values()):,} are too few to plan with"
        )
    auto = cap_for(held, treated)
    own = means[metric].cap
    planned = auto if own == "auto" else own
    quantiles = sorted({*QUANTILES, auto, *([planned] if planned is not None else [])})
    try:
        found = tuple(
            choice_of(
                past.values[metric],
                customers,
                quantile,
                treated=treated,
                held=held,
                alpha=experiment.analysis.alpha,
                power=POWER,
            )
            for quantile in (*quantiles, None)
        )
    except ValueError as wrong:
        raise NotEnoughData(f"{spec.path}: {metric}: {wrong}") from None
    choices = tuple(each for each in found if each)
    if len(choices) < 2:
        raise NotEnoughData(
            f"{spec.path}: {metric}: every cap would lie among the customers who have nothing"
        )
    return Caps(experiment.key, experiment.title, metric, past.source, auto, planned, choices)
