"""Whole cohorts go into the ledger in one pass: who is in it, in which arm, and what happens when that is interrupted."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, QueryBuilder, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.design.assignment import arm_of, bounds_of, held_out_below
from toolkit.errors import DataError, StorageError
from toolkit.lake.cohort import qualify
from toolkit.lake.copying import append_query
from toolkit.lake.engine import connect
from toolkit.lake.enrol import enrol, find_new, report_matches
from toolkit.lake.tables import Lake, schema_of
from toolkit.settings import Settings
from toolkit.steps.assign import Assigned, assign
from toolkit.steps.workspace import Spec, Workspace

AT = datetime(2026, 1, 20, 9, 30, 15, 123456, tzinfo=UTC)
SPEC = """\
key: {key}
start: 2026-01-01
end: 2026-02-01
seed: {seed}
cohort: {{source: files, entry: rolling{cohort}}}
arms: {arms}
control: holdout
events: {{source: files}}
metrics:
  - {{name: purchase_rate, kind: conversion, event: Order Completed, role: primary{metric}}}
"""
THREE_ARMS = {"holdout": 0.1, "banner": 0.35, "discount": 0.55}
MANY = 300_000


def ids_of(count: int) -> list[str]:
    """Return ids of many lengths and alphabets, each once."""
    forms = ("u{:08d}", "é{}", "{:036d}", "o'{}", " {} ", "{}")
    return [forms[n % len(forms)].format(n) for n in range(count)]


def write_people(folder: Path, ids: list[str | None], **columns: list[object]) -> None:
    pq.write_table(pa.table({"id": pa.array(ids, pa.string()), **columns}), folder / "people.parquet")


def write_spec(
    folder: Path,
    key: str = "at-scale",
    *,
    seed: int = 61,
    cohort: str = "",
    arms: dict[str, float] | None = None,
    metric: str = "",
) -> Spec:
    path = folder / f"{key}.yml"
    shown = json.dumps(arms or THREE_ARMS)
    path.write_text(SPEC.format(key=key, seed=seed, cohort=cohort, arms=shown, metric=metric))
    return Spec.read(path)


def run(folder: Path, spec: Spec, *, home: str | None = None, at: datetime = AT) -> Assigned:
    where = home or str(folder / "lake")
    return assign(Workspace(Settings(lift_home=where, lift_now=at), Lake(where)), spec)


def rows_of(lake: Lake, key: str = "at-scale") -> list[dict[str, object]]:
    return lake.read("assignments", experiment=key).to_pylist()


def arms_in(lake: Lake, key: str = "at-scale") -> dict[object, object]:
    rows = rows_of(lake, key)
    arms = {row["id"]: row["arm"] for row in rows}
    assert len(arms) == len(rows), "somebody stands there twice"
    return arms


def model(ids: list[str], seed: int = 61, arms: dict[str, float] | None = None) -> dict[str, str]:
    bounds = bounds_of(arms or THREE_ARMS)
    return {each: arm_of(bounds, str(seed), each) for each in ids}


def digits(text: str) -> str:
    return sha1(text.encode()).hexdigest()[:15]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A cohort with repeats and with rows that lack the key, enrolled once."""
    folder = tmp_path_factory.mktemp("many")
    ids = ids_of(MANY)
    write_people(folder, [*ids, *ids[5:2005], *ids[7:17], None, "", None])
    spec = write_spec(folder)
    return folder, ids, spec, run(folder, spec)


def test_every_customer_of_a_large_file_gets_the_arm_that_the_design_says_and_once(many):
    folder, ids, _, done = many
    lake = Lake(str(folder / "lake"))
    expected = model(ids)
    assert arms_in(lake) == expected
    assert done.enrolment.assigned == dict(Counter(expected.values()))
    assert (done.enrolment.known, done.enrolment.universal, done.enrolment.elsewhere) == (0, 0, 0)
    found = done.matches
    assert (found.people, found.with_key, found.without_key) == (MANY + 2013, MANY, 3)
    assert (found.repeated, found.email_only) == (2010, 0)


def test_each_row_says_when_and_how_it_was_drawn(many):
    folder, _, _, _ = many
    table = Lake(str(folder / "lake")).read("assignments")
    assert table.schema.equals(schema_of("assignments"))
    drawn = (
        table.group_by(["experiment", "assigned_at", "prefix", "shares", "layer"]).aggregate([]).to_pylist()
    )
    shares = json.dumps({"holdout": 10_000, "banner": 35_000, "discount": 55_000})
    assert drawn == [
        {"experiment": "at-scale", "assigned_at": AT, "prefix": "61", "shares": shares, "layer": None}
    ]


def test_the_log_tells_of_each_file_what_is_in_it(many):
    folder, ids, _, _ = many
    table = DeltaTable(folder / "lake" / "assignments")
    assert table.version() == 0, "however many files there are, they are there together"
    files = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    to_the_millisecond = AT.replace(microsecond=123_000)
    for told in files:
        path = folder / "lake" / "assignments" / told["path"]
        rows = pq.read_table(path, partitioning=None)
        assert told["num_records"] == told["null_count.layer"] == len(rows) > 0
        assert told["partition.experiment"] == "at-scale"
        assert {told[f"null_count.{name}"] for name in ("id", "arm", "assigned_at", "prefix", "shares")} == {
            0
        }
        assert told["min.assigned_at"] == told["max.assigned_at"] == to_the_millisecond
        assert told["min.id"] == min(rows["id"].to_pylist(), key=str.encode)
        assert told["size_bytes"] == path.stat().st_size
    assert sum(told["num_records"] for told in files) == MANY == len(ids)


def test_a_cohorts_query_sees_columns_that_the_files_leave_out(tmp_path):
    write_people(tmp_path, ids_of(100))
    run(tmp_path, write_spec(tmp_path))
    (tmp_path / "again.sql").write_text("SELECT id FROM assignments WHERE layer IS NULL AND arm = 'holdout'")
    spec = write_spec(tmp_path, "again")
    other = Path(spec.path)
    other.write_text(
        other.read_text().replace("source: files, entry", "source: warehouse, sql: again.sql, entry")
    )
    run(tmp_path, Spec.read(other))
    lake = Lake(str(tmp_path / "lake"))
    held = {each for each, arm in arms_in(lake).items() if arm == "holdout"}
    assert arms_in(lake, "again").keys() == held


def test_later_runs_append_newcomers_only_and_leave_what_is_written_as_it_is(tmp_path):
    ids, later = ids_of(250_000), AT + timedelta(days=7)
    write_people(tmp_path, ids[:200_000])
    spec, lake = write_spec(tmp_path), Lake(str(tmp_path / "lake"))
    run(tmp_path, spec)
    before = {name: Path(name).read_bytes() for name in lake.files("assignments")}
    write_people(tmp_path, [*ids[150_000:], *ids[240_000:]])
    done = run(tmp_path, spec, at=later)
    assert done.enrolment.known == 50_000
    assert sum(done.enrolment.assigned.values()) == 50_000
    assert done.matches.repeated == 10_000
    assert arms_in(lake) == model(ids)
    assert Counter(row["assigned_at"] for row in rows_of(lake)) == {AT: 200_000, later: 50_000}
    assert {name: Path(name).read_bytes() for name in before} == before
    version = lake.version("assignments")
    again = run(tmp_path, spec, at=later)
    assert (again.enrolment.known, set(again.enrolment.assigned.values())) == (100_000, {0})
    assert lake.version("assignments") == version, "a run without newcomers commits nothing"
    assert {str(path) for path in tmp_path.rglob("part-*.parquet")} == set(lake.files("assignments"))


def test_nobody_held_out_of_everything_is_in_the_experiment(tmp_path):
    ids = ids_of(100_000)
    write_people(tmp_path, ids)
    spec = write_spec(tmp_path, cohort=", universal_holdout: {key: always-on, share: 0.05}")
    done = run(tmp_path, spec)
    held = {each for each in ids if digits(f"always-on.{each}") < held_out_below(0.05)}
    lake = Lake(str(tmp_path / "lake"))
    assert 0 < len(held) == done.enrolment.universal
    assert arms_in(lake, "always-on") == {each: "holdout" if each in held else "open" for each in ids}
    assert arms_in(lake) == model([each for each in ids if each not in held])
    write_people(tmp_path, [*ids, "one more"])
    run(tmp_path, spec)
    assert len(arms_in(lake, "always-on")) == 100_001


def test_experiments_of_a_layer_share_no_customer_and_leave_out_none(tmp_path):
    ids = ids_of(60_000)
    write_people(tmp_path, ids)
    keys = ("one", "two", "three")
    specs = [write_spec(tmp_path, key, cohort=", layer: winback") for key in keys]
    done = {spec.experiment.key: run(tmp_path, spec) for spec in specs}
    owner = {each: max(keys, key=lambda key: digits(f"winback.{key}.{each}")) for each in ids}
    lake = Lake(str(tmp_path / "lake"))
    for key in keys:
        own = [each for each in ids if owner[each] == key]
        assert arms_in(lake, key) == model(own)
        assert done[key].enrolment.elsewhere == len(ids) - len(own)
    assert {row["layer"] for key in keys for row in rows_of(lake, key)} == {"winback"}


def test_a_customer_whom_another_experiment_of_the_layer_has_stays_there(tmp_path):
    write_people(tmp_path, ids_of(20_000))
    lake = Lake(str(tmp_path / "lake"))
    run(tmp_path, write_spec(tmp_path, "first", cohort=", layer: winback"))
    (tmp_path / "first.yml").unlink()  # no rival any more, but its customers are in the ledger
    write_people(tmp_path, ids_of(25_000))
    done = run(tmp_path, write_spec(tmp_path, "second", cohort=", layer: winback"))
    assert done.enrolment.elsewhere == 20_000
    assert set(arms_in(lake, "second")) == set(ids_of(25_000)) - set(ids_of(20_000))


def test_attributes_are_kept_as_they_were_at_assignment_for_those_with_an_arm(tmp_path):
    ids = ids_of(50_000)
    spending = [float(n) for n in range(50_000)]
    write_people(tmp_path, [*ids, ids[0]], spent=[*spending, -1.0])
    spec = write_spec(
        tmp_path, cohort=", universal_holdout: {key: always-on, share: 0.05}", metric=", covariates: [spent]"
    )
    run(tmp_path, spec)
    write_people(tmp_path, ids, spent=[each + 1 for each in spending])
    run(tmp_path, spec, at=AT + timedelta(days=1))
    lake = Lake(str(tmp_path / "lake"))
    kept = lake.read("people", experiment="at-scale").to_pylist()
    told = {row["id"]: json.loads(row["attributes"]) for row in kept}
    assert len(kept) == len(told)
    assert {row["recorded_at"] for row in kept} == {AT}
    assert set(told) == set(arms_in(lake))
    assert all(
        told[each] == {"spent": amount} for each, amount in zip(ids, spending, strict=True) if each in told
    )


def test_the_first_attributes_of_a_customer_who_stands_there_twice_are_kept(tmp_path):
    write_people(tmp_path, ["a", "b", "a", "b"], spent=[None, 2.0, 3.0, 4.0])
    run(tmp_path, write_spec(tmp_path, metric=", covariates: [spent]"))
    kept = Lake(str(tmp_path / "lake")).read("people").to_pylist()
    told = {row["id"]: json.loads(row["attributes"])["spent"] for row in kept}
    assert told == {"a": None, "b": 2.0}


def test_a_plain_cohort_is_never_held_in_memory(tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    write_people(tmp_path, ids_of(MANY))
    spec = write_spec(tmp_path)
    with connect() as con:
        qualify(con, lake, spec.experiment, spec.path)
        found = report_matches(con)
        counts = find_new(con, lake, spec.experiment, [], found.with_key)
        enrol(con, lake, spec.experiment, counts, None, at=AT)
        held = con.one("SELECT coalesce(sum(estimated_size), 0) FROM duckdb_tables()")[0]
    assert held == 0
    assert len(arms_in(lake)) == MANY


def test_through_an_address_the_ledger_is_the_same_as_in_a_folder(many, tmp_path):
    folder, ids, spec, there = many
    home = (tmp_path / "lake").as_uri()
    done = run(folder, spec, home=home)
    assert done == there
    assert arms_in(Lake(home)) == model(ids)
    assert Lake(home).read("assignments").schema.equals(schema_of("assignments"))
    assert pq.read_metadata(Lake(home).files("assignments")[0]).num_rows == MANY


def test_a_file_and_a_stream_go_into_one_table_either_way_round(tmp_path):
    spec = write_spec(tmp_path)
    for at, home in enumerate([str(tmp_path / "lake"), (tmp_path / "lake").as_uri()] * 2):
        write_people(tmp_path, ids_of(1_000 * (at + 1)))
        run(tmp_path, spec, home=home)
        assert sum(run(tmp_path, spec, home=home).enrolment.assigned.values()) == 0
        assert Lake(home).version("assignments") == at
    assert arms_in(Lake(str(tmp_path / "lake"))) == model(ids_of(4_000))


@pytest.mark.parametrize("partition", [None, ["experiment"], ["arm"]])
@pytest.mark.parametrize("instants", [pa.timestamp("us", tz="UTC"), pa.timestamp("us")])
def test_a_table_that_others_made_is_added_to_as_it_is_made(tmp_path, partition, instants):
    theirs = {
        "experiment": ["theirs"],
        "id": ["a"],
        "arm": ["holdout"],
        "assigned_at": pa.array([AT], instants),
    }
    where = tmp_path / "lake" / "assignments"
    write_deltalake(where, pa.table(theirs), partition_by=partition)
    write_people(tmp_path, ids_of(100))
    run(tmp_path, write_spec(tmp_path))
    table = DeltaTable(where)
    assert table.metadata().partition_columns == (partition or [])
    read = pa.table(
        QueryBuilder().register("ledger", table).execute("SELECT * FROM ledger").read_all()
    ).to_pylist()
    assert Counter(row["experiment"] for row in read) == {"theirs": 1, "at-scale": 100}
    assert {row["id"]: row["arm"] for row in read if row["experiment"] == "at-scale"} == model(ids_of(100))
    assert {row["assigned_at"].replace(tzinfo=UTC) for row in read} == {AT}


def test_rows_that_cannot_be_had_to_the_end_leave_neither_a_commit_nor_a_file(tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    query = (
        "SELECT CASE WHEN range = 199999 THEN error('lost the disk') ELSE 'c' || range END AS id, 'holdout' AS arm, "
        "TIMESTAMPTZ '2026-01-20 00:00:00+00' AS assigned_at, '61' AS prefix, '{}' AS shares, "
        "NULL::VARCHAR AS layer FROM range(200000)"
    )
    with connect() as con, pytest.raises(StorageError, match="lost the disk"):
        append_query(con, lake, "assignments", query, experiment="at-scale")
    assert lake.version("assignments") is None
    assert list(tmp_path.rglob("*.parquet")) == []


def test_a_file_half_written_by_a_process_that_died_is_no_part_of_the_ledger(tmp_path):
    write_people(tmp_path, ids_of(1_000))
    spec, lake = write_spec(tmp_path), Lake(str(tmp_path / "lake"))
    partition = tmp_path / "lake" / "assignments" / "experiment=at-scale"
    partition.mkdir(parents=True)
    (partition / "part-0.parquet").write_bytes(b"PAR1 and then nothing")
    assert lake.version("assignments") is None
    run(tmp_path, spec)
    assert arms_in(lake) == model(ids_of(1_000))


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    write_people(tmp_path, ["a"])
    (tmp_path / "lake").write_text("a file")
    with pytest.raises(StorageError, match="lake"):
        run(tmp_path, write_spec(tmp_path))


def test_a_damaged_file_of_people_is_told_and_enrols_nobody(tmp_path):
    write_people(tmp_path, ids_of(200_000))
    path = tmp_path / "people.parquet"
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = bytes(byte ^ 0xFF for byte in content[middle : middle + 400])
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"people\.parquet"):
        run(tmp_path, write_spec(tmp_path))
    assert Lake(str(tmp_path / "lake")).version("assignments") is None


def test_a_table_that_several_make_at_once_is_made_once_and_has_all_rows(tmp_path):
    together = Barrier(4)

    def add(number: int, round_: int) -> None:
        with connect() as con:
            query = (
                f"SELECT 'c{number}' AS id, 'holdout' AS arm, TIMESTAMPTZ '2026-01-20 00:00:00+00' AS assigned_at, "
                "'61' AS prefix, '{}' AS shares, NULL::VARCHAR AS layer"
            )
            together.wait()
            append_query(con, Lake(str(tmp_path / f"{round_}")), "assignments", query, experiment="at-scale")

    with ThreadPoolExecutor(4) as pool:
        for round_ in range(8):
            list(pool.map(add, range(4), [round_] * 4))
            lake = Lake(str(tmp_path / f"{round_}"))
            assert arms_in(lake) == dict.fromkeys(["c0", "c1", "c2", "c3"], "holdout")
            assert lake.version("assignments") == 3


def enrol_many(folder: str, key: str) -> None:
    for turn in range(4):
        spec = write_spec(Path(folder) / key, key)
        write_people(Path(folder) / key, ids_of(2_000 * (turn + 1)))
        run(Path(folder) / key, spec, home=str(Path(folder) / "lake"))


def test_processes_that_enrol_at_once_lose_nothing(tmp_path):
    keys = ["one", "two", "three"]
    for key in keys:
        (tmp_path / key).mkdir()
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        list(pool.map(enrol_many, [str(tmp_path)] * 3, keys))
    lake = Lake(str(tmp_path / "lake"))
    for key in keys:
        assert arms_in(lake, key) == model(ids_of(8_000))
    assert lake.version("assignments") == 11, "twelve commits, the first of which makes the table"


def test_assigning_from_files_loads_no_library_that_it_does_not_need(tmp_path):
    write_people(tmp_path, ids_of(1_000))
    spec = write_spec(tmp_path, cohort="").path
    script = (
        "import sys\nfrom toolkit.cli import app\n"
        f"app(['assign', {spec!r}], standalone_mode=False)\n"
        "print(sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"LIFT_HOME": str(tmp_path / "lake"), "LIFT_NOW": AT.isoformat()},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "1,000 newly assigned" in done.stdout
    loaded = set(json.loads(done.stderr.replace("'", '"')))
    assert "deltalake" in loaded
    assert loaded.isdisjoint({"pandas", "scipy", "pyarrow", "httpx", "statsmodels", "plotly", "ibis"})


ANY_ID = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
WEIGHTS = st.lists(st.integers(1, 100), min_size=2, max_size=5)


@settings(deadline=None, max_examples=25)
@given(
    first=st.lists(ANY_ID, min_size=1, max_size=30),
    second=st.lists(ANY_ID, min_size=1, max_size=30),
    weights=WEIGHTS,
    seed=st.integers(0, 10**6),
)
def test_whatever_the_ids_the_first_assignment_holds_and_counts_add_up(first, second, weights, seed):
    arms = {name: weight / sum(weights) for name, weight in zip(["holdout", *"abcd"], weights, strict=False)}
    with TemporaryDirectory() as where:
        folder, known = Path(where), set()
        spec = write_spec(folder, seed=seed, arms=arms)
        for turn, ids in enumerate((first, second)):
            write_people(folder, ids)
            done = run(folder, spec, at=AT + timedelta(hours=turn))
            keyed = {each for each in ids if each}
            assert done.matches.people == len(ids)
            assert done.matches.with_key == len(keyed)
            assert done.matches.without_key == sum(not each for each in ids)
            assert done.matches.repeated == sum(bool(each) for each in ids) - len(keyed)
            assert done.enrolment.known == len(keyed & known)
            assert sum(done.enrolment.assigned.values()) == len(keyed - known)
            known |= keyed
        lake = Lake(str(folder / "lake"))
        assert arms_in(lake) == model(sorted(known), seed, arms)
        times = {row["id"]: row["assigned_at"] for row in rows_of(lake)}
        assert all(times[each] == AT for each in first if each)
