"""Events: from the lake or a file to what happened to assigned customers, once each and net of refunds."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from toolkit.design.experiment import Experiment
from toolkit.errors import DataError, SpecError
from toolkit.lake.engine import Connection, instant, instants, one, parquet, quoted, text, texts
from toolkit.lake.intake import complete_through, wanted_events
from toolkit.lake.sources import FileTable, open_file
from toolkit.lake.tables import Lake
from toolkit.lake.unit import Column, Needs

__all__ = ["Events", "activity", "gather_events"]


@dataclass(frozen=True, slots=True)
class Events:
    """What the events held, for checks.

    Attributes:
        through: the latest instant that the events are known to reach, or None if there are none.
        seen: events of the metrics' kinds by assigned customers, before anything is dropped.
        repeated_orders: orders that stood there more than once.
        without_amount: orders without an amount; they count as orders and add nothing to revenue.
        unmatched_refunds: refunds of orders that are not there.
        strangers: events of the metrics' kinds, in the span looked at, by customers not assigned.
        absent: metric events of which there is none at all.
        currency: the one currency, if any event names one.
        version: the lake's version read, None for files.
    """

    through: datetime | None
    seen: int
    repeated_orders: int
    without_amount: int
    unmatched_refunds: int
    strangers: int
    absent: tuple[str, ...]
    currency: str | None
    version: int | None


def gather_events(
    con: Connection, lake: Lake, experiment: Experiment, spec: str, needs: Needs, *, as_of_end: datetime
) -> Events:
    """Create `happened(id, assigned_at, happened_at, name, v_…)`: what assigned customers did, in the span that counts.

    Orders stand once (the earliest of those with one order id) and net of their refunds known by then.
    A refund that names no order counts when it came. Needs `ledger`.

    Raises:
        DataError: the events cannot be used, or are in several currencies.
        SpecError: a metric is on an event, or a value, that is not there.
    """
    if experiment.events is None:
        raise AssertionError("outcomes have no events")
    if experiment.events.source == "files":
        path = experiment.file_beside(spec, experiment.events.file)
        table = open_file(con, path, what="`events` names it as the events (id, name, timestamp, …)")
        rows, version, through = _from_file(experiment, table, needs), None, None
    else:
        rows, version, through = _from_lake(con, lake, experiment, spec, needs)
    con.execute(f"CREATE OR REPLACE TEMP VIEW told AS {rows}")
    span = _span(needs, as_of_end)
    order, refund = experiment.events.order.name, experiment.events.refund.name
    wanted = {each.term.event or "" for each in needs.counted if each.term}
    summed = any(_nets_refunds(experiment, each) for each in needs.counted)
    kinds = sorted(wanted | ({refund} if summed else set()))
    con.execute(
        "CREATE OR REPLACE TEMP TABLE picked AS SELECT told.*, ledger.assigned_at "
        f"FROM told JOIN ledger USING (id) WHERE name IN ({texts(kinds)}) AND {span}"
    )
    seen = one(con, "SELECT count(*) FROM picked")[0]
    strangers = one(
        con,
        f"SELECT count(*) FROM told ANTI JOIN ledger USING (id) WHERE name IN ({texts(sorted(wanted))}) AND {span}",
    )[0]
    absent = _absent(con, experiment, spec, wanted)
    repeated = _drop_repeats(con, order)
    currency = _one_currency(con, experiment, spec, order) if summed else None
    values = _values(needs)
    unmatched = _net(con, order, refund, values) if summed else _copy(con, values)
    without = (
        one(con, f"SELECT count(*) FROM once WHERE name = {text(order)} AND v_amount IS NULL")[0]
        if "amount" in values
        else 0
    )
    if through is None:
        through = instants(con, "max(happened_at)", of="told")[0]
    return Events(through, seen, repeated, without, unmatched, strangers, absent, currency, version)


def activity(experiment: Experiment, needs: Needs) -> str:
    """Return the query of every counted column by customer, over `happened`."""
    return f"SELECT id, {', '.join(_number(experiment, each) for each in needs.counted)} FROM happened GROUP BY id"


def _number(experiment: Experiment, column: Column) -> str:
    term = column.term
    if term is None:
        raise AssertionError(column)
    named = f"name = {text(term.event or '')}"
    if column.lookback:
        back = round(column.lookback.total_seconds())
        when = f"happened_at < assigned_at AND happened_at >= assigned_at - INTERVAL {back} SECONDS"
    elif column.window:
        ahead = round(column.window.total_seconds())
        when = f"happened_at >= assigned_at AND happened_at < assigned_at + INTERVAL {ahead} SECONDS"
    else:
        when = "happened_at >= assigned_at"
    if term.how == "any":
        return f"CAST(bool_or({named} AND {when}) AS INTEGER) AS {column.name}"
    if term.how == "count":
        return f"count(*) FILTER ({named} AND {when}) AS {column.name}"
    if _nets_refunds(experiment, column) and experiment.events:
        named = f"name IN ({texts((term.event or '', experiment.events.refund.name))})"
    return f"sum({quoted('v_' + (term.value or ''))}) FILTER ({named} AND {when}) AS {column.name}"


def _nets_refunds(experiment: Experiment, column: Column) -> bool:
    term = column.term
    return bool(
        term
        and experiment.events
        and term.how == "sum"
        and term.event == experiment.events.order.name
        and term.value == "amount"
    )


def _values(needs: Needs) -> list[str]:
    return sorted({each.term.value for each in needs.counted if each.term and each.term.value})


def _span(needs: Needs, as_of_end: datetime) -> str:
    back = round(needs.reach_back.total_seconds())
    return f"happened_at >= (SELECT min(assigned_at) FROM ledger) - INTERVAL {back} SECONDS AND happened_at < {instant(as_of_end)}"


def _from_file(experiment: Experiment, table: FileTable, needs: Needs) -> str:
    """Return the query of a file's events in canonical columns."""
    events = experiment.events
    if events is None:
        raise AssertionError
    table.need("id", "name", "timestamp")
    amounts = {
        name: next((each for each in (wanted, "amount") if each in table.columns), None)
        for name, wanted in (("order", events.order.amount), ("refund", events.refund.amount))
    }
    order_id = next((each for each in (events.order.id, "order_id") if each in table.columns), None)
    currency = next((each for each in (events.order.currency, "currency") if each in table.columns), None)
    values = []
    for value in _values(needs):
        if value == "amount":
            if amounts["order"] is None:
                raise DataError(
                    f"{table.path}: no column `{events.order.amount}` for the metrics' `value: amount`; "
                    f"it has {', '.join(table.columns)}"
                )
            expression = table.number(amounts["order"])
            if amounts["refund"] and amounts["refund"] != amounts["order"]:
                expression = (
                    f"CASE WHEN name = {text(events.refund.name)} THEN {table.number(amounts['refund'])} "
                    f"ELSE {expression} END"
                )
        elif value in table.columns:
            expression = table.number(value)
        else:
            raise DataError(
                f"{table.path}: no column `{value}` for the metrics' `value: {value}`; "
                f"it has {', '.join(table.columns)}"
            )
        values.append(f"{expression} AS {quoted('v_' + value)}")
    return (
        ", ".join(
            [
                f"SELECT {table.id(email=experiment.identity.key == 'email')} AS id",
                f"{table.words('name')} AS name",
                f"{table.instant('timestamp', events.timezone)} AS happened_at",
                f"{table.id('event_id') if 'event_id' in table.columns else 'NULL::VARCHAR'} AS event_id",
                f"{table.words(order_id) if order_id else 'NULL::VARCHAR'} AS order_id",
                f"{f'upper({table.words(currency)})' if currency else 'NULL::VARCHAR'} AS currency",
                *values,
            ]
        )
        + f" FROM {table.sql}"
    )


def _from_lake(
    con: Connection, lake: Lake, experiment: Experiment, spec: str, needs: Needs
) -> tuple[str, int | None, datetime | None]:
    """Return the query of the lake's events, their version, and how far a finished pull reached."""
    files = lake.files("events")
    if not files:
        raise DataError(f"{lake.uri('events')}: no events yet; run `lift pull {spec}` first")
    source = parquet(files)
    columns = {str(row[0]): str(row[1]) for row in con.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}
    table = FileTable(con, lake.uri("events"), source, columns, csv=False)
    table.need("id", "name", "timestamp")
    values = []
    for value in _values(needs):
        if value not in table.columns and "properties" in table.columns:
            expression = f"TRY_CAST(json_extract_string(properties, {text('/' + value)}) AS DOUBLE)"
        else:
            expression = table.number(value)
        values.append(f"{expression} AS {quoted('v_' + value)}")
    optional = {
        "event_id": "CAST(event_id AS VARCHAR)",
        "order_id": "CAST(order_id AS VARCHAR)",
        "currency": "upper(currency)",
    }
    shown = [
        f"{expression if name in columns else 'NULL::VARCHAR'} AS {name}"
        for name, expression in optional.items()
    ]
    key = f"customerio:{experiment.identity.key}"
    mine = f" WHERE source IS NULL OR source = {text(key)}" if "source" in columns else ""
    rows = (
        f"SELECT CAST(id AS VARCHAR) AS id, name, CAST(timestamp AS TIMESTAMPTZ) AS happened_at, "
        f"{', '.join([*shown, *values])} FROM {source}{mine}"
    )
    return rows, lake.version("events"), complete_through(lake, key, wanted_events(experiment))


def _absent(con: Connection, experiment: Experiment, spec: str, wanted: set[str]) -> tuple[str, ...]:
    """Return the metrics' events that never occur; raise where that can only be a mistake."""
    here = {name for (name,) in con.execute("SELECT DISTINCT name FROM picked").fetchall()}
    absent = sorted(wanted - here)
    if not absent:
        return ()
    everywhere = {name for (name,) in con.execute("SELECT DISTINCT name FROM told").fetchall() if name}
    for at, metric in enumerate(experiment.metrics):
        for term in metric.terms:
            if term.event not in absent or term.event in everywhere:
                continue
            close = difflib.get_close_matches(term.event or "", everywhere, n=1, cutoff=0.75)
            declared = experiment.events and term.event in {
                experiment.events.order.name,
                experiment.events.refund.name,
            }
            if close or not (metric.role == "guardrail" or declared):
                hint = (
                    f"did you mean {close[0]!r}?"
                    if close
                    else f"there are {', '.join(sorted(everywhere)[:12])}"
                )
                raise SpecError(
                    f"{spec}: metrics[{at}] ({metric.name}): no event is named {term.event!r}; {hint}"
                )
    return tuple(name for name in absent if name not in everywhere)


def _drop_repeats(con: Connection, order: str) -> int:
    """Create `once` from `picked`: one row per event id, and per order id among orders; the earliest stays."""
    con.execute(
        "CREATE OR REPLACE TEMP TABLE once AS SELECT * FROM picked "
        "QUALIFY event_id IS NULL OR row_number() OVER (PARTITION BY event_id ORDER BY happened_at, id) = 1"
    )
    before = one(con, f"SELECT count(*) FROM once WHERE name = {text(order)} AND order_id IS NOT NULL")[0]
    distinct = one(con, f"SELECT count(DISTINCT order_id) FROM once WHERE name = {text(order)}")[0]
    if before > distinct:
        con.execute(
            "CREATE OR REPLACE TEMP TABLE once AS SELECT * FROM once "
            f"QUALIFY name <> {text(order)} OR order_id IS NULL "
            "OR row_number() OVER (PARTITION BY name, order_id ORDER BY happened_at, event_id, id) = 1"
        )
    return int(before - distinct)


def _one_currency(con: Connection, experiment: Experiment, spec: str, order: str) -> str | None:
    found = con.execute(
        f"SELECT currency, count(*) FROM once WHERE name = {text(order)} AND currency IS NOT NULL "
        "GROUP BY currency ORDER BY 2 DESC"
    ).fetchall()
    stated = experiment.value.currency.upper() if experiment.value else None
    if len(found) > 1:
        counts = ", ".join(f"{rows:,} in {currency}" for currency, rows in found)
        raise DataError(
            f"{spec}: events: orders are in {len(found)} currencies ({counts}), which cannot be added up; "
            "convert them to one before, or measure one market at a time"
        )
    if found and stated and found[0][0] != stated:
        raise DataError(
            f"{spec}: value.currency is {stated}, but orders are in {found[0][0]}; state the orders' currency"
        )
    return found[0][0] if found else None


def _net(con: Connection, order: str, refund: str, values: Sequence[str]) -> int:
    """Create `happened` from `once`, orders net of their refunds; return how many refunds match no order.

    An order before assignment is net only of refunds before assignment: a covariate knows nothing later.
    """
    others = "".join(f", o.{quoted('v_' + value)}" for value in values if value != "amount")
    con.execute(
        "CREATE OR REPLACE TEMP TABLE happened AS WITH refunds AS ("
        "SELECT order_id, sum(v_amount) AS always, sum(v_amount) FILTER (happened_at < assigned_at) AS early FROM once "
        f"WHERE name = {text(refund)} AND order_id IS NOT NULL GROUP BY order_id) "
        "SELECT o.id, o.assigned_at, o.happened_at, o.name, "
        f"CASE WHEN o.name = {text(refund)} THEN -o.v_amount ELSE o.v_amount "
        "- coalesce(CASE WHEN o.happened_at < o.assigned_at THEN r.early ELSE r.always END, 0) END AS v_amount"
        f"{others} FROM once o LEFT JOIN refunds r ON o.name = {text(order)} AND o.order_id = r.order_id "
        f"WHERE o.name <> {text(refund)} OR o.order_id IS NULL"
    )
    return int(
        one(
            con,
            f"SELECT count(*) FROM once f WHERE f.name = {text(refund)} AND f.order_id IS NOT NULL AND NOT EXISTS "
            f"(SELECT 1 FROM once o WHERE o.name = {text(order)} AND o.order_id = f.order_id)",
        )[0]
    )


def _copy(con: Connection, values: Sequence[str]) -> int:
    shown = ", ".join(
        ["id", "assigned_at", "happened_at", "name", *(quoted("v_" + value) for value in values)]
    )
    con.execute(f"CREATE OR REPLACE TEMP VIEW happened AS SELECT {shown} FROM once")
    return 0
