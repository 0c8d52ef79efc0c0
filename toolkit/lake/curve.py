"""All weekly looks in one pass over the events: what each customer's running sums add at each look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from toolkit.design.experiment import Experiment
from toolkit.lake.activity import MICROSECOND, codes_of, condition_of, kind_of
from toolkit.lake.aggregate import literal
from toolkit.lake.engine import Engine, micros_of, quoted
from toolkit.lake.events import Told, among, nets_refunds
from toolkit.lake.unit import Column, Needs
from toolkit.stats.curve import ArmLook
from toolkit.stats.readings import Cap

if TYPE_CHECKING:
    from toolkit.lake.advance import Advanced

__all__ = ["enrolled_by_look", "look_sums"]

WEEK = timedelta(days=7) // MICROSECOND
ABREAST = 8
"""So many looks are summed in columns of their own; of more, a row each."""


def look_sums(
    con: Engine,
    experiment: Experiment,
    needs: Needs,
    told: Told,
    caps: Mapping[str, Cap],
    looks: Sequence[date],
    *,
    corrected: bool,
    advanced: Advanced | None = None,
) -> dict[str, list[dict[str, ArmLook]]]:
    """Return metric → per look → arm → its sums over the customers assigned by the end of that date.

    `looks` are dates a week apart, the last one the readout's. A metric with a cap is summed capped at its
    present value, at every look. Needs `told` and `buyers`, and `placed_corrections` where `corrected`.

    With what a measurement before has kept in `advanced`, only looks that something came to since are summed
    anew, on the running sums that every customer had before them; earlier looks stand.
    """
    outcomes = [each for each in needs.counted if not each.lookback]
    kept = advanced.looks_before([on.isoformat() for on in looks]) if advanced and not caps else {}
    anew = _first_changed(experiment, looks, kept, advanced)
    since = micros_of(experiment.end_of(looks[anew - 1])) if advanced and anew else None
    events = _events(con, experiment, needs, told, advanced, since)
    _steps(con, experiment, told, looks, outcomes, corrected=corrected, events=events, anew=anew)
    ways = {
        metric.name: [
            (name, caps[metric.name].value if metric.name in caps else None)
            for name in needs.terms[metric.name]
        ]
        for metric in experiment.metrics
    }
    shares = {each.name for each in outcomes if each.term and each.term.how == "any"}
    sides = {
        way: (_side(way, "s", shares), _side(way, "t", shares)) for each in ways.values() for way in each
    }
    names = {way: f"w{at}" for at, way in enumerate(sides)}
    pairs = {(a, b) for each in ways.values() for a in each for b in each}
    ordered = sorted(pairs, key=lambda pair: (names[pair[0]], names[pair[1]]))
    own = ", ".join(f"{was} AS {names[way]}b, {now} AS {names[way]}a" for way, (was, now) in sides.items())
    asked = [
        f"sum({name}a - {name}b), sum(CASE WHEN born < look THEN {name}a - {name}b ELSE 0e0 END)"
        for name in names.values()
    ]
    asked += [
        f"sum({names[a]}a * {names[b]}a - {names[a]}b * {names[b]}b), sum({names[a]}b * ({names[b]}a - {names[b]}b))"
        for a, b in ordered
    ]
    arms = list(experiment.arms)
    rows = con.rows(
        f"SELECT arm, look, {', '.join(asked)} FROM (SELECT {con.arm_of('place', len(arms))} AS arm, look, born, {own} "
        "FROM running) GROUP BY arm, look"
    )
    found = {(row[0], row[1]): [float(each or 0.0) for each in row[2:]] for row in rows if row[1] >= anew}
    found |= {place: list(numbers) for place, numbers in kept.items() if place[1] < anew}
    if advanced and not caps:
        advanced.looks.update({on.isoformat(): [] for on in looks})
        for (arm, at), numbers in found.items():
            advanced.looks[looks[at].isoformat()].append([arm, *numbers])
    enrolled = enrolled_by_look(con, experiment, looks)
    nothing = [0.0] * len(asked) * 2
    places = {name: 2 * at for at, name in enumerate(names.values())}
    crosses = {pair: 2 * (len(names) + at) for at, pair in enumerate(ordered)}
    out: dict[str, list[dict[str, ArmLook]]] = {metric: [] for metric in ways}
    totals = {
        (metric, arm): (np.zeros(len(way)), np.zeros((len(way), len(way))))
        for metric, way in ways.items()
        for arm in arms
    }
    for look in range(len(looks)):
        for metric, way in ways.items():
            here = {}
            for at, arm in enumerate(arms):
                row = found.get((at, look), nothing)
                first, second = totals[metric, arm]
                gained = np.array([row[places[names[each]]] for each in way])
                stayed = np.array([row[places[names[each]] + 1] for each in way])
                grown = np.array([[row[crosses[a, b]] for b in way] for a in way])
                moved = np.array([[row[crosses[a, b] + 1] for b in way] for a in way])
                totals[metric, arm] = first + gained, second + grown
                here[arm] = ArmLook(
                    enrolled[look][arm], first + gained, second + grown, second + moved, first + stayed
                )
            out[metric].append(here)
    return out


def enrolled_by_look(con: Engine, experiment: Experiment, looks: Sequence[date]) -> list[dict[str, int]]:
    """Return, per look, arm → customers assigned until the end of that date. Needs `ledger`."""
    rows = con.rows(
        f"SELECT arm, look, count(*) FROM (SELECT arm, {_look_of(experiment, looks, 'assigned')} AS look FROM ledger) "
        "GROUP BY arm, look"
    )
    found = {(row[0], row[1]): int(row[2]) for row in rows}
    out, so_far = [], dict.fromkeys(experiment.arms, 0)
    for look in range(len(looks)):
        so_far = {arm: so_far[arm] + found.get((at, look), 0) for at, arm in enumerate(experiment.arms)}
        out.append(so_far)
    return out


def _events(
    con: Engine,
    experiment: Experiment,
    needs: Needs,
    told: Told,
    advanced: Advanced | None,
    since: int | None,
) -> str:
    """Return the query of assigned customers' events (place, assigned, kind, happened, v_…), since an instant if any."""
    source = None
    if advanced and since is not None:
        recent = advanced.recent(con, since)
        if recent:
            kinds = ", ".join(str(codes_of(experiment, told)[name]) for name in told.wanted)
            return f"SELECT * FROM {recent} WHERE kind IN ({kinds})"
        source = advanced.told_since(since)
    values = [quoted("v_" + value) for value in needs.values]
    columns = ", ".join(["id", f"{kind_of(codes_of(experiment, told))} AS kind", "happened", *values])
    joined = ", ".join(["r.place", "r.assigned", "e.kind", "e.happened", *values])
    return (
        f"SELECT {joined} FROM (SELECT {columns} FROM {source or 'told'} WHERE {among(told.wanted)} AND {told.span}) e "
        "JOIN buyers r ON e.id = r.id"
    )


def _steps(
    con: Engine,
    experiment: Experiment,
    told: Told,
    looks: Sequence[date],
    outcomes: Sequence[Column],
    *,
    corrected: bool,
    events: str,
    anew: int,
) -> None:
    """Create `running(place, born, look, s…, t…)`: a customer's sums before and after each look that changed them.

    Of looks from `anew` on alone, if that is not zero: then what a customer had before them, which is what
    `active` has now without what came in them, stands as the look before.
    """
    codes = codes_of(experiment, told)
    plain = ", ".join(_step(told, codes, each, None) for each in outcomes)
    look, born = (_look_of(experiment, looks, each) for each in ("happened", "assigned"))
    steps = (
        f"SELECT place, {look} AS look, {born} AS born, {plain} FROM "
        f"(SELECT *, happened - assigned AS off FROM ({events}) e) e WHERE off >= 0"
    )
    if corrected:
        changed = ", ".join(_step(told, codes, each, experiment) for each in outcomes)
        steps += (
            f" UNION ALL SELECT place, {_look_of(experiment, looks, 'known')} AS look, {born} AS born, {changed} "
            "FROM placed_corrections WHERE off >= 0"
            + (f" AND known >= {micros_of(experiment.end_of(looks[anew - 1]))}" if anew else "")
        )
    if anew and len(looks) - anew <= ABREAST:
        _abreast(con, steps, range(anew, len(looks)), outcomes)
        return
    sums = ", ".join(f"sum({each.name}) AS {each.name}" for each in outcomes)
    before = ", ".join(
        f"coalesce(sum({each.name}) OVER (PARTITION BY place ORDER BY look "
        f"ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0e0) AS s{each.name}"
        for each in outcomes
    )
    after = ", ".join(f"s{each.name} + {each.name} AS t{each.name}" for each in outcomes)
    by_look = f"SELECT place, min(born) AS born, look, {sums} FROM ({steps}) GROUP BY place, look"
    if anew:
        con.table("recent_steps", by_look)
        had = ", ".join(
            f"CAST(coalesce(a.{each.name}, 0) AS DOUBLE) - b.{each.name} AS {each.name}" for each in outcomes
        )
        by_look = (
            f"SELECT * FROM recent_steps UNION ALL SELECT a.place, b.born, {anew - 1} AS look, {had} FROM active a JOIN "
            f"(SELECT place, min(born) AS born, {sums} FROM recent_steps GROUP BY place) b ON a.place = b.place"
        )
    con.table("running", f"SELECT *, {after} FROM (SELECT *, {before} FROM ({by_look}))")


def _abreast(con: Engine, steps: str, looks: range, outcomes: Sequence[Column]) -> None:
    """Create `running` of a few last looks: a column for each, and what a customer had before it from what there is now."""
    sums = ", ".join(
        f"sum(CASE WHEN look = {look} THEN {each.name} ELSE 0e0 END) AS {each.name}_{look}"
        for look in looks
        for each in outcomes
    )
    now = ", ".join(f"CAST(coalesce(a.{each.name}, 0) AS DOUBLE) AS n{each.name}" for each in outcomes)
    con.table(
        "recent_steps",
        f"SELECT b.*, {now} FROM (SELECT place, min(born) AS born, {sums} FROM ({steps}) GROUP BY place) b "
        "JOIN active a ON a.place = b.place",
    )
    ways = []
    for look in looks:
        sides = []
        for each in outcomes:
            later = [f"{each.name}_{at}" for at in looks if at > look]
            after = f"({' - '.join([f'n{each.name}', *later])})"
            sides += [f"{after} - {each.name}_{look} AS s{each.name}", f"{after} AS t{each.name}"]
        ways.append(f"SELECT place, born, {look} AS look, {', '.join(sides)} FROM recent_steps")
    con.view("running", " UNION ALL ".join(ways))


def _first_changed(
    experiment: Experiment,
    looks: Sequence[date],
    kept: Mapping[tuple[int, int], Sequence[float]],
    advanced: Advanced | None,
) -> int:
    """Return the place of the first look that anything came to since it was kept; 0 where nothing is kept."""
    if not kept or advanced is None:
        return 0
    unchanged = sum(micros_of(experiment.end_of(on)) <= advanced.changed_since for on in looks)
    return min(unchanged, advanced.kept_looks)


def _step(told: Told, codes: Mapping[str, int], column: Column, corrects: Experiment | None) -> str:
    """Return what one event, or one correction, adds to a column."""
    term = column.term
    if term is None:
        raise AssertionError(column)
    condition = condition_of(told, codes, column, corrected=corrects is not None)
    if term.how in {"any", "count"}:
        adds = "CAST(k AS DOUBLE)" if corrects else "1e0"
    elif corrects and nets_refunds(corrects, Needs((column,), {}, {})):
        adds = "CAST(v_net AS DOUBLE)"
    else:
        adds = f"CAST({quoted('v_' + (term.value or ''))} AS DOUBLE)"
    return f"CASE WHEN {condition} THEN coalesce({adds}, 0e0) ELSE 0e0 END AS {column.name}"


def _side(way: tuple[str, float | None], side: str, shares: set[str]) -> str:
    """Return a column before (`s`) or after (`t`) a look: whether there was any, or the sum, capped."""
    name, cap = way
    value = f"{side}{name}"
    if name in shares:
        return f"CASE WHEN {value} > 0.5e0 THEN 1e0 ELSE 0e0 END"
    if cap is None:
        return value
    limit = literal(cap)
    return f"CASE WHEN {value} < {limit} THEN {value} ELSE {limit} END"


def _look_of(experiment: Experiment, looks: Sequence[date], instant: str) -> str:
    """Return the place, among `looks`, of the first at whose end `instant` (microseconds) had passed.

    Looks end at midnight in the experiment's time zone: instants are first moved by what the zone is off UTC, which
    changes a few times at most.
    """
    ends = [experiment.end_of(on) for on in looks]
    zone = experiment.zone
    shifts: list[tuple[datetime, int]] = []
    day = experiment.starts_at
    while day <= ends[-1] + timedelta(days=1):
        off = day.astimezone(zone).utcoffset() or timedelta(0)
        if not shifts or shifts[-1][1] != off // MICROSECOND:
            shifts.append((_changed_at(experiment, day), off // MICROSECOND))
        day += timedelta(days=1)
    local = instant
    if len(shifts) == 1:
        local = f"({instant} + {shifts[0][1]})" if shifts[0][1] else instant
    else:
        cases = " ".join(
            f"WHEN {instant} >= {micros_of(since)} THEN {off}" for since, off in reversed(shifts[1:])
        )
        local = f"({instant} + CASE {cases} ELSE {shifts[0][1]} END)"
    first = micros_of(ends[0]) + (ends[0].astimezone(zone).utcoffset() or timedelta(0)) // MICROSECOND
    weeks = f"CAST(floor(CAST({local} - {first} AS DOUBLE) / {WEEK}e0) AS INTEGER) + 1"
    return f"CASE WHEN {local} < {first} THEN 0 ELSE {weeks} END"


def _changed_at(experiment: Experiment, day: datetime) -> datetime:
    """Return the minute within the day before `day` at which the zone's distance from UTC became what it is."""
    zone = experiment.zone
    low, high = day - timedelta(days=1), day
    now = high.astimezone(zone).utcoffset()
    while high - low > timedelta(minutes=1):
        middle = low + (high - low) / 2
        if middle.astimezone(zone).utcoffset() == now:
            high = middle
        else:
            low = middle
    return high.replace(second=0, microsecond=0) if high.second or high.microsecond else high
