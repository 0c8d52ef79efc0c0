"""What the commands print: plain text tables for people at a terminal."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.design.durations import in_words
from toolkit.design.experiment import Experiment

if TYPE_CHECKING:
    from toolkit.lake.enrol import MatchReport
    from toolkit.stats.planning import Weeks
    from toolkit.steps.assign import Assigned
    from toolkit.steps.check import Preview
    from toolkit.steps.detectable import Design
    from toolkit.steps.pull import Pulled
    from toolkit.steps.push import Pushed, PushPlan
    from toolkit.steps.readout import Outcome

__all__ = [
    "assigned_text",
    "design_text",
    "outcomes_text",
    "plan_record",
    "plan_text",
    "preview_text",
    "pulled_text",
    "pushed_text",
    "record_text",
    "table_text",
    "truths_text",
]

WIDTH = 118


def table_text(header: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[int] = ()) -> str:
    """Return a table; columns of the places in `right` are aligned to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for at, name in enumerate(header):
        table.add_column(Text(name), justify="right" if at in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    shown = io.StringIO()
    Console(file=shown, width=WIDTH, color_system=None).print(table)
    return shown.getvalue().strip("\n")


def preview_text(experiment: Experiment, preview: Preview) -> str:
    """Return what an experiment would do."""
    cohort = experiment.cohort
    if preview.people is None:
        size = f"not known from here: {preview.unreachable}"
    else:
        size = f"{preview.people:,} qualify now"
    lines = [
        f"{experiment.title} ({experiment.key})",
        f"  {experiment.start} to {experiment.end}, {experiment.timezone}; assignment by "
        f"{'hash, prefix ' + experiment.prefix if experiment.assignment.source == 'hash' else 'file'}",
        f"  cohort: {f'{cohort.source}, {cohort.entry} entry' if cohort else 'none'}; {size}",
    ]
    if preview.matches:
        lines.append("  " + _matches(experiment, preview.matches))
    if cohort and cohort.universal_holdout:
        lines.append(
            f"  universal holdout {cohort.universal_holdout.key}: {cohort.universal_holdout.share:.1%} are in nothing"
        )
    if cohort and cohort.layer:
        lines.append(f"  layer {cohort.layer}: shares no customer with its other experiments")
    people = preview.matches.with_key if preview.matches else preview.people
    lines.append(
        table_text(
            ["arm", "share", "customers", ""],
            [
                [
                    arm,
                    f"{share:.2%}",
                    f"about {people * share:,.0f}" if people else "",
                    "control" if arm == experiment.control else "",
                ]
                for arm, share in experiment.arms.items()
            ],
            right=[1, 2],
        )
    )
    if experiment.traits:
        lines.append(
            table_text(
                ["trait", "type", "arms", "otherwise", "segments", "flag"],
                [
                    [
                        each.name,
                        each.type,
                        ", ".join(each.treated_arms),
                        each.default,
                        ", ".join(each.segments()),
                        each.flag or "",
                    ]
                    for each in experiment.traits
                ],
            )
        )
    lines.append(
        table_text(
            ["metric", "kind", "role", "window", "on", "covariates"],
            [
                [
                    each.name,
                    each.kind,
                    each.role,
                    in_words(each.window) if each.window else "to date",
                    ", ".join(dict.fromkeys(term.event or term.column or "" for term in each.terms)),
                    ", ".join(each.covariate_names),
                ]
                for each in experiment.metrics
            ],
        )
    )
    lines += [f"warning: {each}" for each in preview.warnings]
    return "\n".join(lines)


def assigned_text(experiment: Experiment, done: Assigned) -> str:
    """Return what an assignment run did."""
    if done.skipped or done.enrolment is None:
        return f"{experiment.key}: nobody is newly assigned: {done.skipped}"
    lines = []
    if done.matches:
        lines.append(_matches(experiment, done.matches))
    new = done.enrolment
    lines.append(
        f"{sum(new.assigned.values()):,} newly assigned ("
        + ", ".join(f"{arm} {n:,}" for arm, n in new.assigned.items())
        + f"), {new.known:,} assigned before"
    )
    if experiment.cohort and experiment.cohort.universal_holdout:
        lines.append(
            f"{new.universal:,} are in the universal holdout {experiment.cohort.universal_holdout.key}"
        )
    if experiment.cohort and experiment.cohort.layer:
        lines.append(f"{new.elsewhere:,} belong to other experiments of layer {experiment.cohort.layer}")
    return "\n".join(lines)


def _matches(experiment: Experiment, found: MatchReport) -> str:
    said = f"{found.people:,} people qualify; {found.with_key:,} customers have the key `{experiment.identity.key}`"
    if found.without_key:
        said += f", {found.without_key:,} lack it ({found.email_only:,} are known by e-mail only)"
    if found.repeated:
        said += f", {found.repeated:,} stand there more than once"
    return said


def plan_text(plan: PushPlan, experiment: Experiment, *, applied: bool) -> str:
    """Return a plan as a table."""
    told = plan.attributes(experiment, None)
    lines = [
        table_text(
            ["segment", "", "add", "remove", "unchanged"],
            [
                [
                    each.segment,
                    ("holdout" if each.holdout else "eligible") + ("" if each.exists else ", new"),
                    f"{len(each.add):,}",
                    f"{len(each.remove):,}",
                    f"{each.unchanged:,}",
                ]
                for each in plan.sync.changes
            ],
            right=[2, 3, 4],
        )
    ]
    if plan.overridden:
        lines.append(f"{plan.overridden:,} treated customers are never eligible (do not offer)")
    if plan.messages:
        lines.append(
            f"after read-back, {len(told.announce):,} customers' attributes go to Customer.io"
            + (f"; before anything else {len(told.withdraw):,} are withdrawn" if told.withdraw else "")
        )
    if plan.sync.is_empty and not told.announce and not told.withdraw:
        lines.append("nothing to change")
    elif not applied:
        lines.append("nothing was changed; add --apply to do it")
    return "\n".join(lines)


def plan_record(plan: PushPlan, experiment: Experiment) -> dict[str, Any]:
    """Return a plan as JSON-ready values."""
    told = plan.attributes(experiment, None)
    return {
        "experiment": experiment.key,
        "segments": [
            {
                "segment": each.segment,
                "holdout": each.holdout,
                "exists": each.exists,
                "add": list(each.add),
                "remove": list(each.remove),
                "unchanged": each.unchanged,
            }
            for each in plan.sync.changes
        ],
        "overridden": plan.overridden,
        "messages": {"withdraw": len(told.withdraw), "announce": len(told.announce)},
    }


def pushed_text(done: Pushed) -> str:
    """Return what an applied push did."""
    lines = [
        f"{done.writes:,} writes to LaunchDarkly, read back; {done.told:,} customers told at Customer.io"
    ]
    lines += [f"refused by Customer.io: {customer}: {why}" for customer, why in done.refused[:20]]
    if len(done.refused) > 20:
        lines.append(f"… and {len(done.refused) - 20:,} more")
    return "\n".join(lines)


def pulled_text(done: Pulled) -> str:
    """Return what a pull brought."""
    from toolkit.steps.pull import REACH

    lines = [f"{done.added:,} new events ({done.seen:,} looked at, {done.pages:,} pages)"]
    if done.without_key:
        lines.append(f"{done.without_key:,} events are of people without the identity key, and left out")
    if done.without_amount:
        lines.append(f"{done.without_amount:,} orders or refunds have no readable amount")
    if done.gap:
        lines.append(
            f"warning: events from {done.gap[0]:%Y-%m-%d} to {done.gap[1]:%Y-%m-%d} can no longer be had: "
            f"Customer.io keeps {REACH.days} days; bring them from a warehouse export"
        )
    return "\n".join(lines)


def record_text(record: dict[str, Any]) -> str:
    """Return a measurement for the terminal; lifts are hidden behind a failed check."""
    design = record["design"]
    through = f", data through {record['data_through']}" if record["data_through"] else ""
    lines = [
        f"{design['name']} ({record['experiment']}), as of {record['as_of']}{through}",
        "",
        record["verdict"]["text"],
    ]
    total = sum(each["customers"] for each in record["arms"]) or 1
    lines.append(
        table_text(
            ["arm", "customers", "share", "planned"],
            [
                [
                    each["arm"],
                    f"{each['customers']:,}",
                    f"{each['customers'] / total:.2%}",
                    f"{each['share']:.2%}",
                ]
                for each in record["arms"]
            ],
            right=[1, 2, 3],
        )
    )
    lines.append(
        table_text(
            ["check", "", ""], [[each["name"], each["status"], each["detail"]] for each in record["checks"]]
        )
    )
    if record["verdict"]["status"] != "not_readable":
        lines.append(_lifts(record))
        lines += _family(record)
        lines += [_worth(each) for each in record["worth"]]
    lines += [f"note: {each}" for each in record["notes"]]
    return "\n".join(lines)


def _family(record: dict[str, Any]) -> list[str]:
    """Return what the correction for several comparisons makes of each member, a line each."""
    said = []
    for lift in record["lifts"]:
        family = lift["corrected"]
        if family is None or lift["breakdown"]:
            continue
        low, high = (_number(lift, family["absolute"][end]) for end in ("low", "high"))
        said.append(
            f"{lift['metric']} ({lift['arm']}) among {family['members']} ({family['method']}): "
            f"{low} to {high}, p = {family['p_value']:.2g}"
        )
    return said


def _worth(worth: dict[str, Any]) -> str:
    """Return what the offer brought in money, in a line."""

    def span(name: str) -> str:
        money = worth[name]
        if money is None:
            return "not known"
        ends = ["unbounded" if money[end] is None else f"{money[end]:,.2f}" for end in ("low", "high")]
        return f"{money['value']:,.2f} ({ends[0]} to {ends[1]})"

    doubt = "" if worth["trusted"] else f"; not to be trusted: {'; '.join(worth['notes'])}"
    return (
        f"{worth['arm']}: incremental profit {worth['currency']} {span('total_profit')}, for each unit spent on the "
        f"offer {span('returned')} came back{doubt}"
    )


def _lifts(record: dict[str, Any]) -> str:
    rows = []
    for lift in record["lifts"]:
        block = lift[lift["decision"]]
        where = f" [{lift['breakdown']} = {lift['level']}]" if lift["breakdown"] else ""
        if block is None:
            rows.append([lift["metric"] + where, lift["arm"], "", "", "", "; ".join(lift["notes"])])
            continue
        rows.append(
            [
                lift["metric"] + where,
                lift["arm"],
                _number(lift, block["absolute"]["value"]),
                f"{_number(lift, block['absolute']['low'])} to {_number(lift, block['absolute']['high'])}",
                _percent(block["relative"]),
                "; ".join(
                    [lift["decision"], *([] if lift["trusted"] else ["not to be trusted"]), *lift["notes"]]
                ),
            ]
        )
    header = [
        "metric",
        "arm",
        "lift",
        f"{round(100 * (1 - record['design']['alpha']), 4):g}% interval",
        "relative",
        "how",
    ]
    return table_text(header, rows, right=[2])


def _number(lift: dict[str, Any], value: float) -> str:
    if lift["kind"] == "conversion":
        return f"{value * 100:+.2f} pp"
    return f"{value:+,.4g}" if abs(value) < 100 else f"{value:+,.0f}"


def _percent(relative: dict[str, Any]) -> str:
    if relative["value"] is None:
        return "no ratio"
    ends = [("unbounded" if end is None else f"{end:+.1%}") for end in (relative["low"], relative["high"])]
    return f"{relative['value']:+.1%} ({ends[0]} to {ends[1]})"


def outcomes_text(outcomes: Sequence[Outcome], reports: Path) -> str:
    """Return one line per experiment of a weekly run, and where the index is."""
    lines = []
    for each in outcomes:
        if each.verdict:
            lines.append(f"{each.spec}: {each.verdict['status']}: {each.verdict['text']}")
        if each.error:
            lines.append(f"{each.spec}: failed: {each.error}")
    return "\n".join([*lines, f"index: {reports / 'index.html'}"])


def truths_text(known: Sequence[Any], looks: dict[str, dict[str, Any]], pages: Sequence[Path]) -> str:
    """Return the demo's last words: what was found, the truth beside it, and where to read on."""
    lines = [f"{each['design']['name']}\n  {each['verdict']['text']}" for each in looks.values()]
    rows = []
    for each in known:
        scale, unit = (100, " pp") if each.metric.endswith("_rate") else (1, "")
        shown = [
            "" if value is None else f"{value * scale:+,.2f}{unit}"
            for value in (each.true, each.value, each.low, each.high)
        ]
        held = {True: "yes", False: "no", None: "not trusted yet"}[each.covered]
        rows.append(
            [each.experiment, each.arm, each.metric, shown[0], shown[1], f"{shown[2]} to {shown[3]}", held]
        )
    header = ["experiment", "arm", "metric", "true lift", "measured", "interval", "holds it"]
    lines.append(table_text(header, rows, right=[3, 4, 5]))
    lines += ["Open these:", *(f"  {page}" for page in pages)]
    return "\n".join(lines)


def design_text(found: Design) -> str:
    """Return what an experiment can find, what it takes, and what to know before it starts."""
    rows, weeks, doubts = [], [], []
    for each in found.rows:
        rows.append(
            [
                each.metric + (f" (capped at {each.cap:,.6g})" if each.cap is not None else ""),
                each.arm,
                f"{each.treated:,}",
                f"{each.held:,}",
                _planned(each.kind, each.base, "%"),
                _planned(each.kind, each.effect, " pp") or "none",
                "" if each.relative is None else f"{each.relative:.1%}",
                f"{each.method or ''}" + (f", R² {each.explained:.0%}" if each.explained else ""),
            ]
        )
        if each.weeks:
            weeks.append([each.metric, each.arm, *(_weeks(how) for _, how in each.weeks)])
        name = f"{each.metric}, {each.arm}"
        if each.why:
            formula = _planned(each.kind, each.formula, " pp") if each.simulated is not None else ""
            doubts.append(f"{name}: {each.why}" + (f" (it says {formula})" if formula else ""))
        if each.doubt:
            doubts.append(f"{name}: will not be trusted: {each.doubt}")
    header = ["metric", "arm", "treated", "held out", "base", "smallest effect", "relative", "by"]
    looks = (
        f", {found.looks} weekly looks (×{found.inflation:.3f} customers)"
        if found.looks > 1
        else ", one look"
    )
    lines = [
        f"{found.title} ({found.experiment}), from {found.source}",
        table_text(header, rows, right=[2, 3, 4, 5, 6]),
        f"An effect of that size is found in {found.power * 10:.0f} of 10 such experiments: two-sided test, alpha "
        f"{found.alpha:g}{looks}.",
    ]
    if weeks:
        lifts = [f"customers for {lift:+.4g}%" for lift in (100 * lift for lift, _ in _longest(found))]
        lines += [
            "",
            table_text(["metric", "arm", *lifts], [[*row, "", ""][: 2 + len(lifts)] for row in weeks]),
        ]
        lines.append(_enrolment(found))
    if found.cost:
        lines += ["", found.cost.text]
    return "\n".join([*lines, *([""] if doubts else []), *doubts, *(f"note: {each}" for each in found.notes)])


def _enrolment(found: Design) -> str:
    if found.pace:
        how = "" if found.basis == "history" else "more "
        return f"Weeks of {how}enrolment at {found.pace:,.0f} customers a week, until the last one's window has closed."
    return "Weeks are until the window of those who are there has closed."


def _longest(found: Design) -> Sequence[tuple[float, Weeks]]:
    return max((each.weeks for each in found.rows), key=len)


def _weeks(how: Weeks) -> str:
    if how.customers is None:
        return how.text
    if how.total is None:
        return f"{how.customers:,}: more than there are"
    return f"{how.customers:,}: {how.total:,} week{'' if how.total == 1 else 's'}"


def _planned(kind: str, value: float | None, unit: str) -> str:
    if value is None:
        return ""
    shown = value * 100 if kind == "conversion" else value
    decimals = 2 if abs(shown) >= 0.1 else 4
    return f"{shown:,.{decimals}f}{unit if kind == 'conversion' else ''}"
