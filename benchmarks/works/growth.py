"""How time and memory grow with the number of events."""

from __future__ import annotations

import math

from benchmarks.data import prepare
from benchmarks.processes import side_by_side
from benchmarks.works.one_file import measure_command
from benchmarks.works.orders import AS_OF, SPEC
from benchmarks.works.section import Section, Setting

__all__ = ["ASKED", "growth", "slope_of"]

SIZES = (1_000_000, 3_000_000, 10_000_000, 30_000_000, 100_000_000)
ASKED = 1.1


def growth(setting: Setting) -> Section:
    """`lift measure` on more and more events; customers grow along."""
    commands = {}
    for size in SIZES:
        rows = setting.rows(size)
        folder = prepare("orders", rows, tick=setting.tick)
        commands[f"{rows:,}"] = rows, measure_command(folder, SPEC.replace("LOOKS", "fixed"), as_of=AS_OF)
    timings = side_by_side(
        {name: command for name, (_, command) in commands.items()}, repeats=setting.repeats, tick=setting.tick
    )
    points = tuple(
        (rows, timings[name].seconds, timings[name].peak_mib) for name, (rows, _) in commands.items()
    )
    slope = slope_of([(rows, seconds) for rows, seconds, _ in points])
    last = slope_of([(rows, seconds) for rows, seconds, _ in points[-3:]])
    memory = slope_of([(rows, peak) for rows, _, peak in points[-3:]])
    verdict = "met" if slope <= ASKED else "MISSED"
    return Section(
        "Growth",
        "`lift measure` on 1 to 100 million order events of a fifth as many customers (the experiment above). A "
        "straight line in log-log by least squares.",
        (),
        (
            f"Slope of time over all five sizes: {slope:.2f}; asked: at most {ASKED}; {verdict}.",
            f"Slope over the three largest, where starting up no longer counts: {last:.2f} in time, {memory:.2f} in "
            "memory.",
        ),
        None if slope <= ASKED else f"slope {slope:.2f} is above {ASKED}",
        points,
    )


def slope_of(points: list[tuple[float, float]]) -> float:
    """Return the least-squares slope of log y on log x; NaN where all x are one."""
    xs, ys = ([math.log(point[at]) for point in points] for at in (0, 1))
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((each - x) ** 2 for each in xs)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / spread if spread else math.nan
