"""Escalation: whose first offer failed, as far as the events are known."""

from __future__ import annotations

from datetime import datetime, timedelta

from toolkit.design.experiment import Experiment
from toolkit.lake.engine import Engine, connect, micros, micros_of, parquet, text
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
            after = rule.after // timedelta(microseconds=1)
            places = ", ".join(str(at) for at, arm in enumerate(experiment.arms) if arm in rule.arms)
            rows = con.rows(
                f"SELECT l.id FROM ledger l WHERE l.arm IN ({places}) "
                f"AND l.assigned + {after} <= {through} AND NOT EXISTS "
                f"(SELECT 1 FROM ({orders}) o WHERE o.id = l.id AND o.happened >= l.assigned)"
            )
            found |= {str(row[0]) for row in rows}
    return frozenset(found)


def _orders(con: Engine, lake: Lake, experiment: Experiment, spec: str) -> tuple[str, str]:
    """Return the query of (id, happened) of orders, and the expression of how far they are known."""
    events = experiment.events
    nothing = ("SELECT '' AS id, CAST(NULL AS BIGINT) AS happened WHERE false", "CAST(NULL AS BIGINT)")
    if events is None:
        return nothing
    name = text(events.order.name)
    if events.source == "files":
        table = open_file(
            con, experiment.file_beside(spec, events.file), what="`events` names it as the events"
        )
        at = table.micros("timestamp", events.timezone)
        table.settle()
        orders = f"SELECT {table.id()} AS id, {at} AS happened FROM {table.sql} WHERE name = {name}"
        return orders, f"(SELECT max({at}) FROM {table.sql})"
    source = f"customerio:{experiment.identity.key}"
    files = lake.files("events")
    reached = complete_through(lake, source, [events.order.name])
    if not files or reached is None:
        return nothing
    orders = (
        f"SELECT id, {micros('timestamp')} AS happened FROM {parquet(files)} "
        f"WHERE name = {name} AND source = {text(source)}"
    )
    return orders, str(micros_of(reached))
