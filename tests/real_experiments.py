"""Experiment folders made from the real data beside the checkout, each through `outcomes:` and `events:`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest

SHARED = Path(__file__).parents[2] / "shared" / "data"
needs_real_data = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the real experiments (../shared/data) are not beside this checkout"
)
AT = pd.Timestamp("2008-03-20", tz="UTC")


def reference() -> dict:
    return json.loads((SHARED / "reference_results.json").read_text())


def spec(folder: Path, text: str) -> Path:
    path = folder / "experiment.yml"
    path.write_text(text)
    return path


HEAD = """\
key: {key}
start: {start}
end: {end}
cohort: {{source: files}}
arms: {{holdout: 0.5, treatment: 0.5}}
control: holdout
assignment: {{source: files}}
"""


def hillstrom(folder: Path, through: str, covariates: str = "[history]") -> Path:
    rows = pd.read_parquet(SHARED / "hillstrom_mens.parquet")
    arm = rows["segment"].map({"Mens E-Mail": "treatment", "No E-Mail": "holdout"})
    pd.DataFrame({"id": rows["id"], "arm": arm, "assigned_at": AT}).to_parquet(folder / "assignments.parquet")
    people = rows[["id", "history", "recency", "mens", "womens", "newbie", "channel"]]
    people.to_parquet(folder / "people.parquet")
    head = HEAD.format(key="hillstrom-mens", start="2008-03-20", end="2008-03-21")
    if through == "outcomes":
        rows[["id", "visit", "conversion", "spend"]].to_parquet(folder / "outcomes.parquet")
        body = f"""\
outcomes: {{source: files, path: outcomes.parquet}}
metrics:
  - {{name: visit, kind: conversion, column: visit, role: primary, covariates: {covariates}}}
  - {{name: conversion, kind: conversion, column: conversion, covariates: {covariates}}}
  - {{name: spend, kind: mean, column: spend, covariates: {covariates}}}
"""
        return spec(folder, head + body)
    later = AT + pd.Timedelta(days=3)
    visits = rows[rows["visit"] == 1]
    orders = rows[rows["conversion"] == 1]
    events = pd.concat(
        [
            pd.DataFrame({"id": visits["id"], "name": "Visited", "timestamp": later}),
            pd.DataFrame(
                {
                    "id": orders["id"],
                    "name": "Order Completed",
                    "timestamp": later,
                    "amount": orders["spend"],
                    "currency": "USD",
                    "order_id": "o" + orders["id"].astype(str),
                }
            ),
            pd.DataFrame({"id": ["nobody"], "name": ["Visited"], "timestamp": [AT + pd.Timedelta(days=14)]}),
        ]
    )
    events["event_id"] = [f"e{at}" for at in range(len(events))]
    events["id"] = events["id"].astype(str)
    events.to_parquet(folder / "events.parquet")
    body = f"""\
events: {{source: files}}
metrics:
  - {{name: visit, kind: conversion, event: Visited, window: 14d, role: primary, covariates: {covariates}}}
  - {{name: conversion, kind: conversion, event: Order Completed, window: 14d, covariates: {covariates}}}
  - name: spend
    kind: mean
    event: Order Completed
    value: amount
    window: 14d
    covariates: {covariates}
"""
    return spec(folder, head + body)


def starbucks(folder: Path, covariates: str = "[V2, V3]") -> Path:
    rows = pd.read_parquet(SHARED / "starbucks_promotion_training.parquet")
    arm = rows["Promotion"].map({True: "treatment", False: "holdout"})
    at = pd.Timestamp("2020-01-01", tz="UTC")
    pd.DataFrame({"id": rows["ID"], "arm": arm, "assigned_at": at}).to_parquet(folder / "assignments.parquet")
    rows[["ID", *[f"V{n}" for n in range(1, 8)]]].rename(columns={"ID": "id"}).to_parquet(
        folder / "people.parquet"
    )
    rows.loc[rows["purchase"] == 1, ["ID", "purchase"]].rename(columns={"ID": "id"}).to_parquet(
        folder / "outcomes.parquet"
    )
    head = HEAD.format(key="starbucks", start="2020-01-01", end="2020-02-01")
    body = f"""\
outcomes: {{source: files}}
metrics:
  - {{name: purchase, kind: conversion, column: purchase, role: primary, covariates: {covariates}}}
"""
    return spec(folder, head + body)


def cdnow(folder: Path) -> Path:
    rows = pd.read_parquet(SHARED / "cdnow_purchases.parquet")
    ids = rows["customer_id"].astype(str).str.zfill(5)
    people = pd.DataFrame({"id": sorted(set(ids))})
    odd = people["id"].map(lambda each: int(hashlib.sha256(each.encode()).hexdigest(), 16) % 2)
    people["arm"] = odd.map({1: "treatment", 0: "holdout"})
    people["assigned_at"] = pd.Timestamp("1997-07-01", tz="UTC")
    people.to_parquet(folder / "assignments.parquet")
    day = pd.to_datetime(rows["day"])
    pd.DataFrame(
        {
            "event_id": [f"e{at}" for at in range(len(rows))],
            "id": ids,
            "name": "Order Completed",
            "timestamp": day.dt.tz_localize("UTC") + pd.Timedelta(hours=12),
            "amount": rows["amount"],
            "currency": "USD",
            "order_id": [f"o{at}" for at in range(len(rows))],
        }
    ).to_parquet(folder / "events.parquet")
    head = HEAD.format(key="cdnow-placebo", start="1997-07-01", end="1997-07-02").replace(
        "cohort: {source: files}\n", ""
    )
    body = """\
events: {source: files}
metrics:
  - {name: spend, kind: mean, event: Order Completed, value: amount, role: primary, covariates: [{lookback: 181d}]}
  - {name: buyer, kind: conversion, event: Order Completed}
"""
    return spec(folder, head + body)
