"""What an experiment brought in money, as far as its revenue can be trusted."""

from __future__ import annotations

from dataclasses import replace

from toolkit.design.experiment import Experiment
from toolkit.stats.curve import Schedule
from toolkit.stats.estimate import Group
from toolkit.stats.readings import Readings
from toolkit.stats.skew import distrust, with_subject
from toolkit.stats.value import Worth, worth_of

__all__ = ["worth_by_arm"]


def worth_by_arm(experiment: Experiment, readings: Readings, schedule: Schedule) -> dict[str, Worth]:
    """Return arm → what the offer brought there, where the file says what orders are worth and offers cost.

    Money is uncapped revenue: where that is too uneven for its interval to be trusted, so is the money. At weekly
    looks intervals are those of the revenue's boundary. Never to be added up over experiments.
    """
    if experiment.value is None or readings.worth is None:
        return {}
    revenue = readings.worth[0]
    named = [metric for metric, terms in readings.terms.items() if terms == (revenue,)]
    held = readings.of(experiment.control, readings.worth)
    out = {}
    for arm in experiment.treatments:
        treated = readings.of(arm, readings.worth)
        worth = worth_of(
            treated,
            held,
            margin=experiment.value.margin,
            offer_cost=experiment.value.offer_cost,
            alpha=schedule.nominal(named[0] if named else "", arm, experiment.analysis.alpha),
        )
        why: str | None = "an arm has fewer than two customers"
        if min(treated.n, held.n) > 1:
            groups = [
                Group(
                    each.n,
                    float(each.mean[0]),
                    float(each.covariance[0, 0]) / each.n,
                    float(each.cubes[0]) / each.n**3,
                )
                for each in (treated, held)
            ]
            buyers = [readings.active[name].get(revenue, 0) for name in (arm, experiment.control)]
            why = distrust(groups[0], groups[1], buyers, skew_corrected=False, bounded=False)
        out[arm] = replace(
            worth,
            trusted=why is None,
            notes=(*worth.notes, *((with_subject("revenue", why),) if why else ())),
        )
    return out
