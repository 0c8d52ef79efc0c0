"""Deliveries: what became of each message, whoever told it (warehouse files, exports, the App API, webhooks).

A row of the table `deliveries` is one thing that happened to one message: it was sent, opened, bounced. Several
sources may tell the same; whoever reads asks for customers, so that it does no harm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from toolkit.errors import DataError
from toolkit.lake.engine import Engine, connect, micros, parquet, text, texts
from toolkit.lake.tables import TABLES, Lake, schema_of

__all__ = ["FAILED", "REACHED", "append_deliveries", "keep_new_deliveries", "of_messages", "reached_by"]

REACHED = (
    "sent",
    "delivered",
    "opened",
    "human_opened",
    "clicked",
    "human_clicked",
    "converted",
    "unsubscribed",
    "spammed",
)
"""What can only happen to a message that went out."""
FAILED = ("bounced", "dropped", "failed", "undeliverable")
"""After which a message that was sent has reached nobody."""
ID_TYPES = ("id", "email", "cio_id")
EVERY_ROW = ("delivery_id", "id", "metric", "timestamp")


def append_deliveries(lake: Lake, rows: Sequence[Mapping[str, Any]], *, at: datetime | None = None) -> int:
    """Keep what happened to messages, each thing once; return how many rows are new.

    A row has `delivery_id`, `id`, `metric` (sent, delivered, …) and `timestamp` (an aware instant), and may have
    `event_id`, `id_type` (what `id` is: id, the default, email or cio_id), `campaign_id`, `newsletter_id` and
    `source`. Rows without an event id are told apart by delivery and metric. Order does not matter. `at` is when
    they were received, where rows do not say so themselves (`received_at`).

    Raises:
        DataError: a row lacks one of the four, or its instant has no time zone; nothing is kept then.
        StorageError: the disk or the object store refused.
    """
    import pyarrow as pa

    ready = [_row(number, row, at) for number, row in enumerate(rows)]
    with connect() as con:
        con.con.register("told", pa.Table.from_pylist(ready, schema=schema_of("deliveries")))
        return keep_new_deliveries(con, lake, "told")


def keep_new_deliveries(con: Engine, lake: Lake, relation: str) -> int:
    """Append those rows of `relation` (the table's columns) whose event id is not kept yet; return how many."""
    files = lake.files("deliveries")
    known = f"SELECT event_id FROM {parquet(files)}" if files else "SELECT '' AS event_id WHERE false"
    named = ", ".join(TABLES["deliveries"])
    con.table(
        "new_deliveries",
        f"SELECT {named} FROM (SELECT *, row_number() OVER (PARTITION BY event_id ORDER BY timestamp) AS copy "
        f"FROM {relation}) ANTI JOIN ({known}) USING (event_id) WHERE copy = 1",
    )
    added = int(con.one("SELECT count(*) FROM new_deliveries")[0])
    if added:
        lake.append("deliveries", lambda: con.stream("SELECT * FROM new_deliveries"))
    return added


def reached_by(stored: str, *, identity: str, campaigns: Sequence[int], newsletters: Sequence[int]) -> str:
    """Return the query of (id, at): whom messages of these campaigns reached, and when (microseconds since 1970).

    A message reached its customer when it went out and did not fail afterwards. `stored` is what stands after
    FROM for the table `deliveries`, `identity` the kind of identifier asked for.
    """
    ours = f"{of_messages(campaigns, newsletters)} AND coalesce(id_type, 'id') = {text(identity)}"
    return (
        f"SELECT id, {micros('timestamp')} AS at FROM {stored} WHERE {ours} AND metric IN ({texts(REACHED)}) "
        f"AND delivery_id NOT IN (SELECT delivery_id FROM {stored} WHERE metric IN ({texts(FAILED)}) "
        "AND delivery_id IS NOT NULL)"
    )


def of_messages(campaigns: Sequence[int], newsletters: Sequence[int]) -> str:
    """Return the condition that a row is of one of these messages."""
    named = [
        f"{column} IN ({', '.join(map(str, numbers))})"
        for column, numbers in (("campaign_id", campaigns), ("newsletter_id", newsletters))
        if numbers
    ]
    return f"({' OR '.join(named)})"


def _row(number: int, row: Mapping[str, Any], at: datetime | None) -> dict[str, Any]:
    lacking = [name for name in EVERY_ROW if row.get(name) in {None, ""}]
    if lacking:
        raise DataError(f"delivery {number}: `{lacking[0]}` is missing; every row has {', '.join(EVERY_ROW)}")
    if row["timestamp"].tzinfo is None:
        raise DataError(f"delivery {number}: `timestamp` has no time zone; give an aware instant")
    kind = row.get("id_type") or "id"
    if kind not in ID_TYPES:
        raise DataError(f"delivery {number}: id_type {kind!r} is none of {', '.join(ID_TYPES)}")
    known = {name: row.get(name) for name in TABLES["deliveries"]}
    return known | {
        "id": row["id"].strip().lower() if kind == "email" else row["id"],
        "id_type": kind,
        "event_id": row.get("event_id") or f"{row['delivery_id']}:{row['metric']}",
        "source": row.get("source") or "webhook",
        "received_at": row.get("received_at") or at,
    }
