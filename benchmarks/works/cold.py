"""A small experiment, from nothing: what an analyst waits for at the first command."""

from __future__ import annotations

from benchmarks.data import prepare
from benchmarks.processes import PYTHON, Command, side_by_side
from benchmarks.works.one_file import measure_command
from benchmarks.works.section import Section, Setting, compare

__all__ = ["cold"]

CUSTOMERS = 80
SPEC = """\
key: on-files
start: 2026-01-01
end: 2026-02-01
cohort: {source: files, entry: rolling}
arms: {holdout: 0.5, treatment: 0.5}
control: holdout
assignment: {source: files}
events: {source: files}
metrics:
  - {name: purchase_rate, kind: conversion, event: Order Completed, role: primary}
  - {name: revenue, kind: mean, event: Order Completed, value: amount}
"""


def cold(setting: Setting) -> Section:
    """`lift measure` on eighty customers, against importing DuckDB and importing tea-tasting."""
    folder = prepare("small", CUSTOMERS, tick=setting.tick)
    timings = side_by_side(
        {
            "duckdb": Command([PYTHON, "-c", "import duckdb"]),
            "lift": measure_command(folder, SPEC, as_of="2026-01-21"),
            "tea-tasting": Command([PYTHON, "-c", "import tea_tasting"]),
        },
        repeats=setting.repeats,
        tick=setting.tick,
    )
    return Section(
        "A small experiment, cold",
        f"`lift measure` on {CUSTOMERS} customers in files, start to end, against the import of DuckDB alone.",
        (
            compare(
                "`lift measure`", timings["lift"], '`python -c "import duckdb"`', timings["duckdb"], asked=4
            ),
            compare(
                "`lift measure`",
                timings["lift"],
                '`python -c "import tea_tasting"`',
                timings["tea-tasting"],
                faster=True,
            ),
        ),
    )
