"""What Customer.io's warehouse sync tells of events and messages, kept in the lake as its files come."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from toolkit.design.experiment import Experiment
from toolkit.design.sources import Deliveries, Events
from toolkit.errors import DataError
from toolkit.lake.arrivals import Arrival, Kept, Taken, take_new
from toolkit.lake.deliveries import keep_new_deliveries, of_messages
from toolkit.lake.engine import connect, instant, text
from toolkit.lake.event_files import keep_told, read_told
from toolkit.lake.sync_tables import Sync, check_tables, identity_of, open_tables, rows_of
from toolkit.lake.tables import Lake

__all__ = ["keep_sync_deliveries", "keep_sync_events"]

USUAL = {
    "event_id": ("event_id", "id"),
    "id": ("customer_id",),
    "person": ("internal_customer_id",),
    "name": ("event_name", "name", "event"),
    "timestamp": ("timestamp", "created_at"),
    "properties": ("properties", "data", "event_data", "attributes"),
}


def keep_sync_events(
    lake: Lake,
    sync: Sync,
    source: str,
    experiment: Experiment,
    events: Events,
    names: Sequence[str],
    *,
    at: datetime,
) -> Taken:
    """Keep the events called one of `names` of the files that came since, each once.

    Rows of people whom the sync has not told of yet wait: their files are read again.
    """
    files = sync.files.get("events", ())
    if not files:
        raise DataError(
            f"{sync.folder}: no file of events (events_v5_….parquet): the sync sends them from version 5 on; turn them "
            "on there, or name another source of `events`"
        )
    check_tables(sync, "people")
    key = experiment.identity.key
    usual = USUAL if key == "id" else USUAL | {"id": ()}

    def keep(files: Sequence[Arrival]) -> Kept:
        with connect() as con:
            through = read_told(con, files, "parquet", events, names, usual, email=key == "email", at=at)
            open_tables(con, sync, "people")
            con.run(
                "CREATE OR REPLACE TEMP TABLE told AS SELECT t.* REPLACE "
                f"(coalesce(t.id, {identity_of(key)}) AS id), "
                "t.id IS NULL AND t.person IS NOT NULL AND e.cio_id IS NULL AS waits "
                "FROM told t LEFT JOIN sync.everyone e ON e.cio_id = t.person"
            )
            return keep_told(con, lake, source, events, through=through, at=at)

    return take_new(lake, source, files, keep, at=at, names=names)


def keep_sync_deliveries(
    lake: Lake, sync: Sync, source: str, experiment: Experiment, ours: Deliveries, *, at: datetime
) -> Taken:
    """Keep what became of this experiment's messages: the files of metrics that came since, each thing once.

    What became of messages that the sync has not told of yet waits, and so does what concerns unknown people.
    """
    check_tables(sync, "people", "deliveries")
    key = experiment.identity.key
    named = f"coalesce({of_messages(ours.campaigns, ours.newsletters)}, false)"

    def keep(files: Sequence[Arrival]) -> Kept:
        with connect() as con:
            open_tables(con, sync, "people", "deliveries")
            con.table("happened", rows_of(con, files, "metrics"))
            con.table(
                "told",
                f"SELECT h.event_id, h.delivery_id, {identity_of(key)} AS id, {text(key)} AS id_type, h.metric, "
                "d.campaign_id, d.newsletter_id, h.created_at AS timestamp, 'warehouse' AS source, "
                f"{instant(at)} AS received_at, h.filename, "
                f"d.delivery_id IS NULL OR ({named} AND e.cio_id IS NULL) AS waits, {named} AS ours "
                "FROM happened h LEFT JOIN sync.deliveries d USING (delivery_id) "
                "LEFT JOIN sync.everyone e ON e.cio_id = d.internal_customer_id",
            )
            con.view("ours", "SELECT * FROM told WHERE ours AND id <> ''")
            added = keep_new_deliveries(con, lake, "ours")
            seen, waiting, nobody = con.one(
                "SELECT count(*), count(*) FILTER (WHERE waits), "
                "count(*) FILTER (WHERE ours AND NOT waits AND coalesce(id, '') = '') FROM told"
            )
            waits = con.rows("SELECT DISTINCT filename FROM told WHERE waits")
            return Kept(
                int(seen), added, int(waiting), int(nobody), open=frozenset(str(name) for (name,) in waits)
            )

    return take_new(lake, source, sync.files.get("metrics", ()), keep, at=at)
