"""Progress of long work in a notebook: one line that moves, and says at the end how long it took."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from IPython.display import display
from markupsafe import Markup

from toolkit.readout.svg import element

__all__ = ["progress"]

PAUSE_SECONDS = 0.1
"""A notebook is not redrawn more often."""


class Bar:
    """A moving line for each kind of work, as steps report it: what, done, of how many."""

    def __init__(self, display: Callable[..., Any], clock: Callable[[], float]) -> None:
        self._display, self._clock = display, clock
        self._lines: dict[str, tuple[Any, float, float]] = {}

    def __call__(self, what: str, done: int, of: int) -> None:
        """Show that `done` of `of` is done; `of` 0 means that nobody knows how much there is."""
        now = self._clock()
        if what not in self._lines:
            shown = Line(what, done, of, 0.0)
            self._lines[what] = self._display(shown, display_id=True), now, now
            return
        handle, began, last = self._lines[what]
        if now - last >= PAUSE_SECONDS or (of and done >= of):
            handle.update(Line(what, done, of, now - began))
            self._lines[what] = handle, began, now


class Line:
    """How far one kind of work is: a bar until it is done; where nobody knows how much there is, the count alone.

    A bar without an end would move on for ever, since nothing says when such work is over.
    """

    def __init__(self, what: str, done: int, of: int, seconds: float) -> None:
        self.what, self.done, self.of, self.seconds = what, done, of, seconds

    def __repr__(self) -> str:
        of = f" of {self.of:,}" if self.of else ""
        return f"{self.what}: {self.done:,}{of}, {self.seconds:.0f} s"

    def _repr_html_(self) -> str:
        if self.done >= self.of:
            return str(Markup("<div>{}</div>").format(repr(self)))
        bar = element("progress", value=float(self.done), max=float(self.of))
        return str(Markup("<div><label>{} {}</label></div>").format(bar, repr(self)))


def progress() -> Bar:
    """Return what a step's `progress=` takes: it draws bars below the cell that runs."""
    return Bar(display, time.monotonic)
