"""Looks: which weekly looks have been taken by a date, and what each of them said."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from toolkit.design.experiment import Experiment
from toolkit.design.metrics import Metric
from toolkit.lake.engine import Engine
from toolkit.lake.outcomes import Evidence
from toolkit.stats.curve import Look, Schedule, Trace, trace_of
from toolkit.stats.readings import Readings

__all__ = ["Looks", "looks_until", "take_looks"]

WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Looks:
    """All looks until now.

    Attributes:
        schedule: what they take from what may be claimed now.
        enrolled: per look, arm → customers assigned until then.
    """

    schedule: Schedule
    enrolled: tuple[dict[str, int], ...] = ()

    @property
    def curve(self) -> dict[tuple[str, str], Trace]:
        """Return (metric, arm) → what every look said."""
        return dict(self.schedule.traces)


def looks_until(experiment: Experiment, as_of: date) -> tuple[Look, ...]:
    """Return the weekly looks until `as_of`, oldest first: `as_of` itself and the same weekday of weeks before.

    The first look whose date completes the plan ends it; what comes later restates that look, so that it stands
    in its place.
    """
    looks = [
        Look(on, min(_fraction(experiment, experiment.end_of(on)), 1.0)) for on in _weeks(experiment, as_of)
    ]
    return tuple(look for look in looks if look.on == as_of or look.fraction < 1)


def take_looks(
    con: Engine, experiment: Experiment, evidence: Evidence, readings: Readings, as_of: date
) -> Looks:
    """Return the looks of an experiment with `looks: weekly`; of any other the present one alone.

    Where results stand ready per customer there is no telling what earlier looks said: then they may depend on
    each other in any way, which costs width.
    """
    if experiment.analysis.looks == "fixed":
        return Looks(Schedule.single())
    from toolkit.lake.curve import enrolled_by_look, look_sums

    looks = looks_until(experiment, as_of)
    if not looks:
        return Looks(Schedule.single())
    dates = _weeks(experiment, as_of)
    own = {metric.name: _looks_at(experiment, evidence, metric, dates) for metric in experiment.metrics}
    enrolled = enrolled_by_look(con, experiment, dates, evidence.advanced)
    traces: dict[tuple[str, str], Trace] = {}
    always_on = experiment.analysis.boundary == "always_on"
    if evidence.told and evidence.activity:
        sums = look_sums(
            con,
            experiment,
            evidence.needs,
            evidence.told,
            readings.caps,
            dates,
            enrolled,
            corrected=evidence.activity.corrected,
            advanced=evidence.advanced,
        )
        if evidence.advanced and evidence.advanced.writing:
            evidence.advanced.writing.begin()
        traces = {
            (metric, arm): trace_of(
                [own[metric].get(on, Look(on, 1.0)) for on in dates],
                by_look,
                arm,
                experiment.control,
                alpha=experiment.analysis.alpha,
                planned=not always_on,
                always_on=always_on,
                counted=[on in own[metric] for on in dates],
            )
            for metric, by_look in sums.items()
            if metric not in readings.waiting
            for arm in experiment.treatments
        }
    whole = experiment.complete_at - experiment.starts_at
    total = max(math.ceil(whole / WEEK), len(looks))
    ended_on = next(on for on in dates if experiment.end_of(on) >= experiment.complete_at or on == as_of)
    schedule = Schedule(
        looks,
        total,
        traces,
        always_on,
        experiment.analysis.alpha,
        ended_on if ended_on < as_of and not always_on else None,
        tuple(metric for metric, each in own.items() if len(each) > len(looks)),
    )
    return Looks(schedule, tuple(enrolled))


def _looks_at(
    experiment: Experiment, evidence: Evidence, metric: Metric, dates: Sequence[date]
) -> dict[date, Look]:
    """Return date → look, of those at one metric, oldest first.

    Its numbers go on growing after the plan's end while a window is open, and without a window for ever. Once they are
    complete, what comes later restates the first look at which they were, and stands in its place.
    """
    settled = experiment.complete_at
    if not metric.window and evidence.told:
        settled = experiment.end_of(dates[-1])
    elif metric.window:
        last = min(evidence.ledger.last_at or experiment.ends_at, experiment.ends_at)
        settled = max(settled, last + metric.window)
    return {
        on: Look(on, _fraction(experiment, min(experiment.end_of(on), settled)))
        for on in dates
        if on == dates[-1] or experiment.end_of(on) < settled
    }


def _weeks(experiment: Experiment, as_of: date) -> list[date]:
    """Return `as_of` and the same weekday of weeks before, since the start, oldest first."""
    dates = []
    while experiment.end_of(as_of) > experiment.starts_at:
        dates.append(as_of)
        as_of -= WEEK
    return dates[::-1]


def _fraction(experiment: Experiment, at: datetime) -> float:
    """Return how much of the plan had passed by then; more than 1 after its end."""
    whole = experiment.complete_at - experiment.starts_at
    passed = at - experiment.starts_at
    return passed / whole if whole > timedelta(0) else 1 + passed / WEEK
