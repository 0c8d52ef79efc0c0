from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context

from tests.example import EXAMPLE
from toolkit.design.parse import parse_experiment
from toolkit.lake.engine import connect
from toolkit.lake.ledger import open_ledger
from toolkit.lake.tables import Lake

AT = datetime(2026, 10, 6, tzinfo=UTC)


def append(home: str, process: int) -> None:
    lake = Lake(home)
    for batch in range(5):
        lake.append_rows(
            "assignments",
            [
                {
                    "experiment": "cart-free-shipping",
                    "id": f"c{number}",
                    "arm": "holdout" if process == 0 else "free_shipping",
                    "assigned_at": AT + timedelta(minutes=process, seconds=batch),
                }
                for number in range(20)
            ],
        )


def test_processes_that_append_at_once_lose_nothing_and_the_first_assignment_holds(tmp_path):
    home = str(tmp_path / "lake")
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        list(pool.map(append, [home] * 3, range(3)))
    lake = Lake(home)
    assert lake.read("assignments").num_rows == 3 * 5 * 20
    with connect() as con:
        found = open_ledger(
            con, lake, parse_experiment(EXAMPLE, "x.yml"), "x.yml", as_of_end=AT + timedelta(days=1)
        )
        rows = con.rows("SELECT DISTINCT arm FROM ledger")
    assert rows == [(0,)]
    assert (found.repeated, found.crossed) == (280, 20)


def test_an_earlier_version_can_be_read_again(tmp_path):
    home = str(tmp_path / "lake")
    append(home, 0)
    before = Lake(home).version("assignments")
    append(home, 1)
    assert Lake(home, {"assignments": before}).read("assignments").num_rows == 100
    assert Lake(home).read("assignments").num_rows == 200
