"""Sliders without a server: every answer is worked out beforehand, and a slider only chooses which one is shown.

The page holds texts and drawings, no arithmetic: what stands there was said by the same functions as everywhere else.
Where scripts may not run (a notebook that is not trusted yet), the planned answer stands there, and a table of others.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from markupsafe import Markup

from toolkit.notebook.panel import Grid, framed
from toolkit.notebook.picture import TEMPLATE, Picture
from toolkit.readout.svg import element

__all__ = ["Answer", "Explorer", "Slider"]


@dataclass(frozen=True, slots=True)
class Slider:
    """What can be chosen, in words; `at` is the place of what is planned."""

    name: str
    stops: tuple[str, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A text for every choice of the sliders that it depends on (their places), the last one moving fastest."""

    on: tuple[int, ...]
    said: tuple[str, ...]

    def at(self, places: Sequence[int], lengths: Sequence[int]) -> str:
        """Return the text for the chosen `places` of all sliders, which have `lengths` stops."""
        where = 0
        for slider in self.on:
            where = where * lengths[slider] + places[slider]
        return self.said[where]


@dataclass(frozen=True, slots=True, repr=False)
class Explorer:
    """Sliders over answers.

    Attributes:
        rows: name, and an answer for each column.
        sentences: further answers, each a paragraph.
        pictures: an SVG for every choice of `pictured` (places of sliders); empty where there is none.
        marks: what stands in the drawings for the places that sliders move: token, and what it is at each choice.
        told: what the picture shows, in words that hold at any choice.
    """

    title: str
    said: str
    sliders: tuple[Slider, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Answer, ...]], ...]
    sentences: tuple[Answer, ...] = ()
    pictures: tuple[str, ...] = ()
    pictured: tuple[int, ...] = ()
    marks: tuple[tuple[str, Answer], ...] = ()
    told: str = ""
    name: str = "explorer"

    def at(self, **chosen: str) -> Explorer:
        """Return the explorer as it opens with other stops, named by slider and stop in words."""
        moved = tuple(
            replace(each, at=each.stops.index(chosen[each.name])) if each.name in chosen else each
            for each in self.sliders
        )
        return replace(self, sliders=moved)

    @property
    def grid(self) -> Grid:
        """Return the answers at what is chosen."""
        return self._grid([each.at for each in self.sliders], ", ".join(self._chosen))

    @property
    def picture(self) -> Picture | None:
        """Return the drawing at what is chosen."""
        if not self.pictures:
            return None
        places = [each.at for each in self.sliders]
        shown = Answer(self.pictured, self.pictures).at(places, self._lengths)
        for token, answer in self.marks:
            shown = shown.replace(token, answer.at(places, self._lengths))
        return Picture(shown, self.told, self.name)

    @property
    def others(self) -> Grid:
        """Return a table of all stops of the first slider, the others as they are."""
        first, *rest = self.sliders
        rows = []
        for place, stop in enumerate(first.stops):
            shown = self._grid([place, *(each.at for each in rest)], "")
            rows += [(stop, *row) for row in shown.rows]
        return Grid(f"By {first.name}", (first.name, "", *self.columns), tuple(rows))

    def __repr__(self) -> str:
        return "\n".join([self.title, self.said, self.grid.text, *self._sentences])

    def _repr_html_(self) -> str:
        data = {
            "sliders": [asdict(each) for each in self.sliders],
            "cells": [asdict(cell) for _, cells in self.rows for cell in cells],
            "sentences": [asdict(each) for each in self.sentences],
            "picture": asdict(Answer(self.pictured, self.pictures)),
            "marks": [{"token": token} | asdict(answer) for token, answer in self.marks],
        }
        held = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
        script = (TEMPLATE / "explorer.js").read_text(encoding="utf-8")
        picture = self.picture
        parts = [
            element("div", class_="sliders"),
            element(
                "div",
                element("div", self.grid.html, class_="wide"),
                *(element("p", each, class_="sentence") for each in self._sentences),
                class_="answers",
                aria_live="polite",
            ),
            picture.figure if picture else Markup(""),
            element(
                "details",
                element("summary", f"All of it by {self.sliders[0].name}, as a table"),
                element("div", self.others.html, class_="wide"),
            ),
            element("script", Markup(held), type="application/json"),  # noqa: S704 (JSON without a tag's beginning)
            element("script", Markup(script)),  # noqa: S704 (our own script)
        ]
        return str(framed(self.title, self.said, parts))

    @property
    def _chosen(self) -> list[str]:
        return [f"{each.name}: {each.stops[each.at]}" for each in self.sliders]

    @property
    def _lengths(self) -> list[int]:
        return [len(each.stops) for each in self.sliders]

    @property
    def _sentences(self) -> list[str]:
        places = [each.at for each in self.sliders]
        return [each.at(places, self._lengths) for each in self.sentences]

    def _grid(self, places: Sequence[int], caption: str) -> Grid:
        rows = tuple((name, *(cell.at(places, self._lengths) for cell in cells)) for name, cells in self.rows)
        return Grid(caption, ("", *self.columns), rows)
