"""Every measurement of the suite once more, on Spark and on PostgreSQL, against DuckDB's answer.

The tests of the modules named here are run again as they stand, with a `measure` that asks both engines and
compares; what those tests claim is thus claimed of every engine too.
"""

from __future__ import annotations

import difflib
import functools
import json
import math
import shutil
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.design import test_assignment
from tests.example import FILES, OnFiles
from tests.lake import (
    test_a_lake_written_by_others,
    test_measuring_files,
    test_reference_results,
    test_weekly_looks,
    test_what_may_be_said,
)
from tests.lake.golden.compile import BUCKETS, DIALECTS, compiled, everything, outcomes
from tests.lake.golden.compile import HERE as GOLDEN
from toolkit.errors import SettingsError, StorageError, ToolkitError
from toolkit.lake.engine import connect, text
from toolkit.lake.intake import note_through
from toolkit.lake.sources import open_file
from toolkit.lake.tables import Lake
from toolkit.settings import Settings
from toolkit.steps.measure import measure
from toolkit.steps.workspace import Spec, Workspace

MODULES = (
    test_measuring_files,
    test_reference_results,
    test_a_lake_written_by_others,
    test_weekly_looks,
    test_what_may_be_said,
)
SAID = {
    "test_every_look_of_the_curve_is_what_measuring_at_that_date_says",
    "test_a_weekly_interval_is_wider_and_its_p_value_agrees_with_it",
}
"""Tests that ask at many dates what their neighbours ask at one: nothing else is asked of the engine."""
FEWER = {
    "test_hillstrom_is_reproduced": [("covariates", "case")],
    "test_starbucks_is_reproduced_and_a_wider_interval_is_said_to_be_wider": [("covariates", "case")],
}
"""Of these only the last: many covariates ask all that few of them do."""
POSTGRES = "postgresql://postgres@127.0.0.1/postgres"
SPARK = "local[2]"
QUICK = {
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}
"""Planning costs more than reading eighty rows does; a process of its own runs with what Spark does by itself."""


def why_no_spark():
    try:
        import ibis  # noqa: F401
        import pyspark  # noqa: F401
    except ImportError as missing:
        return f"the extra `spark` is not installed ({missing.name})"
    return None if shutil.which("java") else "there is no Java for Spark"


def why_no_postgres():
    try:
        import psycopg

        psycopg.connect(POSTGRES, connect_timeout=2).close()
    except ImportError as missing:
        return f"the extra `postgres` is not installed ({missing.name})"
    except OSError:
        return "nothing listens on 127.0.0.1:5432"
    except psycopg.OperationalError as refused:
        return f"no PostgreSQL to be had on 127.0.0.1:5432: {str(refused).splitlines()[0]}"
    return None


@functools.cache
def why_not(engine):
    return why_no_spark() if engine == SPARK else why_no_postgres()


@pytest.fixture(scope="module", params=[SPARK, POSTGRES], ids=["spark", "postgres"])
def engine(request):
    why = why_not(request.param)
    if why:
        pytest.skip(why)
    if request.param == SPARK:
        from toolkit.lake.engines.spark import start

        start(SPARK, QUICK)
    return request.param


LOOSER = {"variance_reduction": 1e-9, "relative.low": 1e-8, "relative.high": 1e-8}
"""Fields whose digits cancel: 1 − a ratio near 1; and an end of a relative interval where an arm has no variance,
which is the root of a rounding error."""


def differences(a, b, where="measurement"):
    """Return where two answers differ: numbers by more than 1e-9 of themselves, anything else at all."""
    if is_dataclass(a) and type(a) is type(b):
        pairs = [(f"{where}.{each.name}", getattr(a, each.name), getattr(b, each.name)) for each in fields(a)]
    elif isinstance(a, Mapping) and isinstance(b, Mapping) and a.keys() == b.keys():
        pairs = [(f"{where}[{key!r}]", a[key], b[key]) for key in a]
    elif isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        pairs = [(f"{where}[{at}]", one, other) for at, (one, other) in enumerate(zip(a, b, strict=True))]
    elif isinstance(a, float) and isinstance(b, float):
        slack = next((each for name, each in LOOSER.items() if where.endswith(name)), 1e-15)
        same = math.isclose(a, b, rel_tol=1e-9, abs_tol=slack) or (math.isnan(a) and math.isnan(b))
        return [] if same else [f"{where}: {a!r} and {b!r}"]
    else:
        return [] if a == b and type(a) is type(b) else [f"{where}: {a!r} and {b!r}"]
    return [said for name, one, other in pairs for said in differences(one, other, name)]


def on(engine, workspace, spec, **asked):
    settings = workspace.settings.model_copy(update={"lift_engine": engine})
    return measure(replace(workspace, settings=settings), spec, **asked)


def on_both(engine):
    def measured(workspace, spec, **asked):
        try:
            expected = measure(workspace, spec, **asked)
        except ToolkitError as refused:
            with pytest.raises(type(refused)) as too:
                on(engine, workspace, spec, **asked)
            own = "cannot be read" in str(refused)  # engines have their own words for broken files
            assert own or str(too.value) == str(refused)  # noqa: PT017
            raise
        found = on(engine, workspace, spec, **asked)
        assert differences(expected, found) == []
        return found

    return measured


@pytest.fixture(autouse=True)
def asked_of_both(request, monkeypatch):
    if "engine" not in request.fixturenames:
        return
    both = on_both(request.getfixturevalue("engine"))
    for module in MODULES:
        monkeypatch.setattr(module, "measure", both)


def again(module, test):
    """Return a test of another module as one of this, with its marks, for every engine."""

    @functools.wraps(test)
    def repeated(*arguments, **named):
        return test(*arguments, **named)

    own, marks = getattr(test, "pytestmark", []), getattr(module, "pytestmark", [])
    repeated.pytestmark = [*(fewer(test, mark) for mark in own), *(mark.mark for mark in marks)]
    return pytest.mark.usefixtures("engine")(repeated)


def fewer(test, mark):
    if mark.name != "parametrize" or mark.args[0] not in FEWER.get(test.__name__, ()):
        return mark
    names, values = mark.args
    return pytest.mark.parametrize(names, values[-1:]).mark


case = test_measuring_files.case
for module in MODULES:
    for name, test in vars(module).items():
        if name in SAID or not name.startswith("test_"):
            continue
        if {"measure", "measured"} & {*test.__code__.co_names}:
            assert name not in globals(), f"two tests are called {name}"
            globals()[name] = again(module, test)


def workspace_of(lake):
    return Workspace(Settings(lift_home=lake.home), lake)


def asked(engine, path, lake=None, as_of=date(2026, 1, 31)):
    lake = lake or Lake(str(path.parent / "lake"))
    return on_both(engine)(workspace_of(lake), Spec.read(path), as_of=as_of)


def test_a_lake_with_everything_is_measured_alike(engine, tmp_path):
    found = asked(engine, *everything(tmp_path))
    assert sum(found.customers.values()) == 900
    assert {lift.breakdown for lift in found.lifts} == {None, "tier", "market (€)"}
    assert next(check for check in found.checks if check.name == "holdout_delivered").status != "skip"


def test_ready_outcomes_with_a_cap_and_a_breakdown_are_measured_alike(engine, tmp_path):
    found = asked(engine, *outcomes(tmp_path))
    assert any(lift.capped for lift in found.lifts)


def test_one_file_that_says_it_all_is_measured_alike(engine, tmp_path):
    case = OnFiles(tmp_path)
    spec = FILES.split("events:")[0].replace("{source: files}", "{source: files, path: all.parquet}")
    case.spec = spec + "outcomes: {source: files, path: all.parquet}\n"
    case.spec += "metrics: [{name: spend, kind: mean, column: spend, covariates: [age]}]\n"
    rows = case.assignments.assign(spend=[n % 7 + 0.5 for n in range(80)], age=case.people["age"] * 1.0)
    rows.loc[::9, "age"] = None
    rows.to_parquet(tmp_path / "all.parquet")
    assert asked(engine, case.write()).lifts[0].adjusted


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_of_a_person_in_several_rows_the_first_counts_across_files(engine, tmp_path, form):
    case = OnFiles(tmp_path, FILES.replace("entry: rolling", f'path: "people_*.{form}"'))
    case.spec = (
        case.spec.replace("amount}", "amount, covariates: [age]}") + "analysis: {breakdowns: [tier]}\n"
    )
    case.people["tier"] = [["a", None][n // 2 % 2] for n in range(80)]
    later = case.people.sample(frac=1, random_state=1).assign(age=99, tier="late")
    for at, part in enumerate((case.people[:50], later, case.people[50:], case.people)):
        name = str(tmp_path / f"people_{at}.{form}")
        part.to_csv(name, index=False) if form == "csv" else part.to_parquet(name, index=False)
    found = asked(engine, case.write())
    assert {lift.level for lift in found.lifts if lift.breakdown} == {"a", "late", "unknown"}


def said_of(engine, path, shown):
    """Return the rows of a file as expressions of its columns, each followed by whether it is refused."""
    with connect(engine) as con:
        table = open_file(con, str(path), what="a test")
        asked_for = []
        for column in table.columns:
            table.doubts.clear()
            asked_for.append(shown(table, column))
            asked_for += [f"coalesce({wrong}, false)" for wrong, _, _ in table.doubts]
        return con.rows(f"SELECT {', '.join(asked_for)} FROM {table.sql} ORDER BY {con.line(table.sql)}")


def alike(engine, path, shown):
    """Return what DuckDB says, after comparing it with what the engine says."""
    expected, found = said_of("duckdb", path, shown), said_of(engine, path, shown)
    assert differences(expected, found, "rows") == []
    return expected


def a_file_of(path, columns):
    pq.write_table(pa.table(columns), path)
    return path


def a_csv_of(path, columns):
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def test_values_of_any_kind_are_called_alike(engine, tmp_path):
    at = datetime.fromisoformat("2026-01-01T10:30:00.500000")
    columns = {
        "whole numbers with gaps": pa.array([1.0, None, -1e15]),
        "floats": pa.array([1.5, 16_777_216.0, float("inf")], pa.float32()),
        "fractions": pa.array([0.5, -2.25, 123456.75]),
        "not numbers": pa.array([float("nan"), float("-inf"), 0.0]),
        "truths": pa.array([True, False, None]),
        "dates": pa.array([date(2026, 1, 1), date(1969, 12, 31), None]),
        "decimals": pa.array([Decimal("1.50"), Decimal("-2.00"), None], pa.decimal128(10, 2)),
        "words": pa.array(["ä 'b'", ' "c" ', "d\\N"]),
        "more words": pa.array(["\\N", "", "a\nb,c"]),
        "clocks": pa.array([at, at.replace(microsecond=0), None], pa.timestamp("us")),
        "small": pa.array([-128, 127, None], pa.int8()),
        "large": pa.array([0, 2**64 - 1, None], pa.uint64()),
        "dictionary": pa.array(["a", "b", "a"]).dictionary_encode(),
    }
    rows = alike(
        engine, a_file_of(tmp_path / "kinds.parquet", columns), lambda table, name: table.words(name)
    )
    assert rows[0][:3] == ("1.0", "1.5", "0.5")
    assert rows[2][1] == "inf"


KEYS = {
    "int32": pa.array([1, 2, None], pa.int32()),
    "uint8": pa.array([1, 255, None], pa.uint8()),
    "uint64": pa.array([1, 2**64 - 1, None], pa.uint64()),
    "large text": pa.array([" A@b.C ", "ü", None], pa.large_string()),
    "dictionary": pa.array(["x", "y", None]).dictionary_encode(),
}


@pytest.mark.parametrize("uuids", [False, True])
def test_identifiers_of_any_kind_are_the_same_texts(engine, tmp_path, uuids):
    columns = KEYS if not uuids else {"uuid": pa.array([uuid.UUID(int=7**20).bytes, None], pa.uuid())}
    for email in (False, True):
        rows = alike(
            engine,
            a_file_of(tmp_path / "keys.parquet", columns),
            lambda table, name: table.id(name, email=email),  # noqa: B023
        )
    assert rows[0] == (str(uuid.UUID(int=7**20)),) if uuids else ("1", "1", "1", "a@b.c", "x")


def test_a_column_of_bytes_is_no_identifier_anywhere(engine, tmp_path):
    path = a_file_of(tmp_path / "keys.parquet", {"id": pa.array([b"a", b"b"])})
    for each in ("duckdb", engine):
        with pytest.raises(ToolkitError, match="column `id` is BLOB; identifiers must be text"):
            said_of(each, path, lambda table, name: table.id(name))


WALL = [datetime.fromisoformat(f"2026-{each}") for each in (
    "10-25 01:59:59", "10-25 02:00:00", "10-25 02:30:00.5", "10-25 03:00:00", "03-29 01:59:59.999999",
    "03-29 02:30:00", "03-29 03:00:00", "07-01 12:00:00", "01-01 00:00:00",
)]  # fmt: skip
UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"])
def test_an_hour_that_comes_twice_or_not_at_all_is_read_alike(engine, tmp_path, zone):
    columns = {
        unit: pa.array(WALL, pa.timestamp("us")).cast(pa.timestamp(unit), safe=False) for unit in UNITS
    }
    columns["day"] = pa.array([each.date() for each in WALL])
    rows = alike(
        engine, a_file_of(tmp_path / "at.parquet", columns), lambda table, name: table.micros(name, zone)
    )
    texts = {"at": [each.isoformat(" ") for each in WALL]}
    same = alike(engine, a_csv_of(tmp_path / "at.csv", texts), lambda table, name: table.micros(name, zone))
    local = pd.Series(WALL).dt.tz_localize(zone, ambiguous=False, nonexistent=timedelta(hours=1))
    expected = [each.value // 1000 if each.value >= 10**17 else None for each in local]
    assert [row[0] for row in same] == expected
    microseconds = [row[2 * [*UNITS].index("us")] for row in rows]
    assert microseconds == expected


def test_instants_of_any_precision_are_read_alike(engine, tmp_path):
    zones = ["UTC", "America/New_York"]
    columns = {
        f"{unit} {zone}": pa.array(WALL, pa.timestamp("us", "UTC")).cast(pa.timestamp(unit, zone), safe=False)
        for unit in UNITS
        for zone in zones
    }
    alike(engine, a_file_of(tmp_path / "at.parquet", columns), lambda table, name: table.micros(name))


INSTANTS = [
    "2026-01-05T10:00:00Z", "2026-01-05 10:00:00.123456+02", "2026-01-05 10:00:00-0330",
    "2026-01-05T10:00:00+05:45", "2026-1-5 1:02:03 UTC", " 2026-01-05T10:00:00Z ", "2026-01-05",
    "2026-01-05 10:00", "05.01.2026 10:00:00Z", "soon 1Z", "2026-13-05T10:00:00Z", "1767607200", "now", "nan", "T10:00",
]  # fmt: skip


@pytest.mark.parametrize("zone", [None, "Asia/Tokyo"])
def test_texts_are_taken_for_instants_alike_or_refused_alike(engine, tmp_path, zone):
    path = a_csv_of(tmp_path / "at.csv", {"said": INSTANTS, "line": range(len(INSTANTS))})
    rows = alike(
        engine, path, lambda table, name: table.micros(name, zone) if name == "said" else table.words(name)
    )
    assert rows[0][0] == 1_767_607_200_000_000
    assert not any(rows[0][1:-1])
    assert all(any(row[1:-1]) for row in rows[INSTANTS.index("05.01.2026 10:00:00Z") :])


NUMBERS = [
    "12.5", " 12.5 ", "+1e3", ".5", "5.", "-0.0", "1e-3", "-17", "",
    "1d", "0x10", "12,5", "ten", "nan", "-Infinity", "1e999", "true", "--1", "1 2",
]  # fmt: skip


def test_texts_are_taken_for_numbers_alike_or_refused_alike(engine, tmp_path):
    path = a_csv_of(tmp_path / "numbers.csv", {"said": NUMBERS, "line": range(len(NUMBERS))})
    shown = lambda table, name: table.number(name) if name == "said" else table.words(name)  # noqa: E731
    for each in ("duckdb", engine):
        rows = said_of(each, path, shown)
        refused = [any(row[1:-1]) for row in rows]
        assert refused == [at > NUMBERS.index("") for at in range(len(NUMBERS))]
    alike(engine, a_csv_of(path, {"said": NUMBERS[:9], "line": range(9)}), shown)


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_names_that_look_like_something_else_are_taken_as_they_stand(engine, tmp_path, form):
    folder = tmp_path / "Mai {a,b} 100% ü"
    folder.mkdir()
    name = r"It's \"50%\" off \d\n ; -- ü"
    case = OnFiles(folder, FILES.replace("Order Completed", json.dumps(name)))
    case.spec = case.spec.replace(
        "events: {source: files}",
        f"events: {{source: files, path: events.{form}, order: {{name: {json.dumps(name)}}}}}",
    )
    case.events["name"] = name
    case.events["order_id"] = [f"{n}'\"\\,\n\\N" for n in range(len(case.events))]
    case.events.loc[3, "order_id"] = "\\N"
    found = asked(engine, case.write(csv=form == "csv"))
    assert found.lifts[0].converters == {"treatment": 14, "holdout": 13}


@pytest.mark.parametrize(("prefix", "identifier"), BUCKETS)
def test_the_bucket_has_its_golden_digits_on_the_engine(engine, prefix, identifier):
    from toolkit.lake.engines.translate import bucket_digits

    with connect(engine) as con:
        if con.dialect == "postgres":
            con.backend.raw_sql("CREATE EXTENSION IF NOT EXISTS pgcrypto")
        said = con.backend.raw_sql(f"SELECT {bucket_digits(prefix, text(identifier), con.dialect)}")
        (row,) = said.collect() if con.dialect == "spark" else said.fetchall()
    assert row[0] == BUCKETS[prefix, identifier]


@pytest.fixture
def database():
    """A schema of its own in the database, and a way to fill it."""
    why = why_not(POSTGRES)
    if why:
        pytest.skip(why)
    import psycopg

    name = f"lift_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(POSTGRES, autocommit=True) as con:
        con.execute(f'CREATE SCHEMA "{name}"')
        yield SimpleNamespace(
            url=f"{POSTGRES}?schema={name}",
            create=lambda table, columns: con.execute(f'CREATE TABLE "{name}"."{table}" ({columns})'),
            fill=lambda table, rows: con.cursor().executemany(
                f'INSERT INTO "{name}"."{table}" VALUES ({", ".join(["%s"] * len(rows[0]))})', rows
            ),
            schema=name,
        )
        con.execute(f'DROP SCHEMA "{name}" CASCADE')


@pytest.mark.parametrize("attributes", ["in a text", "in columns"])
def test_a_warehouses_own_tables_are_measured_where_they_are(database, tmp_path, attributes):
    path, lake = everything(tmp_path)
    expected = measure(workspace_of(lake), Spec.read(path), as_of=date(2026, 1, 31))
    database.create("assignments", "experiment text, id text, arm varchar(40), assigned_at timestamptz")
    rows = lake.read("assignments", ["experiment", "id", "arm", "assigned_at"]).to_pylist()
    database.fill("assignments", [tuple(row.values()) for row in rows])
    names = ["event_id", "id", "name", "timestamp", "amount", "currency", "order_id", "properties", "source"]
    database.create(
        "events",
        "event_id text, id text, name text, timestamp timestamptz, amount numeric(18, 4), currency char(3), "
        "order_id text, properties jsonb, source text",
    )
    database.fill("events", [tuple(row.values()) for row in lake.read("events", names).to_pylist()])
    people = lake.read("people", ["experiment", "id", "recorded_at", "attributes"]).to_pylist()
    if attributes == "in a text":
        database.create("people", "experiment text, id text, recorded_at timestamptz, attributes json")
        database.fill("people", [tuple(row.values()) for row in people])
    else:
        first = {}
        for row in sorted(people, key=lambda row: row["recorded_at"]):
            first.setdefault(row["id"], json.loads(row["attributes"] or "{}"))
        database.create("people", 'id text, ltv float8, "age/years" int, tier text, "market (€)" text')
        database.fill(
            "people",
            [
                (each, known.get("ltv"), known.get("age/years"), known.get("tier"), known.get("market (€)"))
                for each, known in first.items()
            ],
        )
    database.create("exposures", "experiment text, id text, timestamp timestamptz")
    exposures = lake.read("exposures", ["experiment", "id", "timestamp"]).to_pylist()
    database.fill("exposures", [tuple(row.values()) for row in exposures])
    nowhere = Lake(str(tmp_path / "nothing here"))
    found = on(database.url, workspace_of(nowhere), Spec.read(path), as_of=date(2026, 1, 31))
    assert found.tables == {}
    assert differences(replace(expected, tables={}), found) == []


def test_a_table_of_the_database_that_lacks_a_column_is_named_with_its_schema(database, tmp_path):
    path, lake = everything(tmp_path)
    database.create("events", "id text, what text")
    with pytest.raises(ToolkitError, match=rf"{database.schema}\.events: no column `name` and `timestamp`"):
        on(database.url, workspace_of(lake), Spec.read(path), as_of=date(2026, 1, 31))


def test_a_measurement_leaves_nothing_behind_in_the_database(database, tmp_path):
    import psycopg

    path = OnFiles(tmp_path).write()
    lake = Lake(str(tmp_path / "lake"))
    with psycopg.connect(POSTGRES, autocommit=True) as con:
        count = "SELECT count(*) FROM pg_class WHERE relname LIKE 'lift_files%' OR relname IN ('ledger', 'roster')"
        before = con.execute(count).fetchone()
        on(database.url, workspace_of(lake), Spec.read(path), as_of=date(2026, 1, 31))
        assert con.execute(count).fetchone() == before


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("oracle://x", "no engine is called 'oracle'; there are duckdb, local"),
        ("locally", "no engine is called 'locally'"),
        ("bigquery://project", "no engine is called 'bigquery'"),
    ],
)
def test_an_engine_that_there_is_not_is_refused_with_those_there_are(address, message):
    with pytest.raises(SettingsError, match=message):
        connect(address)


@pytest.mark.parametrize(
    ("address", "extra", "package"), [(SPARK, "spark", "pyspark"), (POSTGRES, "postgres", "psycopg")]
)
def test_a_missing_extra_is_refused_with_what_to_install(monkeypatch, address, extra, package):
    monkeypatch.delitem(sys.modules, f"toolkit.lake.engines.{extra}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SettingsError, match=rf"extra `{extra}` .*pip install 'lift-toolkit\[{extra}\]'"):
        connect(address)


def test_a_database_that_cannot_be_reached_is_refused_without_its_password():
    pytest.importorskip("psycopg")
    with pytest.raises(StorageError, match=r"127\.0\.0\.1 cannot be used") as refused:
        connect("postgresql://somebody:hush@127.0.0.1:1/nothing")
    assert "hush" not in str(refused.value)
    assert "hush" not in repr(Settings(lift_engine="postgresql://somebody:hush@127.0.0.1:1/nothing"))


def a_process(tmp_path, program, *arguments, **variables):
    import os

    variables = {
        name: value for name, value in os.environ.items() if not name.startswith("LIFT_")
    } | variables
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


COMMAND = "from toolkit.cli import main; main()"


def test_without_java_spark_says_what_to_install(tmp_path):
    if why_not(SPARK) and "extra" in why_not(SPARK):
        pytest.skip(why_not(SPARK))
    path = OnFiles(tmp_path).write()
    done = a_process(tmp_path, COMMAND, "measure", str(path), LIFT_ENGINE=SPARK, PATH="", JAVA_HOME="")
    assert done.returncode == 2
    assert "Spark needs Java 17 or newer, and there is none: install it" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_on_spark_says_what_it_says_on_duckdb_and_nothing_of_spark(tmp_path):
    why = why_not(SPARK)
    if why:
        pytest.skip(why)
    path = OnFiles(tmp_path).write()
    arguments = ("measure", str(path), "--as-of", "2026-01-31", "--json", "-")
    here = a_process(tmp_path, COMMAND, *arguments)
    there = a_process(tmp_path, COMMAND, *arguments, LIFT_ENGINE=SPARK)
    assert there.returncode == here.returncode
    assert there.stderr == here.stderr
    one, other = json.loads(here.stdout), json.loads(there.stdout)
    assert differences(one["lifts"], other["lifts"], "lifts") == []
    assert one["checks"] == other["checks"]


def test_duckdb_loads_no_library_that_it_does_not_need(tmp_path):
    path = OnFiles(tmp_path).write()
    pulled = datetime(2026, 1, 20, tzinfo=UTC)
    note_through(Lake(str(tmp_path / "lake")), "exposures:case", ["read"], pulled, at=pulled)
    program = (
        f"import sys; sys.argv = ['lift', 'measure', {str(path)!r}, '--as-of', '2026-01-31', '--json', '-']\n"
        "from toolkit.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "others = {'ibis', 'pyspark', 'psycopg', 'sqlglot', 'pandas', 'pyarrow', 'scipy.stats', 'plotly'}\n"
        "print(sorted(others & {*sys.modules}), file=sys.stderr)"
    )
    done = a_process(tmp_path, program, LIFT_HOME=str(tmp_path / "lake"))
    assert json.loads(done.stdout)["lifts"]
    assert done.stderr.splitlines()[-1] == "[]"


@functools.cache
def now_compiled():
    return compiled()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_sql_of_other_warehouses_is_what_it_was(dialect):
    pytest.importorskip("sqlglot")
    golden = (GOLDEN / f"{dialect}.sql").read_text().splitlines()
    changed = difflib.unified_diff(
        golden, now_compiled()[dialect].splitlines(), "golden", "now", lineterm="", n=2
    )
    said = "\n".join(changed)
    assert not said, f"`python -m tests.lake.golden.compile` writes it anew, if this is meant:\n{said}"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_sql_of_other_warehouses_is_theirs_and_has_no_function_of_duckdb(dialect):
    sqlglot = pytest.importorskip("sqlglot")
    trees = sqlglot.parse((GOLDEN / f"{dialect}.sql").read_text(), dialect=dialect, error_level="RAISE")
    asked = [tree for tree in trees if tree is not None]
    assert len(asked) > 50
    unknown = {node.name for tree in asked for node in tree.find_all(sqlglot.exp.Anonymous)}
    assert unknown == set()  # functions of DuckDB are unknown to the others' grammars
    forms = (sqlglot.exp.Filter, sqlglot.exp.ReadParquet, sqlglot.exp.ReadCSV, sqlglot.exp.Command)
    assert not [node.sql() for tree in asked for node in tree.find_all(*forms)]
    assert not [
        star.sql() for tree in asked for star in tree.find_all(sqlglot.exp.Star) if star.args.get("except_")
    ]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_golden_sql_ends_with_the_bucket_and_its_digits(dialect):
    said = (GOLDEN / f"{dialect}.sql").read_text()
    digest = {"bigquery": "TO_HEX(SHA1({}))", "snowflake": "SHA1({})"}[dialect]
    for (prefix, identifier), digits in BUCKETS.items():
        sha1 = digest.format(f"'{prefix}.' || '{identifier}'")
        assert f"-- {digits}\nSELECT\n  SUBSTRING({sha1}, 1, 15);" in said


def test_the_buckets_pinned_here_are_those_pinned_for_the_design():
    assert BUCKETS == test_assignment.GOLDEN
