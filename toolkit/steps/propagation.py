"""Propagation: how long traits took from the moment they were due until they were read back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import TYPE_CHECKING

from toolkit.design.experiment import Experiment
from toolkit.design.propagation import Propagation, propagation_of
from toolkit.design.reasons import reason_to_add
from toolkit.design.sync import SegmentChange
from toolkit.lake.memberships import Membership, delays_of
from toolkit.steps.workspace import Spec, Workspace

if TYPE_CHECKING:
    from toolkit.steps.plan import PushPlan

__all__ = ["due_at_of", "propagation", "propagation_of_run"]


def propagation(workspace: Workspace, spec: Spec, as_of: date | None = None) -> tuple[Propagation, ...]:
    """Return for each trait how fast it got through until the end of `as_of` (until now where that is sooner).

    Who was assigned and has not got the trait yet counts as waiting, and as late once `max_age` has passed.

    Raises:
        DataError: the ledger's file cannot be used.
        StorageError: the lake cannot be read.
    """
    experiment, now = spec.experiment, workspace.now()
    until = min(experiment.end_of(as_of), now) if as_of else now
    found = []
    for trait in experiment.traits:
        seconds, waiting = delays_of(workspace.lake, experiment, spec.path, trait, until=until)
        limit = trait.age_limit.total_seconds()
        found.append(propagation_of(trait.name, seconds, waiting=waiting, max_age_seconds=limit))
    return tuple(found)


def propagation_of_run(
    experiment: Experiment, rows: Iterable[Membership], *, at: datetime
) -> tuple[Propagation, ...]:
    """Return for each trait that began for somebody in `rows`, read back at an instant, how fast it got through."""
    due = [(row.segment, row.due_at) for row in rows if row.state == "member" and row.due_at]
    found = []
    for trait in experiment.traits:
        keys = trait.segments()
        seconds = [(at - due_at).total_seconds() for segment, due_at in due if segment in keys]
        if seconds:
            limit = trait.age_limit.total_seconds()
            found.append(propagation_of(trait.name, seconds, max_age_seconds=limit))
    return tuple(found)


def due_at_of(plan: PushPlan, change: SegmentChange, customer: str) -> datetime | None:
    """Return when a membership that begins was due (UTC).

    None where nothing tells: for what a hand put there, and for who may be offered something again.
    """
    assigned_at = plan.standing.assigned_at(customer)
    if assigned_at is None or customer in (plan.facts.actual[change.segment] or ()):
        return None
    reason, trait = reason_to_add(customer, change, plan.facts), plan.facts.trait_of(change.segment)
    if reason == "escalated" and trait and trait.escalate:
        return assigned_at + trait.escalate.after
    return assigned_at if reason in ("assigned", "held_out") else None
