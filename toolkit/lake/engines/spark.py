"""Spark, through Ibis: one session per measurement, its relations temporary, its files read by Spark itself."""

from __future__ import annotations

import atexit
import glob
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ibis
import sqlglot
from py4j.protocol import Py4JError  # type: ignore[import-untyped]
from pyarrow import ArrowInvalid
from pyarrow.parquet import read_schema
from pyspark import SparkConf, SparkContext, StorageLevel
from pyspark.errors import PySparkException
from pyspark.java_gateway import launch_gateway
from pyspark.sql import Column, DataFrame, SparkSession, functions
from pyspark.sql import types as spark_types
from sqlglot import exp

from toolkit.errors import SettingsError, StorageError
from toolkit.lake.engine import connect, quoted, texts
from toolkit.lake.engines.translate import LINE
from toolkit.lake.engines.warehouse import Warehouse

__all__ = ["Spark", "start"]

KINDS: Mapping[str, str] = {
    "BinaryType": "BLOB",
    "BooleanType": "BOOLEAN",
    "ByteType": "TINYINT",
    "DateType": "DATE",
    "DoubleType": "DOUBLE",
    "FloatType": "FLOAT",
    "IntegerType": "INTEGER",
    "LongType": "BIGINT",
    "ShortType": "SMALLINT",
    "StringType": "VARCHAR",
    "TimestampNTZType": "TIMESTAMP",
    "TimestampType": "TIMESTAMP WITH TIME ZONE",
}
"""Spark's types, as DuckDB calls them."""
CSV = "header = true, all_varchar = true, union_by_name = true, strict_mode = true"
MOST_SENT = 2 << 30
"""Bytes of files that are sent through this process; more has to come as Parquet that Spark reads."""


def start(master: str, more: Mapping[str, str] | None = None) -> SparkContext:
    """Return the running Spark, or start one: quiet, without its web page, with scratch files in a folder of its own.

    What `spark-defaults.conf` and `PYSPARK_SUBMIT_ARGS` say of memory and of a cluster holds.

    Raises:
        SettingsError: Java is missing, or Spark does not start.
    """
    running = SparkContext._active_spark_context  # noqa: SLF001 (there is no public way to ask)
    if running is not None:
        return running
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if not java or not Path(java).exists():
        raise SettingsError(
            "LIFT_ENGINE: Spark needs Java 17 or newer, and there is none: install it (Debian: openjdk-17-jre-headless; "
            "conda: openjdk) or set JAVA_HOME"
        )
    folder = tempfile.mkdtemp(prefix="lift-spark-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    here = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    settings = {
        "spark.master": master,
        "spark.app.name": "lift",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.local.dir": str(Path(folder) / "scratch"),
        "spark.sql.warehouse.dir": str(Path(folder) / "warehouse"),
        **(here if master.startswith("local") else {}),
        **(more or {}),
    }
    conf = SparkConf(loadDefaults=False)
    for name, value in settings.items():
        conf.set(name, value)
    log = Path(folder) / "log"
    try:
        with log.open("wb") as said:
            gateway = launch_gateway(conf, popen_kwargs={"stdout": said, "stderr": said})
        context = SparkContext(conf=conf, gateway=gateway)
    except Exception as refused:  # whatever stops a Java process: its own words say why
        told = [line for line in log.read_text(errors="replace").splitlines() if "WARN" not in line]
        why = next(
            (line for line in told if "rror" in line or "xception" in line), str(refused).splitlines()[0]
        )
        raise SettingsError(f"LIFT_ENGINE={master}: Spark does not start: {why.strip()}") from refused
    context.setLogLevel("ERROR")
    return context


class Spark(Warehouse):
    """A session of its own on the running Spark: what is created and set in it touches no other."""

    dialect = "spark"

    def __init__(self, master: str) -> None:
        super().__init__()
        context = start(master)
        self.session = SparkSession(context).newSession()
        self.backend = ibis.pyspark.connect(self.session)  # sets the session's time zone to UTC
        settings = {
            "spark.sql.ansi.enabled": "true",  # a number that overflows is an error, not NULL
            "spark.sql.legacy.parquet.nanosAsLong": "true",  # made instants of in `_as_duckdb_reads`
            "spark.sql.sources.partitionColumnTypeInference.enabled": "false",  # an experiment may be called 7
        }
        cores = re.fullmatch(r"local\[(\d+)\]", str(context.master))
        if cores and not context.getConf().contains("spark.sql.shuffle.partitions"):
            settings["spark.sql.shuffle.partitions"] = cores[1]
        for name, value in settings.items():
            self.session.conf.set(name, value)
        self._local = str(context.master).startswith("local")
        self._kept: list[DataFrame] = []

    def close(self) -> None:
        """Give back what was kept. Spark goes on until the process ends, for the next measurement."""
        for frame in self._kept:
            frame.unpersist()

    def sign(self, key: str, *, other: bool = False) -> str:
        """Return the expression of what stands for the text `key` where repeats are looked for: a hash."""
        return f"xxhash64({key}, 1)" if other else f"xxhash64({key})"

    def run(self, sql: str) -> None:
        """Run a statement. A relation that rows are inserted into is made anew."""
        tree = sqlglot.parse_one(sql, dialect="duckdb")
        if isinstance(tree, exp.Insert):
            name, more = tree.this.name, self._frame(tree.expression.sql(dialect="duckdb"))
            self._keep(name, self._asked(lambda: self.session.table(name).union(more)))
        else:
            self._frame(sql)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        frame = self._frame(sql)
        return [tuple(row) for row in self._asked(frame.collect)]

    def view(self, name: str, sql: str) -> None:
        """Give the query a name; it runs anew each time it is read."""
        self._frame(sql).createOrReplaceTempView(name)

    def table(self, name: str, sql: str) -> None:
        """Run the query and keep its rows under a name; on a cluster, from when they are first read."""
        self._keep(name, self._frame(sql))

    def stream(self, sql: str) -> Any:
        """Return the query's rows as an Arrow stream."""
        return self._asked(self._frame(sql).toArrow).to_reader()

    def describe(self, relation: str) -> dict[str, str]:
        """Return column → type, as DuckDB calls it."""
        return {each.name: _kind(each.dataType) for each in self._frame(f"SELECT * FROM {relation}").schema}

    def bring(self, name: str, files: Sequence[str], *, csv: bool, hive: bool) -> dict[str, str]:
        """Create the view `name`: Parquet is read by Spark where it lies, what Spark cannot read is sent there."""
        if csv:
            frame, kinds = self._sent(files, f"read_csv([{texts(map(glob.escape, files))}], {CSV})")
        else:
            types = _types_of(files)
            if any("uuid" in each for each in types.values()):
                frame, kinds = self._sent(
                    files, f"read_parquet([{texts(map(glob.escape, files))}], union_by_name = true)"
                )
            else:
                frame, kinds = self._read(files, types, hive=hive)
        frame.createOrReplaceTempView(name)
        return kinds

    def _read(
        self, files: Sequence[str], types: Mapping[str, str], *, hive: bool
    ) -> tuple[DataFrame, dict[str, str]]:
        reader = self.session.read.option("mergeSchema", str(len(files) > 1).lower())
        if hive:
            reader = reader.option("basePath", _address(files[0].partition("/experiment=")[0]))
        frame = self._asked(lambda: reader.parquet(*(_address(each) for each in files)))
        columns, kinds = _as_duckdb_reads(frame, types)
        place = functions.struct("_metadata.file_path", "_metadata.row_index").alias(LINE)
        return self._asked(lambda: frame.select(*columns, place)), kinds

    def _sent(self, files: Sequence[str], source: str) -> tuple[DataFrame, dict[str, str]]:
        size = sum(Path(each).stat().st_size for each in files)
        if size > MOST_SENT:
            raise StorageError(
                f"{files[0]}: {size / 2**30:.1f} GiB are too much to send to Spark; write it as Parquet, "
                "with UUIDs as text, so that Spark reads it itself"
            )
        with connect() as con:
            try:
                kinds = con.columns(source)
                shown = ", ".join(
                    f"CAST({quoted(each)} AS VARCHAR) AS {quoted(each)}" if kind == "UUID" else quoted(each)
                    for each, kind in kinds.items()
                )
                rows = con.stream(f"SELECT {shown}, row_number() OVER () AS {LINE} FROM {source}").read_all()
            except con.errors as refused:
                raise StorageError(str(refused).splitlines()[0]) from None
        return self._asked(lambda: self.session.createDataFrame(rows)), kinds

    def _keep(self, name: str, frame: DataFrame) -> None:
        if self._local:  # nothing can get lost, and what led to the rows need not be planned again
            frame = self._asked(frame.localCheckpoint)
        else:
            self._kept.append(frame.persist(StorageLevel.MEMORY_AND_DISK))
        frame.createOrReplaceTempView(name)

    def _frame(self, sql: str) -> DataFrame:
        said = self.translated(sql)
        return self._asked(lambda: self.backend.raw_sql(said))

    def _asked(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except (PySparkException, Py4JError) as refused:
            raise StorageError(f"Spark refused: {_why(refused)}") from refused


def _why(refused: Exception) -> str:
    """Return what Spark says went wrong, in a line, without where in its own code."""
    lines = [line.strip() for line in str(refused).splitlines() if line.strip()]
    caused = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return (caused or lines or [type(refused).__name__])[-1 if caused else 0]


def _address(path: str) -> str:
    """Return a path as Spark wants it: what looks like a pattern is meant as it stands."""
    if path.startswith("s3://"):
        path = "s3a://" + path.removeprefix("s3://")
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", path)


def _kind(of: spark_types.DataType) -> str:
    if isinstance(of, spark_types.DecimalType):
        return f"DECIMAL({of.precision},{of.scale})"
    return KINDS.get(type(of).__name__, type(of).__name__.removesuffix("Type").upper())


def _types_of(files: Sequence[str]) -> dict[str, str]:
    """Return column → its Arrow type as the files themselves say it; nothing where they are not on this machine."""
    here: dict[str, str] = {}
    for path in files:
        if "://" in path:
            break
        try:
            here = {each.name: str(each.type) for each in read_schema(path)} | here
        except (ArrowInvalid, OSError):
            break  # Spark says what is wrong with it
    return here


def _as_duckdb_reads(frame: DataFrame, types: Mapping[str, str]) -> tuple[list[Column], dict[str, str]]:
    """Return a file's columns as DuckDB reads them: Spark knows no nanoseconds and no unsigned numbers."""
    columns, kinds = [], {}
    for each in frame.schema:
        name = f"`{each.name.replace('`', '``')}`"
        column, kind, said = functions.col(name), _kind(each.dataType), types.get(each.name, "")
        if said.startswith("timestamp[ns") and kind == "BIGINT":
            column = functions.timestamp_micros(functions.expr(f"{name} DIV 1000"))
            kind = "TIMESTAMPTZ_NS" if "tz=" in said else "TIMESTAMP_NS"
            column = column if "tz=" in said else column.cast("timestamp_ntz")
        elif said.startswith("uint"):
            kind = {"uint8": "UTINYINT", "uint16": "USMALLINT", "uint32": "UINTEGER"}.get(said, "UBIGINT")
        columns.append(column.alias(each.name))
        kinds[each.name] = kind
    return columns, kinds
