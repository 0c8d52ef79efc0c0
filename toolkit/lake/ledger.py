"""The ledger: who was assigned to what, and when. Append-only; a customer's earliest assignment holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from toolkit.design.experiment import Experiment
from toolkit.errors import DataError
from toolkit.lake.engine import Engine, Stored, at_micros, micros, micros_of, parquet, text, texts
from toolkit.lake.sources import FileTable, open_file
from toolkit.lake.tables import Lake

if TYPE_CHECKING:
    from toolkit.lake.enrolled import Enrolment

__all__ = ["Ledger", "open_ledger"]

LINES = 2**32
"""More rows than any file has."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Who is counted, and what the ledger held besides.

    Attributes:
        customers: arm → customers who are counted.
        rows: rows written, whether they count or not.
        repeated: rows beyond a customer's first.
        crossed: customers who stand in more than one arm; their first arm counts.
        outside: customers assigned before `start` or after `end`; they do not count.
        later: customers assigned only after the readout's date; they do not count yet.
        first_at, last_at: the first and the last assignment that counts; None where there is none.
        version: the lake's version read; None for files.
        file: the file of assignments, where they come from one and no customer stands there twice.
        numbered: whether `ledger` has `line` as well, a number of each row's own.
        files: the lake's files that were read; empty where it was something else.
        enrolment: what the next measurement can go on from, where all this rests on what one before has kept.
    """

    customers: dict[str, int]
    rows: int
    repeated: int
    crossed: int
    outside: int
    later: int
    first_at: datetime | None
    last_at: datetime | None
    version: int | None
    file: FileTable | None = None
    numbered: bool = False
    files: tuple[str, ...] = ()
    enrolment: Enrolment | None = None


def open_ledger(
    con: Engine,
    lake: Lake,
    experiment: Experiment,
    spec: str,
    *,
    as_of_end: datetime,
    known: Callable[..., Enrolment | None] | None = None,
) -> Ledger:
    """Create the view `ledger(id, arm, assigned)`: one row per customer who enrolled and was assigned in time.

    `arm` is the arm's place in the experiment file, `assigned` the assignment in microseconds since 1970. `known`
    tells of files that were read before, as `Kept.enrolment` does.

    Raises:
        DataError: the assignments of `source: files` cannot be used.
    """
    table, version, stored = None, None, None
    if experiment.assignment.source == "files":
        written, table, numbered = _from_file(con, experiment, spec)
    else:
        stored = con.stored(lake, "assignments", experiment=experiment.key)
        written, numbered = _from_lake(con, experiment, stored)
        version = stored.version if stored else None
    con.view("written", written)
    files = tuple(lake.files("assignments", experiment=experiment.key)) if version is not None else ()
    if known and stored and files:
        found = known(
            con, experiment, files, partial(_query_of, con, experiment, stored), as_of_end=as_of_end
        )
        if found:
            con.view("ledger", "SELECT * FROM written")
            here = found.enrolled
            return Ledger(
                dict(zip(experiment.arms, here.arms, strict=True)), sum(here.arms), 0, 0, 0, 0,
                at_micros(here.first), at_micros(here.last), version, None, numbered, files, found,
            )  # fmt: skip
    with table.being_read() if table else nullcontext():
        profile = _profile(con, experiment, "written", as_of_end, table)
    rows = profile[0]
    if table:  # anything strange shows in the profile; only then every row is looked at
        _look_closely(con, experiment, table, known=None not in profile[1])
    elif None in profile[1]:
        raise DataError(
            f"{stored.where if stored else ''}: some customers of {experiment.key} are in arms that {spec} does not have; "
            f"its arms are {', '.join(experiment.arms)}"
        )
    signed = f"SELECT {con.sign('id')} AS sign FROM written WHERE id <> ''"
    repeats, with_id = con.repeated("written_repeats", signed, at_most=rows)
    if table and with_id < rows:
        identifier = table.id(email=experiment.identity.key == "email")
        table.refuse(f"coalesce({identifier}, '') = ''", "id", "is empty; every assignment needs a customer")
        table.settle()
    crossed, source = 0, "written"
    if repeats:
        again = f"{con.sign('id')} IN (SELECT sign FROM written_repeats)"
        con.table(
            "written_again",
            "SELECT id, arm, assigned, arms FROM (SELECT id, arm, assigned, "
            "row_number() OVER (PARTITION BY id ORDER BY assigned, arm) AS place, "
            "min(arm) OVER (PARTITION BY id) <> max(arm) OVER (PARTITION BY id) AS arms "
            f"FROM written WHERE {again}) WHERE place = 1",
        )
        crossed = con.one("SELECT count(*) FROM written_again WHERE arms")[0]
        con.view(
            "first_written",
            f"SELECT id, arm, assigned FROM written WHERE NOT ({again}) UNION ALL SELECT id, arm, assigned FROM written_again",
        )
        source = "first_written"
        profile = _profile(con, experiment, source, as_of_end)
    kept, by_arm, outside, first, last = profile
    customers = {arm: by_arm.get(at, 0) for at, arm in enumerate(experiment.arms)}
    later = kept - outside - sum(customers.values())
    counts = f" WHERE {_counts(experiment, as_of_end)}" if outside or later else ""
    con.view("ledger", f"SELECT * FROM {source}{counts}")
    return Ledger(
        customers,
        rows,
        rows - kept,
        int(crossed),
        outside,
        later,
        at_micros(first),
        at_micros(last),
        version,
        table if not repeats else None,
        numbered and not repeats,
        files,
    )


def _counts(experiment: Experiment, as_of_end: datetime) -> str:
    return f"{_inside(experiment)} AND assigned < {micros_of(as_of_end)}"


def _inside(experiment: Experiment) -> str:
    return f"assigned >= {micros_of(experiment.starts_at)} AND assigned <= {micros_of(experiment.ends_at)}"


def _profile(
    con: Engine, experiment: Experiment, relation: str, as_of_end: datetime, table: FileTable | None = None
) -> tuple[int, dict[int | None, int], int, int | None, int | None]:
    """Return rows, those that count by arm's place, those outside, the first and the last that count.

    `table` is the file that the relation shows row by row, if there is one.
    """
    places = range(len(experiment.arms))
    # a third of what it takes to group by them; of no rows it is NULL
    named = ", ".join(f"count_if(arm = {at})" for at in places)
    rows, *found = con.one(f"SELECT count(*), {named} FROM {relation}")
    counted: dict[int | None, int] = {at: each or 0 for at, each in zip(places, found, strict=True)}
    if rows > sum(counted.values()):
        counted[None] = rows - sum(counted.values())
    if (
        table and table.type_of("assigned_at") == "TIMESTAMP WITH TIME ZONE"
    ):  # a Parquet file says its extremes
        extremes = micros("min(assigned_at)"), micros("max(assigned_at)")
        first, last = con.one(f"SELECT {', '.join(extremes)} FROM {table.sql}")
    else:
        first, last = con.one(f"SELECT min(assigned), max(assigned) FROM {relation}")
    since, until = micros_of(experiment.starts_at), micros_of(experiment.ends_at)
    if first is None or (since <= first and last <= until and last < micros_of(as_of_end)):
        return sum(counted.values()), counted, 0, first, last
    inside, counts = _inside(experiment), _counts(experiment, as_of_end)
    found = con.rows(
        f"SELECT arm, count(*), count(*) FILTER (WHERE {counts}), count(*) FILTER (WHERE NOT ({inside})), "
        f"min(assigned) FILTER (WHERE {counts}), max(assigned) FILTER (WHERE {counts}) FROM {relation} GROUP BY arm"
    )
    first = min((row[4] for row in found if row[4] is not None), default=None)
    last = max((row[5] for row in found if row[5] is not None), default=None)
    return (
        sum(row[1] for row in found),
        {row[0]: row[2] for row in found},
        sum(row[3] for row in found),
        first,
        last,
    )


def _look_closely(con: Engine, experiment: Experiment, table: FileTable, *, known: bool) -> None:
    """Raise for rows of a file of assignments that cannot be used; `known` says that every arm is known."""
    plain = table.type_of("assigned_at") == "TIMESTAMP WITH TIME ZONE"
    if known and plain and con.one(f"SELECT count(*) - count(assigned_at) FROM {table.sql}")[0] == 0:
        table.doubts.clear()
        return
    arm, strange = table.key("arm"), f"{table.key('arm')} NOT IN ({texts(experiment.arms)})"
    (rows,) = table.settle(f"count(*) FILTER (WHERE {strange})")
    if rows:
        named = con.rows(f"SELECT DISTINCT {arm} AS arm FROM {table.sql} WHERE {strange} ORDER BY 1 LIMIT 5")
        raise DataError(
            f"{table.path}: column `arm` holds {', '.join(repr(name) for (name,) in named)}, which the experiment "
            f"does not have; its arms are {', '.join(experiment.arms)}"
        )


def _query_of(con: Engine, experiment: Experiment, stored: Stored, paths: Sequence[str]) -> str:
    """Return the query of all rows in some of the lake's files."""
    return _from_lake(con, experiment, replace(stored, sql=parquet(paths)))[0]


def _from_lake(con: Engine, experiment: Experiment, stored: Stored | None) -> tuple[str, bool]:
    """Return the query of all rows, and whether they have a `line`."""
    if stored is None:
        nobody = (
            "SELECT '' AS id, CAST(NULL AS SMALLINT) AS arm, CAST(NULL AS BIGINT) AS assigned WHERE false"
        )
        return nobody, False
    table = FileTable(con, stored.where, stored.sql, con.columns(stored.sql), csv=False)
    table.need("experiment", "id", "arm", "assigned_at")
    numbered = table.numbered_by_file if con.dialect == "duckdb" else None
    line = f", CAST(file_index AS BIGINT) * {LINES} + file_row_number AS line" if numbered else ""
    query = (
        f"SELECT {table.id()} AS id, {con.code('arm', list(experiment.arms))} AS arm, "
        f"{table.micros('assigned_at', 'UTC')} AS assigned{line} FROM {numbered or stored.sql} "
        f"WHERE experiment = {text(experiment.key)}"
    )
    return query, numbered is not None


def _from_file(con: Engine, experiment: Experiment, spec: str) -> tuple[str, FileTable, bool]:
    path = experiment.file_beside(spec, experiment.assignment.file)
    table = open_file(con, path, what="`assignment` names it as the assignments (id, arm, assigned_at)")
    table.need("id", "arm", "assigned_at")
    identifier = table.id(email=experiment.identity.key == "email")
    arm = table.key("arm")
    table.refuse(f"coalesce({arm}, '') = ''", "arm", "is empty; every assignment needs an arm")
    at = table.micros("assigned_at", experiment.assignment.timezone)
    numbered = table.numbered if con.dialect == "duckdb" else None
    line = "file_row_number" if numbered else "CAST(NULL AS BIGINT)"
    return (
        f"SELECT {identifier} AS id, {con.code(arm, list(experiment.arms))} AS arm, {at} AS assigned, {line} AS line "
        f"FROM {numbered or table.sql}",
        table,
        numbered is not None,
    )
