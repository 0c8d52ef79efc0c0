"""Attributes of people: covariates and breakdowns, as they were known when the customer was assigned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.design.experiment import Experiment
from toolkit.errors import SpecError
from toolkit.lake.engine import Engine, Stored, micros, quoted, text
from toolkit.lake.pointers import pointer_to
from toolkit.lake.sources import FileTable, open_file
from toolkit.lake.tables import Lake
from toolkit.lake.unit import Needs

__all__ = ["People", "gather_people"]


@dataclass(frozen=True, slots=True)
class People:
    """What is known of people besides what they did, as pieces of a query over `ledger l`.

    Attributes:
        joins: what to join to `l`; empty where nothing is asked.
        columns: the attributes asked for, as columns x…, b….
        present: the expression that says whether the customer is among the people; None where nobody asked.
        repeated: rows beyond a person's first; the first counts.
    """

    joins: str = ""
    columns: tuple[str, ...] = ()
    present: str | None = None
    repeated: int = 0


def gather_people(
    con: Engine,
    lake: Lake,
    experiment: Experiment,
    spec: str,
    needs: Needs,
    *,
    same_rows: FileTable | None = None,
) -> People:
    """Return where the attributes that are asked for come from.

    They come from what was kept at assignment; where nothing was kept, from the files of outcomes and people.
    `same_rows` is a file whose rows are those of `l` already: what it holds needs no join.

    Raises:
        SpecError: an attribute is nowhere to be found.
        DataError: a file cannot be used.
    """
    numbers = list(dict.fromkeys(each.attribute or "" for each in needs.attributes))
    breakdowns = experiment.analysis.breakdowns
    wanted = list(dict.fromkeys([*numbers, *breakdowns]))
    if not wanted:
        return People()
    kept = _kept(con, lake, experiment, wanted)
    repeated, places = 0, []
    found: dict[str, str] = {}
    relations: list[str] = []
    if kept:
        found = {name: f"kept.{quoted(name)}" for name in wanted}
        relations.append("kept")
    else:
        for at, table in enumerate(_files(con, experiment, spec)):
            places.append(table)
            here = [name for name in wanted if name in table.columns and name not in found]
            if not here:
                continue
            values = {name: table.number(name) if name in numbers else table.words(name) for name in here}
            if same_rows is not None and same_rows.sql == table.sql:
                same_rows.doubts.extend(table.doubts)
                found.update(values)
                continue
            repeated += _first_of_each(con, f"file{at}", table, experiment, values)
            found.update({name: f"file{at}.{quoted(name)}" for name in here})
            relations.append(f"file{at}")
    _all_found(experiment, spec, wanted, found, places)
    joins = "".join(f" LEFT JOIN {each} ON {each}.id = l.id" for each in relations)
    present = " OR ".join(f"{each}.id IS NOT NULL" for each in relations) or "true"
    columns = [f"CAST({found[each.attribute or '']} AS DOUBLE) AS {each.name}" for each in needs.attributes]
    columns += [f"CAST({found[name]} AS VARCHAR) AS b{at}" for at, name in enumerate(breakdowns)]
    return People(joins, tuple(columns), present, repeated)


def _files(con: Engine, experiment: Experiment, spec: str) -> list[FileTable]:
    files = []
    if experiment.outcomes:
        files.append((experiment.outcomes.file, "`outcomes` names it as the table of outcomes"))
    if experiment.cohort and experiment.cohort.source == "files":
        files.append((experiment.cohort.file, "`cohort` names it as the table of people"))
    named = {experiment.file_beside(spec, name): what for name, what in files}
    tables = [open_file(con, path, what=what) for path, what in named.items()]
    own = con.own("people")
    if own and _plain_columns(con, own):
        tables.append(FileTable(con, own.where, own.sql, con.columns(own.sql), csv=False))
    return tables


def _kept(con: Engine, lake: Lake, experiment: Experiment, wanted: Sequence[str]) -> bool:
    """Create `kept` from the attributes recorded at assignment, and say whether there are any."""
    if experiment.assignment.source == "files":
        return False
    stored = con.stored(lake, "people", experiment=experiment.key)
    if stored is None or _plain_columns(con, stored):
        return False
    shown = ", ".join(
        f"json_extract_string(attributes, {text(pointer_to(name))}) AS {quoted(name)}" for name in wanted
    )
    con.table(
        "kept",
        f"SELECT id, {shown} FROM (SELECT id, attributes, row_number() OVER (PARTITION BY id ORDER BY "
        f"{micros('recorded_at')}, attributes) AS place FROM {stored.sql} "
        f"WHERE experiment = {text(experiment.key)}) WHERE place = 1",
    )
    return bool(con.one("SELECT count(*) FROM kept")[0])


def _plain_columns(con: Engine, stored: Stored) -> bool:
    """Return whether a warehouse's own table of people has a column per attribute, not one text of all."""
    return stored.version is None and "attributes" not in con.columns(stored.sql)


def _first_of_each(
    con: Engine, relation: str, table: FileTable, experiment: Experiment, values: dict[str, str]
) -> int:
    """Create `relation(id, …)`, a row per person, and return how many rows were dropped."""
    shown = ", ".join(f"{expression} AS {quoted(name)}" for name, expression in values.items())
    identifier = table.identity(experiment.identity.key)
    (rows,) = table.settle("count(*)")
    repeats, _ = con.repeated(
        f"{relation}_repeats", f"SELECT {con.sign(identifier)} AS sign FROM {table.sql}", at_most=rows
    )
    if not repeats:
        con.view(relation, f"SELECT {identifier} AS id, {shown} FROM {table.sql}")
        return 0
    names = ", ".join(quoted(name) for name in values)
    con.table(
        relation,
        f"SELECT id, {names} FROM (SELECT id, {names}, row_number() OVER (PARTITION BY id ORDER BY line) AS copy "
        f"FROM (SELECT {identifier} AS id, {shown}, {con.line(table.sql)} AS line FROM {table.sql})) WHERE copy = 1",
    )
    return int(rows - con.one(f"SELECT count(*) FROM {relation}")[0])


def _all_found(
    experiment: Experiment,
    spec: str,
    wanted: Sequence[str],
    found: dict[str, str],
    places: Sequence[FileTable],
) -> None:
    for name in wanted:
        if name in found:
            continue
        what = "analysis.breakdowns"
        for at, metric in enumerate(experiment.metrics):
            if name in metric.attributes:
                what = f"metrics[{at}].covariates ({metric.name})"
        where = " or ".join(table.path for table in places) or "the attributes kept at assignment"
        there = sorted({column for table in places for column in table.columns} - {"id"})
        has = f"; there are {', '.join(there)}" if there else "; name it before assigning, so that it is kept"
        raise SpecError(f"{spec}: {what}: {name!r} is no column of {where}{has}")
