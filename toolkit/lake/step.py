"""A step from a kept state: which events are new, what they add up to, and since when anything differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from toolkit.design.experiment import Experiment
from toolkit.lake.activity import MICROSECOND, codes_of, kind_of, plain_numbers
from toolkit.lake.engine import Engine, micros_of, quoted, texts
from toolkit.lake.events import Told, among, span_of
from toolkit.lake.ledger import Ledger
from toolkit.lake.sources import FileTable
from toolkit.lake.state import State, Store
from toolkit.lake.unit import Needs

__all__ = ["Step"]


@dataclass(frozen=True, slots=True)
class Step:
    """One measurement on top of what the ones before have kept."""

    con: Engine
    experiment: Experiment
    needs: Needs
    ledger: Ledger
    table: FileTable
    shown: Sequence[str]
    where: str
    store: Store
    state: State
    files: Mapping[str, str]
    as_of_end: datetime

    @property
    def values(self) -> list[str]:
        """Return the columns of events that are summed."""
        return [quoted("v_" + value) for value in self.needs.values]

    @property
    def span(self) -> str:
        """Return the condition that an event is in the span looked at."""
        first = self.ledger.first_at
        if first is None:
            raise AssertionError
        return span_of(self.table, first - self.needs.reach_back, self.as_of_end)

    def among(self, names: Sequence[str]) -> str:
        """Return the condition that a row stands in one of these files; others are not opened."""
        return f"of_file IN ({texts(self.files[name] for name in names)})" if names else "false"

    def see(self, name: str, condition: str) -> None:
        """Give the events that meet a condition a name, with the file that each stands in."""
        own = f" AND ({self.where.removeprefix(' WHERE ')})" if self.where else ""
        self.con.view(
            name,
            f"SELECT * FROM (SELECT {', '.join([*self.shown, 'of_file', *self._own_columns()])} FROM {self._filed()}) "
            f"WHERE ({condition}){own}",
        )

    def _own_columns(self) -> list[str]:
        return ["source"] if self.where else []

    def _filed(self) -> str:
        return self.table.sql.removesuffix(")") + ", filename = 'of_file')"

    def doubtful(self, fresh: Sequence[str]) -> bool:
        """Return whether new rows cannot be used: then all are read, and what is wrong is said as ever."""
        if not fresh or not self.table.doubts:
            return False
        wrong = " OR ".join(f"({doubt[0]})" for doubt in self.table.doubts)
        rows = self.con.one(f"SELECT count(*) FROM {self._filed()} WHERE {self.among(fresh)} AND ({wrong})")[
            0
        ]
        return bool(rows)

    def profile(self) -> dict[str, tuple[Any, ...]]:
        """Return the profile of all events by name: that which is kept, and that of the new ones."""
        currency, missing = "nullif(upper(currency), '')", "0"
        if "amount" in self.needs.values:
            missing = f"count(*) FILTER (WHERE {self.span} AND v_amount IS NULL)"
        found = {
            str(row[0]): list(row[1:])
            for row in self.con.rows(
                f"SELECT name, count(*) FILTER (WHERE {self.span}), max(happened), min({currency}) FILTER (WHERE "
                f"{self.span}), max({currency}) FILTER (WHERE {self.span}), {missing} FROM told_new GROUP BY name"
            )
            if row[0]
        }
        for name, kept in self.state.by_name.items():
            row = found.setdefault(name, [0, kept[1], None, None, 0])
            row[0] += kept[0]
            row[1] = max(row[1], kept[1])
            said = [each for each in (*row[2:4], *kept[2:4]) if each]
            row[2], row[3] = min(said, default=None), max(said, default=None)
            row[4] += kept[4]
        return {name: tuple(row) for name, row in found.items()}

    def changed_since(self, told: Told) -> int:
        """Return an instant before which nothing differs from what was known; 0 where anything may.

        What is known of the time before an instant depends on nothing that happened later: of orders with one id
        the earliest counts, and a refund counts from when both it and its order had happened.
        """
        con = self.con
        if self.experiment.analysis.looks == "fixed" or not self.state.customers:
            return 0
        moved = "assigned IS NOT NULL AND now IS DISTINCT FROM assigned"
        if con.one(f"SELECT count(*) FROM kept_customers WHERE {moved}")[0]:
            return 0
        of = f"WHERE {among(told.kinds)} AND {told.span}"
        ends = [
            con.one(f"SELECT min(happened) FROM told_new {of}")[0],
            con.one("SELECT min(now) FROM kept_customers WHERE anew")[0],
        ]
        if con.one("SELECT count(*) FROM marked")[0]:  # an order of theirs may have another customer's id
            con.table("few_anew", "SELECT * FROM few WHERE id IN (SELECT id FROM kept_customers WHERE anew)")
            shared = "SELECT min(n.happened) FROM few_anew n JOIN few f ON n.{0} = f.{0} WHERE n.id <> f.id"
            ends.extend(con.one(shared.format(key))[0] for key in ("order_id", "event_id"))
        return min([micros_of(self.as_of_end), *(int(each) for each in ends if each is not None)])

    def _grouped(self, told: Told, source: str, condition: str) -> str:
        """Return the query of plain sums per id over some events, whether or not the id is assigned."""
        if self.ledger.first_at is None:
            raise AssertionError
        kind, since = (
            kind_of(codes_of(self.experiment, told)),
            f"happened >= {micros_of(self.ledger.first_at)}",
        )
        plain = plain_numbers(self.experiment, self.needs, told)
        columns = ", ".join(["id", f"{kind} AS kind", "happened", *self.values])
        matters = f"coalesce(off >= {-(self.needs.reach_back // MICROSECOND)}, false) OR {since}"
        return (
            f"SELECT id, any_value(place) AS place, any_value(assigned) AS assigned, "
            f"min(CASE WHEN {since} THEN happened END) AS first, bool_or({matters}) AS here, {', '.join(plain)} "
            f"FROM (SELECT e.*, r.place, r.assigned, e.happened - r.assigned AS off FROM (SELECT {columns} FROM {source} "
            f"WHERE {among(told.wanted)} AND {told.span} AND id IS NOT NULL AND {condition}) e "
            "LEFT JOIN roster r ON e.id = r.id) GROUP BY id"
        )

    def count(self, told: Told) -> None:
        """Create `counted(id, place, assigned, first, here, y…)`: all ids with any event, assigned or not.

        Who was assigned since, or at another instant than was known, is counted anew from the files that reach
        far enough; all others' kept sums are added to.
        """
        con, state = self.con, self.state
        if not state.customers:
            con.table("counted", self._grouped(told, "told_new", "true"))
            return
        con.table("gained", self._grouped(told, "told_new", "true"))
        names = [each.name for each in self.needs.counted]
        kept = f"read_parquet([{texts(self.store.path(name) for name in state.customers)}])"
        con.table(
            "kept_customers",
            "SELECT s.*, r.place, r.assigned AS now, r.assigned IS NOT NULL AND s.assigned IS DISTINCT FROM r.assigned "
            f"AS anew FROM {kept} s LEFT JOIN roster r ON s.id = r.id",
        )
        lowest = con.one("SELECT min(now) FROM kept_customers WHERE anew")[0]
        if lowest is not None:
            lowest -= self.needs.reach_back // MICROSECOND
            far = [name for name, latest in state.events.items() if latest >= lowest]
            self.see("told_far", f"{self.among(far)} AND happened < {state.upto} AND happened >= {lowest}")
            of = "id IN (SELECT id FROM kept_customers WHERE anew)"
            con.table("refreshed", self._grouped(told, "told_far", of))
            own = [f"CASE WHEN s.anew THEN f.{name} ELSE s.{name} END AS {name}" for name in names]
            con.view(
                "known_customers",
                f"SELECT s.id, s.place, s.now, s.first, CASE WHEN s.anew THEN coalesce(f.here, false) "
                f"OR s.first IS NOT NULL ELSE s.here END AS here, {', '.join(own)} "
                "FROM kept_customers s LEFT JOIN refreshed f ON s.id = f.id",
            )
        else:
            con.view("known_customers", "SELECT * EXCLUDE (assigned, anew) FROM kept_customers")
        both = [
            f"CASE WHEN s.{name} IS NULL THEN g.{name} WHEN g.{name} IS NULL THEN s.{name} "
            f"ELSE s.{name} + g.{name} END AS {name}"
            for name in names
        ]
        con.table(
            "counted",
            "SELECT coalesce(s.id, g.id) AS id, coalesce(s.place, g.place) AS place, coalesce(s.now, g.assigned) AS assigned, "
            "least(s.first, g.first) AS first, coalesce(s.here, false) OR coalesce(g.here, false) AS here, "
            f"{', '.join(both)} FROM known_customers s FULL JOIN gained g ON s.id = g.id",
        )
