"""The experiment file of the documentation, and ways to make variations of it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

EXAMPLE = """\
key: cart-free-shipping
name: Free shipping for high-value cart abandoners
hypothesis: A free-shipping banner that matches the e-mail raises purchases within 14 days.
owners: {retention: ana@example.com, product: ben@example.com, analytics: cy@example.com}
start: 2026-10-05
end: 2026-12-28
timezone: UTC
seed: 61
identity: {key: id, context_kind: user}
cohort:
  source: customerio
  segment: 7
  entry: rolling
  universal_holdout: {key: always-on-2026h2, share: 0.02}
  layer: winback
arms: {holdout: 0.10, free_shipping: 0.90}
control: holdout
assignment: {source: hash}
traits:
  - {name: free_shipping_eligible, type: boolean, arms: [free_shipping], default: false, max_age: 5m, flag: free-shipping-banner, owner: retention}
do_not_offer: {attribute: do_not_offer}
events: {source: customerio, order: {name: Order Completed, id: order_id, amount: total, currency: currency}, refund: {name: Order Refunded, id: order_id, amount: total}}
metrics:
  - {name: purchase_rate, kind: conversion, event: Order Completed, window: 14d, role: primary}
  - {name: revenue, kind: mean, event: Order Completed, value: amount, window: 14d, cap: 0.999, covariates: [{lookback: 60d}, ltv_90d], role: secondary}
  - {name: aov, kind: ratio, numerator: {event: Order Completed, value: amount}, denominator: {event: Order Completed}, role: secondary}
  - {name: unsubscribe_rate, kind: conversion, event: Unsubscribed, role: guardrail, harm: increase, margin: 0.002}
analysis: {alpha: 0.05, looks: weekly, correction: holm, breakdowns: [ltv_tier]}
value: {currency: USD, margin: 0.55, offer_cost: 6.0}
"""

FILES = """\
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


class OnFiles:
    """An experiment of hand-made rows in a folder; every frame can be changed before it is written."""

    def __init__(self, folder: Path, spec: str = FILES) -> None:
        self.folder, self.spec = folder, spec
        at = pd.Timestamp("2026-01-01T00:00:00Z")
        ids = [f"c{n}" for n in range(80)]
        self.people = pd.DataFrame(
            {"id": ids, "age": [20 + n % 40 for n in range(80)], "tier": ["a", "b"] * 40}
        )
        arms = ["holdout" if n % 2 else "treatment" for n in range(80)]
        self.assignments = pd.DataFrame({"id": ids, "arm": arms, "assigned_at": at})
        buyers = ids[::3]
        self.events = pd.DataFrame(
            {
                "event_id": [f"e{n}" for n in range(len(buyers))],
                "id": buyers,
                "name": "Order Completed",
                "timestamp": [at + pd.Timedelta(days=1 + n % 20) for n in range(len(buyers))],
                "amount": [10.0 + n for n in range(len(buyers))],
                "currency": "USD",
                "order_id": [f"o{n}" for n in range(len(buyers))],
            }
        )

    def write(self, *, csv: bool = False) -> Path:
        """Write the folder and return the experiment file's path."""
        for name in ("people", "assignments", "events"):
            frame = getattr(self, name)
            if frame is None:
                continue
            if csv:
                frame.to_csv(self.folder / f"{name}.csv", index=False)
            else:
                frame.to_parquet(self.folder / f"{name}.parquet")
        path = self.folder / "experiment.yml"
        text = self.spec
        if csv:
            text = text.replace("source: files, entry", "source: files, path: people.csv, entry")
            text = text.replace(
                "assignment: {source: files}", "assignment: {source: files, path: assignments.csv}"
            )
            text = text.replace("events: {source: files}", "events: {source: files, path: events.csv}")
        path.write_text(text)
        return path
