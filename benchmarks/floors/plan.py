"""Two lists of members and their difference: `python -m benchmarks.floors.plan ROWS SHARE HOW`.

HOW is `floor` (the differences of two sets) or `plan` (the toolkit's plan with reasons and batches).
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass

from toolkit.design.batches import batches_of
from toolkit.design.parse import parse_experiment
from toolkit.design.reasons import Facts, Record, reasons_of
from toolkit.design.sync import plan_sync

SPEC = """\
key: plan
start: 2026-01-01
end: 2026-12-31
cohort: {source: files}
arms: {holdout: 0.1, treatment: 0.9}
control: holdout
traits:
  - {name: offer, type: boolean, arms: [treatment]}
events: {source: files}
metrics:
  - {name: purchase_rate, kind: conversion, event: Order Completed, role: primary}
"""
SEGMENT = "lift-offer"


@dataclass(frozen=True)
class Found:
    """How much changes, and how long it took to say so."""

    add: int
    remove: int
    unchanged: int
    seconds: float


def answer(rows: int, share: float, how: str) -> Found:
    """Return what changes among `rows` members, `share` of whom are added and removed."""
    moved = round(rows * share / 2)
    desired = frozenset(f"customer-{number:09}" for number in range(rows))
    actual = frozenset(f"customer-{number:09}" for number in range(moved, rows + moved))
    if how == "floor":
        began = time.perf_counter()
        add, remove = desired - actual, actual - desired
        return Found(len(add), len(remove), rows - len(add), time.perf_counter() - began)
    experiment = parse_experiment(SPEC, "plan.yml")
    arms = dict.fromkeys(desired, "treatment")
    wanted, there = {SEGMENT: desired}, {SEGMENT: actual}
    began = time.perf_counter()
    sync = plan_sync(experiment, wanted, there)
    reasons_of(sync, Facts(experiment, arms, wanted, there, {SEGMENT: Record(members=actual)}))
    batches_of(sync, size=1500)
    seconds = time.perf_counter() - began
    (change,) = sync.changes
    return Found(len(change.add), len(change.remove), change.unchanged, seconds)


if __name__ == "__main__":
    print(json.dumps(asdict(answer(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]))))
