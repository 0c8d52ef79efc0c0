"""Intake: events as they come in, each kept once, and how far they are known to reach."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime

from toolkit.design.experiment import Experiment
from toolkit.design.sources import Events
from toolkit.lake.engine import Engine, connect, instant, micros_of, parquet, text
from toolkit.lake.sources import FileTable, open_file
from toolkit.lake.tables import Lake

__all__ = [
    "amount_in",
    "complete_through",
    "counted_events",
    "keep_events_of_file",
    "kept_as",
    "known_event_ids",
    "never_complete",
    "note_through",
    "reaches",
    "wanted_events",
]


def wanted_events(experiment: Experiment) -> tuple[str, ...]:
    """Return the names of the events that the metrics are on, of orders and refunds, and of opting out."""
    events = experiment.events
    if events is None:
        return ()
    return tuple(sorted({*counted_events(experiment), *experiment.opt_outs}))


def counted_events(experiment: Experiment) -> tuple[str, ...]:
    """Return the names of the events that the metrics are on, of orders and refunds."""
    events = experiment.events
    if events is None:
        return ()
    named = [term.event for term in experiment.terms if term.event]
    return tuple(sorted({*named, events.order.name, events.refund.name}))


def kept_as(experiment: Experiment, spec: str) -> str:
    """Return under which source the experiment's events stand in the lake.

    Experiments that read the same events in the same way share them. A folder's events are kept anew where the
    experiment file comes to read its columns otherwise.
    """
    events = experiment.events
    if events is None or events.source == "files":
        return f"files:{experiment.key}"
    if not events.from_folder:
        return f"customerio:{experiment.identity.key}"
    folder = os.path.abspath(experiment.file_beside(spec, events.file))  # noqa: PTH100 (it need not be there)
    how = json.dumps([folder, events.model_dump(mode="json", exclude={"path"})], sort_keys=True)
    return f"{events.source}:{experiment.identity.key}:{hashlib.sha256(how.encode()).hexdigest()[:16]}"


def note_through(lake: Lake, source: str, names: Sequence[str], through: datetime, *, at: datetime) -> None:
    """Note that the events of `names` are known as far as `through`."""
    lake.append_rows(
        "cursors",
        [
            {
                "source": f"{source}:{name}",
                "walk_started_at": at,
                "finished": True,
                "complete_through": through,
                "saved_at": at,
            }
            for name in names
        ],
    )


def complete_through(
    lake: Lake, source: str, names: Sequence[str], *, con: Engine | None = None
) -> datetime | None:
    """Return up to when events of all `names` have been pulled from `source`; None where one never was.

    `con` reads, if it is given.
    """
    reached = _reached(lake, con)
    each = [reached.get(f"{source}:{name}") for name in names]
    known = [at for at in each if at is not None]
    return min(known) if known and len(known) == len(each) else None


def never_complete(
    lake: Lake, source: str, names: Sequence[str], *, con: Engine | None = None
) -> tuple[str, ...]:
    """Return those of `names` that no pull from `source` has ever finished; none where nothing is pulled from it.

    Of such an event the lake may hold a part, or nothing yet.
    """
    reached = _reached(lake, con)
    if not any(each.startswith(f"{source}:") for each in reached):
        return ()
    return tuple(name for name in names if reached.get(f"{source}:{name}") is None)


def reaches(lake: Lake, source: str, name: str, *, con: Engine | None = None) -> dict[int, int]:
    """Return how far pulls from `source` knew events of a name: pull → up to when, in microseconds since 1970.

    `con` reads, if it is given. Files reach as far as their latest event, which may be well before they are read.
    """
    rows = lake.records("cursors", ["saved_at", "complete_through"], con=con, source=f"{source}:{name}")
    told = ((row["saved_at"], row["complete_through"]) for row in rows)
    return {micros_of(at): micros_of(through) for at, through in told if at and through}


def _reached(lake: Lake, con: Engine | None) -> Mapping[str, datetime | None]:
    """Return source → up to when events have been pulled, None where no pull was finished.

    Read once per engine and version of the lake.
    """
    place = f"cursors {lake.uri('cursors')} {lake.version('cursors')}"
    if con and place in con.opened:
        found: dict[str, datetime | None] = con.opened[place]
        return found
    reached: dict[str, datetime | None] = {}
    for row in lake.records("cursors", ["source", "complete_through"], con=con):
        at, before = row["complete_through"], reached.get(row["source"])
        reached[row["source"]] = max(at, before) if at and before else at or before
    if con:
        con.opened[place] = reached
    return reached


def known_event_ids(lake: Lake, source: str, name: str, *, since: datetime) -> set[str]:
    """Return the ids of the events called `name` that are kept already, from `since` on."""
    files = lake.files("events")
    if not files:
        return set()
    with connect() as con:
        rows = con.rows(
            f"SELECT event_id FROM {parquet(files)} WHERE source = {text(source)} AND name = {text(name)} "
            f"AND timestamp >= {instant(since)}"
        )
    return {str(row[0]) for row in rows}


def amount_in(table: FileTable, events: Events) -> str | None:
    """Return the expression of an event's amount in a file, a refund's own if it has a column; None without one."""
    order, refund = (
        next((each for each in (wanted, "amount") if each in table.columns), None)
        for wanted in (events.order.amount, events.refund.amount)
    )
    if order is None or refund is None or refund == order:
        return table.number(order) if order else None
    is_refund = f"name = {text(events.refund.name)}"
    return f"CASE WHEN {is_refund} THEN {table.number(refund)} ELSE {table.number(order)} END"


def keep_events_of_file(lake: Lake, experiment: Experiment, spec: str, *, at: datetime) -> tuple[int, int]:
    """Keep the events of the experiment's file in the lake, those not kept yet.

    Rows without an event id get one made from what they say.

    Returns:
        rows looked at, rows added.

    Raises:
        DataError: the file cannot be used.
    """
    events = experiment.events
    if events is None:
        return 0, 0
    source = kept_as(experiment, spec)
    path = experiment.file_beside(spec, events.file)
    with connect() as con:
        table = open_file(con, path, what="`events` names it as the events (id, name, timestamp, …)")
        table.need("id", "name", "timestamp")
        columns = table.columns
        amount = amount_in(table, events)
        order_id = next((each for each in (events.order.id, "order_id") if each in columns), None)
        currency = next((each for each in (events.order.currency, "currency") if each in columns), None)
        shown = {
            "id": table.id(email=experiment.identity.key == "email"),
            "name": table.words("name"),
            "timestamp": table.instant("timestamp", events.timezone),
            "amount": f"CAST({amount} AS DECIMAL(18, 4))" if amount else "NULL::DECIMAL(18, 4)",
            "currency": f"upper({table.words(currency)})" if currency else "NULL::VARCHAR",
            "order_id": table.words(order_id) if order_id else "NULL::VARCHAR",
        }
        said = ", ".join(f"{expression} AS {name}" for name, expression in shown.items())
        own = f"nullif({table.id('event_id')}, '')" if "event_id" in columns else "NULL::VARCHAR"
        table.settle()
        con.run(f"CREATE TEMP TABLE told AS SELECT {own} AS own_id, {said} FROM {table.sql}")
        con.run(
            "CREATE TEMP TABLE named AS SELECT * EXCLUDE (own_id), coalesce(own_id, sha1(concat_ws('|', id, name, "
            "epoch_us(timestamp), amount, order_id, row_number() OVER (PARTITION BY id, name, timestamp, amount, "
            "order_id)))) AS event_id FROM told"
        )
        files = lake.files("events")
        con.run(
            "CREATE TEMP VIEW kept AS "
            + (
                f"SELECT event_id FROM {parquet(files)} WHERE source = {text(source)}"
                if files
                else "SELECT NULL::VARCHAR AS event_id WHERE false"
            )
        )
        fresh = (
            "SELECT event_id, first(id) AS id, first(name) AS name, first(timestamp) AS timestamp, "
            "first(amount) AS amount, first(currency) AS currency, first(order_id) AS order_id, "
            f"NULL::VARCHAR AS properties, {text(source)} AS source, "
            f"{instant(at)} AS received_at "
            "FROM named ANTI JOIN kept USING (event_id) GROUP BY event_id"
        )
        seen = con.one("SELECT count(*) FROM named")[0]
        added = con.one(f"SELECT count(*) FROM ({fresh})")[0]
        if added:
            lake.append("events", lambda: con.stream(fresh))
    return int(seen), int(added)
