"""PostgreSQL, through Ibis: the warehouse's own tables where they are, files copied into temporary ones."""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import ibis
import psycopg

from toolkit.errors import StorageError
from toolkit.lake.engine import Stored, connect, parquet, quoted, text, texts
from toolkit.lake.engines.rules import INSTANT, NUMBER
from toolkit.lake.engines.translate import LINE
from toolkit.lake.engines.warehouse import Warehouse
from toolkit.lake.tables import TABLES

__all__ = ["Postgres"]

KINDS: Mapping[str, str] = {
    "bool": "BOOLEAN",
    "bpchar": "VARCHAR",
    "bytea": "BLOB",
    "date": "DATE",
    "float4": "FLOAT",
    "float8": "DOUBLE",
    "int2": "SMALLINT",
    "int4": "INTEGER",
    "int8": "BIGINT",
    "numeric": "DECIMAL",
    "text": "VARCHAR",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMP WITH TIME ZONE",
    "uuid": "UUID",
    "varchar": "VARCHAR",
}
"""PostgreSQL's types, as DuckDB calls them."""
COPIED: Mapping[str, str] = {
    "BIGINT": "bigint",
    "BOOLEAN": "boolean",
    "DATE": "date",
    "DOUBLE": "double precision",
    "FLOAT": "real",
    "HUGEINT": "numeric",
    "INTEGER": "integer",
    "SMALLINT": "smallint",
    "TIMESTAMP": "timestamp",
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
    "TIMESTAMPTZ_NS": "timestamptz",
    "TIMESTAMP_MS": "timestamp",
    "TIMESTAMP_NS": "timestamp",
    "TIMESTAMP_S": "timestamp",
    "TINYINT": "smallint",
    "UBIGINT": "numeric",
    "UINTEGER": "bigint",
    "USMALLINT": "integer",
    "UTINYINT": "smallint",
    "UUID": "uuid",
}
"""DuckDB's types, as PostgreSQL calls them; everything else is copied as text."""
CSV = "header = true, all_varchar = true, union_by_name = true, strict_mode = true"
CHUNK = 1 << 20
NO_ROW = r"\N"
TRY = """
CREATE FUNCTION pg_temp.{name}(said text) RETURNS {kind} LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    IF said ~ {form} THEN
        RETURN CAST(trim(said) AS {kind});
    END IF;
    RETURN NULL;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END $$
"""
"""A cast that gives NULL for what is not read; PostgreSQL has none of its own."""


class Postgres(Warehouse):
    """A connection to PostgreSQL in one transaction, so that all questions are answered by the same rows.

    Nothing outside temporary tables is written, and those are gone with it.
    """

    dialect = "postgres"

    def __init__(self, url: str) -> None:
        super().__init__()
        address, schema = _without_schema(url)
        try:
            connection = psycopg.connect(address, application_name="lift")
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            self.backend = ibis.postgres.from_connection(connection)  # sets the session's time zone to UTC
            if schema:
                self._ask(f"SET search_path TO {quoted(schema)}")
            for name, kind, form in (
                ("try_double", "double precision", NUMBER),
                ("try_instant", "timestamptz", INSTANT),
                ("try_timestamp", "timestamp", INSTANT),
            ):
                self._ask(TRY.format(name=name, kind=kind, form=text(form)))
        except psycopg.Error as refused:
            where = urlsplit(url).hostname or "the database"
            raise StorageError(f"LIFT_ENGINE: {where} cannot be used: {_why(refused)}") from None

    def close(self) -> None:
        """Undo the transaction, and with it every temporary table."""
        self.backend.con.rollback()
        self.backend.con.close()

    def sign(self, key: str, *, other: bool = False) -> str:
        """Return the expression of what stands for the text `key` where repeats are looked for: a hash."""
        return f"hashtextextended({key}, {int(other)})"

    def run(self, sql: str) -> None:
        """Run a statement."""
        self._ask(self.translated(sql)).close()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        with self._ask(self.translated(sql)) as cursor:
            return [tuple(row) for row in cursor.fetchall()]

    def view(self, name: str, sql: str) -> None:
        """Give the query a name; it runs anew each time it is read."""
        self._ask(f"CREATE OR REPLACE TEMP VIEW {quoted(name)} AS {self.translated(sql)}")

    def table(self, name: str, sql: str) -> None:
        """Run the query and keep its rows under a name."""
        self._ask(f"CREATE TEMP TABLE lift_next AS {self.translated(sql)}")
        self._ask(f"DROP TABLE IF EXISTS pg_temp.{quoted(name)}")
        self._ask(f"ALTER TABLE pg_temp.lift_next RENAME TO {quoted(name)}")
        self._ask(f"ANALYZE pg_temp.{quoted(name)}")  # nobody else does, and joins are planned by it

    def stream(self, sql: str) -> Any:
        """Return the query's rows as an Arrow stream."""
        return self.backend.sql(self.translated(sql)).to_pyarrow_batches()

    def describe(self, relation: str) -> dict[str, str]:
        """Return column → type, as DuckDB calls it."""
        with self._ask(self.translated(f"SELECT * FROM {relation} LIMIT 0")) as cursor:
            described = cursor.description or ()
        return {each.name: _kind(each) for each in described}

    def own(self, table: str) -> Stored | None:
        """Return the database's own table of that name, read in place of the lake's; None if it has none."""
        if table not in TABLES:
            return None
        with self._ask(f"SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                       f"WHERE c.oid = to_regclass({text(quoted(table))}) AND n.oid <> pg_my_temp_schema()") as cursor:  # fmt: skip
            found = cursor.fetchone()
        return Stored(f"{found[0]}.{table}", f"{quoted(found[0])}.{quoted(table)}", None) if found else None

    def stored(self, lake: Any, table: str, **partition: str) -> Stored | None:
        """Return the database's own table; where it has none, the lake's, which is copied."""
        return self.own(table) or super().stored(lake, table, **partition)

    def bring(self, name: str, files: Sequence[str], *, csv: bool, hive: bool) -> dict[str, str]:
        """Copy what DuckDB reads in files to a temporary table."""
        source = f"read_csv([{texts(map(glob.escape, files))}], {CSV})" if csv else _parquet(files, hive=hive)
        with connect() as con, tempfile.TemporaryDirectory(prefix="lift-copy-") as folder:
            path = Path(folder) / "rows.csv"
            try:
                kinds = con.columns(source)
                shown = ", ".join(_copied(column, kind) for column, kind in kinds.items())
                con.run(
                    f"COPY (SELECT {shown}, row_number() OVER () AS {LINE} FROM {source}) TO {text(str(path))} "
                    f"(FORMAT csv, HEADER false, NULLSTR {text(NO_ROW)})"
                )
            except con.errors as refused:
                raise StorageError(str(refused).splitlines()[0]) from None
            columns = [f"{quoted(column)} {_copied_kind(kind)}" for column, kind in kinds.items()]
            self._ask(f"CREATE TEMP TABLE {quoted(name)} ({', '.join([*columns, f'{LINE} bigint'])})")
            copying = f"COPY {quoted(name)} FROM STDIN (FORMAT csv, NULL {text(NO_ROW)})"
            with (
                path.open("rb") as rows,
                self.backend.con.cursor() as cursor,
                cursor.copy(copying) as copy,
            ):
                while chunk := rows.read(CHUNK):
                    copy.write(chunk)
        self._ask(f"ANALYZE {quoted(name)}")
        return kinds

    def _ask(self, sql: str) -> Any:
        try:
            return self.backend.raw_sql(sql)
        except psycopg.Error as refused:
            raise StorageError(f"PostgreSQL refused: {_why(refused)}") from refused


def _without_schema(url: str) -> tuple[str, str | None]:
    """Return the address as PostgreSQL's own library takes it, and the schema that `?schema=` names."""
    parts = urlsplit(url)
    asked = parse_qsl(parts.query)
    schema = next((value for name, value in asked if name == "schema"), None)
    rest = urlencode([pair for pair in asked if pair[0] != "schema"])
    return urlunsplit(parts._replace(query=rest)), schema


def _why(refused: psycopg.Error) -> str:
    lines = [line.strip() for line in str(refused).splitlines() if line.strip()]
    return lines[0] if lines else type(refused).__name__


def _kind(column: psycopg.Column) -> str:
    known = psycopg.adapters.types.get(column.type_code)
    return KINDS.get(known.name, known.name.upper()) if known else "UNKNOWN"


def _parquet(files: Sequence[str], *, hive: bool) -> str:
    return (
        parquet(files) if hive else f"read_parquet([{texts(map(glob.escape, files))}], union_by_name = true)"
    )


def _copied_kind(kind: str) -> str:
    return (
        f"numeric{kind.removeprefix('DECIMAL')}" if kind.startswith("DECIMAL(") else COPIED.get(kind, "text")
    )


def _copied(column: str, kind: str) -> str:
    name = quoted(column)
    if kind in {"TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S"}:
        return f"CAST({name} AS TIMESTAMP) AS {name}"
    if kind == "TIMESTAMPTZ_NS":
        return f"CAST({name} AS TIMESTAMPTZ) AS {name}"
    return name if kind in COPIED or kind.startswith("DECIMAL(") else f"CAST({name} AS VARCHAR) AS {name}"
