"""Cards on what moved: all metrics, the estimates behind them, guardrails, families."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from toolkit.readout import words
from toolkit.readout.charts import Row, intervals
from toolkit.readout.figures import DASH, p_value
from toolkit.readout.parts import Card, Column, Figure, Line, Table
from toolkit.readout.view import RELATIVE, LiftView

if TYPE_CHECKING:
    from toolkit.readout.readout import Readout

__all__ = ["against_zero", "all_metrics", "estimates", "families", "guardrails", "primary_pictures", "row_of"]

SHAPES = {"primary": "primary", "secondary": "secondary", "guardrail": "guardrail"}
LIFT_COLUMNS = (
    Column("Metric and arm"),
    Column("Arm", numeric=True),
    Column("Control", numeric=True),
    Column("Difference", numeric=True),
    Column("Relative", numeric=True),
    Column("p", numeric=True),
)


def row_of(readout: Readout, view: LiftView, *, absolute: bool) -> Row:
    """Return a comparison as a row of a chart, in the metric's unit or relative to the control."""
    at = (view.counted or {}).get("absolute" if absolute else "relative")
    ends = at or {"value": None, "low": None, "high": None}
    in_unit = absolute or ends["value"] is None
    said, interval = view.absolute() if in_unit else view.relative()
    many = len(readout.record["arms"]) > 2
    label, detail = view.label, view.arm if many else words.ROLES.get(view.role, view.role)
    return Row(
        words.capital(view.arm) if absolute and many else label,
        label if absolute and many else detail,
        ends["value"],
        ends["low"],
        ends["high"],
        "" if view.counted is None else said,
        interval,
        SHAPES.get(view.role, "secondary"),
        view.direction,
        view.doubt,
        readout.provisional,
    )


def against_zero(readout: Readout, identifier: str, views: Sequence[LiftView]) -> Markup:
    """Return one metric's differences against zero, with the margin where it has one."""
    first, margin = views[0], views[0].margin
    said = "" if margin is None else first.unit.given(margin)
    return intervals(
        identifier,
        f"{first.label}: difference to {first.control}, {readout.level} interval",
        [row_of(readout, each, absolute=True) for each in views],
        first.unit,
        against=first.control,
        margin=None if margin is None else (margin, f"margin {said}"),
    )


def primary_pictures(readout: Readout) -> list[Markup]:
    """Return a drawing per primary metric, each on its own scale, and before them per guardrail that was harmed.

    There is none where no number may be shown.
    """
    harmed = [each for each in readout.views if each.trusted and each.lift.get("answer") == "harm"]
    primary = [each for each in readout.views if each.role == "primary"]
    chosen = [*harmed, *(each for each in primary if each not in harmed)] or readout.views[:1]
    chosen = [each for each in chosen if each.trusted]
    names = list(dict.fromkeys(each.metric for each in chosen))
    return [
        against_zero(readout, f"primary-{place}", [each for each in chosen if each.metric == metric])
        for place, metric in enumerate(names)
    ]


def all_metrics(readout: Readout) -> Card | None:
    """Return every metric's relative lift, by role: what moved beyond what chance explains."""
    views = readout.views
    if not views:
        return None
    order = {"primary": 0, "secondary": 1, "guardrail": 2}
    views = sorted(views, key=lambda each: order.get(each.role, 3))
    chart = intervals(
        "forest",
        f"Relative lift of every metric, {readout.level} intervals",
        [row_of(readout, each, absolute=False) for each in views],
        RELATIVE,
        against=views[0].control,
    )
    family = any(each.lift.get("corrected") for each in views)
    notes = [words.CHART_HINT, words.POINTS]
    if any(each.made for each in views):
        notes.append(words.MEANS)
    if any(each.trusted and each.relative()[0] == DASH for each in views):
        notes.append(words.NO_RATIO)
    if family:
        notes.append("Secondary metrics are shown with the intervals of their family (Holm).")
    said = dict.fromkeys(
        f"{words.capital(readout.named(each))}: {words.sentence(note)}"
        for each in views
        for note in each.notes
    )
    table = Table(
        f"Every metric, {readout.level} intervals", LIFT_COLUMNS, tuple(lift_line(each) for each in views)
    )
    return Card(
        "intervals",
        "What moved?",
        _moved(readout, views),
        (Figure("Relative lift over the control, by role", chart, table),),
        notes=(" ".join(notes),),
        remarks=tuple(said),
    )


def lift_line(view: LiftView) -> Line:
    """Return a comparison as a row of a table; one that is not to be trusted says why."""
    if view.doubt:
        cells = ((view.label, view.arm), _side(view, "treatment"), _side(view, "control"))
        return Line.of(*cells, (words.NOT_TRUSTED, ""), DASH, DASH, kind="doubt")
    return Line.of(
        (
            view.label,
            ", ".join(part for part in (view.arm, words.ROLES.get(view.role, view.role), view.made) if part),
        ),
        _side(view, "treatment"),
        _side(view, "control"),
        view.absolute(),
        view.relative(),
        view.p_value(),
        kind="counts" if view.role == "primary" else "",
    )


def _side(view: LiftView, side: str) -> tuple[str, str]:
    return view.mean(side), view.customers(side)


def _moved(readout: Readout, views: Sequence[LiftView]) -> str:
    believed = [each for each in views if each.trusted]
    moved = [each for each in believed if each.sign]
    doubted = len(views) - len(believed)
    yet = "" if readout.finished else " yet"
    tail = (
        f" {words.plural(doubted, 'comparison is', 'comparisons are')} not to be trusted{yet}."
        if doubted
        else ""
    )
    if not believed:
        return f"Nothing can be said{yet}: no comparison is to be trusted."
    if not moved:
        return f"Nothing moved beyond what chance explains, in {words.plural(len(believed), 'comparison')}.{tail}"
    said = [f"{readout.named(each)} {'up' if each.sign > 0 else 'down'} {_size(each)}" for each in moved]
    return f"{len(moved)} of {words.plural(len(views), 'comparison')} moved beyond chance: {words.listed(said)}.{tail}"


def _size(view: LiftView) -> str:
    said = view.relative()[0]
    return (view.absolute()[0] if said == DASH else said).lstrip("+−")


def estimates(readout: Readout) -> Card | None:
    """Return every metric's estimates, each way of making them beside the others."""
    views = readout.views
    if not views:
        return None
    columns = (LIFT_COLUMNS[0], Column("Estimate"), *LIFT_COLUMNS[3:])
    lines = tuple(line for each in views for line in each.ways())
    if len(lines) == len(views) and all(each.lift["decision"] == "raw" for each in views):
        insight = "Every number is as measured: no adjustment, no cap."
    elif any(_replaced(each) for each in views):
        insight = words.REPLACED
    else:
        insight = words.PLANNED
    return Card(
        "lifts",
        "Does it depend on how one counts?",
        insight,
        folded=Table("Every estimate of every metric", columns, lines) if lines else None,
        notes=(words.NOTHING_COMPARED,) if not lines else (),
    )


def _replaced(view: LiftView) -> bool:
    """Return whether another estimate counts than the one that the file planned."""
    planned = ("capped_adjusted", "capped", "adjusted", "raw")
    return str(view.lift["decision"]) != next((each for each in planned if view.lift[each]), "raw")


def guardrails(readout: Readout) -> Card | None:
    """Return the guardrails against their margins."""
    views = [each for each in readout.views if each.role == "guardrail"]
    if not views:
        return None
    figures = []
    for place, metric in enumerate(dict.fromkeys(each.metric for each in views)):
        of = [each for each in views if each.metric == metric]
        lines = tuple(
            Line.of(
                each.arm,
                each.absolute() if each.trusted else (words.NOT_TRUSTED, ""),
                _margin(each),
                Line.of(each.answer or words.NOT_TRUSTED).cells[0],
            )
            for each in of
        )
        columns = (
            Column("Arm"),
            Column("Difference", numeric=True),
            Column("Margin", numeric=True),
            Column("Answer"),
        )
        chart = against_zero(readout, f"guardrail-{place}", of)
        figures.append(Figure(of[0].label, chart, Table(f"{of[0].label} against its margin", columns, lines)))
    doubts = tuple(words.sentence(f"{readout.named(each)}: {each.doubt}") for each in views if each.doubt)
    return Card(
        "guardrails", "Did anything get worse?", _guarded(readout, views), tuple(figures), notes=doubts
    )


def _margin(view: LiftView) -> str:
    return "none set" if view.margin is None else view.unit.given(view.margin)


def _guarded(readout: Readout, views: Sequence[LiftView]) -> str:
    answers = {
        name: [readout.named(each) for each in views if each.trusted and each.lift.get("answer") == name]
        for name in ("harm", "unclear", "safe")
    }
    doubted = [readout.named(each) for each in views if not each.trusted]
    said = []
    if answers["harm"]:
        said.append(f"Harmed: {words.listed(answers['harm'])}.")
    if answers["unclear"]:
        said.append(f"Harm is not ruled out for {words.listed(answers['unclear'])}.")
    if answers["safe"]:
        said.append(f"No harm beyond the margin for {words.listed(answers['safe'])}.")
    if doubted:
        yet = "" if readout.finished else " yet"
        said.append(f"Nothing can be said{yet} of {words.listed(doubted)}.")
    return " ".join(said)


def families(readout: Readout) -> Card | None:
    """Return secondary comparisons as they stand alone, and corrected for being several."""
    views = [each for each in readout.views if each.lift.get("corrected") and each.block]
    if not views:
        return None
    lines = []
    for each in views:
        corrected = each.lift["corrected"]
        if not each.trusted:
            lines.append(
                Line.of((each.label, each.arm), (words.NOT_TRUSTED, ""), DASH, DASH, DASH, kind="doubt")
            )
            continue
        lines.append(
            Line.of(
                (each.label, each.arm),
                each.absolute(each.block),
                p_value((each.block or {}).get("p_value")),
                each.absolute(),
                p_value(corrected["p_value"]),
            )
        )
    columns = (
        Column("Metric and arm"),
        Column("Alone", numeric=True),
        Column("p", numeric=True),
        Column("In its family", numeric=True),
        Column("p, corrected", numeric=True),
    )
    stand = sum(1 for each in views if each.sign)
    size = views[0].lift["corrected"]["members"]
    several = (
        f"{stand} of {words.plural(len(views), 'secondary comparison')} "
        f"{'stands' if stand == 1 else 'stand'} after correcting for asking {size} questions at once (Holm)."
    )
    return Card(
        "families",
        "Could one of several be luck?",
        several if size > 1 else words.ONE_QUESTION,
        table=Table("Secondary comparisons, alone and corrected", columns, tuple(lines)),
        notes=("The primary metric is read as it stands; breakdowns have a correction of their own.",),
    )
