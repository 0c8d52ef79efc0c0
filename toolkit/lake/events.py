"""Events as they were told: from the lake or a file to canonical columns, and what they hold by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from toolkit.design.experiment import Experiment
from toolkit.errors import DataError, SpecError
from toolkit.lake.engine import Engine, at_micros, instant, instant_of, micros_of, quoted, text, texts
from toolkit.lake.intake import (
    amount_in,
    complete_through,
    counted_events,
    kept_as,
    never_complete,
    wanted_events,
)
from toolkit.lake.ledger import Ledger
from toolkit.lake.pointers import pointers_to
from toolkit.lake.sources import FileTable, open_file
from toolkit.lake.tables import Lake
from toolkit.lake.unit import Needs

__all__ = [
    "InLake",
    "Told",
    "besides",
    "events_of_lake",
    "one_currency",
    "open_events",
    "reaching",
    "refuse_valueless",
    "span_of",
    "told_of",
    "with_lines",
]

CURRENCY = "nullif(upper(currency), '')"
"""An event's currency; empty is none."""
MANY = 2_000_000
"""From so many events on, a query per question is faster than one for all."""


@dataclass(frozen=True, slots=True)
class Told:
    """The events as they stand, before anybody's are counted.

    The view `told` has id, name, happened (microseconds since 1970), event_id, order_id, currency, v_….

    Attributes:
        span: the condition on `told` that an event is in the span looked at.
        kinds: the names of events that are counted, the metrics' own first, then refunds if any are there.
        wanted: the metrics' own names.
        in_span: name → events in the span.
        refunds: whether orders have to be netted.
        without_amount: whether there is an order without an amount.
        currencies: currencies of the orders in the span, and of refunds; two stand for many.
        through: the latest instant that the events are known to reach, or None if there are none.
        unfinished: events that no pull has brought whole yet, while others were: a part is here, or none.
        absent: metric events of which there is none at all.
        version: the lake's version read, None for files.
        source: under what name pulls keep them in the lake, None for files.
        unsettled: the table whose rows are yet to be looked into, should a sum not come out as a number.
        numbered: what stands before and after a condition on `file_row_number` in the query of those rows of `told` for
            which it holds; None where rows have no numbers.
        files: how many files they stand in.
    """

    span: str
    kinds: tuple[str, ...]
    wanted: tuple[str, ...]
    in_span: dict[str, int]
    refunds: bool
    without_amount: bool
    currencies: tuple[str, ...]
    through: datetime | None
    absent: tuple[str, ...]
    version: int | None
    source: str | None = None
    unfinished: tuple[str, ...] = ()
    unsettled: FileTable | None = None
    numbered: tuple[str, str] | None = None
    files: int = 1

    def between(self, since: int | None, until: int | None) -> str:
        """Return the condition that an event in the span happened from `since` until before `until` (microseconds).

        On the table's own column where the span is: then whole parts of files are passed over.
        """
        own = self.span.startswith("ts ")
        name = "ts" if own else "happened"
        parts = [self.span]
        for sign, at in ((">=", since), ("<", until)):
            if at is not None:
                parts.append(f"{name} {sign} {instant_of(at) if own else at}")
        return " AND ".join(parts)


@dataclass(frozen=True, slots=True)
class InLake:
    """The lake's table of events, as `told` shows it.

    Attributes:
        table: the files.
        shown: the columns of `told`.
        where: the rows that are this experiment's, as a clause of WHERE; may be empty.
        version: the lake's version read, None where it is a warehouse's own table.
        source: under what name pulls keep them.
        through: up to when finished pulls have brought events of all names; None where one name never was.
        unfinished: names that no pull has brought whole yet, while others were.
    """

    table: FileTable
    shown: tuple[str, ...]
    where: str
    version: int | None
    source: str
    through: datetime | None
    unfinished: tuple[str, ...]


def open_events(
    con: Engine,
    lake: Lake,
    experiment: Experiment,
    spec: str,
    needs: Needs,
    ledger: Ledger,
    *,
    as_of_end: datetime,
) -> Told:
    """Create the view `told` and look through it once.

    Raises:
        DataError: the events cannot be used.
        SpecError: a metric is on an event, or a value, that is not there.
    """
    if experiment.events is None or ledger.first_at is None:
        raise AssertionError("outcomes have no events")
    if experiment.events.source == "files":
        path = experiment.file_beside(spec, experiment.events.file)
        table = open_file(con, path, what="`events` names it as the events (id, name, timestamp, …)")
        kept, shown, where = None, _from_file(experiment, table, needs), ""
    else:
        kept = events_of_lake(con, lake, experiment, spec, needs)
        table, shown, where = kept.table, list(kept.shown), kept.where
    con.view("told", f"SELECT {', '.join(shown)} FROM {table.sql}{where}")
    span = span_of(table, ledger.first_at - needs.looked_back, as_of_end)
    by_name = _profile(con, experiment, needs, table, shown, span, where)
    unsettled = table if table.doubts else None
    told = told_of(experiment, spec, needs, by_name, span, kept, unsettled)
    return with_lines(con, told, table, shown, where)


def reaching(con: Engine, told: Told, latest: datetime) -> Told:
    """Return `told` with how far its events reach, but for those later than `latest`; needs the view `told`."""
    if told.through is None or told.through <= latest:
        return told
    reached = con.one(f"SELECT max(happened) FROM told WHERE happened <= {micros_of(latest)}")[0]
    return replace(told, through=at_micros(reached))


def refuse_valueless(con: Engine, experiment: Experiment, spec: str, needs: Needs, told: Told) -> None:
    """Refuse a metric on a number that none of its events has: as a sum it would be zero.

    Guardrails may be on what has not happened yet. Needs the view `told`.

    Raises:
        SpecError: there is such a metric.
    """
    lacking: dict[tuple[str, str], bool] = {}
    for at, metric in enumerate(experiment.metrics):
        for term in metric.terms:
            event, value = term.event or "", term.value
            if value not in needs.values or metric.role == "guardrail" or not told.in_span.get(event):
                continue
            if value == "amount" and not told.without_amount:
                continue
            if (event, value) not in lacking:
                any_has = f"WHERE {among([event])} AND {told.span} AND {quoted('v_' + value)} IS NOT NULL"
                lacking[event, value] = not con.rows(f"SELECT 1 FROM told {any_has} LIMIT 1")
            if lacking[event, value]:
                raise SpecError(
                    f"{spec}: metrics[{at}] ({metric.name}): none of the {told.in_span[event]:,} events named "
                    f"{event!r} has a number as `{value}`; name the property that has it, in the metric or, of an "
                    "order's amount, in `events.order.amount`"
                )


def besides(where: str) -> str:
    """Return the condition of a WHERE clause, which may be empty, as one more condition."""
    return f" AND ({where.removeprefix(' WHERE ')})" if where else ""


def with_lines(con: Engine, told: Told, table: FileTable, shown: Sequence[str], where: str) -> Told:
    """Return `told` with the query of its rows by their numbers, where the engine and the files have them."""
    numbered = table.numbered_by_file if con.dialect == "duckdb" else None
    if numbered is None:
        return told
    return replace(
        told,
        numbered=(f"SELECT {', '.join(shown)} FROM {numbered} WHERE ", besides(where)),
        files=1 + table.sql.count("', '"),
    )


def told_of(
    experiment: Experiment,
    spec: str,
    needs: Needs,
    by_name: Mapping[str, tuple[Any, ...]],
    span: str,
    kept: InLake | None,
    unsettled: FileTable | None,
) -> Told:
    """Return what the events hold, from their profile `by_name`; `kept` tells of the lake's, None of files.

    The profile is name → events in the span, the latest of all (microseconds), two currencies in the span, events
    there without amount.

    Raises:
        SpecError: a metric is on an event that is not there.
    """
    if experiment.events is None:
        raise AssertionError
    order, refund = experiment.events.order.name, experiment.events.refund.name
    wanted = sorted({each.term.event or "" for each in needs.counted if each.term})
    summed = nets_refunds(experiment, needs)
    in_span = {name: row[0] for name, row in by_name.items() if row[0]}
    kinds = [*wanted, *([refund] if summed and refund in in_span and refund not in wanted else [])]
    reached = max((row[1] for row in by_name.values()), default=None)
    orders = by_name.get(order)
    money = [by_name[name] for name in ([order, refund] if summed else [order]) if name in by_name]
    currencies = sorted({each for row in money for each in row[2:4] if each})
    return Told(
        span,
        tuple(kinds),
        tuple(wanted),
        in_span,
        summed and refund in in_span,
        bool(orders and orders[4]),
        tuple(currencies),
        kept.through if kept and (kept.through or kept.unfinished) else at_micros(reached),
        _absent(experiment, spec, wanted, set(in_span), set(by_name)),
        kept.version if kept else None,
        kept.source if kept else None,
        kept.unfinished if kept else (),
        unsettled,
    )


def _profile(
    con: Engine,
    experiment: Experiment,
    needs: Needs,
    table: FileTable,
    shown: Sequence[str],
    span: str,
    where: str,
) -> dict[str, tuple[Any, ...]]:
    """Return name → events in the span, the latest of all, two currencies in the span, any without amount.

    Few events are looked through in one query. Of many, each column is read for what its own statistics do
    not tell, and values that are no finite numbers show in the sums.
    """
    if experiment.events is None:
        raise AssertionError
    order, amounts = experiment.events.order.name, "amount" in needs.values
    money = [order, *([experiment.events.refund.name] if nets_refunds(experiment, needs) else [])]
    if table.csv or not (con.dialect == "duckdb" and con.one(f"SELECT count(*) FROM {table.sql}")[0] > MANY):
        missing = f"count(*) FILTER (WHERE {span} AND v_amount IS NULL)" if amounts else "0"
        found = table.settle_by(
            shown, "name", f"count(*) FILTER (WHERE {span})", "max(happened)",
            f"min({CURRENCY}) FILTER (WHERE {span})", f"max({CURRENCY}) FILTER (WHERE {span})", missing,
            where=where,
        )  # fmt: skip
        return {str(row[0]): row[1:] for row in found if row[0]}
    table.settle_empty()
    latest: dict[str, int] = {}
    counts: dict[str, int] = {}
    for name, at, inside in con.rows(
        f"SELECT name, max(happened), count(*) FILTER (WHERE {span}) FROM told GROUP BY name"
    ):
        latest[name], counts[name] = at, inside
    orders, of_money = (f"FROM told WHERE {among(names)} AND {span}" for names in ([order], money))
    named = sorted({str(each).upper() for (each,) in con.rows("SELECT DISTINCT currency FROM told") if each})
    if len(named) > 1:  # of any event; one column by itself is looked through much faster
        own = con.rows(f"SELECT DISTINCT upper(currency) {of_money} AND currency <> ''")
        named = sorted(str(each) for (each,) in own)
    elif named and not con.rows(f"SELECT 1 {of_money} AND currency <> '' LIMIT 1"):
        named = []
    currencies = (named[0], named[-1]) if named else (None, None)
    without = con.one(f"SELECT count(*) {orders} AND v_amount IS NULL")[0] if amounts else 0
    return {
        str(name): (counts.get(name, 0), at, *(currencies if name == order else (None, None)), without)
        for name, at in latest.items()
        if name
    }


def nets_refunds(experiment: Experiment, needs: Needs) -> bool:
    """Return whether any column is the amount of orders, which is net of refunds."""
    events = experiment.events
    return bool(
        events
        and any(
            each.term
            and each.term.how == "sum"
            and each.term.event == events.order.name
            and each.term.value == "amount"
            for each in needs.counted
        )
    )


def one_currency(
    experiment: Experiment, spec: str, counts: Sequence[tuple[str, int]] | None, seen: Sequence[str]
) -> str | None:
    """Return the orders' currency, if any names one.

    `counts` are (currency, customers' orders), the most first, where there are several; else `seen` has it.

    Raises:
        DataError: orders of assigned customers are in several currencies, or in another than `value` states.
    """
    found = [currency for currency, _ in counts] if counts is not None else list(seen)
    if counts is not None and len(counts) > 1:
        said = ", ".join(f"{rows:,} in {currency}" for currency, rows in counts)
        raise DataError(
            f"{spec}: events: orders are in {len(counts)} currencies ({said}), which cannot be added up; "
            "convert them to one before, or measure one market at a time"
        )
    stated = experiment.value.currency.upper() if experiment.value else None
    if found and stated and found[0] != stated:
        raise DataError(
            f"{spec}: value.currency is {stated}, but orders are in {found[0]}; state the orders' currency"
        )
    return found[0] if found else None


def span_of(table: FileTable, since: datetime, until: datetime) -> str:
    """Return the condition that an event lies from `since` (inclusive) to `until` (exclusive).

    On the file's own column where that holds instants: then whole parts of files are passed over.
    """
    kind = table.type_of("timestamp")
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"ts >= {instant(since)} AND ts < {instant(until)}"
    return f"happened >= {micros_of(since)} AND happened < {micros_of(until)}"


def _from_file(experiment: Experiment, table: FileTable, needs: Needs) -> list[str]:
    """Return a file's events as the columns of `told`."""
    events = experiment.events
    if events is None:
        raise AssertionError
    table.need("id", "name", "timestamp")
    order_id = next((each for each in (events.order.id, "order_id") if each in table.columns), None)
    currency = next((each for each in (events.order.currency, "currency") if each in table.columns), None)
    values = []
    for value in needs.values:
        if value == "amount":
            expression = amount_in(table, events)
            if expression is None:
                raise DataError(
                    f"{table.path}: no column `{events.order.amount}` for the metrics' `value: amount`; "
                    f"it has {', '.join(table.columns)}"
                )
        elif value in table.columns:
            expression = table.number(value)
        else:
            raise DataError(
                f"{table.path}: no column `{value}` for the metrics' `value: {value}`; "
                f"it has {', '.join(table.columns)}"
            )
        values.append(f"{expression} AS {quoted('v_' + value)}")
    return _told(
        table,
        table.id(email=experiment.identity.key == "email"),
        table.key("name"),
        table.micros("timestamp", events.timezone),
        table.key("event_id") if "event_id" in table.columns else None,
        table.key(order_id) if order_id else None,
        table.key(currency) if currency else None,
        values,
    )


def events_of_lake(con: Engine, lake: Lake, experiment: Experiment, spec: str, needs: Needs) -> InLake:
    """Return how the lake's events stand there.

    Raises:
        DataError: there are none.
    """
    stored = con.stored(lake, "events")
    if stored is None:
        raise DataError(f"{lake.uri('events')}: no events yet; run `lift pull {spec}` first")
    columns = con.columns(stored.sql)
    table = FileTable(con, stored.where, stored.sql, columns, csv=False)
    table.need("id", "name", "timestamp")
    values = []
    for value in needs.values:
        if value not in columns and "properties" in columns:
            found = [f"json_extract_string(properties, {text(each)})" for each in pointers_to(value)]
            said = found[0] if len(found) == 1 else f"coalesce({', '.join(found)})"
            expression = f"TRY_CAST({said} AS DOUBLE)"
        else:
            expression = table.number(value)
        values.append(f"{expression} AS {quoted('v_' + value)}")
    key = kept_as(experiment, spec)
    shown = _told(
        table,
        table.id(),
        "name",
        table.micros("timestamp", "UTC"),
        table.key("event_id") if "event_id" in columns else None,
        table.key("order_id") if "order_id" in columns else None,
        table.key("currency") if "currency" in columns else None,
        values,
    )
    where = f" WHERE source IS NULL OR source = {text(key)}" if "source" in columns else ""
    pulled = stored.version is not None
    through = complete_through(lake, key, wanted_events(experiment), con=con) if pulled else None
    unfinished = never_complete(lake, key, counted_events(experiment), con=con) if pulled else ()
    return InLake(table, tuple(shown), where, stored.version, key, through, unfinished)


def _told(
    table: FileTable,
    identifier: str,
    name: str,
    happened: str,
    event_id: str | None,
    order_id: str | None,
    currency: str | None,
    values: Sequence[str],
) -> list[str]:
    own = ["timestamp AS ts"] if table.type_of("timestamp") == "TIMESTAMP WITH TIME ZONE" else []
    nothing = "CAST(NULL AS VARCHAR)"
    return [
        f"{identifier} AS id",
        f"{name} AS name",
        f"{happened} AS happened",
        f"{event_id or nothing} AS event_id",
        f"{order_id or nothing} AS order_id",
        f"{currency or nothing} AS currency",
        *own,
        *values,
    ]


def _absent(
    experiment: Experiment, spec: str, wanted: Sequence[str], here: set[str], everywhere: set[str]
) -> tuple[str, ...]:
    """Return the metrics' events that never occur; raise where that can only be a mistake."""
    absent = sorted(set(wanted) - here)
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


def among(names: Sequence[str]) -> str:
    """Return the condition that an event is one of `names`."""
    return f"name IN ({texts(names)})"
