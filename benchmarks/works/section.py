"""What a work found, as values: lines that compare one time with another, and notes in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.processes import Timing

__all__ = ["Line", "Section", "Setting", "compare"]


@dataclass(frozen=True, slots=True)
class Setting:
    """How to measure: `scale` multiplies rows, `tick` is told what goes on."""

    scale: float
    repeats: int
    tick: Callable[[str], None]

    def rows(self, whole: int) -> int:
        """Return how many rows to take, to the nearest ten thousand and at least that."""
        return max(round(whole * self.scale / 10_000) * 10_000, 10_000)


@dataclass(frozen=True, slots=True)
class Line:
    """One comparison. Seconds are medians, memory is the largest peak, in MiB.

    Attributes:
        what, against: what was timed, and what it is compared with.
        ours, theirs: seconds.
        ratio: ours / theirs, or theirs / ours with `faster`.
        asked: the bound on the ratio; None where nothing is asked.
        cpu, cpu_theirs: processor seconds, which other work on the machine disturbs less.
        peak, peak_theirs, asked_peak: MiB.
    """

    what: str
    against: str
    ours: float
    theirs: float
    ratio: float
    asked: float | None
    faster: bool
    cpu: float
    cpu_theirs: float
    peak: float
    peak_theirs: float
    asked_peak: float | None

    @property
    def met(self) -> bool | None:
        """Return whether everything asked holds; None where nothing is."""
        bounds = []
        if self.asked is not None:
            bounds.append(self.ratio >= self.asked if self.faster else self.ratio <= self.asked)
        if self.asked_peak is not None:
            bounds.append(self.peak <= self.asked_peak)
        return all(bounds) if bounds else None


@dataclass(frozen=True, slots=True)
class Section:
    """A work's results.

    Attributes:
        about: what was done, on what.
        lines: the comparisons.
        notes: whether answers agree, and what else a reader must know.
        failed: what went wrong, if anything did; a section that failed has met nothing.
        points: (rows, seconds, MiB) for a picture.
    """

    title: str
    about: str
    lines: tuple[Line, ...] = ()
    notes: tuple[str, ...] = ()
    failed: str | None = None
    points: tuple[tuple[int, float, float], ...] = field(default=())


def compare(
    what: str,
    ours: Timing,
    against: str,
    theirs: Timing,
    *,
    asked: float | None = None,
    faster: bool = False,
    asked_peak: float | None = None,
) -> Line:
    """Return the line that sets `ours` beside `theirs`."""
    ratio = theirs.seconds / ours.seconds if faster else ours.seconds / theirs.seconds
    return Line(
        what,
        against,
        ours.seconds,
        theirs.seconds,
        ratio,
        asked,
        faster,
        ours.cpu,
        theirs.cpu,
        ours.peak_mib,
        theirs.peak_mib,
        asked_peak,
    )
