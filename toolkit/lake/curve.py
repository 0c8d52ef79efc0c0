"""All weekly looks in one pass over the events: what each customer's running sums add at each look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from toolkit.design.experiment import Experiment
from toolkit.lake.activity import codes_of, kind_of
from toolkit.lake.aggregate import literal
from toolkit.lake.engine import Engine, micros_of, quoted
from toolkit.lake.events import Told, among
from toolkit.lake.late_looks import recent_sums
from toolkit.lake.running import Running, look_of
from toolkit.lake.unit import Column, Needs
from toolkit.stats.curve import ArmLook
from toolkit.stats.readings import Cap

if TYPE_CHECKING:
    from toolkit.lake.keeping import Advanced

__all__ = ["enrolled_by_look", "look_sums"]

_Way = tuple[str, float | None]


def look_sums(
    con: Engine,
    experiment: Experiment,
    needs: Needs,
    told: Told,
    caps: Mapping[str, Cap],
    looks: Sequence[date],
    enrolled: Sequence[Mapping[str, int]],
    *,
    corrected: bool,
    advanced: Advanced | None = None,
) -> dict[str, list[dict[str, ArmLook]]]:
    """Return metric → per look → arm → its sums over the customers assigned by the end of that date.

    `looks` are dates a week apart, the last one the readout's; `enrolled` are arm → customers assigned until each.
    A metric with a cap is summed capped at its present value, at every look. Needs `told` and `buyers`, and
    `placed_corrections` where `corrected`.

    With what a measurement before has kept in `advanced`, new looks are summed from new events, and looks before
    them change by those customers to whom something came late; all others stand.
    """
    outcomes = [each for each in needs.counted if not each.lookback]
    sums = _Sums.of(experiment, needs, caps, outcomes)
    running = Running(experiment, told, looks, outcomes)
    kept = advanced.looks_before([on.isoformat() for on in looks]) if advanced and not caps else {}
    anew = _first_changed(experiment, looks, kept, advanced)
    found = None
    if (
        advanced
        and anew
        and (anew == advanced.kept_looks or running.end_of(anew - 1) >= advanced.recent_since)
    ):
        found = recent_sums(con, running, sums.of_running, advanced, kept, anew)
    if found is None:
        found = {place: list(numbers) for place, numbers in kept.items() if place[1] < anew}
        since = running.end_of(anew - 1) if anew else None
        source = advanced.told_since(since) if advanced and since is not None else "told"
        corrections = "SELECT * FROM placed_corrections" if corrected else None
        if corrections and since is not None:
            corrections += f" WHERE known >= {since}"
        steps = running.steps(_events(experiment, needs, told, source), corrections)
        if since is None:
            running.run(con, "running", steps)
        else:
            running.run_back(con, "running", steps, anew, len(looks), "SELECT * FROM active")
        found |= {place: row for place, row in sums.of_running(con, "running").items() if place[1] >= anew}
    if advanced and not caps:
        advanced.looks.update({on.isoformat(): [] for on in looks})
        for (arm, at), numbers in found.items():
            advanced.looks[looks[at].isoformat()].append([arm, *numbers])
    return sums.by_look(found, enrolled)


@dataclass(frozen=True, slots=True)
class _Sums:
    """What is asked of running sums, look by look.

    Attributes:
        arms: the arms, in their order.
        ways: metric → its columns, each with its cap if it has one.
        names: column and cap → its name in the query.
        own: what the query takes from running sums.
        pairs: pairs of columns whose products are needed.
    """

    arms: tuple[str, ...]
    ways: Mapping[str, Sequence[_Way]]
    names: Mapping[_Way, str]
    own: str
    pairs: tuple[tuple[_Way, _Way], ...]

    @classmethod
    def of(
        cls, experiment: Experiment, needs: Needs, caps: Mapping[str, Cap], outcomes: Sequence[Column]
    ) -> _Sums:
        """Return what is asked for an experiment's metrics."""
        ways = {
            metric.name: [
                (name, caps[metric.name].value if metric.name in caps else None)
                for name in needs.terms[metric.name]
            ]
            for metric in experiment.metrics
        }
        shares = {each.name for each in outcomes if each.term and each.term.how == "any"}
        names = {
            way: f"w{at}" for at, way in enumerate(dict.fromkeys(w for each in ways.values() for w in each))
        }
        own = ", ".join(
            f"{_side(way, 's', shares)} AS {name}b, {_side(way, 't', shares)} AS {name}a"
            for way, name in names.items()
        )
        pairs = {(a, b) for each in ways.values() for a in each for b in each}
        ordered = sorted(pairs, key=lambda pair: (names[pair[0]], names[pair[1]]))
        return cls(tuple(experiment.arms), ways, names, own, tuple(ordered))

    def of_running(self, con: Engine, relation: str) -> dict[tuple[int, int], list[float]]:
        """Return (arm, look) → sums over a relation of running sums."""
        asked = [
            f"sum({name}a - {name}b), sum(CASE WHEN born < look THEN {name}a - {name}b ELSE 0e0 END)"
            for name in self.names.values()
        ]
        asked += [
            f"sum({a}a * {b}a - {a}b * {b}b), sum({a}b * ({b}a - {b}b))"
            for a, b in ((self.names[one], self.names[other]) for one, other in self.pairs)
        ]
        arm = con.arm_of("place", len(self.arms))
        rows = con.rows(
            f"SELECT arm, look, {', '.join(asked)} FROM (SELECT {arm} AS arm, look, born, {self.own} "
            f"FROM {relation}) GROUP BY arm, look"
        )
        return {(row[0], row[1]): [float(each or 0.0) for each in row[2:]] for row in rows}

    def by_look(
        self, found: Mapping[tuple[int, int], Sequence[float]], enrolled: Sequence[Mapping[str, int]]
    ) -> dict[str, list[dict[str, ArmLook]]]:
        """Return metric → per look → arm → what the sums of all looks until then come to."""
        nothing = [0.0] * 2 * (len(self.names) + len(self.pairs))
        places = {way: 2 * at for at, way in enumerate(self.names)}
        crosses = {pair: 2 * (len(self.names) + at) for at, pair in enumerate(self.pairs)}
        out: dict[str, list[dict[str, ArmLook]]] = {metric: [] for metric in self.ways}
        totals = {
            (metric, arm): (np.zeros(len(way)), np.zeros((len(way), len(way))))
            for metric, way in self.ways.items()
            for arm in self.arms
        }
        for look, customers in enumerate(enrolled):
            for metric, way in self.ways.items():
                here = {}
                for at, arm in enumerate(self.arms):
                    row = found.get((at, look), nothing)
                    first, second = totals[metric, arm]
                    gained = np.array([row[places[each]] for each in way])
                    stayed = np.array([row[places[each] + 1] for each in way])
                    grown = np.array([[row[crosses[a, b]] for b in way] for a in way])
                    moved = np.array([[row[crosses[a, b] + 1] for b in way] for a in way])
                    totals[metric, arm] = first + gained, second + grown
                    here[arm] = ArmLook(
                        customers[arm], first + gained, second + grown, second + moved, first + stayed
                    )
                out[metric].append(here)
        return out


def enrolled_by_look(
    con: Engine, experiment: Experiment, looks: Sequence[date], advanced: Advanced | None = None
) -> list[dict[str, int]]:
    """Return, per look, arm → customers assigned until the end of that date. Needs `ledger`.

    With `advanced`, looks that are kept stand, and only who was assigned since is looked through.
    """
    said = [on.isoformat() for on in looks]
    kept = advanced.enrolled_before(said) if advanced else []
    since = f" WHERE assigned >= {micros_of(experiment.end_of(looks[len(kept) - 1]))}" if kept else ""
    rows = con.rows(
        f"SELECT arm, look, count(*) FROM (SELECT arm, {look_of(experiment, looks, 'assigned')} AS look FROM ledger{since}) "
        "GROUP BY arm, look"
    )
    found = {(row[0], row[1]): int(row[2]) for row in rows}
    out = [dict(zip(experiment.arms, counts, strict=True)) for counts in kept]
    so_far = dict(out[-1]) if out else dict.fromkeys(experiment.arms, 0)
    for look in range(len(out), len(looks)):
        so_far = {arm: so_far[arm] + found.get((at, look), 0) for at, arm in enumerate(experiment.arms)}
        out.append(so_far)
    if advanced:
        advanced.enrolled.update(zip(said, ([*each.values()] for each in out), strict=True))
    return out


def _events(experiment: Experiment, needs: Needs, told: Told, source: str) -> str:
    """Return the query of assigned customers' events (place, assigned, kind, happened, v_…) among those of `source`."""
    values = [quoted("v_" + value) for value in needs.values]
    columns = ", ".join(["id", f"{kind_of(codes_of(experiment, told))} AS kind", "happened", *values])
    joined = ", ".join(["r.place", "r.assigned", "e.kind", "e.happened", *values])
    return (
        f"SELECT {joined} FROM (SELECT {columns} FROM {source} WHERE {among(told.wanted)} AND {told.span}) e "
        "JOIN buyers r ON e.id = r.id"
    )


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
