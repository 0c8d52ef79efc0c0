"""Copying: what a query finds goes into a table of the lake, however many rows there are.

Into a folder, the engine itself writes Parquet, each of its threads a file, and the files are then added to the
table's log together: nobody sees them before that, and one that is never added is no part of the table. Into an object
store, or a table that others made otherwise, the rows stream through Delta's own writer.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from toolkit.errors import StorageError
from toolkit.lake.engine import Engine, parquet, quoted, text
from toolkit.lake.tables import APPEND_ATTEMPTS, PARTITIONED, TABLES, TYPES, Lake

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import Schema

__all__ = ["append_query"]

WRITTEN = {
    "assignments": "COMPRESSION uncompressed, DICTIONARY_SIZE_LIMIT 1, PARQUET_VERSION v2, ROW_GROUP_SIZE 61440",
    "people": "COMPRESSION zstd",
}
"""How files are written. Identifiers never repeat, and packing them costs more than it saves."""
PLAIN_WRITER = 2
"""Up to this writer version, Delta's protocol asks for nothing but the file and its line in the log."""
LONGEST_EXTREME = 32
"""Longer texts are not noted as a file's smallest or largest."""


def append_query(
    con: Engine, lake: Lake, table: str, query: str, *, experiment: str, arms: Sequence[str] = ()
) -> dict[str, int]:
    """Append the rows of `query`, all of one experiment, as one atomic commit; without rows there is none.

    `table` is assignments or people, and `query` gives its columns in their order but for `experiment`, and for such
    as are NULL in all rows: those are left out of files, which Delta allows. Texts may be enumerations, which are
    written much faster.

    Returns:
        arm → rows, of those of `arms` that got any.

    Raises:
        StorageError: the disk or the object store refused.
    """
    if _takes_files(lake, table):
        return _copy(con, lake, table, query, experiment, arms)
    if not con.rows(f"SELECT 1 FROM ({query}) LIMIT 1"):
        return {}
    counts: Counter[str] = Counter()
    given = {"experiment", *con.columns(f"({query})")}
    columns = ", ".join(
        f"CAST({quoted(name) if name in given else 'NULL'} AS {TYPES[kind]}) AS {quoted(name)}"
        for name, kind in TABLES[table].items()
    )

    def stream() -> pa.RecordBatchReader:
        counts.clear()
        rows = con.stream(
            f"SELECT {columns} FROM (SELECT {text(experiment)} AS experiment, * FROM ({query}))"
        )
        return type(rows).from_batches(rows.schema, _counted(rows, counts))

    lake.append(table, stream)
    return {arm: counts[arm] for arm in arms if counts[arm]}


def _takes_files(lake: Lake, table: str) -> bool:
    """Return whether a file can be added to `table`: the lake is a folder, and the table ours or yet to be."""
    if "://" in lake.home:
        return False
    there = lake.latest(table)
    return there is None or (
        there.schema() == _schema(table)
        and there.metadata().partition_columns == PARTITIONED[table]
        and there.protocol().min_writer_version <= PLAIN_WRITER
    )


def _copy(
    con: Engine, lake: Lake, table: str, query: str, experiment: str, arms: Sequence[str]
) -> dict[str, int]:
    partition = f"experiment={experiment}"
    folder, mark = Path(lake.uri(table)) / partition, f"part-{uuid.uuid4()}"
    counts: dict[str, int] = {}
    added: list[tuple[str, int, str]] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as refused:
        raise StorageError(f"{folder}: cannot be made: {refused.strerror}") from None
    Thread(target=import_module, args=("deltalake.transaction",)).start()  # the engine leaves Python idle
    try:
        con.run("SET preserve_insertion_order = false")  # no thread waits for another
        written = con.rows(
            f"COPY ({query}) TO {text(str(folder))} (FORMAT parquet, RETURN_STATS, PER_THREAD_OUTPUT, "
            f"OVERWRITE_OR_IGNORE, FILENAME_PATTERN '{mark}-{{i}}', {WRITTEN[table]})"
        )
        files = [(Path(path).name, *more) for path, *more in written]
        if arms:
            asked = ", ".join(f"count_if(arm = {text(arm)})" for arm in arms)  # half the time of a GROUP BY
            found = con.one(f"SELECT {asked} FROM {parquet([str(folder / name) for name, *_ in files])}")
            counts = {arm: int(rows) for arm, rows in zip(arms, found, strict=True) if rows}
        added = [
            (f"{partition}/{name}", size, _statistics(table, rows, columns))
            for name, rows, size, _, columns, *_ in files
            if rows
        ]
    except con.errors as refused:
        raise StorageError(f"{folder}: cannot be written: {str(refused).splitlines()[0]}") from None
    finally:
        con.run("RESET preserve_insertion_order")
        kept = {Path(name).name for name, *_ in added}
        for path in folder.glob(f"{mark}-*"):
            if path.name not in kept:
                path.unlink(missing_ok=True)
    if added:
        _add(lake, table, added, {"experiment": experiment})
    return counts


def _add(
    lake: Lake, table: str, files: Sequence[tuple[str, int, str]], partition: dict[str, str | None]
) -> None:
    """Make files in the folder of `table`, each a (name, bytes, statistics), part of it, as one atomic commit.

    Adding one once more changes nothing: the log knows files by name.
    """
    from deltalake.exceptions import CommitFailedError, DeltaError
    from deltalake.transaction import AddAction, create_table_with_add_actions

    now = time.time_ns() // 1_000_000
    added = [
        AddAction(name, size, partition, now, data_change=True, stats=statistics)
        for name, size, statistics in files
    ]
    uri, schema, by = lake.uri(table), _schema(table), PARTITIONED[table]
    for attempt in range(APPEND_ATTEMPTS):
        there = lake.latest(table)
        try:
            if there is None:
                create_table_with_add_actions(uri, schema, added, partition_by=by)
            else:
                there.create_write_transaction(added, "append", schema, by)
        except (DeltaError, OSError) as refused:
            raced = isinstance(refused, CommitFailedError) or (there is None and lake.latest(table))
            if not raced or attempt == APPEND_ATTEMPTS - 1:
                raise StorageError(f"{uri}: cannot be written: {refused}") from None
            time.sleep(random.uniform(0.01, 0.1))  # noqa: S311 (another process was there first)
        else:
            return


def _schema(table: str) -> Schema:
    from deltalake.schema import Field, PrimitiveType, Schema

    kinds = {"text": "string", "instant": "timestamp"}
    return Schema([Field(name, PrimitiveType(kinds[kind])) for name, kind in TABLES[table].items()])


def _statistics(table: str, rows: int, columns: Mapping[str, Mapping[str, str]]) -> str:
    """Return what Delta's log says of a file, as JSON: its rows, empty cells, and exact extremes that are short.

    `columns` is what the engine says of each column that it wrote.
    """
    told: dict[str, Any] = {"numRecords": rows, "minValues": {}, "maxValues": {}, "nullCount": {}}
    for name, kind in TABLES[table].items():
        column = columns.get(quoted(name), {} if name in PARTITIONED[table] else {"null_count": str(rows)})
        if "null_count" in column:
            told["nullCount"][name] = int(column["null_count"])
        for ours, theirs in (("minValues", "min"), ("maxValues", "max")):
            extreme = column.get(theirs, "")
            if column.get(f"{theirs}_is_exact") != "true" or len(extreme) > LONGEST_EXTREME:
                continue
            if kind == "instant":  # in milliseconds, as the protocol has it
                at = datetime.fromisoformat(extreme)
                extreme = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            told[ours][name] = extreme
    return json.dumps(told)


def _counted(batches: Iterable[pa.RecordBatch], counts: Counter[str]) -> Iterator[pa.RecordBatch]:
    """Pass `batches` on, adding to `counts` how many rows each arm has."""
    for batch in batches:
        if "arm" in batch.schema.names:
            for each in batch.column("arm").value_counts().to_pylist():
                counts[each["values"]] += each["counts"]
        yield batch
