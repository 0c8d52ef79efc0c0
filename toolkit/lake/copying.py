"""Copying: what a query finds goes into a table of the lake, however many rows there are.

Into a folder, the engine itself writes the Parquet file, with all its threads, and the file is then added to
the table's log: nobody sees it before that, and one that is never added is no part of the table. Into an object
store, or a table that others made otherwise, the rows stream through Delta's own writer.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import StorageError
from toolkit.lake.engine import Engine, quoted, text
from toolkit.lake.tables import APPEND_ATTEMPTS, PARTITIONED, TABLES, Lake

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import Schema

__all__ = ["append_query"]

WRITTEN = {
    "assignments": "COMPRESSION uncompressed, DICTIONARY_SIZE_LIMIT 1, PARQUET_VERSION v2",
    "people": "COMPRESSION zstd",
}
"""How files are written. Identifiers never repeat, and packing them costs more than it saves."""
PLAIN_WRITER = 2
"""Up to this writer version, Delta's protocol asks for nothing but the file and its line in the log."""
LONGEST_EXTREME = 32
"""Longer texts are not noted as a file's smallest or largest."""


def append_query(con: Engine, lake: Lake, table: str, query: str, *, experiment: str) -> dict[str, int]:
    """Append the rows of `query`, all of one experiment, as one atomic commit; without rows there is none.

    `table` is assignments or people, and `query` gives its columns in their order but for `experiment`. Texts
    may be enumerations, which are written much faster.

    Returns:
        arm → rows, if the table has arms.

    Raises:
        StorageError: the disk or the object store refused.
    """
    if _takes_files(lake, table):
        return _copy(con, lake, table, query, experiment)
    if not con.rows(f"SELECT 1 FROM ({query}) LIMIT 1"):
        return {}
    counts: Counter[str] = Counter()
    columns = ", ".join(
        f"CAST({quoted(name)} AS VARCHAR) AS {quoted(name)}" if kind == "text" else quoted(name)
        for name, kind in TABLES[table].items()
    )

    def stream() -> pa.RecordBatchReader:
        counts.clear()
        rows = con.stream(
            f"SELECT {columns} FROM (SELECT {text(experiment)} AS experiment, * FROM ({query}))"
        )
        return type(rows).from_batches(rows.schema, _counted(rows, counts))

    lake.append(table, stream)
    return dict(counts)


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


def _copy(con: Engine, lake: Lake, table: str, query: str, experiment: str) -> dict[str, int]:
    name = f"experiment={experiment}/part-{uuid.uuid4()}.parquet"
    path = Path(lake.uri(table)) / name
    counts: dict[str, int] = {}
    rows = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as refused:
        raise StorageError(f"{path.parent}: cannot be made: {refused.strerror}") from None
    try:
        con.run("SET preserve_insertion_order = false")  # no thread waits for another's rows
        _, rows, size, _, columns, *_ = con.one(
            f"COPY ({query}) TO {text(str(path))} "
            f"(FORMAT parquet, RETURN_STATS, USE_TMP_FILE false, {WRITTEN[table]})"
        )
        if "arm" in TABLES[table]:
            counts = dict(con.rows(f"SELECT arm, count(*) FROM read_parquet({text(str(path))}) GROUP BY arm"))
    except con.errors as refused:
        rows = 0
        raise StorageError(f"{path}: cannot be written: {str(refused).splitlines()[0]}") from None
    finally:
        con.run("RESET preserve_insertion_order")
        if not rows:
            path.unlink(missing_ok=True)
    if rows:
        _add(lake, table, name, {"experiment": experiment}, size, _statistics(table, rows, columns))
    return counts


def _add(
    lake: Lake, table: str, name: str, partition: dict[str, str | None], size: int, statistics: str
) -> None:
    """Make the file `name`, which is in the folder of `table`, part of it, as one atomic commit.

    Adding it once more changes nothing: the log knows files by name.
    """
    from deltalake.exceptions import CommitFailedError, DeltaError
    from deltalake.transaction import AddAction, create_table_with_add_actions

    now = time.time_ns() // 1_000_000
    added = [AddAction(name, size, partition, now, data_change=True, stats=statistics)]
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
        column = columns.get(quoted(name), {})
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
