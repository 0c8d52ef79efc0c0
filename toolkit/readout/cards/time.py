"""Cards on time: the lift at every look, what changed since the last page, what earlier pages said otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from toolkit.readout import words
from toolkit.readout.figures import Unit, count, day
from toolkit.readout.parts import Card, Column, Figure, Line, Table
from toolkit.readout.trend import Look, by_week
from toolkit.readout.view import RELATIVE, LiftView

if TYPE_CHECKING:
    from toolkit.readout.readout import Readout

__all__ = ["changes", "restatements", "weeks"]

FEWEST = 10
"""A share that rests on fewer customers who did it is not judged by."""


def weeks(readout: Readout) -> Card | None:
    """Return the primary metrics' lift at every look, with intervals and the decision boundary."""
    figures, said = [], []
    primary = [each for each in readout.views if each.role == "primary"]
    for place, metric in enumerate(dict.fromkeys(each.metric for each in primary)):
        views = [each for each in primary if each.metric == metric]
        arms = {each.arm: looks for each in views if (looks := looks_at(readout.record, each))}
        if max((sum(not look.shaky for look in each) for each in arms.values()), default=0) < 2:
            continue
        first = views[0]
        inside = {"points": ", in points", "money": f", in {first.unit.currency}"}.get(first.unit.kind, "")
        title = f"{first.label}: difference to {first.control} at each look, {readout.level} intervals"
        lines = tuple(
            Line.of(day(look.as_of), arm, look.said, kind="doubt" if look.shaky else "")
            for arm, looks in arms.items()
            for look in looks
        )
        columns = (Column("Look"), Column("Arm"), Column("Difference and interval", numeric=True))
        figures.append(
            Figure(
                f"{first.label}: difference to {first.control} at each look{inside}",
                by_week(f"weeks-{place}", title, arms, first.unit),
                Table(f"{first.label} at each look", columns, lines),
                tuple(arms) if len(arms) > 1 else (),
            )
        )
        said += [f"{readout.named(each)} {_settled(arms[each.arm])}" for each in views if each.arm in arms]
    if not figures:
        return None
    number = readout.record.get("looks") or {}
    of = f"Look {number['number']} of {number['of']}: " if number.get("boundary") == "planned" else ""
    if number.get("ended_on"):
        of = f"The plan ended on {day(number['ended_on'])}: "
    return Card(
        "weeks",
        "Is it settled?",
        words.sentence(of + "; ".join(said)),
        tuple(figures),
        notes=(words.CURVE_HINT, *([words.sentence(number["note"])] if number.get("note") else [])),
    )


def looks_at(record: Mapping[str, Any], view: LiftView) -> list[Look]:
    """Return every look at a metric and arm: as today's data have it, else as it was recorded then."""
    doubted = {
        each["as_of"]
        for each in record.get("history", ())
        if each["metric"] == view.metric and each["arm"] == view.lift["arm"] and not each["trusted"]
    }
    points = [
        each
        for each in record.get("curve", ())
        if each["metric"] == view.metric and each["arm"] == view.lift["arm"]
    ]
    if points:
        return [_point(each, view, shaky=each["as_of"] in doubted) for each in points]
    return [
        _look(each["as_of"], each, view, shaky=view.doubt is not None)
        for each in record.get("history", ())
        if each["metric"] == view.metric and each["arm"] == view.lift["arm"] and each["trusted"]
    ]


def _point(point: Mapping[str, Any], view: LiftView, *, shaky: bool) -> Look:
    at = point["sequential"] or point["absolute"]
    few = view.unit.kind == "points" and any(
        point["customers"][side] * (point["means"][side] or 0.0) < FEWEST for side in ("treatment", "control")
    )
    bound = point["boundary"] * at["se"] if point["boundary"] and at["se"] else None
    return _look(point["as_of"], at, view, bound=bound, shaky=shaky or few or view.doubt is not None)


def _look(
    as_of: str, at: Mapping[str, Any], view: LiftView, *, bound: float | None = None, shaky: bool = False
) -> Look:
    if shaky:
        return Look(as_of, at["value"], None, None, words.NOT_TRUSTED, None, shaky)
    decimals = min(4, view.unit.decimals(at["low"], at["high"], at["value"]))
    said = (
        f"{view.unit.change(at['value'], decimals)} ({view.unit.interval(at['low'], at['high'], decimals)})"
    )
    return Look(as_of, at["value"], at["low"], at["high"], said, bound)


def _settled(looks: Sequence[Look]) -> str:
    """Return since when the interval has lain on one side of zero without a break."""
    since = None
    for look in reversed(looks):
        if look.shaky or not look.apart:
            break
        since = look
    if since is None:
        return "has not crossed the boundary"
    side = "above" if since.value > 0 else "below"
    return f"has lain {side} zero since {day(since.as_of)}"


def changes(readout: Readout) -> Card | None:
    """Return what is otherwise than on the page before this one."""
    before = readout.record.get("previous")
    if not before:
        return None
    total = sum(each["customers"] for each in readout.record["arms"])
    lines = [
        Line.of("Verdict", words.STATUS[before["status"]][0], words.STATUS[readout.status][0]),
        Line.of("Customers", count(before["customers"]), count(total)),
    ]
    earlier = {(each["metric"], each["arm"]): each["absolute"] for each in before["lifts"]}
    for view in readout.views:
        if view.role != "primary" or not view.trusted:
            continue
        at = earlier.get((view.metric, str(view.lift["arm"])))
        lines.append(Line.of((view.label, view.arm), _said(view, at), view.absolute()))
    for check in readout.record["checks"]:
        was = before["checks"].get(check["name"])
        if was != check["status"]:
            name = words.check_title(check["name"])
            answers = (words.CHECK_STATUS.get(str(was), "not made"), words.CHECK_STATUS[check["status"]])
            lines.append(Line.of((f"Check: {name}", ""), *answers))
    same = readout.record["provenance"]["spec"] == before["spec"]
    if not same:
        lines.append(Line.of("Experiment file", "as it was", "changed since"))
    columns = (
        Column(""),
        Column(day(before["as_of"]), numeric=True),
        Column(day(readout.record["as_of"]), numeric=True),
    )
    columns = (Column("What"), *columns[1:])
    return Card(
        "changes",
        f"What changed since {day(before['as_of'])}?",
        _changed(before, readout, total),
        table=Table(f"This page and that of {day(before['as_of'])}", columns, tuple(lines)),
        notes=() if same else ("The experiment file was changed between the two pages; compare with care.",),
    )


def _said(view: LiftView, at: Mapping[str, Any] | None) -> tuple[str, str]:
    if at is None:
        return words.NOT_TRUSTED, ""
    decimals = min(4, view.unit.decimals(at["low"], at["high"], at["value"]))
    return view.unit.change(at["value"], decimals), view.unit.interval(at["low"], at["high"], decimals)


def _changed(before: Mapping[str, Any], readout: Readout, total: int) -> str:
    was, now = words.STATUS[before["status"]][0].lower(), words.STATUS[readout.status][0].lower()
    verdict = f"The verdict is still {now}" if was == now else f"The verdict went from {was} to {now}"
    more = total - before["customers"]
    if not more:
        return f"{verdict}; nobody was added."
    return f"{verdict}; {words.plural(abs(more), 'customer')} {'more' if more > 0 else 'fewer'}."


def restatements(readout: Readout) -> Card | None:
    """Return earlier numbers that late orders and refunds have changed since they were published."""
    found = [] if readout.failed else readout.record.get("restatements") or []
    if not found:
        return None
    units = {each.metric: each.unit for each in readout.views}
    lines = tuple(
        Line.of(
            day(each["as_of"]),
            (words.capital(words.metric_name(each["metric"])), words.arm_name(each["arm"])),
            _counted(each),
            *_ends(each, units.get(each["metric"], Unit())),
        )
        for each in found
    )
    columns = (
        Column("Look"),
        Column("Metric and arm"),
        Column("Estimate"),
        Column("Said then", numeric=True),
        Column("Said now", numeric=True),
    )
    return Card(
        "restatements",
        "Were earlier pages right?",
        f"{words.plural(len(found), 'earlier number')} would be said otherwise today, because orders or refunds came late.",
        table=Table("Lifts restated", columns, lines),
        notes=(words.RESTATED,) if any(_counted(each)[1] for each in found) else (),
    )


def _counted(each: Mapping[str, Any]) -> tuple[str, str]:
    """Return that numbers as measured are compared, and what decided on that page where it was another."""
    block = each.get("block", "raw")
    return words.ESTIMATES["raw"], "" if block == "raw" else f"that page decided by {words.ESTIMATES[block]}"


def _ends(each: Mapping[str, Any], unit: Unit) -> tuple[str, str]:
    """Return what was said then and is said now, with the decimals that tell them apart."""
    if each.get("in", "relative") == "relative":
        unit = RELATIVE
    then, now = each["from"], each["to"]
    for decimals in range(1, 6):
        said = unit.change(then, decimals), unit.change(now, decimals)
        if said[0] != said[1]:
            break
    return said if each.get("trusted", True) else (said[0], words.NOT_TRUSTED)
