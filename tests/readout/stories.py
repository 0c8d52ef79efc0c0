"""Experiments that end in each of four ways, measured by the real steps from files of drawn customers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from toolkit.lake.tables import Lake
from toolkit.settings import Settings
from toolkit.steps.readout import keep, record
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["STORIES", "Story", "tell"]

START = datetime(2026, 9, 28, tzinfo=UTC)
SPEC = """\
key: {key}
name: {name}
hypothesis: {hypothesis}
owners: {{retention: ana@example.com, product: ben@example.com, analytics: cy@example.com}}
start: 2026-09-28
end: 2026-11-09
cohort: {{source: files, entry: rolling}}
arms: {{holdout: 0.3, {arm}: 0.7}}
control: holdout
assignment: {{source: files}}
traits:
  - {{name: {arm}_eligible, type: boolean, arms: [{arm}], default: false, max_age: 5m, flag: {key}, owner: retention, meaning: Sees on the site what the e-mail promises.}}
events: {{source: files}}
metrics:
  - {{name: purchase_rate, kind: conversion, event: Order Completed, window: 14d, role: primary}}
  - {{name: revenue, kind: mean, event: Order Completed, value: amount, window: 14d, role: secondary}}
  - {{name: orders_per_customer, kind: mean, event: Order Completed, window: 14d, role: secondary}}
  - {{name: unsubscribe_rate, kind: conversion, event: Unsubscribed, window: 14d, role: guardrail, harm: increase, margin: 0.005}}
analysis: {{alpha: 0.05, looks: weekly, correction: holm, breakdowns: [ltv_tier]}}
value: {{currency: USD, margin: 0.55, offer_cost: 4.0}}
decisions:
  - {{on: 2026-09-21, decision: Run it on every high-value cart for six weeks, by: ana@example.com}}
  - {{on: 2026-10-26, decision: No change; wait for the plan's end}}
"""


@dataclass(frozen=True, slots=True)
class Story:
    """One experiment: its words, the truth that is drawn from, and the day it is read."""

    key: str
    name: str
    hypothesis: str
    arm: str
    base: float
    lift: float
    as_of: date
    weeks_before: int = 0
    lost: float = 0.0
    customers: int = 12_000


STORIES = {
    "win": Story(
        "cart-free-shipping",
        "Free shipping for high-value cart abandoners",
        "A free-shipping banner that matches the e-mail raises purchases within 14 days.",
        "free_shipping",
        base=0.12,
        lift=0.04,
        as_of=date(2026, 11, 23),
        weeks_before=1,
    ),
    "inconclusive": Story(
        "wishlist-reminder",
        "A reminder of the wish list, by e-mail and on the home page",
        "Customers who see their wish list again buy from it within 14 days.",
        "reminder",
        base=0.12,
        lift=0.0,
        as_of=date(2026, 11, 23),
    ),
    "not-readable": Story(
        "second-order-voucher",
        "A voucher for the second order",
        "A voucher brings first-time buyers back within 14 days.",
        "voucher",
        base=0.12,
        lift=0.04,
        as_of=date(2026, 11, 23),
        lost=0.08,
    ),
    "provisional": Story(
        "early-access",
        "Early access to the new collection for loyal customers",
        "Seeing the new collection a week early raises loyal customers' purchases within 14 days.",
        "early_access",
        base=0.12,
        lift=0.012,
        as_of=date(2026, 10, 26),
    ),
}


def tell(story: Story, folder: Path, *, seed: int = 7) -> list[dict]:
    """Draw the story's customers into `folder`, measure it week by week, and return the records, oldest first."""
    folder.mkdir(parents=True, exist_ok=True)
    people, assignments, events = _drawn(story, np.random.default_rng(seed))
    for name, frame in (("people", people), ("assignments", assignments), ("events", events)):
        frame.to_parquet(folder / f"{name}.parquet")
    path = folder / "experiment.yml"
    path.write_text(SPEC.format(key=story.key, name=story.name, hypothesis=story.hypothesis, arm=story.arm))
    home = str(folder / "lake")
    workspace = Workspace(Settings(lift_home=home, lift_reports=folder / "reports"), Lake(home))
    _expose(workspace.lake, story, assignments)
    spec, found = Spec.read(path), []
    for back in range(story.weeks_before, -1, -1):
        found.append(record(workspace, spec, as_of=story.as_of - timedelta(weeks=back)))
        keep(workspace, found[-1])
    return found


def _drawn(story: Story, drawn: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    n = story.customers
    treated = drawn.random(n) >= 0.3
    ids = np.array([f"cust-{at:06d}" for at in range(n)])
    assigned = np.array([START + timedelta(minutes=int(each)) for each in drawn.integers(0, 42 * 1440, n)])
    tier = drawn.choice(["gold", "silver", "bronze"], n, p=[0.15, 0.35, 0.5])
    people = pd.DataFrame({"id": ids, "ltv_tier": tier, "email": [f"{each}@shop.example" for each in ids]})
    assignments = pd.DataFrame(
        {"id": ids, "arm": np.where(treated, story.arm, "holdout"), "assigned_at": assigned}
    )
    buys = drawn.random(n) < story.base + story.lift * treated
    leaves = drawn.random(n) < 0.01
    rows = []
    for at in np.flatnonzero(buys):
        for order in range(1 + int(drawn.random() < 0.15)):
            when = assigned[at] + timedelta(hours=float(drawn.uniform(1, 13 * 24)))
            amount = round(float(drawn.lognormal(4.0, 0.35)), 2)
            rows.append((ids[at], "Order Completed", when, amount, "USD", f"o{at}-{order}"))
    gone = (assigned[at] + timedelta(days=2) for at in np.flatnonzero(leaves))
    rows += [
        (ids[at], "Unsubscribed", when, None, None, None)
        for at, when in zip(np.flatnonzero(leaves), gone, strict=True)
    ]
    events = pd.DataFrame(rows, columns=["id", "name", "timestamp", "amount", "currency", "order_id"])
    events.insert(0, "event_id", [f"e{at}" for at in range(len(events))])
    kept = ~(treated & (drawn.random(n) < story.lost))
    end = pd.Timestamp(story.as_of + timedelta(days=1), tz="UTC")
    known = events["id"].isin(ids[kept]) & (events["timestamp"] < end)
    return people[kept], assignments[kept], events[known]


def _expose(lake: Lake, story: Story, assignments: pd.DataFrame) -> None:
    """Let two of three treated customers see the offer an hour after they were assigned."""
    reached = assignments[(assignments["arm"] == story.arm) & (assignments.index % 3 > 0)]
    rows = [
        {
            "experiment": story.key,
            "id": row.id,
            "timestamp": row.assigned_at + timedelta(hours=1),
            "kind": "flag",
            "value": "true",
        }
        for row in reached.itertuples()
    ]
    lake.append_rows("exposures", rows)
