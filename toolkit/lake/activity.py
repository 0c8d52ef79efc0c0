"""What each customer did: one grouped pass over the events, and a careful one for those that need it.

Most customers' events can be added up as they come. Some cannot: an order stands there twice, an event was
delivered twice, an order was refunded. Such customers are found first, by signs (hashes) that stand more than
once, and only their events are looked at one by one. The answer is the same as if all were.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from toolkit.design.experiment import Experiment
from toolkit.lake.engine import Engine, micros_of, quoted, text
from toolkit.lake.events import Told, among, nets_refunds
from toolkit.lake.ledger import Ledger
from toolkit.lake.unit import Column, Needs

__all__ = ["Activity", "add_up", "currencies_of"]

ORDER, REFUND = 0, 1
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Activity:
    """What the events of assigned customers held, for checks.

    Attributes:
        seen: events of the metrics' kinds by assigned customers, before anything is dropped.
        repeated_orders: orders that stood there more than once.
        without_amount: orders without an amount; they count as orders and add nothing to revenue.
        unmatched_refunds: refunds of orders that are not there.
        strangers: events of the metrics' kinds, in the span looked at, by customers not assigned.
        early, first: arm → customers whose first outcome since the first assignment came before their own
            assignment, and customers with any.
    """

    seen: int
    repeated_orders: int
    without_amount: int
    unmatched_refunds: int
    strangers: int
    early: dict[str, int]
    first: dict[str, int]


def add_up(con: Engine, experiment: Experiment, needs: Needs, told: Told, ledger: Ledger) -> Activity:
    """Create `active(place, arm, y…, e0, events)`: a row per customer of `roster` with any event in the span.

    `e0` is 2 where the first outcome since the first assignment came before the customer's own, else 1 where
    there is one, else 0. Needs `told` and `roster(place, id, arm, assigned)`.
    """
    kinds = " ".join(f"WHEN {text(name)} THEN {at}" for at, name in _codes(experiment, told).items())
    kind = f"CAST(CASE name {kinds} END AS TINYINT)"
    plain_kinds = [name for name in told.kinds if not told.refunds or name != _refund(experiment)]
    values = [quoted("v_" + value) for value in needs.values]
    careful = _find_careful(con, experiment, told)
    roster = "roster"
    if careful:
        roster = "(SELECT * FROM roster WHERE place NOT IN (SELECT place FROM careful))"
    net = ["v_amount AS v_net"] if told.refunds else []
    numbers = [_number(experiment, told, each) for each in needs.counted]
    numbers += [_early(experiment, told, ledger), "count(*) AS events"]
    grouped = f"{', '.join(numbers)} FROM {{}} GROUP BY place, arm"
    told_values = ", ".join(["id", f"{kind} AS kind", "happened", *values])
    joined = ", ".join(
        ["r.place", "r.arm", "e.kind", "e.happened - r.assigned AS off", "e.happened", *values, *net]
    )
    plain = (
        f"(SELECT {joined} FROM (SELECT {told_values} FROM told WHERE {among(plain_kinds)} AND {told.span}) e "
        f"JOIN {roster} r ON e.id = r.id)"
    )
    query = f"SELECT place, arm, {grouped.format(plain)}"
    repeated = unmatched = 0
    if careful:
        repeated, unmatched = _resolve(con, told, kind, values)
        query += f" UNION ALL SELECT place, arm, {grouped.format('resolved')}"
    con.table("active", query)
    counts = con.rows(
        "SELECT arm, sum(events), count(*) FILTER (WHERE e0 > 0), count(*) FILTER (WHERE e0 = 2) "
        "FROM active GROUP BY arm"
    )
    by_arm = {row[0]: row[1:] for row in counts}
    dropped = con.one("SELECT count(*) FROM picked WHERE copy > 1")[0] if careful else 0
    seen = sum(int(row[0]) for row in by_arm.values()) + dropped
    strangers = sum(told.in_span.get(name, 0) for name in told.kinds) - seen
    names = list(experiment.arms)
    without = _without_amount(con, experiment, told, roster) if told.without_amount else 0
    return Activity(
        int(seen),
        repeated,
        without,
        unmatched,
        int(strangers),
        {arm: int(by_arm[at][2]) if at in by_arm else 0 for at, arm in enumerate(names)},
        {arm: int(by_arm[at][1]) if at in by_arm else 0 for at, arm in enumerate(names)},
    )


def currencies_of(con: Engine, experiment: Experiment, told: Told) -> list[tuple[str, int]]:
    """Return the currencies of assigned customers' orders and how many are in each, the most first."""
    if experiment.events is None:
        return []
    return [
        (str(currency), int(rows))
        for currency, rows in con.rows(
            "SELECT currency, count(*) FROM told JOIN roster ON told.id = roster.id "
            f"WHERE {among([experiment.events.order.name])} AND {told.span} AND currency IS NOT NULL "
            "GROUP BY currency ORDER BY 2 DESC, 1"
        )
    ]


def _codes(experiment: Experiment, told: Told) -> dict[int, str]:
    """Return small numbers for the kinds of events: 0 is an order, 1 a refund."""
    if experiment.events is None:
        raise AssertionError
    codes = {ORDER: experiment.events.order.name, REFUND: experiment.events.refund.name}
    for name in told.kinds:
        if name not in codes.values():
            codes[len(codes)] = name
    return codes


def _refund(experiment: Experiment) -> str:
    return experiment.events.refund.name if experiment.events else ""


def _find_careful(con: Engine, experiment: Experiment, told: Told) -> int:
    """Create `careful(place)`: customers whose events cannot just be added up; return how many."""
    if experiment.events is None:
        raise AssertionError
    order, refund = experiment.events.order.name, experiment.events.refund.name
    rows = sum(told.in_span.get(name, 0) for name in told.kinds)
    ordered = f"{among([order, refund] if told.refunds else [order])} AND order_id IS NOT NULL"
    sign = (
        f"CASE WHEN {ordered} THEN {con.sign('order_id')} "
        f"WHEN event_id IS NOT NULL THEN {con.sign('event_id', other=True)} END"
    )
    signed = f"SELECT id, name, {sign} AS sign FROM told WHERE {among(told.kinds)} AND {told.span}"
    repeats, _ = con.repeated("event_repeats", f"SELECT sign FROM ({signed})", at_most=rows)
    ways = []
    if repeats:
        ways.append(f"SELECT id FROM ({signed}) WHERE sign IN (SELECT sign FROM event_repeats)")
    if told.refunds:
        ways.append(f"SELECT id FROM told WHERE {among([refund])} AND {told.span}")
    if not ways:
        return 0
    con.table(
        "careful",
        f"SELECT DISTINCT roster.place FROM ({' UNION ALL '.join(ways)}) e JOIN roster ON e.id = roster.id",
    )
    return int(con.one("SELECT count(*) FROM careful")[0])


def _resolve(
    con: Engine, told: Told, kind: str, values: list[str]
) -> tuple[int, int]:
    """Create `resolved`: the careful customers' events, once each, orders net of their refunds.

    An order stands once (the earliest of those with one order id), any other event once per event id. An
    order before assignment is net only of refunds before assignment: a covariate knows nothing later. A
    refund that names no order counts when it came.

    Returns:
        orders that stood there more than once, refunds that match no order.
    """
    named = f"kind = {ORDER} AND order_id IS NOT NULL"
    shown = ", ".join(["id", f"{kind} AS kind", "happened", "event_id", "order_id", *values])
    takes = f"kind = {REFUND} AND order_id IS NOT NULL" if told.refunds else "false"
    con.table(
        "picked",
        f"SELECT r.place, r.arm, r.assigned, e.*, ({takes}) AS netted, CASE WHEN {named} THEN 'o' || order_id "
        "WHEN event_id IS NOT NULL THEN 'e' || event_id END AS mark, 1 AS copy, 1 AS delivery "
        f"FROM (SELECT {shown} FROM told WHERE {among(told.kinds)} AND {told.span}) e "
        "JOIN roster r ON e.id = r.id WHERE r.place IN (SELECT place FROM careful)",
    )
    con.table(
        "picked",
        "SELECT * EXCLUDE (copy, delivery), CASE WHEN mark IS NULL THEN 1 ELSE "
        "row_number() OVER (PARTITION BY mark ORDER BY happened, event_id, id) END AS copy, "
        "CASE WHEN mark IS NULL OR event_id IS NULL THEN 1 ELSE "
        "row_number() OVER (PARTITION BY mark, event_id ORDER BY happened, id) END AS delivery FROM picked",
    )
    repeated = con.one(f"SELECT count(*) FROM picked WHERE {named} AND copy > 1 AND delivery = 1")[0]
    net, joined, unmatched = "", "", 0
    if told.refunds:
        con.table(
            "refunds",
            "SELECT order_id, sum(v_amount) AS always, "
            "sum(CASE WHEN happened < assigned THEN v_amount END) AS early "
            "FROM picked WHERE netted AND copy = 1 GROUP BY order_id",
        )
        net = (
            f", CASE WHEN o.netted THEN NULL WHEN o.kind = {REFUND} THEN -o.v_amount ELSE o.v_amount "
            "- coalesce(CASE WHEN o.happened < o.assigned THEN r.early ELSE r.always END, 0) END AS v_net"
        )
        joined = f" LEFT JOIN refunds r ON o.kind = {ORDER} AND o.order_id = r.order_id"
        unmatched = con.one(
            f"SELECT count(*) FROM picked WHERE netted AND copy = 1 AND order_id NOT IN "
            f"(SELECT order_id FROM picked WHERE {named})"
        )[0]
    own = "".join(f", o.{name}" for name in values)
    con.table(
        "resolved",
        f"SELECT o.place, o.arm, o.kind, o.happened - o.assigned AS off, o.happened{own}{net} "
        f"FROM picked o{joined} WHERE o.copy = 1",
    )
    return int(repeated), int(unmatched)


def _number(experiment: Experiment, told: Told, column: Column) -> str:
    """Return the aggregate of a column over events (kind, off, v_…) of one customer."""
    term = column.term
    if term is None:
        raise AssertionError(column)
    codes = {name: code for code, name in _codes(experiment, told).items()}
    kinds = [codes[term.event or ""]]
    netted = nets_refunds(experiment, Needs((column,), {}, {})) and told.refunds
    if netted:
        kinds.append(REFUND)
    when = []
    if len(told.kinds) > 1:
        when.append(f"kind IN ({', '.join(map(str, kinds))})" if netted else f"kind = {kinds[0]}")
    if column.lookback:
        when.append(f"off < 0 AND off >= {-(column.lookback // MICROSECOND)}")
    elif column.window:
        when.append(f"off >= 0 AND off < {column.window // MICROSECOND}")
    else:
        when.append("off >= 0")
    condition = " AND ".join(when)
    if term.how == "any":
        return f"max(CASE WHEN {condition} THEN 1 ELSE 0 END) AS {column.name}"
    if term.how == "count":
        return f"sum(CASE WHEN {condition} THEN 1 ELSE 0 END) AS {column.name}"
    value = "v_net" if netted else quoted("v_" + (term.value or ""))
    return f"sum(CASE WHEN {condition} THEN {value} END) AS {column.name}"


def _early(experiment: Experiment, told: Told, ledger: Ledger) -> str:
    if ledger.first_at is None:
        raise AssertionError
    codes = {name: code for code, name in _codes(experiment, told).items()}
    since = f"happened >= {micros_of(ledger.first_at)}"
    if len(told.kinds) > len(told.wanted):
        since += f" AND kind IN ({', '.join(str(codes[name]) for name in told.wanted)})"
    return f"max(CASE WHEN {since} THEN CASE WHEN off < 0 THEN 2 ELSE 1 END ELSE 0 END) AS e0"


def _without_amount(con: Engine, experiment: Experiment, told: Told, roster: str) -> int:
    """Return how many orders of assigned customers, each counted once, carry no amount."""
    if experiment.events is None:
        return 0
    plain = con.one(
        f"SELECT count(*) FROM told JOIN {roster} r ON told.id = r.id "
        f"WHERE {among([experiment.events.order.name])} AND {told.span} AND v_amount IS NULL"
    )[0]
    if roster == "roster":
        return int(plain)
    resolved = con.one(f"SELECT count(*) FROM picked WHERE kind = {ORDER} AND copy = 1 AND v_amount IS NULL")[
        0
    ]
    return int(plain + resolved)
