"""Assigning ten million new customers."""

from __future__ import annotations

import json
import shutil

from benchmarks.data import prepare
from benchmarks.processes import LIFT, PYTHON, Command, run, side_by_side
from benchmarks.works.section import Section, Setting, compare

__all__ = ["assign"]

SPEC = """\
key: assign-ten-million
start: 2020-01-01
end: 2099-12-31
seed: 61
cohort: {source: files}
arms: {holdout: 0.10, treatment: 0.90}
control: holdout
events: {source: files}
metrics:
  - {name: purchase_rate, kind: conversion, event: Order Completed, role: primary}
"""
HASHED = 200_000


def assign(setting: Setting) -> Section:
    """`lift assign` into an empty lake, against the bare SHA-1 query."""
    rows = setting.rows(10_000_000)
    folder = prepare("people", rows, tick=setting.tick)
    path, spec, home = folder / "people.parquet", folder / "experiment.yml", folder / "lake"
    spec.write_text(SPEC, encoding="utf-8")
    timings = side_by_side(
        {
            "floor": Command([PYTHON, "-m", "benchmarks.floors.assign", str(path), "substr"]),
            "whole": Command([PYTHON, "-m", "benchmarks.floors.assign", str(path), "whole"]),
            "lift": Command(
                [LIFT, "assign", str(spec)],
                home=home,
                before=lambda: shutil.rmtree(home, ignore_errors=True),
            ),
        },
        repeats=setting.repeats,
        tick=setting.tick,
    )
    counted = json.loads(timings["floor"].out)
    told = [f"{arm} {customers:,}" for arm, customers in sorted(counted.items())]
    same = all(each in timings["lift"].out for each in told)
    shutil.rmtree(home, ignore_errors=True)
    other = json.loads(run(Command([PYTHON, "-m", "benchmarks.rivals.growthbook", str(HASHED)])).out)
    lift = timings["lift"]
    return Section(
        f"Assigning {rows:,} customers",
        "`lift assign` of new ids from a Parquet file into an empty lake: hashed, screened for repeats and for who was "
        "assigned before, written to the ledger. The floor hashes, compares and counts; it writes nothing.",
        (
            compare("`lift assign`", lift, "bare SHA-1 query", timings["floor"], asked=1.5, asked_peak=1024),
            compare("`lift assign`", lift, "the same, whole digests compared", timings["whole"]),
        ),
        (
            f"The arms have the same sizes ({', '.join(told)})."
            if same
            else "ANSWERS DIFFER: other sizes of arms.",
            f"For scale: GrowthBook's published hash (FNV-1a, version 2) in Python takes {other['microseconds']:.2f} µs "
            f"an id here, `lift assign` {lift.seconds / rows * 1e6:.2f} µs with reading and writing.",
        ),
    )
