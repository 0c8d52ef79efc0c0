"""The ledger: who was assigned to what, and when. Append-only; a customer's earliest assignment holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from toolkit.design.experiment import Experiment
from toolkit.errors import DataError
from toolkit.lake.engine import Connection, instant, instants, one, parquet, text, texts
from toolkit.lake.sources import open_file
from toolkit.lake.tables import Lake

__all__ = ["Ledger", "open_ledger"]


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the ledger held besides the assignments that count.

    Attributes:
        repeated: rows beyond a customer's first.
        crossed: customers who stand in more than one arm; their first arm counts.
        outside: customers assigned before `start` or after `end`; they do not count.
        later: customers assigned only after the readout's date; they do not count yet.
        first_at, last_at: the first and the last assignment that counts; None where there is none.
        version: the lake's version read; None for files.
    """

    repeated: int
    crossed: int
    outside: int
    later: int
    first_at: datetime | None
    last_at: datetime | None
    version: int | None


def open_ledger(
    con: Connection, lake: Lake, experiment: Experiment, spec: str, *, as_of_end: datetime
) -> Ledger:
    """Create `ledger(id, arm, assigned_at)`: one row per customer who enrolled and was assigned in time.

    Raises:
        DataError: the assignments of `source: files` cannot be used.
    """
    if experiment.assignment.source == "files":
        written, version = _from_file(con, experiment, spec), None
    else:
        written, version = _from_lake(lake, experiment), lake.version("assignments")
    con.execute(f"CREATE OR REPLACE TEMP VIEW written AS {written}")
    rows, customers = one(con, "SELECT count(*), count(DISTINCT id) FROM written")
    crossed = 0
    if rows > customers:
        con.execute(
            "CREATE OR REPLACE TEMP TABLE first_written AS "
            "SELECT id, min({'at': assigned_at, 'arm': arm}) AS first, count(DISTINCT arm) AS arms "
            "FROM written GROUP BY id"
        )
        crossed = one(con, "SELECT count(*) FROM first_written WHERE arms > 1")[0]
        first = "SELECT id, first.arm AS arm, first.at AS assigned_at FROM first_written"
    else:
        first = "SELECT id, arm, assigned_at FROM written"
    starts, ends = instant(experiment.starts_at), instant(experiment.ends_at)
    outside = f"(assigned_at < {starts} OR assigned_at > {ends})"
    left_out, later = one(
        con,
        f"SELECT count(*) FILTER ({outside}), "
        f"count(*) FILTER (NOT {outside} AND assigned_at >= {instant(as_of_end)}) FROM ({first})",
    )
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE ledger AS SELECT * FROM ({first}) "
        f"WHERE NOT {outside} AND assigned_at < {instant(as_of_end)}"
    )
    first_at, last_at = instants(con, "min(assigned_at)", "max(assigned_at)", of="ledger")
    return Ledger(rows - customers, crossed, left_out, later, first_at, last_at, version)


def _from_lake(lake: Lake, experiment: Experiment) -> str:
    files = lake.files("assignments", experiment=experiment.key)
    if not files:
        return "SELECT '' AS id, '' AS arm, CAST(NULL AS TIMESTAMPTZ) AS assigned_at WHERE false"
    return (
        "SELECT CAST(id AS VARCHAR) AS id, arm, CAST(assigned_at AS TIMESTAMPTZ) AS assigned_at "
        f"FROM {parquet(files)} WHERE experiment = {text(experiment.key)}"
    )


def _from_file(con: Connection, experiment: Experiment, spec: str) -> str:
    path = experiment.file_beside(spec, experiment.assignment.file)
    table = open_file(con, path, what="`assignment` names it as the assignments (id, arm, assigned_at)")
    table.need("id", "arm", "assigned_at")
    identifier = table.id(email=experiment.identity.key == "email")
    arm = table.words("arm")
    table.refuse(f"coalesce({identifier}, '') = ''", "id", "is empty; every assignment needs a customer")
    table.refuse(f"{arm} IS NULL", "arm", "is empty; every assignment needs an arm")
    strange = [
        name
        for (name,) in con.execute(
            f"SELECT DISTINCT {arm} FROM {table.sql} WHERE {arm} NOT IN ({texts(experiment.arms)}) LIMIT 5"
        ).fetchall()
    ]
    if strange:
        raise DataError(
            f"{path}: column `arm` holds {', '.join(map(repr, strange))}, which the experiment does not have; "
            f"its arms are {', '.join(experiment.arms)}"
        )
    at = table.instant("assigned_at", experiment.assignment.timezone)
    return f"SELECT {identifier} AS id, {arm} AS arm, {at} AS assigned_at FROM {table.sql}"
