"""Escalation: whose first offer failed, as far as the events are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from toolkit.design.experiment import Experiment
from toolkit.design.sources import Events
from toolkit.lake.coverage import coverage
from toolkit.lake.engine import Engine, connect, micros, micros_of, parquet, texts
from toolkit.lake.intake import kept_as
from toolkit.lake.ledger import open_ledger
from toolkit.lake.sources import open_file
from toolkit.lake.tables import Lake

__all__ = ["escalated"]


@dataclass(frozen=True, slots=True)
class _Told:
    """Events that take an offer back, and how far they are known.

    Attributes:
        sql: the query of (id, happened); happened in microseconds since 1970.
        since: from when on they are complete; None where they are taken to be from the start.
        through: until when they are complete.
    """

    sql: str
    since: int | None
    through: int


def escalated(lake: Lake, experiment: Experiment, spec: str, *, now: datetime) -> frozenset[str]:
    """Return the customers who, by what is known `now`, went so long after assignment without an order.

    A customer moves on at the very instant assignment + `after`, if nothing happened since assignment (its own
    instant included) that takes the offer back: an order, or the event `opt_out`. One that becomes known later
    takes back the second step, whenever it happened. Only a span that the events are known to cover counts as
    one without an order: where they do not, nobody moves on yet.

    Raises:
        DataError: the ledger's file or the events' file cannot be used.
    """
    rules = [trait.escalate for trait in experiment.traits if trait.escalate]
    events = experiment.events
    if not rules or events is None:
        return frozenset()
    found: set[str] = set()
    with connect() as con:
        open_ledger(con, lake, experiment, spec, as_of_end=now)
        for rule in dict.fromkeys(rules):
            names = [events.order.name, *([rule.opt_out] if rule.opt_out else [])]
            told = _told(con, lake, experiment, events, spec, names, now)
            if told is None:
                continue
            after = rule.after // timedelta(microseconds=1)
            places = ", ".join(str(at) for at, arm in enumerate(experiment.arms) if arm in rule.arms)
            covered = f"l.assigned >= {told.since}" if told.since is not None else "true"
            rows = con.rows(
                f"SELECT l.id FROM ledger l WHERE l.arm IN ({places}) AND {covered} "
                f"AND l.assigned + {after} <= {told.through} AND NOT EXISTS "
                f"(SELECT 1 FROM ({told.sql}) o WHERE o.id = l.id AND o.happened >= l.assigned)"
            )
            found |= {str(row[0]) for row in rows}
    return frozenset(found)


def _told(
    con: Engine,
    lake: Lake,
    experiment: Experiment,
    events: Events,
    spec: str,
    names: Sequence[str],
    now: datetime,
) -> _Told | None:
    """Return the events called one of `names`; None where nothing is known of them."""
    if not events.in_lake:
        return _from_file(con, experiment, events, spec, names, now)
    source = kept_as(experiment, spec)
    files, span = lake.files("events"), coverage(lake, source, names)
    if not files or span is None:
        return None
    return _Told(  # whoever told of an order, it was one
        f"SELECT id, {micros('timestamp')} AS happened FROM {parquet(files)} WHERE name IN ({texts(names)})",
        None if events.from_folder else micros_of(span.since),  # a folder keeps what was not pulled in time
        micros_of(min(span.through, now)),
    )


def _from_file(
    con: Engine, experiment: Experiment, events: Events, spec: str, names: Sequence[str], now: datetime
) -> _Told | None:
    """Return the events of the team's file, which is taken to hold everything up to its last event by `now`."""
    path = experiment.file_beside(spec, events.file)
    table = open_file(con, path, what="`events` names it as the events")
    identifier = table.id(email=experiment.identity.key == "email")
    at, name = table.micros("timestamp", events.timezone), table.key("name")
    (last,) = table.settle(f"max({at}) FILTER (WHERE {at} <= {micros_of(now)})")
    if last is None:
        return None
    query = f"SELECT {identifier} AS id, {at} AS happened FROM {table.sql} WHERE {name} IN ({texts(names)})"
    return _Told(query, None, int(last))
