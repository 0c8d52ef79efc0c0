"""The tables of Customer.io's warehouse sync as they stand now: views over a folder of Parquet files.

Files are called `<table>_v<version>_<workspace>_<sequence>.parquet`, and each holds the rows that changed since the
one before. Together they say how things stand: what was told last counts, whatever the order in which files came.
So they are read where they are, and have to stay there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from toolkit.errors import DataError
from toolkit.lake.arrivals import Arrival, files_in, reader_of
from toolkit.lake.engine import Engine, connect, quoted, text
from toolkit.lake.event_files import instant_of, need_columns, text_of

__all__ = ["Sync", "check_tables", "identity_of", "open_sync", "open_tables", "rows_of", "sync_files"]

NAME = re.compile(
    r"(?P<table>[a-z_]+?)_v(?P<version>\d+)_(?P<workspace>[A-Za-z0-9]+)_(?P<sequence>\d+)\.parquet"
)
TABLES: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "people": {
        "internal_customer_id": ("text", "needed"),
        "customer_id": ("text", "needed"),
        "email_addr": ("text", ""),
        "deleted": ("truth", ""),
        "suppressed": ("truth", ""),
        "created_at": ("instant", ""),
        "updated_at": ("instant", "needed"),
    },
    "attributes": {
        "internal_customer_id": ("text", "needed"),
        "attribute_name": ("text", "needed"),
        "attribute_value": ("text", "needed"),
        "timestamp": ("instant", "needed"),
    },
    "deliveries": {
        "delivery_id": ("text", "needed"),
        "internal_customer_id": ("text", "needed"),
        "subject_id": ("text", ""),
        "delivery_type": ("text", ""),
        "campaign_id": ("whole", ""),
        "newsletter_id": ("whole", ""),
        "action_id": ("whole", ""),
        "created_at": ("instant", "needed"),
    },
    "metrics": {
        "event_id": ("text", "needed"),
        "delivery_id": ("text", "needed"),
        "metric": ("text", "needed"),
        "created_at": ("instant", "needed"),
    },
    "outputs": {
        "output_id": ("text", "needed"),
        "subject_id": ("text", ""),
        "split_test_index": ("whole", ""),
        "branch_index": ("whole", ""),
        "created_at": ("instant", ""),
    },
    "subjects": {
        "subject_id": ("text", "needed"),
        "internal_customer_id": ("text", ""),
        "campaign_id": ("whole", ""),
        "created_at": ("instant", ""),
    },
}
"""Columns that are read of each table, what they hold, and whether a file without them cannot be used."""
LATEST = {
    "attributes": ("internal_customer_id, attribute_name", '"timestamp"'),
    "deliveries": ("delivery_id", "created_at"),
    "metrics": ("event_id", "created_at"),
    "outputs": ("output_id", "created_at"),
    "subjects": ("subject_id", "created_at"),
}
"""What tells rows of a table apart, and by what the latest of one is found; then the later file counts."""


@dataclass(frozen=True, slots=True)
class Sync:
    """A folder of the sync: its files by table, in their order."""

    folder: str
    files: Mapping[str, Sequence[Arrival]]


def sync_files(folder: str, *, what: str) -> Sync:
    """Return the files of a sync's folder.

    Raises:
        DataError: there is no such folder, it holds no file of a sync, or files of several workspaces.
    """
    found: dict[str, list[tuple[int, Arrival]]] = {}
    workspaces: set[str] = set()
    for each in files_in(folder, lambda name: name.endswith(".parquet"), what=what):
        named = NAME.fullmatch(each.name.rpartition("/")[2])
        if named:
            workspaces.add(named["workspace"])
            found.setdefault(named["table"], []).append((int(named["sequence"]), each))
    if not found:
        raise DataError(
            f"{folder}: no file is called as Customer.io's sync calls them, such as people_v4_12345_1.parquet; {what}"
        )
    if len(workspaces) > 1:
        raise DataError(
            f"{folder}: files of the workspaces {', '.join(sorted(workspaces))}; keep each in a folder of its own"
        )
    in_order = {
        table: sorted(files, key=lambda file: (file[0], file[1].name)) for table, files in found.items()
    }
    return Sync(folder, {table: [each for _, each in files] for table, files in in_order.items()})


def open_sync(con: Engine, sync: Sync, *, attributes: Callable[[str], bool] = lambda _: True) -> None:
    """Create the views `sync.people`, `sync.attributes`, `sync.deliveries`, …, a row per thing as it stands now.

    `sync.people` has everyone who is neither deleted nor suppressed: id, email, cio_id, created_at, updated_at, and
    one column per attribute (a text): those for whose name `attributes` holds. `sync.everyone` has the others too,
    without attributes. A table of which no file came is empty.

    Raises:
        DataError: a file cannot be read, or lacks a column.
    """
    open_tables(con, sync, *TABLES)
    con.run(f"CREATE OR REPLACE VIEW sync.people AS {_people(con, attributes)}")


def open_tables(con: Engine, sync: Sync, *tables: str) -> None:
    """Create the views of these tables alone, as `open_sync` does; that of `people` is `sync.everyone`.

    Raises:
        DataError: a file cannot be read, or lacks a column.
    """
    con.run("CREATE SCHEMA IF NOT EXISTS sync")
    for table in tables:
        name = "everyone" if table == "people" else table
        con.run(f"CREATE OR REPLACE VIEW sync.{name} AS {_now(con, sync, table)}")


def check_tables(sync: Sync, *tables: str) -> None:
    """Raise DataError, naming the file, where one of these tables cannot be read or lacks a column."""
    with connect() as con:
        open_tables(con, sync, *tables)


def identity_of(key: str) -> str:
    """Return the expression of a person's identity key (id, email, cio_id), over `sync.everyone e`."""
    return {"id": "e.id", "email": "lower(trim(e.email))", "cio_id": "e.cio_id"}[key]


def _now(con: Engine, sync: Sync, table: str) -> str:
    """Return the query of a table's rows as they stand now."""
    files = sync.files.get(table, ())
    told = rows_of(con, files, table) if files else _no_rows(table)
    if table == "people":
        return _everyone(told)
    one, by = LATEST[table]
    shown = ", ".join(quoted(name) for name in TABLES[table])
    return (
        f"SELECT {shown} FROM (SELECT *, row_number() OVER (PARTITION BY {one} ORDER BY {by} DESC NULLS LAST, "
        f"sequence DESC) AS place FROM ({told})) WHERE place = 1"
    )


def _everyone(told: str) -> str:
    """Return the query of all people: each identifier as it was last known, also of those deleted since."""
    last = "row(coalesce(updated_at, TIMESTAMPTZ '1970-01-01 00:00:00+00'), sequence)"
    shown = {
        "id": "customer_id",
        "email": "email_addr",
        "deleted": "coalesce(deleted, false)",
        "suppressed": "coalesce(suppressed, false)",
        "created_at": "created_at",
    }
    latest = ", ".join(f"arg_max({what}, {last}) AS {name}" for name, what in shown.items())
    return (
        f"SELECT internal_customer_id AS cio_id, {latest}, max(updated_at) AS updated_at FROM ({told}) "
        "WHERE internal_customer_id IS NOT NULL GROUP BY internal_customer_id"
    )


def rows_of(con: Engine, files: Sequence[Arrival], table: str) -> str:
    """Return the query of all rows of some files of a table, with `sequence` and `filename`."""
    needed = {name: (name,) for name, (_, mark) in TABLES[table].items() if mark}
    _need(con, files, needed)
    source = reader_of(files, "parquet")
    kinds = con.columns(source)
    shown = [
        f"{_typed(name, kinds.get(name), kind)} AS {quoted(name)}"
        for name, (kind, _) in TABLES[table].items()
    ]
    sequence = "CAST(regexp_extract(filename, '_(\\d+)\\.parquet$', 1) AS BIGINT) AS sequence"
    return f"SELECT {', '.join(shown)}, {sequence}, filename FROM {source}"


def _need(con: Engine, files: Sequence[Arrival], needed: Mapping[str, tuple[str, ...]]) -> None:
    """Raise DataError, naming the file, where one cannot be read or lacks a column."""
    try:
        need_columns(con, files, "parquet", needed, "Let the sync send all columns of its tables")
    except con.errors:
        for each in files:
            try:
                need_columns(con, [each], "parquet", needed, "")
            except con.errors as refused:
                raise DataError(f"{each.path}: cannot be read: {str(refused).splitlines()[0]}") from None
        raise


def _typed(name: str, kind: str | None, wanted: str) -> str:
    if kind is None:
        kinds = {"text": "VARCHAR", "truth": "BOOLEAN", "instant": "TIMESTAMPTZ", "whole": "BIGINT"}
        return f"NULL::{kinds[wanted]}"
    if wanted == "instant":
        return instant_of(quoted(name), kind, None)
    if wanted == "truth":
        return f"CAST({quoted(name)} AS BOOLEAN)"
    if wanted == "whole":
        return f"TRY_CAST({quoted(name)} AS BIGINT)"
    return text_of(quoted(name), kind)


def _no_rows(table: str) -> str:
    shown = [f"{_typed(name, None, kind)} AS {quoted(name)}" for name, (kind, _) in TABLES[table].items()]
    return f"SELECT {', '.join(shown)}, 0::BIGINT AS sequence, '' AS filename WHERE false"


def _people(con: Engine, attributes: Callable[[str], bool]) -> str:
    """Return the query of everyone who is there, with a column per attribute.

    Of attributes whose names differ in their case only, one has a column; `sync.attributes` has them all.
    """
    there = "NOT deleted AND NOT suppressed"
    own = {"id", "email", "cio_id", "suppressed", "created_at", "updated_at", "deleted"}
    names: dict[str, str] = {}
    for (name,) in con.rows("SELECT DISTINCT attribute_name FROM sync.attributes ORDER BY 1"):
        if name and name.lower() not in own and attributes(name):
            names.setdefault(name.lower(), name)
    if not names:
        return f"SELECT * EXCLUDE (deleted, suppressed) FROM sync.everyone WHERE {there}"
    wide = ", ".join(
        f"max(attribute_value) FILTER (WHERE attribute_name = {text(name)}) AS {quoted(name)}"
        for name in names.values()
    )
    return (
        "SELECT e.* EXCLUDE (deleted, suppressed), a.* EXCLUDE (internal_customer_id) FROM sync.everyone e LEFT JOIN "
        f"(SELECT internal_customer_id, {wide} FROM sync.attributes GROUP BY internal_customer_id) a "
        f"ON a.internal_customer_id = e.cio_id WHERE {there}"
    )
