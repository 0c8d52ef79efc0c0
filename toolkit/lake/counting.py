"""Customers between measurements: what is kept of each, what new events add, and what corrections change of it.

Kept rows are told apart by their number in the kept file, so that one text is compared for each new event and
none for what is kept.
"""

from __future__ import annotations

from toolkit.lake.activity import MICROSECOND, codes_of, kind_of, plain_numbers, together
from toolkit.lake.engine import micros_of, parquet, text
from toolkit.lake.events import Told, among
from toolkit.lake.sources import FileTable
from toolkit.lake.step import Step, files_by_name

__all__ = ["count", "find_newcomers", "put_together"]


def find_newcomers(step: Step) -> bool:
    """Create `newcomers(id, arm, assigned)`: who was assigned since what is kept; False where others may have moved.

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
    con.table("newcomers", f"SELECT id, arm, assigned FROM ledger WHERE assigned >= {state.upto}")
    return True


def count(step: Step, told: Told, *, only_newcomers: bool) -> None:
    """Create `kept_customers`, `known_customers` (counted anew where they must be) and `gained`, by new events.

    Who was assigned since, or at another instant than was known, is counted anew from the files that reach far
    enough. `gained` has a `number` of `kept_customers`, or none. Needs `told_new`, and `newcomers` where
    `only_newcomers`.
    """
    con, state = step.con, step.state
    names = [each.name for each in step.needs.counted]
    _keep_up(step, only_newcomers=only_newcomers)
    of = f"WHERE {among(told.wanted)} AND {told.span} AND id IS NOT NULL"
    con.table(
        "seen",
        f"SELECT e.*, s.number, s.arm, s.assigned FROM (SELECT {_columns(step, told)} FROM told_new {of}) e "
        "LEFT JOIN kept_customers s ON e.id = s.id",
    )
    con.table(
        "strangers",
        "SELECT l.id, l.arm, l.assigned FROM (SELECT DISTINCT id FROM seen WHERE number IS NULL) s "
        "JOIN ledger l ON s.id = l.id",
    )
    whose = "s.number, coalesce(s.arm, n.arm) AS arm, coalesce(s.assigned, n.assigned) AS assigned"
    con.view(
        "seen_ours",
        f"SELECT s.* EXCLUDE (number, arm, assigned), {whose} FROM seen s LEFT JOIN strangers n ON s.id = n.id",
    )
    con.table("gained", _grouped(step, told, "SELECT * FROM seen_ours"))
    lowest = con.one("SELECT min(assigned) FROM kept_customers WHERE anew")[0]
    if lowest is None:
        con.view("known_customers", "SELECT * FROM kept_customers")
        return
    lowest -= step.needs.reach_back // MICROSECOND
    far = [name for name, latest in state.events.items() if latest >= lowest]
    step.see("told_far", f"{step.among(far)} AND happened < {state.upto} AND happened >= {lowest}")
    before = (
        f"SELECT e.*, s.number, s.arm, s.assigned FROM (SELECT {_columns(step, told)} FROM told_far {of}) e "
        "JOIN (SELECT * FROM kept_customers WHERE anew) s ON e.id = s.id"
    )
    con.table("refreshed", _grouped(step, told, before))
    own = ", ".join(f"CASE WHEN s.anew THEN f.{name} ELSE s.{name} END AS {name}" for name in names)
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
            "SELECT CAST(NULL AS BIGINT) AS number, CAST(NULL AS VARCHAR) AS id, CAST(NULL AS SMALLINT) AS arm, "
            "CAST(NULL AS BIGINT) AS assigned, CAST(NULL AS BIGINT) AS was, false AS anew, "
            f"CAST(NULL AS BIGINT) AS first, false AS here, {nothing}, false AS corrected WHERE false",
        )
        return
    kept = step.store.read_files(state.customers, numbered=True)
    if only_newcomers:
        arm, assigned, anew, others = (
            "coalesce(s.arm, r.arm)",
            "coalesce(s.assigned, r.assigned)",
            "r.id IS NOT NULL",
            "newcomers",
        )
    else:
        arm, assigned, others = "r.arm", "r.assigned", "ledger"
        anew = "r.assigned IS NOT NULL AND s.assigned IS DISTINCT FROM r.assigned"
    con.table(
        "kept_customers",
        f"SELECT s.file_row_number AS number, {arm} AS arm, {assigned} AS assigned, s.assigned AS was, {anew} AS anew, "
        f"s.* EXCLUDE (file_row_number, arm, assigned) FROM {kept} s LEFT JOIN {others} r ON s.id = r.id",
    )


def _columns(step: Step, told: Told) -> str:
    kind = kind_of(codes_of(step.experiment, told))
    return ", ".join(["id", f"{kind} AS kind", "happened", *step.values])


def _grouped(step: Step, told: Told, source: str) -> str:
    """Return the query of plain sums per id over some events, whether or not the id is assigned."""
    if step.ledger.first_at is None:
        raise AssertionError
    since = f"happened >= {micros_of(step.ledger.first_at)}"
    matters = f"coalesce(off >= {-(step.needs.reach_back // MICROSECOND)}, false) OR {since}"
    plain = ", ".join(plain_numbers(step.experiment, step.needs, told))
    return (
        f"SELECT id, any_value(number) AS number, any_value(arm) AS arm, any_value(assigned) AS assigned, "
        f"min(CASE WHEN {since} THEN happened END) AS first, bool_or({matters}) AS here, {plain} "
        f"FROM (SELECT *, happened - assigned AS off FROM ({source})) GROUP BY id"
    )


def put_together(step: Step, *, anew: bool) -> None:
    """Create `counted`, every id's row to be kept, and `active` of it; with views by its `place` of who is assigned.

    Needs what `count` and `correct` made. `anew` says that `changed` has everybody of whom anything is corrected;
    else others keep what was corrected of them.
    """
    con, arms, names = step.con, len(step.experiment.arms), [each.name for each in step.needs.counted]
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
    new = ", ".join([*(f"g.{name}" for name in names), *(f"n.{name} AS c_{name}" for name in names)])
    con.table(
        "counted",
        f"SELECT s.number * {arms} + s.arm AS place, s.id, s.arm, s.assigned, least(s.first, g.first) AS first, "
        f"s.here OR coalesce(g.here, false) AS here, {sums}, {changes}, {corrected} AS corrected FROM known_customers s "
        "LEFT JOIN gained g ON s.number = g.number LEFT JOIN changed n ON s.number = n.number UNION ALL "
        f"SELECT ((SELECT count(*) FROM kept_customers) + row_number() OVER ()) * {arms} + arm AS place, * FROM ("
        f"SELECT coalesce(g.id, n.id) AS id, coalesce(g.arm, n.arm) AS arm, coalesce(g.assigned, n.assigned) AS assigned, "
        f"g.first, coalesce(g.here, false) AS here, {new}, coalesce(n.corrected, false) AS corrected FROM "
        "(SELECT * FROM gained WHERE number IS NULL) g FULL JOIN (SELECT * FROM changed WHERE number IS NULL) n "
        "ON g.id = n.id)",
    )
    if step.attributed:
        con.table(
            "counted",
            "SELECT c.* REPLACE (r.place AS place) FROM counted c LEFT JOIN roster r ON c.id = r.id",
        )
    own = ", ".join(together(each, each.name, f"c_{each.name}") for each in step.needs.counted)
    early = "CASE WHEN NOT here OR first IS NULL THEN 0 WHEN first < assigned THEN 2 ELSE 1 END AS e0"
    con.table(
        "active",
        f"SELECT place, {own}, {early} FROM counted WHERE assigned IS NOT NULL AND (here OR corrected)",
    )
    con.view("buyers", "SELECT place, id, arm, assigned FROM counted WHERE assigned IS NOT NULL")
    con.view("placed_corrections", "SELECT b.place, c.* FROM corrections c JOIN buyers b ON c.id = b.id")
    if not step.attributed:  # whoever did nothing stands at a place of their own
        con.view(
            "roster",
            "SELECT coalesce(b.place, -1 - l.line) AS place, l.id, l.arm, l.assigned "
            "FROM ledger l LEFT JOIN buyers b ON l.id = b.id",
        )
