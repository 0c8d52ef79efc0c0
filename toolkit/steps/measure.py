"""A look at an experiment: from the lake and files to lifts, checks and a verdict."""

from __future__ import annotations

from datetime import date, datetime

from toolkit.design.experiment import Experiment
from toolkit.lake.aggregate import early_outcomes, largest_of, treated_all_the_same
from toolkit.lake.engine import Connection, connect
from toolkit.lake.outcomes import Evidence, gather
from toolkit.lake.readings import read
from toolkit.lake.tables import Lake
from toolkit.stats import quality
from toolkit.stats.lifts import Readings, lifts_of
from toolkit.stats.results import Check, Measurement
from toolkit.stats.verdict import verdict_of
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["look", "measure"]


def measure(workspace: Workspace, spec: Spec, *, as_of: date | None = None) -> Measurement:
    """Return what the experiment's data say at the end of `as_of` (a date in its time zone; today if None).

    Raises:
        NotEnoughData: nobody is assigned yet.
        SpecError, DataError: the experiment names what is not there, or a file cannot be used.
        StorageError: the lake cannot be read.
    """
    experiment = spec.experiment
    evidence, readings, checks, as_of = look(workspace, spec, as_of=as_of)
    lifts = tuple(lifts_of(experiment, readings))
    verdict = verdict_of(
        experiment,
        lifts,
        checks,
        why_provisional=_why_provisional(experiment, evidence, experiment.end_of(as_of)),
    )
    tables = {
        "assignments": evidence.ledger.version,
        "events": evidence.events.version if evidence.events else None,
    }
    return Measurement(
        experiment.key,
        as_of,
        evidence.events.through if evidence.events else None,
        evidence.customers,
        dict(experiment.arms),
        tuple(checks),
        lifts,
        verdict,
        _notes(evidence),
        {name: version for name, version in tables.items() if version is not None},
    )


def look(
    workspace: Workspace, spec: Spec, *, as_of: date | None = None
) -> tuple[Evidence, Readings, list[Check], date]:
    """Return what was found, read and checked at the end of `as_of`, before any statistics, and that date."""
    experiment, lake = spec.experiment, workspace.lake
    as_of = as_of or workspace.now().astimezone(experiment.zone).date()
    as_of_end = experiment.end_of(as_of)
    with connect() as con:
        evidence = gather(con, lake, experiment, spec.path, as_of_end=as_of_end)
        readings = read(con, experiment, evidence.needs, evidence.customers, spec.path)
        checks = _checks(con, lake, experiment, evidence, readings, as_of_end)
    return evidence, readings, checks, as_of


def _checks(
    con: Connection,
    lake: Lake,
    experiment: Experiment,
    evidence: Evidence,
    readings: Readings,
    as_of_end: datetime,
) -> list[Check]:
    ledger, events, arms = evidence.ledger, evidence.events, list(experiment.arms)
    customers = sum(evidence.customers.values())
    checks = [
        quality.sample_ratio(evidence.customers, experiment.arms),
        quality.balance(readings, experiment.control),
        quality.crossover(ledger.crossed, customers),
        _identity(evidence),
        quality.freshness(events.through if events else None, _needed(experiment, evidence, as_of_end)),
    ]
    if events is None:
        why = "outcomes stand ready per customer, without orders or instants"
        checks += [Check(name, "skip", why) for name in ("duplicate_orders", "assignment_before_outcome")]
    else:
        checks.append(quality.duplicate_orders(events.repeated_orders, events.seen))
        names = [each.term.event for each in evidence.needs.counted if each.term and each.term.event]
        rolling = bool(experiment.cohort and experiment.cohort.entry == "rolling")
        checks.append(
            quality.assignment_before_outcome(*early_outcomes(con, arms, sorted(set(names))), rolling=rolling)
        )
    valued = [metric for metric in experiment.metrics if metric.kind == "mean"]
    for metric in valued[:1]:
        checks.append(quality.outliers(metric.name, *largest_of(con, evidence.needs.terms[metric.name][0])))
    if not valued:
        checks.append(Check("outliers", "skip", "no metric is a mean of values"))
    checks.append(
        quality.holdout_delivered(
            treated_all_the_same(con, lake, experiment), evidence.customers[experiment.control]
        )
    )
    return checks


def _identity(evidence: Evidence) -> Check:
    if evidence.people.known is not None:
        return quality.identity_match(
            evidence.customers,
            evidence.people.known,
            evidence.strangers,
            what="people",
            expect_all=True,
            repeated=evidence.people.repeated,
        )
    what = "events" if evidence.events else "outcomes"
    return quality.identity_match(
        evidence.customers, evidence.active, evidence.strangers, what=what, expect_all=False
    )


def _needed(experiment: Experiment, evidence: Evidence, as_of_end: datetime) -> datetime:
    """Return how far the data must reach: to the readout's date, or to the end of the last window."""
    window, last = experiment.longest_window, evidence.ledger.last_at
    return as_of_end if window is None or last is None else min(as_of_end, last + window)


def _why_provisional(experiment: Experiment, evidence: Evidence, as_of_end: datetime) -> str | None:
    primary = [each for each in experiment.metrics if each.role == "primary"] or experiment.metrics
    windows = [each.window for each in primary if each.window]
    last = evidence.ledger.last_at
    if experiment.analysis.looks == "weekly":
        done = experiment.ends_at + max(windows) if windows else experiment.ends_at
        if as_of_end < done:
            return (
                f"enrolment ends on {experiment.end} and the numbers are complete on {done:%Y-%m-%d}; "
                "until then intervals are for watching, not for deciding"
            )
    elif windows and last and as_of_end < last + max(windows):
        return f"the last customers' windows close on {last + max(windows):%Y-%m-%d}"
    return None


def _notes(evidence: Evidence) -> tuple[str, ...]:
    ledger, events, notes = evidence.ledger, evidence.events, []
    if ledger.outside:
        notes.append(f"{ledger.outside:,} assignments before start or after end do not count")
    if ledger.later:
        notes.append(f"{ledger.later:,} assignments after this readout's date do not count yet")
    if ledger.repeated:
        notes.append(
            f"{ledger.repeated:,} repeated assignments were dropped; the first of each customer counts"
        )
    if events and events.without_amount:
        notes.append(f"{events.without_amount:,} orders carry no amount and add nothing to revenue")
    if events and events.unmatched_refunds:
        notes.append(f"{events.unmatched_refunds:,} refunds are of orders outside the span looked at")
    if events and events.absent:
        notes.append(f"no event is named {', '.join(events.absent)} yet")
    return tuple(notes)
