"""Messages: what Customer.io is told of each customer, and what it was told before."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from toolkit.clients import CustomerIOTrack
from toolkit.design.experiment import Experiment
from toolkit.lake.memberships import read_told, stamp
from toolkit.steps.workspace import Workspace

__all__ = [
    "Messages",
    "Told",
    "has_track",
    "messages_of",
    "open_track",
    "tell",
    "told_before",
    "told_since",
    "withdrawals_of",
]

CHUNK = 2_000
CLOCKS_DIFFER = 15 * 60 * 10**9
"""By so many nanoseconds the clocks of machines that push may differ."""


@dataclass(frozen=True, slots=True)
class Messages:
    """What Customer.io is to be told: customer → attributes that differ from what it was told before."""

    withdraw: Mapping[str, Mapping[str, Any]]
    announce: Mapping[str, Mapping[str, Any]]

    @property
    def is_empty(self) -> bool:
        """Return whether there is nothing to say."""
        return not (self.withdraw or self.announce)


@dataclass(frozen=True, slots=True)
class Told:
    """What Customer.io was told.

    Attributes:
        attributes: customer → the latest word on each attribute.
        in_doubt: customer → attributes that a push was telling when it broke off; they may have been told, or not.
        read: when that was read, in nanoseconds.
    """

    attributes: Mapping[str, Mapping[str, Any]]
    in_doubt: Mapping[str, AbstractSet[str]] = field(default_factory=dict)
    read: int = 0


def told_before(workspace: Workspace, experiment: Experiment) -> Told:
    """Return what Customer.io was told of each customer."""
    read = stamp()
    rows = workspace.lake.records("ready", experiment=experiment.key)
    rows.sort(key=lambda row: (row["written"] or 0, row["at"]))
    return _added(Told({}), [(row["id"], row["attributes"], row["state"]) for row in rows], read)


def told_since(workspace: Workspace, experiment: Experiment, told: Told) -> Told:
    """Return `told` with what any run has told since that was read."""
    read = stamp()
    rows = read_told(workspace.lake, experiment.key, since=told.read - CLOCKS_DIFFER)
    return _added(told, rows, read) if rows else told


def _added(told: Told, rows: Sequence[Sequence[Any]], read: int) -> Told:
    """Return `told` with `rows` (customer, attributes, state), in the order in which they were written."""
    attributes: dict[str, Mapping[str, Any]] = dict(told.attributes)
    in_doubt: dict[str, AbstractSet[str]] = dict(told.in_doubt)
    for customer, words, state in rows:
        said = json.loads(words)
        attributes[customer] = {**attributes.get(customer, {}), **said}
        doubt = in_doubt.get(customer, frozenset())
        in_doubt[customer] = doubt | said.keys() if state == "intended" else doubt - said.keys()
    return Told(attributes, {customer: names for customer, names in in_doubt.items() if names}, read)


def messages_of(
    experiment: Experiment, arms: Mapping[str, str], eligible: AbstractSet[str], told: Told, *, version: int
) -> Messages:
    """Return what is still to be said; `version` stands for ready where nobody was told so before."""
    holdout, ready = f"holdout_{experiment.key}", f"ready_{experiment.key}"
    announce: dict[str, dict[str, Any]] = {}
    nothing: Mapping[str, Any] = {}
    for customer, arm in arms.items():
        before = told.attributes.get(customer, nothing)
        wanted: dict[str, Any] = {holdout: arm == experiment.control}
        if customer in eligible:
            wanted[ready] = before.get(ready) or version
        doubt = told.in_doubt.get(customer, frozenset())
        if any(name in doubt or before.get(name) != value for name, value in wanted.items()):
            announce[customer] = wanted
    return Messages(withdrawals_of(experiment, eligible, told), announce)


def withdrawals_of(
    experiment: Experiment, eligible: AbstractSet[str], told: Told
) -> dict[str, dict[str, Any]]:
    """Return customer → the attribute that takes back a message which was released, or may have been."""
    ready = f"ready_{experiment.key}"
    return {
        customer: {ready: ""}
        for customer, said in told.attributes.items()
        if said.get(ready) and customer not in eligible
    }


def has_track(workspace: Workspace) -> bool:
    """Return whether the keys of Customer.io's Track API are set."""
    return bool(workspace.settings.customerio_site_id and workspace.settings.customerio_track_api_key)


def open_track(workspace: Workspace) -> CustomerIOTrack:
    """Return the client of Customer.io's Track API.

    Raises:
        SettingsError: the site id or the key is not set.
    """
    settings = workspace.settings
    return CustomerIOTrack(
        settings.secret("customerio_site_id"),
        settings.secret("customerio_track_api_key"),
        base_url=settings.track_url(),
    )


def tell(
    workspace: Workspace,
    experiment: Experiment,
    track: CustomerIOTrack,
    what: Mapping[str, Mapping[str, Any]],
    progress: Callable[[str, int, int], None],
) -> tuple[int, list[tuple[str, str]]]:
    """Write attributes, holdouts first, and keep what was written; return how many, and who was refused.

    That a message is about to be released is kept before it is: if the answer is lost, the message can still
    be withdrawn.
    """
    key, ready = experiment.identity.key, f"ready_{experiment.key}"
    order = sorted(what, key=lambda customer: (ready in what[customer], customer))
    done, refused = 0, []
    for start in range(0, len(order), CHUNK):
        chunk = order[start : start + CHUNK]
        released = [customer for customer in chunk if what[customer].get(ready)]
        _keep(workspace, experiment, released, what, "intended")
        result = track.identify([({key: customer}, what[customer]) for customer in chunk])
        failed = {each.index: each.message or each.reason for each in result.failed}
        written = [customer for at, customer in enumerate(chunk) if at not in failed]
        refused += [(chunk[at], why) for at, why in sorted(failed.items())]
        _keep(workspace, experiment, written, what, "told")
        done += len(written)
        progress("attributes", start + len(chunk), len(order))
    return done, refused


def _keep(
    workspace: Workspace,
    experiment: Experiment,
    customers: Sequence[str],
    what: Mapping[str, Mapping[str, Any]],
    state: str,
) -> None:
    if not customers:
        return
    at, written = workspace.now(), stamp()
    workspace.lake.append_rows(
        "ready",
        [
            {
                "experiment": experiment.key,
                "id": customer,
                "attributes": json.dumps(what[customer], sort_keys=True),
                "at": at,
                "state": state,
                "written": written,
            }
            for customer in customers
        ],
    )
