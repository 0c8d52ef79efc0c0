"""Inbox: what webhooks brought goes on into the lake, the ledger, LaunchDarkly and Customer.io."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path

from toolkit.errors import NotEnoughData, SettingsError, ToolkitError
from toolkit.lake.crossings import keep_crossings
from toolkit.lake.inbox import Inbox
from toolkit.lake.received import Delivery, Standing
from toolkit.steps.assign import assign
from toolkit.steps.push import open_launchdarkly, plan_push, push
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["Applied", "Folder", "apply_crossings", "by_experiment", "inbox_path", "move_deliveries", "tidy"]

MOST_DELIVERIES = 10_000
"""Deliveries of one append to the lake."""
WRITTEN_OFTEN = ("deliveries", "crossings", "assignments", "people", "ready", "memberships", "sync_receipts")
MOST_FILES = 200
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of the words on one experiment's customers.

    Attributes:
        crossings: words that are applied now.
        enrolled: customers newly in the ledger.
        writes: requests that changed something at LaunchDarkly.
    """

    crossings: int
    enrolled: int
    writes: int


class Folder:
    """The experiment files of a folder, read anew when one of them changes.

    Of a file that is wrong now, what it said before holds; if it never said anything, its experiment is unknown.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.wrong: tuple[ToolkitError, ...] = ()
        self._seen: dict[str, tuple[int, int]] | None = None
        self._by_path: dict[str, Spec] = {}

    def specs(self) -> Mapping[str, Spec]:
        """Return key → spec.

        Raises:
            SettingsError: there is no such folder, and never was.
        """
        seen = self._look()
        if seen != self._seen:
            wrong, known = [], {}
            for path in sorted(seen):
                try:
                    known[path] = Spec.read(path)
                except ToolkitError as mistaken:
                    wrong.append(mistaken)
                    if path in self._by_path:
                        known[path] = self._by_path[path]
            self._by_path, self.wrong, self._seen = known, tuple(wrong), seen
        return {spec.experiment.key: spec for spec in self._by_path.values()}

    def identity_keys(self) -> Mapping[str, str]:
        """Return experiment → the identifier that its customers are known by."""
        return {key: spec.experiment.identity.key for key, spec in self.specs().items()}

    def _look(self) -> dict[str, tuple[int, int]]:
        """Return path → when it was changed, and its size."""
        try:
            with os.scandir(self.folder) as found:
                stats = {each.path: each.stat() for each in found if each.name.endswith((".yml", ".yaml"))}
        except OSError as refused:
            if self._seen is not None:
                return self._seen
            raise SettingsError(
                f"{self.folder}: cannot be read as the folder of experiment files: {refused.strerror}"
            ) from None
        return {path: (stat.st_mtime_ns, stat.st_size) for path, stat in stats.items()}


def inbox_path(workspace: Workspace) -> Path:
    """Return where the inbox is.

    Raises:
        SettingsError: the lake is not in a folder, and nothing says where else the inbox is to be.
    """
    settings = workspace.settings
    if settings.lift_inbox:
        return settings.lift_inbox
    if "://" in settings.lift_home:
        raise SettingsError(
            "LIFT_INBOX is not set, and LIFT_HOME is no folder; export the path of a file on a local disk"
        )
    return Path(settings.lift_home) / "inbox.sqlite"


def move_deliveries(workspace: Workspace, inbox: Inbox, specs: Iterable[Spec] = ()) -> int:
    """Move deliveries from the inbox into the lake, each once, and return how many were new there.

    A customer is written down by the identifier of that one of `specs` whose message it was.

    Raises:
        StorageError: the disk or the object store refused; what is not in the lake is in the inbox still.
    """
    from toolkit.lake.deliveries import append_deliveries

    identities = _identities(specs)
    added = 0
    while True:
        through, some = inbox.deliveries(MOST_DELIVERIES)
        if not some:
            return added
        added += append_deliveries(
            workspace.lake, [_row(each, identities) for each in some], at=workspace.now()
        )
        inbox.taken(through)


def apply_crossings(workspace: Workspace, inbox: Inbox, spec: Spec, standings: Sequence[Standing]) -> Applied:
    """Apply the last words on customers of one experiment: enrol who is new, then push who is eligible.

    Everything may be done again: words are kept in the lake once more, the ledger knows who is in it, and the
    push is a difference. A word is settled in the inbox only after the push was read back.

    Raises:
        ToolkitError: the ledger, LaunchDarkly or Customer.io refused; the words wait in the inbox.
    """
    fresh = [each for each in standings if not each.recorded]
    keep_crossings(workspace.lake, fresh, at=workspace.now())
    inbox.recorded(fresh)
    enrolled = _enrol(workspace, spec, [each.customer for each in standings if each.entered])
    writes = _push(workspace, spec)
    inbox.applied(standings)
    return Applied(len(standings), enrolled, writes)


def tidy(workspace: Workspace) -> None:
    """Merge the small files that many small applications leave behind; rows stay as they are."""
    for table in WRITTEN_OFTEN:
        if len(workspace.lake.files(table)) > MOST_FILES:
            workspace.lake.compact(table)


def by_experiment(standings: Iterable[Standing]) -> dict[str, list[Standing]]:
    """Return experiment → its words, from words sorted by experiment."""
    return {key: list(some) for key, some in groupby(standings, lambda each: each.experiment)}


def _enrol(workspace: Workspace, spec: Spec, customers: Sequence[str]) -> int:
    if not customers or spec.experiment.assignment.source == "files":  # there, someone else assigns
        return 0
    done = assign(workspace, spec, customers=customers)
    return sum(done.enrolment.assigned.values()) if done.enrolment else 0


def _push(workspace: Workspace, spec: Spec) -> int:
    """Push, where there is something that LaunchDarkly can be told; return how many requests changed something."""
    experiment = spec.experiment
    if not experiment.traits or experiment.identity.key == "email":
        return 0
    with open_launchdarkly(workspace, spec) as client:
        try:
            plan = plan_push(workspace, spec, client)
        except NotEnoughData:  # nobody who entered could be enrolled: nobody is eligible
            return 0
        return push(workspace, spec, client, plan).writes


def _identities(specs: Iterable[Spec]) -> dict[tuple[str, int], str]:
    """Return (kind of message, its number) → the identifier of its experiment's customers."""
    return {
        (kind, number): spec.experiment.identity.key
        for spec in specs
        if (told := spec.experiment.deliveries)
        for kind, numbers in (("campaign", told.campaigns), ("newsletter", told.newsletters))
        for number in numbers
    }


def _row(delivery: Delivery, identities: Mapping[tuple[str, int], str]) -> dict[str, object]:
    messages = (("campaign", delivery.campaign_id), ("newsletter", delivery.newsletter_id))
    wanted = [
        identities[kind, number] for kind, number in messages if number and (kind, number) in identities
    ]
    kind = next(name for name in (*wanted, "id", "cio_id", "email") if getattr(delivery, name))
    return {
        "event_id": delivery.event_id,
        "delivery_id": delivery.delivery_id,
        "id": getattr(delivery, kind),
        "id_type": kind,
        "metric": delivery.metric,
        "campaign_id": delivery.campaign_id,
        "newsletter_id": delivery.newsletter_id,
        "timestamp": EPOCH + timedelta(microseconds=delivery.at),
        "source": "webhook",
    }
