"""How late orders come into the lake, and how long after its order a refund comes, as counted groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import numpy as np

from toolkit.design.experiment import Experiment
from toolkit.lake.activity import MICROSECOND
from toolkit.lake.engine import Engine, micros_of
from toolkit.lake.events import Told, among, nets_refunds
from toolkit.lake.hours import HORIZON, HOUR, Hours, amount_of, hours_of, since_of
from toolkit.lake.intake import reaches
from toolkit.lake.ledger import Ledger
from toolkit.lake.tables import Lake
from toolkit.lake.unit import Needs
from toolkit.stats.moments import Vector

__all__ = ["Lateness", "Orders", "Refunds", "lateness_of"]

DAY = 86_400_000_000
PULLS = 3
"""With fewer pulls there is no telling which orders a pull should have brought and did not."""
SAMPLED = 1_000_000
SAMPLE = 32
"""Of more orders than `SAMPLED`, one in so many is looked at."""
BLOCKS = 128
"""So many blocks of rows or more make up a sample."""
ENOUGH = 300
"""Fewer sampled orders of an age say too little by themselves."""


@dataclass(frozen=True, slots=True)
class Orders:
    """Orders since assignment by age in days, one group an element; the last group is all that are older."""

    ages: Vector
    counts: Vector
    amounts: Vector


@dataclass(frozen=True, slots=True)
class Refunds:
    """Refunds by their lag behind the order and by the order's age, in days, one group an element."""

    lags: Vector
    ages: Vector
    counts: Vector
    amounts: Vector


@dataclass(frozen=True, slots=True)
class Lateness:
    """What is late, as far as it can be known; None where it cannot.

    Attributes:
        orders: what the look counts.
        arrivals: (lags, ages, counts) of the orders that pulls brought, in days.
        read_days: from the look's end to when the data were read, in days; orders have had so much longer to come.
        refunds: refunds seen until the look's end.
    """

    orders: Orders
    arrivals: tuple[Vector, Vector, Vector] | None
    read_days: float
    refunds: Refunds | None


def lateness_of(
    con: Engine,
    lake: Lake,
    experiment: Experiment,
    needs: Needs,
    told: Told,
    ledger: Ledger,
    edges: Sequence[float],
    *,
    looked: bool,
    as_of_end: datetime,
    hours: Hours | None = None,
) -> Lateness | None:
    """Return what is known of lateness at a look; None where neither arrivals nor refunds tell anything.

    Needs `told`, `buyers`, and, where events were looked at closely (`looked`), `corrections`. `edges` are bounds of lag
    buckets in days. `hours` are the lake's orders by the hour, where they are known.
    """
    if experiment.events is None or ledger.first_at is None:
        return None
    first, end = (
        micros_of(ledger.first_at),
        micros_of(min(as_of_end, told.through) if told.through else as_of_end),
    )
    refunds = None
    if looked and told.refunds and nets_refunds(experiment, needs):
        refunds = _refunds(con, edges, end)
    arrivals = None
    if experiment.events.in_lake:
        if hours is None:
            own_since = max(first, (end - HORIZON // MICROSECOND) // HOUR * HOUR)
            hours = hours_of(
                con, lake, experiment, needs, told, first, own_since=own_since, as_of_end=as_of_end
            )
        order = experiment.events.order.name
        known = reaches(lake, told.source, order, con=con) if told.source else {}
        arrivals = _arrivals(hours, known, as_of_end)
    if arrivals is None and refunds is None:
        return None
    if hours is None:
        orders = _orders(con, experiment, needs, told, first, edges, end)
    else:
        orders = _orders_by_hour(hours, edges, first, end)
    if orders is None:
        return None
    read_days = max(0.0, (arrivals[1] - end) / DAY) if arrivals else 0.0
    return Lateness(orders, arrivals[0] if arrivals else None, read_days, refunds)


def _arrivals(
    hours: Hours, reaches: Mapping[int, int], as_of_end: datetime
) -> tuple[tuple[Vector, Vector, Vector], int] | None:
    """Return lags, ages and counts of orders that pulls brought, and the last pull's instant.

    Pulls come when they come, so an order that the first pull after it brought was not late, however long ago it
    was. Late is one that a pull should have brought and did not; its lag is its age when it came. What was there
    before the first pull tells nothing. A pull should have brought what came before it, or, of files, before the
    end of what they hold (`reaches`).
    """
    if hours.arrivals is None:
        return None
    rows = hours.arrivals[hours.arrivals[:, 0] * HOUR > since_of(as_of_end)].astype(np.int64)
    pulls = np.unique(rows[:, 1])
    if len(pulls) < PULLS:
        return None
    last = int(pulls[-1])
    happened_at = rows[:, 0] * HOUR
    through = np.maximum.accumulate([min(reaches.get(int(at), int(at)), int(at)) for at in pulls])
    told = (happened_at > through[0]) & (happened_at <= through[-1])
    due = pulls[np.searchsorted(through, happened_at[told])]
    came = rows[told, 1]
    lags = np.where(came > due, came - happened_at[told], 0) / DAY
    ages = (last - happened_at[told]) / DAY
    return (np.minimum(lags, ages), ages, rows[told, 3].astype(float)), last


def _orders_by_hour(hours: Hours, edges: Sequence[float], first: int, end: int) -> Orders | None:
    """Return assigned customers' orders since their assignment, by age.

    Those beyond the horizon are counted, and taken to be by assigned customers, and worth, as much as recent ones.
    """
    horizon = end - HORIZON // MICROSECOND
    upper = np.round(np.asarray(edges[1:]) * DAY).astype(np.int64)

    def until_end(rows: Vector) -> tuple[Vector, Vector]:
        rows = rows[(rows[:, 0] - 1) * HOUR < end]
        return rows, np.maximum(end - rows[:, 0].astype(np.int64) * HOUR, 0)

    (own, own_ages), (every, ages) = until_end(hours.own), until_end(hours.every)
    own_recent, recent = (each < end - horizon if first < horizon else each >= 0 for each in (own_ages, ages))
    sums = np.zeros((len(edges), 2))
    np.add.at(sums, np.searchsorted(upper, own_ages[own_recent], side="right"), own[own_recent, 1:])
    rows = np.column_stack([np.arange(len(edges), dtype=float), sums])[sums[:, 0] > 0]
    seen, older = float(every[recent, 1].sum()), float(every[~recent, 1].sum())
    return _of_ages(rows, edges, (seen, older) if first < horizon else None)


def _bucket(span: str, edges: Sequence[float]) -> str:
    """Return the number of the bucket that a span (microseconds) lies in."""
    whens = [f"WHEN {span} < {round(upper * DAY)} THEN {at}" for at, (_, upper) in enumerate(pairwise(edges))]
    return f"CASE {' '.join(whens)} ELSE {len(edges) - 1} END"


def _refunds(con: Engine, edges: Sequence[float], end: int) -> Refunds | None:
    lag, age = _bucket("lag", edges), _bucket(f"{end} - happened", edges)
    found = con.rows(
        f"SELECT lag, age, count(*), sum(amount) FROM (SELECT {lag} AS lag, {age} AS age, "
        "CAST(-v_net AS DOUBLE) AS amount FROM (SELECT assigned + off AS happened, lag, v_net FROM corrections "
        f"WHERE lag IS NOT NULL AND off >= 0) c WHERE happened + lag < {end}) c GROUP BY lag, age"
    )
    if not found:
        return None
    rows = np.array([[lag, age, n, amount or 0.0] for lag, age, n, amount in found], dtype=float)
    bounds = np.asarray(edges, dtype=float)
    lags, ages = bounds[rows[:, 0].astype(int)], bounds[rows[:, 1].astype(int)]
    return Refunds(np.minimum(lags, ages), ages, rows[:, 2], np.maximum(rows[:, 3], 0.0))


def _orders(
    con: Engine,
    experiment: Experiment,
    needs: Needs,
    told: Told,
    first: int,
    edges: Sequence[float],
    end: int,
) -> Orders | None:
    """Return assigned customers' orders since their assignment, by age.

    Among very many orders a sample tells how many are by assigned customers. Orders beyond the horizon are
    counted, and taken to be by assigned customers, and worth, as much as recent ones.
    """
    if experiment.events is None:
        return None
    name = experiment.events.order.name
    horizon = end - HORIZON // MICROSECOND
    since, known = max(first, horizon), None
    if told.in_span.get(name, 0) <= SAMPLED:
        rows = _ours(con, experiment, needs, told, edges, since, end)
    elif told.numbered:
        every, older = _by_age(con, told, name, edges, first, since, end)
        rows, known = (
            _ours_by_share(con, experiment, needs, told, edges, every, since, end),
            (float(every.sum()), older),
        )
    else:
        rows = _ours(
            con, experiment, needs, told, edges, since, end, sampled=f"{con.sign('id')} % {SAMPLE} = 0"
        )
        rows[:, 1:] *= SAMPLE
    if first >= horizon:
        return _of_ages(rows, edges, None)
    return _of_ages(rows, edges, known or _recent_and_older(con, told, name, first, since, end))


def _of_ages(rows: Vector, edges: Sequence[float], every: tuple[float, float] | None) -> Orders | None:
    """Return orders of `rows` (bucket of age, orders, their amounts), and those beyond the horizon.

    `every` is how many recent and how many older orders there are, whoever's; None where none is older.
    """
    bounds = np.asarray([*edges, edges[-1]], dtype=float)
    places = rows[:, 0].astype(int)
    ages, counts, amounts = (bounds[places] + bounds[places + 1]) / 2, rows[:, 1], np.maximum(rows[:, 2], 0.0)
    if every:
        recent, older = every
        beyond = counts.sum() / recent * older if recent else older
        worth = amounts.sum() / counts.sum() if counts.sum() else 1.0  # of no order, amounts do not matter
        ages, counts = np.r_[ages, float(edges[-1])], np.r_[counts, beyond]
        amounts = np.r_[amounts, beyond * worth]
    return Orders(ages, counts, amounts) if counts.sum() else None


def _ours(
    con: Engine,
    experiment: Experiment,
    needs: Needs,
    told: Told,
    edges: Sequence[float],
    since: int,
    end: int,
    *,
    sampled: str = "true",
    source: str = "told",
) -> Vector:
    """Return rows (bucket of age, orders, their amounts) of those of assigned customers since their assignment."""
    if experiment.events is None:
        raise AssertionError
    age = _bucket(f"{end} - happened", edges)
    found = con.rows(
        f"SELECT age, count(*), {amount_of(needs)} FROM (SELECT {age} AS age, e.* FROM (SELECT * FROM {source} "
        f"WHERE {among([experiment.events.order.name])} AND {told.between(since, end)} AND {sampled}) e "
        f"JOIN (SELECT id, assigned FROM buyers WHERE {sampled}) r ON e.id = r.id WHERE e.happened >= r.assigned) GROUP BY age"
    )
    return np.array([[age, n, amount or 0.0] for age, n, amount in found], dtype=float).reshape(-1, 3)


def _by_age(
    con: Engine, told: Told, name: str, edges: Sequence[float], first: int, since: int, end: int
) -> tuple[Vector, float]:
    """Return how many events of a name, whoever's, happened since an instant, by bucket of age, and how many before.

    These are counted since the first assignment.
    """
    found = con.rows(
        f"SELECT hour, count(*) FROM (SELECT CAST(floor(CAST({end} - happened AS DOUBLE) / {HOUR}e0) AS INTEGER) AS hour "
        f"FROM told WHERE {among([name])} AND {told.between(first, end)}) GROUP BY hour"
    )
    rows = np.array(found, dtype=np.int64).reshape(-1, 2)
    recent = rows[:, 0] * HOUR < end - since
    counts = np.zeros(len(edges))
    upper = np.round(np.asarray(edges[1:]) * DAY).astype(np.int64)
    np.add.at(counts, np.searchsorted(upper, rows[recent, 0] * HOUR, side="right"), rows[recent, 1])
    return counts, float(rows[~recent, 1].sum())


def _ours_by_share(
    con: Engine,
    experiment: Experiment,
    needs: Needs,
    told: Told,
    edges: Sequence[float],
    every: Vector,
    since: int,
    end: int,
) -> Vector:
    """Return what `_ours` does, from `every` order by age and a sample's share of ours among them.

    The sample is of blocks of rows at even distances in each file: an engine passes over what lies between them.
    Ages of which it holds few orders share what they say with the next older ones.
    """
    if experiment.events is None or told.numbered is None:
        raise AssertionError
    period = _period(sum(told.in_span.values()) // told.files, told.files)
    block = f"(file_row_number & {period - 1}) < {period // SAMPLE}"
    # of one file the blocks are chosen first: looking for instants means reading those of all rows
    within = f" WHERE {told.between(since, end)}" if told.files > 1 else ""
    shown = [
        "id",
        "name",
        "happened",
        *(["ts"] if "ts " in told.span else []),
        *(["v_amount"] if "amount" in needs.values else []),
    ]
    rows = block.join(told.numbered)
    con.table("told_sampled", f"SELECT {', '.join(shown)} FROM ({rows}){within}")
    sampled = np.zeros((len(edges), 3))
    for at, n in con.rows(
        f"SELECT age, count(*) FROM (SELECT {_bucket(f'{end} - happened', edges)} AS age FROM told_sampled "
        f"WHERE {among([experiment.events.order.name])} AND {told.between(since, end)}) GROUP BY age"
    ):
        sampled[at, 0] = n
    ours = _ours(con, experiment, needs, told, edges, since, end, source="told_sampled")
    sampled[ours[:, 0].astype(int), 1:] = ours[:, 1:]
    looked, own, worth = _pooled(sampled).T
    share = np.divide(own, looked, out=np.zeros_like(own), where=looked > 0)
    mean = np.divide(worth, own, out=np.zeros_like(own), where=own > 0)
    return np.column_stack([np.arange(len(edges)), every * share, every * share * mean])


def _period(rows: int, files: int) -> int:
    """Return after how many rows the next block of a sample begins, in so many files of `rows`: a power of two.

    There are `BLOCKS` of them or more, and a few in each file.
    """
    blocks = max(BLOCKS // files, 4)
    return 1 << min(max((rows // blocks).bit_length() - 1, 6), 18)


def _pooled(sampled: Vector) -> Vector:
    """Return `sampled` (the first column counts) with rows of few replaced by sums with the next, until they are many."""
    groups, start = [], 0
    for at in range(len(sampled)):
        if sampled[start : at + 1, 0].sum() >= ENOUGH:
            groups.append((start, at + 1))
            start = at + 1
    if start < len(sampled):
        first = groups.pop()[0] if groups else 0
        groups.append((first, len(sampled)))
    out = np.empty_like(sampled)
    for first, last in groups:
        out[first:last] = sampled[first:last].sum(axis=0)
    return out


def _recent_and_older(
    con: Engine, told: Told, name: str, first: int, since: int, end: int
) -> tuple[float, float]:
    """Return how many events of a name happened since an instant, and how many before it but since the first."""
    asked = (told.between(since, end), told.between(first, since))
    sums = ", ".join(f"sum(CASE WHEN {each} THEN 1 ELSE 0 END)" for each in asked)
    recent, older = con.one(f"SELECT {sums} FROM told WHERE {among([name])} AND {told.span}")
    return float(recent or 0), float(older or 0)
