"""Looks: which weekly looks have been taken by a date, and what each of them said."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta

from toolkit.design.experiment import Experiment
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
    looks = [Look(on, min(_fraction(experiment, on), 1.0)) for on in _weeks(experiment, as_of)]
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
    every = [Look(on, min(_fraction(experiment, on), 1.0)) for on in _weeks(experiment, as_of)]
    counted = [look.on in {each.on for each in looks} for look in every]
    dates = [look.on for look in every]
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
                every,
                by_look,
                arm,
                experiment.control,
                alpha=experiment.analysis.alpha,
                planned=not always_on,
                always_on=always_on,
                counted=counted,
            )
            for metric, by_look in sums.items()
            if metric not in readings.waiting
            for arm in experiment.treatments
        }
    whole = experiment.complete_at - experiment.starts_at
    total = max(math.ceil(whole / WEEK), len(looks))
    return Looks(Schedule(looks, total, traces, always_on), tuple(enrolled))


def _weeks(experiment: Experiment, as_of: date) -> list[date]:
    """Return `as_of` and the same weekday of weeks before, since the start, oldest first."""
    dates = []
    while experiment.end_of(as_of) > experiment.starts_at:
        dates.append(as_of)
        as_of -= WEEK
    return dates[::-1]


def _fraction(experiment: Experiment, on: date) -> float:
    """Return how much of the plan had passed at the end of `on`."""
    whole = experiment.complete_at - experiment.starts_at
    return (experiment.end_of(on) - experiment.starts_at) / whole if whole > timedelta(0) else 1.0
