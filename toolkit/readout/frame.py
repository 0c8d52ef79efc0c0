"""The frame of every chart: drawn twice, wide and narrow; the stylesheet shows the one that fits.

A chart is a group of marks. Each mark can be reached with the keyboard and names itself (`title`); the page's script
shows that name as a tooltip.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from toolkit.readout.figures import Unit
from toolkit.readout.svg import Scale, element

__all__ = ["NARROW", "WIDE", "drawn", "mark_of", "tick_decimals"]

WIDE, NARROW = 960.0, 340.0


def drawn(
    identifier: str, title: str, description: str, parts: Sequence[tuple[str, float, float, Markup]]
) -> Markup:
    """Return the drawings of one chart (name, width, height, content), each with a title and a description."""
    return Markup("").join(
        element(
            "svg",
            element("title", title, id=f"{identifier}-{name}-title"),
            element("desc", description, id=f"{identifier}-{name}-desc"),
            content,
            viewBox=f"0 0 {width:g} {height:g}",
            class_=f"chart {name}",
            role="group",
            aria_labelledby=f"{identifier}-{name}-title {identifier}-{name}-desc",
        )
        for name, width, height, content in parts
    )


def mark_of(said: str, *children: Markup, class_: str) -> Markup:
    """Return a mark that says `said` when it is pointed at or reached with the keyboard."""
    return element("g", element("title", said), *children, class_=class_, tabindex="0", role="img")


def tick_decimals(scale: Scale, unit: Unit, about: int) -> tuple[list[float], int]:
    """Return the scale's ticks, and how many decimals tell them apart."""
    ticks, step = scale.ticks(about)
    scaled = step * unit.factor
    return ticks, next((n for n in range(6) if abs(scaled * 10**n - round(scaled * 10**n)) < 1e-6), 6)
