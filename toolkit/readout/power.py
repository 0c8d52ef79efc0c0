"""The picture of a design: the smallest effect that can be found, against the share held out and against weeks.

One drawing that stands alone as a file: it brings its own colours, for light and dark, and needs no script.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from toolkit.readout.figures import count, percent
from toolkit.readout.svg import Scale, element, fitted, text, text_width
from toolkit.readout.trend import SHAPES, shape

__all__ = ["MOST_SERIES", "PowerSeries", "power_picture"]

MOST_SERIES = len(SHAPES)
"""More lines than this cannot be told apart without colour."""
WIDTH, HEIGHT, TOP, BOTTOM, SIDE, GAP = 760.0, 416.0, 146.0, 356.0, 56.0, 40.0
STEEPEST = 3.0
"""The axis ends at so many times the largest effect at the plan: few held out would squash all else."""
STYLE = """
svg{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--quiet:#59636e;--line:#d6dbe1;--a:#1f4fa3;--b:#8a5a00;--c:#0b6b50;--d:#a63412;
font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;max-width:100%;height:auto}
@media (prefers-color-scheme:dark){svg{--paper:#14181d;--ink:#e8ecf1;--quiet:#a3adb9;--line:#38414b;--a:#8db4f5;--b:#e2b45c;--c:#58c9a0;--d:#f0906a}}
.paper{fill:var(--paper)}text{fill:var(--ink);font-size:14px}.head{font-size:16px;font-weight:650}.label{font-weight:600}
.small,.tick{fill:var(--quiet);font-size:12px;font-variant-numeric:tabular-nums}
.grid{stroke:var(--line);stroke-width:1}.zero{stroke:var(--ink);stroke-width:1.5}.plan{stroke:var(--quiet);stroke-width:1.2;stroke-dasharray:3 4}
.series{--tone:var(--a)}.s1{--tone:var(--b)}.s2{--tone:var(--c)}.s3{--tone:var(--d)}
.path{fill:none;stroke:var(--tone);stroke-width:2.2;stroke-linejoin:round}
.s1 .path{stroke-dasharray:7 3}.s2 .path{stroke-dasharray:2 3}.s3 .path{stroke-dasharray:9 3 2 3}
.dot{fill:var(--tone);stroke:var(--paper);stroke-width:1.5}
""".replace("\n", "")


@dataclass(frozen=True, slots=True)
class PowerSeries:
    """One metric's smallest relative effects, as fractions.

    Attributes:
        label: the metric, and the arm where there are several.
        by_share: (share held out, effect), shares rising.
        by_week: (weeks of enrolment, effect), weeks rising; empty where nothing is known of the pace.
        effect: at the planned share and size, or None.
    """

    label: str
    by_share: tuple[tuple[float, float], ...]
    by_week: tuple[tuple[float, float], ...]
    effect: float | None

    @property
    def sentence(self) -> str:
        """Return the line in words."""
        said = [f"{percent(share, 0)} held out {percent(effect)}" for share, effect in _some(self.by_share)]
        said += [f"{week:g} weeks {percent(effect)}" for week, effect in _some(self.by_week)]
        return f"{self.label}: {', '.join(said)}"


def power_picture(
    title: str,
    series: Sequence[PowerSeries],
    *,
    share: float,
    weeks: float | None,
    customers: int,
    power: float,
    alpha: float,
) -> Markup:
    """Return the picture as SVG; its first `MOST_SERIES` lines, the plan's `share` and `weeks` marked.

    `customers` are those of all arms whom the effects at `share` are of, which need not be those of the last week.
    `weeks` is None where enrolment is not spread over weeks: then there is one panel.
    """
    shown = list(series)[:MOST_SERIES]
    most = STEEPEST * max((each.effect for each in shown if each.effect), default=0.0)
    highest = max((effect for each in shown for _, effect in (*each.by_share, *each.by_week)), default=1.0)
    top = min(most or highest, highest) * 1.04
    y = Scale(0.0, top, BOTTOM, TOP)
    weekly = any(each.by_week for each in shown)
    middle = (WIDTH + SIDE) / 2
    ends = (SIDE, middle - GAP) if weekly else (SIDE, WIDTH - 24)
    panels = [
        _panel(
            Scale(0.0, 0.5, *ends),
            y,
            f"share of {count(customers)} customers held out",
            [each.by_share for each in shown],
            (share, f"plan: {percent(share, 0)}"),
            lambda at: percent(at, 0),
            [(share, each.effect) for each in shown],
        )
    ]
    if weekly:
        last = max(at for each in shown for at, _ in each.by_week)
        panels.append(
            _panel(
                Scale(0.0, last, middle + 16, WIDTH - 24),
                y,
                "weeks of enrolment, share held out as planned",
                [each.by_week for each in shown],
                (weeks, f"plan: {weeks:g} weeks") if weeks and weeks <= last else None,
                lambda at: f"{at:g}",
                [(weeks, _at(each.by_week, weeks)) for each in shown],
            )
        )
    told = f"Smallest relative effect found in {power:.0%} of such experiments at alpha {alpha:g}"
    pieces = [
        element("title", f"{title}: what it can find"),
        element("desc", f"{told}. {'. '.join(each.sentence for each in shown)}."),
        element("style", Markup(STYLE)),  # noqa: S704 (our own stylesheet)
        element("rect", width=WIDTH, height=HEIGHT, class_="paper"),
        text(fitted(title, WIDTH - 48, 16)[0], 20, 32, "head"),
        text(f"{told}, as a share of the base", 20, 54, "small"),
        _legend(shown, weeks),
        *panels,
    ]
    return element(
        "svg",
        *pieces,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        width=WIDTH,
        height=HEIGHT,
        role="img",
    )


def _panel(
    x: Scale,
    y: Scale,
    label: str,
    lines: Sequence[Sequence[tuple[float, float]]],
    plan: tuple[float, str] | None,
    said: Callable[[float], str],
    marks: Sequence[tuple[float | None, float | None]],
) -> Markup:
    pieces = []
    ticks, step = y.ticks(5)
    decimals = 0 if abs(step * 100 - round(step * 100)) < 1e-9 else 1
    for tick in ticks:
        kind = "grid" if tick else "zero"
        pieces += [
            element("line", x1=x.start, x2=x.end, y1=y(tick), y2=y(tick), class_=kind),
            text(percent(tick, decimals), x.start - 8, y(tick) + 4, "tick", "end"),
        ]
    pieces += [text(said(tick), x(tick), BOTTOM + 18, "tick", "middle") for tick in x.ticks(5)[0]]
    pieces.append(text(label, (x.start + x.end) / 2, BOTTOM + 42, "small", "middle"))
    if plan:
        at = x(plan[0])
        half = text_width(plan[1], 12) / 2
        pieces += [
            element("line", x1=at, x2=at, y1=TOP - 8, y2=BOTTOM, class_="plan"),
            text(plan[1], min(max(at, x.start + half), x.end - half), TOP - 14, "small", "middle"),
        ]
    for place, (line, (at_share, effect)) in enumerate(zip(lines, marks, strict=True)):
        inside = _clipped(line, y.high)
        drawn = [
            element(
                "polyline",
                points=" ".join(f"{x(at):.1f},{y(each):.1f}" for at, each in inside),
                class_="path",
            )
        ]
        if at_share is not None and effect is not None and y.holds(effect) and x.holds(at_share):
            drawn.append(shape(SHAPES[place], x(at_share), y(effect)))
        pieces.append(element("g", *drawn, class_=f"series s{place}"))
    return element("g", *pieces)


def _clipped(line: Sequence[tuple[float, float]], high: float) -> list[tuple[float, float]]:
    """Return the part of a falling line that lies below `high`, from where it comes in."""
    inside = [(at, effect) for at, effect in line if effect <= high]
    above = [(at, effect) for at, effect in line if effect > high]
    if inside and above and above[-1][0] < inside[0][0]:
        (first, large), (second, small) = above[-1], inside[0]
        inside.insert(0, (first + (second - first) * (large - high) / (large - small), high))
    return inside


def _legend(series: Sequence[PowerSeries], weeks: float | None) -> Markup:
    """Return each line's mark, its name, and below it the effects that are marked left and right."""
    pieces, room = [], (WIDTH - 40) / MOST_SERIES
    for place, each in enumerate(series):
        x = 20 + room * place
        size = "none" if each.effect is None else percent(each.effect)
        later = _at(each.by_week, weeks)
        last = "" if later is None else f"{percent(later)} after {weeks:g} weeks"
        pieces.append(
            element(
                "g",
                element("line", x1=x, x2=x + 30, y1=80.0, y2=80.0, class_="path"),
                shape(SHAPES[place], x + 15, 80),
                text(fitted(each.label, room - 56, 14.5)[0], x + 38, 85, "label"),
                text(f"{size} at this size", x + 38, 102, "small"),
                text(last, x + 38, 117, "small"),
                class_=f"series s{place}",
            )
        )
    return Markup("").join(pieces)


def _at(line: Sequence[tuple[float, float]], at: float | None) -> float | None:
    return dict(line).get(at) if at is not None else None


def _some(line: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """Return a few points of a line, its ends among them."""
    return [line[round(place * (len(line) - 1) / 4)] for place in range(5)] if len(line) > 5 else line
