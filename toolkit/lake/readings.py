"""All that a look at an experiment needs of the data: gathered, capped, summed, in as few passes as can be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from toolkit.design.experiment import Experiment
from toolkit.design.metrics import Mean
from toolkit.errors import SpecError
from toolkit.lake.aggregate import (
    active_of,
    breakdown_moments,
    cap_of,
    moments_of,
    residual_sums,
    with_capped,
)
from toolkit.lake.engine import Connection
from toolkit.lake.unit import Needs
from toolkit.stats.lifts import Cap, Readings, regressions_of

__all__ = ["read"]


def read(
    con: Connection, experiment: Experiment, needs: Needs, customers: Mapping[str, int], spec: str
) -> Readings:
    """Return the readings of `unit`, which `gather` made for `needs`.

    Raises:
        SpecError: a cap is so low that it would cut off every customer who bought.
    """
    arms = list(experiment.arms)
    caps = {}
    for at, metric in enumerate(experiment.metrics):
        if isinstance(metric, Mean) and metric.cap:
            column = needs.terms[metric.name][0]
            value, above = cap_of(con, column, metric.cap, sum(customers.values()))
            if value <= 0 < above:
                raise SpecError(
                    f"{spec}: metrics[{at}] ({metric.name}): cap {metric.cap} lies below the share of customers "
                    "for whom it is zero, so it would cut off everyone; raise it (0.999 is usual)"
                )
            caps[metric.name] = Cap(metric.cap, value, above)
    with_capped(con, {f"c_{name}": (needs.terms[name][0], cap.value) for name, cap in caps.items()})
    counted = [name for terms in needs.terms.values() for name in terms]
    columns = list(
        dict.fromkeys([*counted, *(f"c_{name}" for name in caps), *(each.name for each in needs.columns)])
    )
    by_level, active_by_level = breakdown_moments(con, arms, experiment.analysis.breakdowns, columns)
    readings = Readings(
        dict(customers),
        columns,
        moments_of(con, arms, customers, columns),
        active_of(con, arms, columns),
        needs.terms,
        needs.covariates,
        caps,
        breakdowns=by_level,
        breakdowns_active=active_by_level,
    )
    fits = regressions_of(experiment, readings)
    return replace(readings, hc2=residual_sums(con, arms, customers, fits))
