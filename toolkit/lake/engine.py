"""Where queries run. One engine per measurement; SQL is written in DuckDB's dialect.

Instants are UTC; where they are compared they are whole microseconds since 1970, which every engine has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import duckdb

from toolkit.errors import StorageError

if TYPE_CHECKING:
    from toolkit.lake.tables import Lake

__all__ = [
    "Engine",
    "Stored",
    "at_micros",
    "connect",
    "instant",
    "instant_of",
    "micros",
    "micros_of",
    "open_ahead",
    "parquet",
    "quoted",
    "text",
    "texts",
]

MANY_KEYS = 250_000
"""From so many keys on, repeats are found by sorting hashes, not by grouping."""
REFUSED = (duckdb.IOException, duckdb.InvalidInputException, duckdb.OutOfMemoryException)
"""What the disk or the machine's memory refused, or a file that is damaged, whoever asked."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Stored:
    """One of the lake's tables as an engine sees it.

    Attributes:
        where: where it is, for messages.
        sql: what stands after FROM.
        version: the lake's version read; None where the table is a warehouse's own.
    """

    where: str
    sql: str
    version: int | None


class Engine:
    """DuckDB in memory. What is created in it is gone with it."""

    dialect = "duckdb"
    errors: tuple[type[Exception], ...] = (duckdb.Error,)
    """What is raised where a statement is refused."""

    def __init__(self) -> None:
        begun = _AHEAD.pop() if _AHEAD else None
        self.con = _in_utc(begun.result() if begun else _opened())
        self.opened: dict[str, Any] = {}
        self.lent: dict[str, Mapping[str, Any]] = {}
        self.shared = False

    def beside(self) -> Engine:
        """Return another way into the same tables, for another thread."""
        other = copy(self)
        other.con = _in_utc(self.con.cursor())
        for name, columns in self.lent.items():
            other.con.register(name, columns)
        self.shared = True
        return other

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, wrong: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.shared:  # else its tables are gone with the last who uses them
            self.con.close()
        if isinstance(wrong, REFUSED):
            raise StorageError(f"the engine cannot go on: {str(wrong).splitlines()[0]}") from wrong

    def run(self, sql: str) -> None:
        """Run a statement."""
        self.con.execute(sql)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        return self.con.execute(sql).fetchall()

    def one(self, sql: str) -> tuple[Any, ...]:
        """Return the first row of a query, which has at least one."""
        return tuple(self.rows(sql)[0])

    def view(self, name: str, sql: str) -> None:
        """Give the query a name; it runs anew each time it is read."""
        self.run(f"CREATE OR REPLACE VIEW {name} AS {sql}")

    def table(self, name: str, sql: str) -> None:
        """Run the query and keep its rows under a name."""
        self.run(f"CREATE OR REPLACE TABLE {name} AS {sql}")

    def columns(self, relation: str) -> dict[str, str]:
        """Return name → type of what stands after FROM.

        Raises:
            duckdb.Error: it cannot be read.
        """
        return {str(row[0]): str(row[1]) for row in self.rows(f"DESCRIBE SELECT * FROM {relation}")}

    def own(self, table: str) -> Stored | None:  # noqa: ARG002 (a warehouse may have some)
        """Return the engine's own table of that name, which is read in place of the lake's; None if it has none."""
        return None

    def stored(self, lake: Lake, table: str, **partition: str) -> Stored | None:
        """Return where rows of the lake's `table` are read, at least those of `partition`; None if it is not there."""
        files = lake.files(table, **partition)
        return Stored(lake.uri(table), parquet(files), lake.version(table)) if files else None

    def stream(self, sql: str) -> Any:
        """Return the query's rows as an Arrow stream."""
        return self.con.sql(sql).to_arrow_reader(250_000)

    def instants(self, *expressions: str, of: str) -> tuple[datetime | None, ...]:
        """Return the aware UTC instants that `expressions` have in the first row of `of`."""
        row = self.one(f"SELECT {', '.join(micros(each) for each in expressions)} FROM {of}")
        return tuple(at_micros(at) for at in row)

    def sign(self, key: str, *, other: bool = False) -> str:
        """Return the expression of what stands for the text `key` where repeats are looked for.

        Keys of the `other` kind never meet those of the first: an order id and an event id may be one text.
        """
        return f"xor(hash({key}), 88172645463325252::UBIGINT)" if other else f"hash({key})"

    def line(self, relation: str) -> str:  # noqa: ARG002 (others keep it as a column of files)
        """Return the expression of a row's place in `relation`; it sorts as the rows stand there."""
        return "row_number() OVER ()"

    def first_where(self, relation: str, wrong: str, shown: str) -> tuple[int, str | None]:
        """Return the number of the first row of `relation` for which `wrong` holds, and `shown` (a text) of it."""
        row = self.one(
            f"SELECT line, shown FROM (SELECT row_number() OVER () AS line, {shown} AS shown, {wrong} AS wrong "
            f"FROM {relation}) WHERE wrong ORDER BY line LIMIT 1"
        )
        return int(row[0]), row[1]

    def as_text(self, name: str, kind: str) -> str:  # noqa: ARG002 (others write numbers otherwise)
        """Return the expression of a column of the type `kind` as text."""
        return f"CAST({name} AS VARCHAR)"

    def place(self, number: str, arm: str, arms: int) -> str:
        """Return the expression of what stands for a customer within this engine: a whole number, with the arm.

        `number` tells rows apart; `arm` is one of `arms` places.
        """
        return f"CAST({number} AS BIGINT) * {arms} + {arm}"

    def arm_of(self, place: str, arms: int) -> str:
        """Return the expression of the arm of a customer's `place`."""
        return f"CAST({place} % {arms} AS SMALLINT)"

    def code(self, key: str, names: Sequence[str]) -> str:
        """Return the expression of the place of the text `key` among `names`, NULL where it is none of them.

        Looked up once per entry of a column's dictionary, not once per row.
        """
        places = ", ".join(f"{text(name)}: CAST({at} AS SMALLINT)" for at, name in enumerate(names))
        return f"MAP {{{places}}}[{key}]"

    def repeated(self, name: str, keys: str, *, at_most: int) -> tuple[int, int]:
        """Create the table `name(sign)` of the signs that stand more than once among `keys`.

        `keys` is a query of one column `sign`, of at most `at_most` rows; NULLs do not count. Two different
        keys may share a sign (a pair in 10¹⁹): what is found here is to be looked at closely, and what is not
        found here is unique.

        Returns:
            signs that stand more than once, rows with a sign.
        """
        if at_most < MANY_KEYS:
            self.table(
                name, f"SELECT sign FROM ({keys}) WHERE sign IS NOT NULL GROUP BY sign HAVING count(*) > 1"
            )
            found = self.one(f"SELECT (SELECT count(*) FROM {name}), count(sign) FROM ({keys})")
            return int(found[0]), int(found[1])
        signs = self._numbers(keys, at_most=at_most)
        if signs is None:
            signs = self._numbers(f"SELECT sign FROM ({keys}) WHERE sign IS NOT NULL", at_most=at_most)
        repeats, count = _repeats(signs), len(signs)
        del signs
        self.numbers(name, repeats)
        return len(repeats), count

    def numbers(self, name: str, signs: Any) -> None:
        """Create the table `name(sign)` of an array of UBIGINT."""
        self.con.register("numbers_given", {"sign": signs})
        self.table(name, "SELECT sign FROM numbers_given")
        self.con.unregister("numbers_given")

    def lend(self, name: str, columns: Mapping[str, Any]) -> None:
        """Give arrays of one length a name, as columns; they are read where they are.

        Here, and in what is opened `beside` this from now on.
        """
        self.lent[name] = dict(columns)
        self.con.register(name, self.lent[name])

    def _numbers(self, query: str, *, at_most: int) -> Any:
        """Return the one column of a query, of at most `at_most` rows, as an array of UBIGINT; None where a row is NULL.

        Copied as it comes: what the engine held it in, it has again for what comes next.
        """
        self.run("SET streaming_buffer_size = '64MB'")
        rows = self.con.sql(query).__arrow_c_stream__()  # while the engine works, Python has time
        import numpy as np
        from arro3.core import RecordBatchReader

        batches = RecordBatchReader.from_arrow_pycapsule(rows)
        numbers, at = np.empty(at_most, dtype=np.uint64), 0
        for batch in batches:
            if batch.column(0).null_count:  # to leave them out costs as much as a hash of each: few have any
                return None
            numbers[at : at + batch.num_rows] = np.asarray(batch.column(0))
            at += batch.num_rows
        return numbers[:at]


def open_ahead() -> None:
    """Begin to open DuckDB, while its caller loads what else it needs; the next engine that is asked for takes it."""
    pool = ThreadPoolExecutor(1)
    _AHEAD.append(pool.submit(_opened))
    pool.shutdown(wait=False)


def _opened() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(":memory:")


_AHEAD: list[Future[duckdb.DuckDBPyConnection]] = []


def connect(address: str = "duckdb") -> Engine:
    """Return a new engine: DuckDB in memory, or the one at `address` (`local[2]`, `spark://…`, `postgresql://…`).

    Raises:
        SettingsError: there is no such engine, or what it needs is not installed.
        StorageError: it cannot be reached.
    """
    if address == "duckdb":
        return Engine()
    from toolkit.lake.engines import open_engine

    return open_engine(address)


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


def instant_of(at: int) -> str:
    """Return whole microseconds since 1970 as an SQL literal of an instant."""
    return instant(_EPOCH + timedelta(microseconds=at))


def micros(expression: str) -> str:
    """Return the SQL of an instant as whole microseconds since 1970 (UTC)."""
    return f"epoch_us({expression})"


def micros_of(at: datetime) -> int:
    """Return the aware instant `at` as whole microseconds since 1970 (UTC)."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def at_micros(at: int | None) -> datetime | None:
    """Return the aware UTC instant of whole microseconds since 1970."""
    return None if at is None else _EPOCH + timedelta(microseconds=int(at))


def parquet(files: Sequence[str]) -> str:
    """Return what stands after FROM for the Parquet files of a Delta table."""
    hive = ", hive_partitioning = true, hive_types = {'experiment': VARCHAR}"
    partitioned = all("/experiment=" in name for name in files)
    return f"read_parquet([{texts(files)}], union_by_name = true{hive if partitioned else ''})"


def _in_utc(con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    con.execute("SET TimeZone = 'UTC'")
    con.execute("SET parquet_metadata_cache = true")  # the same files are asked many questions
    return con


def _repeats(signs: Any) -> Any:
    """Return the distinct values that stand more than once in `signs`, which is sorted in place.

    In two halves, one of the lower values and one of the higher, each in a thread of its own: numpy lets go of
    the interpreter.
    """
    import numpy as np

    if len(signs) < 2:
        return signs[:0]
    half = len(signs) // 2
    signs.partition(half)

    def again(part: Any) -> Any:
        part.sort()
        return part[1:][part[1:] == part[:-1]]

    with ThreadPoolExecutor(2) as pool:
        low, high = pool.map(again, (signs[:half], signs[half:]))
    both = signs[half : half + 1] if signs[half - 1] == signs[half] else signs[:0]
    found = np.concatenate([low, both, high])  # in order; np.unique would load what is not needed here
    return found[np.r_[True, found[1:] != found[:-1]][: len(found)]]
