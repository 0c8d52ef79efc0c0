"""Charts over time: a value with its interval at every look, and the index's sparkline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from toolkit.readout.figures import Unit, day
from toolkit.readout.frame import NARROW, WIDE, drawn, mark_of, tick_decimals
from toolkit.readout.svg import Scale, element, text

__all__ = ["SHAPES", "Look", "by_week", "shape", "sparkline"]

SHAPES = ("circle", "square", "diamond", "triangle")
MOST_DATES = 6
LEFT, TOP, BOTTOM, HEIGHT = 60.0, 14.0, 214.0, 250.0
REACH = 3.0
"""Bounds and ends further out than so many times the furthest point are cut: early looks would squash the rest."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look said about one arm, and the same in words.

    Attributes:
        low, high: the interval; None where it has no bound.
        bound: how far from zero the value has to be at this look to decide; None where it does not decide.
        shaky: not to be trusted; then nothing is drawn, and `said` holds no number.
    """

    as_of: str
    value: float
    low: float | None
    high: float | None
    said: str
    bound: float | None = None
    shaky: bool = False

    @property
    def apart(self) -> bool:
        """Return whether its interval lies on one side of zero."""
        return (self.low is not None and self.low > 0) or (self.high is not None and self.high < 0)


@dataclass(frozen=True, slots=True)
class _Plot:
    """Where things stand in one drawing."""

    scale: Scale
    centre: Mapping[str, float]
    wide: float
    right: float


def by_week(
    identifier: str, title: str, arms: Mapping[str, Sequence[Look]], unit: Unit, *, bare: bool = False
) -> Markup:
    """Return the value at every look, with intervals; arms differ by shape and dash, not by colour alone.

    Where looks decide, a dotted line shows how far from zero they have to be. With `bare` marks stand alone and the
    interval is a band in which chance would leave them.
    """
    description = ". ".join(
        f"{arm}, {day(look.as_of)}: {look.said}" for arm, looks in arms.items() for look in looks
    )
    parts = []
    for name, width in (("wide", WIDE), ("narrow", NARROW)):
        parts.append((name, width, HEIGHT, _weeks(arms, unit, width, bare=bare)))
    return drawn(identifier, title, f"{description}.", parts)


def _weeks(arms: Mapping[str, Sequence[Look]], unit: Unit, width: float, *, bare: bool) -> Markup:
    dates = sorted({look.as_of for looks in arms.values() for look in looks})
    right = width - 12
    wide = (right - LEFT) / max(1, len(dates))
    centre = {on: LEFT + wide * (place + 0.5) for place, on in enumerate(dates)}
    every = [look for looks in arms.values() for look in looks if not look.shaky]
    plot = _Plot(Scale.around(_extent(every), BOTTOM, TOP), centre, wide, right)
    pieces = [_grid(plot.scale, unit, right)]
    keep = max(1, -(-len(dates) // (MOST_DATES if width == WIDE else 3)))
    for place, on in enumerate(reversed(dates)):
        if place % keep == 0:
            pieces.append(text(day(on)[:-5], centre[on], BOTTOM + 22, "tick", "middle"))
    if not bare:
        pieces.append(_bounds(every, plot))
    for place, (arm, looks) in enumerate(arms.items()):
        name = arm if len(arms) > 1 else ""
        shift = (place - (len(arms) - 1) / 2) * min(14.0, wide * 0.7 / len(arms))
        pieces += _arm(name, [each for each in looks if not each.shaky], plot, place, shift, bare=bare)
    return Markup("").join(pieces)


def _extent(looks: Sequence[Look]) -> list[float]:
    """Return what the scale must hold: all values, and of ends and bounds those that do not squash them."""
    values = [look.value for look in looks]
    last = [end for look in looks[-1:] for end in (look.low, look.high) if end is not None]
    reach = REACH * max((abs(each) for each in (*values, *last)), default=0.0)
    ends = [end for look in looks for end in (look.low, look.high) if end is not None]
    return [*values, *(max(-reach, min(reach, end)) for end in ends)]


def _grid(scale: Scale, unit: Unit, right: float) -> Markup:
    ticks, decimals = tick_decimals(scale, unit, 5)
    return Markup("").join(
        Markup("").join(
            (
                element(
                    "line",
                    x1=LEFT,
                    x2=right,
                    y1=scale(tick),
                    y2=scale(tick),
                    class_="grid" if tick else "zero",
                ),
                text(unit.change(tick, decimals, bare=True), LEFT - 8, scale(tick) + 4, "tick", "end"),
            )
        )
        for tick in ticks
    )


def _bounds(looks: Sequence[Look], plot: _Plot) -> Markup:
    """Return the decision boundary: a dotted stair above and below zero, cut where it leaves the drawing."""
    nearest: dict[str, float] = {}
    for look in looks:
        if look.bound is not None:
            nearest[look.as_of] = max(look.bound, nearest.get(look.as_of, 0.0))
    pieces = []
    for on, bound in nearest.items():
        for at in (bound, -bound):
            if plot.scale.holds(at):
                y, x = plot.scale(at), plot.centre[on]
                half = plot.wide / 2
                pieces.append(element("line", x1=x - half, x2=x + half, y1=y, y2=y, class_="bound"))
    return Markup("").join(pieces)


def _arm(
    name: str, looks: Sequence[Look], plot: _Plot, place: int, shift: float, *, bare: bool
) -> list[Markup]:
    """Return an arm's looks joined by a line; `name` tells them from those of other arms."""
    scale = plot.scale
    kind = f"series s{place % len(SHAPES)}"
    path = " ".join(f"{plot.centre[look.as_of] + shift:.1f},{scale(look.value):.1f}" for look in looks)
    pieces = [element("polyline", points=path, class_=f"{kind} path")]
    for look in looks:
        x, y = plot.centre[look.as_of] + shift, scale(look.value)
        high = max(TOP, scale(look.high)) if look.high is not None else TOP
        low = min(BOTTOM, scale(look.low)) if look.low is not None else BOTTOM
        pieces.append(
            mark_of(
                f"{f'{name}, ' if name else ''}{day(look.as_of)}: {look.said}",
                element("line", x1=x, x2=x, y1=high, y2=low, class_="chance" if bare else "whisker"),
                shape(SHAPES[place % len(SHAPES)], x, y),
                class_=kind if bare or look.apart else f"{kind} open",
            )
        )
    return pieces


def shape(name: str, x: float, y: float, size: float = 5.0) -> Markup:
    """Return a mark; series are told apart by it."""
    if name == "square":
        return element("rect", x=x - size, y=y - size, width=2 * size, height=2 * size, class_="dot")
    if name == "diamond":
        return element("path", d=f"M{x:.1f} {y - size - 1:.1f}l6 6-6 6-6-6Z", class_="dot")
    if name == "triangle":
        return element("path", d=f"M{x:.1f} {y - size - 1:.1f}l6 11h-12Z", class_="dot")
    return element("circle", cx=x, cy=y, r=size, class_="dot")


def sparkline(values: Sequence[float], said: str) -> Markup:
    """Return a line of values against zero, small enough for a table; `said` is what it shows in words."""
    width, height = 120.0, 32.0
    scale = Scale.around(values, height - 4, 4)
    step = (width - 12) / max(1, len(values) - 1)
    places = [
        (6 + step * place if len(values) > 1 else width / 2, scale(each)) for place, each in enumerate(values)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return element(
        "svg",
        element("title", said),
        element("line", x1=0.0, x2=width, y1=scale(0), y2=scale(0), class_="zero"),
        element("polyline", points=line, class_="path"),
        element("circle", cx=places[-1][0], cy=places[-1][1], r=3.5, class_="dot"),
        viewBox=f"0 0 {width:g} {height:g}",
        class_="spark",
        role="img",
        aria_label=said,
    )
