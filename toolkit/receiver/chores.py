"""Chores on the inbox that need no door: apply it once, list what was put aside, and try that again."""

from __future__ import annotations

import time
from dataclasses import dataclass

from toolkit.errors import ToolkitError
from toolkit.lake.inbox import Inbox
from toolkit.lake.received import Arrival, Held, Unusable, Waiting
from toolkit.receiver.app import SEGMENTS
from toolkit.receiver.bodies import Misunderstood, crossing_of, delivery_of
from toolkit.receiver.tallies import Tallies
from toolkit.receiver.worker import Worker
from toolkit.steps.inbox import Folder, inbox_path
from toolkit.steps.workspace import Workspace

__all__ = ["Once", "Retried", "apply_once", "held", "retry_held"]


@dataclass(frozen=True, slots=True)
class Once:
    """What one pass over the inbox did."""

    before: Waiting
    after: Waiting
    refused: tuple[ToolkitError, ...]


@dataclass(frozen=True, slots=True)
class Retried:
    """How many bodies were taken out of quarantine, and what keeps the others there."""

    mended: int
    held: tuple[Held, ...]


def apply_once(workspace: Workspace, folder: Folder) -> Once:
    """Apply what is in the inbox.

    Raises:
        SettingsError: there is no such folder.
        StorageError: the inbox cannot be read or written.
    """
    path = inbox_path(workspace)
    folder.specs()
    with Inbox(path) as inbox:
        before = inbox.waiting()
        refused = Worker(workspace, path, folder, Tallies()).apply(inbox)
        return Once(before, inbox.waiting(), tuple(refused))


def held(workspace: Workspace) -> list[Held]:
    """Return what was put aside, by reason.

    Raises:
        StorageError: the inbox cannot be read.
    """
    with Inbox(inbox_path(workspace)) as inbox:
        return inbox.held()


def retry_held(workspace: Workspace, folder: Folder) -> Retried:
    """Take in what was put aside and can be understood now: its experiment's file has come, say.

    Raises:
        SettingsError: there is no such folder.
        StorageError: the inbox cannot be read or written.
    """
    keys = folder.identity_keys()
    pairs: list[tuple[Unusable, Arrival | None]] = []
    with Inbox(inbox_path(workspace)) as inbox:
        for each in inbox.unusable():
            try:
                pairs.append(
                    (each, crossing_of(each.body, keys) if each.door == SEGMENTS else delivery_of(each.body))
                )
            except Misunderstood:
                continue
        inbox.mended(pairs, at=time.time())
        return Retried(len(pairs), tuple(inbox.held()))
