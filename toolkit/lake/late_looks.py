"""Looks that were kept, as they are now: new ones from new events, earlier ones by what came late."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolkit.lake.activity import counts_of, together
from toolkit.lake.engine import Engine
from toolkit.lake.running import Running

if TYPE_CHECKING:
    from toolkit.lake.keeping import Advanced

__all__ = ["recent_sums"]

LOST = 1e5
"""Where what goes is so many times what stays, five of sixteen digits go with it."""

Found = dict[tuple[int, int], list[float]]


def recent_sums(
    con: Engine,
    running: Running,
    of_running: Callable[[Engine, str], Found],
    advanced: Advanced,
    kept: Mapping[tuple[int, int], Sequence[float]],
    anew: int,
) -> Found | None:
    """Return (arm, look) → sums of all looks: those kept before `anew` stand, and those kept since change by a few customers.

    What such a customer came to before, with the events and corrections known then, is taken off, and what it comes
    to now is added. None where so much is taken off that digits of the rest would be lost. Needs what
    `put_together` and `changed_since` made.
    """
    before = advanced.kept_looks
    found = {place: list(numbers) for place, numbers in kept.items()}
    if before < len(running.looks):
        found |= _new_looks(con, running, of_running, advanced, before)
    if anew >= before or not con.one("SELECT count(*) FROM late_customers")[0]:
        return found
    ahead = _Side("late_now", "true", "corrections", _now(advanced), "assigned", len(running.looks))
    known = _sums_of(advanced, "late_customers")
    behind = _Side("late_before", "NOT is_new", "corrections_before", known, "was", before)
    now, then = (_late(con, running, of_running, anew, side) for side in (ahead, behind))
    for place in {*now, *then}:
        if anew <= place[1] < before:
            nothing = [0.0] * len(now.get(place) or then[place])
            rows = (each.get(place, nothing) for each in (found, now, then))
            sums = [
                (was + more - less, max(abs(was), abs(less))) for was, more, less in zip(*rows, strict=True)
            ]
            if any(moved > LOST * abs(left) for left, moved in sums):
                return None
            found[place] = [left for left, _ in sums]
    return found


def _new_looks(
    con: Engine, running: Running, of_running: Callable[[Engine, str], Found], advanced: Advanced, before: int
) -> Found:
    """Return the sums of looks that nothing is kept of: all that came in them is new."""
    arms, since = len(running.experiment.arms), running.end_of(before - 1)
    events = (
        f"SELECT * EXCLUDE (number, arm), number * {arms} + arm AS place FROM seen "
        f"WHERE assigned IS NOT NULL AND {counts_of(running.experiment, running.told)} AND happened >= {since}"
    )
    corrections = f"SELECT *, number * {arms} + arm AS place FROM corrections_new WHERE off IS NOT NULL AND known >= {since}"
    steps = running.steps(events, corrections)
    running.run_back(con, "new_looks", steps, before, len(running.looks), _now(advanced))
    return {place: row for place, row in of_running(con, "new_looks").items() if place[1] >= before}


@dataclass(frozen=True, slots=True)
class _Side:
    """How to sum late customers' looks: which of `late_events`, with which corrections, from what sums, until which look."""

    name: str
    which: str
    corrections: str
    sums: str
    assigned: str
    until: int


def _late(
    con: Engine,
    running: Running,
    of_running: Callable[[Engine, str], Found],
    anew: int,
    side: _Side,
) -> Found:
    """Return the sums of `late_customers`, of looks from `anew` on."""
    since = running.end_of(anew - 1)
    whose = (
        f"(SELECT number, number * {len(running.experiment.arms)} + arm AS place, {side.assigned} AS assigned "
        f"FROM late_customers WHERE {side.assigned} IS NOT NULL)"
    )
    events = (
        f"SELECT c.place, c.assigned, e.* EXCLUDE (number, is_new) FROM late_events e JOIN {whose} c ON e.number = c.number "
        f"WHERE {side.which} AND e.happened >= {since}"
    )
    corrections = (
        f"SELECT c.place, x.* EXCLUDE (number) FROM {side.corrections} x JOIN {whose} c ON x.number = c.number "
        f"WHERE x.off IS NOT NULL AND x.known >= {since}"
    )
    running.run_back(con, side.name, running.steps(events, corrections), anew, side.until, side.sums)
    return of_running(con, side.name)


def _now(advanced: Advanced) -> str:
    """Return the query (place, y…) of all customers' sums, by numbers."""
    if advanced.step.attributed:  # there, the places of `active` are not made of numbers
        return _sums_of(advanced, "counted WHERE assigned IS NOT NULL")
    return "SELECT * FROM active"


def _sums_of(advanced: Advanced, relation: str) -> str:
    """Return the query (place, y…) of a relation of customers (number, arm, y…, c_y…)."""
    step = advanced.step
    own = ", ".join(together(each, each.name, f"c_{each.name}") for each in step.needs.counted)
    return f"SELECT number * {len(step.experiment.arms)} + arm AS place, {own} FROM {relation}"
