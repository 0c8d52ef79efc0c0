"""Design: what an experiment can find, from what its customers did before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date

from toolkit.stats.power import smallest_effect
from toolkit.steps.measure import look
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["Detectable", "design"]

POWER = 0.8


@dataclass(frozen=True, slots=True)
class Detectable:
    """The smallest effect of `arm` on `metric` that the customers assigned so far can show.

    Attributes:
        base: the control's mean so far, in the metric's unit; None where nothing is known yet.
        effect: smallest absolute effect found in 8 of 10 such experiments; None where nothing is known.
    """

    metric: str
    kind: str
    arm: str
    treated: int
    held: int
    base: float | None
    effect: float | None

    @property
    def relative(self) -> float | None:
        """Return the effect as a fraction of the control's mean."""
        return self.effect / self.base if self.effect is not None and self.base else None


def design(workspace: Workspace, spec: Spec, *, as_of: date | None = None) -> list[Detectable]:
    """Return, per metric and arm, the smallest effect that can be found, from the control's own numbers.

    The variance is the control's, over the customers assigned by `as_of`; covariates are not counted on.

    Raises:
        NotEnoughData: nobody is assigned yet, so nothing is known of what customers do.
        SpecError, DataError: as `measure` does.
    """
    experiment = spec.experiment
    evidence, readings, _, _ = look(workspace, spec, as_of=as_of)
    found = []
    for metric in experiment.metrics:
        columns = readings.terms[metric.name]
        if metric.kind != "ratio" and metric.name in readings.caps:
            columns = (f"c_{metric.name}",)
        held = readings.of(experiment.control, columns)
        for arm in experiment.treatments:
            treated = evidence.customers[arm]
            base, effect = None, None
            if metric.kind != "ratio" and held.n > 1 and treated:
                base = float(held.mean[0])
                variance = float(held.covariance[0, 0])
                if variance > 0 and math.isfinite(variance):
                    effect = smallest_effect(
                        variance, treated, held.n, alpha=experiment.analysis.alpha, power=POWER
                    )
            found.append(Detectable(metric.name, metric.kind, arm, treated, held.n, base, effect))
    return found
