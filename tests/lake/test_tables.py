"""Tables of the lake, read as plain values and as one state."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from toolkit.lake.engine import connect
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
