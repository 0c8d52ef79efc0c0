"""Charts over time: cumulative lift by week, and the index's sparkline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from toolkit.readout.charts import NARROW, WIDE, drawn
from toolkit.readout.figures import Unit, day
from toolkit.readout.svg import Scale, element, text

__all__ = ["Look", "by_week", "sparkline"]

SHAPES = ("circle", "square", "diamond", "triangle")
MOST_DATES = 6


@dataclass(frozen=True, slots=True)
class Look:
    """What one look said about one arm: the value and its interval, and both in words."""

    as_of: str
    value: float
    low: float | None
    high: float | None
    said: str


def by_week(identifier: str, title: str, arms: Mapping[str, Sequence[Look]], unit: Unit) -> Markup:
    """Return the lift at every look, with intervals; arms differ by shape and dash, not by colour alone."""
    description = ". ".join(
        f"{arm}, {day(look.as_of)}: {look.said}" for arm, looks in arms.items() for look in looks
    )
    parts = []
    for name, width in (("wide", WIDE), ("narrow", NARROW)):
        parts.append((name, width, 250.0, _weeks(arms, unit, width)))
    return drawn(identifier, title, f"{description}.", parts)


def _weeks(arms: Mapping[str, Sequence[Look]], unit: Unit, width: float) -> Markup:
    dates = sorted({look.as_of for looks in arms.values() for look in looks})
    every = [look for looks in arms.values() for look in looks]
    ends = [end for look in every for end in (look.value, look.low, look.high) if end is not None]
    left, right, top, bottom = 56.0, width - 12, 14.0, 214.0
    scale = Scale.around(ends, bottom, top)
    wide = (right - left) / max(1, len(dates))
    centre = {on: left + wide * (place + 0.5) for place, on in enumerate(dates)}
    pieces = [_grid(scale, unit, left, right)]
    keep = max(1, -(-len(dates) // (MOST_DATES if width == WIDE else 3)))
    for place, on in enumerate(reversed(dates)):
        if place % keep == 0:
            pieces.append(text(day(on)[:-5], centre[on], bottom + 22, "tick", "middle"))
    for place, looks in enumerate(arms.values()):
        shift = (place - (len(arms) - 1) / 2) * min(14.0, wide * 0.7 / len(arms))
        pieces += _arm(looks, {on: x + shift for on, x in centre.items()}, scale, place, top, bottom)
    return Markup("").join(pieces)


def _grid(scale: Scale, unit: Unit, left: float, right: float) -> Markup:
    ticks, step = scale.ticks()
    scaled = step * unit.factor
    decimals = next((n for n in range(6) if abs(scaled * 10**n - round(scaled * 10**n)) < 1e-6), 6)
    return Markup("").join(
        Markup("").join(
            (
                element(
                    "line",
                    x1=left,
                    x2=right,
                    y1=scale(tick),
                    y2=scale(tick),
                    class_="grid" if tick else "zero",
                ),
                text(unit.change(tick, decimals, bare=True), left - 8, scale(tick) + 4, "tick", "end"),
            )
        )
        for tick in ticks
    )


def _arm(
    looks: Sequence[Look], centre: Mapping[str, float], scale: Scale, place: int, top: float, bottom: float
) -> list[Markup]:
    path = " ".join(f"{centre[look.as_of]:.1f},{scale(look.value):.1f}" for look in looks)
    kind = f"series s{place % len(SHAPES)}"
    pieces = [element("polyline", points=path, class_=f"{kind} path")]
    for look in looks:
        x, y = centre[look.as_of], scale(look.value)
        high = scale(look.high) if look.high is not None else top
        low = scale(look.low) if look.low is not None else bottom
        pieces.append(
            element(
                "g",
                element("title", f"{day(look.as_of)}: {look.said}"),
                element("line", x1=x, x2=x, y1=high, y2=low, class_="whisker"),
                shape(SHAPES[place % len(SHAPES)], x, y),
                class_=kind,
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
