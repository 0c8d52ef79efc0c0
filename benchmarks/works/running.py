"""A running experiment: what the fifty-second week costs when fifty-one were measured before."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from functools import partial
from pathlib import Path

from benchmarks.data import START, cache
from benchmarks.processes import LIFT, PYTHON, Command, Timing, run, side_by_side
from benchmarks.weeks import WEEKS, as_of
from benchmarks.works.answers import differences
from benchmarks.works.section import Section, Setting, compare

__all__ = ["week_52"]

EVENTS, CUSTOMERS = 400_000, 1_000_000
EARLY = 2
KINDS = ("fixed", "weekly")
TOLD = ("assignments", "events", "cursors")
"""What a vendor or another program writes; whatever else stands in the lake is the tool's own."""
SPEC = f"""\
key: running-LOOKS
start: {START}
end: {START + timedelta(days=7 * WEEKS)}
cohort: {{source: customerio, segment: 7, entry: rolling}}
arms: {{holdout: 0.10, treatment: 0.90}}
control: holdout
events: {{source: customerio}}
metrics:
  - {{name: purchase_rate, kind: conversion, event: Order Completed, window: 14d, role: primary}}
  - {{name: revenue, kind: mean, event: Order Completed, value: amount, window: 14d, covariates: [{{lookback: 28d}}]}}
  - {{name: orders, kind: mean, event: Order Completed}}
analysis: {{looks: LOOKS}}
"""


def week_52(setting: Setting) -> Section:
    """Live through a year, measuring every week; then time weeks 2 and 52 from where they began."""
    events, customers = setting.rows(EVENTS), setting.rows(CUSTOMERS)
    folder = cache() / f"weeks-{events}"
    shutil.rmtree(folder, ignore_errors=True)
    home = folder / "lake"
    home.mkdir(parents=True)
    specs = {}
    for kind in KINDS:
        specs[kind] = folder / f"{kind}.yml"
        specs[kind].write_text(SPEC.replace("LOOKS", kind), encoding="utf-8")
    keys = [f"running-{kind}" for kind in KINDS]

    def measure(kind: str, week: int, at: Path) -> Command:
        return Command(
            [LIFT, "measure", str(specs[kind]), "--as-of", str(as_of(week)), "--json", "-"],
            home=at,
            may_end_with=(0, 1),
        )

    lived: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for week in range(1, WEEKS + 1):
        setting.tick(f"week {week} of {WEEKS}")
        run(
            Command(
                [PYTHON, "-m", "benchmarks.weeks", str(home), str(week), str(events), str(customers), *keys]
            )
        )
        if week in {EARLY, WEEKS}:
            shutil.copytree(home, folder / f"before-{week}")
        for kind in KINDS:
            lived[kind].append(run(measure(kind, week, home)).seconds)
    timings: dict[tuple[str, int], Timing] = {}
    for kind in KINDS:
        again = folder / "again"
        found = side_by_side(
            {
                f"{kind}, week {week}": _from(measure(kind, week, again), folder / f"before-{week}", again)
                for week in (EARLY, WEEKS)
            },
            repeats=setting.repeats,
            tick=setting.tick,
        )
        timings |= {(kind, week): found[f"{kind}, week {week}"] for week in (EARLY, WEEKS)}
    notes, wrong = [], []
    for kind in KINDS:
        worst, places = _against_fresh(
            folder, measure(kind, WEEKS, folder / "fresh"), timings[kind, WEEKS].out
        )
        curve = len(json.loads(timings[kind, WEEKS].out).get("curve") or [])
        if places:
            wrong.append(f"`looks: {kind}`: {', '.join(places[:4])}")
        else:
            notes.append(
                f"`looks: {kind}`: the JSON of week {WEEKS} equals that of a copy of the lake that was never measured "
                f"before (largest relative difference {worst:.0e}); its `curve` has {curve} points."
            )
        weeks = ", ".join(f"{lived[kind][week - 1]:.2f}" for week in (2, 13, 26, 39, WEEKS))
        notes.append(
            f"`looks: {kind}`: seconds in weeks 2, 13, 26, 39 and {WEEKS} as lived through: {weeks}."
        )
    shutil.rmtree(folder, ignore_errors=True)
    return Section(
        f"Week {WEEKS} of a running experiment",
        f"{events:,} events a week and {customers:,} customers who enrol over the year; `lift measure --as-of` every "
        f"week in turn. Week {WEEKS} and week {EARLY} are timed from the lake as it stood before that week was "
        "measured, with whatever the tool keeps from the weeks before. Late events, refunds and repeated orders of "
        "earlier weeks are in every week's events.",
        tuple(
            compare(
                f"week {WEEKS}, `looks: {kind}`",
                timings[kind, WEEKS],
                f"week {EARLY}",
                timings[kind, EARLY],
                asked=1.5,
            )
            for kind in KINDS
        ),
        tuple(notes),
        f"ANSWERS DIFFER from those of a lake never measured before: {'; '.join(wrong)}" if wrong else None,
    )


def _from(command: Command, kept: Path, at: Path) -> Command:
    """Return `command` in a new copy of the lake `kept`."""
    return Command(command.argv, at, partial(_copy, kept, at), command.may_end_with)


def _copy(kept: Path, at: Path) -> None:
    shutil.rmtree(at, ignore_errors=True)
    shutil.copytree(kept, at)


def _against_fresh(folder: Path, command: Command, printed: str) -> tuple[float, list[str]]:
    """Return how far `printed` is from what `command` says in a lake with nothing but what it was told."""
    fresh = folder / "fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    for table in TOLD:
        shutil.copytree(folder / f"before-{WEEKS}" / table, fresh / table)
    return differences(printed, run(command).out)
