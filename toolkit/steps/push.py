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
from toolkit.errors import Conflict, PushRefused, SettingsError
from toolkit.lake.memberships import Membership, append_memberships
from toolkit.steps.apply import Writer
from toolkit.steps.known import Known, ask_whom_it_knows
from toolkit.steps.meanwhile import Meanwhile
from toolkit.steps.members import Actual, is_so, owners_of, read_segments, sample_of_big
from toolkit.steps.messages import Messages, has_track, open_track, tell
from toolkit.steps.plan import PushPlan, changes_of, plan_push, refuse, refuse_blocked
from toolkit.steps.propagation import due_at_of, propagation_of_run
from toolkit.steps.standing import keep_released
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["Messages", "PushPlan", "Pushed", "open_launchdarkly", "plan_push", "push"]

ATTEMPTS = 4
"""How often a plan is carried out, read back and mended, where others change the segments meanwhile."""
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

    Who may be offered something is looked at again before the first write, at each reading back, before messages
    are released, and once more after that: others may push, and webhooks come in, while this push waits.
    Running it again changes nothing that is so already. `allow_removals` is how many memberships and protections
    may end where a plan would empty a large part of a segment.

    Raises:
        PushRefused: the plan is old, too much would be removed, or a large part of the eligible must not be
            offered anything any more since it was made.
        SettingsError: a message must be withdrawn, and the keys of Customer.io's Track API are not set.
            A segment is full, has rules, or holds another kind of context: what ends was ended all the same.
        Conflict: a segment is not ours (likewise), or the segments read back are not those wanted, whatever was
            tried; no message was released.
        VendorError: LaunchDarkly or Customer.io refused; what was done stays, and the next run goes on.
    """
    experiment = spec.experiment
    if workspace.now() - plan.made_at > OLDEST_PLAN:
        raise PushRefused(
            f"{spec.path}: the plan is of {plan.made_at:%Y-%m-%d %H:%M} UTC; plan again, then apply"
        )
    refuse(plan, allow_removals)
    may_tell = plan.messages or has_track(workspace)
    track = open_track(workspace) if may_tell else None
    run, owners = uuid.uuid4().hex, owners_of(experiment) | dict.fromkeys(plan.dropped, experiment.key)
    steps = progress or (lambda *_: None)
    told, record = 0, plan.record
    refused: dict[str, str] = {}

    def about_to(segment: str, keys: Sequence[str]) -> None:
        rows = [Membership(segment, key, "intended") for key in keys if key not in record[segment].members]
        append_memberships(workspace.lake, rows, owners, at=workspace.now(), run=run)

    def say(what: Mapping[str, Mapping[str, Any]]) -> None:
        nonlocal told
        if track and what:
            done, failed = tell(workspace, experiment, track, what, steps)
            told += done
            refused.update(failed)

    def withdraw(now: PushPlan) -> PushPlan:
        what = now.withdrawn(experiment)
        if what and track is None:
            raise SettingsError(
                f"{spec.path}: the messages of {len(what):,} customers must be withdrawn before their offers are, and "
                "CUSTOMERIO_SITE_ID and CUSTOMERIO_TRACK_API_KEY are not set; export them. No offer was taken back"
            )
        say(what)
        return now

    meanwhile = Meanwhile.of(workspace, spec, plan, allow_removals)
    plan = withdraw(meanwhile.barring(plan))
    writer = Writer(client, experiment, run, steps, about_to)
    plan, versions = _carry_out(spec, client, plan, writer, meanwhile, withdraw)
    writer.relabel(plan.labels)
    keep_released(workspace, experiment, plan.standing)
    at = workspace.now()
    rows = list(_news(plan, writer.refused))
    if writer.writes or rows:  # also for what a push wrote that broke off before its receipts
        _receipts(workspace, experiment, plan, versions, run)
    append_memberships(workspace.lake, rows, owners, at=at, run=run)
    known = ask_whom_it_knows(workspace, spec, plan.attributes(experiment, versions).announce)
    strangers = frozenset(known.unknown if known else ())  # not recorded as told: the next push tries again
    plan = withdraw(meanwhile.barring(plan))
    announce = plan.attributes(experiment, versions).announce
    say({customer: said for customer, said in announce.items() if customer not in strangers})
    withdraw(meanwhile.barring(plan, released=True))  # who was barred while that was told
    refuse_blocked(plan)
    through = propagation_of_run(experiment, rows, at=at)
    return Pushed(run, writer.writes, told, tuple(refused.items()), versions, writer.refused, through, known)


def _carry_out(
    spec: Spec,
    client: LaunchDarkly,
    plan: PushPlan,
    writer: Writer,
    meanwhile: Meanwhile,
    withdraw: Callable[[PushPlan], PushPlan],
) -> tuple[PushPlan, dict[str, int]]:
    """Write and read back until the segments are those wanted; return the plan without whom LaunchDarkly refused.

    What others change meanwhile is mended, as far as what they know by now leaves it wanted; segment → version is
    what was read back.
    """
    experiment, conflict = writer.experiment, None
    touched: dict[str, set[str]] = {segment: set() for segment in plan.desired}
    sync = changes_of(experiment, plan.desired, plan.actual)
    for _ in range(ATTEMPTS):
        for change in sync.changes:
            touched[change.segment].update(change.add, change.remove)
        try:
            writer.apply(sync, plan.desired)
            conflict = None
        except Conflict as changed:
            conflict = changed
        plan = _taken(plan, writer)
        actual, versions = _read_back(client, plan, sync, touched)
        plan = withdraw(meanwhile.barring(plan))
        sync = changes_of(experiment, plan.desired, actual)
        if sync.is_empty:
            return plan, versions
        plan = withdraw(_taken(meanwhile.renewing(plan), writer))
        sync = changes_of(experiment, plan.desired, actual)
        if sync.is_empty:
            return plan, versions
    if conflict:
        raise conflict
    raise Conflict(
        f"{spec.path}: after {ATTEMPTS} attempts LaunchDarkly's segments are not the ones wanted "
        f"({_summary(sync)}). No message was released"
    )


def _taken(plan: PushPlan, writer: Writer) -> PushPlan:
    """Return the plan without whom LaunchDarkly does not take."""
    desired = {
        segment: members - writer.refused.get(segment, {}).keys() for segment, members in plan.desired.items()
    }
    return replace(plan, desired=desired)


def _read_back(
    client: LaunchDarkly,
    plan: PushPlan,
    before: SyncPlan,
    touched: Mapping[str, AbstractSet[str]],
) -> tuple[dict[str, Actual], dict[str, int]]:
    """Return segment → who is in it now, and segment → version; `touched` are the keys that were changed there."""
    found = read_segments(client, plan.desired)
    actual = {}
    for change in before.changes:
        key, segment = change.segment, found[change.segment]
        if segment is None:
            actual[key] = Actual(None, big=change.big, whole=change.big)
        elif not segment.unbounded:
            actual[key] = Actual(segment.included)
        else:
            members, changed = plan.desired[key], touched[key]
            looked_at = sample_of_big(members, _others(plan, key), changed, plan.made_at.isoformat())
            untouched = not (changed or change.whole)
            so = untouched or is_so(client, key, looked_at)
            actual[key] = Actual(members, big=True, whole=not so)
    return actual, {key: segment.version for key, segment in found.items() if segment}


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
