"""Escalation: whose first offer failed, as far as the events are known."""

from __future__ import annotations

from datetime import datetime

from toolkit.design.experiment import Experiment
from toolkit.lake.engine import Connection, connect, instant, parquet, text, texts
from toolkit.lake.intake import complete_through
from toolkit.lake.ledger import open_ledger
from toolkit.lake.sources import open_file
from toolkit.lake.tables import Lake

__all__ = ["escalated"]


def escalated(lake: Lake, experiment: Experiment, spec: str, *, now: datetime) -> frozenset[str]:
    """Return the customers who went so long after assignment without an order.

    Only a span that the events are known to cover counts as a span without an order: where they reach less
    far, nobody moves on yet.
    """
    rules = [trait.escalate for trait in experiment.traits if trait.escalate]
    if not rules or experiment.events is None:
        return frozenset()
    with connect() as con:
        open_ledger(con, lake, experiment, spec, as_of_end=now)
        orders, through = _orders(con, lake, experiment, spec)
        found: set[str] = set()
        for rule in rules:
            after = f"INTERVAL {round(rule.after.total_seconds())} SECONDS"
            rows = con.execute(
                f"SELECT l.id FROM ledger l WHERE l.arm IN ({texts(rule.arms)}) "
                f"AND l.assigned_at + {after} <= {through} AND NOT EXISTS "
                f"(SELECT 1 FROM ({orders}) o WHERE o.id = l.id AND o.happened_at >= l.assigned_at)"
            ).fetchall()
            found |= {str(row[0]) for row in rows}
    return frozenset(found)


def _orders(con: Connection, lake: Lake, experiment: Experiment, spec: str) -> tuple[str, str]:
    """Return the query of (id, happened_at) of orders, and the expression of how far they are known."""
    events = experiment.events
    nothing = (
        "SELECT '' AS id, CAST(NULL AS TIMESTAMPTZ) AS happened_at WHERE false",
        "CAST(NULL AS TIMESTAMPTZ)",
    )
    if events is None:
        return nothing
    name = text(events.order.name)
    if events.source == "files":
        table = open_file(
            con, experiment.file_beside(spec, events.file), what="`events` names it as the events"
        )
        at = table.instant("timestamp", events.timezone)
        orders = f"SELECT {table.id()} AS id, {at} AS happened_at FROM {table.sql} WHERE name = {name}"
        return orders, f"(SELECT max({at}) FROM {table.sql})"
    source = f"customerio:{experiment.identity.key}"
    files = lake.files("events")
    reached = complete_through(lake, source, [events.order.name])
    if not files or reached is None:
        return nothing
    orders = (
        f"SELECT id, timestamp AS happened_at FROM {parquet(files)} "
        f"WHERE name = {name} AND source = {text(source)}"
    )
    return orders, instant(reached)
