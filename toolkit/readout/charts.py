"""Intervals against zero, as SVG: legible without colour, with a line of words beside every mark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from toolkit.readout import words
from toolkit.readout.figures import Unit
from toolkit.readout.frame import NARROW, WIDE, drawn, mark_of, tick_decimals
from toolkit.readout.svg import Scale, element, fitted, text, text_width

__all__ = ["LABELS", "Row", "intervals"]

LABELS, VALUES = 200.0, 210.0
SQUASHED = 5.0


@dataclass(frozen=True, slots=True)
class Row:
    """One interval.

    Attributes:
        label: what is compared; `detail`: a second, quieter line.
        value, low, high: None at `low` or `high` where the interval has no bound.
        said: the value in words; `interval`: the interval in words.
        shape: `primary` (diamond), `secondary` (circle) or `guardrail` (square).
        direction: 1 good, −1 bad, 0 not settled.
        doubt: why it is not to be trusted; then nothing is drawn.
        provisional: the data are not complete; the line is dashed.
    """

    label: str
    detail: str
    value: float | None
    low: float | None
    high: float | None
    said: str
    interval: str
    shape: str = "secondary"
    direction: int = 0
    doubt: str | None = None
    provisional: bool = False

    @property
    def sentence(self) -> str:
        """Return all of it in words."""
        told = self.doubt or (f"{self.said}, interval {self.interval}" if self.interval else "no number")
        return f"{self.label}{f' ({self.detail})' if self.detail else ''}: {told}"


def intervals(
    identifier: str,
    title: str,
    rows: Sequence[Row],
    unit: Unit,
    *,
    against: str,
    margin: tuple[float, str] | None = None,
) -> Markup:
    """Return intervals against zero, one row each.

    `unit` is what the axis is in, `against` the control's name, `margin` where harm begins, and that in words.
    """
    description = ". ".join(row.sentence for row in rows) + "."
    parts = []
    for name in ("wide", "narrow"):
        height, content = _panel(rows, unit, wide=name == "wide", against=against, margin=margin)
        parts.append((name, WIDE if name == "wide" else NARROW, height, content))
    return drawn(identifier, title, description, parts)


def _panel(
    rows: Sequence[Row], unit: Unit, *, wide: bool, against: str, margin: tuple[float, str] | None
) -> tuple[float, Markup]:
    left, right = (LABELS, WIDE - VALUES) if wide else (10.0, NARROW - 10)
    scale = Scale.around(_extent(rows, margin), left, right)
    top, step = (26.0, 46.0) if wide else (20.0 if margin else 0.0, 66.0)
    bottom = top + step * len(rows)
    zero = scale(0)
    bands = (
        [(top - 6, bottom)]
        if wide
        else [(top + step * at + 36, top + step * (at + 1)) for at in range(len(rows))]
    )
    pieces = [_axis(scale, unit, bands, bottom, 6 if wide else 4)]
    if margin is not None:
        pieces.append(_margin(scale, margin, zero, bands))
    elif wide:
        pieces.append(text("no difference", _inside(zero, left, right, 36), 11, "small", "middle"))
    for place, row in enumerate(rows):
        middle = top + step * place + (step / 2 if wide else step - 18)
        pieces.append(_row(row, scale, middle, top + step * place, wide=wide))
    side = bottom + 34
    held = fitted(against, 110, 11)[0]
    pieces.append(text(f"← lower than {held}" if zero - left > 150 else "← lower", left, side, "small"))
    pieces.append(
        text(f"higher than {held} →" if right - zero > 150 else "higher →", right, side, "small", "end")
    )
    return side + 8, Markup("").join(pieces)


def _extent(rows: Sequence[Row], margin: tuple[float, str] | None) -> list[float]:
    """Return what the scale must hold. A single very wide interval does not squash the others: it is cut."""
    points = [row.value for row in rows if row.value is not None and not row.doubt]
    ends = [end for row in rows if not row.doubt for end in (row.low, row.high) if end is not None]
    kept = [*points, *([margin[0] * 1.35] if margin else [])]
    reach = SQUASHED * max((abs(each) for each in kept), default=0.0)
    if not reach or len(rows) < 2:
        return [*kept, *ends]
    return [*kept, *(max(-reach, min(reach, end)) for end in ends)]


def _axis(
    scale: Scale, unit: Unit, bands: Sequence[tuple[float, float]], bottom: float, about: int
) -> Markup:
    ticks, decimals = tick_decimals(scale, unit, about)
    return Markup("").join(
        Markup("").join(
            (
                _upright(scale(tick), bands, "grid" if tick else "zero"),
                text(unit.change(tick, decimals, bare=True), scale(tick), bottom + 15, "tick", "middle"),
            )
        )
        for tick in ticks
    )


def _upright(x: float, bands: Sequence[tuple[float, float]], class_: str) -> Markup:
    """Return a line across the rows; on a narrow page it leaves out the words between them."""
    return element("path", d="".join(f"M{x:.1f} {top:g}V{bottom:g}" for top, bottom in bands), class_=class_)


def _margin(
    scale: Scale, margin: tuple[float, str], zero: float, bands: Sequence[tuple[float, float]]
) -> Markup:
    at, said = scale(margin[0]), margin[1]
    beyond = (at, scale.end) if margin[0] > 0 else (scale.start, at)
    wide = text_width(said, 12)
    left = min(at, scale.end - wide) if margin[0] > 0 else max(at - wide, scale.start)
    return Markup("").join(
        (
            *(
                element(
                    "rect",
                    x=beyond[0],
                    y=top,
                    width=beyond[1] - beyond[0],
                    height=bottom - top,
                    class_="beyond",
                )
                for top, bottom in bands
            ),
            _upright(at, bands, "margin"),
            text(said, left, 11, "small strong"),
            Markup("") if left - 12 < zero < left + wide + 12 else text("0", zero, 11, "small", "middle"),
        )
    )


def _row(row: Row, scale: Scale, middle: float, top: float, *, wide: bool) -> Markup:
    pieces = [_labels(row, middle, top, wide=wide)]
    if row.value is None or row.doubt:
        return mark_of(row.sentence, *pieces, class_="row")
    kind = {1: "good", -1: "bad", 0: "open"}[row.direction]
    pieces.append(_line(row, scale, middle))
    pieces.append(_mark(row.shape, scale(min(max(row.value, scale.low), scale.high)), middle))
    return mark_of(row.sentence, *pieces, class_=f"row {kind}{' provisional' if row.provisional else ''}")


def _line(row: Row, scale: Scale, y: float) -> Markup:
    """Return the interval: a bar with caps; an arrow at an end that has no bound or lies beyond the chart."""
    pieces = []
    places = []
    for end, edge, sign in ((row.low, scale.start, -1), (row.high, scale.end, 1)):
        if end is None or not scale.holds(end):
            places.append(edge)
            tip = edge + sign * 3
            pieces.append(
                element(
                    "path",
                    d=f"M{tip - sign * 9:g} {y - 6:g}L{tip:g} {y:g}L{tip - sign * 9:g} {y + 6:g}",
                    class_="arrow",
                )
            )
        else:
            places.append(scale(end))
            pieces.append(element("line", x1=scale(end), x2=scale(end), y1=y - 6, y2=y + 6, class_="cap"))
    return Markup("").join((element("line", x1=places[0], x2=places[1], y1=y, y2=y, class_="span"), *pieces))


def _mark(shape: str, x: float, y: float) -> Markup:
    if shape == "primary":
        return element("path", d=f"M{x:.1f} {y - 8:g}l8 8-8 8-8-8Z", class_="mark")
    if shape == "guardrail":
        return element("rect", x=x - 6, y=y - 6, width=12.0, height=12.0, class_="mark")
    return element("circle", cx=x, cy=y, r=6.5, class_="mark")


def _labels(row: Row, middle: float, top: float, *, wide: bool) -> Markup:
    said, more = (words.NOT_TRUSTED, "see below") if row.doubt else (row.said, row.interval)
    if not said:
        said, more = "no number", "see below"
    if wide:
        name = fitted(row.label, LABELS - 18, 14, 1 if row.detail else 2)
        detail = fitted(row.detail, LABELS - 18, 12) if row.detail else []
        return Markup("").join(
            (
                *_stack(
                    [(line, "label") for line in name] + [(line, "small") for line in detail],
                    0,
                    middle,
                    "start",
                ),
                *_stack([(said, "value"), (more, "small")], WIDE - VALUES + 18, middle, "start"),
            )
        )
    name = fitted(f"{row.label} · {row.detail}" if row.detail else row.label, NARROW - 8, 18)
    return Markup("").join(
        (
            text(name[0], 0, top + 14, "label"),
            element(
                "text",
                element("tspan", said, class_="value"),
                element("tspan", f"  {more}", class_="small"),
                x=0.0,
                y=top + 31,
            ),
        )
    )


def _stack(lines: Sequence[tuple[str, str]], x: float, middle: float, anchor: str) -> list[Markup]:
    shown = [line for line in lines if line[0]]
    first = middle + 5 - 8.5 * (len(shown) - 1)
    return [text(said, x, first + 17 * place, kind, anchor) for place, (said, kind) in enumerate(shown)]


def _inside(x: float, left: float, right: float, half: float) -> float:
    return min(max(x, left + half), right - half)
