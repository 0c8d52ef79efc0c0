"""Whom this experiment's messages reached: from the warehouse sync, from files, or asked of Customer.io."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from toolkit.clients import CustomerIO, Message
from toolkit.design.experiment import Experiment
from toolkit.design.sources import Deliveries
from toolkit.lake.arrivals import Kept
from toolkit.lake.deliveries import append_deliveries
from toolkit.lake.delivery_files import keep_deliveries_of_files
from toolkit.lake.intake import complete_through, note_through
from toolkit.lake.sync_tables import sync_files
from toolkit.lake.warehouse_sync import keep_sync_deliveries
from toolkit.steps.cohort import identifier_of, open_customerio
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["pull_deliveries"]

WINDOW = timedelta(days=7)
"""So much is asked for at a time and then noted as done; Customer.io takes at most 6 months."""
OVERLAP = timedelta(days=7)
"""How far behind the last pull a new one looks again: what became of a message is known days later."""
Kind = Literal["campaign_id", "newsletter_id"]
Progress = Callable[[str, int, int], None]


def pull_deliveries(
    workspace: Workspace, spec: Spec, ours: Deliveries, progress: Progress | None = None
) -> Kept | None:
    """Bring what became of the experiment's messages into the lake, each thing once.

    None with `source: webhooks`, where nothing is to be pulled.

    Raises:
        DataError: a file cannot be used; the others were taken.
        VendorError: Customer.io refused or could not be reached; what came before is kept.
    """
    experiment, lake, now = spec.experiment, workspace.lake, workspace.now()
    if ours.source == "webhooks":
        return None
    if ours.source == "customerio":
        return _ask(workspace, spec, ours, progress)
    path = experiment.file_beside(spec.path, ours.path or "")
    source = _source(experiment, ours, path)
    if ours.source == "warehouse":
        sync = sync_files(path, what="`deliveries` names it as the folder of Customer.io's warehouse sync")
        taken = keep_sync_deliveries(lake, sync, source, experiment, ours, at=now)
    else:
        taken = keep_deliveries_of_files(lake, path, source, experiment, ours, at=now)
    note_through(lake, f"deliveries:{experiment.key}", ["read"], now, at=now)
    taken.settle(path)
    return taken.kept


def _source(experiment: Experiment, ours: Deliveries, path: str) -> str:
    how = json.dumps([str(Path(path).absolute()), ours.model_dump(mode="json")], sort_keys=True)
    return f"deliveries:{experiment.identity.key}:{hashlib.sha256(how.encode()).hexdigest()[:16]}"


def _ask(workspace: Workspace, spec: Spec, ours: Deliveries, progress: Progress | None) -> Kept:
    experiment, lake, now = spec.experiment, workspace.lake, workspace.now()
    total = Kept()
    with open_customerio(workspace) as client:
        for kind, number in _messages(ours):
            source = f"messages:{experiment.identity.key}:{kind}"
            walk = [
                f"{number}:from {experiment.starts_at.isoformat()}"
            ]  # another experiment's may begin later
            through = complete_through(lake, source, walk)
            first = max(experiment.starts_at, through - OVERLAP) if through else experiment.starts_at
            for since, until in _windows(first, now):
                total += _window(workspace, client, experiment, kind, number, since, until, progress)
                note_through(lake, source, walk, until, at=now)
    note_through(lake, f"deliveries:{experiment.key}", ["read"], now, at=now)
    return total


def _messages(ours: Deliveries) -> Iterator[tuple[Kind, int]]:
    yield from (("campaign_id", number) for number in ours.campaigns)
    yield from (("newsletter_id", number) for number in ours.newsletters)


def _windows(first: datetime, last: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield spans no longer than Customer.io takes, one after the other, up to `last`."""
    while first < last:
        until = min(first + WINDOW, last)
        yield first, until
        first = until


def _window(
    workspace: Workspace,
    client: CustomerIO,
    experiment: Experiment,
    kind: Kind,
    number: int,
    since: datetime,
    until: datetime,
    progress: Progress | None,
) -> Kept:
    """Keep what is told of one span, page by page: an interrupted pull has the pages before it."""
    campaign, newsletter = (number, None) if kind == "campaign_id" else (None, number)
    pages = client.message_pages(
        campaign_id=campaign,
        newsletter_id=newsletter,
        start_ts=int(since.timestamp()),
        end_ts=int(until.timestamp()),
    )
    seen = added = nobody = 0
    for page in pages:
        rows = [row for each in page.messages for row in _rows(experiment, each)]
        seen += len(rows)
        named = [row for row in rows if row["id"]]
        nobody += len(rows) - len(named)
        added += append_deliveries(workspace.lake, named, at=workspace.now())
        if progress:
            progress("messages", seen, 0)
    return Kept(seen, added, without_key=nobody)


def _rows(experiment: Experiment, message: Message) -> Iterator[dict[str, Any]]:
    for metric, at in message.metrics.items():
        yield {
            "delivery_id": message.id,
            "id": identifier_of(experiment, message.identifiers),
            "id_type": experiment.identity.key,
            "metric": metric,
            "campaign_id": message.campaign_id,
            "newsletter_id": message.newsletter_id,
            "timestamp": at,
            "source": "customerio",
        }
