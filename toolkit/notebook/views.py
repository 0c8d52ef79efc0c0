"""What experiments, their cohorts and their designs look like in a notebook: each becomes a panel."""

from __future__ import annotations

from toolkit.design.durations import in_words
from toolkit.design.experiment import Experiment
from toolkit.lake.enrol import MatchReport
from toolkit.notebook.panel import Grid, Panel
from toolkit.notebook.picture import Picture
from toolkit.readout import words
from toolkit.readout.figures import DASH, Unit, count, percent
from toolkit.show.pulled import pulled_text
from toolkit.stats.planning import Weeks
from toolkit.steps.assign import Assigned
from toolkit.steps.check import Preview
from toolkit.steps.detectable import Design, Detectable
from toolkit.steps.pull import Pulled
from toolkit.steps.workspace import Spec

__all__ = ["of_assigned", "of_design", "of_experiment", "of_preview", "of_pulled", "of_spec"]


def of_spec(spec: Spec) -> Panel:
    """Return an experiment file: question, arms, metrics, traits."""
    return of_experiment(spec.experiment, where=f"{spec.path}, sha256 {spec.digest[:12]}")


def of_experiment(experiment: Experiment, *, where: str = "") -> Panel:
    """Return an experiment: question, arms, metrics, traits; `where` says which file it is from."""
    cohort = experiment.cohort
    from_ = f"{cohort.source}, {cohort.entry} entry" if cohort else "whoever the file of assignments names"
    arms = Grid(
        "Arms",
        ("arm", "share", ""),
        tuple(
            (arm, percent(share), "control" if arm == experiment.control else "")
            for arm, share in experiment.arms.items()
        ),
        right=(1,),
    )
    metrics = Grid(
        "Metrics",
        ("metric", "kind", "role", "window", "on", "covariates"),
        tuple(
            (
                each.name,
                each.kind,
                each.role,
                in_words(each.window) if each.window else "to date",
                ", ".join(dict.fromkeys(term.event or term.column or "" for term in each.terms)),
                ", ".join(each.covariate_names),
            )
            for each in experiment.metrics
        ),
    )
    traits = Grid(
        "Traits",
        ("trait", "arms", "otherwise", "flag", "segments"),
        tuple(
            (
                each.name,
                ", ".join(each.treated_arms),
                str(each.default).lower(),
                each.flag or DASH,
                ", ".join(each.segments()),
            )
            for each in experiment.traits
        ),
    )
    dates = f"{experiment.start} to {experiment.end} ({experiment.timezone}); cohort: {from_}"
    notes = (f"{experiment.key}, {dates}.", *([where] if where else []))
    return Panel(experiment.title, experiment.hypothesis or dates, (arms, metrics, traits), notes=notes)


def of_preview(preview: Preview) -> Panel:
    """Return what an experiment would do: who qualifies, how they meet the key, what to look at twice."""
    if preview.people is None:
        said = f"How many qualify is not known from here: {preview.unreachable}."
    else:
        said = f"{count(preview.people)} qualify now. Nothing was written."
    warnings = tuple(f"Warning: {each}" for each in preview.warnings)
    grids = (_matches(preview.matches),) if preview.matches else ()
    status = "warn" if warnings or preview.people is None else "good"
    return Panel("Who would be in it", said, grids, notes=warnings, status=status)


def of_assigned(done: Assigned) -> Panel:
    """Return what an assignment run did."""
    title = "Assignment"
    if done.enrolment is None:
        return Panel(title, f"Nobody is newly assigned: {done.skipped}.")
    new = done.enrolment
    total = sum(new.assigned.values())
    rows = tuple((arm, count(n)) for arm, n in new.assigned.items())
    notes = [f"{count(new.known)} were assigned before, and stay where they are."]
    if new.universal:
        notes.append(f"{count(new.universal)} are in the universal holdout: in no experiment at all.")
    if new.elsewhere:
        notes.append(f"{count(new.elsewhere)} belong to other experiments of the layer.")
    grids = [Grid("Newly assigned", ("arm", "customers"), rows, right=(1,))]
    if done.matches:
        grids.append(_matches(done.matches))
    return Panel(title, f"{count(total)} newly assigned.", tuple(grids), notes=tuple(notes), status="good")


def _matches(found: MatchReport) -> Grid:
    rows = [
        ("people from the source", found.people),
        ("customers with the identity key", found.with_key),
        ("without it, so in no arm", found.without_key),
        ("… of whom known by e-mail only", found.email_only),
        ("repeated, and counted once", found.repeated),
    ]
    return Grid(
        "How the cohort meets the identity key",
        ("", "rows"),
        tuple((name, count(n)) for name, n in rows if n or name.endswith("key")),
        right=(1,),
    )


def of_pulled(done: Pulled) -> Panel:
    """Return what a pull brought."""
    first, *others = pulled_text(done).splitlines()
    warned = any(each.startswith("warning") for each in others)
    return Panel("Events", f"{first}.", notes=tuple(others), status="warn" if warned else "good")


def of_design(found: Design) -> Panel:
    """Return what an experiment can find, and the picture of it."""
    known = [each for each in found.rows if each.relative is not None]
    doubted = [each for each in found.rows if each.doubt]
    first = known[0] if known else found.rows[0]
    if first.relative is None:
        said = f"{words.capital(_named(first))}: {first.why}."
    else:
        so_far = "" if found.basis == "history" else f" with the {count(found.customers)} customers so far"
        said = (
            f"{words.capital(_named(first))} has to change by {percent(first.relative)} of its base to be found in "
            f"{found.power:.0%} of such experiments{so_far}; {words.plural(len(doubted), 'interval')} will not be trusted at this size."
        )
    effects = Grid(
        "Smallest effects",
        ("metric", "arm", "treated", "held out", "base", "effect", "relative", "by"),
        tuple(_detectable(each) for each in found.rows),
        right=(2, 3, 4, 5, 6),
    )
    longest = max((each.weeks for each in found.rows), key=len)
    weeks = Grid(
        "Customers and weeks that an effect takes",
        ("metric", "arm", *(f"{100 * lift:+.4g}%" for lift, _ in longest)),
        tuple(
            (each.metric, each.arm, *(_takes(how) for _, how in each.weeks))
            for each in found.rows
            if each.weeks
        ),
    )
    notes = [f"{words.capital(_named(each))} will not be trusted: {each.doubt}." for each in doubted]
    notes += [f"{words.capital(_named(each))}: {each.why}." for each in found.rows if each.why]
    notes += [
        words.capital(each) + "." for each in (*([found.cost.text] if found.cost else []), *found.notes)
    ]
    told = "; ".join(
        f"{_named(each)}: {percent(each.relative)} at the plan" for each in known if each.relative is not None
    )
    picture = Picture(
        found.picture().svg,
        f"Smallest relative effect against the share held out and weeks. {told}.",
        "power",
    )
    return Panel(
        f"{found.title}: what it can find",
        said,
        (effects, weeks),
        (picture,) if found.curves else (),
        (f"From {found.source}.", *notes),
        "warn" if doubted else "good",
    )


def _named(each: Detectable) -> str:
    return f"{words.metric_name(each.metric)} ({words.arm_name(each.arm)})"


def _detectable(each: Detectable) -> tuple[str, ...]:
    unit = Unit("points") if each.kind == "conversion" else Unit()
    digits = unit.decimals(None, None, each.effect)
    explained = f", R² {percent(each.explained, 0)}" if each.explained else ""
    return (
        each.metric + (f", capped at {each.cap:,.6g}" if each.cap is not None else ""),
        each.arm,
        count(each.treated),
        count(each.held),
        unit.size(each.base, digits),
        unit.change(each.effect, digits) if each.effect is not None else "none",
        percent(each.relative),
        (each.method or DASH) + explained,
    )


def _takes(how: Weeks) -> str:
    """Return how many customers and weeks an effect takes, or why that is not known."""
    if how.customers is None:
        return how.text
    if how.total is None:
        return f"{count(how.customers)} customers: more than there are"
    return f"{count(how.customers)} customers, {words.plural(how.total, 'week')}"
