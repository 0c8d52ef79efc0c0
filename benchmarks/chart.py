"""The picture of growth: time and memory against events, both axes logarithmic, with the fitted line."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

__all__ = ["growth"]

WIDTH, HEIGHT = 880, 400
TOP, BOTTOM, PANEL, GAP, LEFT = 92, 336, 330, 100, 66
STYLE = """\
.paper{fill:#fff}text{fill:#1b1f24;font:13px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
.title{font-size:17px;font-weight:620}.head{font-size:14px;font-weight:600}.head .quiet{font-size:13px;font-weight:400}.quiet{fill:#59636e}.value{font-weight:600;stroke:#fff;stroke-width:4;paint-order:stroke;stroke-linejoin:round}
.grid{stroke:#e4e8ec}.axis{stroke:#9aa4ae}.fit{stroke:#1f4fa3;stroke-width:1.5;stroke-dasharray:5 4;opacity:.75}
.dot{fill:#1f4fa3;stroke:#fff;stroke-width:1.5}
@media (prefers-color-scheme:dark){.paper{fill:#14181d}text{fill:#e8ecf1}.quiet{fill:#a3adb9}.value{stroke:#14181d}.grid{stroke:#2a323b}
.axis{stroke:#5c6772}.fit{stroke:#8db4f5}.dot{fill:#8db4f5;stroke:#14181d}}"""

SECONDS = [step * 10.0**power for power in range(-2, 5) for step in (1, 2, 5)]
MIB = [2.0**power for power in range(4, 20)]
MOST = 9
"""Gridlines; with more of them, every third is kept, which leaves powers of ten or of eight."""

Points = Sequence[tuple[float, float]]


def growth(points: Sequence[tuple[int, float, float]]) -> str:
    """Return the SVG of (events, seconds, MiB), at least two of them."""
    time = [(float(rows), seconds) for rows, seconds, _ in points]
    memory = [(float(rows), peak) for rows, _, peak in points]
    rows, seconds, peak = points[-1]
    title = f"{_count(rows)} events take {_seconds(seconds)} and {_memory(peak)}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="t d">',
        f'<title id="t">{escape(title)}</title>',
        '<desc id="d">'
        + escape("; ".join(f"{_count(n)}: {_seconds(s)}, {_memory(m)}" for n, s, m in points))
        + "</desc>",
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>',
        _text(LEFT - 46, 34, title, "title"),
        *_panel(LEFT, "Time", time, _seconds, SECONDS),
        *_panel(LEFT + PANEL + GAP, "Peak memory", memory, _memory, MIB),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _panel(
    left: float, head: str, points: Points, said: Callable[[float], str], steps: Sequence[float]
) -> list[str]:
    """Return one chart: gridlines at `steps`, dots with their values, the fitted line."""
    xs = [point[0] for point in points]
    slope, constant = _fit(points)
    ends = [(each, 10 ** (slope * math.log10(each) + constant)) for each in (min(xs), max(xs))]
    ticks = _ticks([value for _, value in (*points, *ends)], steps)
    x = _scale(min(xs), max(xs), left + 18, left + PANEL - 18)
    y = _scale(ticks[0], ticks[-1], BOTTOM, TOP)
    parts = [
        f'<text class="head" x="{left - 46}" y="{TOP - 24}">{escape(head)}'
        f'<tspan class="quiet" dx="10">dashed: events to the power {slope:.2f}</tspan></text>'
    ]
    for tick in ticks:
        kind = "axis" if tick == ticks[0] else "grid"
        parts.append(
            f'<line class="{kind}" x1="{left}" x2="{left + PANEL}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        )
        parts.append(_text(left - 8, y(tick) + 4, said(tick), "quiet", "end"))
    parts += [_text(x(each), BOTTOM + 20, _count(each), "quiet", "middle") for each in xs]
    about = "order events (a fifth as many customers)"
    parts.append(_text(left + PANEL / 2, BOTTOM + 44, about, "quiet", "middle"))
    (x1, y1), (x2, y2) = ((x(rows), y(value)) for rows, value in ends)
    parts.append(f'<line class="fit" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')
    for rows, value in points:
        parts.append(f'<circle class="dot" cx="{x(rows):.1f}" cy="{y(value):.1f}" r="5"/>')
        last = rows == max(xs)
        place = (x(rows) - 11, y(value) - 5, "end") if last else (x(rows) + 9, y(value) + 18, "start")
        parts.append(_text(place[0], place[1], said(value), "value", place[2]))
    return parts


def _fit(points: Points) -> tuple[float, float]:
    """Return slope and constant of the least-squares line in log10-log10."""
    xs, ys = ([math.log10(point[at]) for point in points] for at in (0, 1))
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((each - x) ** 2 for each in xs)
    slope = sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / spread if spread else 0.0
    return slope, y - slope * x


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """Return the logarithmic scale that puts `low` at `start` and `high` at `end`."""
    wide = math.log10(high / low) or 1.0
    return lambda value: start + math.log10(value / low) / wide * (end - start)


def _ticks(values: Sequence[float], steps: Sequence[float]) -> list[float]:
    """Return those of `steps` that hold `values` between them, with room below for the labels; not too many."""
    low = max((step for step in steps if step <= min(values) * 0.8), default=steps[0])
    high = min((step for step in steps if step >= max(values)), default=steps[-1])
    inside = [each for each in steps if low <= each <= high]
    return inside if len(inside) <= MOST else _ticks(values, steps[::3])


def _count(rows: float) -> str:
    return f"{rows / 1e6:g} M" if rows >= 1e6 else f"{rows / 1e3:g} k"


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if value >= 9.95 else f"{value:.2g} s"


def _memory(mib: float) -> str:
    return f"{mib / 1024:.2g} GiB" if mib >= 1023 else f"{mib:.0f} MiB"


def _text(x: float, y: float, said: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(said)}</text>'
