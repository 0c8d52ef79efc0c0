"""Messages: what Customer.io is told of each customer, and what it was told before."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from toolkit.clients import CustomerIOTrack
from toolkit.design.experiment import Experiment
from toolkit.steps.workspace import Workspace

__all__ = ["open_track", "tell", "told_before"]

CHUNK = 2_000


def told_before(workspace: Workspace, experiment: Experiment) -> dict[str, dict[str, Any]]:
    """Return what Customer.io was told of each customer; the latest word on each attribute counts."""
    told: dict[str, dict[str, Any]] = {}
    rows = workspace.lake.read("ready", experiment=experiment.key).sort_by("at").to_pylist()
    for row in rows:
        told.setdefault(row["id"], {}).update(json.loads(row["attributes"]))
    return told


def open_track(workspace: Workspace) -> CustomerIOTrack:
    """Return the client of Customer.io's Track API.

    Raises:
        SettingsError: the site id or the key is not set.
    """
    settings = workspace.settings
    return CustomerIOTrack(
        settings.secret("customerio_site_id"),
        settings.secret("customerio_track_api_key"),
        base_url=settings.track_url(),
    )


def tell(
    workspace: Workspace,
    experiment: Experiment,
    track: CustomerIOTrack,
    what: Mapping[str, Mapping[str, Any]],
    told: Mapping[str, Mapping[str, Any]],
    progress: Callable[[str, int, int], None],
) -> tuple[int, list[tuple[str, str]]]:
    """Write attributes, holdouts first, and keep what was written; return how many, and who was refused."""
    key = experiment.identity.key
    order = sorted(what, key=lambda customer: (f"ready_{experiment.key}" in what[customer], customer))
    done, refused = 0, []
    for start in range(0, len(order), CHUNK):
        chunk = order[start : start + CHUNK]
        result = track.identify([({key: customer}, what[customer]) for customer in chunk])
        failed = {each.index: each.message or each.reason for each in result.failed}
        written = [customer for at, customer in enumerate(chunk) if at not in failed]
        refused += [(chunk[at], why) for at, why in sorted(failed.items())]
        if written:
            workspace.lake.append_rows(
                "ready",
                [
                    {
                        "experiment": experiment.key,
                        "id": customer,
                        "attributes": json.dumps(
                            {**told.get(customer, {}), **what[customer]}, sort_keys=True
                        ),
                        "at": workspace.now(),
                    }
                    for customer in written
                ],
            )
        done += len(written)
        progress("attributes", start + len(chunk), len(order))
    return done, refused
