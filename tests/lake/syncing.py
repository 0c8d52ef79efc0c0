"""A folder of Customer.io's warehouse sync, written file by file, and an experiment on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.lake.tables import Lake
from toolkit.settings import Settings
from toolkit.steps.workspace import Spec, Workspace

AT = datetime(2026, 1, 5, tzinfo=UTC)
NOW = datetime(2026, 2, 1, tzinfo=UTC)
STAMP = pa.timestamp("us", tz="UTC")
SCHEMAS = {
    "people": {
        "workspace_id": pa.int64(), "customer_id": pa.string(), "internal_customer_id": pa.string(),
        "deleted": pa.bool_(), "suppressed": pa.bool_(), "created_at": STAMP, "updated_at": STAMP,
        "email_addr": pa.string(),
    },
    "attributes": {
        "workspace_id": pa.int64(), "internal_customer_id": pa.string(), "attribute_name": pa.string(),
        "attribute_value": pa.string(), "timestamp": STAMP,
    },
    "deliveries": {
        "workspace_id": pa.int64(), "delivery_id": pa.string(), "internal_customer_id": pa.string(),
        "subject_id": pa.string(), "event_id": pa.string(), "delivery_type": pa.string(),
        "campaign_id": pa.int64(), "action_id": pa.int64(), "newsletter_id": pa.int64(), "created_at": STAMP,
        "seq_num": pa.int64(),
    },
    "metrics": {
        "event_id": pa.string(), "workspace_id": pa.int64(), "delivery_id": pa.string(), "metric": pa.string(),
        "created_at": STAMP, "reason": pa.string(), "link_id": pa.int64(), "link_url": pa.string(),
        "seq_num": pa.int64(),
    },
    "outputs": {
        "workspace_id": pa.int64(), "output_id": pa.string(), "subject_id": pa.string(),
        "split_test_index": pa.int64(), "branch_index": pa.int64(), "created_at": STAMP,
    },
    "events": {
        "event_id": pa.string(), "internal_customer_id": pa.string(), "name": pa.string(), "timestamp": STAMP,
        "data": pa.string(),
    },
}  # fmt: skip
SPEC = """\
key: synced
start: 2026-01-01
end: 2026-02-01
cohort: {source: warehouse, path: sync, where: "tier = 'gold'"}
arms: {holdout: 0.5, treatment: 0.5}
control: holdout
traits:
  - {name: offer, type: boolean, arms: [treatment], flag: banner}
events: {source: warehouse, path: sync, order: {amount: total, currency: money.currency}}
deliveries: {campaigns: [31], source: warehouse, path: sync}
metrics:
  - {name: purchase_rate, kind: conversion, event: Order Completed, role: primary}
  - {name: revenue, kind: mean, event: Order Completed, value: amount}
"""


def later(hours: float) -> datetime:
    """Return an instant so many hours after the experiment's first."""
    return AT + timedelta(hours=hours)


class Folder:
    """A sync's folder beside an experiment file, and the lake that it is pulled into."""

    def __init__(self, root: Path, spec: str = SPEC) -> None:
        self.root, self.sync = root, root / "sync"
        self.sync.mkdir()
        self.path = root / "experiment.yml"
        self.path.write_text(spec)
        self.lake = Lake(str(root / "lake"))

    @property
    def spec(self) -> Spec:
        return Spec.read(self.path)

    def workspace(self, now: datetime = NOW) -> Workspace:
        return Workspace.open(Settings(lift_home=str(self.root / "lake"), lift_now=now))

    def write(
        self, table: str, sequence: int, rows: Sequence[Mapping[str, Any]], *, version: int = 4
    ) -> Path:
        """Write a file of the sync; what a row does not say is empty."""
        schema = pa.schema(list(SCHEMAS[table].items()))
        full = [dict.fromkeys(schema.names) | {"workspace_id": 7} | dict(row) for row in rows]
        path = self.sync / f"{table}_v{version}_7_{sequence}.parquet"
        told = pa.Table.from_pylist(
            [{name: row[name] for name in schema.names} for row in full], schema=schema
        )
        pq.write_table(told, path)
        return path

    def people(self, sequence: int, *rows: tuple[str, str, float], **more: Any) -> Path:
        """Write people as (internal id, customer id, hours)."""
        return self.write(
            "people",
            sequence,
            [
                {"internal_customer_id": inner, "customer_id": own, "updated_at": later(at)}
                | {"email_addr": f"{own}@x.example", "deleted": False, "created_at": AT}
                | more
                for inner, own, at in rows
            ],
        )

    def tiers(self, sequence: int, *rows: tuple[str, str | None, float]) -> Path:
        """Write the attribute `tier` as (internal id, value, hours)."""
        return self.write(
            "attributes",
            sequence,
            [
                {"internal_customer_id": inner, "attribute_name": "tier", "attribute_value": value}
                | {"timestamp": later(at)}
                for inner, value, at in rows
            ],
        )

    def sent(self, sequence: int, *rows: tuple[str, str, int]) -> Path:
        """Write deliveries as (delivery id, internal id, campaign)."""
        return self.write(
            "deliveries",
            sequence,
            [
                {"delivery_id": one, "internal_customer_id": inner, "campaign_id": campaign, "created_at": AT}
                for one, inner, campaign in rows
            ],
        )

    def metrics(self, sequence: int, *rows: tuple[str, str, str, float]) -> Path:
        """Write metrics as (event id, delivery id, metric, hours)."""
        return self.write(
            "metrics",
            sequence,
            [
                {"event_id": own, "delivery_id": one, "metric": metric, "created_at": later(at)}
                for own, one, metric, at in rows
            ],
        )

    def orders(
        self, sequence: int, *rows: tuple[str, str, float, str], name: str = "Order Completed"
    ) -> Path:
        """Write events as (event id, internal id, hours, total)."""
        return self.write(
            "events",
            sequence,
            [
                {"event_id": own, "internal_customer_id": inner, "name": name, "timestamp": later(at)}
                | {"data": f'{{"total": {total}, "order_id": "o-{own}", "money": {{"currency": "usd"}}}}'}
                for own, inner, at, total in rows
            ],
            version=5,
        )

    def assign(self, arms: Mapping[str, str], at: datetime = AT) -> None:
        """Write the ledger."""
        self.lake.append_rows(
            "assignments",
            [
                {"experiment": "synced", "id": each, "arm": arm, "assigned_at": at}
                for each, arm in arms.items()
            ],
        )

    def kept(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        """Return the rows of a table of the lake, sorted."""
        rows = self.lake.read(table, list(columns)).to_pylist()
        return sorted(tuple(row[name] for name in columns) for row in rows)
