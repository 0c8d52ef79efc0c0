"""What one measurement leaves for the next: what was found with the help of a state, and the state after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import duckdb

from toolkit.lake.activity import Activity
from toolkit.lake.customers import Customers
from toolkit.lake.engine import micros_of
from toolkit.lake.enrolled import Enrolled, enrolled_anew
from toolkit.lake.events import Told
from toolkit.lake.hours import Hours
from toolkit.lake.signs import Signs
from toolkit.lake.state import State, Store
from toolkit.lake.step import Step

__all__ = ["RECENT", "Advanced", "Writing", "write_customers", "write_first", "write_last"]

RECENT = timedelta(days=56)
"""So far back events are kept by number, or as far as the metrics look back, and two weeks."""


@dataclass(frozen=True, slots=True)
class Writing:
    """Parts of the next state, each written in turn in the pool's thread; until the state is put in place they are nobody's.

    They are written `at_once`, or from `begin` on.
    """

    pool: ThreadPoolExecutor
    at_once: bool
    waiting: list[Callable[[], dict[str, Any]]] = field(default_factory=list)
    begun: list[Future[dict[str, Any]]] = field(default_factory=list)

    def add(self, part: Callable[[], dict[str, Any]]) -> None:
        """Have a part written."""
        self.waiting.append(part)
        if self.at_once:
            self.begin()

    def begin(self) -> None:
        """Have all parts that wait written."""
        self.begun.extend(self.pool.submit(part) for part in self.waiting)
        self.waiting.clear()

    def parts(self) -> dict[str, Any]:
        """Return all parts, once they are written.

        Raises:
            OSError, duckdb.Error: one cannot be written.
        """
        self.begin()
        self.pool.shutdown(wait=False)
        return {name: part for each in self.begun for name, part in each.result().items()}


@dataclass(frozen=True, slots=True)
class Advanced:
    """What was found with the help of a state, and the state that the next measurement goes on from.

    Attributes:
        before, after: the state that was read, and the one to be kept.
        changed_since: what happened before this instant (microseconds) is as it was; 0 where anything may differ.
        looks: date → rows (arm, sums…) of the curve's looks, for the next measurement.
        hours: all orders of the lake by the hour.
        enrolled: date → customers assigned by its end, by the arm's place, for the next measurement.
        writing: parts of the next state while they are written, beside what is left to be measured; None if it is not kept.
    """

    told: Told
    activity: Activity
    store: Store
    before: State
    after: State
    step: Step
    changed_since: int
    looks: dict[str, list[list[float]]]
    hours: Hours
    enrolled: dict[str, list[int]] = field(default_factory=dict)
    writing: Writing | None = None

    @property
    def kept_looks(self) -> int:
        """Return how many looks of the curve are kept."""
        return len(self.before.looks)

    def looks_before(self, dates: Sequence[str]) -> dict[tuple[int, int], list[float]]:
        """Return (arm, place among `dates`) → sums of the looks that are kept; none if they are not the first of `dates`."""
        kept = list(self.before.looks)
        if not kept or kept != list(dates[: len(kept)]) or not self.changed_since:
            return {}
        return {(int(row[0]), at): row[1:] for at, on in enumerate(kept) for row in self.before.looks[on]}

    def enrolled_before(self, dates: Sequence[str]) -> list[list[int]]:
        """Return who was assigned by the looks that are kept, if they are the first of `dates` and nobody came late."""
        kept = self.before.enrolled_by_look
        return list(kept.values()) if list(kept) == list(dates[: len(kept)]) and self.changed_since else []

    @property
    def recent_since(self) -> int:
        """Return the instant since which events are kept by number."""
        return self.before.recent_since

    def told_since(self, since: int) -> str:
        """Create a view of the events, as they were told, that happened since an instant; return its name."""
        files = [name for name in self.step.files if self.after.events.get(name, since) >= since]
        self.step.see("told_recent", f"{self.step.among(files)} AND happened >= {since}")
        return "told_recent"

    def keep(self) -> None:
        """Put the state that is written in place. Where that cannot be done nothing is lost but time."""
        store, before = self.store, self.before
        if self.writing is None:
            return
        try:
            kept = replace(
                self.after, **self.writing.parts(), looks=self.looks, enrolled_by_look=self.enrolled
            )
            store.write(kept, before.sizes, before.files)
            store.drop([name for name in before.before if name not in {*kept.files, *before.files}])
        except (OSError, ValueError, duckdb.Error):
            store.drop(store.made)


def write_first(step: Step, fresh: Signs) -> dict[str, Any]:
    """Write what is known once new events are counted: their ids, recent events, signs, what needs care, the ledger.

    Returns:
        those parts of the next state.
    """
    con, store, before = step.con, step.store, step.state
    store.folder.mkdir(parents=True, exist_ok=True)
    needed = micros_of(step.as_of_end - max(RECENT, step.needs.reach_back + timedelta(days=14)))
    since = max(needed, before.recent_since) if before.recent else needed
    recent = {name: latest for name, latest in before.recent.items() if latest >= since}
    latest = con.one("SELECT max(happened) FROM seen")[0]
    if latest is not None and latest >= since:
        query = f"SELECT * EXCLUDE (arm, assigned) FROM seen WHERE happened >= {since}"
        recent[store.copy(con, query, "recent")] = int(latest)
    found = step.ledger.enrolment or enrolled_anew(con, step.experiment, step.ledger)
    enrolled = Enrolled()
    if found:
        enrolled = replace(found.enrolled, signs=store.with_signs(found.enrolled.signs, found.fresh))
    return {
        "recent": recent,
        "recent_since": since,
        "ids": store.with_rows(con, before.ids, "ids", "(SELECT number, id FROM fresh_ids)"),
        "marked": store.with_rows(con, before.marked, "marked", "marked_new"),
        "signs": store.with_signs(before.signs, fresh),
        "enrolled": enrolled,
    }


def write_customers(step: Step, customers: Customers) -> dict[str, Any]:
    """Write what is known of every number; return that part of the next state."""
    return {"customers": step.store.with_customers(customers), "kinds": customers.kinds}


def write_last(step: Step, after: State, hours: Hours) -> dict[str, Any]:
    """Write what is known at the end: what is corrected, and orders by the hour.

    Returns:
        those parts of the next state.
    """
    con, store = step.con, step.store
    own = f"(SELECT *, {after.step} AS step FROM corrections_new)"
    gone = f"(SELECT DISTINCT sign, {after.step} AS step FROM retracted WHERE sign IS NOT NULL)"
    return {
        "corrections": store.with_rows(con, after.corrections, "corrections", own),
        "retracted": store.with_rows(con, after.retracted, "retracted", gone),
        "bare": store.with_rows(con, after.bare, "bare", "bare_new"),
        "hours": store.with_hours(hours.until(step.as_of_end)),
    }
