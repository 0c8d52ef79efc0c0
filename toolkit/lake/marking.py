"""Events that cannot just be added up: new ones, and single ones from before that a new one repeats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from toolkit.lake.activity import ORDER, Few, codes_of, kind_of, sign_of
from toolkit.lake.engine import text
from toolkit.lake.events import Told, among
from toolkit.lake.signs import Signs
from toolkit.lake.step import Step

__all__ = ["find_marked", "number_marked", "without_amount"]


def find_marked(step: Step, told: Told, places: Sequence[str]) -> Signs:
    """Create `marked_found`: new events that cannot just be added up, and kept ones that they repeat; return new signs."""
    con, store, state = step.con, step.store, step.state
    if step.experiment.events is None:
        raise AssertionError
    refund = step.experiment.events.refund.name
    sign, kind = sign_of(con, step.experiment, told), kind_of(codes_of(step.experiment, told))
    con.run("CREATE OR REPLACE TABLE places (of_file VARCHAR, number UINTEGER)")
    rows = ", ".join(f"({text(step.files[name])}, {at})" for at, name in enumerate(places))
    con.run(f"INSERT INTO places VALUES {rows}")
    found = con.con.execute(
        f"SELECT {sign} AS sign, p.number FROM told_new t JOIN places p ON t.of_file = p.of_file "
        f"WHERE {among(told.kinds)} AND {told.span} AND ({sign}) IS NOT NULL"
    ).fetchnumpy()
    fresh = Signs.sorted_from(np.asarray(found["sign"], np.uint64), np.asarray(found["number"], np.uint32))
    starts = np.flatnonzero(np.r_[True, fresh.signs[1:] != fresh.signs[:-1]][: len(fresh.signs)])
    unique, counts = fresh.signs[starts], np.diff(np.r_[starts, len(fresh.signs)])
    before = [(unique[here], at) for here, at in (run.found(unique) for run in store.runs(state.signs))]
    _numbers(step, "seen_before", [signs for signs, _ in before])
    _numbers(step, "repeated_new", [unique[counts > 1], *(signs for signs, _ in before)])
    shown = ", ".join(
        [f"{sign} AS sign", "id", f"{kind} AS kind", "happened", "event_id", "order_id", *step.values]
    )
    others = [name for name in told.kinds if name != refund] if told.refunds else told.kinds
    single = f"SELECT {shown} FROM {{}} WHERE {among(others)} AND {told.span} AND ({sign}) IN (SELECT sign FROM {{}})"
    new = single.format("told_new", "repeated_new")
    if told.refunds:
        new = (
            f"SELECT {shown} FROM told_new WHERE {among(told.kinds)} AND {told.span} "
            f"AND (({sign}) IN (SELECT sign FROM repeated_new) OR {among([refund])})"
        )
    con.table("marked_found", new)
    marked = store.read_files(state.marked)
    known = "(SELECT 0::UBIGINT AS sign WHERE false)"
    if state.marked:  # a refund alone does not tell whether its order was there
        known = (
            f"(SELECT sign FROM {marked} WHERE sign IS NOT NULL{' AND kind <> 1' if told.refunds else ''})"
        )
    looked_up = _looked_up(step, before, known)
    if looked_up:
        step.see("told_again", f"{step.among([places[at] for at in looked_up])} AND happened < {state.upto}")
        again = single.format("told_again", "seen_before")
        con.run(f"INSERT INTO marked_found {again} AND ({sign}) NOT IN {known}")
    return fresh


def number_marked(step: Step) -> None:
    """Create `marked_new` of `marked_found`, with the numbers of ids, and a sign of the event where an id alone tells it."""
    con = step.con
    # events of one id are one event, even where they name several orders
    by_event = (
        f"NOT (kind = {ORDER} AND coalesce(order_id, '') <> '') AND event_id <> '' AND sign IS NOT NULL"
    )
    con.table(
        "marked_new",
        f"SELECT m.*, i.number, CASE WHEN {by_event} THEN {con.sign('event_id')} END AS event_sign "
        "FROM marked_found m LEFT JOIN all_ids i ON m.id = i.id",
    )


def _looked_up(step: Step, found: Sequence[tuple[Any, Any]], known: str) -> list[int]:
    """Return the places of the files in which events stand that were single until now."""
    if not any(len(signs) for signs, _ in found):
        return []
    rows = step.con.con.execute(f"SELECT sign FROM {known} WHERE sign IN (SELECT sign FROM seen_before)")
    marked = np.asarray(rows.fetchnumpy()["sign"], dtype=np.uint64)
    return sorted({int(at) for signs, places in found for at in np.unique(places[~np.isin(signs, marked)])})


def _numbers(step: Step, name: str, parts: Sequence[Any]) -> None:
    step.con.numbers(name, np.unique(np.concatenate([np.zeros(0, np.uint64), *parts])))


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
