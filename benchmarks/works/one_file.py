"""Ten million customers in one Parquet file."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from benchmarks.data import ENROL_DAYS, START, prepare
from benchmarks.processes import LIFT, PYTHON, Command, side_by_side
from benchmarks.works.answers import agreement
from benchmarks.works.section import Section, Setting, compare

__all__ = ["ten_million"]

ENROLMENT_ENDS = START + timedelta(days=ENROL_DAYS)
SPEC = f"""\
key: ten-million
start: {START}
end: {ENROLMENT_ENDS}
arms: {{holdout: 0.10, treatment: 0.90}}
control: holdout
assignment: {{source: files, path: customers.parquet}}
outcomes: {{source: files, path: customers.parquet}}
metrics:
  - {{name: conversion, kind: conversion, column: converted, role: primary}}
  - {{name: revenue, kind: mean, column: revenue, covariates: [history]}}
  - {{name: visits, kind: mean, column: visits, covariates: [history]}}
  - {{name: orders, kind: mean, column: orders}}
  - {{name: revenue_per_session, kind: ratio, numerator: {{column: revenue}}, denominator: {{column: sessions}}}}
"""
FLOORS = {"one scan": "one-scan", "SQL alone": "same-answer", "hashes sorted": "same-answer-sorted"}


def ten_million(setting: Setting) -> Section:
    """Five metrics, two of them adjusted, and the checks, against the floor and tea-tasting."""
    rows = setting.rows(10_000_000)
    folder = prepare("customers", rows, tick=setting.tick)
    path = folder / "customers.parquet"
    ours = measure_command(folder, SPEC, as_of=str(ENROLMENT_ENDS))
    timings = side_by_side(
        {
            **{
                name: Command([PYTHON, "-m", "benchmarks.floors.ten_million", str(path), how])
                for name, how in FLOORS.items()
            },
            "lift": ours,
            "tea-tasting": Command([PYTHON, "-m", "benchmarks.rivals.tea", str(path)]),
        },
        repeats=setting.repeats,
        tick=setting.tick,
    )
    best = min(("SQL alone", "hashes sorted"), key=lambda name: timings[name].seconds)
    lift = timings["lift"]
    return Section(
        f"{rows:,} customers in one file",
        "`lift measure` on one Parquet file that is assignments and outcomes at once: a conversion, three means, a "
        "ratio, two of them adjusted by a covariate with HC2, sample ratio, balance, duplicate ids, outliers. The "
        "floor is a hand-written DuckDB script: “the same answer” has HC2 residuals (a second scan), third "
        "moments and the search for duplicate ids; “one scan” has the moments alone, and is not the same answer.",
        (
            compare(
                "`lift measure`",
                lift,
                f"floor, the same answer ({best})",
                timings[best],
                asked=1.6,
                asked_peak=400,
            ),
            *(
                compare("`lift measure`", lift, f"floor, {said}", timings[name])
                for name, said in (
                    ("one scan", "one scan of moments"),
                    ("SQL alone", "the same answer in SQL alone"),
                )
                if name != best
            ),
            compare("`lift measure`", lift, "tea-tasting 1.14", timings["tea-tasting"], asked=3, faster=True),
        ),
        (agreement(lift.out, timings[best].out),),
    )


def measure_command(folder: Path, spec: str, *, as_of: str, name: str = "experiment.yml") -> Command:
    """Return `lift measure` of `spec`, written into `folder`; a check that fails still measures."""
    path = folder / name
    path.write_text(spec, encoding="utf-8")
    return Command(
        [LIFT, "measure", str(path), "--as-of", as_of, "--json", "-"],
        home=folder / "lake",
        may_end_with=(0, 1),
    )
