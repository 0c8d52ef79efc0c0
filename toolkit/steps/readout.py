"""Readouts: measure, record, render; one experiment, or all of a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from toolkit.errors import SpecError, ToolkitError
from toolkit.readout.index import write_index
from toolkit.readout.record import as_json, record_of
from toolkit.readout.render import publish
from toolkit.stats.maturity import restated
from toolkit.steps.measure import measure
from toolkit.steps.pull import pull
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["Outcome", "earlier_looks", "readout", "record", "restatements", "weekly"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one experiment in a weekly run. `error` says why there is no page, or no fresh data."""

    spec: str
    page: Path | None
    verdict: dict[str, str] | None
    error: str | None
    exit_status: int


def record(workspace: Workspace, spec: Spec, *, as_of: date | None = None) -> dict[str, Any]:
    """Return the measurement as a record, with the looks of earlier weeks.

    Raises:
        ToolkitError: as `measure` does.
    """
    found = record_of(spec.experiment, measure(workspace, spec, as_of=as_of), spec_digest=spec.digest)
    return found | {
        "history": earlier_looks(workspace, spec, found),
        "restatements": restatements(workspace, spec, found),
    }


def readout(workspace: Workspace, spec: Spec, *, as_of: date | None = None) -> tuple[dict[str, Any], Path]:
    """Measure, keep the record in the lake, and publish its page; return the record and the page's path.

    Raises:
        ToolkitError: as `measure` does, or because a cell of the notebook failed; nothing is published then.
    """
    found = record(workspace, spec, as_of=as_of)
    page = publish(found, workspace.reports)
    keep(workspace, found)
    return found, page


def keep(workspace: Workspace, found: dict[str, Any]) -> None:
    """Keep the record in the lake."""
    row = {
        "experiment": found["experiment"],
        "as_of": date.fromisoformat(found["as_of"]),
        "made_at": workspace.now(),
        "readout": as_json(found),
    }
    workspace.lake.append_rows("readouts", [row])


def earlier_looks(workspace: Workspace, spec: Spec, found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the deciding estimates of earlier looks and of this one, oldest first; the last word on each date."""
    rows = workspace.lake.read("readouts", experiment=spec.experiment.key).sort_by("made_at").to_pylist()
    looks = {row["as_of"].isoformat(): json.loads(row["readout"]) for row in rows}
    looks = {on: look for on, look in looks.items() if on < found["as_of"]} | {found["as_of"]: found}
    history = []
    for on in sorted(looks):
        for lift in looks[on]["lifts"]:
            block = lift[lift["decision"]]
            if lift["breakdown"] is None and block is not None:
                absolute = {name: block["absolute"][name] for name in ("value", "low", "high")}
                history.append(
                    {
                        "as_of": on,
                        "metric": lift["metric"],
                        "arm": lift["arm"],
                        "trusted": lift["trusted"],
                        **absolute,
                    }
                )
    return history


def restatements(workspace: Workspace, spec: Spec, found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what the present data say of earlier looks otherwise than was recorded then: late orders, refunds.

    Compared are the curve's last point as it was recorded at each look, and today's curve at the same date; not
    where a metric is capped, since today's cap is another.
    """
    capped = {lift["metric"] for lift in found["lifts"] if lift["capped"]}
    now = {
        (each["as_of"], each["metric"], each["arm"]): each
        for each in found["curve"]
        if each["metric"] not in capped
    }
    rows = workspace.lake.read("readouts", experiment=spec.experiment.key).sort_by("made_at").to_pylist()
    then: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in rows:  # the last word on each date
        for each in json.loads(row["readout"]).get("curve", []):
            if each["as_of"] == row["as_of"].isoformat() < found["as_of"]:
                then[each["as_of"], each["metric"], each["arm"]] = each
    out = []
    for key, before in sorted(then.items()):
        if key not in now:
            continue
        changed = restated(date.fromisoformat(key[0]), _relative(before), _relative(now[key]))
        if changed:
            out.append(
                {
                    "as_of": key[0],
                    "metric": key[1],
                    "arm": key[2],
                    "from": changed.from_,
                    "to": changed.to,
                    "text": changed.text,
                }
            )
    return out


def _relative(point: dict[str, Any]) -> float | None:
    """Return a point's lift as a fraction of the control's mean."""
    held = point["means"]["control"]
    return point["absolute"]["value"] / held if held else None


def weekly(
    workspace: Workspace,
    folder: str | Path,
    *,
    as_of: date | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Outcome]:
    """Pull, measure and publish every experiment of `folder`, then the index; one that fails stops no other.

    Raises:
        SpecError: there is no experiment file in the folder.
    """
    paths = sorted({*Path(folder).glob("*.yml"), *Path(folder).glob("*.yaml")})
    if not paths:
        raise SpecError(f"{folder}: no experiment files (*.yml) here")
    outcomes = []
    for at, path in enumerate(paths):
        if progress:
            progress(str(path), at, len(paths))
        outcomes.append(_one(workspace, path, as_of))
    failures = {Path(each.spec).stem: each.error for each in outcomes if each.error and each.page is None}
    write_index(workspace.reports, failures)
    return outcomes


def _one(workspace: Workspace, path: Path, as_of: date | None) -> Outcome:
    stale: ToolkitError | None = None
    try:
        spec = Spec.read(path)
        if spec.experiment.events and spec.experiment.events.source == "customerio":
            try:
                pull(workspace, spec)
            except (
                ToolkitError
            ) as refused:  # what the lake holds is still worth reading; freshness is checked
                stale = refused
        found, page = readout(workspace, spec, as_of=as_of)
    except ToolkitError as wrong:
        return Outcome(str(path), None, None, str(stale or wrong), (stale or wrong).exit_status)
    status = stale.exit_status if stale else int(found["verdict"]["status"] == "not_readable")
    return Outcome(str(path), page, found["verdict"], str(stale) if stale else None, status)
