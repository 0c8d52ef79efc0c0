"""Tables of the lake, read as plain values and as one state."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from toolkit.errors import SettingsError, StorageError
from toolkit.lake.engine import connect, parquet
from toolkit.lake.tables import TABLES, Lake

AT = datetime(2026, 3, 1, 12, 30, 15, 250_001, tzinfo=UTC)
VALUES = {
    "text": "ein „Wort“, 日本",
    "instant": AT,
    "money": Decimal("19.9900"),
    "whole": 2**53 + 1,
    "truth": True,
    "date": date(2026, 3, 1),
}


@pytest.fixture
def lake(tmp_path):
    return Lake(str(tmp_path / "lake"))


def a_row(table: str, **own: object) -> dict[str, object]:
    return {name: VALUES[kind] for name, kind in TABLES[table].items()} | own


@pytest.mark.parametrize("table", sorted(TABLES))
def test_records_are_what_arrow_reads(lake, table):
    rows = [a_row(table), dict.fromkeys(TABLES[table])]
    for name in ("experiment", "id"):
        if name in TABLES[table]:
            rows[1][name] = "another"
    lake.append_rows(table, rows)
    key = next(iter(TABLES[table]))
    known = sorted(lake.read(table).to_pylist(), key=lambda row: str(row[key]))
    assert sorted(lake.records(table), key=lambda row: str(row[key])) == known
    with connect() as con:
        assert lake.records(table, [key], con=con, **{key: VALUES["text"]}) == [{key: VALUES["text"]}]


def test_a_table_that_is_not_there_has_no_records(lake):
    assert lake.records("ready") == []


def test_a_lake_at_present_shows_one_state_whatever_is_written_meanwhile(lake):
    lake.append_rows("cursors", [a_row("cursors", source="one")])
    present = lake.at_present()
    assert present.version("cursors") == 0
    assert present.records("protected") == []
    lake.append_rows("cursors", [a_row("cursors", source="two", saved_at=AT + timedelta(days=1))])
    lake.append_rows("protected", [a_row("protected")])
    assert [row["source"] for row in present.records("cursors")] == ["one"]
    assert present.records("protected") == []
    assert (present.version("cursors"), lake.version("cursors")) == (0, 1)
    assert len(lake.records("cursors")) == len(lake.at_present().records("cursors")) == 2
    assert len(present.latest("cursors").file_uris()) == 2


def test_a_pinned_lake_at_present_keeps_its_versions(lake):
    for source in ("one", "two"):
        lake.append_rows("cursors", [a_row("cursors", source=source)])
    then = Lake(lake.home, versions={"cursors": 0}).at_present()
    assert [row["source"] for row in then.records("cursors")] == ["one"]


@pytest.mark.parametrize("name", ["a b", "lüft", "q?x", "h#y", "50%", "st*r"])
def test_a_lake_is_read_wherever_its_folder_is(tmp_path, name):
    lake = Lake(str(tmp_path / name / "lake"))
    lake.append_rows("assignments", [a_row("assignments", experiment="one"), a_row("assignments")])
    assert len(lake.records("assignments", experiment="one")) == 1
    assert all(Path(each).is_file() for each in lake.files("assignments"))


@pytest.mark.parametrize("name", ["g[1]", "a%20b", "a^b", "a|b"])
def test_a_folder_that_a_lake_cannot_be_read_back_from_is_refused(tmp_path, name):
    with pytest.raises(SettingsError, match="LIFT_HOME: .* cannot stand in a folder with"):
        Lake(str(tmp_path / name))


def test_a_table_pinned_to_when_there_was_none_has_no_rows(lake):
    lake.append_rows("deliveries", [a_row("deliveries")])
    then = Lake(lake.home, versions={"deliveries": None})
    assert (then.version("deliveries"), then.records("deliveries")) == (None, [])


def test_a_file_that_is_gone_is_a_refusal_of_the_disk_that_names_it(lake):
    lake.append_rows("cursors", [a_row("cursors")])
    (path,) = lake.files("cursors")
    Path(path).unlink()
    with pytest.raises(StorageError, match=Path(path).name), connect() as con:
        con.rows(f"SELECT * FROM {parquet([path])}")


def test_two_who_merge_files_at_once_leave_every_row_once(lake):
    for source in range(12):
        lake.append_rows("cursors", [a_row("cursors", source=str(source))])
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: lake.compact("cursors"), range(3)))
    assert sorted(int(row["source"]) for row in lake.records("cursors")) == list(range(12))
    assert len(lake.files("cursors")) == 1
