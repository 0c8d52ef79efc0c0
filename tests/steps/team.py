"""A team whose people and assignments are files, and the sandbox that it pushes to over HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.sandbox import Sandbox
from toolkit.settings import Settings
from toolkit.steps.push import Pushed, PushPlan, open_launchdarkly, plan_push, push
from toolkit.steps.workspace import Spec, Workspace

KEY = "banner"
HOLDOUT, ELIGIBLE = "lift-banner-holdout", "lift-free-shipping-eligible"
SMALL, LARGE = "lift-offer-small", "lift-offer-large"
READY, HELD = "ready_banner", "holdout_banner"
ASSIGNED_AT = datetime(2026, 9, 1, tzinfo=UTC)
SPEC = """\
key: banner
start: 2026-08-01
end: 2026-12-28
cohort: {source: files, entry: rolling}
arms: {holdout: 0.1, treated: 0.6, growing: 0.3}
control: holdout
assignment: {source: files}
traits:
  - {name: free_shipping_eligible, type: boolean, arms: [treated], max_age: 5m, flag: free-shipping-banner}
  - {name: offer, type: enum, default: none, values: {growing: small}, max_age: 1d, flag: winback-offer,
      escalate: {arms: [growing], to: large, after: 14d}}
do_not_offer: {attribute: do_not_offer}
events: {source: files}
metrics:
  - {name: purchase_rate, kind: conversion, event: Order Completed, window: 14d, role: primary}
"""


@dataclass
class Team:
    """The team's files, lake and present; `arms` is who is assigned to what."""

    folder: Path
    box: Sandbox
    arms: dict[str, str] = field(default_factory=dict)
    protected: set[str] = field(default_factory=set)
    unnamed: set[str] = field(default_factory=set)
    """Customers whom the file of people does not name."""
    known_until: datetime = ASSIGNED_AT
    orders: dict[str, datetime] = field(default_factory=dict)
    now: datetime = ASSIGNED_AT + timedelta(minutes=2)
    spec: str = SPEC
    messages: bool = False

    def write(self) -> Spec:
        """Write the files and return the experiment."""
        people = [who for who in self.arms if who not in self.unnamed]
        self._table("people", id=people, do_not_offer=[who in self.protected for who in people])
        self._table(
            "assignments",
            id=list(self.arms),
            arm=list(self.arms.values()),
            assigned_at=[ASSIGNED_AT] * len(self.arms),
        )
        rows = [("visitor", "Page Viewed", self.known_until)]
        rows += [(who, "Order Completed", at) for who, at in self.orders.items()]
        self._table(
            "events", id=[r[0] for r in rows], name=[r[1] for r in rows], timestamp=[r[2] for r in rows]
        )
        path = self.folder / "banner.yml"
        path.write_text(self.spec)
        return Spec.read(path)

    def environment(self) -> dict[str, str]:
        """Return the variables that `lift` needs."""
        said = {**self.box.environment(), "LIFT_NOW": self.now.isoformat()}
        said |= {"LIFT_HOME": str(self.folder / "lake"), "LIFT_REPORTS": str(self.folder / "reports")}
        return said if self.messages else {k: v for k, v in said.items() if not k.startswith("CUSTOMERIO_")}

    def workspace(self) -> Workspace:
        """Return the workspace as of now."""
        return Workspace.open(Settings.model_validate({k.lower(): v for k, v in self.environment().items()}))

    @contextmanager
    def opened(self):
        """Open workspace, experiment and client."""
        workspace, spec = self.workspace(), self.write()
        with open_launchdarkly(workspace, spec) as client:
            yield workspace, spec, client

    def plan(self, **more: Any) -> PushPlan:
        """Plan."""
        with self.opened() as (workspace, spec, client):
            return plan_push(workspace, spec, client, **more)

    def push(self, *, allow_removals: int = 0, **more: Any) -> Pushed:
        """Plan and apply."""
        with self.opened() as (workspace, spec, client):
            plan = plan_push(workspace, spec, client, **more)
            return push(workspace, spec, client, plan, allow_removals=allow_removals)

    def why(self, segment: str, **more: Any) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """Return the reasons for which memberships of a segment would begin and end."""
        why = self.plan(**more).why[segment]
        return why.add, why.remove

    def members(self, segment: str) -> set[str]:
        """Return who is in a segment, whichever kind it is."""
        found = self.box.launchdarkly.segments.get(segment)
        if found is None:
            return set()
        if found.kind:
            return set(self.box.launchdarkly.big.included.get(segment, ()))
        return set(found.included.get("user", ()))

    def edit(self, segment: str, *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
        """Change a standard segment as somebody in the vendor's pages might."""
        with self.opened() as (_, _, client):
            client.change_targets(segment, add=sorted(add), remove=sorted(remove), comment="by hand")

    def asked(self, method: str, part: str = "") -> int:
        """Return how many requests of a method LaunchDarkly saw, to paths that have `part`."""
        return sum(
            each.method == method and part in each.path and each.vendor == "launchdarkly"
            for each in self.box.requests
        )

    def with_messages(self) -> None:
        """Let Customer.io know everybody assigned, and be told of them."""
        self.messages, customerio = True, self.box.customerio
        for customer in self.arms:
            person = customerio.find(customer) or customerio.create(id=customer)
            person.attributes.clear()

    def attribute(self, customer: str, name: str) -> Any:
        """Return what Customer.io knows of a customer."""
        return self.box.customerio.find(customer).attributes.get(name)

    def _table(self, name: str, /, **columns: list[Any]) -> None:
        pq.write_table(pa.table(columns), self.folder / f"{name}.parquet")


def people(count: int, arm: str = "treated", name: str = "c") -> dict[str, str]:
    """Return so many customers of an arm."""
    return {f"{name}{number:06}": arm for number in range(count)}
