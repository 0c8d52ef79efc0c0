"""DuckDB in memory: one connection per measurement, all instants in UTC."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from duckdb import DuckDBPyConnection as Connection
from duckdb import connect as open_duckdb

__all__ = ["Connection", "connect", "instant", "instants", "one", "parquet", "quoted", "text", "texts"]


def connect() -> Connection:
    """Return a new in-memory connection; instants are read and shown in UTC."""
    con = open_duckdb(":memory:")
    con.execute("SET TimeZone = 'UTC'")
    return con


def quoted(name: str) -> str:
    """Return `name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """Return `value` as an SQL string."""
    return "'" + value.replace("'", "''") + "'"


def texts(values: Iterable[str]) -> str:
    """Return `values` as a list of SQL strings, comma-separated."""
    return ", ".join(text(each) for each in values)


def instant(at: datetime) -> str:
    """Return the aware instant `at` as an SQL literal."""
    return f"TIMESTAMPTZ {text(at.astimezone(UTC).isoformat(sep=' '))}"


def parquet(files: Sequence[str]) -> str:
    """Return what stands after FROM for the Parquet files of a Delta table."""
    hive = ", hive_partitioning = true, hive_types = {'experiment': VARCHAR}"
    partitioned = all("/experiment=" in name for name in files)
    return f"read_parquet([{texts(files)}], union_by_name = true{hive if partitioned else ''})"


def one(con: Connection, sql: str) -> tuple[Any, ...]:
    """Return the first row of `sql`, which has at least one."""
    return tuple(con.execute(sql).fetchall()[0])


def instants(con: Connection, *expressions: str, of: str) -> tuple[datetime | None, ...]:
    """Return the aware UTC instants that `expressions` have in the first row of `of`."""
    shown = ", ".join(f"epoch_us({each})" for each in expressions)
    row = one(con, f"SELECT {shown} FROM {of}")
    return tuple(None if at is None else _EPOCH + timedelta(microseconds=at) for at in row)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
