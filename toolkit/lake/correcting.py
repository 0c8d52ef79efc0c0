"""What events that cannot just be added up change, from one measurement to the next.

Events of which one may change the other have one sign. So only the signs of new events, and of the customers who
were assigned since, are looked into again; what was found of all others holds.
"""

from __future__ import annotations

from toolkit.lake.activity import (
    ORDER,
    UNMATCHED,
    Few,
    corrected_numbers,
    corrections_of,
    counts_of,
    repeated_orders,
)
from toolkit.lake.counting import KeptCustomers
from toolkit.lake.customers import fetched
from toolkit.lake.engine import quoted
from toolkit.lake.events import Told
from toolkit.lake.hours import HOUR
from toolkit.lake.running import WEEK
from toolkit.lake.step import Step

__all__ = ["changed_since", "correct"]

NOT_THERE, AGAIN = -1, -2
"""Kinds of rows that only count something: refunds of orders that are not there, orders that stand there again."""
CHAIN = 4
"""So many times more signs may be drawn in by events that share an id, before all are looked into."""


def correct(step: Step, told: Told, *, only_newcomers: bool) -> tuple[Few, bool]:
    """Create `corrections`, those found now (`corrections_new`) and no longer held (`retracted`), and `changed`.

    `changed` is a row per customer of whom what is corrected may differ: number, the sums of corrections, and
    whether there are any. Needs `marked_new`, `assigned_numbers`, and `newcomers` where `only_newcomers`.

    Returns:
        what was found, and whether all was looked into, kept or not.
    """
    con, state = step.con, step.state
    anew = not (only_newcomers and state.customers and _touch(step, told))
    new = "SELECT * FROM marked_new"
    kept = f"SELECT * FROM {step.store.read_files(state.marked)}" if state.marked else None
    if kept and anew:
        new = f"{kept} UNION ALL {new}"
    elif kept:
        unsigned = "sign IS NULL AND number IN (SELECT number FROM newcomers)"
        new = f"{kept} WHERE sign IN (SELECT sign FROM touched) UNION ALL {kept} WHERE {unsigned} UNION ALL {new}"
    con.table("marked", new)
    who = ["sign", "number", "arm", "assigned"]
    ways = corrections_of(
        con, step.experiment, told, step.values, who, roster="assigned_numbers", key="number"
    )
    values = [*step.values, "v_net", "lag"]
    nothing = ", ".join(f"NULL AS {name}" for name in values)
    if told.refunds:
        ways.append(
            f"SELECT sign, number, arm, assigned, NULL AS known, {NOT_THERE} AS kind, NULL AS off, 1 AS k, {nothing} "
            f"FROM few WHERE {UNMATCHED}"
        )
    ways.append(
        f"SELECT sign, NULL AS number, NULL AS arm, NULL AS assigned, NULL AS known, {AGAIN} AS kind, NULL AS off, k, {nothing} "
        f"FROM ({repeated_orders('sign', 'order_id')})"
    )
    con.table("corrections_new", " UNION ALL ".join(ways))
    _merge(step, told, anew=anew)
    bare = f"-sum(k) FILTER (WHERE kind = {ORDER} AND off IS NOT NULL AND k < 0 AND v_amount IS NULL)"
    rows, repeated, unmatched, without = con.one(
        f"SELECT count(off), sum(k) FILTER (WHERE kind = {AGAIN}), sum(k) FILTER (WHERE kind = {NOT_THERE}), "
        f"{bare if quoted('v_amount') in step.values else '0'} FROM corrections"
    )
    return Few(int(rows), int(repeated or 0), int(unmatched or 0), int(without or 0)), anew


def _touch(step: Step, told: Told) -> bool:
    """Create `touched(sign)`: what must be looked into again; False where it cannot be told."""
    con, state = step.con, step.state
    signs = "SELECT sign FROM marked_new WHERE sign IS NOT NULL"
    every, shown = "marked_new", "sign, event_sign"
    if state.marked:
        kept = step.store.read_files(state.marked)
        whose = "sign IS NOT NULL AND number IN (SELECT number FROM newcomers)"
        signs += f" UNION ALL SELECT sign FROM {kept} WHERE {whose}"
        every = f"(SELECT {shown} FROM {kept} UNION ALL SELECT {shown} FROM marked_new)"
    con.table("touched", f"SELECT DISTINCT sign FROM ({signs})")
    if not told.refunds:
        return True
    own = (
        f"SELECT event_sign FROM {every} WHERE event_sign IS NOT NULL AND sign IN (SELECT sign FROM touched)"
    )
    drawn = f"SELECT DISTINCT sign FROM {every} WHERE event_sign IN ({own}) AND sign NOT IN (SELECT sign FROM touched)"
    for _ in range(CHAIN):
        con.table("drawn_in", drawn)
        if not con.one("SELECT count(*) FROM drawn_in")[0]:
            return True
        con.run("INSERT INTO touched SELECT sign FROM drawn_in")
    return False


def _merge(step: Step, told: Told, *, anew: bool) -> None:
    """Create `corrections` of those kept that still hold and those found now, `retracted`, and `changed`."""
    con, state, store = step.con, step.state, step.store
    if anew or not state.corrections:
        con.table("retracted", "SELECT * FROM corrections_new WHERE false")
        con.view("corrections_before", "SELECT * FROM corrections_new WHERE false")
        con.view("corrections", "SELECT * FROM corrections_new")
    else:
        found, holds = f"{store.read_files(state.corrections)} c", "true"
        if state.retracted:  # one row a sign: a comparison of steps within the join costs twice as much
            last = f"SELECT sign, max(step) AS step FROM {store.read_files(state.retracted)} GROUP BY sign"
            found += f" LEFT JOIN ({last}) r ON r.sign = c.sign"
            holds = "r.step IS NULL OR r.step <= c.step"
        con.table(
            "corrections_kept",
            "SELECT c.* EXCLUDE (step), coalesce(c.sign IN (SELECT sign FROM touched), false) AS gone "
            f"FROM {found} WHERE {holds}",
        )
        con.table("retracted", "SELECT * EXCLUDE (gone) FROM corrections_kept WHERE gone")
        con.view("corrections_before", "SELECT * EXCLUDE (gone) FROM corrections_kept")
        con.view(
            "corrections",
            "SELECT * EXCLUDE (gone) FROM corrections_kept WHERE NOT gone UNION ALL SELECT * FROM corrections_new",
        )
    con.table(
        "affected",
        "SELECT number FROM corrections_new WHERE number IS NOT NULL UNION "
        "SELECT number FROM retracted WHERE number IS NOT NULL",
    )
    numbers = ", ".join(corrected_numbers(step.experiment, step.needs, told))
    names = ", ".join(f"s.{each.name}" for each in step.needs.counted)
    con.table(
        "changed",
        f"SELECT a.number, {names}, s.number IS NOT NULL AS corrected FROM affected a LEFT JOIN (SELECT number, {numbers} "
        "FROM corrections WHERE off IS NOT NULL AND number IN (SELECT number FROM affected) GROUP BY number) s "
        "ON a.number = s.number",
    )


def changed_since(step: Step, told: Told, kept: KeptCustomers, *, anew: bool) -> int:
    """Return an instant before which nothing differs from what was known; 0 where anything may.

    Creates `late_customers(number, arm, assigned, was, y…, c_y…, differs)`: of whom something differs before the kept
    state's end, and since when; `was` is the assignment that was known then, and y… what was kept. `late_events` are
    these customers' (number, kind, happened, v_…, is_new), as far back as looks may differ and they are kept by number.

    What is known of the time before an instant depends on nothing that happened later: of orders with one id
    the earliest counts, and a refund counts from when both it and its order had happened. `anew` as `correct`
    says.
    """
    con, upto = step.con, step.state.upto
    if step.experiment.analysis.looks == "fixed" or not step.state.customers or anew or kept.moved():
        return 0
    counts = counts_of(step.experiment, told)
    columns = ", ".join(["number", "known", "kind", "off", "k", *step.values, "v_net"])
    one, other = (f"SELECT {columns} FROM {each} WHERE off >= 0" for each in ("retracted", "corrections_new"))
    differ = f"({one} EXCEPT ALL {other}) UNION ALL ({other} EXCEPT ALL {one})"
    con.table(
        "late",
        "SELECT number, min(differs) AS differs FROM (SELECT number, happened AS differs FROM seen "
        f"WHERE happened >= assigned AND {counts} UNION ALL SELECT number, known AS differs FROM ({differ})) "
        f"WHERE differs < {upto} GROUP BY number",
    )
    numbers, _ = fetched(con, f"SELECT number FROM late WHERE number < {step.numbered}", {})
    kept.lend(con, "late_kept", numbers)
    names = ", ".join(f"{each.name}, c_{each.name}" for each in step.needs.counted)
    known = (
        f"SELECT number, arm, assigned, was, {names} FROM late_kept UNION ALL BY NAME "
        "SELECT number, arm, assigned FROM fresh_ids"
    )
    con.table("late_customers", f"SELECT k.*, l.differs FROM late l JOIN ({known}) k ON l.number = k.number")
    found = con.one("SELECT min(differs) FROM late_customers WHERE assigned IS NOT NULL")[0]
    since = int(found) if found is not None else upto
    begins = since - WEEK - HOUR  # the look in which that lies begins later, even where a clock was set back
    whose = f"{counts} AND number IN (SELECT number FROM late_customers) AND happened >= {begins}"
    events = [f"SELECT * EXCLUDE (arm, assigned), true AS is_new FROM seen WHERE {whose}"]
    recent = [name for name, latest in step.state.recent.items() if latest >= begins]
    if recent:
        events.append(f"SELECT *, false AS is_new FROM {step.store.read_files(recent)} WHERE {whose}")
    con.table("late_events", " UNION ALL BY NAME ".join(events))
    return since
