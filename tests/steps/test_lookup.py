"""The look-up file: who is in it, what becomes of the one before, and what the reader of the docs makes of it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from tests.end_to_end.conftest import Lift
from toolkit.design.lookup import Lookup
from toolkit.design.parse import parse_experiment
from toolkit.errors import DataError, NotEnoughData, PushRefused, SpecError, StorageError
from toolkit.lake.lookup_files import manifest_of, read_previous, write_lookup
from toolkit.settings import Settings
from toolkit.steps.assign import assign
from toolkit.steps.lookup import lookup
from toolkit.steps.workspace import Spec, Workspace

DOCS = Path(__file__).parents[2] / "docs" / "lookup.md"
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SPEC = """\
key: two-offers
start: 2026-03-01
end: 2026-03-31
cohort: {source: files, entry: rolling, universal_holdout: {key: always-on, share: 0.1}}
arms: {holdout: 0.3, banner: 0.3, both: 0.4}
control: holdout
traits:
  - {name: free_shipping_eligible, arms: [banner, both], default: false, max_age: 5m, schema: 2}
  - {name: offer_tier, type: band, attribute: ltv, bands: {low: [0, 50], high: [50, null]}, arms: [both], default: none}
do_not_offer: {attribute: do_not_offer}
margin_protection: {attribute: margin, below: 0.2}
events: {source: files}
metrics:
  - {name: purchase_rate, kind: conversion, event: Order Completed, window: 14d, role: primary}
"""
FORMS = ("parquet", "json", "csv")


class Case:
    def __init__(self, folder, customers=600):
        self.folder, self.now, self.text = folder, NOW, SPEC
        self.people = [
            {
                "id": f"{n:05d}",
                "do_not_offer": n % 20 == 0,
                "ltv": str(n % 100),
                "margin": 0.1 if n % 25 == 1 else 0.5,
            }
            for n in range(customers)
        ]

    @property
    def spec(self):
        pq.write_table(pa.Table.from_pylist(self.people), self.folder / "people.parquet")
        path = self.folder / "two-offers.yml"
        path.write_text(self.text)
        return Spec.read(path)

    @property
    def workspace(self):
        return Workspace.open(Settings(lift_home=str(self.folder / "lake"), lift_now=self.now))

    def run(self, name, **options):
        return lookup(self.workspace, self.spec, self.folder / name, **options)

    def ledger(self):
        rows = self.workspace.lake.read("assignments").to_pylist()
        held = {row["id"] for row in rows if row["experiment"] == "always-on" and row["arm"] == "holdout"}
        return {row["id"]: row["arm"] for row in rows if row["experiment"] == "two-offers"}, held


@pytest.fixture(scope="module")
def assigned(tmp_path_factory):
    """Return a folder in which everybody is assigned."""
    folder = tmp_path_factory.mktemp("assigned")
    seen = {"id": ["x"], "name": ["Page Viewed"], "timestamp": pa.array([NOW], pa.timestamp("us", "UTC"))}
    pq.write_table(pa.table(seen), folder / "events.parquet")
    case = Case(folder)
    assign(case.workspace, case.spec)
    return folder


@pytest.fixture
def case(assigned, tmp_path):
    shutil.copytree(assigned, tmp_path, dirs_exist_ok=True)
    return Case(tmp_path)


def rows_of(path):
    """Return customer → row, as anybody would read the file."""
    if path.suffix == ".json":
        told = json.loads(path.read_text())
        head = {
            key: told[key] for key in ("experiment", "schema", "version", "generated_at", "max_age_seconds")
        }
        return {who: {**values, **head} for who, values in told["customers"].items()}
    if path.suffix == ".parquet":
        table = pq.read_table(path)
    else:
        table = csv.read_csv(
            path, convert_options=csv.ConvertOptions(column_types={"id": "string", "generated_at": "string"})
        )
    rows = table.to_pylist()
    assert len({row["id"] for row in rows}) == len(rows)
    return {row.pop("id"): row for row in rows}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_holds_the_eligible_and_nobody_who_is_held_out_or_barred(case, form):
    done = case.run(f"traits.{form}")
    rows, (arms, universal) = rows_of(done.path), case.ledger()
    people = {each["id"]: each for each in case.people}
    expected = {
        who
        for who, arm in arms.items()
        if arm != "holdout" and not people[who]["do_not_offer"] and people[who]["margin"] >= 0.2
    } - universal
    assert rows.keys() == expected
    assert 200 < len(expected) < len(arms)
    for who, row in rows.items():
        tier = "none" if arms[who] == "banner" else "low" if int(people[who]["ltv"]) < 50 else "high"
        assert row == {
            "free_shipping_eligible": True,
            "offer_tier": tier,
            "experiment": "two-offers",
            "schema": 2,
            "version": int(NOW.timestamp()),
            "generated_at": "2026-03-02T12:00:00+00:00",
            "max_age_seconds": 300,
        }


@pytest.mark.parametrize("form", FORMS)
def test_the_manifest_tells_the_sum_the_count_and_every_contract(case, form):
    done = case.run(f"traits.{form}")
    told = json.loads(manifest_of(done.path).read_text())
    assert told["sha256"] == hashlib.sha256(done.path.read_bytes()).hexdigest()
    assert told["customers"] == len(rows_of(done.path))
    assert told["traits"]["offer_tier"] == {
        "type": "band",
        "values": ["low", "high"],
        "default": "none",
        "schema": 1,
        "max_age_seconds": 86_400,
        "flag": None,
        "meaning": "",
    }
    assert sorted(each.name for each in case.folder.glob("*traits*")) == [
        f"traits.{form}",
        f"traits.{form}.manifest.json",
    ]


def test_parquet_carries_each_contract_at_its_column(case):
    schema = pq.read_schema(case.run("traits.parquet").path)
    contract = json.loads(schema.field("free_shipping_eligible").metadata[b"contract"])
    assert (contract["schema"], contract["max_age_seconds"], contract["default"]) == (2, 300, False)


@pytest.mark.parametrize("form", FORMS)
def test_versions_rise_whatever_the_clock_does_and_wherever_the_file_went(case, form):
    case.now += timedelta(days=1)
    first = case.run(f"t.{form}").lookup.version
    case.now -= timedelta(hours=1)
    second = case.run(f"t.{form}").lookup.version
    assert second == first + 1
    (case.folder / f"t.{form}").unlink()
    case.now += timedelta(hours=2)
    assert case.run(f"t.{form}").lookup.version > second


@pytest.mark.parametrize("form", FORMS)
def test_losing_a_large_part_is_refused_unless_told_so_by_number(case, form):
    before = case.run(f"t.{form}")
    content = before.path.read_bytes()
    for each in case.people:
        each["do_not_offer"] = each["do_not_offer"] or int(each["id"]) % 2 == 0
    with pytest.raises(PushRefused, match=r"--allow-removals \d+") as refused:
        case.run(f"t.{form}")
    number = int(re.search(r"--allow-removals (\d+)", str(refused.value))[1])
    assert number > 100
    assert before.path.read_bytes() == content
    with pytest.raises(PushRefused):
        case.run(f"t.{form}", allow_removals=number - 1)
    after = case.run(f"t.{form}", allow_removals=number)
    assert len(before.lookup.customers) - len(after.lookup.customers) == number
    assert rows_of(after.path).keys() == after.lookup.customers.keys()


def test_protections_that_vanish_are_refused_however_often_one_looks(case):
    case.people = [{**each, "do_not_offer": int(each["id"]) % 2 == 0} for each in case.people]
    before = case.run("t.json").lookup.customers
    case.people = [{**each, "do_not_offer": False} for each in case.people]
    for _ in range(2):
        with pytest.raises(PushRefused, match="has the source lost the attribute") as refused:
            case.run("t.json")
    number = int(re.search(r"--allow-removals (\d+)", str(refused.value))[1])
    assert len(case.run("t.json", allow_removals=number).lookup.customers) > len(before) + 100
    case.run("t.json")


EXPERIMENT = parse_experiment(SPEC, "x.yml")


def looked_up(*numbers, previous=None):
    told = {f"c{n}": {"free_shipping_eligible": True, "offer_tier": "none"} for n in numbers}
    return Lookup.of(EXPERIMENT, told, previous, at=NOW)


@pytest.mark.parametrize(
    ("before", "after", "large"),
    [
        (500, 400, False),
        (500, 399, True),
        (505, 404, False),
        (506, 405, False),
        (504, 403, True),
        (100, 0, False),
        (101, 0, True),
    ],
)
def test_a_large_part_is_more_than_a_fifth_and_more_than_a_hundred(tmp_path, before, after, large):
    path = tmp_path / "t.json"
    write_lookup(path, looked_up(*range(before)))
    assert looked_up(*range(after), previous=read_previous(path)).is_large_removal is large


def test_those_who_are_new_do_not_hide_those_who_are_missing(tmp_path):
    path = tmp_path / "t.csv"
    write_lookup(path, looked_up(*range(500)))
    assert looked_up(*range(250, 750), previous=read_previous(path)).is_large_removal


@pytest.mark.parametrize("form", FORMS)
def test_a_look_up_of_nobody_can_be_written_and_followed(tmp_path, form):
    path = tmp_path / f"t.{form}"
    write_lookup(path, looked_up())
    assert rows_of(path) == {}
    previous = read_previous(path)
    assert (previous.experiment, previous.customers) == ("two-offers", frozenset())
    assert looked_up(1, previous=previous).version == previous.version + 1


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "ids",
    [
        {"007", "NULL", "nan", "true", 'a"b', "a,b", "ü", " x ", "1e5", "line\nbreak", "=1+1"},
        {"007", "0010"},
        {"2026-03-01"},
        {"true"},
    ],
)
def test_ids_come_back_as_they_are(tmp_path, form, ids):
    told = {who: {"free_shipping_eligible": True, "offer_tier": "low"} for who in ids}
    path = tmp_path / f"t.{form}"
    write_lookup(path, Lookup.of(EXPERIMENT, told, None, at=NOW))
    assert read_previous(path).customers == ids


# ---- what is refused -------------------------------------------------------------------------------------


def test_a_file_that_is_no_look_up_is_not_overwritten(case):
    for name, content in (
        ("t.csv", "name,age\nann,3\n"),
        ("t.json", "[]"),
        ("t.parquet", "x"),
        ("u.csv", ""),
    ):
        (case.folder / name).write_text(content)
        with pytest.raises(DataError, match="is no look-up that can be read"):
            case.run(name)
        assert (case.folder / name).read_text() == content


def test_another_experiments_file_is_not_overwritten(case):
    case.run("t.json")
    case.text = SPEC.replace("key: two-offers", "key: another")
    assign(case.workspace, case.spec)
    with pytest.raises(SpecError, match="holds the traits of two-offers, not of another"):
        case.run("t.json")


@pytest.mark.parametrize("name", ["traits", "traits.xlsx", "s3://bucket/traits.parquet"])
def test_other_endings_and_places_are_refused(case, name):
    with pytest.raises(SpecError, match="--out .*: must be a (local )?file"):
        lookup(case.workspace, case.spec, name)


def test_what_cannot_be_is_told_by_field(case):
    case.text = SPEC.replace("name: offer_tier", "name: version")
    with pytest.raises(SpecError, match=r"traits\[1\].name: version is a column that every look-up has"):
        case.run("t.json")
    case.text = SPEC.replace("attribute: ltv", "attribute: lvt")
    with pytest.raises(DataError, match="no column `lvt`, which a band or `margin_protection` names"):
        case.run("t.json")
    case.text = re.sub(r"traits:\n(  - .*\n)+", "", SPEC)
    with pytest.raises(SpecError, match="there are none, so there is nothing to look up"):
        case.run("t.json")
    assert not (case.folder / "t.json").exists()


def test_an_empty_ledger_writes_nothing(case):
    case.text = SPEC.replace("key: two-offers", "key: nobody-yet")
    with pytest.raises(NotEnoughData, match="run `lift assign"):
        case.run("t.json")
    assert not (case.folder / "t.json").exists()


def test_a_folder_that_is_not_there_is_told(case):
    with pytest.raises(StorageError, match="no/such/t.json: cannot be written"):
        case.run("no/such/t.json")


def test_offers_that_have_ended_leave_the_file_only_by_number(case):
    count = len(case.run("t.csv").lookup.customers)
    case.now = datetime(2026, 4, 14, tzinfo=UTC)  # 14 days after the end of enrolment
    with pytest.raises(PushRefused, match=f"--allow-removals {count}"):
        case.run("t.csv")
    assert case.run("t.csv", allow_removals=count).lookup.customers == {}


# ---- whole or not at all ---------------------------------------------------------------------------------


def test_only_the_owner_may_read_it_unless_the_file_before_was_open_to_others(tmp_path):
    path = tmp_path / "t.json"
    write_lookup(path, looked_up(1))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    write_lookup(path, looked_up(2))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_reader_at_any_instant_finds_a_whole_file(tmp_path):
    path, stop, seen, broken = tmp_path / "t.json", threading.Event(), set(), []
    write_lookup(path, looked_up(*range(3000)))

    def read():
        while not stop.is_set():
            try:
                told = json.loads(path.read_text())
            except ValueError as wrong:
                broken.append(wrong)
            else:
                seen.add((told["version"], len(told["customers"])))

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(20):
        write_lookup(path, looked_up(*range(2990 - n), previous=read_previous(path)))
    stop.set()
    reader.join()
    assert not broken
    assert len(seen) > 1
    first = int(NOW.timestamp())
    assert seen <= {(first, 3000), *((first + n + 1, 2990 - n) for n in range(20))}


KILLED = """\
import sys
from datetime import UTC, datetime
from pathlib import Path
from tests.steps.test_lookup import looked_up
from toolkit.lake.lookup_files import read_previous, write_lookup
path = Path(sys.argv[1])
while True:
    write_lookup(path, looked_up(*range(20_000), previous=read_previous(path)))
    print("written", flush=True)
"""


def test_a_writer_that_is_killed_leaves_a_whole_file_and_the_next_one_goes_on(tmp_path):
    path = tmp_path / "t.json"
    write_lookup(path, looked_up(*range(20_000)))
    before = read_previous(path).version
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], cwd=DOCS.parents[1], stdout=subprocess.PIPE
    ) as writer:
        for _ in range(3):
            assert writer.stdout.readline()
        time.sleep(0.02)
        writer.send_signal(signal.SIGKILL)
    previous = read_previous(path)
    assert previous.version >= before + 3
    assert len(previous.customers) == 20_000
    write_lookup(path, looked_up(*range(20_000), previous=previous))
    assert json.loads(manifest_of(path).read_text())["version"] == previous.version + 1


# ---- the reader in the docs, and the command -------------------------------------------------------------


def test_the_reader_of_the_docs_gives_the_default_to_whatever_is_missing_old_or_other(case):
    said = {}
    exec(re.search(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)[1], said)
    case.now = datetime.now(UTC)
    done = lookup_now(case)
    known = next(iter(done.lookup.customers))
    reader = said["Traits"](str(done.path))
    assert reader.value(known, "free_shipping_eligible", False, schema=2) is True
    assert reader.value("nobody", "free_shipping_eligible", False, schema=2) is False
    assert reader.value(known, "free_shipping_eligible", False, schema=1) is False
    assert reader.value(known, "unheard_of", "none") == "none"
    case.now -= timedelta(minutes=6)
    old = said["Traits"](str(lookup_now(case).path))
    assert old.value(known, "free_shipping_eligible", False, schema=2) is False
    tiers = {who: told["offer_tier"] for who, told in done.lookup.customers.items()}
    high = next(who for who, tier in tiers.items() if tier == "high")
    assert old.value(high, "offer_tier", "none") == "high"  # may be a day old


def lookup_now(case):
    case.text = SPEC.replace("end: 2026-03-31", "end: 2099-03-31")
    return case.run("t.json")


def test_the_command_tells_counts_and_no_customer(case):
    case.spec  # noqa: B018 (writes the files)
    lift = Lift(case.folder)
    done = lift("lookup", "two-offers.yml", "--out", "t.csv", LIFT_NOW=NOW.isoformat())
    assert "whoever is not in it has the defaults" in done.stdout
    assert "no browser can load it" in done.stdout
    assert not [each["id"] for each in case.people if each["id"] in done.stdout]
    assert "Missing option '--out'" in lift("lookup", "two-offers.yml", expect=2).stderr
