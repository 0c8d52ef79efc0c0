"""A lake that grows week by week: `python -m benchmarks.weeks HOME WEEK EVENTS CUSTOMERS KEY …` adds one week.

40 % of the customers enrol in the first week, the others evenly over a year, so that some order long before
they are assigned. In each week's events 2 % are up to four weeks late, 1 % take back an order of the four
weeks before, and 0.5 % repeat one: what was measured before is restated again and again.
"""

from __future__ import annotations

import json
import sys
from datetime import date, timedelta
from pathlib import Path

from benchmarks.data import MACROS, START

__all__ = ["SHARES", "WEEKS", "as_of"]

WEEKS = 52
SHARES = {"holdout": 0.1, "treatment": 0.9}
SOURCE = "customerio:id"
ORDER, REFUND = "Order Completed", "Order Refunded"


def as_of(week: int) -> date:
    """Return the last day of `week`, the first of which is 1."""
    return START + timedelta(days=7 * week - 1)


def _add(home: Path, week: int, events: int, customers: int, keys: list[str]) -> None:
    import duckdb
    from deltalake import write_deltalake

    from toolkit.design.assignment import held_out_below, weights_of

    con = duckdb.connect()
    con.execute(MACROS)
    con.execute("SET preserve_insertion_order = true")
    begin = f"TIMESTAMPTZ '{START + timedelta(days=7 * (week - 1))} 00:00:00+00'"
    end = f"TIMESTAMPTZ '{START + timedelta(days=7 * week)} 00:00:00+00'"
    enrolled = f"CASE WHEN u(i, 1) < 0.4 THEN 1 ELSE 1 + floor(u(i, 2) * {WEEKS})::INTEGER END"
    weights = json.dumps(weights_of(SHARES))
    for key in keys:
        arm = f"CASE WHEN sha1('{key}.' || id) < '{held_out_below(SHARES['holdout'])}' THEN 'holdout' ELSE 'treatment' END"
        rows = con.sql(
            f"SELECT '{key}' AS experiment, id, {arm} AS arm, {begin} + to_seconds((u(i, 3) * 604800)::INTEGER) "
            f"AS assigned_at, '{key}' AS prefix, '{weights}' AS shares, NULL::VARCHAR AS layer "
            f"FROM (SELECT i, format('u{{:08d}}', i) AS id FROM range({customers}) r(i) WHERE {enrolled} = {week})"
        )
        write_deltalake(
            str(home / "assignments"), rows.to_arrow_table(), mode="append", partition_by=["experiment"]
        )
    first = (week - 1) * events
    told = con.sql(f"""
        WITH told AS (
            SELECT i, u(i, 1) < 0.005 AND i > 0 AS twice, u(i, 1) >= 0.005 AND u(i, 1) < 0.015 AND i > 0 AS refund,
                u(i, 1) >= 0.98 AS late FROM range({first}, {first + events}) r(i)),
        of AS (
            SELECT *, CASE WHEN twice THEN i - 1
                WHEN refund THEN i - 1 - (u(i, 2) * least(i - 1, {4 * events}))::BIGINT ELSE i END AS o FROM told),
        who AS (SELECT *, floor({customers} * 0.5 * pow(u(o, 3), 1.3))::BIGINT AS j FROM of)
        SELECT format('e{{:010d}}', i) AS event_id, format('u{{:08d}}', j // 10 * 20 + j % 10) AS id,
            CASE WHEN refund THEN '{REFUND}' ELSE '{ORDER}' END AS name,
            {begin} + to_microseconds(((i - {first} + u(i, 4)) / {events} * 604800e6
                - CASE WHEN late THEN u(i, 5) * 28 * 86400e6 ELSE 0 END)::BIGINT) AS timestamp,
            CAST(exp(2.8 + gauss(o, 6)) * CASE WHEN refund AND o % 2 = 0 THEN 0.5 ELSE 1 END AS DECIMAL(18, 4)) AS amount,
            'USD' AS currency, format('o{{:010d}}', o) AS order_id, NULL::VARCHAR AS properties,
            '{SOURCE}' AS source, {end} AS received_at FROM who""")
    write_deltalake(str(home / "events"), told.to_arrow_table(), mode="append")
    cursors = con.sql(
        f"SELECT '{SOURCE}:' || name AS source, {begin} AS walk_started_at, NULL::VARCHAR AS next, {end} AS reached, "
        f"true AS finished, {end} AS complete_through, {end} AS saved_at "
        f"FROM (VALUES ('{ORDER}'), ('{REFUND}')) n(name)"
    )
    write_deltalake(str(home / "cursors"), cursors.to_arrow_table(), mode="append")


if __name__ == "__main__":
    _add(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
