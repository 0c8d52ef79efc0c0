"""Customer.io's activities, walked page by page into the lake, each event once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from toolkit.clients import Activity, ActivityPage, CustomerIO
from toolkit.design.experiment import Experiment
from toolkit.design.sources import Events
from toolkit.errors import InvalidRequest, NotFound
from toolkit.lake.coverage import REACH
from toolkit.lake.intake import kept_as, known_event_ids, wanted_events
from toolkit.lake.tables import Lake
from toolkit.steps.cohort import identifier_of, open_customerio
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["REACH", "Walked", "pull_activities"]

OVERLAP = timedelta(days=7)
"""How far behind the last finished walk a new one looks again, for events that arrived late."""
JUST_NOW = timedelta(minutes=1)
MONEY = Decimal("0.0001")
TOO_MUCH = Decimal(10) ** 14


@dataclass(frozen=True, slots=True)
class Walked:
    """What a walk brought.

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

    def __add__(self, other: Walked) -> Walked:
        """Return both walks together."""
        return Walked(
            self.added + other.added,
            self.seen + other.seen,
            self.pages + other.pages,
            self.without_key + other.without_key,
            self.without_amount + other.without_amount,
            self.gap or other.gap,
        )


def pull_activities(
    workspace: Workspace, spec: Spec, events: Events, progress: Callable[[str, int, int], None] | None
) -> Walked:
    """Bring the events that the metrics are on into the lake.

    Newest first, page by page, each page saved with a cursor before the next is asked for, so that an interrupted
    pull goes on where it was. Activities reach back 30 days only.

    Raises:
        VendorError, StorageError: the events cannot be had, or not kept.
    """
    total = Walked()
    for name in wanted_events(spec.experiment):
        total += _walk(workspace, spec, events, name, progress)
    return total


@dataclass(frozen=True, slots=True)
class _Cursor:
    """Where a walk stands: begun when, next page, and how far an earlier walk was complete."""

    started_at: datetime
    next: str | None
    complete_through: datetime | None


def _walk(
    workspace: Workspace,
    spec: Spec,
    events: Events,
    name: str,
    progress: Callable[[str, int, int], None] | None,
) -> Walked:
    experiment, lake, now = spec.experiment, workspace.lake, workspace.now()
    kept = kept_as(experiment, spec.path)
    source = f"{kept}:{name}"
    cursor = _cursor(lake, source, now)
    if cursor.next is None and cursor.complete_through and now - cursor.complete_through < JUST_NOW:
        return Walked()  # another experiment pulled the same events just now
    known = known_event_ids(lake, kept, name, since=now - REACH - OVERLAP)
    until = cursor.complete_through - OVERLAP if cursor.complete_through else None
    gap = None
    if cursor.complete_through and cursor.complete_through < now - REACH:
        gap = (cursor.complete_through, now - REACH)
    total = Walked(gap=gap)
    with open_customerio(workspace) as client:
        for page in _pages(client, cursor.next, name):
            rows, here = _rows(experiment, events, page.activities, known, kept, now)
            total += here
            if rows:
                lake.append_rows("events", rows)
                known |= {row["event_id"] for row in rows}
            instants = [each.timestamp for each in page.activities]
            oldest, newest = min(instants, default=None), max(instants, default=None)
            # one event of long ago on a page says nothing of those behind it
            done = page.next is None or (until is not None and newest is not None and newest < until)
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


def _pages(client: CustomerIO, start: str | None, name: str) -> Iterator[ActivityPage]:
    """Yield pages from `start` on; from the newest where the vendor does not know that place any more."""
    try:
        for page in client.activity_pages(start=start, type="event", name=name):
            start = None
            yield page
    except (InvalidRequest, NotFound):
        if start is None:
            raise
        yield from client.activity_pages(type="event", name=name)


def _cursor(lake: Lake, source: str, now: datetime) -> _Cursor:
    rows = lake.records("cursors", source=source)
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
    kept: str,
    now: datetime,
) -> tuple[list[dict[str, Any]], Walked]:
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
        rows[each.id] = {
            "event_id": each.id,
            "id": identifier,
            "name": each.name,
            "timestamp": each.timestamp,
            "amount": amount,
            "currency": (_said(_dig(each.data, events.order.currency)) or "").upper() or None,
            "order_id": _said(_dig(each.data, kind.id)),
            "properties": json.dumps(each.data, default=str, sort_keys=True),
            "source": kept,
            "received_at": now,
        }
    return list(rows.values()), Walked(len(rows), seen, 1, without_key, without_amount)


def _dig(data: Mapping[str, Any], path: str) -> Any:
    """Return what stands at `path` (names joined by dots) in an event's properties, None if nothing does."""
    if path in data:
        return data[path]
    found: Any = data
    for step in path.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def _said(value: Any) -> str | None:
    """Return a property as text; None where it is empty, or no text or number."""
    if not isinstance(value, str | int | float | Decimal) or isinstance(value, bool):
        return None
    return str(value).encode(errors="replace").decode().strip() or None  # half a surrogate pair is no text


def _money(value: Any) -> Decimal | None:
    """Return an amount exactly as written, to four decimals; None where it is no number, or larger than the lake holds."""
    try:
        amount = Decimal(_said(value) or "").quantize(MONEY)
        return amount if abs(amount) < TOO_MUCH else None
    except InvalidOperation:
        return None
