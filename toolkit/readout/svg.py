"""SVG made by hand: escaped elements, a linear scale, text that fits, and the small icons."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

__all__ = ["Scale", "element", "fitted", "icon", "text", "text_width"]


def element(name: str, *children: str | Markup, **attributes: str | float | None) -> Markup:
    """Return an element; children that are not Markup and all attribute values are escaped.

    `class_` becomes `class`, `stroke_width` becomes `stroke-width`; an attribute that is None is left out.
    """
    said = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _plain(value))
        for key, value in attributes.items()
        if value is not None
    )
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), said, Markup("").join(children))  # noqa: S704


def text(said: str, x: float, y: float, class_: str, anchor: str = "start") -> Markup:
    """Return a line of text; its size and colour are the class's business."""
    return element("text", said, x=x, y=y, class_=class_, text_anchor=None if anchor == "start" else anchor)


def text_width(said: str, size: float) -> float:
    """Return about how wide `said` is at a font size: the page has no ruler for text in SVG."""
    return size * sum(
        1.0 if ord(each) > 0x2E80 else 0.34 if each in "il.,:;'|!jtf " else 0.6 for each in said
    )


def fitted(said: str, width: float, size: float, most: int = 1) -> list[str]:
    """Return `said` in at most `most` lines of `width`, cut with an ellipsis where it does not fit.

    Cut between words, or within one where that would leave the line half empty.
    """
    lines: list[str] = [""]
    for word in said.split():
        grown = f"{lines[-1]} {word}".strip()
        if text_width(grown, size) <= width or not lines[-1]:
            lines[-1] = grown
        else:
            lines.append(word)
    kept = lines[:most]
    if len(lines) > most:
        whole = " ".join(lines[most - 1 :])
        kept[-1] = f"{kept[-1]}…" if text_width(kept[-1], size) >= width / 2 else whole
    return [_cut(line, width, size) for line in kept]


def _cut(line: str, width: float, size: float) -> str:
    if text_width(line, size) <= width:
        return line
    while line and text_width(line + "…", size) > width:
        line = line[:-1]
    return line.rstrip("… ") + "…"


def _plain(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear scale from numbers to places on the page."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def around(cls, values: Iterable[float], start: float, end: float) -> Scale:
        """Return a scale that holds zero and all `values`, with some air at both ends."""
        known = [0.0, *values]
        low, high = min(known), max(known)
        if high - low <= 0:
            low, high = low - 1, high + 1
        air = (high - low) * 0.08
        return cls(low - air, high + air, start, end)

    def __call__(self, value: float) -> float:
        """Return where `value` stands."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def holds(self, value: float) -> bool:
        """Return whether `value` is on the scale."""
        return self.low <= value <= self.high

    def ticks(self, about: int = 5) -> tuple[list[float], float]:
        """Return round numbers on the scale, zero among them, and the step between them."""
        rough = (self.high - self.low) / about
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(each * power for each in (1, 2, 2.5, 5, 10) if each * power >= rough * 0.999)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [place * step for place in range(first, last + 1)], step


ICONS = {
    "pass": '<circle cx="8" cy="8" r="7" class="shape"/><path d="M4.6 8.3l2.3 2.3 4.5-4.9" class="sign"/>',
    "warn": '<path d="M8 1.2 15.2 14.4H.8Z" class="shape"/><path d="M8 6v4.2M8 11.9v.9" class="sign"/>',
    "fail": '<path d="M5 1h6l4 4v6l-4 4H5l-4-4V5Z" class="shape"/><path d="M5.3 5.3l5.4 5.4M10.7 5.3l-5.4 5.4" class="sign"/>',
    "skip": '<circle cx="8" cy="8" r="6.3" class="ring"/><path d="M5 8h6" class="line"/>',
    "incremental": '<circle cx="8" cy="8" r="7" class="shape"/><path d="M8 12V4.4M4.7 7.4 8 4.1l3.3 3.3" class="sign"/>',
    "no_harm": '<path d="M8 .8 14.4 3v4.6c0 3.6-2.6 6.1-6.4 7.7-3.8-1.6-6.4-4.1-6.4-7.7V3Z" class="shape"/><path d="M5 8l2.2 2.2L11.2 6" class="sign"/>',
    "inconclusive": '<rect x="1" y="1" width="14" height="14" rx="3" class="shape"/><path d="M3.8 9.2C5 6 7 6.3 8 8s3 2 4.2-1.2" class="sign"/>',
    "harm": '<path d="M5 1h6l4 4v6l-4 4H5l-4-4V5Z" class="shape"/><path d="M8 4v7.6M4.7 8.6 8 11.9l3.3-3.3" class="sign"/>',
    "not_readable": '<circle cx="8" cy="8" r="6.4" class="ring"/><path d="M3.6 3.6l8.8 8.8" class="line"/>',
    "provisional": '<path d="M2.6 1.2h10.8v1.6L9.4 8l4 5.2v1.6H2.6v-1.6L6.6 8l-4-5.2Z" class="shape"/><path d="M6 12.6h4" class="sign"/>',
}
"""Each of its own outline, so that they differ without colour; drawn on 16 by 16."""


def icon(name: str) -> Markup:
    """Return a small picture that stands beside words and says nothing that they do not."""
    drawn = Markup(ICONS.get(name, ICONS["skip"]))  # noqa: S704
    return element(
        "svg",
        drawn,
        viewBox="0 0 16 16",
        class_=f"icon icon-{name if name in ICONS else 'skip'}",
        aria_hidden="true",
        focusable="false",
    )
