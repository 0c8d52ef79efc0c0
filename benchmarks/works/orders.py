"""From raw order events to lifts: one look, and sixteen."""

from __future__ import annotations

import json
from datetime import timedelta

from benchmarks.data import ENROL_DAYS, OUTCOME_DAYS, START, prepare
from benchmarks.processes import PYTHON, Command, Timing, side_by_side
from benchmarks.works.answers import agreement
from benchmarks.works.one_file import measure_command
from benchmarks.works.section import Section, Setting, compare

__all__ = ["AS_OF", "SPEC", "fifty_million", "looks"]

AS_OF = str(START + timedelta(days=OUTCOME_DAYS - 1))
WEEKS = OUTCOME_DAYS // 7
SPEC = f"""\
key: fifty-million
start: {START}
end: {START + timedelta(days=ENROL_DAYS)}
cohort: {{source: files, path: assignments.parquet, entry: rolling}}
arms: {{holdout: 0.10, treatment: 0.90}}
control: holdout
assignment: {{source: files}}
events: {{source: files}}
metrics:
  - {{name: purchase_rate, kind: conversion, event: Order Completed, window: 14d, role: primary}}
  - {{name: revenue, kind: mean, event: Order Completed, value: amount, window: 14d, covariates: [{{lookback: 60d}}]}}
  - {{name: orders, kind: mean, event: Order Completed}}
analysis: {{looks: LOOKS}}
"""


def fifty_million(setting: Setting) -> Section:
    """Join, windows, repeated orders, refunds, look-back covariate, lifts: against the floor."""
    rows = setting.rows(50_000_000)
    folder = prepare("orders", rows, tick=setting.tick)
    timings = side_by_side(
        {
            "floor": Command([PYTHON, "-m", "benchmarks.floors.fifty_million", str(folder), AS_OF, "sorted"]),
            "SQL alone": Command(
                [PYTHON, "-m", "benchmarks.floors.fifty_million", str(folder), AS_OF, "sql"]
            ),
            "lift": measure_command(folder, SPEC.replace("LOOKS", "fixed"), as_of=AS_OF),
        },
        repeats=setting.repeats,
        tick=setting.tick,
    )
    lift = timings["lift"]
    return Section(
        f"{rows:,} order events, {rows // 5:,} customers",
        "`lift measure` from raw events and rolling assignments: joined to the ledger, 14-day windows, 0.5 % repeated "
        "orders counted once, refunds, revenue adjusted by the 60 days before, orders per customer. The floor is a "
        "hand-written DuckDB script for the same lifts; it looks for repeated order ids by sorting hashes, and "
        "reports none of the other checks.",
        (
            compare("`lift measure`", lift, "floor", timings["floor"], asked=1.3, asked_peak=2048),
            compare("`lift measure`", lift, "floor in SQL alone", timings["SQL alone"]),
        ),
        (agreement(lift.out, timings["floor"].out),),
    )


def looks(setting: Setting) -> Section:
    """Sixteen weekly looks against one, on the same events."""
    rows = setting.rows(50_000_000)
    folder = prepare("orders", rows, tick=setting.tick)
    timings = side_by_side(
        {
            name: measure_command(folder, SPEC.replace("LOOKS", name), as_of=AS_OF, name=f"{name}.yml")
            for name in ("fixed", "weekly")
        },
        repeats=setting.repeats,
        tick=setting.tick,
    )
    weeks = _weeks_in_curve(timings["weekly"])
    line = compare("`looks: weekly`", timings["weekly"], "`looks: fixed`", timings["fixed"], asked=3)
    about = (
        f"`lift measure` at the end of {WEEKS} weeks with `looks: weekly` (the cumulative curve, every week with its "
        f"interval) against `looks: fixed`, on the {rows:,} events above."
    )
    title = f"{WEEKS} weekly looks"
    if weeks < WEEKS - 1:
        return Section(
            title,
            about,
            (),
            (),
            f"not there yet: the JSON's `curve` has {weeks} of {WEEKS} weeks for the primary metric",
        )
    return Section(title, about, (line,), (f"The JSON's `curve` has {weeks} weeks for the primary metric.",))


def _weeks_in_curve(timing: Timing) -> int:
    """Return how many looks the curve holds for the primary metric."""
    curve = json.loads(timing.out).get("curve") or []
    return sum(1 for point in curve if point.get("metric") == "purchase_rate")
