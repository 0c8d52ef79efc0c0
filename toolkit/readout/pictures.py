"""Which charts a readout has, and the table of the same numbers beside each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from toolkit.readout import charts, trend, words
from toolkit.readout.figures import Unit, count, day, percent
from toolkit.readout.view import LiftView

if TYPE_CHECKING:
    from toolkit.readout.readout import Readout

__all__ = ["Figure", "arms", "breakdowns", "forest", "history", "primary"]

MOST_LEVELS = 15
MOST_ROWS = 60


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart, its title, the same numbers as a table, and what is not to be trusted in it."""

    title: str
    chart: Markup
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    doubts: Sequence[str] = ()


def primary(readout: Readout) -> tuple[str, list[Figure], str]:
    """Return heading, charts and hint: one chart per primary metric, else per guardrail with a margin."""
    lifts = readout.lifts()
    chosen = [lift for lift in lifts if lift.role == "primary"]
    if chosen:
        heading = "Primary metric" if len({lift.metric for lift in chosen}) == 1 else "Primary metrics"
    else:
        chosen, heading = [lift for lift in lifts if lift.role == "guardrail"], "Guardrails"
    return heading, _by_metric(readout, "primary", chosen), _units_hint(chosen)


def forest(readout: Readout) -> list[Figure]:
    """Return one chart of relative lifts, then each guardrail against its margin on its own scale."""
    lifts = readout.lifts()
    if not lifts:
        return []
    relative = [lift for lift in lifts if lift.margin is None]
    figures = []
    if relative:
        rows = [_relative_row(readout, lift) for lift in relative]
        title = f"Relative lift over {readout.control}, {readout.confidence} intervals"
        chart = charts.intervals("forest", title, rows, Unit("percent"), against=readout.control)
        figures.append(_figure(title, chart, rows, ["Relative lift"]))
    return figures + _by_metric(readout, "margins", [lift for lift in lifts if lift.margin is not None])


def history(readout: Readout) -> list[Figure]:
    """Return a chart per primary metric of its lift at every look; none where there was one look or a failed check."""
    looks: Sequence[dict[str, Any]] = readout.record.get("history") or []
    units = {lift.metric: lift.unit for lift in readout.lifts()}
    figures = []
    for place, metric in enumerate(dict.fromkeys(look["metric"] for look in looks)):
        if metric not in units:
            continue
        unit = units[metric]
        series: dict[str, list[trend.Look]] = {}
        for look in sorted(looks, key=lambda each: str(each["as_of"])):
            if look["metric"] == metric and look["value"] is not None:
                arm = words.arm_name(str(look["arm"]))
                series.setdefault(arm, []).append(_look(look, unit))
        if max((len(each) for each in series.values()), default=0) < 2:
            continue
        title = f"{metric}: difference from {readout.control} so far, at each look"
        rows = [[day(look.as_of), arm, look.said] for arm, seen in series.items() for look in seen]
        chart = trend.by_week(f"history-{place}", title, series, unit)
        figures.append(
            Figure(title, chart, ["Look", "Arm", f"Difference ({readout.confidence} interval)"], rows)
        )
    return figures


def arms(readout: Readout) -> list[Figure]:
    """Return the chart of sizes, planned and actual."""
    total = readout.customers
    said = []
    for arm in readout.record["arms"]:
        actual = arm["customers"] / total if total else 0.0
        words_of = f"{count(arm['customers'])}: {percent(actual, 2)}, planned {percent(arm['share'], 2)}"
        said.append((words.arm_name(str(arm["arm"])), actual, float(arm["share"]), words_of))
    title = "Customers per arm: bar actual, tick planned"
    rows = [
        [name, count(arm["customers"]), percent(actual, 2), percent(share, 2)]
        for (name, actual, share, _), arm in zip(said, readout.record["arms"], strict=True)
    ]
    return [
        Figure(title, charts.sizes("sizes", title, said), ["Arm", "Customers", "Actual", "Planned"], rows)
    ]


def breakdowns(readout: Readout) -> list[dict[str, Any]]:
    """Return per breakdown its charts (of primary metrics) and its lifts."""
    names = dict.fromkeys(lift["breakdown"] for lift in readout.record["lifts"] if lift.get("breakdown"))
    found = []
    for place, name in enumerate(names):
        lifts = readout.lifts(name)
        if not lifts:
            continue
        largest: dict[str, int] = {}
        for lift in lifts:
            largest[lift.level] = max(largest.get(lift.level, 0), sum(lift.lift["customers"].values()))
        kept = sorted(largest, key=lambda level: -largest[level])[:MOST_LEVELS]
        shown = [lift for lift in lifts if lift.level in kept][:MOST_ROWS]
        leading = [lift for lift in shown if lift.role == lifts[0].role]
        figures = _by_metric(readout, f"by-{place}", leading, levels=True)
        found.append({"name": name, "figures": figures, "lifts": shown, "left_out": len(lifts) - len(shown)})
    return found


def _by_metric(
    readout: Readout, identifier: str, lifts: Sequence[LiftView], *, levels: bool = False
) -> list[Figure]:
    figures = []
    several = len({lift.arm for lift in lifts}) > 1
    for place, metric in enumerate(dict.fromkeys(lift.metric for lift in lifts)):
        own = [lift for lift in lifts if lift.metric == metric]
        rows = [_absolute_row(readout, lift, levels=levels, several=several) for lift in own]
        first = own[0]
        margin = None
        if first.margin is not None:
            size = abs(first.margin)
            said = first.unit.change(first.margin, first.unit.decimals(None, None, size))
            margin = first.margin, f"margin {said}"
        title = f"{metric}: difference from {readout.control}, {readout.confidence} interval"
        chart = charts.intervals(
            f"{identifier}-{place}", title, rows, first.unit, against=readout.control, margin=margin
        )
        figures.append(_figure(title, chart, rows, ["Difference"]))
    return figures


def _absolute_row(readout: Readout, lift: LiftView, *, levels: bool, several: bool) -> charts.Row:
    at = lift.block["absolute"] if lift.block else dict.fromkeys(("value", "low", "high"))
    said, interval = lift.absolute()
    label, detail = (
        (lift.level, lift.arm if several else "")
        if levels
        else (lift.arm, lift.answer or f"against {lift.control}")
    )
    return _row(readout, lift, label, detail, at, said, interval, doubt=lift.doubt)


def _relative_row(readout: Readout, lift: LiftView) -> charts.Row:
    at = lift.block["relative"] if lift.block else dict.fromkeys(("value", "low", "high"))
    said, interval = lift.relative()
    doubt = lift.doubt or (words.NO_BASE if at["value"] is None else None)
    detail = f"{lift.role} · {lift.arm}"
    return _row(readout, lift, lift.metric, detail, at, said, interval, doubt=doubt)


def _row(
    readout: Readout,
    lift: LiftView,
    label: str,
    detail: str,
    at: Any,
    said: str,
    interval: str,
    *,
    doubt: str | None,
) -> charts.Row:
    low, high = (None, None) if doubt else (at["low"], at["high"])
    return charts.Row(
        label,
        detail,
        at["value"],
        low,
        high,
        said,
        interval,
        lift.role,
        lift.direction,
        doubt,
        readout.provisional,
    )


def _figure(title: str, chart: Markup, rows: Sequence[charts.Row], columns: Sequence[str]) -> Figure:
    doubts = [row.sentence for row in rows if row.doubt]
    table = [
        [f"{row.label}{f' ({row.detail})' if row.detail else ''}", row.said, row.doubt or row.interval]
        for row in rows
    ]
    return Figure(title, chart, ["What", *columns, "Interval"], table, doubts)


def _look(look: dict[str, Any], unit: Unit) -> trend.Look:
    low, high = look["low"], look["high"]
    decimals = unit.decimals(low, high, look["value"])
    said = f"{unit.change(look['value'], decimals)} ({unit.interval(low, high, decimals)})"
    return trend.Look(str(look["as_of"]), look["value"], low, high, said)


def _units_hint(lifts: Sequence[LiftView]) -> str:
    return words.POINTS if any(lift.unit.kind == "points" for lift in lifts) else ""
