"""What each customer did: one grouped pass over the events, and a careful look at the few that need it.

Almost all events can be added up as they come. Some cannot: an order stands there twice, an event was
delivered twice, an order was refunded. Those are found by signs (hashes) that stand more than once, looked at
one by one, and what they change is added to the plain sums. The answer is that of looking at all one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from toolkit.design.experiment import Experiment
from toolkit.lake.engine import Engine, micros_of, quoted, text
from toolkit.lake.events import Told, among, nets_refunds
from toolkit.lake.ledger import Ledger
from toolkit.lake.unit import Column, Needs

__all__ = [
    "MICROSECOND",
    "ORDER",
    "UNMATCHED",
    "Activity",
    "Few",
    "activity_of",
    "add_up",
    "codes_of",
    "condition_of",
    "corrected_numbers",
    "corrections_of",
    "counts_of",
    "currencies_of",
    "kind_of",
    "plain_numbers",
    "repeated_orders",
    "sign_of",
    "together",
]

ORDER, REFUND = 0, 1
UNMATCHED = (
    f"kind = {REFUND} AND copy = 1 AND assigned IS NOT NULL AND order_id <> '' "
    f"AND order_id NOT IN (SELECT order_id FROM few WHERE kind = {ORDER} AND order_id <> '')"
)
"""The condition that a row of `few` is a refund of an order that is not there."""
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Activity:
    """What the events of assigned customers held, for checks.

    Attributes:
        read: events of the metrics' kinds in the span looked at, whoever's they are, before anything is dropped.
        orders: those of them that are orders.
        repeated_orders: orders among them that stand there more than once.
        without_amount: orders without an amount; they count as orders and add nothing to revenue.
        unmatched_refunds: refunds of orders that are not there.
        bare_refunds: refunds without an amount; they take nothing off.
        corrected: whether there are `corrections`.
        early, first: arm → customers whose first outcome since the first assignment came before their own
            assignment, and customers with any.
    """

    read: int
    orders: int
    repeated_orders: int
    without_amount: int
    unmatched_refunds: int
    bare_refunds: int
    corrected: bool
    early: dict[str, int]
    first: dict[str, int]


@dataclass(frozen=True, slots=True)
class Few:
    """What the careful look found: rows of `corrections`, repeated orders, unmatched refunds, copies without an amount."""

    rows: int = 0
    repeated: int = 0
    unmatched: int = 0
    bare: int = 0


def add_up(con: Engine, experiment: Experiment, needs: Needs, told: Told, ledger: Ledger) -> Activity:
    """Create `active(place, y…, e0)`: a row per customer of `roster` with any event that matters.

    `e0` is 2 where the first outcome since the first assignment came before the customer's own, else 1 where
    there is one, else 0. Needs `told` and `roster(place, id, arm, assigned)`, `place` as `arm_of` reads it.
    """
    codes = codes_of(experiment, told)
    kind = kind_of(codes)
    values = [quoted("v_" + value) for value in needs.values]
    few = _look_closely(con, experiment, told, kind, values)
    plain = plain_numbers(experiment, needs, told)
    columns = ["id", f"{kind} AS kind", "happened", *values]
    joined = ["r.place", "e.kind", "e.happened - r.assigned AS off", "e.happened", *values]
    matters = f"off >= {-(needs.reach_back // MICROSECOND)} OR {_since(ledger)}"
    grouped = (
        f"SELECT place, {', '.join([*plain, _early(ledger)])} FROM (SELECT {', '.join(joined)} FROM "
        f"(SELECT {', '.join(columns)} FROM told WHERE {among(told.wanted)} AND {told.span}) e "
        f"JOIN roster r ON e.id = r.id) WHERE {matters} GROUP BY place"
    )
    activity = _settle_activity(con, experiment, needs, told, few, grouped)
    if not told.without_amount:
        return activity
    return replace(activity, without_amount=_without_amount(con, experiment, told, few))


def plain_numbers(experiment: Experiment, needs: Needs, told: Told) -> list[str]:
    """Return the aggregates of the counted columns over events (kind, off, v_…) as they come."""
    codes = codes_of(experiment, told)
    return [_number(experiment, told, codes, each, corrected=False) for each in needs.counted]


def corrected_numbers(experiment: Experiment, needs: Needs, told: Told) -> list[str]:
    """Return the aggregates of the counted columns over corrections."""
    codes = codes_of(experiment, told)
    return [_number(experiment, told, codes, each, corrected=True) for each in needs.counted]


def _settle_activity(
    con: Engine, experiment: Experiment, needs: Needs, told: Told, few: Few, grouped: str
) -> Activity:
    """Create `active(place, y…, e0)` from the plain sums `grouped` and the corrections that `few` tells of.

    Orders without an amount are yet to be counted.
    """
    if few.rows:
        con.table(
            "corrected",
            f"SELECT place, {', '.join(corrected_numbers(experiment, needs, told))} FROM corrections GROUP BY place",
        )
        names = [each.name for each in needs.counted]
        sums = [together(each, f"p.{each.name}", f"c.{each.name}") for each in needs.counted]
        con.table(
            "active",
            f"SELECT p.place, {', '.join(sums)}, p.e0 FROM ({grouped}) p "
            "LEFT JOIN corrected c ON p.place = c.place",
        )
        alone = ", ".join(f"coalesce({name}, 0) AS {name}" for name in names)
        con.run(
            f"INSERT INTO active SELECT place, {alone}, 0 AS e0 FROM corrected "
            "WHERE place NOT IN (SELECT place FROM active)"
        )
    else:
        con.table("active", grouped)
    return activity_of(con, experiment, told, few)


def activity_of(con: Engine, experiment: Experiment, told: Told, few: Few) -> Activity:
    """Return what `active` holds for checks. Orders without an amount are yet to be counted."""
    counts = con.rows(
        "SELECT arm, sum(CASE WHEN e0 > 0 THEN 1 ELSE 0 END), sum(CASE WHEN e0 = 2 THEN 1 ELSE 0 END) "
        f"FROM (SELECT {con.arm_of('place', len(experiment.arms))} AS arm, e0 FROM active) GROUP BY arm"
    )
    by_arm = {row[0]: row[1:] for row in counts}
    names, read = list(experiment.arms), {name: told.in_span.get(name, 0) for name in told.kinds}
    order = experiment.events.order.name if experiment.events else ""
    return Activity(
        sum(read.values()),
        read.get(order, 0),
        few.repeated,
        0,
        few.unmatched,
        _bare_refunds(con) if few.rows and told.refunds else 0,
        bool(few.rows),
        {arm: int(by_arm[at][1]) if at in by_arm else 0 for at, arm in enumerate(names)},
        {arm: int(by_arm[at][0]) if at in by_arm else 0 for at, arm in enumerate(names)},
    )


def _bare_refunds(con: Engine) -> int:
    """Return how many of `corrections` are of refunds without an amount: what counts no event is a refund's."""
    return int(
        con.one("SELECT count(*) FROM corrections WHERE k = 0 AND off IS NOT NULL AND v_net IS NULL")[0]
    )


def currencies_of(con: Engine, experiment: Experiment, told: Told) -> list[tuple[str, int]]:
    """Return the currencies of assigned customers' orders, and of refunds, and how many are in each, the most first."""
    if experiment.events is None:
        return []
    order, refund = experiment.events.order.name, experiment.events.refund.name
    money = [order, refund] if told.refunds else [order]
    return [
        (str(currency), int(rows))
        for currency, rows in con.rows(
            "SELECT upper(currency) AS currency, count(*) FROM told JOIN roster ON told.id = roster.id "
            f"WHERE {among(money)} AND {told.span} AND currency <> '' "
            "GROUP BY 1 ORDER BY 2 DESC, 1"
        )
    ]


def codes_of(experiment: Experiment, told: Told) -> dict[str, int]:
    """Return small numbers for the kinds of events: 0 is an order, 1 a refund."""
    if experiment.events is None:
        raise AssertionError
    codes = {experiment.events.order.name: ORDER, experiment.events.refund.name: REFUND}
    for name in told.kinds:
        codes.setdefault(name, len(codes))
    return codes


def counts_of(experiment: Experiment, told: Told) -> str:
    """Return the condition that an event (kind) is one that the metrics are on."""
    codes = codes_of(experiment, told)
    return f"kind IN ({', '.join(str(codes[name]) for name in told.wanted)})"


def kind_of(codes: Mapping[str, int]) -> str:
    """Return the expression of an event's number among `codes`."""
    return f"CAST(CASE name {' '.join(f'WHEN {text(name)} THEN {at}' for name, at in codes.items())} END AS TINYINT)"


def _look_closely(con: Engine, experiment: Experiment, told: Told, kind: str, values: list[str]) -> Few:
    """Create `few` and `corrections`: what events that cannot just be added up change in the plain sums.

    An order stands once (the earliest of those with one order id), any other event once per event id. An
    order is net of its refunds, whatever sign their amounts bear; one before assignment only of refunds before
    assignment: a covariate knows nothing later. A refund that names no order counts when it came.
    """
    if experiment.events is None:
        raise AssertionError
    order, refund = experiment.events.order.name, experiment.events.refund.name
    at_most = sum(told.in_span.get(name, 0) for name in told.kinds)
    sign = sign_of(con, experiment, told)
    of = f"FROM told WHERE {among(told.kinds)} AND {told.span}"
    repeats = signed = 0
    if {*told.kinds} <= {order, refund}:  # where all have an order id, event ids need not be read
        signs = f"SELECT {con.sign('order_id')} AS sign {of} AND order_id <> ''"
        repeats, signed = con.repeated("event_repeats", signs, at_most=at_most)
    if signed == at_most:
        sign = con.sign("order_id")
    else:
        repeats, _ = con.repeated("event_repeats", f"SELECT {sign} AS sign {of}", at_most=at_most)
    if not repeats and not told.refunds:
        return Few()
    shown = ", ".join(["id", f"{kind} AS kind", "happened", "event_id", "order_id", *values])
    repeated = f"{sign} IN (SELECT sign FROM event_repeats)"
    if repeats and told.refunds and con.dialect == "duckdb":  # elsewhere OR may cost the hash table
        marked = f"SELECT {shown} {of} AND ({repeated} OR {among([refund])})"
    else:
        ways = []
        if repeats:
            others = [name for name in told.kinds if name != refund] if told.refunds else told.kinds
            ways.append(f"SELECT {shown} FROM told WHERE {among(others)} AND {told.span} AND {repeated}")
        if told.refunds:
            ways.append(f"SELECT {shown} FROM told WHERE {among([refund])} AND {told.span}")
        marked = " UNION ALL ".join(ways)
    con.table("marked", marked)  # by itself: few rows, which then look for their customers
    return _look_into_marked(con, experiment, told, values)


def sign_of(con: Engine, experiment: Experiment, told: Told) -> str:
    """Return the expression of an event's sign: two events of which one may change the other have the same."""
    if experiment.events is None:
        raise AssertionError
    order, refund = experiment.events.order.name, experiment.events.refund.name
    ordered = f"{among([order, refund] if told.refunds else [order])} AND order_id <> ''"
    return (
        f"CASE WHEN {ordered} THEN {con.sign('order_id')} "
        f"WHEN event_id <> '' THEN {con.sign('event_id', other=True)} END"
    )


def _look_into_marked(con: Engine, experiment: Experiment, told: Told, values: list[str]) -> Few:
    """Create `corrections` from `marked`: what every event that cannot just be added up changes.

    A correction is of the customer at `place`, known since an instant, and counts as an event of its kind does,
    `off` after the assignment; `lag` is how long after its order a refund came.
    """
    who = ["place", "assigned"]
    con.table("corrections", " UNION ALL ".join(corrections_of(con, experiment, told, values, who)))
    unmatched = bare = 0
    if told.refunds:
        unmatched = con.one(f"SELECT count(*) FROM few WHERE {UNMATCHED}")[0]
    if quoted("v_amount") in values:
        bare = con.one(f"SELECT count(*) FROM few WHERE kind = {ORDER} AND copy > 1 AND v_amount IS NULL")[0]
    repeated = con.one(f"SELECT coalesce(sum(k), 0) FROM ({repeated_orders('order_id')})")[0]
    rows = con.one("SELECT count(*) FROM corrections")[0]
    return Few(int(rows), int(repeated), int(unmatched), int(bare))


def corrections_of(
    con: Engine,
    experiment: Experiment,
    told: Told,
    values: list[str],
    who: Sequence[str],
    *,
    roster: str = "roster",
    key: str = "id",
) -> list[str]:
    """Create `few` from `marked`, and return the queries of corrections, each with the columns `who` of it.

    `few` are the events of assigned customers, and everybody's refunds: an order is net of a refund whose own id tells
    of nobody. `copy` is 1 for the one that counts of those that are one event. `who` are columns of `roster`, or of
    `marked`, which are joined on `key`; `assigned`, among them, is NULL where that tells of nobody.
    """
    if experiment.events is None:
        raise AssertionError
    refund, named = experiment.events.refund.name, f"kind = {ORDER} AND order_id <> ''"
    mark = f"CASE WHEN {named} THEN 'o' || order_id WHEN event_id <> '' THEN 'e' || event_id END AS mark"
    own = ", ".join(f"r.{each}" for each in who if each not in {"sign", "number"})
    joined, among_them = f"JOIN {roster}", ""
    if told.refunds:
        joined, among_them = f"LEFT JOIN {roster}", f" WHERE r.{key} IS NOT NULL OR e.kind = {REFUND}"
    con.table(
        "few",
        "SELECT picked.*, CASE WHEN mark IS NULL THEN 1 ELSE "
        "row_number() OVER (PARTITION BY mark ORDER BY "
        f"{', '.join(['happened', 'event_id', 'id', *values])}) END AS copy FROM (SELECT {own}, e.*, {mark} FROM marked e "
        f"{joined} r ON e.{key} = r.{key}{among_them}) picked",
    )
    amount = quoted("v_amount") in values
    minus = [f"-{name} AS {name}" for name in values] + (["-v_amount AS v_net"] if amount else ["0 AS v_net"])
    nothing = [f"CAST(NULL AS DOUBLE) AS {name}" for name in values]
    plain_kinds = f" AND kind <> {REFUND}" if told.refunds and refund not in told.wanted else ""
    shown, of_order = ", ".join(who), ", ".join(f"o.{each}" for each in who)
    parts = [
        f"SELECT {shown}, happened AS known, kind, happened - assigned AS off, -1 AS k, {', '.join(minus)}, "
        f"CAST(NULL AS BIGINT) AS lag FROM few WHERE copy > 1 AND assigned IS NOT NULL{plain_kinds}"
    ]
    if told.refunds:
        parts += [
            f"SELECT {shown}, happened AS known, {ORDER} AS kind, happened - assigned AS off, 0 AS k, "
            f"{', '.join([*nothing, '-abs(v_amount) AS v_net'])}, CAST(NULL AS BIGINT) AS lag FROM few "
            f"WHERE kind = {REFUND} AND copy = 1 AND assigned IS NOT NULL AND coalesce(order_id, '') = ''",
            f"SELECT {of_order}, CASE WHEN r.happened > o.happened THEN r.happened ELSE o.happened END AS known, o.kind, o.happened - o.assigned AS off, 0 AS k, "
            f"{', '.join([*nothing, '-abs(r.v_amount) AS v_net'])}, r.happened - o.happened AS lag "
            f"FROM few o JOIN few r ON o.order_id = r.order_id "
            f"WHERE o.kind = {ORDER} AND o.copy = 1 AND r.kind = {REFUND} AND r.copy = 1 "
            "AND (o.happened >= o.assigned OR r.happened < o.assigned)",
        ]
    return parts


def repeated_orders(*keys: str) -> str:
    """Return the query of how often (k) the orders of `marked` stand there again, beyond deliveries of one event.

    `keys` are `order_id`, or what tells orders apart besides.
    """
    deliveries = "CASE WHEN count(event_id) = count(*) THEN count(DISTINCT event_id) ELSE count(*) END - 1"
    of = f"FROM marked WHERE kind = {ORDER} AND order_id <> ''"
    return f"SELECT {', '.join(keys)}, {deliveries} AS k {of} GROUP BY {', '.join(keys)} HAVING count(*) > 1"


def _number(
    experiment: Experiment, told: Told, codes: dict[str, int], column: Column, *, corrected: bool
) -> str:
    """Return the aggregate of a column over events (kind, off, v_…), or corrections, of one customer."""
    term = column.term
    if term is None:
        raise AssertionError(column)
    condition = condition_of(told, codes, column, corrected=corrected)
    if term.how in {"any", "count"}:
        if corrected:
            return f"sum(CASE WHEN {condition} THEN k ELSE 0 END) AS {column.name}"
        return f"count(CASE WHEN {condition} THEN 1 END) AS {column.name}"
    netted = corrected and nets_refunds(experiment, Needs((column,), {}, {}))
    value = "v_net" if netted else quoted("v_" + (term.value or ""))
    return f"sum(CASE WHEN {condition} THEN {value} END) AS {column.name}"


def condition_of(told: Told, codes: Mapping[str, int], column: Column, *, corrected: bool) -> str:
    """Return the condition that an event (kind, off), or a correction, counts in a column."""
    term = column.term
    if term is None:
        raise AssertionError(column)
    when = []
    if len(told.wanted) > 1 or (corrected and told.refunds):
        when.append(f"kind = {codes[term.event or '']}")
    if column.lookback:
        when.append(f"off < 0 AND off >= {-(column.lookback // MICROSECOND)}")
    elif column.window:
        when.append(f"off >= 0 AND off < {column.window // MICROSECOND}")
    else:
        when.append("off >= 0")
    return " AND ".join(when)


def together(column: Column, plain: str, change: str) -> str:
    """Return a column's plain sum with what corrections change of it; either may be NULL.

    Where a sum loses all that made it up, what rounding leaves of it is nothing.
    """
    both = f"{plain} + {change}"
    if column.term and column.term.how == "sum":
        both = f"CASE WHEN abs({both}) <= 1e-9 * abs({change}) THEN 0 ELSE {both} END"
    return f"CASE WHEN {change} IS NULL THEN {plain} WHEN {plain} IS NULL THEN {change} ELSE {both} END AS {column.name}"


def _since(ledger: Ledger) -> str:
    if ledger.first_at is None:
        raise AssertionError
    return f"happened >= {micros_of(ledger.first_at)}"


def _early(ledger: Ledger) -> str:
    early = f"CASE WHEN {_since(ledger)} THEN CASE WHEN off < 0 THEN 2 ELSE 1 END ELSE 0 END"
    return f"max(CAST({early} AS TINYINT)) AS e0"


def _without_amount(con: Engine, experiment: Experiment, told: Told, few: Few) -> int:
    """Return how many orders of assigned customers, each counted once, carry no amount."""
    if experiment.events is None:
        return 0
    every = con.one(
        "SELECT count(*) FROM told JOIN roster ON told.id = roster.id "
        f"WHERE {among([experiment.events.order.name])} AND {told.span} AND v_amount IS NULL"
    )[0]
    return int(every) - few.bare
