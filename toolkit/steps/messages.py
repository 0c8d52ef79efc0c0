"""Messages: what Customer.io is told of each customer, and what it was told before."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from toolkit.clients import CustomerIOTrack
from toolkit.design.experiment import Experiment
from toolkit.lake.memberships import stamp
from toolkit.steps.workspace import Workspace

__all__ = ["Messages", "Told", "messages_of", "open_track", "tell", "told_before"]

CHUNK = 2_000


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
    """

    attributes: Mapping[str, Mapping[str, Any]]
    in_doubt: Mapping[str, AbstractSet[str]] = field(default_factory=dict)


def told_before(workspace: Workspace, experiment: Experiment) -> Told:
    """Return what Customer.io was told of each customer."""
    told: dict[str, dict[str, Any]] = {}
    in_doubt: dict[str, set[str]] = {}
    rows = workspace.lake.records("ready", experiment=experiment.key)
    for row in sorted(rows, key=lambda row: (row["written"] or 0, row["at"])):
        said = json.loads(row["attributes"])
        told.setdefault(row["id"], {}).update(said)
        doubt = in_doubt.setdefault(row["id"], set())
        (doubt.update if row["state"] == "intended" else doubt.difference_update)(said)
    return Told(told, {customer: names for customer, names in in_doubt.items() if names})


def messages_of(
    experiment: Experiment, arms: Mapping[str, str], eligible: AbstractSet[str], told: Told, *, version: int
) -> Messages:
    """Return what is still to be said; `version` stands for ready where nobody was told so before."""
    holdout, ready = f"holdout_{experiment.key}", f"ready_{experiment.key}"
    withdraw: dict[str, dict[str, Any]] = {}
    announce: dict[str, dict[str, Any]] = {}
    nothing: Mapping[str, Any] = {}
    for customer, arm in arms.items():
        before = told.attributes.get(customer, nothing)
        wanted: dict[str, Any] = {holdout: arm == experiment.control}
        if customer in eligible:
            wanted[ready] = before.get(ready) or version
        elif before.get(ready):
            withdraw[customer] = {ready: ""}
        doubt = told.in_doubt.get(customer, frozenset())
        if any(name in doubt or before.get(name) != value for name, value in wanted.items()):
            announce[customer] = wanted
    return Messages(withdraw, announce)


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
