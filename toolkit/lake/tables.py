"""The lake: Delta tables under one folder or object-store URL. Appends are atomic; nothing is overwritten."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import SettingsError, StorageError
from toolkit.lake.engine import Engine, at_micros, connect, micros, parquet, quoted, text
from toolkit.lake.locks import alone

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

__all__ = ["TABLES", "TYPES", "Lake", "files_by_name", "nothing", "schema_of"]

TABLES: Mapping[str, Mapping[str, str]] = {
    "assignments": {
        "experiment": "text",
        "id": "text",
        "arm": "text",
        "assigned_at": "instant",
        "prefix": "text",
        "shares": "text",
        "layer": "text",
    },
    "people": {
        "experiment": "text",
        "id": "text",
        "recorded_at": "instant",
        "attributes": "text",
    },
    "events": {
        "event_id": "text",
        "id": "text",
        "name": "text",
        "timestamp": "instant",
        "amount": "money",
        "currency": "text",
        "order_id": "text",
        "properties": "text",
        "source": "text",
        "received_at": "instant",
    },
    "cursors": {
        "source": "text",
        "walk_started_at": "instant",
        "next": "text",
        "reached": "instant",
        "finished": "truth",
        "complete_through": "instant",
        "saved_at": "instant",
    },
    "sync_receipts": {
        "run": "text",
        "experiment": "text",
        "target": "text",
        "step": "text",
        "added": "whole",
        "removed": "whole",
        "members": "whole",
        "digest": "text",
        "version": "whole",
        "at": "instant",
    },
    "memberships": {
        "experiment": "text",
        "segment": "text",
        "id": "text",
        "state": "text",
        "detail": "text",
        "due_at": "instant",
        "at": "instant",
        "run": "text",
        "written": "whole",
    },
    "protected": {
        "experiment": "text",
        "id": "text",
        "protected": "truth",
        "at": "instant",
        "written": "whole",
    },
    "ready": {
        "experiment": "text",
        "id": "text",
        "attributes": "text",
        "at": "instant",
        "state": "text",
        "written": "whole",
    },
    "exposures": {
        "experiment": "text",
        "id": "text",
        "timestamp": "instant",
        "kind": "text",
        "value": "text",
    },
    "deliveries": {
        "event_id": "text",
        "delivery_id": "text",
        "id": "text",
        "id_type": "text",
        "metric": "text",
        "campaign_id": "whole",
        "newsletter_id": "whole",
        "timestamp": "instant",
        "source": "text",
        "received_at": "instant",
    },
    "crossings": {
        "experiment": "text",
        "id": "text",
        "action": "text",
        "moment": "whole",
        "at": "instant",
    },
    "same_people": {
        "id": "text",
        "person": "text",
        "id_type": "text",
        "seen_at": "instant",
    },
    "arrivals": {
        "source": "text",
        "file": "text",
        "bytes": "whole",
        "open": "truth",
        "taken_at": "instant",
    },
    "readouts": {
        "experiment": "text",
        "as_of": "date",
        "made_at": "instant",
        "readout": "text",
    },
}
"""Columns of each table and what they hold. Instants are UTC; money is decimal until it is summed."""


TYPES = {
    "text": "VARCHAR",
    "instant": "TIMESTAMPTZ",
    "money": "DECIMAL(18, 4)",
    "whole": "BIGINT",
    "truth": "BOOLEAN",
    "date": "DATE",
}
"""What columns hold, as the engine calls it."""


def nothing(table: str, column: str) -> str:
    """Return the expression of a column that files of `table` leave out: it is NULL in all their rows."""
    return f"CAST(NULL AS {TYPES[TABLES[table][column]]})"


def schema_of(table: str) -> pa.Schema:
    """Return the Arrow schema of `table`."""
    import pyarrow as pa

    kinds = {
        "text": pa.string(),
        "instant": pa.timestamp("us", tz="UTC"),
        "money": pa.decimal128(18, 4),
        "whole": pa.int64(),
        "truth": pa.bool_(),
        "date": pa.date32(),
    }
    return pa.schema([(name, kinds[kind]) for name, kind in TABLES[table].items()])


PARTITIONED = {
    "assignments": ["experiment"],
    "people": ["experiment"],
    "ready": ["experiment"],
    "memberships": ["experiment"],
    "protected": ["experiment"],
    "crossings": ["experiment"],
}
APPEND_ATTEMPTS = 20
ODD_PATH = re.compile(r"[\[\]^|\\]|%[0-9A-Fa-f]{2}")
"""What Delta's library takes for a host's name, or decodes, in the path of a folder."""
OPENED_AT_ONCE = 4


@dataclass(frozen=True)
class Lake:
    """The tables under `home`, a folder or an object-store URL.

    `versions` pins tables to earlier versions, for rebuilding what was read then; None to when there were none yet. `opened` are tables as they
    were when they were first looked at, where whoever reads them must see one state; None looks anew each time.
    """

    home: str
    versions: Mapping[str, int | None] = field(default_factory=dict)
    opened: dict[tuple[str, int | None], DeltaTable | None] | None = field(
        default=None, compare=False, repr=False
    )

    def __post_init__(self) -> None:
        """Refuse a folder that cannot be read back.

        Raises:
            SettingsError: its path has characters that Delta's library does not take.
        """
        if "://" not in self.home and (odd := ODD_PATH.search(os.path.abspath(self.home))):  # noqa: PTH100
            raise SettingsError(
                f"LIFT_HOME: {self.home}: a lake cannot stand in a folder with {odd.group()} in its path; "
                "name a folder without, or an object store"
            )

    def at_present(self) -> Lake:
        """Return this lake as it is now: whatever is written meanwhile, every read of a table sees the same."""
        return replace(self, opened={})

    def uri(self, table: str) -> str:
        """Return where `table` is."""
        return f"{self.home.rstrip('/')}/{table}" if "://" in self.home else str(Path(self.home) / table)

    def version(self, table: str) -> int | None:
        """Return the version that reads of `table` see, or None if it has not been written yet."""
        opened = self._open(table)
        return None if opened is None else int(opened.version())

    def open_all(self, tables: Sequence[str]) -> None:
        """Open tables side by side, each of which takes a while; for a lake `at_present`.

        Raises:
            StorageError: one cannot be read.
        """
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(OPENED_AT_ONCE) as pool:
            list(pool.map(self._open, tables))

    def files(self, table: str, **partition: str) -> list[str]:
        """Return the Parquet files that make up `table`, only those of `partition` if the table has it."""
        opened = self._open(table)
        if opened is None:
            return []
        known = set(opened.metadata().partition_columns)
        chosen = " AND ".join(f"{name} = {text(value)}" for name, value in partition.items() if name in known)
        found = opened.file_uris(file_pruning_predicate=chosen or None)
        if "://" in self.home:
            return list(found)
        root, inside = os.path.abspath(self.uri(table)), f"/{table}/"  # noqa: PTH100 (a Path costs more)
        # Delta writes the folder's own name as a URL has it; what comes after it stands so on the disk
        return [f"{root}/{each.rpartition(inside)[2]}" if inside in each else each for each in found]

    def has(self, table: str, column: str) -> bool:
        """Return whether `table` is there and has `column`."""
        opened = self._open(table)
        return opened is not None and column in {each.name for each in opened.schema().fields}

    def read(self, table: str, columns: list[str] | None = None, **equal: str) -> pa.Table:
        """Return the rows of `table` whose columns equal the texts given; no rows if it is not there yet.

        A column that whoever wrote the table left out is empty.
        """
        names = columns or list(TABLES[table])
        files = self.files(table, **equal)
        if not files:
            return schema_of(table).empty_table().select(names)
        with connect() as con:
            return con.stream(
                _query(con, table, files, {name: quoted(name) for name in names}, equal)
            ).read_all()

    def records(
        self, table: str, columns: list[str] | None = None, *, con: Engine | None = None, **equal: str
    ) -> list[dict[str, Any]]:
        """Return what `read` does, a dict per row, its instants aware and UTC; `con` reads, if it is given.

        Neither Arrow nor pandas is imported, which would take longer than the reading.
        """
        kinds = TABLES[table]
        names = columns or list(kinds)
        files = self.files(table, **equal)
        if not files:
            return []
        shown = {name: micros(quoted(name)) if kinds[name] == "instant" else quoted(name) for name in names}
        with nullcontext(con) if con and con.dialect == "duckdb" else connect() as reader:
            rows = reader.rows(_query(reader, table, files, shown, equal))
        return [
            {
                name: at_micros(each) if kinds[name] == "instant" else each
                for name, each in zip(names, row, strict=True)
            }
            for row in rows
        ]

    def append(self, table: str, rows: Any) -> None:
        """Append `rows` (an Arrow table or stream with this table's columns) as one atomic commit.

        A stream can be read only once; a function that returns it anew lets the append be tried again.

        Raises:
            StorageError: the disk or the object store refused.
        """
        import pyarrow as pa
        from deltalake import write_deltalake
        from deltalake.exceptions import CommitFailedError, DeltaError

        opened = self._open(table)
        partition = PARTITIONED.get(table) if opened is None else opened.metadata().partition_columns or None
        merge = "merge" if opened is not None and len(opened.schema().fields) < len(TABLES[table]) else None
        repeatable = callable(rows) or isinstance(rows, pa.Table)
        for attempt in range(APPEND_ATTEMPTS):
            given = rows() if callable(rows) else rows
            try:
                write_deltalake(
                    self.uri(table), given, mode="append", partition_by=partition, schema_mode=merge
                )
            except CommitFailedError as refused:  # another process created or changed the table just now
                if attempt == APPEND_ATTEMPTS - 1 or not repeatable:
                    raise StorageError(f"{self.uri(table)}: {refused}") from None
                time.sleep(random.uniform(0.01, 0.1))  # noqa: S311
            except (DeltaError, OSError) as refused:
                raise StorageError(f"{self.uri(table)}: cannot be written: {refused}") from None
            else:
                return

    def append_rows(self, table: str, rows: list[dict[str, Any]]) -> None:
        """Append a few rows given as dicts."""
        import pyarrow as pa

        self.append(table, pa.Table.from_pylist(rows, schema=schema_of(table)))

    def latest(self, table: str) -> DeltaTable | None:
        """Return `table` as it is now, whatever version is pinned; None if it is not there yet."""
        return self._open(table, latest=True)

    def compact(self, table: str) -> None:
        """Merge small files of `table`; rows stay as they are.

        Two processes that did so at once would each write the rows anew, and Delta's log take both.
        """
        with alone(self.home, f"compact-{table}"):
            opened = self.latest(table)
            if opened is not None:
                opened.optimize.compact()

    def _open(self, table: str, *, latest: bool = False) -> DeltaTable | None:
        uri = self.uri(table)
        version = None if latest else self.versions.get(table)
        if version is None and table in self.versions and not latest:
            return None
        if self.opened is None or latest:
            return self._open_at(uri, version)
        if (table, version) not in self.opened:
            opened = self.opened[table, version] = self._open_at(uri, version)
            if opened is not None:
                self.opened[table, int(opened.version())] = opened
        return self.opened[table, version]

    def _open_at(self, uri: str, version: int | None) -> DeltaTable | None:
        if "://" not in uri and not os.path.isdir(uri):  # noqa: PTH112 (a Path costs more than the check)
            return None
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError

        try:
            return DeltaTable(uri, version=version)
        except TableNotFoundError:
            return None
        except (DeltaError, OSError) as refused:
            raise StorageError(f"{uri}: cannot be read: {refused}") from None


def files_by_name(paths: Iterable[str]) -> dict[str, str]:
    """Return name → path of a table's files: a name stays, wherever the lake is moved to."""
    return {path.rpartition("/")[2]: path for path in paths}


def _query(
    con: Engine, table: str, files: list[str], shown: Mapping[str, str], equal: Mapping[str, str]
) -> str:
    """Return the query of the rows of `files` whose columns equal the texts given.

    `shown` is column → its expression; a column that the files do not have is NULL.
    """
    there = con.columns(parquet(files))
    columns = ", ".join(
        f"{each if name in there else nothing(table, name)} AS {quoted(name)}" for name, each in shown.items()
    )
    wanted = " AND ".join(f"{quoted(name)} = {text(value)}" for name, value in equal.items()) or "true"
    return f"SELECT {columns} FROM {parquet(files)} WHERE {wanted}"
