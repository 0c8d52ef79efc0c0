"""Attributes of people: covariates and breakdowns, as they were known when the customer was assigned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.design.experiment import Experiment
from toolkit.errors import SpecError
from toolkit.lake.engine import Connection, one, parquet, quoted, text
from toolkit.lake.sources import FileTable, open_file
from toolkit.lake.tables import Lake
from toolkit.lake.unit import Needs

__all__ = ["People", "gather_people"]


@dataclass(frozen=True, slots=True)
class People:
    """What is known of people besides what they did.

    Attributes:
        columns: expressions over `people p` for the relation `unit`; none where nothing is asked.
        repeated: rows beyond a person's first; the first counts.
        known: arm → assigned customers who stand among the people, None where nobody asked.
    """

    columns: tuple[str, ...] = ()
    repeated: int = 0
    known: dict[str, int] | None = None


def gather_people(con: Connection, lake: Lake, experiment: Experiment, spec: str, needs: Needs) -> People:
    """Create `people(id, …)`, a row per assigned customer, with the attributes that are asked for.

    They come from what was kept at assignment; where nothing was kept, from the files of outcomes and people.

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
    if kept:
        found = dict.fromkeys(wanted, "kept")
    else:
        found = {}
        for at, table in enumerate(_files(con, experiment, spec)):
            places.append(table)
            here = [name for name in wanted if name in table.columns and name not in found]
            if here:
                repeated += _first_of_each(con, f"file{at}", table, experiment, here, numbers)
                found.update(dict.fromkeys(here, f"file{at}"))
    _all_found(experiment, spec, wanted, found, places)
    relations = sorted(set(found.values()))
    shown = ", ".join(f"{relation}.{quoted(name)}" for name, relation in found.items())
    present = " OR ".join(f"{relation}.id IS NOT NULL" for relation in relations)
    joins = " ".join(f"LEFT JOIN {each} ON {each}.id = ledger.id" for each in relations)
    con.execute(
        f"CREATE OR REPLACE TEMP VIEW people AS SELECT ledger.id, ({present}) AS present, {shown} "
        f"FROM ledger {joins}"
    )
    known = dict(
        con.execute(
            "SELECT arm, count(*) FROM ledger JOIN people USING (id) WHERE present GROUP BY arm"
        ).fetchall()
    )
    columns = [
        f"CAST(p.{quoted(each.attribute or '')} AS DOUBLE) AS {each.name}" for each in needs.attributes
    ]
    columns += [f"CAST(p.{quoted(name)} AS VARCHAR) AS b{at}" for at, name in enumerate(breakdowns)]
    return People(tuple(columns), repeated, known)


def _files(con: Connection, experiment: Experiment, spec: str) -> list[FileTable]:
    files = []
    if experiment.outcomes:
        files.append((experiment.outcomes.file, "`outcomes` names it as the table of outcomes"))
    if experiment.cohort and experiment.cohort.source == "files":
        files.append((experiment.cohort.file, "`cohort` names it as the table of people"))
    return [open_file(con, experiment.file_beside(spec, name), what=what) for name, what in files]


def _kept(con: Connection, lake: Lake, experiment: Experiment, wanted: Sequence[str]) -> bool:
    """Create `kept` from the attributes recorded at assignment, and say whether there are any."""
    files = lake.files("people", experiment=experiment.key)
    if experiment.assignment.source == "files" or not files:
        return False
    shown = ", ".join(
        f"json_extract_string(attributes, {text(_pointer(name))}) AS {quoted(name)}" for name in wanted
    )
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE kept AS SELECT id, {shown} FROM ("
        f"SELECT id, arg_min(attributes, recorded_at) AS attributes FROM {parquet(files)} "
        f"WHERE experiment = {text(experiment.key)} GROUP BY id)"
    )
    return bool(one(con, "SELECT count(*) FROM kept")[0])


def _pointer(name: str) -> str:
    """Return `name` as a JSON pointer (RFC 6901)."""
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _first_of_each(
    con: Connection,
    relation: str,
    table: FileTable,
    experiment: Experiment,
    names: Sequence[str],
    numbers: Sequence[str],
) -> int:
    shown = ", ".join(
        f"first({table.number(name) if name in numbers else table.words(name)}) AS {quoted(name)}"
        for name in names
    )
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE {relation} AS SELECT {table.id(email=experiment.identity.key == 'email')} AS id, "
        f"{shown}, count(*) AS copies FROM {table.sql} GROUP BY 1"
    )
    return int(one(con, f"SELECT coalesce(sum(copies - 1), 0) FROM {relation}")[0])


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
