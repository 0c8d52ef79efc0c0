"""Falling curves with a mark that sliders move: the drawing of an explorer."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from toolkit.readout.figures import percent
from toolkit.readout.svg import Scale, element, fitted, text

__all__ = ["HEIGHT_TOKEN", "PLACE_TOKEN", "across", "curves", "up"]

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720.0, 380.0, 56.0, 540.0, 74.0, 330.0
PLACE_TOKEN, HEIGHT_TOKEN = "@place@", "@height@"
MOST = 4
"""More curves cannot be told apart without colour."""
STYLE = """
svg{color-scheme:light dark;font-family:system-ui,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
.paper{fill:light-dark(#fff,#14171b)}text{fill:light-dark(#16191d,#e9edf1);font-size:13px}
.tick,.small{fill:light-dark(#59616b,#a4aeb9);font-size:12px}.grid{stroke:light-dark(#dce0e5,#353d46)}
.curve{fill:none;stroke-width:2.2;stroke-linejoin:round}.name{font-weight:600}
.c0{stroke:light-dark(#1c4b9c,#8fb6f6)}.c1{stroke:light-dark(#8a5a00,#e2b45c);stroke-dasharray:7 3}
.c2{stroke:light-dark(#0b6b50,#58c9a0);stroke-dasharray:2 3}.c3{stroke:light-dark(#7a2f8f,#d69be6);stroke-dasharray:9 3 2 3}
.n0{fill:light-dark(#1c4b9c,#8fb6f6)}.n1{fill:light-dark(#8a5a00,#e2b45c)}.n2{fill:light-dark(#0b6b50,#58c9a0)}.n3{fill:light-dark(#7a2f8f,#d69be6)}
.mark{stroke:light-dark(#a32f10,#f29270);stroke-width:1.5}.title{font-size:14px;font-weight:600}
.chosen{fill:light-dark(#a32f10,#f29270);font-size:12px;paint-order:stroke;stroke:light-dark(#fff,#14171b);stroke-width:3px}
"""


def across(at: float) -> float:
    """Return where `at` (0 to 1) stands from left to right."""
    return LEFT + at * (RIGHT - LEFT)


def up(value: float, top: float) -> float:
    """Return how high `value` stands on an axis from 0 to `top`; what is above it stands at its edge."""
    return Scale(0.0, top, BOTTOM, TOP)(min(value, top))


def curves(
    title: str,
    names: Sequence[str],
    lines: Sequence[Sequence[tuple[float, float]]],
    ticks: Sequence[tuple[float, str]],
    label: str,
    top: float,
    *,
    upright: str,
    level: str = "",
) -> Markup:
    """Return up to `MOST` curves of relative effects, as (place 0 to 1, effect), as SVG.

    `ticks` (place, words) and `label` are the horizontal axis'; the vertical one ends at `top`. A mark called `upright`
    stands at `PLACE_TOKEN`, and where `level` names one, another lies at `HEIGHT_TOKEN`: both are replaced by where they
    are to be.
    """
    scale = Scale(0.0, top, BOTTOM, TOP)
    pieces = [element("title", title), element("style", Markup(STYLE))]  # noqa: S704 (our own stylesheet)
    pieces.append(element("rect", width=WIDTH, height=HEIGHT, class_="paper"))
    pieces.append(text(title, 8, 18, "title"))
    pieces.append(text("smallest relative effect", 8, 38, "small"))
    marks, step = scale.ticks(5)
    decimals = 0 if abs(step * 100 - round(step * 100)) < 1e-9 else 1
    for tick in marks:
        y = scale(tick)
        pieces.append(element("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, class_="grid"))
        pieces.append(text(percent(tick, decimals), LEFT - 8, y + 4, "tick", "end"))
    pieces += [text(said, across(at), BOTTOM + 18, "tick", "middle") for at, said in ticks]
    pieces.append(text(label, (LEFT + RIGHT) / 2, BOTTOM + 40, "small", "middle"))
    ends = []
    for place, (name, line) in enumerate(list(zip(names, lines, strict=True))[:MOST]):
        inside = [(at, each) for at, each in line if each <= top]
        if inside:
            points = " ".join(f"{across(at):.1f},{scale(each):.1f}" for at, each in inside)
            pieces.append(element("polyline", points=points, class_=f"curve c{place}"))
            ends.append((scale(inside[-1][1]), place, name))
    free = BOTTOM + 20
    for y, place, name in sorted(ends, reverse=True):  # from the lowest up, each clear of the one below it
        free = min(y, free - 16)
        pieces.append(text(fitted(name, WIDTH - RIGHT - 12, 13)[0], RIGHT + 8, free + 4, f"name n{place}"))
    pieces.append(element("line", x1=PLACE_TOKEN, x2=PLACE_TOKEN, y1=TOP, y2=BOTTOM, class_="mark"))
    pieces.append(element("text", upright, x=PLACE_TOKEN, y=TOP - 20, class_="chosen", text_anchor="middle"))
    if level:
        pieces.append(
            element(
                "line",
                x1=LEFT,
                x2=RIGHT,
                y1=HEIGHT_TOKEN,
                y2=HEIGHT_TOKEN,
                class_="mark",
                stroke_dasharray="3 4",
            )
        )
        pieces.append(
            element("text", level, x=RIGHT - 4, y=HEIGHT_TOKEN, dy=-5, class_="chosen", text_anchor="end")
        )
    return element(
        "svg",
        *pieces,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        width=WIDTH,
        height=HEIGHT,
    )
