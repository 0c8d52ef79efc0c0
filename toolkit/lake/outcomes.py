"""From ledger, people and events (or ready outcomes) to `unit`: a row per customer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from toolkit.design.experiment import Experiment
from toolkit.errors import DataError, NotEnoughData, SpecError
from toolkit.lake.engine import Connection, one, text
from toolkit.lake.events import Events, activity, gather_events
from toolkit.lake.ledger import Ledger, open_ledger
from toolkit.lake.people import People, gather_people
from toolkit.lake.sources import open_file
from toolkit.lake.tables import Lake
from toolkit.lake.unit import Needs, needs_of

__all__ = ["Evidence", "gather"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was read, besides the numbers themselves.

    Attributes:
        needs: the columns of `unit`.
        customers: arm → customers assigned, over the whole ledger as of then.
        active: arm → customers of whom events or outcomes say anything.
        strangers: rows of outcomes, or events, of customers who are not assigned.
        events: None with `outcomes`.
    """

    needs: Needs
    customers: dict[str, int]
    active: dict[str, int]
    strangers: int
    ledger: Ledger
    people: People
    events: Events | None


def gather(
    con: Connection, lake: Lake, experiment: Experiment, spec: str, *, as_of_end: datetime
) -> Evidence:
    """Create `unit(arm, y…, x…, b…)` from what is known before `as_of_end`; return what was found.

    `arm` is the arm's place in the experiment file. Customers without activity are missing from `unit` where
    all that is known of them is zeros; `Evidence.customers` counts them. `spec` is the experiment file's path,
    beside which other files are looked for.

    Raises:
        NotEnoughData: nobody is assigned yet.
        SpecError, DataError: the experiment names what is not there, or a file cannot be used.
    """
    needs = needs_of(experiment)
    ledger = open_ledger(con, lake, experiment, spec, as_of_end=as_of_end)
    customers = _by_arm(con, experiment, "ledger")
    if not any(customers.values()):
        raise NotEnoughData(_nobody(experiment, spec, ledger, as_of_end))
    people = gather_people(con, lake, experiment, spec, needs)
    if experiment.outcomes:
        events = None
        con.execute(f"CREATE OR REPLACE TEMP VIEW active AS {_outcomes(con, experiment, spec, needs)}")
        strangers = int(one(con, "SELECT count(*) FROM active ANTI JOIN ledger USING (id)")[0])
    else:
        events = gather_events(con, lake, experiment, spec, needs, as_of_end=as_of_end)
        con.execute(f"CREATE OR REPLACE TEMP TABLE active AS {activity(experiment, needs)}")
        strangers = events.strangers
    places = " ".join(f"WHEN {text(arm)} THEN {at}" for at, arm in enumerate(experiment.arms))
    shown = [
        f"CAST(CASE ledger.arm {places} END AS SMALLINT) AS arm",
        *(f"coalesce(CAST(active.{each.name} AS DOUBLE), 0) AS {each.name}" for each in needs.counted),
        *people.columns,
    ]
    joins = (
        "LEFT JOIN active USING (id) LEFT JOIN people p USING (id)"
        if people.columns
        else "JOIN active USING (id)"
    )
    con.execute(f"CREATE OR REPLACE TEMP TABLE unit AS SELECT {', '.join(shown)} FROM ledger {joins}")
    needs = _mark_missing(con, needs)
    active = _by_arm(con, experiment, "ledger SEMI JOIN active USING (id)")
    return Evidence(needs, customers, active, strangers, ledger, people, events)


def _by_arm(con: Connection, experiment: Experiment, relation: str) -> dict[str, int]:
    counted = dict(con.execute(f"SELECT arm, count(*) FROM {relation} GROUP BY arm").fetchall())
    return {arm: int(counted.get(arm, 0)) for arm in experiment.arms}


def _nobody(experiment: Experiment, spec: str, ledger: Ledger, as_of_end: datetime) -> str:
    if ledger.outside or ledger.later:
        return (
            f"{spec}: nobody to measure: {ledger.outside:,} assignments lie outside start {experiment.start} and "
            f"end {experiment.end}, and {ledger.later:,} come after the readout's date"
        )
    if experiment.assignment.source == "files":
        return f"{spec}: nobody to measure: {experiment.assignment.file} holds no assignment"
    return f"{spec}: nobody is assigned before {as_of_end:%Y-%m-%d %H:%M} UTC; run `lift assign {spec}` first"


def _outcomes(con: Connection, experiment: Experiment, spec: str, needs: Needs) -> str:
    """Return the query of the outcome columns by customer."""
    if experiment.outcomes is None:
        raise AssertionError
    path = experiment.file_beside(spec, experiment.outcomes.file)
    table = open_file(con, path, what="`outcomes` names it as the table of outcomes")
    identifier = table.id(email=experiment.identity.key == "email")
    for at, metric in enumerate(experiment.metrics):
        for term in metric.terms:
            if term.column not in table.columns:
                raise SpecError(
                    f"{spec}: metrics[{at}] ({metric.name}): {term.column!r} is no column of {path}; "
                    f"it has {', '.join(table.columns)}"
                )
    table.refuse(f"coalesce({identifier}, '') = ''", "id", "is empty; every row needs a customer")
    doubled = con.execute(
        f"SELECT {identifier} AS id, count(*) FROM {table.sql} GROUP BY 1 HAVING count(*) > 1 ORDER BY 2 DESC, 1 LIMIT 4"
    ).fetchall()
    if doubled:
        shown = ", ".join(f"{name!r} ({times} times)" for name, times in doubled[:3])
        more = " and more" if len(doubled) > 3 else ""
        raise DataError(
            f"{path}: a customer must stand in one row, but there are {shown}{more}; add them up before"
        )
    numbers = []
    for each in needs.counted:
        if each.term is None or each.term.column is None:
            raise AssertionError(each)
        value = table.number(
            each.term.column, empty_is_error="is empty; write 0 where a customer did nothing"
        )
        shown = f"CAST(({value}) <> 0 AS INTEGER)" if each.term.how == "any" else value
        numbers.append(f"{shown} AS {each.name}")
    return f"SELECT {identifier} AS id, {', '.join(numbers)} FROM {table.sql}"


def _mark_missing(con: Connection, needs: Needs) -> Needs:
    """Put zero where an attribute is not known, and a column that says so beside it.

    With that indicator among the covariates, the number put in does not matter.
    """
    if not needs.attributes:
        return needs
    counts = ", ".join(f"count(*) - count({each.name})" for each in needs.attributes)
    missing = one(con, f"SELECT {counts} FROM unit")
    unknown = [each.name for each, rows in zip(needs.attributes, missing, strict=True) if rows]
    for name in unknown:
        con.execute(f"ALTER TABLE unit ADD COLUMN {name}_missing DOUBLE")
        con.execute(
            f"UPDATE unit SET {name}_missing = CAST({name} IS NULL AS DOUBLE), {name} = coalesce({name}, 0)"
        )
    return needs.with_missing(unknown)
