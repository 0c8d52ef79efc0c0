"""Push: plan, show, apply, read back; and only then tell Customer.io that the message may go."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from toolkit.clients import MAX_TARGETS_PER_PATCH, MAX_TARGETS_PER_SEGMENT, LaunchDarkly, LdSegment
from toolkit.design.experiment import Experiment
from toolkit.design.sync import SegmentChange, SyncPlan, desired_members, plan_sync
from toolkit.design.traits import OWNERSHIP_TAG
from toolkit.errors import Conflict, NotEnoughData, PushRefused, SpecError
from toolkit.lake.cohort import customers_with
from toolkit.lake.engine import connect
from toolkit.lake.escalation import escalated
from toolkit.lake.ledger import open_ledger
from toolkit.steps.cohort import identifier_of, open_customerio
from toolkit.steps.messages import open_track, tell, told_before
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["Messages", "PushPlan", "Pushed", "open_launchdarkly", "plan_push", "push"]

READ_BACK_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Messages:
    """What Customer.io is to be told: customer → attributes that differ from what it was told before."""

    withdraw: Mapping[str, Mapping[str, Any]]
    announce: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class PushPlan:
    """The segments' changes, and for how many customers attributes are still to be written.

    Attributes:
        sync: changes of LaunchDarkly's segments.
        desired: segment → members.
        overridden: customers who are never eligible because of `do_not_offer`.
        arms: customer → arm.
        told: customer → attributes that Customer.io was told before.
        messages: whether Customer.io is told at all (its Track key is set, or the spec needs it).
    """

    sync: SyncPlan
    desired: Mapping[str, frozenset[str]]
    overridden: int
    arms: Mapping[str, str]
    told: Mapping[str, Mapping[str, Any]]
    messages: bool

    @property
    def eligible(self) -> frozenset[str]:
        """Return everyone who is to be in an eligibility segment."""
        held = {change.segment for change in self.sync.changes if change.holdout}
        return frozenset().union(*(who for key, who in self.desired.items() if key not in held))

    def attributes(self, experiment: Experiment, versions: Mapping[str, int] | None) -> Messages:
        """Return what is still to be said; before read-back (`versions` None) any version stands for ready."""
        holdout, ready = f"holdout_{experiment.key}", f"ready_{experiment.key}"
        eligible, withdraw, announce = self.eligible, {}, {}
        version = max(versions.values(), default=1) if versions else 1
        for customer, arm in self.arms.items():
            before = self.told.get(customer, {})
            wanted: dict[str, Any] = {holdout: arm == experiment.control}
            if customer in eligible:
                wanted[ready] = before.get(ready) or version
            elif before.get(ready):
                withdraw[customer] = {ready: ""}
            changed = {name: value for name, value in wanted.items() if before.get(name) != value}
            if changed:
                announce[customer] = wanted
        return Messages(withdraw, announce)


@dataclass(frozen=True, slots=True)
class Pushed:
    """What an applied push did.

    Attributes:
        writes: requests that changed something at LaunchDarkly.
        told: customers whose attributes were written at Customer.io.
        refused: customers whom Customer.io refused, with its reason; their message will not go.
        versions: segment → version read back.
    """

    run: str
    writes: int
    told: int
    refused: tuple[tuple[str, str], ...]
    versions: Mapping[str, int]


def open_launchdarkly(workspace: Workspace, spec: Spec) -> LaunchDarkly:
    """Return the client of LaunchDarkly for the spec's context kind.

    Raises:
        SettingsError: the token is not set.
    """
    settings = workspace.settings
    return LaunchDarkly(
        settings.secret("launchdarkly_access_token"),
        project=settings.launchdarkly_project,
        environment=settings.launchdarkly_environment,
        base_url=settings.launchdarkly_url,
        context_kind=spec.experiment.identity.context_kind,
    )


def plan_push(workspace: Workspace, spec: Spec, client: LaunchDarkly) -> PushPlan:
    """Return what a push would change; nothing is written.

    Raises:
        SpecError: the spec has no traits, or would use e-mail addresses as keys.
        NotEnoughData: nobody is assigned yet.
        PushRefused: a segment would grow beyond what LaunchDarkly takes.
        Conflict: a segment of that name is there and is not ours.
    """
    experiment = spec.experiment
    _pushable(spec)
    arms = _arms(workspace, spec)
    universal = _universal(workspace, experiment)
    stopped = _do_not_offer(workspace, spec)
    desired = desired_members(
        experiment,
        arms,
        do_not_offer=stopped,
        universal=universal,
        escalated=escalated(workspace.lake, experiment, spec.path, now=workspace.now()),
    )
    for segment, members in desired.items():
        if len(members) > MAX_TARGETS_PER_SEGMENT:
            raise PushRefused(
                f"{spec.path}: segment {segment} would have {len(members):,} members; a standard segment takes "
                f"{MAX_TARGETS_PER_SEGMENT:,}. Narrow the cohort, or run the split as a percentage rollout with "
                f"seed {experiment.prefix}"
            )
    actual = {key: _ours(client.segment(key), key) for key in desired}
    sync = plan_sync(experiment, desired, _members(actual))
    overridden = sum(1 for customer, arm in arms.items() if arm != experiment.control and customer in stopped)
    settings = workspace.settings
    messages = bool(
        settings.customerio_site_id or (experiment.cohort and experiment.cohort.source == "customerio")
    )
    return PushPlan(sync, desired, overridden, arms, told_before(workspace, experiment), messages)


def push(
    workspace: Workspace,
    spec: Spec,
    client: LaunchDarkly,
    plan: PushPlan,
    *,
    allow_removals: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> Pushed:
    """Apply `plan`: withdraw messages, holdouts, removals, additions, read back, then announce.

    Running it again changes nothing that is so already. `allow_removals` is how many memberships may end where
    a plan would empty a large part of a segment.

    Raises:
        PushRefused: too much would be removed, or the segments read back are not the ones wanted.
        VendorError: LaunchDarkly or Customer.io refused; what was done stays, and the next run goes on.
    """
    experiment = spec.experiment
    _refuse_large_removals(plan.sync, allow_removals)
    track = open_track(workspace) if plan.messages else None
    run, writes, told = uuid.uuid4().hex, 0, 0
    refused: list[tuple[str, str]] = []
    steps = progress or (lambda *_: None)
    if track:
        before = plan.attributes(experiment, None).withdraw
        done, failed = tell(workspace, experiment, track, before, plan.told, steps)
        told, refused = told + done, refused + failed
    sync = plan.sync
    for attempt in range(READ_BACK_ATTEMPTS):
        writes += _apply(client, experiment, sync, run, steps)
        found = {key: _ours(client.segment(key), key) for key in plan.desired}
        sync = plan_sync(experiment, plan.desired, _members(found))
        if sync.is_empty:
            break
        if attempt == READ_BACK_ATTEMPTS - 1:
            raise PushRefused(
                f"{spec.path}: after {READ_BACK_ATTEMPTS} attempts LaunchDarkly's segments are not the ones wanted "
                f"({_summary(sync)}); is someone editing them? No message was released"
            )
    versions = {key: segment.version for key, segment in found.items() if segment}
    if writes:
        _receipts(workspace, experiment, plan, versions, run)
    if track:
        announce = plan.attributes(experiment, versions).announce
        done, failed = tell(workspace, experiment, track, announce, plan.told, steps)
        told, refused = told + done, refused + failed
    return Pushed(run, writes, told, tuple(refused), versions)


def _pushable(spec: Spec) -> None:
    experiment = spec.experiment
    if not experiment.traits:
        raise SpecError(f"{spec.path}: traits: there are none, so there is nothing to push")
    if experiment.identity.key == "email":
        raise SpecError(
            f"{spec.path}: identity.key: segments keyed by e-mail address would ship the addresses to every "
            "application that loads flags; use `id` or `cio_id`"
        )


def _arms(workspace: Workspace, spec: Spec) -> dict[str, str]:
    with connect() as con:
        end = workspace.now() + timedelta(seconds=1)
        open_ledger(con, workspace.lake, spec.experiment, spec.path, as_of_end=end)
        names = list(spec.experiment.arms)
        arms = {str(customer): names[at] for customer, at in con.rows("SELECT id, arm FROM ledger")}
    if not arms:
        raise NotEnoughData(f"{spec.path}: nobody is assigned yet; run `lift assign {spec.path}` first")
    return arms


def _universal(workspace: Workspace, experiment: Experiment) -> frozenset[str]:
    held = experiment.cohort.universal_holdout if experiment.cohort else None
    if held is None:
        return frozenset()
    rows = workspace.lake.read("assignments", ["id", "arm"], experiment=held.key)
    return frozenset(row["id"] for row in rows.to_pylist() if row["arm"] == "holdout")


def _do_not_offer(workspace: Workspace, spec: Spec) -> frozenset[str]:
    """Return everyone who now has the attribute that forbids any offer."""
    experiment = spec.experiment
    if experiment.do_not_offer is None or experiment.cohort is None:
        return frozenset()
    name = experiment.do_not_offer.attribute
    if experiment.cohort.source != "customerio":
        return customers_with(workspace.lake, experiment, spec.path, name)
    has = {"attribute": {"field": name, "operator": "exists"}}
    empty = [
        {"not": {"attribute": {"field": name, "operator": "eq", "value": value}}} for value in ("false", "")
    ]
    with open_customerio(workspace) as app:
        return frozenset(identifier_of(experiment, each) for each in app.search({"and": [has, *empty]})) - {
            ""
        }


def _members(found: Mapping[str, LdSegment | None]) -> dict[str, frozenset[str] | None]:
    return {key: segment.included if segment else None for key, segment in found.items()}


def _ours(segment: LdSegment | None, key: str) -> LdSegment | None:
    if segment is not None and OWNERSHIP_TAG not in segment.tags:
        raise Conflict(
            f"LaunchDarkly: segment {key} is there and does not carry our tag `{OWNERSHIP_TAG}`, so it is not "
            "touched; rename the trait, or add the tag if the segment is meant to be managed from here"
        )
    return segment


def _refuse_large_removals(sync: SyncPlan, allowed: int) -> None:
    large = [change for change in sync.changes if change.is_large_removal]
    if large and sync.removals > allowed:
        said = ", ".join(
            f"{change.segment} {len(change.remove):,} of {change.unchanged + len(change.remove):,}"
            for change in large
        )
        raise PushRefused(
            f"more than a fifth of a segment would be removed ({said}); if that is meant, "
            f"apply with --allow-removals {sync.removals}"
        )


def _apply(
    client: LaunchDarkly,
    experiment: Experiment,
    sync: SyncPlan,
    run: str,
    progress: Callable[[str, int, int], None],
) -> int:
    """Write the changes: create, add holdouts, remove eligibility, add eligibility, remove strays of holdouts."""
    writes = 0
    for change in sync.changes:
        if not change.exists:
            client.create_segment(
                change.segment,
                name=change.segment,
                description=f"Managed by lift for {experiment.title}. Do not edit by hand.",
                tags=[OWNERSHIP_TAG, experiment.key],
            )
            writes += 1
    stages: list[tuple[str, Iterable[tuple[SegmentChange, Sequence[str]]]]] = [
        ("add", [(change, change.add) for change in sync.changes if change.holdout]),
        ("remove", [(change, change.remove) for change in sync.changes if not change.holdout]),
        ("add", [(change, change.add) for change in sync.changes if not change.holdout]),
        ("remove", [(change, change.remove) for change in sync.changes if change.holdout]),
    ]
    total = sum(len(change.add) + len(change.remove) for change in sync.changes)
    done = 0
    for how, changes in stages:
        for change, keys in changes:
            for start in range(0, len(keys), MAX_TARGETS_PER_PATCH):
                batch = keys[start : start + MAX_TARGETS_PER_PATCH]
                said = f"lift {experiment.key} run {run[:8]}: {how} {len(batch)}"
                if how == "add":
                    client.change_targets(change.segment, add=batch, comment=said)
                else:
                    client.change_targets(change.segment, remove=batch, comment=said)
                writes, done = writes + 1, done + len(batch)
                progress("segments", done, total)
    return writes


def _receipts(
    workspace: Workspace, experiment: Experiment, plan: PushPlan, versions: Mapping[str, int], run: str
) -> None:
    at = workspace.now()
    workspace.lake.append_rows(
        "sync_receipts",
        [
            {
                "run": run,
                "experiment": experiment.key,
                "target": change.segment,
                "step": "read_back",
                "added": len(change.add),
                "removed": len(change.remove),
                "members": change.members,
                "digest": _digest(plan.desired[change.segment]),
                "version": versions.get(change.segment),
                "at": at,
            }
            for change in plan.sync.changes
        ],
    )


def _digest(members: AbstractSet[str]) -> str:
    return hashlib.sha256("\n".join(sorted(members)).encode()).hexdigest()


def _summary(sync: SyncPlan) -> str:
    return ", ".join(
        f"{change.segment} lacks {len(change.add)} and has {len(change.remove)} too many"
        for change in sync.changes
        if change.add or change.remove
    )
