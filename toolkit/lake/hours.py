"""The lake's orders by the hour: when they happened, which pull brought them, and which are assigned customers'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from toolkit.design.experiment import Experiment
from toolkit.lake.activity import MICROSECOND
from toolkit.lake.engine import Engine, instant_of, micros_of, text
from toolkit.lake.events import Told, among
from toolkit.lake.sources import FileTable
from toolkit.lake.tables import Lake
from toolkit.lake.unit import Needs
from toolkit.stats.moments import Vector

__all__ = [
    "HORIZON",
    "HOUR",
    "Hours",
    "amount_of",
    "arrival_of",
    "hour_of",
    "hours_of",
    "new_hours",
    "own_by_hour",
    "since_of",
]

HOUR = timedelta(hours=1) // MICROSECOND
HORIZON = timedelta(days=90)
"""Older orders are taken for complete: no lag beyond this is judged."""


@dataclass(frozen=True, slots=True, eq=False)
class Hours:
    """Orders counted by the hour, as if each had happened at its end (hours since 1970).

    Attributes:
        arrivals: rows (hour, received, 1 where it is before the look's end else 0, orders) of orders that pulls
            brought, `received` in microseconds since 1970, shape (a, 4); None where that is not kept.
        every: rows (hour, orders) of all orders since the first assignment, shape (h, 2).
        own: rows (hour, orders, their amounts) of assigned customers' orders since their assignment, shape (o, 3).
    """

    arrivals: Vector | None
    every: Vector
    own: Vector

    def __add__(self, other: Hours) -> Hours:
        """Return both together."""
        arrivals = None
        if self.arrivals is not None and other.arrivals is not None:
            arrivals = _added(self.arrivals, other.arrivals, keys=3)
        return Hours(arrivals, _added(self.every, other.every, keys=1), _added(self.own, other.own, keys=1))

    def until(self, as_of_end: datetime) -> Hours:
        """Return what a later look can go on from: what happened before this one's end, as far as it matters then."""
        if self.arrivals is None:
            return self
        recent = (self.arrivals[:, 2] > 0) & (self.arrivals[:, 0] * HOUR > since_of(as_of_end))
        return Hours(self.arrivals[recent], self.every, self.own)


def since_of(as_of_end: datetime) -> int:
    """Return the whole hour (in microseconds) from which on arrivals are looked at."""
    return micros_of(as_of_end - HORIZON - timedelta(days=30)) // HOUR * HOUR


def hours_of(
    con: Engine,
    lake: Lake,
    experiment: Experiment,
    needs: Needs,
    told: Told,
    first: int,
    *,
    own_since: int,
    as_of_end: datetime,
) -> Hours:
    """Return the lake's orders by the hour until a look's end, and arrivals of later ones too.

    All orders since the first assignment `first`; assigned customers' since `own_since`. Needs `told` and `buyers`.
    """
    if experiment.events is None:
        raise AssertionError
    orders, end = among([experiment.events.order.name]), micros_of(as_of_end)
    every = con.rows(
        f"SELECT hour, count(*) FROM (SELECT {hour_of('happened')} AS hour FROM told "
        f"WHERE {orders} AND {told.between(first, end)}) GROUP BY hour"
    )
    events = (
        f"SELECT e.*, r.assigned FROM (SELECT * FROM told WHERE {orders} AND {told.between(own_since, end)}) e "
        "JOIN (SELECT id, assigned FROM buyers) r ON e.id = r.id"
    )
    own = own_by_hour(con, needs, events)
    return Hours(_arrivals(con, lake, experiment, told, as_of_end), _table(every, 2), own)


def hour_of(instant: str) -> str:
    """Return the expression of the hour (since 1970) at whose end `instant` (microseconds) had passed."""
    return f"CAST(-floor(CAST(-({instant}) AS DOUBLE) / {HOUR}e0) AS BIGINT)"


def amount_of(needs: Needs) -> str:
    """Return the aggregate of what orders are worth: their amounts, or 1 each."""
    return "sum(CAST(v_amount AS DOUBLE))" if "amount" in needs.values else "count(*)"


def own_by_hour(con: Engine, needs: Needs, events: str) -> Vector:
    """Return rows (hour, orders, their amounts) of a query of orders with `assigned`, since which they count."""
    found = con.rows(
        f"SELECT hour, count(*), {amount_of(needs)} FROM (SELECT {hour_of('happened')} AS hour, e.* FROM ({events}) e "
        "WHERE happened >= assigned) e GROUP BY hour"
    )
    return _table(found, 3)


def arrival_of(con: Engine, source: str, where: str, sql: str, columns: Mapping[str, str]) -> str | None:
    """Return the expression of when a pull from `source` brought a row (microseconds); None if that is not kept."""
    if not {"received_at", "timestamp", "name"} <= columns.keys():
        return None
    received = FileTable(con, where, sql, columns, csv=False).micros("received_at", "UTC")
    return f"CASE WHEN source = {text(source)} THEN {received} END" if "source" in columns else received


def new_hours(
    con: Engine, experiment: Experiment, counts: str, own: Vector, as_of_end: datetime, *, received: bool
) -> Hours:
    """Return the orders of `told_new` by the hour: of all arrivals, and of those that `counts`, a condition, holds for.

    `received` says that it is kept when pulls brought them.
    """
    if experiment.events is None:
        raise AssertionError
    shown = "CAST(received AS DOUBLE)" if received else "NULL"
    found = con.rows(
        f"SELECT hour, received, past, counts, count(*) FROM (SELECT {hour_of('happened')} AS hour, {shown} AS received, "
        f"{_past(as_of_end)} AS past, CASE WHEN {counts} THEN 1 ELSE 0 END AS counts "
        f"FROM told_new WHERE name = {text(experiment.events.order.name)}) e GROUP BY hour, received, past, counts"
    )
    arrivals = _table([(*row[:3], row[4]) for row in found if row[1] is not None], 4) if received else None
    return Hours(arrivals, _table([(row[0], row[4]) for row in found if row[3]], 2), own)


def _past(as_of_end: datetime) -> str:
    return f"CASE WHEN happened < {micros_of(as_of_end)} THEN 1 ELSE 0 END"


def _arrivals(
    con: Engine, lake: Lake, experiment: Experiment, told: Told, as_of_end: datetime
) -> Vector | None:
    stored = con.stored(lake, "events")
    if stored is None or experiment.events is None or told.source is None:
        return None
    columns = con.columns(stored.sql)
    received = arrival_of(con, told.source, stored.where, stored.sql, columns)
    if received is None:
        return None
    table = FileTable(con, stored.where, stored.sql, columns, csv=False)
    happened, since = table.micros("timestamp", "UTC"), since_of(as_of_end)
    recent = f"{happened} > {since}"
    if table.type_of("timestamp") == "TIMESTAMP WITH TIME ZONE":
        recent = f"timestamp > {instant_of(since)}"
    events = f"SELECT name, {happened} AS happened, {received} AS received FROM {stored.sql} WHERE {recent}"
    found = con.rows(
        f"SELECT hour, received, past, count(*) FROM (SELECT {hour_of('happened')} AS hour, received, {_past(as_of_end)} "
        f"AS past FROM ({events}) e WHERE name = {text(experiment.events.order.name)} AND received IS NOT NULL) e "
        "GROUP BY hour, received, past"
    )
    return _table(found, 4)


def _table(rows: Sequence[Sequence[Any]], width: int) -> Vector:
    return np.array([[float(each or 0) for each in row] for row in rows], dtype=float).reshape(-1, width)


def _added(one: Vector, other: Vector, *, keys: int) -> Vector:
    """Return the rows of both, those of the same first `keys` columns added up."""
    both = np.concatenate([one, other])
    if not len(both):
        return both
    unique, place = np.unique(both[:, :keys], axis=0, return_inverse=True)
    sums = np.zeros((len(unique), both.shape[1] - keys))
    np.add.at(sums, place.reshape(-1), both[:, keys:])
    return np.column_stack([unique, sums])
