"""What a user sees of each command, on files of their own, with no vendor in reach."""

from __future__ import annotations

import json
import subprocess
import sys

import pandas as pd
import pytest
from deltalake import DeltaTable

from tests.example import EXAMPLE, FILES, OnFiles

HASHED = (
    FILES.replace("assignment: {source: files}\n", "")
    .replace("start: 2026-01-01", "start: 2020-01-01")
    .replace("end: 2026-02-01", "end: 2099-01-01")
)


@pytest.fixture
def case(tmp_path):
    return OnFiles(tmp_path)


def test_measure_prints_json_and_nothing_else(lift, case):
    done = lift("measure", case.write(), "--as-of", "2026-01-22", "--json", "-")
    record = json.loads(done.stdout)
    assert record["schema"] == 1
    assert record["as_of"] == "2026-01-22"
    assert [each["arm"] for each in record["arms"]] == ["holdout", "treatment"]
    assert set(record["lifts"][0]["means"]) == {"treatment", "control"}
    assert done.stderr == ""


def test_measure_writes_json_to_a_file_and_a_table_for_people(lift, case):
    done = lift("measure", case.write(), "--as-of", "2026-01-22", "--json", "found.json")
    assert json.loads((case.folder / "found.json").read_text())["experiment"] == "on-files"
    assert "purchase_rate" in done.stdout


def test_a_failed_check_ends_in_status_one_and_hides_the_lift_from_people(lift, case):
    case.assignments["arm"] = ["treatment"] * 60 + ["holdout"] * 20
    done = lift("measure", case.write(), "--as-of", "2026-01-22", expect=1)
    assert "the arms do not have the sizes planned" in done.stdout
    assert "relative" not in done.stdout
    record = json.loads(
        lift(
            "measure", case.folder / "experiment.yml", "--as-of", "2026-01-22", "--json", "-", expect=1
        ).stdout
    )
    assert {each["trusted"] for each in record["lifts"]} == {False}


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["measure", "nowhere.yml"], 2, "nowhere.yml: no such file"),
        (["measure", "experiment.yml", "--as-of", "yesterday"], 2, "--as-of yesterday: is no date"),
        (["measure", "experiment.yml", "--as-of", "9999-12-31"], 2, "--as-of: 9999-12-31 lies outside"),
        (["measure"], 2, "Missing argument"),
        (["weekly", "nowhere"], 2, "nowhere: no experiment files"),
        (["check", "."], 2, ".: is a folder; name one experiment file in it, such as experiment.yml"),
        (["pull", "experiment.yml"], 0, ""),
        (["push", "experiment.yml"], 2, "LAUNCHDARKLY_ACCESS_TOKEN is not set"),
        (["assign", "experiment.yml"], 2, "someone else assigns"),
    ],
)
def test_wrong_use_is_told_in_a_line(lift, case, arguments, status, message):
    case.write()
    assert message in lift(*arguments, expect=status).stderr


def test_the_present_is_what_the_environment_says_where_it_says_so(lift, case):
    case.spec = case.spec.replace("end: 2026-02-01", "end: 2026-02-01\ntimezone: Pacific/Auckland")
    path, now = case.write(), "2026-01-21T11:30:00Z"
    said = "2026-01-23 is yet to come: what is counted is what is known on 2026-01-22"
    assert said in lift("readout", path, "--as-of", "2026-01-23", LIFT_NOW=now).stderr
    assert "yet to come" not in lift("readout", path, "--as-of", "2026-01-22", LIFT_NOW=now).stderr
    ahead = lift("measure", path, "--as-of", "2026-01-23", LIFT_NOW=now).stdout
    assert said in ahead


def test_a_fault_of_the_program_is_no_checks_answer(tmp_path):
    broken = (
        "from toolkit import cli\n@cli.app.command()\ndef broken() -> None:\n    {}['key']\n\ncli.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", broken, "broken"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "Traceback" in done.stderr
    assert "this is a fault of lift itself (KeyError)" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("command", ["measure", "readout"])
def test_before_enrolment_begins_no_number_is_due(lift, case, command):
    case.spec = HASHED.replace("start: 2020-01-01", "start: 2098-01-01")
    more = ["--json", "-"] if command == "measure" else []
    done = lift(command, case.write(), *more)
    assert "enrolment starts on 2098-01-01" in done.stderr
    assert done.stdout == ""
    case.spec = HASHED
    assert "run `lift assign" in lift(command, case.write(), *more, expect=1).stderr


def test_a_wrong_environment_is_told_by_variable(lift, case):
    path = case.write()
    assert "CUSTOMERIO_REGION" in lift("check", path, expect=2, CUSTOMERIO_REGION="mars").stderr


def test_assigning_twice_assigns_nobody_twice(lift, case):
    case.spec = HASHED
    path = case.write()
    first = lift("assign", path).stdout
    assert "80 newly assigned" in first
    second = lift("assign", path).stdout
    assert "0 newly assigned" in second
    assert "80 assigned before" in second
    rows = DeltaTable(case.folder / "lake" / "assignments").to_pandas()
    assert sorted(rows["id"]) == sorted(case.people["id"])
    assert {"experiment", "id", "arm", "assigned_at"} <= set(rows.columns)


def test_new_people_enrol_at_a_later_run_and_nobody_moves(lift, case):
    case.spec = HASHED
    everyone = case.people
    case.people = everyone.iloc[:50]
    lift("assign", case.write())
    before = DeltaTable(case.folder / "lake" / "assignments").to_pandas().set_index("id")["arm"]
    case.people = everyone
    lift("assign", case.write())
    after = DeltaTable(case.folder / "lake" / "assignments").to_pandas().set_index("id")["arm"]
    assert len(after) == 80
    assert (after[before.index] == before).all()


def test_a_snapshot_stays_as_it_was_taken(lift, case):
    case.spec = HASHED.replace(", entry: rolling", "")
    everyone = case.people
    case.people = everyone.iloc[:50]
    lift("assign", case.write())
    case.people = everyone
    assert "the snapshot of 50 customers was taken before" in lift("assign", case.write()).stdout


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("arms: {holdout: 0.5, treatment: 0.5}", "arms: {holdout: 0.4, treatment: 0.6}"),
        ("arms:", "seed: 7\narms:"),
    ],
)
def test_a_changed_seed_or_share_is_refused_after_enrolment(lift, case, before, after):
    case.spec = HASHED
    lift("assign", case.write())
    case.spec = HASHED.replace(before, after)
    done = lift("assign", case.write(), expect=2)
    assert "changed after the first enrolment of on-files" in done.stderr
    assert len(DeltaTable(case.folder / "lake" / "assignments").to_pandas()) == 80


def test_people_without_the_key_and_repeated_ones_are_reported(lift, case):
    case.spec = HASHED
    case.people = pd.concat(
        [case.people, case.people.iloc[:3], pd.DataFrame({"id": [None, ""], "email": ["a@x", None]})]
    )
    said = lift("assign", case.write()).stdout
    assert (
        "85 people qualify; 80 customers have the key `id`, 2 without it (1 known by e-mail only), 3 stand there more than once"
        in said
    )


def test_the_universal_holdout_is_in_no_experiment_and_kept_in_the_ledger(lift, case):
    case.people = pd.DataFrame({"id": [f"c{n}" for n in range(2000)]})
    case.spec = HASHED.replace(
        "entry: rolling}", "entry: rolling, universal_holdout: {key: always, share: 0.1}}"
    )
    lift("assign", case.write())
    rows = DeltaTable(case.folder / "lake" / "assignments").to_pandas()
    mine, universal = (
        rows[rows["experiment"] == key].set_index("id")["arm"] for key in ("on-files", "always")
    )
    held = set(universal[universal == "holdout"].index)
    assert len(universal) == 2000
    assert 140 < len(held) < 260
    assert not held & set(mine.index)
    assert len(held) + len(mine) == 2000


def test_experiments_of_one_layer_share_no_customer(lift, case):
    case.people = pd.DataFrame({"id": [f"c{n}" for n in range(600)]})
    case.spec = HASHED.replace("entry: rolling}", "entry: rolling, layer: offers}")
    first = case.write()
    second = case.folder / "second.yml"
    second.write_text(case.spec.replace("key: on-files", "key: second"))
    lift("assign", first)
    lift("assign", second)
    rows = DeltaTable(case.folder / "lake" / "assignments").to_pandas()
    one, two = (set(rows[rows["experiment"] == key]["id"]) for key in ("on-files", "second"))
    assert not one & two
    assert len(one | two) == 600
    assert min(len(one), len(two)) > 200


def test_a_warehouse_query_sees_files_beside_the_spec_and_the_lake(lift, case):
    (case.folder / "grown.sql").write_text("SELECT id, age, tier FROM 'people.parquet' WHERE age >= 40;")
    case.spec = HASHED.replace(
        "{source: files, entry: rolling}", "{source: warehouse, sql: grown.sql, entry: rolling}"
    )
    assert "40 newly assigned" in lift("assign", case.write()).stdout
    (case.folder / "grown.sql").write_text("SELECT nothing FROM nowhere")
    assert "grown.sql: the query fails" in lift("assign", case.folder / "experiment.yml", expect=2).stderr


def test_pulling_a_file_twice_adds_nothing(lift, case):
    path = case.write()
    assert "27 new events" in lift("pull", path).stdout
    assert "0 new events" in lift("pull", path).stdout
    rows = DeltaTable(case.folder / "lake" / "events").to_pandas()
    assert {"event_id", "id", "name", "timestamp", "amount", "currency", "order_id"} <= set(rows.columns)
    assert rows["event_id"].is_unique


def test_check_says_what_would_happen(lift, case):
    case.spec = HASHED
    said = lift("check", case.write()).stdout
    assert "80 qualify now" in said
    assert "about 40" in said
    (case.folder / "vendor.yml").write_text(EXAMPLE)
    said = lift("check", case.folder / "vendor.yml").stdout
    assert "not known from here: CUSTOMERIO_APP_API_KEY is not set" in said
    assert "lift-free-shipping-eligible" in said


def test_design_says_what_can_be_found(lift, case):
    said = lift("design", case.write(), "--as-of", "2026-01-22").stdout
    assert "smallest effect" in said
    assert "purchase_rate" in said


def test_a_readout_is_published_and_a_broken_neighbour_stops_nothing(lift, case):
    path = case.write()
    (case.folder / "broken.yml").write_text(FILES.replace("treatment: 0.5", "treatment: 0.6"))
    done = lift("weekly", case.folder, "--as-of", "2026-01-22", expect=2)
    assert "shares sum to 1.1" in done.stdout
    place = case.folder / "reports" / "on-files" / "2026-01-22"
    assert {each.name for each in place.iterdir()} == {
        "index.html",
        "readout.csv",
        "readout.ipynb",
        "readout.json",
    }
    index = (case.folder / "reports" / "index.html").read_text()
    assert "on-files/2026-01-22/index.html" in index
    assert "shares sum to 1.1" in index
    for name in ("index.html", "readout.ipynb", "readout.json"):
        assert str(case.folder) not in (place / name).read_text()
    again = lift("readout", path, "--as-of", "2026-01-22").stdout.strip()
    assert again.endswith("index.html")


def test_a_reports_folder_that_cannot_be_written_is_the_disks_refusal(lift, case):
    path = case.write()
    (case.folder / "taken").write_text("a file, no folder")
    done = lift("readout", path, "--as-of", "2026-01-22", expect=3, LIFT_REPORTS=str(case.folder / "taken"))
    assert "taken" in done.stderr
