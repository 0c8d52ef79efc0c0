"""What each customer's running sums are before and after each look that changed them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from toolkit.design.experiment import Experiment
from toolkit.lake.activity import MICROSECOND, codes_of, condition_of
from toolkit.lake.engine import Engine, micros_of, quoted
from toolkit.lake.events import Told, nets_refunds
from toolkit.lake.unit import Column, Needs

__all__ = ["WEEK", "Running", "look_of"]

WEEK = timedelta(days=7) // MICROSECOND
ABREAST = 8
"""So many looks are summed in columns of their own; of more, a row each."""


@dataclass(frozen=True, slots=True)
class Running:
    """Running sums of `outcomes` at `looks`, dates a week apart."""

    experiment: Experiment
    told: Told
    looks: Sequence[date]
    outcomes: Sequence[Column]

    def end_of(self, look: int) -> int:
        """Return the instant (microseconds) at which a look ends."""
        return micros_of(self.experiment.end_of(self.looks[look]))

    def steps(self, events: str, corrections: str | None) -> str:
        """Return the query (place, look, born, y…) of what events, and corrections, add to each column at which look.

        `events` is a query of place, assigned, kind, happened and v_…, `corrections` one of place, assigned, known, kind,
        off, k, v_… and v_net.
        """
        codes = codes_of(self.experiment, self.told)
        look, born = (look_of(self.experiment, self.looks, each) for each in ("happened", "assigned"))
        plain = ", ".join(_step(self.told, codes, each, None) for each in self.outcomes)
        steps = (
            f"SELECT place, {look} AS look, {born} AS born, {plain} FROM "
            f"(SELECT *, happened - assigned AS off FROM ({events}) e) e WHERE off >= 0"
        )
        if corrections is None:
            return steps
        known = look_of(self.experiment, self.looks, "known")
        changed = ", ".join(_step(self.told, codes, each, self.experiment) for each in self.outcomes)
        return (
            f"{steps} UNION ALL SELECT place, {known} AS look, {born} AS born, {changed} "
            f"FROM ({corrections}) c WHERE off >= 0"
        )

    def run(self, con: Engine, name: str, steps: str) -> None:
        """Create `name(place, born, look, s…, t…)`: a customer's sums before and after each look that changed them."""
        before = ", ".join(
            f"coalesce(sum({each.name}) OVER (PARTITION BY place ORDER BY look "
            f"ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0e0) AS s{each.name}"
            for each in self.outcomes
        )
        after = ", ".join(f"s{each.name} + {each.name} AS t{each.name}" for each in self.outcomes)
        con.table(name, f"SELECT *, {after} FROM (SELECT *, {before} FROM ({self._by_look(steps)}))")

    def run_back(self, con: Engine, name: str, steps: str, since: int, until: int, active: str) -> None:
        """Create what `run` does, of looks from `since` until before `until`, from the sums (place, y…) there are after them.

        `steps` has all that came in these looks. There may be rows of other looks, and of looks that changed nothing.
        """
        if until - since <= ABREAST:
            self._run_abreast(con, name, steps, range(since, until), active)
            return
        sums = ", ".join(f"sum({each.name}) AS {each.name}" for each in self.outcomes)
        con.table(f"{name}_steps", self._by_look(steps))
        had = ", ".join(
            f"CAST(coalesce(a.{each.name}, 0) AS DOUBLE) - b.{each.name} AS {each.name}"
            for each in self.outcomes
        )
        whole = (
            f"SELECT a.place, b.born, {since - 1} AS look, {had} FROM ({active}) a JOIN "
            f"(SELECT place, min(born) AS born, {sums} FROM {name}_steps GROUP BY place) b ON a.place = b.place"
        )
        columns = ", ".join(["place", "born", "look", *(each.name for each in self.outcomes)])
        self.run(con, name, f"SELECT {columns} FROM {name}_steps UNION ALL {whole}")

    def _by_look(self, steps: str) -> str:
        sums = ", ".join(f"sum({each.name}) AS {each.name}" for each in self.outcomes)
        return f"SELECT place, min(born) AS born, look, {sums} FROM ({steps}) GROUP BY place, look"

    def _run_abreast(self, con: Engine, name: str, steps: str, looks: range, active: str) -> None:
        """Create `name` of a few looks: a column for each, and what a customer had before it from what there is after."""
        sums = ", ".join(
            f"sum(CASE WHEN look = {look} THEN {each.name} ELSE 0e0 END) AS {each.name}_{look}"
            for look in looks
            for each in self.outcomes
        )
        now = ", ".join(
            f"CAST(coalesce(a.{each.name}, 0) AS DOUBLE) AS n{each.name}" for each in self.outcomes
        )
        con.table(
            f"{name}_steps",
            f"SELECT b.*, {now} FROM (SELECT place, min(born) AS born, {sums} FROM ({steps}) GROUP BY place) b "
            f"JOIN ({active}) a ON a.place = b.place",
        )
        ways = []
        for look in looks:
            sides = []
            for each in self.outcomes:
                later = [f"{each.name}_{at}" for at in looks if at > look]
                after = f"({' - '.join([f'n{each.name}', *later])})"
                sides += [f"{after} - {each.name}_{look} AS s{each.name}", f"{after} AS t{each.name}"]
            ways.append(f"SELECT place, born, {look} AS look, {', '.join(sides)} FROM {name}_steps")
        con.view(name, " UNION ALL ".join(ways))


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


def look_of(experiment: Experiment, looks: Sequence[date], instant: str) -> str:
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
