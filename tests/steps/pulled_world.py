"""A lake that pulls filled: orders of 2,000 customers, some of which came late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from toolkit.lake.intake import kept_as
from toolkit.lake.tables import Lake, schema_of
from toolkit.settings import Settings
from toolkit.steps.measure import measure
from toolkit.steps.workspace import Spec, Workspace

START = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = 60
END = START + timedelta(days=DAYS)
AS_OF = (END - timedelta(days=1)).date()
SPEC = """\
key: late
start: 2026-03-01
end: 2026-03-02
cohort: {source: customerio, segment: 7}
arms: {holdout: 0.5, treatment: 0.5}
control: holdout
events: {source: customerio}
metrics:
  - {name: purchase_rate, kind: conversion, event: Order Completed, role: primary}
  - {name: revenue, kind: mean, event: Order Completed, value: amount}
"""


def columns(table, **given):
    rows = len(next(iter(given.values())))
    schema = schema_of(table)
    return pa.table(
        {each.name: pa.array(given.get(each.name, [None] * rows), each.type) for each in schema},
        schema=schema,
    )


def instants(seconds):
    return [START + timedelta(seconds=float(each)) for each in seconds]


class Pulled:
    """Orders of 2,000 customers over 60 days, brought by pulls every so many days; some come to the vendor late."""

    def __init__(self, folder, *, every, late=0.0, spread=4.0, seed=1, spec=SPEC, cut=0.0):
        """`cut` is by how many days what a pull reads, as files do, ends before it."""
        rng = np.random.default_rng(seed)
        self.path = folder / "experiment.yml"
        self.path.write_text(spec)
        self.lake = Lake(str(folder / "lake"))
        source = kept_as(Spec.read(self.path).experiment, str(self.path))
        who = [f"c{n}" for n in range(2000)]
        self.lake.append(
            "assignments",
            columns(
                "assignments",
                experiment=["late"] * 2000,
                id=who,
                arm=["holdout", "treatment"] * 1000,
                assigned_at=[START - timedelta(hours=1)] * 2000,
                prefix=["late"] * 2000,
                shares=['{"holdout": 50000, "treatment": 50000}'] * 2000,
            ),
        )
        happened = np.sort(rng.random(6000)) * DAYS
        lag = np.where(rng.random(6000) < late, rng.exponential(spread, 6000), 0.0)
        pulls = np.arange(every, DAYS + 1e-9, every)
        place = np.searchsorted(pulls - cut, happened + lag)
        self.come = place < len(pulls)
        received = pulls[np.minimum(place, len(pulls) - 1)]
        there = np.flatnonzero(self.come)
        self.lake.append(
            "events",
            columns(
                "events",
                event_id=[f"e{n}" for n in there],
                id=[who[n % 2000] for n in there],
                name=["Order Completed"] * len(there),
                timestamp=instants(happened[there] * 86400),
                amount=pa.array([20] * len(there), pa.decimal128(18, 4)),
                currency=["USD"] * len(there),
                order_id=[f"o{n}" for n in there],
                source=[source] * len(there),
                received_at=instants(received[there] * 86400),
            ),
        )
        self.lake.append(
            "cursors",
            columns(
                "cursors",
                source=[f"{source}:{name}" for name in ("Order Completed", "Order Refunded") for _ in pulls],
                finished=[True] * (2 * len(pulls)),
                complete_through=instants((pulls - cut) * 86400) * 2,
                saved_at=instants(pulls * 86400) * 2,
            ),
        )

    def workspace(self):
        reports = self.path.parent / "reports"
        return Workspace(Settings(lift_home=self.lake.home, lift_reports=reports), self.lake)

    def found(self):
        return measure(self.workspace(), Spec.read(self.path), as_of=AS_OF)
