"""What tests of the sandbox share: clients of its vendors, and the smallest thing that pushes an arm."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import httpx

from toolkit.sandbox import PROGRAMS, Sandbox

SEMANTIC = {"Content-Type": "application/json; domain-model=launchdarkly.semanticpatch"}
SEGMENTS = "/api/v2/segments/shop/production"
Ledger = list[tuple[str, str, datetime]]


def app(box: Sandbox) -> httpx.Client:
    """Return a client of the App API."""
    key = box.environment()["CUSTOMERIO_APP_API_KEY"]
    return httpx.Client(
        base_url=box.url, headers={"Authorization": f"Bearer {key}"}, timeout=20, verify=False
    )


def track(box: Sandbox) -> httpx.Client:
    """Return a client of the Track API."""
    said = box.environment()
    return httpx.Client(
        base_url=box.url,
        auth=(said["CUSTOMERIO_SITE_ID"], said["CUSTOMERIO_TRACK_API_KEY"]),
        timeout=20,
        verify=False,
    )


def rest(box: Sandbox) -> httpx.Client:
    """Return a client of LaunchDarkly's REST API."""
    token = box.environment()["LAUNCHDARKLY_ACCESS_TOKEN"]
    return httpx.Client(base_url=box.url, headers={"Authorization": token}, timeout=20, verify=False)


def make(client: httpx.Client, key: str, **more: object) -> httpx.Response:
    """Create a segment."""
    return client.post(SEGMENTS, json={"key": key, "name": key, **more})


def patch(client: httpx.Client, key: str, *instructions: dict, **params: str) -> httpx.Response:
    """Send a semantic patch."""
    body = {"environmentKey": "production", "instructions": list(instructions)}
    return client.patch(f"{SEGMENTS}/{key}", json=body, params=params, headers=SEMANTIC)


def include(*keys: str, kind: str = "user") -> dict:
    """Return the instruction that includes contexts."""
    return {"kind": "addIncludedTargets", "contextKind": kind, "values": list(keys)}


def members(box: Sandbox, experiment: str) -> list[str]:
    """Return the ids in an experiment's Customer.io segment, in order, without people who have none."""
    ids = box.world.people.ids
    return [ids[number] for number in sorted(box.world.audience(experiment)) if ids[number]]


def enrol(box: Sandbox, experiment: str, holdout_every: int) -> Ledger:
    """Return a ledger: each so-manieth member is held out, the others share the experiment's other arms."""
    arms = [arm for arm in PROGRAMS[experiment].schedule if arm != "holdout"]
    return [
        (key, "holdout" if n % holdout_every == 0 else arms[n % len(arms)], box.now)
        for n, key in enumerate(members(box, experiment))
    ]


def push(box: Sandbox, experiment: str, ledger: Iterable[tuple[str, str, datetime]]) -> None:
    """Push a ledger as the toolkit would: the holdout, then who is eligible, then the message's release."""
    program = PROGRAMS[experiment]
    by_value = {value: segment for segment, value in program.eligible.items()}
    refuse = {
        key
        for key, out in zip(box.world.people.ids, box.world.people.do_not_offer.tolist(), strict=True)
        if out
    }
    groups: dict[str, list[str]] = {program.holdout_segment: []}
    for key, arm, _ in ledger:
        if arm == "holdout":
            groups[program.holdout_segment].append(key)
        elif key not in refuse:
            groups.setdefault(by_value[program.schedule[arm][0]], []).append(key)
    with rest(box) as client:
        for segment, keys in groups.items():
            make(client, segment)
            for start in range(0, len(keys), 1500):
                assert patch(client, segment, include(*keys[start : start + 1500])).status_code == 200
    with track(box) as client:
        for segment, keys in groups.items():
            name = "holdout" if segment == program.holdout_segment else "ready"
            for start in range(0, len(keys), 1000):
                release(client, keys[start : start + 1000], f"{name}_{experiment}")


def release(client: httpx.Client, keys: list[str], attribute: str) -> None:
    """Set an attribute to true for people."""
    items = [
        {
            "type": "person",
            "identifiers": {"id": key},
            "action": "identify",
            "attributes": {attribute: True, "_update": True},
        }
        for key in keys
    ]
    assert client.post("/api/v2/batch", json={"batch": items}).status_code == 200
