"""Files that teams bring: Parquet or CSV, checked before a number is taken from them.

A file is described once (`open_file`); what it holds is then asked for column by column, as SQL expressions
of the type wanted. What cannot be used is a DataError that names file, column, row and mend.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from toolkit.errors import DataError
from toolkit.lake.engine import Engine, micros, quoted, text, texts

__all__ = ["FileTable", "files_at", "has_zone", "open_file"]

INTEGERS = {
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
}  # fmt: skip
DELIMITERS = ",;\t|"
HAS_ZONE = r"(?i).*\d\s*(z|utc|[+-]\d{2}(:?\d{2})?)$"
DAY = r"^\s*\d{4}-\d{1,2}-\d{1,2}\s*$"
"""A bare day, whose end looks like an offset."""


def has_zone(value: str) -> str:
    """Return the condition that the text of an instant names its time zone."""
    return f"regexp_matches({value}, {text(HAS_ZONE)}) AND NOT regexp_matches({value}, {text(DAY)})"


@dataclass(frozen=True, slots=True)
class FileTable:
    """A readable file (or several that make up one table).

    What could be wrong with its rows is noted as expressions are asked for (`refuse`), and looked into in one
    pass (`settle`), before a number is taken.

    Attributes:
        path: as the user wrote it, for messages.
        sql: what stands after FROM.
        columns: name → DuckDB type; all VARCHAR for CSV.
        csv: whether values are texts yet to be parsed.
        doubts: (condition, column, what is wrong) yet to be looked into.
    """

    con: Engine
    path: str
    sql: str
    columns: Mapping[str, str]
    csv: bool
    doubts: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def numbered(self) -> str | None:
        """Return what stands after FROM where rows bear their number (`file_row_number`), None where they can't."""
        return self.numbered_by_file if "', '" not in self.sql else None

    @property
    def numbered_by_file(self) -> str | None:
        """Return the same where each of several files numbers its own rows."""
        return self.reading("file_row_number = true") if self.sql.startswith("read_parquet(['") else None

    def reading(self, option: str) -> str:
        """Return what stands after FROM for Parquet files read with one more option."""
        return f"{self.sql.removesuffix(')')}, {option})"

    def need(self, *names: str) -> None:
        """Raise DataError unless every column of `names` is there."""
        missing = [name for name in names if name not in self.columns]
        if missing:
            lacks = " and ".join(f"`{name}`" for name in missing)
            raise DataError(f"{self.path}: no column {lacks}; it has {', '.join(self.columns)}")

    def type_of(self, column: str) -> str:
        """Return the column's type without its precision, such as DECIMAL."""
        return self.columns[column].split("(")[0]

    def id(self, column: str = "id", *, email: bool = False) -> str:
        """Return the expression of an identifier: text; an e-mail address trimmed and lower-cased."""
        self.need(column)
        kind, name = self.type_of(column), quoted(column)
        if kind not in INTEGERS | {"VARCHAR", "UUID"}:
            raise DataError(
                f"{self.path}: column `{column}` is {kind}; identifiers must be text or whole numbers "
                "(write 00123 and 123.0 as the text that the vendors know)"
            )
        as_text = name if kind == "VARCHAR" else f"CAST({name} AS VARCHAR)"
        return f"lower(trim({as_text}))" if email else as_text

    def identity(self, key: str) -> str:
        """Return the expression of a customer's identity `key`: its own column, or `id` where there is none."""
        return self.id(key if key in self.columns else "id", email=key == "email")

    def instant(self, column: str, zone: str | None = None) -> str:
        """Return the expression of an instant (TIMESTAMPTZ).

        `zone` is what values without a time zone are taken to be in; without it they are an error.
        """
        self.need(column)
        kind, name = self.type_of(column), quoted(column)
        if kind == "TIMESTAMP WITH TIME ZONE":
            self.refuse(f"{name} IS NULL", column, "is empty; every row needs an instant")
            return name
        if kind == "TIMESTAMPTZ_NS":
            self.refuse(f"{name} IS NULL", column, "is empty; every row needs an instant")
            return f"CAST({name} AS TIMESTAMPTZ)"
        if kind == "VARCHAR":
            self.refuse(f"trim(coalesce({name}, '')) = ''", column, "is empty; every row needs an instant")
            if zone is None:
                self.refuse(  # a bare day passes: it is midnight in UTC
                    f"NOT regexp_matches({name}, {text(HAS_ZONE)}) AND TRY_CAST({name} AS TIMESTAMP) IS NOT NULL",
                    column,
                    "has no time zone; write 2026-10-05T09:30:00Z or …+02:00, or state `timezone` beside `path`",
                )
                parsed = f"TRY_CAST({name} AS TIMESTAMPTZ)"
            else:
                parsed = (
                    f"CASE WHEN {has_zone(name)} THEN TRY_CAST({name} AS TIMESTAMPTZ) "
                    f"ELSE timezone({text(zone)}, TRY_CAST({name} AS TIMESTAMP)) END"
                )
            self.refuse(f"{parsed} IS NULL", column, "is no instant; write it as 2026-10-05T09:30:00Z")
            return parsed
        if kind in {"DATE", "TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S"}:
            if zone is None:
                raise DataError(
                    f"{self.path}: column `{column}` has no time zone ({kind}); write instants with a zone "
                    "(pandas: df[col].dt.tz_localize('UTC')), or state `timezone` beside `path`"
                )
            self.refuse(f"{name} IS NULL", column, "is empty; every row needs an instant")
            return f"timezone({text(zone)}, CAST({name} AS TIMESTAMP))"
        raise DataError(f"{self.path}: column `{column}` is {kind}; it must hold instants")

    def micros(self, column: str, zone: str | None = None) -> str:
        """Return the expression of an instant as whole microseconds since 1970, as `instant` takes it."""
        expression = self.instant(column, zone)
        plain = self.type_of(column) in {"TIMESTAMP", "TIMESTAMP_MS", "TIMESTAMP_S"} and zone == "UTC"
        return micros(quoted(column) if plain else expression)

    def number(self, column: str, *, empty_is_error: str | None = None) -> str:
        """Return the expression of a number; DECIMAL stays exact, everything else is DOUBLE.

        `empty_is_error` says what to do about an empty cell; without it empty cells stay NULL.
        """
        self.need(column)
        kind, name = self.type_of(column), quoted(column)
        if kind == "VARCHAR":
            if not self.csv:
                raise DataError(f"{self.path}: column `{column}` is text; it must hold numbers")
            parsed = f"TRY_CAST(nullif(trim({name}), '') AS DOUBLE)"
            self.refuse(f"trim(coalesce({name}, '')) <> '' AND {parsed} IS NULL", column, "is no number")
        elif kind == "DECIMAL":
            parsed = name
        elif kind in INTEGERS | {"DOUBLE", "FLOAT", "BOOLEAN"}:
            parsed = f"CAST({name} AS DOUBLE)"
        else:
            raise DataError(f"{self.path}: column `{column}` is {kind}; it must hold numbers")
        if kind in {"VARCHAR", "DOUBLE", "FLOAT"}:
            self.refuse(f"NOT isfinite({parsed})", column, "is not finite; write a plain number")
        if empty_is_error:
            self.refuse(f"{parsed} IS NULL", column, empty_is_error)
        return parsed

    def key(self, column: str) -> str:
        """Return the expression of a name or an identifier of things: text, NULL or '' where empty.

        In a file of typed columns it is taken as it stands, so that whole parts of files can be passed over
        without looking at each value.
        """
        if self.csv or self.type_of(column) != "VARCHAR":
            return self.words(column)
        return quoted(column)

    def words(self, column: str) -> str:
        """Return the expression of a text; empty cells are NULL."""
        self.need(column)
        return f"nullif(trim({self.con.as_text(quoted(column), self.type_of(column))}), '')"

    def refuse(self, wrong: str, column: str, why: str) -> None:
        """Note that rows for which `wrong` holds cannot be used; `settle` looks into it."""
        if (wrong, column, why) not in self.doubts:
            self.doubts.append((wrong, column, why))

    def settle(self, *expressions: str) -> tuple[Any, ...]:
        """Return aggregate `expressions` over all rows, after looking for rows that cannot be used.

        Raises:
            DataError: there are some; names the first, and says how many more.
        """
        doubts = list(self.doubts)
        self.doubts.clear()
        counts = [f"count(*) FILTER (WHERE {wrong})" for wrong, _, _ in doubts]
        if not counts and not expressions:
            return ()
        with self.being_read():
            found = self.con.one(f"SELECT {', '.join([*counts, *expressions])} FROM {self.sql}")
        for doubt, rows in zip(doubts, found, strict=False):
            if rows:
                raise DataError(self._first_wrong(*doubt, rows))
        return found[len(doubts) :]

    def settle_empty(self) -> None:
        """Look for empty cells alone, which a file of typed columns tells without being read; keep other doubts.

        Raises:
            DataError: there are some.
        """
        for doubt in [each for each in self.doubts if each[0].endswith(" IS NULL")]:
            self.doubts.remove(doubt)
            rows = self.con.one(f"SELECT count(*) FROM {self.sql} WHERE {doubt[0]}")[0]
            if rows:
                raise DataError(self._first_wrong(*doubt, rows))

    def settle_by(
        self, shown: Sequence[str], key: str, *expressions: str, where: str = ""
    ) -> list[tuple[Any, ...]]:
        """Return `key` and aggregate `expressions` over the columns `shown`, a row per key, as `settle` does.

        `where` begins with WHERE and says which rows are looked at, if not all.

        Raises:
            DataError: there are rows that cannot be used.
        """
        doubts = list(self.doubts)
        self.doubts.clear()
        wrongs = [f"{wrong} AS w{at}" for at, (wrong, _, _) in enumerate(doubts)]
        counts = [f"count(*) FILTER (WHERE w{at})" for at in range(len(doubts))]
        with self.being_read():
            found = self.con.rows(
                f"SELECT {', '.join([key, *counts, *expressions])} "
                f"FROM (SELECT {', '.join([*shown, *wrongs])} FROM {self.sql}{where}) GROUP BY {key}"
            )
        for at, doubt in enumerate(doubts):
            rows = sum(row[1 + at] for row in found)
            if rows:
                raise DataError(self._first_wrong(*doubt, rows))
        return [(row[0], *row[1 + len(doubts) :]) for row in found]

    @contextmanager
    def being_read(self) -> Iterator[None]:
        """Say what is wrong with the file where the engine refuses to read all of it.

        Raises:
            DataError: it did.
        """
        try:
            yield
        except _refusals(self.con) as refused:
            raise _unreadable(self.path, files_at(self.path) if self.csv else (), refused) from None

    def _first_wrong(self, wrong: str, column: str, why: str, rows: int) -> str:
        said = self.con.as_text(quoted(column), self.type_of(column))
        row, shown = self.con.first_where(self.sql, wrong, said)
        value = "" if shown is None or not shown.strip() else f" {shown!r}"
        more = f" (and {rows - 1} more rows)" if rows > 1 else ""
        return f"{self.path}: row {row}: `{column}`{value} {why}{more}"


def files_at(path: str) -> list[str]:
    """Return the files that `path` stands for: itself, those of a folder, or those that fit it as a pattern."""
    if os.path.isdir(path):  # noqa: PTH112 (a Path costs more)
        return sorted(glob.glob(os.path.join(glob.escape(path), "*.parquet")))  # noqa: PTH118, PTH207
    if os.path.exists(path):  # noqa: PTH110
        return [path]
    return sorted(glob.glob(path, recursive=True)) if glob.has_magic(path) else []  # noqa: PTH207


def _left_out(path: str) -> str | None:
    """Return why a folder holds more, or less, than the Parquet files that lie in it; None where it does not.

    What begins with a dot or an underscore is not data, by the custom of those who write such folders.
    """
    for root, folders, names in os.walk(path):
        if "_delta_log" in folders:
            return (
                f"{root}: is a Delta table, whose folder keeps rows that were removed from it as well; "
                "write its rows to a Parquet file"
            )
        folders[:] = sorted(each for each in folders if each[0] not in "._")
        for name in sorted(names):
            data = name.removesuffix(".gz").endswith((".parquet", ".pq", ".csv")) and name[0] not in "._"
            if data and (root != path or not name.endswith(".parquet")):
                found = os.path.relpath(os.path.join(root, name), path)  # noqa: PTH118
                return (
                    f"{path}: of a folder only the .parquet files that lie right in it are read, not {found}; "
                    "name the files by a pattern, such as folder/**/*.parquet"
                )
    return None


def _refusals(con: Engine) -> tuple[type[Exception], ...]:
    """Return what is raised where a file cannot be read, by the engine or by what brings rows to it."""
    return (*con.errors, OSError)


def _unreadable(path: str, csv: Iterable[str], refused: Exception) -> DataError:
    """Return what to say of a table that an engine refuses to read; `csv` are its files, where they are CSV."""
    ragged = next(filter(None, map(_ragged, csv)), None)
    return DataError(ragged or f"{path}: cannot be read: {str(refused).splitlines()[0]}")


def _ragged(path: str) -> str | None:
    """Return what is wrong with the first row of a CSV file that has not as many fields as its header, if there is one.

    None, too, where the file cannot be read that far: then what the engine says of it has to do.
    """
    import csv
    import gzip
    import zlib

    opener = gzip.open if path.endswith(".gz") else open
    with (
        suppress(OSError, EOFError, zlib.error, csv.Error),
        opener(path, "rt", encoding="utf-8-sig", errors="replace", newline="") as lines,
    ):
        header = lines.readline()
        delimiter = max(DELIMITERS, key=header.count)
        width = len(next(csv.reader([header], delimiter=delimiter), []))
        for number, fields in enumerate(csv.reader(lines, delimiter=delimiter), 1):
            if fields and len(fields) != width:
                return (
                    f"{path}: row {number} has {len(fields)} fields, and the header {width}; "
                    f"a value that holds {delimiter!r} needs quotes around it"
                )
    return None


def open_file(con: Engine, path: str, *, what: str) -> FileTable:
    """Return the table in `path`: a Parquet or CSV file, a glob of them, or a folder of Parquet files.

    What is there under that very name is meant, also where the name could be read as a pattern.

    Raises:
        DataError: it is missing, empty, or of another form; `what` says what was looked for.
    """
    if path in con.opened:
        sql, columns = con.opened[path]
        return FileTable(con, path, sql, columns, sql.startswith("read_csv("))
    found = files_at(path)
    more = _left_out(path) if os.path.isdir(path) else None  # noqa: PTH112
    if more:
        raise DataError(more)
    if not found:
        raise DataError(f"{path}: no such file; {what}")
    endings = {
        ("csv" if name.removesuffix(".gz").endswith(".csv") else name.rpartition(".")[2]) for name in found
    }
    if len(endings) > 1 or not endings <= {"csv", "parquet", "pq"}:
        raise DataError(f"{path}: must be .parquet or .csv; {what}")
    csv = endings == {"csv"}
    empty = next((name for name in found if os.path.getsize(name) == 0), None)  # noqa: PTH202
    if empty:
        raise DataError(f"{empty}: the file is empty; {what}")
    # what is there is no pattern any more; other engines see to that where they read it
    named = texts(map(glob.escape, found) if con.dialect == "duckdb" else found)
    sql = (
        f"read_csv([{named}], header = true, all_varchar = true, union_by_name = true, strict_mode = true)"
        if csv
        else f"read_parquet([{named}], union_by_name = true)"
    )
    try:
        columns = con.columns(sql)
        any_row = con.rows(f"SELECT 1 FROM {sql} LIMIT 1")
    except _refusals(con) as refused:
        raise _unreadable(path, found if csv else (), refused) from None
    unlikely = len(columns) == 1 and set(next(iter(columns))) & set(DELIMITERS)
    if csv and (
        unlikely or not any_row
    ):  # of uneven rows the engine makes one column, or takes the last for a header
        ragged = next(filter(None, map(_ragged, found)), None)
        if ragged:
            raise DataError(ragged)
    if not any_row:
        raise DataError(f"{path}: has a header but no rows: write it anew, with its rows; {what}")
    con.opened[path] = sql, columns
    return FileTable(con, path, sql, columns, csv)
