"""Push: plan, show, apply, read back; and only then tell Customer.io that the message may go."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from toolkit.clients import LaunchDarkly
from toolkit.design.experiment import Experiment
from toolkit.design.propagation import Propagation
from toolkit.design.reasons import Record
from toolkit.design.sync import SyncPlan
from toolkit.errors import Conflict, PushRefused
from toolkit.lake.memberships import Membership, append_memberships
from toolkit.steps.apply import Writer
from toolkit.steps.known import Known, ask_whom_it_knows
from toolkit.steps.members import Actual, differing, owners_of, read_segments
from toolkit.steps.messages import Messages, open_track, tell
from toolkit.steps.plan import PushPlan, changes_of, plan_push, refuse
from toolkit.steps.propagation import due_at_of, propagation_of_run
from toolkit.steps.standing import keep_released
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["Messages", "PushPlan", "Pushed", "open_launchdarkly", "plan_push", "push"]

ATTEMPTS = 4
"""How often a plan is carried out, read back and mended, where others change the segments meanwhile."""
LOOKS = 3
LOOK_SECONDS = 1.0
OLDEST_PLAN = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Pushed:
    """What an applied push did.

    Attributes:
        writes: requests that changed something at LaunchDarkly.
        told: customers whose attributes were written at Customer.io.
        refused: customers whom Customer.io refused, with its reason; their message will not go.
        not_taken: segment → customers whom LaunchDarkly does not take, with its words; they are put aside.
        versions: segment → version read back.
        propagation: how fast the traits got through that began with this push.
        known: whether Customer.io knows who was to be told something; None where nobody was asked for.
    """

    run: str
    writes: int
    told: int
    refused: tuple[tuple[str, str], ...]
    versions: Mapping[str, int]
    not_taken: Mapping[str, Mapping[str, str]]
    propagation: tuple[Propagation, ...]
    known: Known | None = None


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

    Running it again changes nothing that is so already. `allow_removals` is how many memberships and protections
    may end where a plan would empty a large part of a segment.

    Raises:
        PushRefused: the plan is old, too much would be removed, or the segments read back are not those wanted.
        VendorError: LaunchDarkly or Customer.io refused; what was done stays, and the next run goes on.
    """
    experiment = spec.experiment
    if workspace.now() - plan.made_at > OLDEST_PLAN:
        raise PushRefused(
            f"{spec.path}: the plan is of {plan.made_at:%Y-%m-%d %H:%M} UTC; plan again, then apply"
        )
    refuse(plan, allow_removals)
    track = open_track(workspace) if plan.messages else None
    run, owners = uuid.uuid4().hex, owners_of(experiment)
    steps = progress or (lambda *_: None)
    told, record = 0, plan.record
    refused: list[tuple[str, str]] = []

    def about_to(segment: str, keys: Sequence[str]) -> None:
        rows = [Membership(segment, key, "intended") for key in keys if key not in record[segment].members]
        append_memberships(workspace.lake, rows, owners, at=workspace.now(), run=run)

    def say(what: Mapping[str, Mapping[str, Any]]) -> None:
        nonlocal told
        if track and what:
            done, failed = tell(workspace, experiment, track, what, steps)
            told += done
            refused.extend(failed)

    withdrawn = plan.attributes(experiment, None).withdraw
    say(withdrawn)
    writer = Writer(client, experiment, run, steps, about_to)
    plan, versions = _carry_out(spec, client, plan, writer)
    writer.relabel(plan.labels)
    keep_released(workspace, experiment, plan.standing)
    at = workspace.now()
    rows = list(_news(plan, writer.refused))
    if writer.writes or rows:  # also for what a push wrote that broke off before its receipts
        _receipts(workspace, experiment, plan, versions, run)
    append_memberships(workspace.lake, rows, owners, at=at, run=run)
    messages = plan.attributes(experiment, versions)
    say({customer: said for customer, said in messages.withdraw.items() if customer not in withdrawn})
    known = ask_whom_it_knows(workspace, spec, messages.announce)
    strangers = frozenset(known.unknown if known else ())  # not recorded as told: the next push tries again
    say({customer: said for customer, said in messages.announce.items() if customer not in strangers})
    through = propagation_of_run(experiment, rows, at=at)
    return Pushed(run, writer.writes, told, tuple(refused), versions, writer.refused, through, known)


def _carry_out(
    spec: Spec, client: LaunchDarkly, plan: PushPlan, writer: Writer
) -> tuple[PushPlan, dict[str, int]]:
    """Write and read back until the segments are those wanted; return the plan without whom LaunchDarkly refused.

    What others change meanwhile is mended; segment → version is what was read back.
    """
    sync, conflict = plan.sync, None
    for _ in range(ATTEMPTS):
        try:
            writer.apply(sync, plan.desired)
            conflict = None
        except Conflict as changed:
            conflict = changed
        desired = {
            segment: members - writer.refused.get(segment, {}).keys()
            for segment, members in plan.desired.items()
        }
        plan = replace(plan, desired=desired)
        sync, versions = _read_back(client, writer.experiment, plan, sync)
        if sync.is_empty:
            return plan, versions
    if conflict:
        raise conflict
    raise PushRefused(
        f"{spec.path}: after {ATTEMPTS} attempts LaunchDarkly's segments are not the ones wanted "
        f"({_summary(sync)}). No message was released"
    )


def _read_back(
    client: LaunchDarkly, experiment: Experiment, plan: PushPlan, before: SyncPlan
) -> tuple[SyncPlan, dict[str, int]]:
    """Return what is still to be changed, and segment → version."""
    found = read_segments(client, experiment)
    actual = {}
    for change in before.changes:
        key, segment = change.segment, found[change.segment]
        if segment is None:
            actual[key] = Actual(None, big=change.big, whole=change.big)
        elif not segment.unbounded:
            actual[key] = Actual(segment.included)
        elif change.is_empty or _is_so(client, key, plan.desired[key], _others(plan, key)):
            actual[key] = Actual(plan.desired[key], big=True)
        else:
            actual[key] = Actual(plan.desired[key], big=True, whole=True)
    sync = changes_of(experiment, plan.desired, actual)
    return sync, {key: segment.version for key, segment in found.items() if segment}


def _is_so(client: LaunchDarkly, key: str, members: AbstractSet[str], others: AbstractSet[str]) -> bool:
    """Return whether a sample of a big segment is as wanted; it may take a moment until it is."""
    for look in range(LOOKS):
        if not differing(client, key, members, others, str(look)):
            return True
        client.pause(LOOK_SECONDS)
    return False


def _others(plan: PushPlan, segment: str) -> AbstractSet[str]:
    """Return who was in a segment, or may have been, and is not to be."""
    record = plan.record[segment]
    return (record.members | record.intended | record.removed) - plan.desired[segment]


def _news(plan: PushPlan, refused: Mapping[str, Mapping[str, str]]) -> Iterator[Membership]:
    """Return what was read back and is not in the record yet."""
    for change in plan.sync.changes:
        segment, record = change.segment, plan.record.get(change.segment, Record())
        members = plan.desired[segment]
        for customer in sorted(members - record.members):
            yield Membership(segment, customer, "member", due_at_of(plan, change, customer))
        gone = (record.members | record.intended | frozenset(change.remove)) - members
        for customer in sorted(gone - refused.get(segment, {}).keys() - record.removed):
            yield Membership(segment, customer, "removed")
        for customer, words in sorted(refused.get(segment, {}).items()):
            yield Membership(segment, customer, "refused", detail=words)


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
                "members": len(plan.desired[change.segment]),
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
    return "; ".join(
        f"{change.segment} lacks {len(change.add)} and has {len(change.remove)} too many: is someone editing it?"
        if change.add or change.remove
        else f"{change.segment} does not show yet what was written: run again later"
        for change in sync.changes
        if not change.is_empty
    )
