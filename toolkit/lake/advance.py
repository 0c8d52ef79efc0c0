"""From one measurement to the next: only events that came since are read, and what they change of what is known.

Plain sums of events only ever grow, so a kept sum and that of the events since make the sum of all. Events that
cannot just be added up (a repeated order, a refund and its order) are kept with what they change, and looked at
again where one of them is new or of a customer assigned since, which makes late events, refunds and restatements
exact. A new event that repeats one from long ago is found by its sign, and both are read by their rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import duckdb

from toolkit.design.experiment import Experiment
from toolkit.lake.activity import Activity, activity_of, codes_of
from toolkit.lake.correcting import changed_since, correct
from toolkit.lake.counting import count, find_newcomers, grown, put_in_place, put_together
from toolkit.lake.engine import Engine, micros_of
from toolkit.lake.enrolled import Enrolment, enrolled_since
from toolkit.lake.events import Told, events_of_lake, told_of, with_lines
from toolkit.lake.hours import Hours, hours_of, new_hours, own_by_hour
from toolkit.lake.keeping import Advanced, Writing, write_customers, write_first, write_last
from toolkit.lake.ledger import Ledger
from toolkit.lake.marking import find_marked, number_marked, without_amount
from toolkit.lake.sources import FileTable
from toolkit.lake.state import STATE_UPTO, State, Store, store_of
from toolkit.lake.step import Step
from toolkit.lake.tables import Lake, files_by_name
from toolkit.lake.unit import Needs

__all__ = ["Kept", "advance", "kept_for", "remember"]

AHEAD = timedelta(days=2)
"""A day that has begun somewhere ends within so long."""


def remember(lake: Lake, experiment: Experiment, activity: Activity | None) -> None:
    """Leave word, after a measurement of many events without a state, that one would pay."""
    if activity is None or activity.read > STATE_UPTO or lake.versions:
        return
    events = experiment.events
    store = store_of(lake.home, experiment.key)
    if store and events and events.in_lake and not store.wanted():
        store.note()


@dataclass(frozen=True, slots=True)
class Kept:
    """Where an experiment's state is, and what is there."""

    store: Store
    state: State | None

    def enrolment(
        self,
        con: Engine,
        experiment: Experiment,
        paths: Sequence[str],
        written: Callable[[Sequence[str]], str],
        *,
        as_of_end: datetime,
    ) -> Enrolment | None:
        """Return the ledger of the files at `paths`, if what is kept tells of it; `written` gives the query of some."""
        if self.state is None:
            return None
        enrolled = self.state.enrolled
        try:
            runs = self.store.runs(enrolled.signs)
        except (OSError, ValueError):
            return None
        return enrolled_since(con, experiment, enrolled, runs, paths, written, as_of_end=as_of_end)


def kept_for(con: Engine, lake: Lake, experiment: Experiment) -> Kept | None:
    """Return what earlier measurements have kept of an experiment; None where a state cannot help."""
    events, store = experiment.events, store_of(lake.home, experiment.key)
    if not store or not (events and events.in_lake) or con.dialect != "duckdb" or lake.versions:
        return None
    return Kept(store, store.read())


def advance(
    con: Engine,
    lake: Lake,
    experiment: Experiment,
    spec: str,
    needs: Needs,
    ledger: Ledger,
    kept: Kept,
    *,
    attributed: bool,
    as_of_end: datetime,
    keep: bool,
    now: datetime | None = None,
) -> Advanced | None:
    """Create `active` as `add_up` does, from the state that is kept and the events since; None where it can't be.

    Needs `ledger`, and `roster` where that is a table (`attributed`); else makes it anew. Creates the view `told` of
    all events, and `corrections` as `add_up` does, with `buyers` and `placed_corrections`. What was kept of days that are
    yet to come at `now` is forgotten where an earlier date is asked for.
    """
    events = experiment.events
    store = kept.store
    version = lake.version("events") if store.wanted() else None
    if events is None or version is None or ledger.first_at is None:
        return None
    pinned = replace(lake, versions={"events": version})
    here = events_of_lake(con, pinned, experiment, spec, needs)
    since = ledger.first_at - needs.looked_back
    fits = _fits(con, experiment, needs, here.table, here.shown, here.where, since)
    state = kept.state if kept.state and kept.state.fits == fits else State(fits)
    files = files_by_name(pinned.files("events"))
    if not files.keys() >= state.events.keys():  # files were merged or rewritten: nobody knows what is new
        state = State(state.fits)
    if micros_of(as_of_end) < state.upto:
        if not now or state.upto <= micros_of(now + AHEAD):
            return None
        state = State(state.fits)
    found = None
    con.run("SET preserve_insertion_order = false")  # rows are told apart by numbers
    try:
        step = Step(con, experiment, needs, ledger, here, store, state, files, as_of_end, attributed)
        found = _take(step, pinned, spec, keep=keep)
    except (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException):
        raise
    except (OSError, ValueError, IndexError, duckdb.Error):  # what was kept cannot be read
        con.run("DROP VIEW IF EXISTS corrections")  # `add_up` makes a table of it
        store.drop(store.made)
    if found is None:  # then all is read, and a row that cannot be used is named by its place
        con.run("SET preserve_insertion_order = true")
    return found


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
        micros_of(experiment.starts_at), micros_of(experiment.ends_at), experiment.timezone,
    ]  # fmt: skip
    return hashlib.sha256(repr(said).encode()).hexdigest()


def _take(step: Step, lake: Lake, spec: str, *, keep: bool) -> Advanced | None:
    con, experiment, needs, state = step.con, step.experiment, step.needs, step.state
    if experiment.events is None:
        raise AssertionError
    con.view("told", f"SELECT {', '.join(step.shown)} FROM {step.table.sql}{step.where}")
    fresh = [name for name in step.files if name not in state.events]
    if step.doubtful(fresh):
        return None
    late = [name for name, latest in state.events.items() if latest >= state.upto]
    step.see("told_new", f"({step.among(fresh)}) OR ({step.among(late)} AND happened >= {state.upto})")
    pool = ThreadPoolExecutor(1)  # either leaves the processor idle at times
    beside = replace(step, con=con.beside())
    profile = pool.submit(beside.profile)
    only_newcomers = find_newcomers(step)
    by_name, latest = profile.result()
    order, upto = experiment.events.order.name, micros_of(step.as_of_end)
    told = told_of(experiment, spec, needs, by_name, step.span, step.here, None)
    told = with_lines(con, told, step.table, step.shown, step.where)
    if len(told.currencies) > 1 or sum(row[0] for row in by_name.values()) > STATE_UPTO:
        return None
    places = {**state.events, **{name: latest.get(step.files[name], 0) for name in fresh}}
    after = replace(
        state,
        upto=upto,
        step=state.step + 1,
        ledger=list(files_by_name(step.ledger.files)),
        events=places,
        by_name={name: list(row) for name, row in by_name.items()},
    )
    # the statistics of many looks leave more of it idle than what comes before them
    writing = Writing(pool, at_once=experiment.analysis.looks == "fixed") if keep else None
    marking = pool.submit(find_marked, beside, told, list(places), [*fresh, *late])
    kept = count(step, told, only_newcomers=only_newcomers)
    signs = marking.result()
    growing = pool.submit(grown, beside, kept)
    number_marked(step)
    counting = pool.submit(_hours_since, beside, told) if only_newcomers and state.hours else None
    if writing:
        writing.add(partial(write_first, beside, signs))
        writing.begin()
    few, anew = correct(step, told, only_newcomers=only_newcomers)
    if anew:
        after = replace(after, corrections=[], retracted=[])
    customers = growing.result()
    put_together(step, customers, anew=anew)
    if writing:
        writing.add(partial(write_customers, beside, customers))
    put_in_place(step)
    activity = activity_of(con, experiment, told, few)
    more = by_name.get(order, (0,) * 5)[4] > state.by_name.get(order, (0,) * 5)[4]
    activity = replace(activity, without_amount=without_amount(step, told, order, few, more=more))
    since = changed_since(step, told, kept, anew=anew)
    hours = counting.result() if counting else _all_hours(step, lake, told)
    if writing:
        writing.add(partial(write_last, beside, after, hours))
    else:
        pool.shutdown(wait=False)
    return Advanced(told, activity, step.store, state, after, step, since, {}, hours, writing=writing)


def _all_hours(step: Step, lake: Lake, told: Told) -> Hours:
    """Return the lake's orders by the hour. Needs `buyers`."""
    if step.ledger.first_at is None:
        raise AssertionError
    first = micros_of(step.ledger.first_at)
    return hours_of(
        step.con, lake, step.experiment, step.needs, told, first, own_since=first, as_of_end=step.as_of_end
    )


def _hours_since(step: Step, told: Told) -> Hours:
    """Return the lake's orders by the hour: those that are kept, and the new ones.

    Who is assigned since what is kept has no order there since the assignment.
    """
    con, experiment, kept = step.con, step.experiment, step.store.hours(step.state)
    if experiment.events is None or step.ledger.first_at is None or kept is None:
        raise AssertionError
    name = experiment.events.order.name
    own = own_by_hour(con, step.needs, f"SELECT * FROM seen WHERE kind = {codes_of(experiment, told)[name]}")
    counts = f"{step.span} AND happened >= {micros_of(step.ledger.first_at)}"
    received = step.received is not None
    return kept + new_hours(con, experiment, counts, own, step.as_of_end, received=received)
