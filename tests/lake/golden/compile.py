"""The SQL of whole measurements, as BigQuery and Snowflake would be asked: `python -m tests.lake.golden.compile`.

The measurements run for real, on DuckDB, but with the questions that a warehouse is asked; every question is
written down in the other dialects on its way.
"""

from __future__ import annotations

import json
import random
import re
import tempfile
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pandas as pd

from tests.example import OnFiles
from toolkit.lake.engine import Engine, Stored, parquet, quoted, text
from toolkit.lake.engines.translate import bucket_digits, translate
from toolkit.lake.engines.warehouse import LINE, Warehouse
from toolkit.lake.exposed import exposed_sums
from toolkit.lake.outcomes import gather
from toolkit.lake.readings import read
from toolkit.lake.tables import Lake
from toolkit.lake.treated import mixing_of
from toolkit.steps.looks import take_looks
from toolkit.steps.workspace import Spec

HERE = Path(__file__).parent
DIALECTS = ("bigquery", "snowflake")
AT = datetime(2026, 1, 1, tzinfo=UTC)
EVERYTHING = """\
key: everything
start: 2026-01-01
end: 2026-02-01
cohort: {source: customerio, segment: 7, entry: rolling}
arms: {holdout: 0.5, "free shipping": 0.25, it's ten off: 0.25}
control: holdout
events: {source: customerio, order: {amount: total}, refund: {name: Order Refunded}}
metrics:
  - {name: purchase_rate, kind: conversion, event: Order Completed, window: 14d, role: primary, covariates: [{lookback: 30d}]}
  - {name: revenue, kind: mean, event: Order Completed, value: amount, window: 14d, cap: 0.95, covariates: [{lookback: 30d}, ltv]}
  - {name: aov, kind: ratio, numerator: {event: Order Completed, value: amount}, denominator: {event: Order Completed}, covariates: [{lookback: 60d}]}
  - {name: points, kind: mean, event: Visited, value: points, covariates: [ltv, "age/years"]}
  - {name: left, kind: conversion, event: "Unsub'd", role: guardrail, harm: increase, margin: 0.2}
analysis: {looks: weekly, breakdowns: [tier, "market (€)"]}
"""
OUTCOMES = """\
key: outcomes
start: 2026-01-01
end: 2026-02-01
cohort: {source: files}
arms: {holdout: 0.5, treatment: 0.5}
control: holdout
assignment: {source: files}
outcomes: {source: files}
metrics:
  - {name: bought, kind: conversion, column: spend, role: primary, covariates: [age]}
  - {name: spend, kind: mean, column: spend, cap: 0.95, covariates: [age]}
analysis: {breakdowns: [tier]}
"""
BUCKETS = {
    ("61", "c-000001"): "83e1d1a51475af5",
    ("cart-free-shipping", "42"): "84a072c49f60cf4",
    ("always-on-2026h2", "käthe"): "93525d503d2ef32",
}
LONG = re.compile(r"(?<![\w.])\d+\.?\d{5,}e[+-]?\d+")
NUMBER = re.compile(r"-?\d+(\.\d+)?e[+-]?\d+")
VALUES = re.compile(r"\(VALUES .*?\) AS v")
"""Numbers that come from the data: their last digits are not the same everywhere, and say nothing of the query."""


def everything(folder: Path) -> tuple[Path, Lake]:
    """Write an experiment that uses all there is into a lake; return its file and the lake."""
    path, lake = folder / "experiment.yml", Lake(str(folder / "lake"))
    path.write_text(EVERYTHING)
    ids = [f"c{n}" for n in range(900)]
    draw = random.Random(7)
    arms = ["holdout", "holdout", "free shipping", "it's ten off"]
    assigned = [
        {
            "experiment": "everything",
            "id": each,
            "arm": draw.choice(arms),
            "assigned_at": AT + timedelta(hours=n % 50),
        }
        for n, each in enumerate(ids)
    ]
    again = [row | {"assigned_at": AT + timedelta(days=9)} for row in assigned[:5]]
    other = [row | {"experiment": "another"} for row in assigned[:50]]
    lake.append_rows("assignments", [*assigned, *again, *other])
    lake.append_rows(
        "people",
        [
            {
                "experiment": "everything",
                "id": each,
                "recorded_at": AT + timedelta(hours=hour),
                "attributes": None if n % 17 == 3 else json.dumps(_attributes(n, hour)),
            }
            for n, each in enumerate(ids)
            for hour in range(1 + n % 2)
        ],
    )
    lake.append_rows("events", [*_orders(ids), *_others(ids)])
    lake.append_rows(
        "exposures",
        [
            {"experiment": "everything", "id": each, "timestamp": AT + timedelta(days=3), "kind": "flag"}
            for each in ids[::40]
        ],
    )
    return path, lake


def _attributes(n: int, hour: int) -> dict[str, object]:
    return {
        "ltv": (n * 37 + hour) % 100 + 0.5,
        "age/years": str(20 + n % 50),
        "tier": "gold" if n % 3 else "steel",
        "market (€)": [None, "DE", "FR"][n % 3],
    }


def _orders(ids: list[str]) -> list[dict[str, object]]:
    rows = []
    for n, each in enumerate(ids):
        for k in range(n % 4):
            row = {
                "event_id": f"e{n}-{k}",
                "id": each,
                "name": "Order Completed",
                "timestamp": AT + timedelta(days=-20 + 12 * k + n % 11, minutes=n),
                "amount": None if (n, k) == (11, 2) else f"{10 + n * 13 % 90}.25",
                "currency": "usd" if n % 2 else "USD",
                "order_id": f"o{n}-{k}",
                "source": "customerio:id",
            }
            rows.append(row)
            if n % 29 == 3:
                rows += [row, row | {"event_id": f"again{n}-{k}"}]
            if n % 13 == 5:
                refund = {
                    "event_id": f"r{n}-{k}",
                    "name": "Order Refunded",
                    "timestamp": row["timestamp"] + timedelta(days=2 + k),
                    "amount": "4.75" if k else row["amount"],
                    "order_id": None if n % 26 == 5 and k == 2 else row["order_id"],
                }
                rows.append(row | refund)
    rows.append(rows[0] | {"event_id": "elsewhere", "source": "files:another"})
    return [row | {"amount": _decimal(row["amount"])} for row in rows]


def _decimal(said: object) -> Decimal | None:
    return None if said is None else Decimal(str(said))


def _others(ids: list[str]) -> list[dict[str, object]]:
    visits = [
        {
            "event_id": f"v{n}-{k}",
            "id": each,
            "name": "Visited",
            "timestamp": AT + timedelta(days=1 + 5 * k, minutes=n),
            "properties": json.dumps({"points": [3, "4.5", "many", None][(n + k) % 4]}),
            "source": "customerio:id" if n % 2 else None,
        }
        for n, each in enumerate(ids)
        for k in range(n % 3)
    ]
    left = [
        {"event_id": f"u{n}", "id": each, "name": "Unsub'd", "timestamp": AT + timedelta(days=20, minutes=n)}
        for n, each in enumerate(ids)
        if n % 9 == 4
    ]
    late = {"event_id": "late", "id": "stranger", "name": "Visited", "timestamp": AT + timedelta(days=31)}
    return [*visits, *left, late]


def outcomes(folder: Path) -> tuple[Path, Lake]:
    """Write an experiment on ready outcomes; return its file and an empty lake."""
    case = OnFiles(folder, OUTCOMES)
    case.events = None
    spend = [float(n % 23) if n % 3 else 0.0 for n in range(70)]
    pd.DataFrame({"id": case.people["id"][:70], "spend": spend}).to_parquet(folder / "outcomes.parquet")
    return case.write(), Lake(str(folder / "lake"))


class Rehearsal(Warehouse):
    """A warehouse that is DuckDB underneath, and writes down what others would be asked."""

    dialect = "rehearsal"

    def __init__(self) -> None:
        super().__init__()
        self.inner = Engine()
        self.asked: dict[str, dict[str, None]] = {dialect: {} for dialect in DIALECTS}

    def close(self):
        self.inner.__exit__(None, None, None)

    def translated(self, sql):
        return translate(sql, "duckdb", name_files=self._name_files)

    def bring(self, name, files, *, csv, hive):
        assert not csv
        source = parquet(files)
        self.inner.table(name, f"SELECT *, row_number() OVER () AS {LINE} FROM {source}")
        return self.inner.columns(source)

    def stored(self, lake, table, **partition):
        files = lake.files(table)
        if not files:
            return None
        self.inner.view(table, f"SELECT * FROM {parquet(files)}")
        return Stored(table, table, None)

    def describe(self, relation):
        return self.inner.columns(relation)

    def run(self, sql):
        self.note(sql)
        self.inner.run(self.translated(sql))

    def rows(self, sql):
        self.note(sql)
        return self.inner.rows(self.translated(sql))

    def view(self, name, sql):
        self.note(sql, "VIEW", name)
        self.inner.view(name, self.translated(sql))

    def table(self, name, sql):
        self.note(sql, "TABLE", name)
        self.inner.table(name, self.translated(sql))

    def note(self, sql, kind=None, name=None):
        short = VALUES.sub(lambda found: NUMBER.sub("0.5e0", found[0]), LONG.sub("0.5e0", sql))
        for dialect, asked in self.asked.items():
            said = translate(short, dialect, name_files=self._name_files, pretty=True)
            if kind:
                temporary = (
                    "" if dialect == "bigquery" else "TEMPORARY "
                )  # there no view may be on a temporary table
                own = f"`{name}`" if dialect == "bigquery" else quoted(name)
                said = f"CREATE OR REPLACE {temporary}{kind} {own} AS\n{said}"
            asked[said] = None


def rehearse(path: Path, lake: Lake, as_of: date) -> dict[str, list[str]]:
    """Return dialect → the statements of a measurement."""
    experiment = Spec.read(path).experiment
    with Rehearsal() as con:
        evidence = gather(con, lake, experiment, str(path), as_of_end=experiment.end_of(as_of))
        readings = read(con, experiment, evidence)
        mixing_of(con, lake, experiment, as_of_end=experiment.end_of(as_of))
        exposed_sums(con, lake, experiment, evidence, readings.caps, as_of_end=experiment.end_of(as_of))
        take_looks(con, experiment, evidence, readings, as_of)
        return {dialect: list(asked) for dialect, asked in con.asked.items()}


def compiled() -> dict[str, str]:
    """Return dialect → the text of its golden file."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
        parts = {
            "A measurement with everything, on the contract's tables": rehearse(
                *everything(Path(folder)), date(2026, 1, 31)
            ),
            "A measurement of outcomes, on files that were loaded": rehearse(
                *outcomes(Path(other)), date(2026, 1, 31)
            ),
        }
    out = {}
    for dialect in DIALECTS:
        said = ["-- Generated by `python -m tests.lake.golden.compile`. Do not edit by hand.\n"]
        for title, statements in parts.items():
            said.append(f"-- {title}\n")
            said += [f"{each};\n" for each in statements[dialect]]
        said.append("-- The bucket: these give what stands above them\n")
        said += [
            f"-- {digits}\nSELECT\n  {bucket_digits(prefix, text(identifier), dialect)};\n"
            for (prefix, identifier), digits in BUCKETS.items()
        ]
        out[dialect] = "\n".join(said)
    return out


if __name__ == "__main__":
    for dialect, said in compiled().items():
        (HERE / f"{dialect}.sql").write_text(said)
