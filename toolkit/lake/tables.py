"""The lake: Delta tables under one folder or object-store URL. Appends are atomic; nothing is overwritten."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from toolkit.errors import StorageError
from toolkit.lake.engine import connect, parquet, quoted, text

__all__ = ["TABLES", "Lake"]

INSTANT = pa.timestamp("us", tz="UTC")
MONEY = pa.decimal128(18, 4)

TABLES: Mapping[str, pa.Schema] = {
    "assignments": pa.schema(
        [
            ("experiment", pa.string()),
            ("id", pa.string()),
            ("arm", pa.string()),
            ("assigned_at", INSTANT),
            ("prefix", pa.string()),
            ("shares", pa.string()),
            ("layer", pa.string()),
        ]
    ),
    "people": pa.schema(
        [
            ("experiment", pa.string()),
            ("id", pa.string()),
            ("recorded_at", INSTANT),
            ("attributes", pa.string()),
        ]
    ),
    "events": pa.schema(
        [
            ("event_id", pa.string()),
            ("id", pa.string()),
            ("name", pa.string()),
            ("timestamp", INSTANT),
            ("amount", MONEY),
            ("currency", pa.string()),
            ("order_id", pa.string()),
            ("properties", pa.string()),
            ("source", pa.string()),
            ("received_at", INSTANT),
        ]
    ),
    "cursors": pa.schema(
        [
            ("source", pa.string()),
            ("walk_started_at", INSTANT),
            ("next", pa.string()),
            ("reached", INSTANT),
            ("finished", pa.bool_()),
            ("complete_through", INSTANT),
            ("saved_at", INSTANT),
        ]
    ),
    "sync_receipts": pa.schema(
        [
            ("run", pa.string()),
            ("experiment", pa.string()),
            ("target", pa.string()),
            ("step", pa.string()),
            ("added", pa.int64()),
            ("removed", pa.int64()),
            ("members", pa.int64()),
            ("digest", pa.string()),
            ("version", pa.int64()),
            ("at", INSTANT),
        ]
    ),
    "ready": pa.schema(
        [
            ("experiment", pa.string()),
            ("id", pa.string()),
            ("attributes", pa.string()),
            ("at", INSTANT),
        ]
    ),
    "exposures": pa.schema(
        [
            ("experiment", pa.string()),
            ("id", pa.string()),
            ("timestamp", INSTANT),
            ("kind", pa.string()),
            ("value", pa.string()),
        ]
    ),
    "readouts": pa.schema(
        [
            ("experiment", pa.string()),
            ("as_of", pa.date32()),
            ("made_at", INSTANT),
            ("readout", pa.string()),
        ]
    ),
}
"""Columns of each table. Instants are UTC; money is decimal until it is summed per customer."""

PARTITIONED = {"assignments": ["experiment"], "people": ["experiment"], "ready": ["experiment"]}
APPEND_ATTEMPTS = 20


@dataclass(frozen=True)
class Lake:
    """The tables under `home`, a folder or an object-store URL.

    `versions` pins tables to earlier versions, for rebuilding what was read then.
    """

    home: str
    versions: Mapping[str, int] = field(default_factory=dict)

    def uri(self, table: str) -> str:
        """Return where `table` is."""
        return f"{self.home.rstrip('/')}/{table}" if "://" in self.home else str(Path(self.home) / table)

    def version(self, table: str) -> int | None:
        """Return the version that reads of `table` see, or None if it has not been written yet."""
        opened = self._open(table)
        return None if opened is None else int(opened.version())

    def files(self, table: str, **partition: str) -> list[str]:
        """Return the Parquet files that make up `table`, only those of `partition` if the table has it."""
        opened = self._open(table)
        if opened is None:
            return []
        known = set(opened.metadata().partition_columns)
        chosen = " AND ".join(f"{name} = {text(value)}" for name, value in partition.items() if name in known)
        return list(opened.file_uris(file_pruning_predicate=chosen or None))

    def has(self, table: str, column: str) -> bool:
        """Return whether `table` is there and has `column`."""
        opened = self._open(table)
        return opened is not None and column in {each.name for each in opened.schema().fields}

    def read(self, table: str, columns: list[str] | None = None, **equal: str) -> pa.Table:
        """Return the rows of `table` whose columns equal the texts given; no rows if it is not there yet.

        A column that whoever wrote the table left out is empty.
        """
        schema = TABLES[table]
        names = columns or list(schema.names)
        files = self.files(table, **equal)
        if not files:
            return pa.schema([schema.field(name) for name in names]).empty_table()
        wanted = " AND ".join(f"{quoted(name)} = {text(value)}" for name, value in equal.items()) or "true"
        with connect() as con:
            there = {row[0] for row in con.execute(f"DESCRIBE SELECT * FROM {parquet(files)}").fetchall()}
            shown = ", ".join(quoted(name) if name in there else f"NULL AS {quoted(name)}" for name in names)
            return con.sql(f"SELECT {shown} FROM {parquet(files)} WHERE {wanted}").to_arrow_table()

    def append(self, table: str, rows: Any) -> None:
        """Append `rows` (an Arrow table or stream with this table's columns) as one atomic commit.

        Raises:
            StorageError: the disk or the object store refused.
        """
        opened = self._open(table)
        partition = PARTITIONED.get(table) if opened is None else opened.metadata().partition_columns or None
        merge = "merge" if opened is not None and len(opened.schema().fields) < len(TABLES[table]) else None
        for attempt in range(APPEND_ATTEMPTS):
            try:
                write_deltalake(
                    self.uri(table), rows, mode="append", partition_by=partition, schema_mode=merge
                )
            except CommitFailedError as refused:  # another process created or changed the table just now
                if attempt == APPEND_ATTEMPTS - 1 or not isinstance(rows, pa.Table):
                    raise StorageError(f"{self.uri(table)}: {refused}") from None
                time.sleep(random.uniform(0.01, 0.1))  # noqa: S311
            except (DeltaError, OSError) as refused:
                raise StorageError(f"{self.uri(table)}: cannot be written: {refused}") from None
            else:
                return

    def append_rows(self, table: str, rows: list[dict[str, Any]]) -> None:
        """Append a few rows given as dicts."""
        self.append(table, pa.Table.from_pylist(rows, schema=TABLES[table]))

    def compact(self, table: str) -> None:
        """Merge small files of `table`; rows stay as they are."""
        opened = self._open(table)
        if opened is not None:
            opened.optimize.compact()

    def _open(self, table: str) -> DeltaTable | None:
        uri = self.uri(table)
        if "://" not in uri and not os.path.isdir(uri):  # noqa: PTH112 (a Path costs more than the check)
            return None
        try:
            return DeltaTable(uri, version=self.versions.get(table))
        except TableNotFoundError:
            return None
        except (DeltaError, OSError) as refused:
            raise StorageError(f"{uri}: cannot be read: {refused}") from None
