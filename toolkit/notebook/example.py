"""An experiment on files to begin with: small, the same everywhere, and to be overwritten with one's own rows."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from toolkit.notebook.picture import written

__all__ = ["start_with_files"]

SPEC = """\
key: start-here
name: A voucher for the second order
hypothesis: A voucher brings first-time buyers back within four weeks.
start: 2026-09-07
end: 2026-10-05
cohort: {source: files, path: people.csv}
arms: {holdout: 0.3, voucher: 0.7}
control: holdout
assignment: {source: files, path: assignments.csv}     # whoever assigned them: id, arm, assigned_at
events: {source: files, path: events.csv}              # id, name, timestamp; amount, currency, order_id of orders
metrics:
  - {name: purchase_rate, kind: conversion, event: Order Completed, window: 28d, role: primary}
  - {name: revenue, kind: mean, event: Order Completed, value: amount, window: 28d, covariates: [ltv_90d]}
  - {name: unsubscribe_rate, kind: conversion, event: Unsubscribed, window: 28d, role: guardrail, harm: increase, margin: 0.01}
analysis: {looks: fixed, breakdowns: [tier]}
value: {currency: USD, margin: 0.5, offer_cost: 2.0}
"""
CUSTOMERS = 4_000
BEGIN = datetime(2026, 9, 7, 8, tzinfo=UTC)
BASE, LIFT, LEAVE = 0.10, 0.04, 0.01
"""Of 100 customers without the voucher 10 buy, with it 14; 1 leaves."""


def start_with_files(folder: str | Path) -> Path:
    """Write an experiment file and its three CSV files into `folder`, and return the experiment file's path.

    Files that are there already stay as they are, so that one's own rows are never overwritten. The customers are
    made up, by a hash of their number: the voucher truly adds 4 buyers among 100.

    Raises:
        StorageError: the folder cannot be written.
    """
    home = Path(folder)
    people, assignments, events = _drawn()
    files = {
        "people.csv": _csv(("id", "tier", "ltv_90d"), people),
        "assignments.csv": _csv(("id", "arm", "assigned_at"), assignments),
        "events.csv": _csv(("id", "name", "timestamp", "amount", "currency", "order_id"), events),
        "experiment.yml": SPEC,
    }
    for name, content in files.items():
        if not (home / name).exists():
            written(home / name, content)
    return home / "experiment.yml"


def _drawn() -> tuple[list[tuple[object, ...]], list[tuple[object, ...]], list[tuple[object, ...]]]:
    people: list[tuple[object, ...]] = []
    assignments: list[tuple[object, ...]] = []
    events: list[tuple[object, ...]] = []
    for number in range(CUSTOMERS):
        customer = f"c{number:04d}"
        treated = _share(customer, "arm") >= 0.3
        at = BEGIN + timedelta(hours=int(27 * 24 * _share(customer, "when")))
        worth = _share(customer, "worth")
        people.append((customer, "gold" if worth > 0.7 else "silver", round(150 * worth**3, 2)))
        assignments.append((customer, "voucher" if treated else "holdout", at.isoformat()))
        if _share(customer, "buys") < (BASE + LIFT * treated) * (0.5 + worth):
            day = at + timedelta(hours=1 + int(670 * _share(customer, "hour")))
            amount = round(15 + 60 * worth + 20 * _share(customer, "amount"), 2)
            events.append((customer, "Order Completed", day.isoformat(), amount, "USD", f"o{number:04d}"))
        if _share(customer, "leaves") < LEAVE:
            events.append((customer, "Unsubscribed", (at + timedelta(days=2)).isoformat(), "", "", ""))
    return people, assignments, events


def _share(customer: str, what: str) -> float:
    """Return a number from 0 to 1 that belongs to this customer and question for ever."""
    return int(hashlib.sha256(f"{what}.{customer}".encode()).hexdigest()[:13], 16) / 16**13


def _csv(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()
