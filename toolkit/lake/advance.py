"""From one measurement to the next: only events that came since are read, and what they change of what is known.

Plain sums of events only ever grow, so a kept sum and that of the events since make the sum of all. Everything
else is small, and kept as it is: events that cannot just be added up (a repeated order, a refund and its order)
are looked at closely all over again, which makes late events, refunds and restatements exact. A new event that
repeats one from long ago is found by its sign; only the files in which such signs stand are read again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import duckdb
import numpy as np

from toolkit.design.experiment import Experiment
from toolkit.lake.activity import (
    MICROSECOND,
    ORDER,
    Activity,
    Few,
    codes_of,
    kind_of,
    look_into_marked,
    plain_numbers,
    settle_activity,
    sign_of,
)
from toolkit.lake.engine import Engine, micros_of, quoted, text, texts
from toolkit.lake.events import Told, among, events_of_lake, span_of, told_of
from toolkit.lake.ledger import Ledger
from toolkit.lake.sources import FileTable
from toolkit.lake.state import STATE_UPTO, Signs, State, Store, store_of
from toolkit.lake.tables import Lake
from toolkit.lake.unit import Needs

__all__ = ["Advanced", "advance", "remember"]


@dataclass(frozen=True, slots=True)
class Advanced:
    """What was found with the help of a state, and the state that the next measurement goes on from.

    Attributes:
        before, after: the state that was read, and the one to be kept.
        fresh: signs of the events that came since.
        changed_since: what happened before this instant (microseconds) is as it was; 0 where anything may differ.
        looks: date → rows (arm, sums…) of the curve's looks, for the next measurement.
    """

    told: Told
    activity: Activity
    store: Store
    before: State
    after: State
    fresh: Signs
    step: _Step
    changed_since: int
    looks: dict[str, list[list[float]]]

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

    def recent(self, con: Engine, since: int) -> str:
        """Create a view of the events that happened since an instant; return its name."""
        del con
        files = [name for name in self.step.files if self.after.events.get(name, since) >= since]
        self.step.see("told_recent", f"{self.step.among(files)} AND happened >= {since}")
        return "told_recent"

    def keep(self, con: Engine) -> None:
        """Write the state. Where that cannot be done nothing is lost but time."""
        store, after = self.store, self.after
        try:
            store.folder.mkdir(parents=True, exist_ok=True)
            customers = [store.copy(con, "SELECT * EXCLUDE (place) FROM counted", "customers")]
            marked, bare = (
                store.with_rows(con, kept, what)
                for kept, what in ((after.marked, "marked"), (after.bare, "bare"))
            )
            signs = store.with_signs(self.before, self.fresh)
            kept = replace(
                after, looks=self.looks, customers=customers, marked=marked, bare=bare, signs=signs
            )
            store.write(kept, self.before.sizes, self.before.files)
            store.drop([name for name in self.before.before if name not in {*kept.files, *self.before.files}])
        except (OSError, duckdb.Error):
            return


def remember(lake: Lake, experiment: Experiment, activity: Activity | None) -> None:
    """Leave word, after a measurement of many events without a state, that one would pay."""
    if activity is None or activity.read > STATE_UPTO or lake.versions:
        return
    events = experiment.events
    store = store_of(lake.home, experiment.key)
    if store and events and events.in_lake and not store.wanted():
        store.note()


def advance(
    con: Engine,
    lake: Lake,
    experiment: Experiment,
    spec: str,
    needs: Needs,
    ledger: Ledger,
    *,
    as_of_end: datetime,
) -> Advanced | None:
    """Create `active` as `add_up` does, from the state that is kept and the events since; None where it can't be.

    Needs `roster`; creates the view `told` of all events, and `marked`, `few` and `corrections` as `add_up` does.
    """
    events = experiment.events
    if events is None or not events.in_lake or con.dialect != "duckdb" or lake.versions:
        return None
    store = store_of(lake.home, experiment.key)
    version = lake.version("events") if store and store.wanted() else None
    if store is None or version is None or ledger.first_at is None:
        return None
    pinned = replace(lake, versions={"events": version})
    table, shown, where, _, through = events_of_lake(con, pinned, experiment, spec, needs)
    since = ledger.first_at - needs.reach_back
    state = store.read(_fits(con, experiment, needs, table, shown, where, since))
    files = {name.rpartition("/")[2]: name for name in pinned.files("events")}
    if not files.keys() >= state.events.keys():  # files were merged or rewritten: nobody knows what is new
        state = State(state.fits)
    if micros_of(as_of_end) < state.upto:
        return None
    try:
        step = _Step(con, experiment, needs, ledger, table, shown, where, store, state, files, as_of_end)
        return step.take(spec, through, version)
    except (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException):
        raise
    except (OSError, ValueError, duckdb.Error):  # what was kept cannot be read
        return None


def _fits(
    con: Engine,
    experiment: Experiment,
    needs: Needs,
    table: FileTable,
    shown: Sequence[str],
    where: str,
    since: datetime,
) -> str:
    """Return a digest of all that the kept numbers depend on, besides events and assignments themselves."""
    named = experiment.events
    said = [
        duckdb.__version__, con.sign("id"), experiment.key, repr(needs.counted), repr(named),
        dict(table.columns), list(shown), where, micros_of(since), repr(list(experiment.arms)),
    ]  # fmt: skip
    return hashlib.sha256(repr(said).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Step:
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
        return [quoted("v_" + value) for value in self.needs.values]

    @property
    def span(self) -> str:
        first = self.ledger.first_at
        if first is None:
            raise AssertionError
        return span_of(self.table, first - self.needs.reach_back, self.as_of_end)

    def take(self, spec: str, through: datetime | None, version: int) -> Advanced | None:
        con, experiment, needs, state = self.con, self.experiment, self.needs, self.state
        if experiment.events is None:
            raise AssertionError
        con.view("told", f"SELECT {', '.join(self.shown)} FROM {self.table.sql}{self.where}")
        fresh = [name for name in self.files if name not in state.events]
        if self._doubtful(fresh):
            return None
        late = [name for name, latest in state.events.items() if latest >= state.upto]
        self.see("told_new", f"({self.among(fresh)}) OR ({self.among(late)} AND happened >= {state.upto})")
        by_name = self._profile(state)
        order, upto = experiment.events.order.name, micros_of(self.as_of_end)
        told = told_of(
            experiment,
            spec,
            needs,
            {name: (*row[:2], *(row[2:4] if name == order else (None, None)), row[4]) for name, row in by_name.items()},
            self.span,
            through,
            version,
            None,
        )  # fmt: skip
        if len(told.currencies) > 1 or sum(row[0] for row in by_name.values()) > STATE_UPTO:
            return None
        self._count(told)
        latest = dict(con.rows("SELECT of_file, max(happened) FROM told_new GROUP BY of_file"))
        places = {**state.events, **{name: latest.get(self.files[name], 0) for name in fresh}}
        signs = self._mark(told, list(places))
        few = Few()
        if con.one("SELECT count(*) FROM marked")[0]:
            few = look_into_marked(con, experiment, told, self.values)
        early = "CASE WHEN first IS NULL THEN 0 WHEN first < assigned THEN 2 ELSE 1 END AS e0"
        names = [each.name for each in needs.counted]
        active = f"SELECT place, {', '.join([*names, early])} FROM counted WHERE place IS NOT NULL AND here"
        activity = settle_activity(con, experiment, needs, told, few, active)
        activity = replace(activity, without_amount=self._without_amount(told, order, few))
        after = replace(
            state, upto=upto, events=places, by_name={name: list(row) for name, row in by_name.items()}
        )
        return Advanced(told, activity, self.store, state, after, signs, self, self._changed_since(told), {})

    def among(self, names: Sequence[str]) -> str:
        """Return the condition that a row stands in one of these files; others are not opened."""
        return f"of_file IN ({texts(self.files[name] for name in names)})" if names else "false"

    def see(self, name: str, condition: str) -> None:
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

    def _doubtful(self, fresh: Sequence[str]) -> bool:
        """Return whether new rows cannot be used: then all are read, and what is wrong is said as ever."""
        if not fresh or not self.table.doubts:
            return False
        wrong = " OR ".join(f"({doubt[0]})" for doubt in self.table.doubts)
        rows = self.con.one(f"SELECT count(*) FROM {self._filed()} WHERE {self.among(fresh)} AND ({wrong})")[
            0
        ]
        return bool(rows)

    def _profile(self, state: State) -> dict[str, tuple[Any, ...]]:
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
        for name, kept in state.by_name.items():
            row = found.setdefault(name, [0, kept[1], None, None, 0])
            row[0] += kept[0]
            row[1] = max(row[1], kept[1])
            said = [each for each in (*row[2:4], *kept[2:4]) if each]
            row[2], row[3] = min(said, default=None), max(said, default=None)
            row[4] += kept[4]
        return {name: tuple(row) for name, row in found.items()}

    def _changed_since(self, told: Told) -> int:
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

    def _count(self, told: Told) -> None:
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

    def _mark(self, told: Told, places: Sequence[str]) -> Signs:
        """Create `marked`: every event that cannot just be added up, kept or new; return the signs of new events."""
        con, store, state = self.con, self.store, self.state
        if self.experiment.events is None:
            raise AssertionError
        refund = self.experiment.events.refund.name
        sign, kind = sign_of(con, self.experiment, told), kind_of(codes_of(self.experiment, told))
        con.run("CREATE OR REPLACE TEMP TABLE places (of_file VARCHAR, number UINTEGER)")
        rows = ", ".join(f"({text(self.files[name])}, {at})" for at, name in enumerate(places))
        con.run(f"INSERT INTO places VALUES {rows}")
        found = con.con.execute(
            f"SELECT {sign} AS sign, p.number FROM told_new t JOIN places p ON t.of_file = p.of_file "
            f"WHERE {among(told.kinds)} AND {told.span} AND ({sign}) IS NOT NULL"
        ).fetchnumpy()
        fresh = Signs.sorted_from(
            np.asarray(found["sign"], np.uint64), np.asarray(found["number"], np.uint32)
        )
        unique, counts = np.unique(fresh.signs, return_counts=True)
        before = [(unique[here], at) for here, at in (run.found(unique) for run in store.runs(state))]
        self._numbers("seen_before", [signs for signs, _ in before])
        self._numbers("repeated_new", [unique[counts > 1], *(signs for signs, _ in before)])
        shown = ", ".join(
            [f"{sign} AS sign", "id", f"{kind} AS kind", "happened", "event_id", "order_id", *self.values]
        )
        others = [name for name in told.kinds if name != refund] if told.refunds else told.kinds
        single = f"SELECT {shown} FROM {{}} WHERE {among(others)} AND {told.span} AND ({sign}) IN (SELECT sign FROM {{}})"
        ways = [single.format("told_new", "repeated_new")]
        if told.refunds:
            ways.append(f"SELECT {shown} FROM told_new WHERE {among([refund])} AND {told.span}")
        con.table("marked_new", " UNION ALL ".join(ways))
        marked = f"read_parquet([{texts(store.path(name) for name in state.marked)}])"
        known = "(SELECT 0::UBIGINT AS sign WHERE false)"
        if state.marked:  # a refund alone does not tell whether its order was there
            known = f"(SELECT sign FROM {marked} WHERE sign IS NOT NULL{' AND kind <> 1' if told.refunds else ''})"
        looked_up = self._looked_up(before, known)
        if looked_up:
            self.see(
                "told_again", f"{self.among([places[at] for at in looked_up])} AND happened < {state.upto}"
            )
            again = single.format("told_again", "seen_before")
            con.run(f"INSERT INTO marked_new {again} AND ({sign}) NOT IN {known}")
        every = (
            f"SELECT * FROM {marked} UNION ALL SELECT * FROM marked_new"
            if state.marked
            else "SELECT * FROM marked_new"
        )
        con.view("marked_all", every)
        con.table("marked", "SELECT * EXCLUDE (sign) FROM marked_all")
        return fresh

    def _looked_up(self, found: Sequence[tuple[Any, Any]], known: str) -> list[int]:
        """Return the places of the files in which events stand that were single until now."""
        if not any(len(signs) for signs, _ in found):
            return []
        rows = self.con.con.execute(f"SELECT sign FROM {known} WHERE sign IN (SELECT sign FROM seen_before)")
        marked = np.asarray(rows.fetchnumpy()["sign"], dtype=np.uint64)
        return sorted(
            {int(at) for signs, places in found for at in np.unique(places[~np.isin(signs, marked)])}
        )

    def _numbers(self, name: str, parts: Sequence[Any]) -> None:
        self.con.numbers(name, np.unique(np.concatenate([np.zeros(0, np.uint64), *parts])))

    def _without_amount(self, told: Told, order: str, few: Few) -> int:
        """Return how many orders of assigned customers, each counted once, carry no amount."""
        con, state = self.con, self.state
        nothing = "SELECT CAST(NULL AS VARCHAR) AS id WHERE false"
        if "amount" in self.needs.values:
            nothing = (
                f"SELECT id FROM told_new WHERE name = {text(order)} AND {told.span} AND v_amount IS NULL"
            )
        con.table("bare_new", nothing)
        kept = f"SELECT id FROM read_parquet([{texts(self.store.path(name) for name in state.bare)}]) UNION ALL " * bool(
            state.bare
        )  # fmt: skip
        con.view("bare_all", f"{kept}SELECT id FROM bare_new")
        if not told.without_amount:
            return 0
        every = con.one("SELECT count(*) FROM bare_all b JOIN roster r ON b.id = r.id")[0]
        again = f"SELECT count(*) FROM few WHERE kind = {ORDER} AND copy > 1 AND v_amount IS NULL"
        return int(every) - (int(con.one(again)[0]) if few.rows else 0)
