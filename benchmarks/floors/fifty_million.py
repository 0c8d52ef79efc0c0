"""The best hand-written DuckDB from raw order events to lifts: `python -m benchmarks.floors.fifty_million FOLDER AS_OF HOW`.

HOW says how repeated order ids are found: `sql` (grouped by their hashes) or `sorted` (their hashes sorted in
NumPy). Only the few orders that stand twice or were refunded are then looked at one by one; what they change
is added to a plain pass over all events, which need not read order ids at all.
"""

from __future__ import annotations

import json
import math
import sys
from datetime import date, timedelta

import duckdb
import numpy as np

DAY = 86_400_000_000
WINDOW, LOOKBACK = 14 * DAY, 60 * DAY
ARMS = ("holdout", "treatment")
ORDER, REFUND = "Order Completed", "Order Refunded"


def answer(folder: str, as_of: str, how: str) -> dict[str, dict[str, dict[str, float]]]:
    """Return metric → raw, adjusted → value, se."""
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    assignments, events = f"'{folder}/assignments.parquet'", f"'{folder}/events.parquet'"
    ledger = (
        f"(SELECT id, epoch_us(assigned_at) AS a, (file_row_number * 2 + (arm = '{ARMS[1]}')::INTEGER)::INTEGER "
        f"AS key FROM read_parquet({assignments}, file_row_number = true))"
    )
    customers = dict(con.execute(f"SELECT arm, count(*) FROM {assignments} GROUP BY arm").fetchall())
    if len(_repeated(con, f"SELECT hash(id) AS h FROM {assignments}", how)):
        raise SystemExit("a customer was assigned twice")
    begin = f"(SELECT min(assigned_at) FROM {assignments}) - INTERVAL {LOOKBACK // DAY} DAYS"
    begin = con.execute(f"SELECT CAST({begin} AS VARCHAR)").fetchall()[0][0]
    until = date.fromisoformat(as_of) + timedelta(days=1)
    span = f"timestamp >= TIMESTAMPTZ '{begin}' AND timestamp < TIMESTAMPTZ '{until} 00:00:00+00'"
    orders = f"name = '{ORDER}' AND {span}"
    twice = _repeated(con, f"SELECT hash(order_id) AS h FROM {events} WHERE {orders}", how)
    con.register("twice", {"h": twice})
    con.execute(
        f"CREATE TEMP TABLE special AS SELECT hash(order_id) AS h FROM {events} WHERE name = '{REFUND}' AND {span} "
        "UNION SELECT h FROM twice"
    )
    _correct(con, events, ledger, span)
    con.execute(
        "CREATE TEMP TABLE plain AS SELECT key, count(*) FILTER (d >= 0) AS n, "
        f"count(*) FILTER (d >= 0 AND d < {WINDOW}) AS c, sum(amount) FILTER (d >= 0 AND d < {WINDOW}) AS y, "
        "sum(amount) FILTER (d < 0) AS x FROM (SELECT key, epoch_us(timestamp) - a AS d, amount "
        f"FROM {events} e JOIN {ledger} l USING (id) WHERE {orders}) WHERE d >= -{LOOKBACK} GROUP BY key"
    )
    con.execute(
        "CREATE TEMP TABLE u AS SELECT (p.key % 2)::TINYINT AS arm, (p.c + coalesce(r.c, 0) > 0)::INTEGER AS c, "
        "coalesce(p.y, 0) + coalesce(r.y, 0) AS y, coalesce(p.x, 0) + coalesce(r.x, 0) AS x, "
        "(p.n + coalesce(r.n, 0))::DOUBLE AS n FROM plain p LEFT JOIN (SELECT key, sum(k) FILTER (d >= 0) AS n, "
        f"sum(k) FILTER (d >= 0 AND d < {WINDOW}) AS c, sum(amount) FILTER (d >= 0 AND d < {WINDOW}) AS y, "
        f"sum(amount) FILTER (d < 0 AND d >= -{LOOKBACK}) AS x FROM corrections GROUP BY key) r USING (key)"
    )
    return _lifts(con, [customers[arm] for arm in ARMS])


def _repeated(con: duckdb.DuckDBPyConnection, hashes: str, how: str) -> np.ndarray:
    """Return the hashes that stand more than once."""
    if how == "sql":
        return con.execute(f"SELECT h FROM ({hashes}) GROUP BY h HAVING count(*) > 1").fetchnumpy()["h"]
    every = con.execute(hashes).fetchnumpy()["h"]
    every.sort()
    return np.unique(every[1:][every[1:] == every[:-1]])


def _correct(con: duckdb.DuckDBPyConnection, events: str, ledger: str, span: str) -> None:
    """Create `corrections`: minus one for an order's later copies, minus what was refunded."""
    con.execute(
        "CREATE TEMP TABLE few AS WITH f AS (SELECT id, name, epoch_us(timestamp) AS t, amount, order_id "
        f"FROM {events} WHERE {span} AND hash(order_id) IN (SELECT h FROM special)) "
        f"SELECT f.*, key, a FROM {ledger} l JOIN f USING (id)"
    )
    con.execute(
        "CREATE TEMP TABLE corrections AS WITH o AS (SELECT *, row_number() OVER ("
        f"PARTITION BY order_id ORDER BY t, id) AS copy FROM few WHERE name = '{ORDER}') "
        "SELECT key, t - a AS d, -1 AS k, -amount AS amount FROM o WHERE copy > 1 UNION ALL "
        "SELECT o.key, o.t - o.a, 0, -r.amount FROM o JOIN few r USING (order_id) "
        f"WHERE copy = 1 AND r.name = '{REFUND}' AND (o.t >= o.a OR r.t < o.a)"
    )


def _lifts(con: duckdb.DuckDBPyConnection, customers: list[int]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the lifts of `u`; customers without events are added as zeros."""
    sums = "sum(c), sum(y), sum(x), sum(n), sum(y * y), sum(x * x), sum(y * x), sum(n * n), sum(y * y * y), count(*)"
    found = {arm: row for arm, *row in con.execute(f"SELECT arm, {sums} FROM u GROUP BY arm").fetchall()}
    total = sum(customers)
    centre = sum(row[2] for row in found.values()) / total
    values: dict[str, list[float]] = {"purchase_rate": [], "revenue": [], "orders": [], "adjusted": []}
    spreads: dict[str, list[float]] = {name: [] for name in values}
    for arm in range(len(ARMS)):
        n = customers[arm]
        c, y, x, k, yy, xx, yx, kk, _, active = (float(each) for each in found[arm])
        for name, first, second in (("purchase_rate", c, c), ("revenue", y, yy), ("orders", k, kk)):
            values[name].append(first / n)
            spreads[name].append((second - first * first / n) / (n - 1) / n)
        inverse = 1 / (xx - x * x / n)
        slope, lever = (yx - y * x / n) * inverse, (centre - x / n) * inverse
        mine = f"(1.0 / {n} + {lever!r} * d) * (1.0 / {n} + {lever!r} * d) / (1 - 1.0 / {n} - {inverse!r} * d * d)"
        hc2 = con.execute(
            f"SELECT sum(g * e * e) FROM (SELECT {mine} AS g, y - {y / n!r} - {slope!r} * d AS e FROM ("
            f"SELECT y, x - {x / n!r} AS d FROM u WHERE arm = {arm}))"
        ).fetchall()[0][0]
        zero = con.execute(
            f"SELECT {mine} * pow(-({y / n!r}) - {slope!r} * d, 2) FROM (SELECT {-x / n!r} AS d)"
        )
        values["adjusted"].append(y / n + slope * (centre - x / n))
        spreads["adjusted"].append(hc2 + (n - active) * zero.fetchall()[0][0])
    lifts = {
        name: {"value": values[name][1] - values[name][0], "se": math.sqrt(sum(spreads[name]))}
        for name in values
    }
    return {
        name: {"raw": lifts[name], **({"adjusted": lifts["adjusted"]} if name == "revenue" else {})}
        for name in ("purchase_rate", "revenue", "orders")
    }


if __name__ == "__main__":
    print(json.dumps(answer(*sys.argv[1:])))
