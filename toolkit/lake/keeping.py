"""What one measurement leaves for the next: what was found with the help of a state, and the state after it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta

import duckdb

from toolkit.lake.activity import Activity
from toolkit.lake.engine import Engine, micros_of
from toolkit.lake.enrolled import Enrolled, enrolled_anew
from toolkit.lake.events import Told
from toolkit.lake.hours import Hours
from toolkit.lake.signs import Signs
from toolkit.lake.state import State, Store
from toolkit.lake.step import Step

__all__ = ["RECENT", "Advanced"]

RECENT = timedelta(days=56)
"""So far back events are kept by number, or as far as the metrics look back, and two weeks."""


@dataclass(frozen=True, slots=True)
class Advanced:
    """What was found with the help of a state, and the state that the next measurement goes on from.

    Attributes:
        before, after: the state that was read, and the one to be kept.
        fresh: signs of the events that came since.
        changed_since: what happened before this instant (microseconds) is as it was; 0 where anything may differ.
        looks: date → rows (arm, sums…) of the curve's looks, for the next measurement.
        hours: all orders of the lake by the hour.
        enrolled: date → customers assigned by its end, by the arm's place, for the next measurement.
        writing: the state's files while they are written, beside what is left to be measured.
    """

    told: Told
    activity: Activity
    store: Store
    before: State
    after: State
    fresh: Signs
    step: Step
    changed_since: int
    looks: dict[str, list[list[float]]]
    hours: Hours
    enrolled: dict[str, list[int]] = field(default_factory=dict)
    writing: Future[State] | None = None

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

    @property
    def _recent_since(self) -> int:
        """Return the instant since which events are kept by number."""
        needed = max(RECENT, self.step.needs.reach_back + timedelta(days=14))
        since = micros_of(self.step.as_of_end - needed)
        return max(since, self.before.recent_since) if self.before.recent else since

    def _with_recent(self, con: Engine, since: int) -> dict[str, int]:
        """Return the files of events kept by number, with one of the new events since an instant."""
        kept = {name: latest for name, latest in self.before.recent.items() if latest >= since}
        latest = con.one("SELECT max(happened) FROM seen")[0]
        if latest is None or latest < since:
            return kept
        query = f"SELECT * EXCLUDE (arm, assigned) FROM seen WHERE happened >= {since}"
        return {**kept, self.store.copy(con, query, "recent"): int(latest)}

    def _with_enrolled(self, con: Engine) -> Enrolled:
        """Return what is known of the ledger's files, with the signs of new rows."""
        ledger = self.step.ledger
        found = ledger.enrolment or enrolled_anew(con, self.step.experiment, ledger)
        if found is None:
            return Enrolled()
        return replace(found.enrolled, signs=self.store.with_signs(found.enrolled.signs, found.fresh))

    def begin_to_keep(self, con: Engine) -> Advanced:
        """Begin to write the files of the state, in a thread; until `keep` they are nobody's."""
        pool = ThreadPoolExecutor(1)
        writing = pool.submit(self._write, con.beside())
        pool.shutdown(wait=False)
        return replace(self, writing=writing)

    def keep(self) -> None:
        """Put the state that is written in place. Where that cannot be done nothing is lost but time."""
        if self.writing is None:
            return
        store, before = self.store, self.before
        try:
            kept = replace(self.writing.result(), looks=self.looks, enrolled_by_look=self.enrolled)
            store.write(kept, before.sizes, before.files)
            store.drop([name for name in before.before if name not in {*kept.files, *before.files}])
        except (OSError, duckdb.Error):
            return

    def _write(self, con: Engine) -> State:
        store, after, since = self.store, self.after, self._recent_since
        store.folder.mkdir(parents=True, exist_ok=True)
        return replace(
            after,
            recent=self._with_recent(con, since),
            recent_since=since,
            hours=store.with_hours(self.hours.until(self.step.as_of_end)),
            ids=store.with_rows(con, after.ids, "ids", "(SELECT number, id FROM fresh_ids)"),
            customers=[store.copy(con, "SELECT * FROM counted", "customers")],
            marked=store.with_rows(con, after.marked, "marked", "marked_new"),
            corrections=store.with_rows(
                con,
                after.corrections,
                "corrections",
                f"(SELECT *, {after.step} AS step FROM corrections_new)",
            ),
            retracted=store.with_rows(
                con,
                after.retracted,
                "retracted",
                f"(SELECT DISTINCT sign, {after.step} AS step FROM retracted WHERE sign IS NOT NULL)",
            ),
            bare=store.with_rows(con, after.bare, "bare", "bare_new"),
            signs=store.with_signs(self.before.signs, self.fresh),
            enrolled=self._with_enrolled(con),
        )
