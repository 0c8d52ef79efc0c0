"""Trade-offs of a plan: what other sizes and shares would find, from what is known at the planned ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

from toolkit.stats.planning import planned_variance
from toolkit.stats.power import power_of, smallest_conversion_effect, smallest_effect

__all__ = ["Planned", "chance_at", "smallest_at"]


@dataclass(frozen=True, slots=True)
class Planned:
    """One metric and arm as they were planned.

    Attributes:
        kind: `conversion`, `mean` or `ratio`.
        base: the mean without the offer; of a conversion a share.
        effect: smallest absolute effect found with `power` by `treated` and `held` customers.
        formula: the normal formula's, which `effect` differs from where simulated experiments found another.
        explained: share of the variance that covariates explain.
        inflation: how many times the customers of a single look the plan needs.
    """

    kind: str
    base: float
    effect: float
    formula: float
    treated: float
    held: float
    explained: float = 0.0
    inflation: float = 1.0
    alpha: float = 0.05
    power: float = 0.8

    @property
    def off(self) -> float:
        """Return how many times the formula's effect simulated experiments need; taken to be so at other sizes."""
        return self.effect / self.formula

    @property
    def factor(self) -> float:
        """Return what covariates and looks make of the variance."""
        return planned_variance(1.0, explained=self.explained, inflation=self.inflation)

    @property
    def variance(self) -> float:
        """Return the variance of one customer's number that the formula's effect rests on, covariates and looks in it."""
        unit = smallest_effect(1.0, self.treated, self.held, alpha=self.alpha, power=self.power)
        return (self.formula / unit) ** 2


def smallest_at(plan: Planned, treated: float, held: float) -> float | None:
    """Return the smallest relative effect that arms of these sizes find, None where even 100 % is not found.

    A mean's goes with the standard error, √(1/n₁ + 1/n₀); a conversion has each arm's own variance, p (1 − p).
    """
    if plan.kind == "conversion":
        found = smallest_conversion_effect(
            plan.base, treated / plan.factor, held / plan.factor, alpha=plan.alpha, power=plan.power
        )
    else:
        found = smallest_effect(plan.variance, treated, held, alpha=plan.alpha, power=plan.power)
    return None if found is None else found * plan.off / plan.base


def chance_at(plan: Planned, treated: float, held: float, relative: float) -> float | None:
    """Return the chance that arms of these sizes find a `relative` effect; None where the share would pass 100 %.

    Looks count as customers fewer, as in the plan: at the planned sizes and effect it is the planned power.
    """
    effect = relative * plan.base / plan.off
    if plan.kind != "conversion":
        return power_of(effect, plan.variance, treated, held, alpha=plan.alpha)
    share = plan.base + effect
    if not 0 < share < 1 or not math.isfinite(share):
        return None
    own, base = (each * (1 - each) * plan.factor for each in (share, plan.base))
    return power_of(effect, base, treated, held, alpha=plan.alpha, treated_variance=own)
