"""Cards on people: the arms' sizes, who was reached, and for whom it worked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from toolkit.readout import words
from toolkit.readout.bars import sizes
from toolkit.readout.figures import DASH, Unit, count, day, percent
from toolkit.readout.parts import Card, Column, Figure, Line, Table
from toolkit.readout.trend import Look, by_week
from toolkit.readout.view import LiftView

if TYPE_CHECKING:
    from toolkit.readout.readout import Readout

__all__ = ["arms", "breakdowns", "exposed"]


def arms(readout: Readout) -> Card:
    """Return the arms' sizes beside those planned, now and at every look."""
    found = readout.record["arms"]
    whole = sum(each["customers"] for each in found) or 1
    rows = [
        (
            words.arm_name(each["arm"]),
            each["customers"] / whole,
            each["share"],
            f"{count(each['customers'])}, {percent(each['customers'] / whole, 2)} (planned {percent(each['share'], 2)})",
        )
        for each in found
    ]
    lines = tuple(
        Line.of(name, count(each["customers"]), percent(actual, 2), percent(planned, 2))
        for each, (name, actual, planned, _) in zip(found, rows, strict=True)
    )
    columns = (Column("Arm"), *(Column(said, numeric=True) for said in ("Customers", "Share", "Planned")))
    figures = [
        Figure(
            "Customers assigned; the tick is the size planned",
            sizes("sizes", "Customers per arm, and the sizes planned", rows),
            Table("Customers per arm", columns, lines),
        ),
        *_over_time(readout),
    ]
    check = next((each for each in readout.record["checks"] if each["name"] == "sample_ratio"), None)
    insight = (
        words.sentence(readout.prose(check["detail"])) if check else f"{count(whole)} customers are assigned."
    )
    notes = (words.CHANCE_HINT,) if len(figures) > 1 else ()
    return Card("arms", "Are the arms a fair comparison?", insight, tuple(figures), notes=notes)


def _over_time(readout: Readout) -> list[Figure]:
    """Return the control's share at every look, as it differs from the plan."""
    control = readout.design["control"]
    planned = next((each["share"] for each in readout.record["arms"] if each["arm"] == control), 0.0)
    found = [each for each in readout.record.get("sizes") or () if each["arm"] == control]
    if len(found) < 2:
        return []
    name, unit = words.arm_name(control), Unit("points")
    looks = []
    for each in found:
        off = each["share"] - planned
        said = f"{percent(each['share'], 2)} of {count(each['customers'] / each['share']) if each['share'] else DASH} customers"
        looks.append(
            Look(
                each["as_of"],
                off,
                each["low"] - planned,
                each["high"] - planned,
                f"{said} (planned {percent(planned, 2)})",
            )
        )
    lines = tuple(Line.of(day(look.as_of), look.said) for look in looks)
    return [
        Figure(
            f"Share of {name}, as it differs from the plan, in points",
            by_week(
                "ratio", f"Share of {name} against the plan, at each look", {name: looks}, unit, bare=True
            ),
            Table(f"Share of {name} at each look", (Column("Look"), Column("Share", numeric=True)), lines),
        )
    ]


def exposed(readout: Readout) -> Card | None:
    """Return the effect on those who were reached, where exposures are recorded and the control got none."""
    views = [each for each in readout.views if each.lift.get("exposed")]
    if not views:
        return None
    lines: list[Line] = []
    shares: dict[str, float] = {}
    doubts: dict[str, None] = {}
    for view in views:
        found = view.lift["exposed"]
        if found.get("refused"):
            doubts[found["refused"]] = None
            continue
        shares[view.arm] = found["exposed_share"]
        if not (view.trusted and found.get("trusted", True)):
            if view.trusted:
                doubts[f"{view.label}, per customer reached: {found['note']}"] = None
            lines.append(
                Line.of(
                    (view.label, view.arm),
                    percent(found["exposed_share"]),
                    DASH,
                    words.NOT_TRUSTED,
                    kind="doubt",
                )
            )
            continue
        decimals = min(4, view.unit.decimals(found["low"], found["high"], found["value"]))
        effect = (
            view.unit.change(found["value"], decimals),
            view.unit.interval(found["low"], found["high"], decimals),
        )
        lines.append(
            Line.of(
                (view.label, view.arm),
                percent(found["exposed_share"]),
                view.absolute(_unadjusted(view)),
                effect,
            )
        )
    by_message = _flag_unseen(readout)
    columns = (
        Column("Metric and arm"),
        Column("Reached by message" if by_message else "Reached", numeric=True),
        Column("Per customer assigned, unadjusted", numeric=True),
        Column("Per customer reached, unadjusted", numeric=True),
    )
    reached = words.listed([f"{percent(share)} of {arm}" for arm, share in shares.items()])
    insight = (
        "This cannot be told."
        if not shares
        else f"A message reached {reached}; who was served the offer on the site is not known."
        if by_message
        else f"The offer reached {reached}; all of its effect is theirs."
    )
    return Card(
        "exposed",
        "What did it do for those it reached?",
        insight,
        table=Table("Effect on all assigned, and on those reached", columns, tuple(lines)) if lines else None,
        notes=(
            *(words.sentence(each) for each in doubts),
            words.REACHED_BY_MESSAGE if by_message else words.EXPOSED,
            words.NO_OPENERS,
        ),
    )


def _unadjusted(view: LiftView) -> Mapping[str, Any] | None:
    """Return the estimate of all assigned that the effect on those reached rests on: without covariates.

    Records of before have it only where it is a block of the lift; there the plain numbers stand in for it.
    """
    found = view.lift["exposed"]
    if found.get("assigned"):
        return {"absolute": found["assigned"]}
    plain = "capped" if view.lift["capped"] else "raw"
    same = found.get("block") == "skew_corrected" and view.lift.get("corrects") in {None, plain}
    block: Mapping[str, Any] | None = view.lift["skew_corrected"] if same else view.lift[plain]
    return block or view.lift[plain]


def _flag_unseen(readout: Readout) -> bool:
    """Return whether a flag serves the offer too, and nothing tells to whom."""
    reach = readout.record.get("reach")
    flagged = any(each["flag"] for each in readout.design["traits"])
    return flagged and reach is not None and "offer" not in reach


def breakdowns(readout: Readout) -> Card | None:
    """Return the primary metric's lift by level of each breakdown, marked exploratory."""
    names = readout.design.get("breakdowns") or []
    cuts = readout.cuts
    if readout.failed or not (names or cuts):
        return None
    roles = {each["name"]: each["role"] for each in readout.design["metrics"]}
    chosen = [each for each in cuts if roles.get(each.metric) == "primary"] or cuts
    lines = tuple(_cut(each) for each in chosen)
    several = len({(each.metric, each.arm) for each in chosen}) > 1
    stands = [
        f"{_group(each)}{f' ({each.title}, {each.arm})' if several else ''}" for each in chosen if each.sign
    ]
    shown = {str(each.lift["breakdown"]) for each in cuts}
    hidden = [name for name in names if name not in shown]
    insight = (
        f"After correction (Benjamini and Hochberg) these stand out: {words.listed(stands)}."
        if stands
        else "No group stands out once it is allowed for how many were looked at."
        if lines
        else "No group is large enough to be shown."
    )
    merged = dict.fromkeys(note for each in chosen for note in each.notes if "shown together" in note)
    columns = (
        Column("Group"),
        Column("Metric and arm"),
        *(Column(said, numeric=True) for said in ("Arm", "Control", "Difference", "Relative")),
    )
    return Card(
        "breakdowns",
        "For whom did it work?",
        insight,
        table=Table("Lift by group", columns, lines) if lines else None,
        notes=(
            words.EXPLORATORY,
            *(words.sentence(each) for each in merged),
            *(words.not_broken_down(each) for each in hidden),
        ),
        tag="exploratory",
    )


def _group(view: LiftView) -> str:
    return f"{words.metric_name(str(view.lift['breakdown']))} {view.level}"


def _cut(view: LiftView) -> Line:
    group = words.capital(_group(view))
    sides = tuple((view.mean(side), view.customers(side)) for side in ("treatment", "control"))
    if view.doubt:
        return Line.of(group, (view.label, view.arm), *sides, words.NOT_TRUSTED, DASH, kind="doubt")
    return Line.of(group, (view.label, view.arm), *sides, view.absolute(), view.relative())
