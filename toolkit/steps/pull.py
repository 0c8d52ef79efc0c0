"""Pull: what customers did, from Customer.io or files into the lake, each event once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from toolkit.clients import Activity
from toolkit.design.experiment import Events, Experiment
from toolkit.errors import SpecError
from toolkit.lake.intake import keep_events_of_file, known_event_ids, wanted_events
from toolkit.lake.tables import Lake
from toolkit.steps.cohort import identifier_of, open_customerio
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["REACH", "Pulled", "pull"]

REACH = timedelta(days=30)
"""How far back Customer.io's activities go."""
OVERLAP = timedelta(days=7)
"""How far behind the last finished walk a new one looks again, for events that arrived late."""
JUST_NOW = timedelta(minutes=1)
COMPACT_AFTER = 40
MONEY = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull brought.

    Attributes:
        added: events that are new in the lake.
        seen: events looked at.
        pages: pages read.
        without_key: events of people who lack the identity key; they cannot be matched, and are left out.
        without_amount: orders or refunds whose amount is missing or no number; kept, without amount.
        gap: the span that can no longer be had, if the last pull was too long ago.
    """

    added: int = 0
    seen: int = 0
    pages: int = 0
    without_key: int = 0
    without_amount: int = 0
    gap: tuple[datetime, datetime] | None = None

    def __add__(self, other: Pulled) -> Pulled:
        """Return both pulls together."""
        return Pulled(
            self.added + other.added,
            self.seen + other.seen,
            self.pages + other.pages,
            self.without_key + other.without_key,
            self.without_amount + other.without_amount,
            self.gap or other.gap,
        )


def pull(
    workspace: Workspace, spec: Spec, *, progress: Callable[[str, int, int], None] | None = None
) -> Pulled:
    """Bring new events into the lake; a second call right after adds nothing.

    From Customer.io: newest first, page by page, each page saved with a cursor before the next is asked for,
    so that an interrupted pull goes on where it was. Activities reach back 30 days only.

    Raises:
        SpecError: the spec has outcomes ready, and so nothing to pull.
        DataError, VendorError, StorageError: the events cannot be had, or not kept.
    """
    events = spec.experiment.events
    if events is None:
        raise SpecError(
            f"{spec.path}: metrics are on `outcomes`, which stand ready; there is nothing to pull"
        )
    if events.source == "files":
        seen, added = keep_events_of_file(workspace.lake, spec.experiment, spec.path, at=workspace.now())
        return Pulled(added, seen, 1)
    total = Pulled()
    for name in wanted_events(spec.experiment):
        total += _walk(workspace, spec.experiment, events, name, progress)
    if len(workspace.lake.files("events")) > COMPACT_AFTER:
        workspace.lake.compact("events")
        workspace.lake.compact("cursors")
    return total


@dataclass(frozen=True, slots=True)
class _Cursor:
    """Where a walk stands: begun when, next page, and how far an earlier walk was complete."""

    started_at: datetime
    next: str | None
    complete_through: datetime | None


def _walk(
    workspace: Workspace,
    experiment: Experiment,
    events: Events,
    name: str,
    progress: Callable[[str, int, int], None] | None,
) -> Pulled:
    lake, now = workspace.lake, workspace.now()
    kept_as = f"customerio:{experiment.identity.key}"
    source = f"{kept_as}:{name}"
    cursor = _cursor(lake, source, now)
    if cursor.next is None and cursor.complete_through and now - cursor.complete_through < JUST_NOW:
        return Pulled()  # another experiment pulled the same events just now
    known = known_event_ids(lake, kept_as, name, since=now - REACH - OVERLAP)
    until = cursor.complete_through - OVERLAP if cursor.complete_through else None
    gap = None
    if cursor.complete_through and cursor.complete_through < now - REACH:
        gap = (cursor.complete_through, now - REACH)
    total = Pulled(gap=gap)
    with open_customerio(workspace) as client:
        for page in client.activity_pages(start=cursor.next, type="event", name=name):
            rows, here = _rows(experiment, events, page.activities, known, kept_as, now)
            total += here
            if rows:
                lake.append_rows("events", rows)
                known |= {row["event_id"] for row in rows}
            oldest = min((each.timestamp for each in page.activities), default=None)
            done = page.next is None or (until is not None and oldest is not None and oldest < until)
            lake.append_rows(
                "cursors",
                [
                    {
                        "source": source,
                        "walk_started_at": cursor.started_at,
                        "next": None if done else page.next,
                        "reached": oldest,
                        "finished": done,
                        "complete_through": cursor.started_at if done else cursor.complete_through,
                        "saved_at": datetime.now(UTC),
                    }
                ],
            )
            if progress:
                progress(name, total.pages, 0)
            if done:
                break
    return total


def _cursor(lake: Lake, source: str, now: datetime) -> _Cursor:
    rows = lake.read("cursors", source=source).to_pylist()
    if not rows:
        return _Cursor(now, None, None)
    last = max(rows, key=lambda row: row["saved_at"])
    through = last["complete_through"]
    if last["finished"]:
        return _Cursor(now, None, through)
    return _Cursor(last["walk_started_at"], last["next"], through)


def _rows(
    experiment: Experiment,
    events: Events,
    activities: Iterable[Activity],
    known: set[str],
    kept_as: str,
    now: datetime,
) -> tuple[list[dict[str, Any]], Pulled]:
    rows: dict[str, dict[str, Any]] = {}
    seen = without_key = without_amount = 0
    for each in activities:
        seen += 1
        identifier = identifier_of(experiment, each.identifiers)
        if not identifier:
            without_key += 1
            continue
        if each.id in known or each.id in rows:
            continue
        kind = events.refund if each.name == events.refund.name else events.order
        amount = _money(_dig(each.data, kind.amount))
        if amount is None and each.name in {events.order.name, events.refund.name}:
            without_amount += 1
        currency = _dig(each.data, events.order.currency)
        order_id = _dig(each.data, kind.id)
        rows[each.id] = {
            "event_id": each.id,
            "id": identifier,
            "name": each.name,
            "timestamp": each.timestamp,
            "amount": amount,
            "currency": str(currency).strip().upper() if currency else None,
            "order_id": None if order_id in {None, ""} else str(order_id),
            "properties": json.dumps(each.data, default=str, sort_keys=True),
            "source": kept_as,
            "received_at": now,
        }
    return list(rows.values()), Pulled(len(rows), seen, 1, without_key, without_amount)


def _dig(data: Mapping[str, Any], path: str) -> Any:
    """Return what stands at `path` (names joined by dots) in an event's properties, None if nothing does."""
    if path in data:
        return data[path]
    found: Any = data
    for step in path.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def _money(value: Any) -> Decimal | None:
    """Return an amount exactly as written, to four decimals; None where it is no number."""
    if value is None or isinstance(value, bool):
        return None
    try:
        amount = Decimal(str(value).strip())
        return amount.quantize(MONEY) if amount.is_finite() else None
    except InvalidOperation:
        return None
