"""Plan: what a push would change, why, and what forbids it."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from toolkit.clients import LaunchDarkly
from toolkit.design.catalogue import clashes
from toolkit.design.experiment import Experiment
from toolkit.design.labels import SegmentLabel, stale_labels
from toolkit.design.reasons import Facts, Record, Why, reasons_of
from toolkit.design.sync import SyncPlan, plan_sync
from toolkit.errors import PushRefused, SpecError, ToolkitError
from toolkit.lake.memberships import read_record
from toolkit.steps.claims import dropped_segments, refuse_claimed
from toolkit.steps.members import Actual, actual_of, owners_of, too_full, unusable
from toolkit.steps.messages import Messages, Told, messages_of, told_before, withdrawals_of
from toolkit.steps.neighbours import refuse_shared_key
from toolkit.steps.plan_words import DROPPED, LEFT_THERE, NOTHING_BEGINS, forbidden, notes
from toolkit.steps.standing import Standing, standing_of
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["PushPlan", "changes_of", "plan_push", "refuse", "refuse_blocked"]


@dataclass(frozen=True, slots=True)
class PushPlan:
    """The segments' changes and why, and for how many customers attributes are still to be written.

    Attributes:
        sync: changes of LaunchDarkly's segments.
        why: segment → reasons of its changes, counted.
        desired: segment → members.
        standing: what is known of the customers.
        actual: who is in the segments.
        facts: what the reasons rest on.
        told: what Customer.io was told before.
        messages: whether Customer.io is told anything new (its Track key is set, or the spec needs it); what it
            was told is taken back in any case.
        made_at: when the plan was made (UTC).
        forbidden: what must be allowed by number before the plan is applied, in sentences.
        notes: what a reader should know besides.
        labels: segment → its new label, where it was made under another schema of its trait.
        kept_out: who is to be in a segment that is full, and was not told yet: their message waits.
        blocked: segments that cannot be written to as planned, each as the error that says why. What ends is ended
            all the same, and whoever is held out is added; then the first is raised.
        drawn: who is offered something in no segment of ours: by the flag's own draw, or looked up.
    """

    sync: SyncPlan
    why: Mapping[str, Why]
    desired: Mapping[str, frozenset[str]]
    standing: Standing
    actual: Mapping[str, Actual]
    facts: Facts
    told: Told
    messages: bool
    made_at: datetime
    forbidden: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    labels: Mapping[str, SegmentLabel] = field(default_factory=dict)
    drawn: frozenset[str] = frozenset()
    kept_out: frozenset[str] = frozenset()
    blocked: tuple[ToolkitError, ...] = ()

    @property
    def arms(self) -> Mapping[str, str]:
        """Return customer → arm."""
        return self.standing.arms

    @property
    def record(self) -> Mapping[str, Record]:
        """Return segment → what we know to have done there."""
        return self.facts.record

    @property
    def overridden(self) -> int:
        """Return how many treated customers must not be offered anything."""
        return len(self.standing.protected)

    @property
    def endings(self) -> int:
        """Return how many memberships and protections end; so many are to be allowed where that is forbidden."""
        return self.sync.removals + len(self.standing.released)

    @property
    def refused(self) -> Mapping[str, Mapping[str, str]]:
        """Return segment → customers whom LaunchDarkly does not take, with its words."""
        return {segment: record.refused for segment, record in self.record.items() if record.refused}

    @property
    def offered(self) -> frozenset[str]:
        """Return everyone who is to be in an eligibility segment, or is drawn by the flag."""
        return self.drawn.union(*(self.desired[key] for key in self._offering))

    @property
    def eligible(self) -> frozenset[str]:
        """Return whose message may go: who is offered something, and waits for no other segment."""
        return self.offered - self.kept_out

    @property
    def dropped(self) -> frozenset[str]:
        """Return the segments that the file does not push any more, and that are still there."""
        return frozenset(self.desired.keys() - set(self.facts.experiment.pushed_segments))

    @property
    def _offering(self) -> tuple[str, ...]:
        return tuple(change.segment for change in self.sync.changes if not change.holdout)

    def withdrawn(self, experiment: Experiment) -> dict[str, dict[str, Any]]:
        """Return whose messages are to be taken back: customer → what says so."""
        return withdrawals_of(experiment, self.eligible, self.told)

    def without(self, customers: AbstractSet[str]) -> PushPlan:
        """Return the plan for everybody but `customers`, who must not be offered anything; `sync` stays."""
        offered = {
            key: self.desired[key] - customers
            for key in self._offering
            if not customers.isdisjoint(self.desired[key])
        }
        return replace(
            self,
            desired={**self.desired, **offered},
            drawn=self.drawn - customers,
            standing=replace(self.standing, released=self.standing.released - customers),
        )

    def renewed(self, standing: Standing) -> PushPlan:
        """Return what both this plan and a later `standing` offer, and the later one's holdouts; `sync` stays.

        Whoever moved on to another value meanwhile goes there. Who is new waits for the next plan.
        """
        experiment, offered = self.facts.experiment, self.offered
        wanted = {
            key: who - self.record[key].refused.keys() for key, who in standing.desired(experiment).items()
        }
        desired = {
            key: wanted[key] & offered if key in self._offering else wanted[key]
            for key in self.desired
            if key not in self.dropped
        }
        if self.blocked:  # nobody is added, not even from another segment
            desired |= {key: desired[key] & self.desired[key] for key in self._offering if key in desired}
        still = frozenset().union(
            *(who for key, who in wanted.items() if key not in experiment.held_segments)
        )
        unheld = {key: who & still for key, who in self.desired.items() if key in self.dropped}
        return replace(
            self,
            desired=desired | unheld,
            drawn=self.drawn & still,
            standing=replace(self.standing, released=self.standing.released & standing.released),
        )

    def attributes(self, experiment: Experiment, versions: Mapping[str, int] | None) -> Messages:
        """Return what is still to be said; before read-back (`versions` None) any version stands for ready."""
        version = max(versions.values(), default=1) if versions else 1
        said = messages_of(experiment, self.arms, self.eligible, self.told, version=version)
        return said if self.messages else replace(said, announce={})


def plan_push(
    workspace: Workspace, spec: Spec, client: LaunchDarkly, *, retry_refused: bool = False
) -> PushPlan:
    """Return what a push would change; nothing is written at a vendor.

    `retry_refused` asks for the keys once more that LaunchDarkly did not take.

    Raises:
        SpecError: the spec has no traits to push, would use e-mail addresses as keys, another file has its key, or one
            of its segments is another experiment's.
        NotEnoughData: nobody is assigned yet.
        DataError: the source of the ledger, of the cohort or of `do_not_offer` cannot be used.
    """
    experiment, settings = spec.experiment, workspace.settings
    _refuse_what_cannot_be_pushed(spec)
    refuse_claimed(workspace, spec)
    standing = standing_of(workspace, spec)
    dropped = dropped_segments(workspace, experiment)
    record = read_record(workspace.lake, owners_of(experiment) | dict.fromkeys(dropped, experiment.key))
    if retry_refused:
        record = {segment: replace(each, refused={}) for segment, each in record.items()}
    everyone = standing.desired(experiment)
    desired = {
        segment: everyone[segment] - record[segment].refused.keys() for segment in experiment.pushed_segments
    }
    offered = frozenset().union(
        *(who for key, who in everyone.items() if key not in experiment.held_segments)
    )
    drawn = offered if experiment.delivery.mode != "segments" else frozenset()
    found = {key: client.segment(key) for key in desired}
    wrong: dict[str, ToolkitError] = dict(unusable(client, found))
    unfit, ready = bool(wrong), f"ready_{experiment.key}"
    told, kept_out, seed = told_before(workspace, experiment), set[str](), workspace.now().isoformat()
    if unfit:  # then nothing is begun anywhere, and what must end ends
        drawn = offered
        desired = {key: who for key, who in desired.items() if key not in wrong}
        desired = {key: who for key, who in desired.items() if key in experiment.held_segments or found[key]}
        for key in desired.keys() - set(experiment.held_segments):
            there = actual_of(client, found[key], desired[key], record[key], seed=seed).members
            desired[key] &= there or frozenset()
    for key, wanted in desired.items():
        segment = found[key]
        held = key in experiment.held_segments
        if segment and (full := too_full(key, segment, wanted, holdout=held)):
            wrong[key], desired[key] = full, wanted & segment.included
            kept_out |= wanted - segment.included
    for key in dropped:  # nobody is added there, and whoever may be offered something stays
        segment, ours = client.segment(key), record[key].members | record[key].intended
        if segment is None:
            continue
        there = ours if segment.unbounded else segment.included
        amiss = unusable(client, {key: segment}).get(key)
        if amiss is None:
            found[key], desired[key] = segment, frozenset(there & offered)
        elif left := (there & ours) - offered:
            wrong[key] = type(amiss)(LEFT_THERE.format(key, len(left), amiss))
    actual = {
        key: actual_of(client, found[key], wanted, record[key], seed=seed) for key, wanted in desired.items()
    }
    sync = changes_of(experiment, desired, actual)
    facts = _facts(experiment, standing, desired, actual, record)
    why = reasons_of(sync, facts)
    labels = stale_labels(experiment, {key: each.tags for key, each in found.items() if each and not unfit})
    return PushPlan(
        sync,
        why,
        desired,
        standing,
        actual,
        facts,
        told,
        messages=not unfit
        and experiment.delivery.mode != "lookup"  # nobody here knows when an application has its table
        and bool(
            settings.customerio_site_id or (experiment.cohort and experiment.cohort.source == "customerio")
        ),
        made_at=workspace.now(),
        forbidden=tuple(forbidden(sync, why, standing)),
        notes=(
            *notes(experiment, sync, actual, standing),
            *(f"{key} was made under another schema, and is told its new one" for key in labels),
            *(DROPPED.format(key, len(desired[key])) for key in dropped if desired.get(key)),
            *map(str, wrong.values()),
            *([NOTHING_BEGINS] if unfit else ()),
        ),
        labels=labels,
        drawn=drawn,
        kept_out=frozenset(who for who in kept_out if not told.attributes.get(who, {}).get(ready)),
        blocked=tuple(wrong.values()),
    )


def changes_of(
    experiment: Experiment, desired: Mapping[str, AbstractSet[str]], actual: Mapping[str, Actual]
) -> SyncPlan:
    """Return the smallest change, each segment marked as standard or big."""
    sync = plan_sync(experiment, desired, {key: each.members for key, each in actual.items()})
    return replace(
        sync,
        changes=tuple(
            replace(change, big=actual[change.segment].big, whole=actual[change.segment].whole)
            for change in sync.changes
        ),
    )


def _refuse_what_cannot_be_pushed(spec: Spec) -> None:
    experiment = spec.experiment
    refuse_shared_key(spec)
    if not experiment.traits:
        raise SpecError(f"{spec.path}: traits: there are none, so there is nothing to push")
    if said := clashes(spec.path, experiment):
        raise SpecError("\n".join(str(each) for each in said))
    if experiment.identity.key == "email":
        raise SpecError(
            f"{spec.path}: identity.key: segments keyed by e-mail address would ship the addresses to every "
            "application that loads flags; use `id` or `cio_id`"
        )


def _facts(
    experiment: Experiment,
    standing: Standing,
    desired: Mapping[str, AbstractSet[str]],
    actual: Mapping[str, Actual],
    record: Mapping[str, Record],
) -> Facts:
    return Facts(
        experiment,
        standing.arms,
        desired,
        {key: each.members for key, each in actual.items()},
        record,
        barred={
            "universal_holdout": standing.universal,
            "held_out_as_another": standing.held_as_another,
            "do_not_offer": standing.protected,
            "not_known": standing.unknown,
            "margin": standing.unprofitable,
            "left_cohort": standing.left,
        },
        over=standing.over,
    )


def refuse_blocked(plan: PushPlan) -> None:
    """Raise where segments cannot be written to as planned.

    Raises:
        PushRefused: a standard segment is full, has rules, or holds another kind of context.
        Conflict: a segment of that name is there and is not ours.

    Of segments that the file names no more only those in which somebody is whom nothing may be offered.
    """
    if plan.blocked:
        raise type(plan.blocked[0])("; ".join(map(str, plan.blocked)))


def refuse(plan: PushPlan, allowed: int) -> None:
    """Raise where the plan ends more memberships or protections than are allowed.

    Raises:
        PushRefused: that many are not allowed; the message says which number would allow it.
    """
    if plan.forbidden and plan.endings > allowed:
        raise PushRefused(
            f"{'; '.join(plan.forbidden)}; if that is meant, apply with --allow-removals {plan.endings}"
        )
