"""Customers between measurements: what is kept of each, what new events add, and what corrections change of it.

Every id that was ever met has a number, so that one text is compared for each new event and none for what is
kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolkit.lake.activity import MICROSECOND, codes_of, counts_of, kind_of, plain_numbers, together
from toolkit.lake.customers import DOUBLE, WHOLE, Customers, Flags, Numbers, fetched, kind_of_sum
from toolkit.lake.engine import Engine, micros_of, parquet, text
from toolkit.lake.events import Told, among
from toolkit.lake.sources import FileTable
from toolkit.lake.step import Step
from toolkit.lake.tables import files_by_name

__all__ = ["KeptCustomers", "count", "find_newcomers", "grown", "put_in_place", "put_together"]

ASSIGNED = {"arm": WHOLE, "assigned": WHOLE}


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


@dataclass(frozen=True, slots=True)
class KeptCustomers:
    """What is kept of customers, how they are assigned now, and for whom that is another assignment than it was."""

    customers: Customers
    assigned: Customers
    anew: Flags

    def moved(self) -> bool:
        """Return whether anybody's assignment, having been known, is another now."""
        was, had = self.customers.of("assigned")
        now, known = self.assigned.of("assigned")
        return bool((had & ~(known & (now == was))).any())

    def lend(self, con: Engine, name: str, at: Numbers | None = None) -> None:
        """Create the view `name`: what is kept, with the arm and assignment of now, and that which it `was`; of `at` alone."""
        besides = {
            "was": self.customers.of("assigned"),
            **{each: self.assigned.of(each) for each in ASSIGNED},
        }
        self.customers.lend(con, name, besides, {"anew": self.anew}, at=at)


def count(step: Step, told: Told, *, only_newcomers: bool) -> KeptCustomers:
    """Create `kept_customers`, `gained`, by new events, and `refreshed`, by all events of those who are counted anew, if any are.

    These were assigned since, or at another instant than was known; they are counted from the files that reach far
    enough. Every id has a number: `fresh_ids(number, id, arm, assigned)` are new, and `all_ids` all of them.
    Needs `told_new`, and `newcomers` where `only_newcomers`.

    Raises:
        OSError, ValueError: what is kept cannot be read.
    """
    con, state = step.con, step.state
    kept = _keep_up(step, only_newcomers=only_newcomers)
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
    if not kept.anew.any():
        return kept
    con.table("moved", "SELECT number, arm, assigned FROM kept_customers WHERE anew")
    lowest = con.one("SELECT min(assigned) FROM moved")[0]
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
    return kept


def _keep_up(step: Step, *, only_newcomers: bool) -> KeptCustomers:
    """Create `kept_customers`: what is kept of each, with the arm and assignment of now, and that which it `was`."""
    con, state = step.con, step.state
    kept = step.store.customers(state)
    if len(kept) != step.numbered:
        raise ValueError("numbers and customers are not of one state")
    now, (was, had) = kept.without_sums(), kept.of("assigned")
    if only_newcomers:
        numbers, new = fetched(con, "SELECT * FROM newcomers", ASSIGNED)
        anew = np.zeros(len(kept), np.bool_)
        anew[numbers] = True
        fresh = ~had[numbers]
        now.put(
            numbers[fresh], {name: (values[fresh], known[fresh]) for name, (values, known) in new.items()}
        )
    else:
        now_assigned = (
            f"SELECT i.number, l.arm, l.assigned FROM {step.kept_ids} i JOIN ledger l ON i.id = l.id"
        )
        now.forget(slice(None), ASSIGNED)
        now.put(*fetched(con, now_assigned, ASSIGNED))
        assigned, known = now.of("assigned")
        anew = known & ~(had & (assigned == was))
    found = KeptCustomers(kept, now, anew)
    found.lend(con, "kept_customers")
    return found


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


def grown(step: Step, kept: KeptCustomers) -> Customers:
    """Return what is known of every number with new events added up, and what is corrected as it was known.

    Needs what `count` made.

    Raises:
        ValueError: a sum is too large to be kept, or of a kind that is not.
    """
    con, names = step.con, [each.name for each in step.needs.counted]
    sums = _kinds(step, "gained")
    before = (
        kept.customers
        if len(kept.customers)
        else Customers.none(sums | {f"c_{name}": sums[name] for name in names})
    )
    if any(before.kinds[name] != kind for name, kind in sums.items()):
        raise ValueError("new sums are not of the kind of those that are kept")
    at, found = fetched(con, "SELECT number, arm, assigned FROM fresh_ids", ASSIGNED)
    now = before.with_more(len(at))
    now.put(slice(len(before)), {name: kept.assigned.of(name) for name in ASSIGNED})
    now.put(at, found)
    again = np.flatnonzero(kept.anew)
    now.forget(again, names)
    now.told("here")[again] = now.of("first")[1][again]
    if len(again):
        at, found = fetched(con, f"SELECT number, here, {', '.join(names)} FROM refreshed", sums, ("here",))
        now.told("here")[at] |= found.pop("here")[0]
        now.put(at, found)
    gained = f"SELECT number, first, here, {', '.join(names)} FROM gained"
    at, found = fetched(con, gained, {"first": WHOLE, **sums}, ("here",))
    now.told("here")[at] |= found.pop("here")[0]
    now.earliest(at, "first", *found.pop("first"))
    now.add(at, found)
    return now


def put_together(step: Step, now: Customers, *, anew: bool) -> None:
    """Let what is known of every number (`grown`) have what is corrected, and create `counted` of it.

    Needs what `correct` made. `anew` says that `changed` has everybody of whom anything is corrected; else others
    keep what was corrected of them.

    Raises:
        ValueError: a sum is too large to be kept, or of a kind that is not.
    """
    changes = _kinds(step, "changed")
    sums = {name: now.kinds[name] for name in changes}
    if any(
        changes[name] not in {kind, WHOLE, DOUBLE if kind == WHOLE else kind} for name, kind in sums.items()
    ):
        raise ValueError("corrections are not of the kind of what they correct")
    if anew:
        now.forget(slice(None), [f"c_{name}" for name in sums])
        now.told("corrected")[:] = False
    at, found = fetched(step.con, "SELECT * FROM changed", sums, ("corrected",))
    now.told("corrected")[at] = found.pop("corrected")[0]
    now.put(at, {f"c_{name}": each for name, each in found.items()})
    now.lend(step.con, "counted")


def _kinds(step: Step, table: str) -> dict[str, str]:
    """Return how the sums of a table are kept."""
    declared = step.con.columns(table)
    return {each.name: kind_of_sum(declared[each.name]) for each in step.needs.counted}


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
