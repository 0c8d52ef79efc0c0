"""Events that cannot just be added up: new ones, and single ones from before that a new one repeats."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from toolkit.lake.activity import ORDER, REFUND, Few, codes_of, kind_of, sign_of
from toolkit.lake.engine import text
from toolkit.lake.events import Told, among
from toolkit.lake.signs import Numbers, Places, Signs
from toolkit.lake.step import Step

__all__ = ["find_marked", "number_marked", "without_amount"]

ROWS = 2**32 - 1
"""The last row that a file may have."""


def find_marked(step: Step, told: Told, places: Sequence[str], new: Sequence[str]) -> Signs:
    """Create `marked_found`: new events that cannot just be added up, and kept ones that they repeat; return new signs.

    `places` are the files by their numbers in what is kept, `new` those in which new events stand. Refunds among kept
    ones are still there: `fresh_rows` has the places of new rows, as `marked_found` calls them.
    """
    con, store, state = step.con, step.store, step.state
    if step.experiment.events is None:
        raise AssertionError
    refund = among([step.experiment.events.refund.name]) if told.refunds else "false"
    sign, kind = sign_of(con, step.experiment, told), kind_of(codes_of(step.experiment, told))
    number = " ".join(f"WHEN {text(step.files[name])} THEN {places.index(name)}" for name in new)
    place = f"CAST(CASE of_file {number} END AS UBIGINT) * {ROWS + 1} + row::UBIGINT" if new else "NULL"
    found = con.con.execute(
        f"SELECT coalesce(sign, 0) AS sign, sign IS NOT NULL AS signed, place, refund FROM (SELECT {sign} AS sign, "
        f"{place} AS place, {refund} AS refund FROM told_new WHERE {among(told.kinds)} AND {told.span}) "
        "WHERE sign IS NOT NULL OR refund"
    ).fetchnumpy()
    signed, here = np.asarray(found["signed"], bool), np.asarray(found["place"], np.uint64)
    fresh = Signs.sorted_from(np.asarray(found["sign"], np.uint64)[signed], here[signed])
    starts = np.flatnonzero(np.r_[True, fresh.signs[1:] != fresh.signs[:-1]][: len(fresh.signs)])
    unique, counts = fresh.signs[starts], np.diff(np.r_[starts, len(fresh.signs)])
    repeated, single = counts > 1, []
    for run in store.runs(state.signs):
        met, at = run.found(unique)
        repeated |= met
        single.append((unique[met], at))
    own = np.union1d(fresh.places[np.repeat(repeated, counts)], here[np.asarray(found["refund"], bool)])
    wanted = np.concatenate([own, _not_marked(step, told, single)])
    files = np.unique(wanted >> np.uint64(32))
    con.numbers("fresh_rows", _renumbered(own, files))
    con.numbers("wanted_rows", _renumbered(wanted, files))
    shown = ", ".join(
        [f"{sign} AS sign", "id", f"{kind} AS kind", "happened", "event_id", "order_id", *step.values]
    )
    # what is asked of an event was asked of it when it got a sign; a row's number alone tells nearly all others apart
    con.table(
        "marked_found",
        f"SELECT {shown}, place FROM {step.rows_of([places[int(at)] for at in files])} WHERE row IN "
        f"(SELECT CAST(sign & {ROWS} AS BIGINT) FROM wanted_rows) AND place IN (SELECT sign FROM wanted_rows)",
    )
    return fresh


def _renumbered(places: Places, files: Places) -> Places:
    """Return places with files called by where they stand among `files`, which are sorted."""
    return np.searchsorted(files, places >> np.uint64(32)).astype(np.uint64) << np.uint64(32) | (
        places & np.uint64(ROWS)
    )


def number_marked(step: Step) -> None:
    """Create `marked_new` of `marked_found` without kept refunds, with the numbers of ids.

    It has a sign of the event, too, where an id alone tells it.
    """
    con = step.con
    # events of one id are one event, even where they name several orders
    by_event = (
        f"NOT (kind = {ORDER} AND coalesce(order_id, '') <> '') AND event_id <> '' AND sign IS NOT NULL"
    )
    con.table(
        "marked_new",
        f"SELECT m.* EXCLUDE (place), i.number, CASE WHEN {by_event} THEN {con.sign('event_id')} END AS event_sign "
        f"FROM (SELECT * FROM marked_found WHERE kind <> {REFUND} OR place IN (SELECT sign FROM fresh_rows)) m "
        "LEFT JOIN all_ids i ON m.id = i.id",
    )


def _not_marked(step: Step, told: Told, found: Sequence[tuple[Numbers, Places]]) -> Places:
    """Return the places, among those of kept signs that new events repeat, of events that were single until now."""
    con, state = step.con, step.state
    signs, places = (
        (np.concatenate([np.zeros(0, np.uint64), *each]) for each in zip(*found, strict=True))
        if found
        else (np.zeros(0, np.uint64),) * 2
    )
    if not state.marked or not len(signs):
        return places
    con.numbers("seen_before", signs)
    # a refund alone does not tell whether its order was there
    besides = " AND kind <> 1" if told.refunds else ""
    rows = con.con.execute(
        f"SELECT sign FROM {step.store.read_files(state.marked)} WHERE sign IN (SELECT sign FROM seen_before){besides}"
    )
    marked = np.asarray(rows.fetchnumpy()["sign"], dtype=np.uint64)
    return places[~np.isin(signs, marked)]


def without_amount(step: Step, told: Told, order: str, few: Few, *, more: bool) -> int:
    """Return how many orders of assigned customers, each counted once, carry no amount; `more` says that new ones may."""
    con, state = step.con, step.state
    nothing = "SELECT CAST(NULL AS BIGINT) AS number WHERE false"
    if more:
        bare = f"SELECT id FROM told_new WHERE name = {text(order)} AND {told.span} AND v_amount IS NULL"
        nothing = f"SELECT i.number FROM ({bare}) b JOIN all_ids i ON b.id = i.id"
    con.table("bare_new", nothing)
    kept = f"SELECT number FROM {step.store.read_files(state.bare)} UNION ALL " if state.bare else ""
    con.view("bare_all", f"{kept}SELECT number FROM bare_new")
    if not told.without_amount:
        return 0
    every = con.one("SELECT count(*) FROM bare_all b JOIN assigned_numbers a ON b.number = a.number")[0]
    return int(every) - few.bare
