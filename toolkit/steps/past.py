"""The past that a design is planned from: the control's own, or the cohort's before anybody was assigned."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np

from toolkit.design.durations import in_words
from toolkit.design.experiment import Experiment
from toolkit.design.metrics import Mean, Metric
from toolkit.errors import NotEnoughData
from toolkit.lake.engine import Engine, connect
from toolkit.lake.enrol import report_matches
from toolkit.lake.history import (
    AsIfAssigned,
    amounts_of,
    as_if,
    customers_of_outcomes,
    earliest_event,
    enrolled_by_week,
    qualified_by_week,
)
from toolkit.lake.outcomes import Evidence, gather
from toolkit.lake.readings import read
from toolkit.stats.moments import Vector
from toolkit.stats.readings import Readings
from toolkit.stats.shapes import Shape
from toolkit.stats.skew import cap_for
from toolkit.steps.cohort import load_cohort
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["Past", "learn"]

DAY, WEEK = timedelta(days=1), timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Past:
    """What is known before the numbers that the experiment is to bring.

    Attributes:
        basis: `history` or `control`; `source` says it in words.
        readings: in which the control's customers are those learnt from.
        customers: arm → customers to compare: planned, or assigned.
        waiting: customers who enrol on the first day, or are enrolled.
        weekly: customers enrolled per week of the past, as far as it is known.
        days: of the window that the numbers are of.
        values: metric → numbers that are not zero.
        notes: what to know before believing it.
    """

    basis: str
    source: str
    readings: Readings
    customers: dict[str, int]
    waiting: int
    weekly: tuple[float, ...]
    days: float
    values: dict[str, Vector] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def per_week(self) -> float | None:
        """Return how many enrol each week; None where not known, or all at once."""
        return sum(self.weekly) / len(self.weekly) if self.weekly else None

    def amounts(self, metric: Metric, shape: Shape) -> Vector:
        """Return the numbers of customers for whom `metric` is not zero."""
        if metric.kind == "conversion":
            return np.ones(round(shape.active * shape.customers))
        return self.values[metric.name]


def learn(workspace: Workspace, spec: Spec, *, as_of: date | None, pace: float | None) -> Past:
    """Return the control's own numbers, or where nobody is assigned yet the cohort's history.

    History is read by DuckDB, wherever measurements run.

    Raises:
        NotEnoughData: there is neither.
    """
    experiment = spec.experiment
    today = workspace.now().astimezone(experiment.zone).date()
    if not _unwritten(experiment, spec):
        try:
            return _from_control(workspace, spec, experiment.end_of(as_of or today), pace)
        except NotEnoughData:
            pass
    until = experiment.end_of(as_of) if as_of else min(experiment.midnight(today), experiment.starts_at)
    return _from_history(workspace, spec, until, pace)


def _unwritten(experiment: Experiment, spec: Spec) -> bool:
    """Return whether someone else is to assign and has not begun: the file is not there yet."""
    path = experiment.file_beside(spec.path, experiment.assignment.file)
    files = experiment.assignment.source == "files" and "://" not in path and "*" not in path
    return files and not Path(path).exists()


def _from_control(workspace: Workspace, spec: Spec, until: datetime, pace: float | None) -> Past:
    experiment = spec.experiment
    with connect(workspace.settings.lift_engine) as con:
        evidence = gather(con, workspace.lake, experiment, spec.path, as_of_end=until)
        readings = read(con, experiment, evidence)
        values = _values(con, experiment, readings)
        weeks = enrolled_by_week(con, experiment, until) if _rolling(experiment) else ()
    held = evidence.customers[experiment.control]
    last = (until - timedelta(seconds=1)).astimezone(experiment.zone).date()
    notes = []
    window, assigned = experiment.longest_window, evidence.ledger.last_at
    if evidence.told and window and assigned and assigned + window > until:
        notes.append(
            f"the last customers' windows close on {assigned + window:%Y-%m-%d}: until then means are too low"
        )
    weekly = (pace,) if pace else weeks[1:]  # the first week brings those who qualified long before
    if _rolling(experiment) and not weekly:
        notes.append("how many enrol each week is known from the third week on; say it with `--pace`")
    return Past(
        "control",
        f"the control's own numbers: {held:,} customers held out, as of {last}",
        readings,
        dict(evidence.customers),
        sum(evidence.customers.values()),
        tuple(weekly),
        _days(experiment),
        values,
        tuple(notes),
    )


def _from_history(workspace: Workspace, spec: Spec, until: datetime, pace: float | None) -> Past:
    experiment, lake = spec.experiment, workspace.lake
    earlier, since = as_if(experiment, until)
    events = experiment.events
    with AsIfAssigned() as con:
        if events and events.in_lake and con.stored(lake, "events") is None:
            raise NotEnoughData(
                f"{spec.path}: nobody is assigned yet, and the lake keeps no events to learn from; "
                f"run `lift pull {spec.path}` first"
            )
        if experiment.cohort:
            load_cohort(con, workspace, spec)
            people = report_matches(con).with_key
            weekly = qualified_by_week(con, experiment, spec.path, until) if _rolling(experiment) else None
        else:
            people, weekly = customers_of_outcomes(con, experiment, spec.path), None
        if not people:
            raise NotEnoughData(f"{spec.path}: nobody qualifies, so there is nobody to plan with")
        held_out = experiment.cohort.universal_holdout if experiment.cohort else None
        kept = 1 - (held_out.share if held_out else 0.0)
        per_week = tuple(each * kept for each in ((pace / kept,) if pace else weekly or ()))
        waiting = round(people * kept)
        total = float(waiting)
        if per_week:
            total += sum(per_week) / len(per_week) * ((experiment.end - experiment.start) / WEEK)
        planned = {arm: round(total * share) for arm, share in experiment.arms.items()}
        earlier = _capped(earlier, planned)
        con.assign_everybody(earlier, since)
        evidence = gather(con, lake, earlier, spec.path, as_of_end=until)
        readings = read(con, earlier, evidence)
        values = _values(con, experiment, readings)
        known = earliest_event(con) if events else None
    if events and (known is None or known >= until):
        raise NotEnoughData(
            f"{spec.path}: nobody is assigned yet, and no event is from before {until:%Y-%m-%d}; "
            "bring the cohort's events from before the start, or give a later `--as-of`"
        )
    return Past(
        "history",
        _said(experiment, people, since, until),
        readings,
        planned,
        waiting,
        per_week,
        _days(experiment),
        values,
        tuple(_notes(experiment, earlier, evidence, known, since, per_week)),
    )


def _capped(earlier: Experiment, planned: dict[str, int]) -> Experiment:
    """Return the experiment with the caps that the planned sizes ask for, where they are to follow from sizes."""
    if min(planned.values()) < 1:
        return earlier
    quantile = cap_for(planned[earlier.control], [planned[arm] for arm in earlier.treatments])
    metrics = tuple(
        each.model_copy(update={"cap": quantile}) if isinstance(each, Mean) and each.cap == "auto" else each
        for each in earlier.metrics
    )
    return earlier.model_copy(update={"metrics": metrics})


def _said(experiment: Experiment, people: int, since: datetime, until: datetime) -> str:
    if experiment.outcomes:
        return f"the table of outcomes as it stands, for {people:,} customers who qualify now"
    days = [each.astimezone(experiment.zone).date() for each in (since, until - timedelta(seconds=1))]
    return f"the history of {people:,} customers who qualify now, {days[0]} to {days[1]}, as if assigned on {days[0]}"


def _notes(
    experiment: Experiment,
    earlier: Experiment,
    evidence: Evidence,
    known: datetime | None,
    since: datetime,
    weekly: tuple[float, ...],
) -> list[str]:
    notes, cohort = [], experiment.cohort
    if experiment.events:
        notes.append(
            "customers are those who qualify now: where they do because of what they did (a cart abandoned, an "
            "order long ago), what they did before says less of what they will do"
        )
    if known and known > since + DAY:
        notes.append(
            f"events reach back to {known:%Y-%m-%d} only, not to {since:%Y-%m-%d}: means are too low"
        )
    backs = [back.lookback for each in earlier.metrics for back in each.lookbacks]
    if known and backs and known > since - max(backs) + DAY:
        notes.append(
            f"the look-back of {in_words(max(backs))} is known only from {known:%Y-%m-%d} on: it may explain more"
        )
    dropped = [
        name
        for was, now in zip(experiment.metrics, earlier.metrics, strict=True)
        for name in was.covariate_names
        if name not in now.covariate_names
    ]
    if dropped:
        names = ", ".join(dict.fromkeys(dropped))
        notes.append(
            f"{names}: not known before customers are assigned, and not counted on to explain anything"
        )
    endless = [each.name for each in experiment.metrics if each.window is None]
    if endless and experiment.events:
        days = (experiment.end - experiment.start).days
        notes.append(
            f"{', '.join(endless)}: without a window; counted over {days} days, as long as enrolment"
        )
    if cohort and cohort.layer:
        notes.append(f"customers whom other experiments of layer {cohort.layer} claim are not taken off")
    if _rolling(experiment) and not weekly:
        notes.append(
            "how many newly qualify each week is not known: add a column `qualified_at` to people, or say it "
            "with `--pace`; sizes are of those who qualify now"
        )
    if evidence.people.repeated:
        notes.append(f"{evidence.people.repeated:,} repeated rows of people were dropped")
    return notes


def _values(con: Engine, experiment: Experiment, readings: Readings) -> dict[str, Vector]:
    return {
        metric.name: amounts_of(con, experiment, readings, metric)
        for metric in experiment.metrics
        if isinstance(metric, Mean)
    }


def _days(experiment: Experiment) -> float:
    """Return how long the window of what customers are worth is: the longest, or as long as enrolment."""
    window = experiment.longest_window or max(experiment.end - experiment.start, DAY)
    return window / DAY


def _rolling(experiment: Experiment) -> bool:
    return bool(experiment.cohort and experiment.cohort.entry == "rolling")
