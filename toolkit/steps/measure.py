"""A look at an experiment: from the lake and files to lifts, checks and a verdict."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import date, datetime

from toolkit.design.experiment import Experiment
from toolkit.errors import NotBegun
from toolkit.lake.engine import connect
from toolkit.lake.enrol import refuse_redraw
from toolkit.lake.exposed import exposed_sums
from toolkit.lake.outcomes import Evidence, gather, keep_state
from toolkit.lake.readings import read
from toolkit.lake.treated import Mixing, mixing_of
from toolkit.stats import quality
from toolkit.stats.lifts import lifts_of
from toolkit.stats.maturity import Maturity
from toolkit.stats.money import worth_by_arm
from toolkit.stats.readings import Readings
from toolkit.stats.results import Check, Measurement
from toolkit.stats.verdict import verdict_of
from toolkit.steps.looks import Looks, take_looks
from toolkit.steps.maturity import maturity_at
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["READ", "Found", "look", "measure"]

BESIDE = ("people", "deliveries", "exposures", "same_people", "cursors")
"""Tables that a look may read besides assignments and events."""
READ = ("assignments", "events", *BESIDE)


def measure(workspace: Workspace, spec: Spec, *, as_of: date | None = None) -> Measurement:
    """Return what the experiment's data say at the end of `as_of` (a date in its time zone; today if None).

    Raises:
        NotBegun: `as_of` ends before enrolment begins.
        NotEnoughData: nobody is assigned yet.
        LedgerError: seed or shares differ from those of the first enrolment.
        SpecError, DataError: the experiment names what is not there, or a file cannot be used.
        StorageError: the lake cannot be read.
    """
    experiment = spec.experiment
    found = look(workspace, spec, as_of=as_of)
    evidence, readings, checks, schedule = found.evidence, found.readings, found.checks, found.looks.schedule
    lifts = tuple(lifts_of(experiment, readings, schedule))
    verdict = verdict_of(
        experiment,
        lifts,
        checks,
        schedule,
        why_provisional=_why_provisional(
            experiment, evidence, experiment.end_of(found.as_of), found.maturity
        ),
        caution=_caution(experiment, evidence, experiment.end_of(found.as_of)),
    )
    keep_state(workspace.lake, experiment, evidence)
    tables = {
        **found.tables,
        "assignments": evidence.ledger.version,
        "events": evidence.told.version if evidence.told else None,
    }
    return Measurement(
        experiment.key,
        found.as_of,
        evidence.told.through if evidence.told else None,
        evidence.customers,
        dict(experiment.arms),
        tuple(checks),
        lifts,
        verdict,
        _notes(evidence),
        {name: version for name, version in tables.items() if version is not None},
        schedule=schedule,
        worth=worth_by_arm(experiment, readings, schedule),
        maturity=found.maturity,
        reach=found.reach,
    )


@dataclass(frozen=True, slots=True)
class Found:
    """What a look found, read and checked, before any statistics."""

    as_of: date
    evidence: Evidence
    readings: Readings
    checks: list[Check]
    looks: Looks
    maturity: Maturity | None
    reach: tuple[str, ...]
    tables: dict[str, int | None]


def look(workspace: Workspace, spec: Spec, *, as_of: date | None = None) -> Found:
    """Return what was found, read and checked at the end of `as_of`, before any statistics."""
    experiment, lake = spec.experiment, workspace.lake.at_present()
    as_of = as_of or workspace.now().astimezone(experiment.zone).date()
    as_of_end = experiment.end_of(as_of)
    if as_of_end <= experiment.starts_at:
        raise NotBegun(
            f"{spec.path}: enrolment starts on {experiment.start}, so nothing can be measured by {as_of}"
        )
    if experiment.events and experiment.events.in_lake:
        lake.open_all(("events", "assignments", *BESIDE))
    tables = {name: lake.version(name) for name in BESIDE}
    with connect(workspace.settings.lift_engine) as con:
        with nullcontext(con) if con.dialect == "duckdb" else connect() as reader:
            refuse_redraw(reader, lake, experiment, spec.path)
        evidence = gather(
            con, lake, experiment, spec.path, as_of_end=as_of_end, keep=True, now=workspace.now()
        )
        readings = read(con, experiment, evidence)
        mixing = mixing_of(con, lake, experiment, as_of_end=as_of_end)
        exposed = exposed_sums(con, lake, experiment, evidence, readings.caps, as_of_end=as_of_end)
        readings = replace(readings, exposed=exposed)
        looks = take_looks(con, experiment, evidence, readings, as_of)
        maturity = maturity_at(con, lake, experiment, evidence, as_of_end=as_of_end)
    checks = _checks(experiment, evidence, readings, mixing, as_of_end, looks)
    known = (("message", mixing.messaged), ("offer", mixing.served))
    reach = tuple(name for name, count in known if count is not None)
    return Found(as_of, evidence, readings, checks, looks, maturity, reach, tables)


def _checks(
    experiment: Experiment,
    evidence: Evidence,
    readings: Readings,
    mixing: Mixing,
    as_of_end: datetime,
    looks: Looks,
) -> list[Check]:
    ledger, told, activity = evidence.ledger, evidence.told, evidence.activity
    customers = sum(evidence.customers.values())
    checks = [
        quality.sample_ratio(evidence.customers, experiment.arms, looks.enrolled),
        quality.balance(readings, experiment.control),
        quality.crossover(ledger.crossed, customers, merged=mixing.merged, served=mixing.served_elsewhere),
        _identity(evidence),
        quality.freshness(
            told.through if told else None,
            _needed(experiment, evidence, as_of_end),
            told.unfinished if told else (),
        ),
    ]
    if activity is None:
        why = "outcomes stand ready per customer, without orders or instants"
        checks += [Check(name, "skip", why) for name in ("duplicate_orders", "assignment_before_outcome")]
    else:
        checks.append(quality.duplicate_orders(activity.repeated_orders, activity.orders))
        rolling = bool(experiment.cohort and experiment.cohort.entry == "rolling")
        checks.append(
            quality.assignment_before_outcome(
                activity.early, activity.first, evidence.customers, rolling=rolling
            )
        )
    valued = [metric for metric in experiment.metrics if metric.kind == "mean"]
    for metric in valued[:1]:
        checks.append(quality.outliers(metric.name, *_largest(readings, readings.terms[metric.name][0])))
    if not valued:
        checks.append(Check("outliers", "skip", "no metric is a mean of values"))
    held = evidence.customers[experiment.control]
    checks.append(quality.holdout_delivered(mixing.messaged, mixing.served, mixing.either, held))
    return checks


def _largest(readings: Readings, column: str) -> tuple[float, float, int]:
    """Return the largest customer's value, its arm's total, and that arm's customers above zero.

    Of all arms the one whose largest customer has the largest share of the total.
    """
    found = []
    for arm, moments in readings.moments.items():
        total = float(moments.mean[readings.columns.index(column)]) * moments.n
        most, positive = readings.largest[arm][column]
        if total > 0:
            found.append((most, total, positive))
    return max(found, key=lambda row: row[0] / row[1], default=(0.0, 0.0, 0))


def _identity(evidence: Evidence) -> Check:
    if evidence.known is not None:
        return quality.identity_match(
            evidence.customers,
            evidence.known,
            evidence.strangers,
            what="people",
            expect_all=True,
            repeated=evidence.people.repeated,
        )
    what = "events" if evidence.told else "outcomes"
    return quality.identity_match(
        evidence.customers, evidence.active, evidence.strangers, what=what, expect_all=False
    )


def _needed(experiment: Experiment, evidence: Evidence, as_of_end: datetime) -> datetime:
    """Return how far the data must reach: to the readout's date, or to the end of the last window."""
    window, last = experiment.longest_window, evidence.ledger.last_at
    return as_of_end if window is None or last is None else min(as_of_end, last + window)


def _why_provisional(
    experiment: Experiment, evidence: Evidence, as_of_end: datetime, maturity: Maturity | None
) -> str | None:
    windows = [each.window for each in experiment.deciding if each.window]
    last = evidence.ledger.last_at
    if experiment.analysis.looks == "weekly":
        if as_of_end < experiment.complete_at:
            return (
                f"enrolment ends on {experiment.end} and the numbers are complete on "
                f"{experiment.complete_at:%Y-%m-%d}"
            )
    elif windows and last and as_of_end < last + max(windows):
        return f"the last customers' windows close on {last + max(windows):%Y-%m-%d}"
    return maturity.text if maturity and maturity.provisional else None


def _caution(experiment: Experiment, evidence: Evidence, as_of_end: datetime) -> str:
    """Return what to add to a decision by the one look that is planned, where it comes before its time.

    That is while customers enrol, or while what they do still adds to the numbers.
    """
    rolling = bool(experiment.cohort and experiment.cohort.entry == "rolling")
    grows = evidence.told is not None and not all(each.window for each in experiment.deciding)
    if experiment.analysis.looks == "weekly" or as_of_end >= experiment.ends_at or not (rolling or grows):
        return ""
    return (
        f"One look is planned, and enrolment ends on {experiment.end}: whoever looks sooner, and again until something "
        f"is found, finds it by chance in more than {100 * experiment.analysis.alpha:g}% of experiments."
    )


def _notes(evidence: Evidence) -> tuple[str, ...]:
    ledger, told, activity, notes = evidence.ledger, evidence.told, evidence.activity, []
    if ledger.outside:
        notes.append(f"{ledger.outside:,} assignments before start or after end do not count")
    if ledger.later:
        notes.append(f"{ledger.later:,} assignments after this readout's date do not count yet")
    if ledger.repeated:
        notes.append(
            f"{ledger.repeated:,} repeated assignments were dropped; the first of each customer counts"
        )
    if activity and activity.without_amount:
        notes.append(f"{activity.without_amount:,} orders carry no amount and add nothing to revenue")
    if activity and activity.unmatched_refunds:
        notes.append(f"{activity.unmatched_refunds:,} refunds are of orders outside the span looked at")
    if activity and activity.bare_refunds:
        notes.append(f"{activity.bare_refunds:,} refunds carry no amount and take nothing off revenue")
    if told and told.absent:
        notes.append(f"no event is named {', '.join(told.absent)} yet")
    return tuple(notes)
