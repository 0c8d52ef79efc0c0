"""Made-up data for the benchmarks, written by DuckDB once and kept; a row depends on its number alone.

`python -m benchmarks.data KIND ROWS FOLDER` writes; it is a process of its own, so that the memory it takes
is not counted with what is measured.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

__all__ = ["ENROL_DAYS", "HISTORY_DAYS", "OUTCOME_DAYS", "START", "cache", "prepare"]

VERSION = 1
"""Part of the cache's name: another version is other data."""
START = date(2026, 1, 5)
HISTORY_DAYS = 60
ENROL_DAYS = 84
OUTCOME_DAYS = 112
"""From START to the end of the events: sixteen weeks."""

MACROS = """
SET TimeZone = 'UTC'; SET preserve_insertion_order = false;
CREATE MACRO u(i, k) AS ((hash(i * 64 + k) >> 11) + 0.5) / 9007199254740992.0;
CREATE MACRO gauss(i, k) AS sqrt(-2 * ln(u(i, k))) * cos(2 * pi() * u(i, k + 1));
"""
STEP = 1_000_000


def cache() -> Path:
    """Return the folder that generated data are kept in."""
    root = os.environ.get("BENCH_DATA") or os.path.join(tempfile.gettempdir(), "lift-benchmarks")  # noqa: PTH118
    folder = Path(root) / f"v{VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def prepare(kind: str, rows: int, *, tick: Callable[[str], None] | None = None) -> Path:
    """Return the folder with `rows` rows of `kind`, made now if it is not there yet."""
    folder = cache() / f"{kind}-{rows}"
    if not folder.is_dir():
        if tick:
            tick(f"making {rows:,} rows of {kind}")
        subprocess.run([sys.executable, "-m", "benchmarks.data", kind, str(rows), str(folder)], check=True)
    return folder


def customers(rows: int) -> dict[str, str]:
    """Return the file of customers with their arm and outcomes: 3 % buy, revenue is heavy-tailed."""
    return {
        "customers.parquet": f"""
        WITH who AS (
            SELECT i, i % 10 <> 0 AS treated, exp(4 + gauss(i, 2)) AS history FROM numbers),
        did AS (
            SELECT *, CASE WHEN u(i, 4) < 0.03 * (CASE WHEN treated THEN 1.05 ELSE 1 END)
                * (0.5 + 0.5 * least(history / 90, 4))
                THEN 1 + (u(i, 5) < 0.25)::INTEGER + (u(i, 5) < 0.05)::INTEGER ELSE 0 END AS orders,
            floor(-ln(u(i, 6)) * (1 + least(history, 500) / 200))::INTEGER AS visits FROM who)
        SELECT {_id("i", rows)} AS id,
            CASE WHEN treated THEN 'treatment' ELSE 'holdout' END AS arm,
            TIMESTAMPTZ '{START} 00:00:00+00' + to_seconds(i * 48271 % {ENROL_DAYS * 86400}) AS assigned_at,
            (orders > 0)::INTEGER AS converted,
            CASE WHEN orders > 0 THEN round(orders * exp(3.2 + 1.1 * gauss(i, 8) + 0.15 * (ln(history) - 4)), 2)
                ELSE 0 END::DOUBLE AS revenue,
            orders, visits, visits + floor(-ln(u(i, 7)) * 1.5)::INTEGER AS sessions,
            round(history, 2) AS history
        FROM did"""
    }


def people(rows: int) -> dict[str, str]:
    """Return the file of customers who are to be assigned."""
    return {"people.parquet": f"SELECT {_id('i', rows)} AS id FROM numbers"}


def orders(rows: int) -> dict[str, str]:
    """Return order events, about in the order of time, and the assignments of a fifth as many customers.

    Half of the customers never buy; the others differ in how often and for how much; 3 % of the orders are
    strangers'. Orders come twice in 0.5 %, and are refunded in 0.3 %, about a day later. Treated customers
    spend 6 % more an order once they are assigned.
    """
    known = max(rows // 5, 1)
    begin = f"TIMESTAMPTZ '{START - timedelta(days=HISTORY_DAYS)} 00:00:00+00'"
    span = (HISTORY_DAYS + OUTCOME_DAYS) * 86400
    assigned = f"TIMESTAMPTZ '{START} 00:00:00+00' + to_seconds((hash({{k}} * 64 + 3) % {ENROL_DAYS * 86400})::BIGINT)"

    def at(i: str) -> str:
        return f"{begin} + to_microseconds((({i} + u({i}, 9)) / {rows} * {span} * 1e6)::BIGINT)"

    return {
        "assignments.parquet": f"""
        SELECT {_id("i", known)} AS id, CASE WHEN i % 10 <> 0 THEN 'treatment' ELSE 'holdout' END AS arm,
            {assigned.format(k="i")} AS assigned_at
        FROM numbers WHERE i < {known}""",
        "events.parquet": f"""
        WITH told AS (
            SELECT i, u(i, 0) < 0.005 AS twice, u(i, 0) >= 0.005 AND u(i, 0) < 0.008 AS refund FROM numbers),
        of AS (
            SELECT *, CASE WHEN twice THEN greatest(i - 1, 0) WHEN refund THEN greatest(i - {rows // 200}, 0)
                ELSE i END AS o FROM told),
        buys AS (SELECT *, floor({known} * 0.52 * pow(u(o, 1), 1.3))::BIGINT AS j FROM of),
        who AS (SELECT *, j // 10 * 20 + j % 10 AS k FROM buys),
        spent AS (
            SELECT *, k % 10 <> 0 AND {at("o")} >= {assigned.format(k="k")} AS offered,
            exp(2.8 + 0.5 * gauss(k, 4) + 0.9 * gauss(o, 6)) AS amount FROM who)
        SELECT format('e{{:010d}}', i) AS event_id,
            CASE WHEN k < {known} THEN {_id("k", known)} ELSE format('x{{:08d}}', k) END AS id,
            CASE WHEN refund THEN 'Order Refunded' ELSE 'Order Completed' END AS name,
            {at("i")} AS timestamp,
            round(amount * CASE WHEN offered THEN 1.06 ELSE 1 END
                * CASE WHEN refund AND o % 2 = 0 THEN 0.5 ELSE 1 END, 2) AS amount,
            'USD' AS currency, format('o{{:010d}}', o) AS order_id
        FROM spent""",
    }


def small(rows: int) -> dict[str, str]:
    """Return a small experiment's files; every third customer buys once."""
    begin = "TIMESTAMPTZ '2026-01-01 00:00:00+00'"
    return {
        "people.parquet": "SELECT 'c' || i AS id, 20 + i % 40 AS age FROM numbers",
        "assignments.parquet": f"""
        SELECT 'c' || i AS id, CASE WHEN i % 2 = 1 THEN 'holdout' ELSE 'treatment' END AS arm,
            {begin} AS assigned_at FROM numbers""",
        "events.parquet": f"""
        SELECT 'e' || i AS event_id, 'c' || 3 * i AS id, 'Order Completed' AS name,
            {begin} + to_days((1 + i % 20)::INTEGER) AS timestamp, 10.0::DOUBLE + i AS amount, 'USD' AS currency,
            'o' || i AS order_id FROM numbers WHERE 3 * i < {rows}""",
    }


KINDS = {"customers": customers, "people": people, "orders": orders, "small": small}


def _id(number: str, rows: int) -> str:
    """Return a customer's id: every number once, in an order that says nothing."""
    step = next(prime for prime in (7919, 104729, 1299709) if rows % prime)
    return f"format('u{{:08d}}', ({number} * {step} + 13) % {rows})"


def _write(kind: str, rows: int, folder: Path) -> None:
    import duckdb

    con = duckdb.connect()
    con.execute(MACROS)
    con.execute(f"CREATE TEMP TABLE low AS SELECT range AS low FROM range({min(STEP, rows)})")
    con.execute(
        f"CREATE TEMP VIEW numbers AS SELECT low + {STEP} * high AS i "
        f"FROM low, range({-(-rows // STEP)}) AS more(high) WHERE low + {STEP} * high < {rows}"
    )
    begun = folder.with_name(folder.name + ".part")
    begun.mkdir(parents=True, exist_ok=True)
    for name, query in KINDS[kind](rows).items():
        con.execute(f"COPY ({query}) TO '{begun / name}' (FORMAT parquet)")
    begun.rename(folder)


if __name__ == "__main__":
    _write(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
