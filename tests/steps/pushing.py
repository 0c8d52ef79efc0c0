"""What tests of the push share: an experiment on files, the team that runs it, and what is to come of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.design.assignment import arm_of, bounds_of, digits, held_out_below
from toolkit.sandbox.launchdarkly import ENVIRONMENT, PROJECT
from toolkit.settings import Settings
from toolkit.steps.assign import assign
from toolkit.steps.push import Pushed, open_launchdarkly, plan_push, push
from toolkit.steps.workspace import Spec, Workspace

KEY = "two-offers"
SITE, TRACK_KEY, TOKEN = "site-123456", "track-key-0123456789", "api-0123456789"
READY, HELD = f"ready_{KEY}", f"holdout_{KEY}"
VENDORS = {
    "CUSTOMERIO_SITE_ID": SITE,
    "CUSTOMERIO_TRACK_API_KEY": TRACK_KEY,
    "CUSTOMERIO_TRACK_URL": "http://customerio.test",
    "LAUNCHDARKLY_ACCESS_TOKEN": TOKEN,
    "LAUNCHDARKLY_PROJECT": PROJECT,
    "LAUNCHDARKLY_ENVIRONMENT": ENVIRONMENT,
    "LAUNCHDARKLY_URL": "http://launchdarkly.test",
}
STARTS_AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
ENROLS_UNTIL = datetime(2026, 3, 25, tzinfo=UTC)
OFFERS_END_AT = ENROLS_UNTIL + timedelta(days=14)
ESCALATES_AFTER = timedelta(days=14)
SPEC = f"""\
key: {KEY}
start: 2026-03-01
end: 2026-03-25
cohort: {{source: files, entry: rolling, universal_holdout: {{key: always-on, share: 0.15}}}}
arms: {{holdout: 0.3, banner: 0.25, escalating: 0.45}}
control: holdout
traits:
  - {{name: free_shipping_eligible, type: boolean, arms: [banner, escalating], flag: free-shipping-banner}}
  - {{name: offer, type: enum, default: none, values: {{escalating: free_shipping}}, flag: home-page-offer,
      escalate: {{arms: [escalating], to: ten_percent, after: 14d}}}}
do_not_offer: {{attribute: do_not_offer}}
events: {{source: files}}
metrics:
  - {{name: purchase_rate, kind: conversion, event: Order Completed, window: 14d, role: primary}}
"""
ARMS = {"holdout": 0.3, "banner": 0.25, "escalating": 0.45}
HOLDOUT, UNIVERSAL = f"lift-{KEY}-holdout", "lift-always-on-holdout"
BANNER, FIRST, SECOND = "lift-free-shipping-eligible", "lift-offer-free-shipping", "lift-offer-ten-percent"
OFFERS = (BANNER, FIRST, SECOND)
SEGMENTS = (HOLDOUT, UNIVERSAL, *OFFERS)
FLAGS: Mapping[str, tuple[Any, Mapping[str, Any]]] = {
    "free-shipping-banner": (False, {BANNER: True}),
    "home-page-offer": ("none", {FIRST: "free_shipping", SECOND: "ten_percent"}),
}
"""Flag → what it serves by default, and what to whom."""


def drawn(customer: str) -> str:
    """Return the arm that a customer's hash gives, "universal" in the universal holdout."""
    if digits("always-on", customer) < held_out_below(0.15):
        return "universal"
    return arm_of(bounds_of(ARMS), KEY, customer)


@cache
def spec_in(folder: Path) -> Spec:
    """Write the experiment file into a folder and return the experiment."""
    path = folder / f"{KEY}.yml"
    path.write_text(SPEC)
    return Spec.read(path)


def cast(**counts: int) -> tuple[str, ...]:
    """Return so many customers of each arm, in order of their ids."""
    everyone = [f"c{n:02}" for n in range(100)]
    return tuple(
        sorted(
            each
            for arm, count in counts.items()
            for each in [who for who in everyone if drawn(who) == arm][:count]
        )
    )


# ---- files -------------------------------------------------------------------------------------------


@dataclass
class Shop:
    """The team's side: its files, its lake, and the present."""

    folder: Path
    people: dict[str, bool] = field(default_factory=dict)
    """Who is in the cohort's file, and whether they must not be offered anything."""
    orders: list[tuple[str, datetime]] = field(default_factory=list)
    known_until: datetime = STARTS_AT
    """How far the events reach."""
    now: datetime = STARTS_AT
    environment: Mapping[str, str] = field(default_factory=lambda: dict(VENDORS))
    """Where the vendors are, and the keys to them."""

    def write(self) -> Spec:
        """Write the files and return the experiment."""
        people = {"id": list(self.people), "do_not_offer": list(self.people.values())}
        pq.write_table(pa.table(people), self.folder / "people.parquet")
        rows = [("visitor", "Page Viewed", self.known_until)]
        rows += [(who, "Order Completed", at) for who, at in self.orders]
        events = {"id": [r[0] for r in rows], "name": [r[1] for r in rows], "timestamp": [r[2] for r in rows]}
        pq.write_table(pa.table(events), self.folder / "events.parquet")
        return spec_in(self.folder)

    def variables(self) -> dict[str, str]:
        """Return the variables that `lift` needs."""
        return {
            **self.environment,
            "LIFT_HOME": str(self.folder / "lake"),
            "LIFT_REPORTS": str(self.folder / "reports"),
            "LIFT_NOW": self.now.isoformat(),
        }

    def workspace(self) -> Workspace:
        """Return the workspace as of now."""
        return Workspace.open(
            Settings.model_validate({name.lower(): value for name, value in self.variables().items()})
        )

    def sync(self) -> Pushed:
        """Assign, plan and apply, as `lift assign` and `lift push --apply` do."""
        spec, workspace = self.write(), self.workspace()
        assign(workspace, spec)
        with open_launchdarkly(workspace, spec) as client:
            return push(workspace, spec, client, plan_push(workspace, spec, client))

    def assigned(self) -> list[dict[str, Any]]:
        """Return the ledger's rows of the experiment."""
        rows: list[dict[str, Any]] = self.workspace().lake.read("assignments", experiment=KEY).to_pylist()
        return rows


# ---- what is to come of it ---------------------------------------------------------------------------


def planned(
    customers: Collection[str], *, protected: Collection[str] = (), escalated: bool = False
) -> dict[str, Any]:
    """Return what the vendors hold once `customers` are assigned and pushed, worked out from their arms alone.

    Segment → members; `HELD` → customer → whether they are held out; `READY` → whose message may go.
    """
    arms = {customer: drawn(customer) for customer in customers}
    treated = {who for who, arm in arms.items() if arm in ("banner", "escalating")} - set(protected)
    offered = {who for who in treated if arms[who] == "escalating"}
    return {
        HOLDOUT: {who for who, arm in arms.items() if arm == "holdout"},
        UNIVERSAL: {who for who, arm in arms.items() if arm == "universal"},
        BANNER: treated,
        FIRST: set() if escalated else offered,
        SECOND: offered if escalated else set(),
        HELD: {who: arm == "holdout" for who, arm in arms.items() if arm != "universal"},
        READY: treated,
    }


def held_by(vendors: Any, customers: Collection[str]) -> dict[str, Any]:
    """Return what `vendors` (anything with the sandbox's `launchdarkly` and `customerio`) hold, as `planned` tells it."""
    people = {who: vendors.customerio.find(who).attributes for who in customers}
    return {
        **{segment: members_of(vendors, segment) for segment in SEGMENTS},
        HELD: {who: known[HELD] for who, known in people.items() if HELD in known},
        READY: {who for who, known in people.items() if known.get(READY)},
    }


def members_of(vendors: Any, segment: str) -> set[str]:
    """Return who is included in a segment."""
    found = vendors.launchdarkly.segments.get(segment)
    return set(found.included.get("user", ())) if found else set()
