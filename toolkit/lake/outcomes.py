"""From ledger, people and events (or ready outcomes) to `unit`: a row per customer."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from toolkit.design.experiment import Experiment
from toolkit.errors import DataError, NotEnoughData, SpecError
from toolkit.lake.activity import Activity, add_up, currencies_of
from toolkit.lake.engine import Engine
from toolkit.lake.events import Told, one_currency, open_events, reaching, refuse_valueless
from toolkit.lake.ledger import Ledger, open_ledger
from toolkit.lake.people import People, gather_people
from toolkit.lake.sources import FileTable, open_file
from toolkit.lake.tables import Lake
from toolkit.lake.unit import Column, Needs, needs_of

if TYPE_CHECKING:
    from toolkit.lake.keeping import Advanced

__all__ = ["STATE_FROM", "Evidence", "as_number", "gather", "has_state", "keep_state", "open_outcomes"]

STATE_FROM = 1_000_000
"""From so many events on, the next measurement keeps a state: below, reading events anew is as fast."""

NO_CONVERSION = (
    "is neither 0 nor at least 1, as a conversion's column holds (how often it was done); for other numbers use "
    "`kind: mean`"
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was read, besides the numbers themselves.

    Attributes:
        needs: the columns of `unit`.
        customers: arm → customers assigned, over the whole ledger as of then.
        active: arm → customers of whom events or outcomes say anything.
        known: arm → assigned customers who stand among the people, None where nobody asked.
        strangers: rows of outcomes of customers who are not assigned; of events where all are strangers'.
        told, activity: what the events held; None with `outcomes`.
        currency: the orders' one currency, if any names one.
        unsettled: the file whose rows are yet to be looked into, should a sum not come out as a number.
        advanced: what a kept state helped to find; None where all was read.
    """

    needs: Needs
    customers: dict[str, int]
    active: dict[str, int]
    known: dict[str, int] | None
    strangers: int
    ledger: Ledger
    people: People
    told: Told | None = None
    activity: Activity | None = None
    currency: str | None = None
    unsettled: FileTable | None = None
    advanced: Advanced | None = None


def gather(
    con: Engine,
    lake: Lake,
    experiment: Experiment,
    spec: str,
    *,
    as_of_end: datetime,
    keep: bool = False,
    now: datetime | None = None,
) -> Evidence:
    """Create `unit(arm, y…, x…, b…)` from what is known before `as_of_end`; return what was found.

    `arm` is the arm's place in the experiment file. Customers without activity are missing from `unit` where
    all that is known of them is zeros; `Evidence.customers` counts them. An attribute that is not known is
    NULL. `spec` is the experiment file's path, beside which other files are looked for. With `keep` a state is written
    for the next time, which `keep_state` puts in place. What happens after `now` and `as_of_end` is of a clock that runs
    wrong, and does not tell how far the events reach.

    Raises:
        NotEnoughData: nobody is assigned yet.
        SpecError, DataError: the experiment names what is not there, or a file cannot be used.
    """
    needs = needs_of(experiment)
    kept = None
    if has_state(lake.home, experiment.key):
        from toolkit.lake.advance import advance, kept_for

        kept = kept_for(con, lake, experiment)
    ledger = open_ledger(
        con, lake, experiment, spec, as_of_end=as_of_end, known=kept.enrolment if kept else None
    )
    if not any(ledger.customers.values()):
        raise NotEnoughData(_nobody(experiment, spec, ledger, as_of_end))
    if experiment.outcomes:
        return _from_outcomes(con, lake, experiment, spec, needs, ledger)
    people = gather_people(con, lake, experiment, spec, needs)
    known = f", {people.present} AS known" if people.present else ""
    arms = len(experiment.arms)
    attributed = bool(people.present) or not ledger.numbered
    if not attributed:
        place = con.place("line", "arm", arms)
        if ledger.file and ledger.rows * arms < 2**31:
            place = f"CAST({place} AS INTEGER)"
        roster = f"SELECT {place} AS place, id, arm, assigned FROM ledger"
        con.view("roster", roster)
    else:
        place = con.place("row_number() OVER ()", "l.arm", arms)
        own = [f"{place} AS place", "l.id", "l.arm", "l.assigned", *people.columns]
        con.table("roster", f"SELECT {', '.join(own)}{known} FROM ledger l{people.joins}")
    advanced = None
    if kept:
        advanced = advance(
            con,
            lake,
            experiment,
            spec,
            needs,
            ledger,
            kept,
            attributed=attributed,
            as_of_end=as_of_end,
            keep=keep,
            now=now,
        )
    if advanced:
        told = advanced.told
    else:
        if kept and not attributed:  # what gave up may have put its own in place
            con.view("roster", roster)
        told = open_events(con, lake, experiment, spec, needs, ledger, as_of_end=as_of_end)
    if now:
        told = reaching(con, told, max(now, as_of_end))
    refuse_valueless(con, experiment, spec, needs, told)
    currency = None
    if "amount" in needs.values:
        several = len(told.currencies) > 1
        counts = currencies_of(con, experiment, told) if several else None
        currency = one_currency(experiment, spec, counts, told.currencies)
    activity = advanced.activity if advanced else add_up(con, experiment, needs, told, ledger)
    if not advanced:
        con.view("buyers", "SELECT place, id, arm, assigned FROM roster")
        if activity.corrected:
            con.view("placed_corrections", "SELECT * FROM corrections")
    numbers, arm = [as_number(each) for each in needs.counted], con.arm_of("place", arms)
    if people.columns:
        own = [each.rpartition(" AS ")[2] for each in people.columns]
        con.table(
            "unit",
            f"SELECT {', '.join(['roster.arm', *numbers, *own])} FROM roster "
            "LEFT JOIN active ON roster.place = active.place",
        )
    else:
        con.view("unit", f"SELECT {', '.join([f'{arm} AS arm', *numbers])} FROM active")
    active = _by_arm(con, experiment, f"(SELECT {arm} AS arm FROM active)")
    return Evidence(
        needs,
        ledger.customers,
        active,
        _by_arm(con, experiment, "roster WHERE known") if people.present else None,
        0 if any(active.values()) else activity.read,
        ledger,
        people,
        told,
        activity,
        currency,
        told.unsettled,
        advanced,
    )


def has_state(home: str, experiment: str) -> bool:
    """Return whether anything was kept beside the lake for the next measurement of an experiment."""
    return os.path.isdir(os.path.join(home, "state", experiment))  # noqa: PTH112, PTH118 (a Path costs more)


def keep_state(lake: Lake, experiment: Experiment, evidence: Evidence) -> None:
    """Keep, after a measurement, what makes the next one fast; only where there are many events."""
    if evidence.advanced:
        evidence.advanced.keep()
    elif evidence.activity and evidence.activity.read >= STATE_FROM:
        from toolkit.lake.advance import remember

        remember(lake, experiment, evidence.activity)


def _from_outcomes(
    con: Engine, lake: Lake, experiment: Experiment, spec: str, needs: Needs, ledger: Ledger
) -> Evidence:
    table, identifier, numbers = open_outcomes(con, experiment, spec, needs)
    shown = [f"CAST({number} AS DOUBLE) AS {name}" for name, number in numbers.items()]
    if ledger.file is not None and ledger.file.sql == table.sql and not (ledger.outside or ledger.later):
        people = gather_people(con, lake, experiment, spec, needs, same_rows=table)
        if not people.joins:  # one file says it all: nothing to join
            arm = f"{con.code(table.key('arm'), list(experiment.arms))} AS arm"
            con.view("unit", f"SELECT {', '.join([arm, *shown, *people.columns])} FROM {table.sql}")
            everyone = ledger.customers
            known = everyone if people.present else None
            return Evidence(needs, everyone, everyone, known, 0, ledger, people, unsettled=table)
    table.refuse(f"coalesce({identifier}, '') = ''", "id", "is empty; every row needs a customer")
    (rows,) = table.settle("count(*)")
    _refuse_doubles(con, table, identifier, rows)
    people = gather_people(con, lake, experiment, spec, needs)
    con.view("active", f"SELECT {', '.join([f'{identifier} AS id', *shown])} FROM {table.sql}")
    among = [f"({people.present}) AS known"] if people.present else []
    names = [f"coalesce(active.{name}, 0) AS {name}" for name in numbers]
    join = "LEFT JOIN" if people.columns else "JOIN"
    con.table(
        "unit",
        f"SELECT {', '.join(['l.arm', 'active.id IS NOT NULL AS told', *names, *people.columns, *among])} "
        f"FROM ledger l {join} active ON active.id = l.id{people.joins}",
    )
    active = _by_arm(con, experiment, "unit WHERE told")
    return Evidence(
        needs,
        ledger.customers,
        active,
        _by_arm(con, experiment, "unit WHERE known") if people.present else None,
        int(rows) - sum(active.values()),
        ledger,
        people,
    )


def as_number(column: Column) -> str:
    """Return the expression of a column of `active` as a number, zero where a customer did nothing."""
    if column.term and column.term.how == "any":
        return f"CASE WHEN active.{column.name} > 0 THEN 1e0 ELSE 0e0 END AS {column.name}"
    return f"coalesce(CAST(active.{column.name} AS DOUBLE), 0e0) AS {column.name}"


def _by_arm(con: Engine, experiment: Experiment, relation: str) -> dict[str, int]:
    counted = dict(con.rows(f"SELECT arm, count(*) FROM {relation} GROUP BY arm"))
    return {arm: int(counted.get(at, 0)) for at, arm in enumerate(experiment.arms)}


def _nobody(experiment: Experiment, spec: str, ledger: Ledger, as_of_end: datetime) -> str:
    if ledger.outside or ledger.later:
        return (
            f"{spec}: nobody to measure: {ledger.outside:,} assignments lie outside start {experiment.start} and "
            f"end {experiment.end}, and {ledger.later:,} come after the readout's date"
        )
    if experiment.assignment.source == "files":
        return f"{spec}: nobody to measure: {experiment.assignment.file} holds no assignment"
    said = f"{spec}: nobody is assigned before {as_of_end:%Y-%m-%d %H:%M} UTC"
    if as_of_end <= experiment.ends_at:
        return f"{said}; run `lift assign {spec}` first"
    return (
        f"{said}; `lift assign {spec}` draws arms until enrolment ends on {experiment.end}. If that is over, set a later "
        "`end`, or name the file that says who was in which arm: `assignment: {source: files, path: …}`"
    )


def open_outcomes(
    con: Engine, experiment: Experiment, spec: str, needs: Needs
) -> tuple[FileTable, str, dict[str, str]]:
    """Return the table of outcomes, the expression of its id, and column of `unit` → expression.

    Raises:
        SpecError: a metric names a column that is not there.
        DataError: the file cannot be used.
    """
    if experiment.outcomes is None:
        raise AssertionError
    path = experiment.file_beside(spec, experiment.outcomes.file)
    table = open_file(con, path, what="`outcomes` names it as the table of outcomes")
    identifier = table.identity(experiment.identity.key)
    for at, metric in enumerate(experiment.metrics):
        for term in metric.terms:
            if term.column not in table.columns:
                raise SpecError(
                    f"{spec}: metrics[{at}] ({metric.name}): {term.column!r} is no column of {path}; "
                    f"it has {', '.join(table.columns)}"
                )
    numbers = {}
    for each in needs.counted:
        if each.term is None or each.term.column is None:
            raise AssertionError(each)
        value = table.number(
            each.term.column, empty_is_error="is empty; write 0 where a customer did nothing"
        )
        if each.term.how == "any":
            done = f"{value} BETWEEN 1 AND 1e300"
            table.refuse(f"NOT ({value} = 0 OR {done})", each.term.column, NO_CONVERSION)
            # whatever else would come out as no number, which is looked into without a pass of its own
            value = f"CASE WHEN {value} = 0 THEN 0e0 WHEN {done} THEN 1e0 ELSE CAST('NaN' AS DOUBLE) END"
        numbers[each.name] = value
    return table, identifier, numbers


def _refuse_doubles(con: Engine, table: FileTable, identifier: str, rows: int) -> None:
    signs = f"SELECT {con.sign(identifier)} AS sign FROM {table.sql}"
    if not con.repeated("outcome_repeats", signs, at_most=rows)[0]:
        return
    doubled = con.rows(
        f"SELECT id, count(*) FROM (SELECT {identifier} AS id FROM {table.sql}) "
        f"WHERE {con.sign('id')} IN (SELECT sign FROM outcome_repeats) "
        "GROUP BY id HAVING count(*) > 1 ORDER BY 2 DESC, 1 LIMIT 4"
    )
    if doubled:
        shown = ", ".join(f"{name!r} ({times} times)" for name, times in doubled[:3])
        more = " and more" if len(doubled) > 3 else ""
        raise DataError(
            f"{table.path}: a customer must stand in one row, but there are {shown}{more}; add them up before"
        )
