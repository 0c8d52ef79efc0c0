"""Experiments side by side: each one's primary metrics and verdict, never a sum over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from toolkit.errors import DataError
from toolkit.notebook.panel import Grid, Panel
from toolkit.notebook.picture import Picture, standalone
from toolkit.readout import words
from toolkit.readout.cards.effects import row_of
from toolkit.readout.charts import intervals
from toolkit.readout.figures import DASH, Unit, count, day, total
from toolkit.readout.readout import Readout
from toolkit.readout.view import RELATIVE, LiftView

__all__ = ["compare"]


def compare(records: Sequence[Mapping[str, Any]]) -> Panel:
    """Return experiments' records side by side, in the order given; those with a failed check show no number.

    Raises:
        DataError: there are none.
    """
    if not records:
        raise DataError("there is no record to compare; make one with `record(workspace, spec)`")
    readouts = [Readout(each) for each in records]
    pairs = [(each, view) for each in readouts for view in _primary(each)]
    grid = Grid(
        "Primary metrics",
        ("experiment", "as of", "customers", "verdict", "metric, arm", "lift", "interval", "profit so far"),
        tuple(line for each in readouts for line in _lines(each)),
        right=(2, 5, 7),
    )
    pictures: tuple[Picture, ...] = ()
    if pairs:
        metrics = {view.title for _, view in pairs}
        rows = [
            replace(
                row_of(readout, view, absolute=False),
                label=str(readout.record["experiment"]),
                detail=view.arm if len(metrics) == 1 else readout.named(view),
            )
            for readout, view in pairs
        ]
        what = f"Relative lift of each experiment{f', {metrics.pop()}' if len(metrics) == 1 else ''}"
        drawn = intervals("compared", what, rows, RELATIVE, against="the held out")
        pictures = (standalone(drawn, "compared"),)
    hidden = [str(each.design["name"]) for each in readouts if each.failed]
    verdicts = [f"{each.design['name']}: {words.STATUS[each.status][0].lower()}" for each in readouts]
    notes = [f"{name}: {words.HIDDEN}" for name in hidden]
    notes += [
        f"{each.design['name']}, {each.named(view)}: {view.doubt}." for each, view in pairs if view.doubt
    ]
    notes.append(f"{words.NO_SUM} What all of them brought together, the universal holdout says.")
    return Panel("Experiments side by side", "; ".join(verdicts) + ".", (grid,), pictures, tuple(notes))


def _primary(readout: Readout) -> list[LiftView]:
    return [each for each in readout.views if each.role == "primary"] or list(readout.views[:1])


def _lines(readout: Readout) -> list[tuple[str, ...]]:
    record = readout.record
    customers = count(sum(each["customers"] for each in record["arms"]))
    first = (str(readout.design["name"]), day(record["as_of"]), customers, words.STATUS[readout.status][0])
    if readout.failed:
        return [(*first, DASH, DASH, words.SPARK_HIDDEN, DASH)]
    return [
        (*first, f"{view.label}, {view.arm}", *_said(view), _profit(readout, view))
        for view in _primary(readout)
    ] or [(*first, DASH, DASH, words.NO_NUMBER, DASH)]


def _said(view: LiftView) -> tuple[str, str]:
    said, interval = view.relative()
    return (DASH, words.NOT_TRUSTED) if view.doubt else (said, interval)


def _profit(readout: Readout, view: LiftView) -> str:
    """Return the arm's incremental profit and its interval, where it is known and to be trusted."""
    for worth in readout.record["worth"]:
        if worth["arm"] == view.lift["arm"] and worth["trusted"] and worth["total_profit"]:
            said, ends = total(worth["total_profit"], Unit("money", worth["currency"]))
            return f"{said} ({ends})" if ends else said
    return DASH
