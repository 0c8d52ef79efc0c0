"""Customers between measurements: what is kept of each, what new events add, and what corrections change of it.

Every id that was ever met has a number, so that one text is compared for each new event and none for what is
kept.
"""

from __future__ import annotations

from toolkit.lake.activity import MICROSECOND, codes_of, counts_of, kind_of, plain_numbers, together
from toolkit.lake.engine import micros_of, parquet, text
from toolkit.lake.events import Told, among
from toolkit.lake.sources import FileTable
from toolkit.lake.step import Step
from toolkit.lake.tables import files_by_name

__all__ = ["count", "find_newcomers", "put_in_place", "put_together"]


def find_newcomers(step: Step) -> bool:
    """Create `newcomers(number, arm, assigned)`: kept ids that were assigned since; False where others may have moved.

    The ledger's files tell: nothing but rows of later instants came to those that were read. Needs `ledger`.
    """
    con, state = step.con, step.state
    files = files_by_name(step.ledger.files)
    if not state.ledger or not files.keys() >= set(state.ledger):
        return False
    fresh = [path for name, path in files.items() if name not in state.ledger]
    if fresh:
        table = FileTable(con, "", parquet(fresh), con.columns(parquet(fresh)), csv=False)
        lowest = con.one(
            f"SELECT min({table.micros('assigned_at', 'UTC')}) FROM {table.sql} "
            f"WHERE experiment = {text(step.experiment.key)}"
        )[0]
        if lowest is not None and lowest < state.upto:
            return False
    con.table(
        "newcomers",
        f"SELECT i.number, l.arm, l.assigned FROM (SELECT * FROM ledger WHERE assigned >= {state.upto}) l "
        f"JOIN {step.kept_ids} i ON l.id = i.id",
    )
    return True


def count(step: Step, told: Told, *, only_newcomers: bool) -> None:
    """Create `kept_customers`, `known_customers` (counted anew where they must be) and `gained`, by new events.

    Who was assigned since, or at another instant than was known, is counted anew from the files that reach far
    enough. Every id has a number: `fresh_ids(number, id, arm, assigned)` are new, and `all_ids` all of them.
    Needs `told_new`, and `newcomers` where `only_newcomers`.
    """
    con, state = step.con, step.state
    _keep_up(step, only_newcomers=only_newcomers)
    of = f"WHERE {among(_numbered_kinds(step, told))} AND {told.span} AND id IS NOT NULL"
    con.table(
        "met",
        f"SELECT e.*, i.number FROM (SELECT {_columns(step, told)} FROM told_new {of}) e "
        f"LEFT JOIN {step.kept_ids} i ON e.id = i.id",
    )
    con.table(
        "fresh_ids",
        f"SELECT {step.numbered} + row_number() OVER () - 1 AS number, m.id, l.arm, l.assigned "
        "FROM (SELECT DISTINCT id FROM met WHERE number IS NULL) m LEFT JOIN ledger l ON m.id = l.id",
    )
    con.view("all_ids", f"SELECT number, id FROM {step.kept_ids} UNION ALL SELECT number, id FROM fresh_ids")
    con.view(
        "assigned_numbers",
        " UNION ALL ".join(
            f"SELECT number, arm, assigned FROM {each} WHERE assigned IS NOT NULL"
            for each in ("kept_customers", "fresh_ids")
        ),
    )
    con.table(
        "seen",
        "SELECT coalesce(m.number, f.number) AS number, coalesce(k.arm, f.arm) AS arm, "
        "coalesce(k.assigned, f.assigned) AS assigned, m.* EXCLUDE (id, number) FROM met m "
        "LEFT JOIN fresh_ids f ON m.number IS NULL AND m.id = f.id LEFT JOIN kept_customers k ON m.number = k.number",
    )
    con.table("gained", _grouped(step, told, "SELECT * FROM seen"))
    con.table("moved", "SELECT number, arm, assigned FROM kept_customers WHERE anew")
    lowest = con.one("SELECT min(assigned) FROM moved")[0]
    if lowest is None:
        con.view("known_customers", "SELECT * FROM kept_customers")
        return
    lowest -= step.needs.reach_back // MICROSECOND
    if lowest >= state.recent_since:
        before = (
            f"SELECT e.*, m.arm, m.assigned FROM (SELECT * FROM {step.recent} WHERE happened >= {lowest}) e "
            "JOIN moved m ON e.number = m.number"
        )
    else:
        far = [name for name, latest in state.events.items() if latest >= lowest]
        step.see("told_far", f"{step.among(far)} AND happened < {state.upto} AND happened >= {lowest}")
        con.table("moved_ids", f"SELECT m.*, i.id FROM moved m JOIN {step.kept_ids} i ON m.number = i.number")
        before = (
            f"SELECT e.* EXCLUDE (id), m.number, m.arm, m.assigned FROM (SELECT {_columns(step, told)} FROM told_far {of}) e "
            "JOIN moved_ids m ON e.id = m.id"
        )
    con.table("refreshed", _grouped(step, told, before))
    own = ", ".join(
        f"CASE WHEN s.anew THEN f.{each.name} ELSE s.{each.name} END AS {each.name}"
        for each in step.needs.counted
    )
    con.view(
        "known_customers",
        f"SELECT s.* REPLACE (CASE WHEN s.anew THEN coalesce(f.here, false) OR s.first IS NOT NULL ELSE s.here END "
        f"AS here, {own}) FROM kept_customers s LEFT JOIN refreshed f ON s.number = f.number",
    )


def _keep_up(step: Step, *, only_newcomers: bool) -> None:
    """Create `kept_customers`: what is kept of each, with the arm and assignment of now."""
    con, state = step.con, step.state
    if not state.customers:
        names = [each.name for each in step.needs.counted]
        nothing = ", ".join(
            f"CAST(NULL AS TINYINT) AS {name}" for each in names for name in (each, f"c_{each}")
        )
        con.table(
            "kept_customers",
            "SELECT CAST(NULL AS BIGINT) AS number, CAST(NULL AS SMALLINT) AS arm, "
            "CAST(NULL AS BIGINT) AS assigned, CAST(NULL AS BIGINT) AS was, false AS anew, "
            f"CAST(NULL AS BIGINT) AS first, false AS here, {nothing}, false AS corrected WHERE false",
        )
        return
    if not only_newcomers:
        con.table(
            "now_assigned",
            f"SELECT i.number, l.arm, l.assigned FROM {step.kept_ids} i JOIN ledger l ON i.id = l.id",
        )
    arm, assigned, anew, others = (
        ("coalesce(s.arm, r.arm)", "coalesce(s.assigned, r.assigned)", "r.number IS NOT NULL", "newcomers")
        if only_newcomers
        else (
            "r.arm",
            "r.assigned",
            "r.assigned IS NOT NULL AND s.assigned IS DISTINCT FROM r.assigned",
            "now_assigned",
        )
    )
    con.view(
        "kept_customers",
        f"SELECT s.number, {arm} AS arm, {assigned} AS assigned, s.assigned AS was, {anew} AS anew, "
        f"s.* EXCLUDE (number, arm, assigned) FROM {step.store.read_files(state.customers)} s "
        f"LEFT JOIN {others} r ON s.number = r.number",
    )


def _numbered_kinds(step: Step, told: Told) -> list[str]:
    """Return the names of events whose ids get a number."""
    return list(
        dict.fromkeys([*told.kinds, *([step.experiment.events.order.name] if step.experiment.events else [])])
    )


def _columns(step: Step, told: Told) -> str:
    kind = kind_of(codes_of(step.experiment, told))
    return ", ".join(["id", f"{kind} AS kind", "happened", *step.values])


def _grouped(step: Step, told: Told, source: str) -> str:
    """Return the query of plain sums per number over some events, whether or not it is assigned."""
    if step.ledger.first_at is None:
        raise AssertionError
    since = f"happened >= {micros_of(step.ledger.first_at)}"
    matters = f"coalesce(off >= {-(step.needs.reach_back // MICROSECOND)}, false) OR {since}"
    plain = ", ".join(plain_numbers(step.experiment, step.needs, told))
    return (
        "SELECT number, any_value(arm) AS arm, any_value(assigned) AS assigned, "
        f"min(CASE WHEN {since} THEN happened END) AS first, bool_or({matters}) AS here, {plain} "
        f"FROM (SELECT *, happened - assigned AS off FROM ({source}) e WHERE {counts_of(step.experiment, told)}) GROUP BY number"
    )


def put_together(step: Step, *, anew: bool) -> None:
    """Create `counted`: every number's row to be kept.

    Needs what `count` and `correct` made. `anew` says that `changed` has everybody of whom anything is corrected;
    else others keep what was corrected of them.
    """
    con, names = step.con, [each.name for each in step.needs.counted]
    sums = ", ".join(
        f"CASE WHEN s.{name} IS NULL THEN g.{name} WHEN g.{name} IS NULL THEN s.{name} "
        f"ELSE s.{name} + g.{name} END AS {name}"
        for name in names
    )
    was = "NULL" if anew else "s.c_{}"
    changes = ", ".join(
        f"CASE WHEN n.number IS NOT NULL THEN n.{name} ELSE {was.format(name)} END AS c_{name}"
        for name in names
    )
    corrected = (
        f"CASE WHEN n.number IS NOT NULL THEN n.corrected ELSE {'false' if anew else 's.corrected'} END"
    )
    nothing = ", ".join(f"NULL AS {name}" for each in names for name in (each, f"c_{each}"))
    con.table(
        "counted",
        "SELECT s.number, s.arm, s.assigned, least(s.first, g.first) AS first, "
        f"s.here OR coalesce(g.here, false) AS here, {sums}, {changes}, {corrected} AS corrected FROM "
        "(SELECT * FROM known_customers UNION ALL BY NAME SELECT number, arm, assigned, NULL AS first, "
        f"false AS here, {nothing}, false AS corrected FROM fresh_ids) s "
        "LEFT JOIN gained g ON s.number = g.number LEFT JOIN changed n ON s.number = n.number",
    )


def put_in_place(step: Step) -> None:
    """Create `active` of what is `counted`, and views by `place` of who is assigned."""
    con, arms = step.con, len(step.experiment.arms)
    if step.attributed:
        con.view(
            "placed",
            "SELECT r.place, c.* FROM counted c JOIN all_ids i ON c.number = i.number JOIN roster r ON i.id = r.id",
        )
    else:
        con.view(
            "placed", f"SELECT number * {arms} + arm AS place, * FROM counted WHERE assigned IS NOT NULL"
        )
    own = ", ".join(together(each, each.name, f"c_{each.name}") for each in step.needs.counted)
    early = "CASE WHEN NOT here OR first IS NULL THEN 0 WHEN first < assigned THEN 2 ELSE 1 END AS e0"
    con.table("active", f"SELECT place, {own}, {early} FROM placed WHERE here OR corrected")
    con.view(
        "buyers",
        "SELECT p.place, i.id, p.arm, p.assigned FROM placed p JOIN all_ids i ON p.number = i.number",
    )
    con.view(
        "placed_corrections", "SELECT p.place, c.* FROM corrections c JOIN placed p ON c.number = p.number"
    )
    if not step.attributed:  # whoever did nothing stands at a place of their own
        con.view(
            "roster",
            "SELECT coalesce(b.place, -1 - l.line) AS place, l.id, l.arm, l.assigned "
            "FROM ledger l LEFT JOIN buyers b ON l.id = b.id",
        )
