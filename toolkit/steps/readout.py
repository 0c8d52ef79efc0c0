"""Readouts: measure, record, render, keep; and make one anew from what was read then."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from toolkit.errors import DataError, NotEnoughData, SpecError
from toolkit.lake.tables import Lake
from toolkit.readout.previous import extract
from toolkit.readout.record import as_json, record_of
from toolkit.readout.reports import publish, reach
from toolkit.stats.maturity import restated
from toolkit.steps.measure import READ, measure
from toolkit.steps.neighbours import refuse_shared_key
from toolkit.steps.propagation import propagation
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["earlier_looks", "keep", "kept", "readout", "rebuilt", "record", "restatements"]

LAST_DIGITS = 1e-9
"""What a sum may differ by when it is added up in another order."""
SAID = 0.01
"""What a rounded number in a sentence may differ by, when it stood on the edge of rounding."""
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def record(workspace: Workspace, spec: Spec, *, as_of: date | None = None) -> dict[str, Any]:
    """Return the measurement as a record, with the looks of earlier weeks.

    Raises:
        ToolkitError: as `measure` does.
    """
    found = record_of(
        spec.experiment,
        measure(workspace, spec, as_of=as_of),
        spec_digest=spec.digest,
        simulated=workspace.simulated(spec.experiment),
    )
    return found | {
        "history": earlier_looks(workspace, spec, found),
        "restatements": restatements(workspace, spec, found),
        "previous": previous_look(workspace, spec, found),
        "propagation": [asdict(each) for each in propagation(workspace, spec, as_of) if each.customers],
    }


def readout(
    workspace: Workspace, spec: Spec, *, as_of: date | None = None, rebuild: bool = False
) -> tuple[dict[str, Any], Path | str]:
    """Measure, keep the record in the lake, and publish its page; return the record and the page's path or URL.

    With `rebuild` the record is the one kept for that date, after it was found again in what was read then.

    Raises:
        ToolkitError: as `measure` does, because another file of the folder has the key, or because a cell of the
            notebook failed; nothing is published then.
    """
    refuse_shared_key(spec)
    reach(workspace.reports)
    if rebuild:
        found = rebuilt(workspace, spec, as_of=as_of)
        return found, publish(found, workspace.reports)
    found = record(workspace, spec, as_of=as_of)
    page = publish(found, workspace.reports)
    keep(workspace, found)  # only now: later pages compare themselves with what was shown
    return found, page


def rebuilt(workspace: Workspace, spec: Spec, *, as_of: date | None = None) -> dict[str, Any]:
    """Return the record kept for `as_of`, byte for byte, having measured it again from the tables' versions of then.

    Raises:
        NotEnoughData: none was kept for that date.
        SpecError: the experiment file is another than it was then.
        DataError: what can be read now says something else: a file beside the experiment has changed, or lift has.
    """
    day = as_of or workspace.today(spec.experiment.zone)
    before = kept(workspace, spec, on=day)
    if before is None:
        raise NotEnoughData(
            f"{spec.path}: no readout of {day} was kept, so there is none to rebuild; make it without --rebuild"
        )
    provenance = before["provenance"]
    if provenance["spec"] != f"sha256:{spec.digest}":
        raise SpecError(
            f"{spec.path}: the file has changed since the readout of {day} (it was {provenance['spec']}, and is "
            f"sha256:{spec.digest}); bring back that version, or make a new readout without --rebuild"
        )
    tables = {
        name: provenance["tables"].get(name) for name in READ
    }  # what was not there then is not read now
    then = Workspace(workspace.settings, Lake(workspace.lake.home, versions=tables))
    again = record_of(spec.experiment, measure(then, spec, as_of=day), spec_digest=spec.digest)
    compared = {
        name: before[name] for name in again if name in before and name not in {"provenance", "design"}
    }
    where = differs(compared, again)
    if where:
        raise DataError(
            f"{spec.path}: what can be read now does not give the readout of {day}: {where}; has a file that it "
            "reads changed since, was the lake vacuumed, or was it made by another version of lift?"
        )
    return before


def differs(before: Any, again: Any, where: str = "") -> str | None:
    """Return where two records differ by more than the last digits of numbers, in words; None where nowhere."""
    if isinstance(before, dict) and isinstance(again, dict):
        found = (differs(value, again.get(name), f"{where}.{name}") for name, value in before.items())
        return next((each for each in found if each), None)
    if isinstance(before, list) and isinstance(again, list) and len(before) == len(again):
        found = (
            differs(one, other, f"{where}[{at}]")
            for at, (one, other) in enumerate(zip(before, again, strict=True))
        )
        return next((each for each in found if each), None)
    if isinstance(before, float) and isinstance(again, (int, float)):
        same = math.isclose(before, again, rel_tol=LAST_DIGITS, abs_tol=LAST_DIGITS)
    elif isinstance(before, str) and isinstance(again, str) and before != again:
        same = NUMBER.sub("", before) == NUMBER.sub("", again) and all(
            math.isclose(float(one), float(other), rel_tol=SAID, abs_tol=SAID)
            for one, other in zip(NUMBER.findall(before), NUMBER.findall(again), strict=True)
        )
    else:
        same = before == again
    return None if same else f"{where.removeprefix('.')} was {before!r} and is {again!r}"


def kept(
    workspace: Workspace, spec: Spec, *, on: date | None = None, until: date | None = None
) -> dict[str, Any] | None:
    """Return the record kept last, of those of the date `on`, or of any date `until` then; None where there is none."""
    rows = _kept(workspace, spec)
    chosen = [
        row for row in rows if (on is None or row["as_of"] == on) and (until is None or row["as_of"] <= until)
    ]
    found: dict[str, Any] | None = json.loads(chosen[-1]["readout"]) if chosen else None
    return found


def keep(workspace: Workspace, found: dict[str, Any]) -> None:
    """Keep the record in the lake."""
    row = {
        "experiment": found["experiment"],
        "as_of": date.fromisoformat(found["as_of"]),
        "made_at": workspace.now(),
        "readout": as_json(found),
    }
    workspace.lake.append_rows("readouts", [row])


def _kept(workspace: Workspace, spec: Spec) -> list[dict[str, Any]]:
    """Return the rows of `readouts`, in the order in which they were made."""
    rows = workspace.lake.records("readouts", experiment=spec.experiment.key)
    return sorted(rows, key=lambda row: row["made_at"])


def earlier_looks(workspace: Workspace, spec: Spec, found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the deciding estimates of earlier looks and of this one, oldest first; the last word on each date."""
    rows = _kept(workspace, spec)
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


def previous_look(workspace: Workspace, spec: Spec, found: dict[str, Any]) -> dict[str, Any] | None:
    """Return what a page compares itself with: the last record of an earlier date; None where there is none."""
    rows = _kept(workspace, spec)
    earlier = [row for row in rows if row["as_of"].isoformat() < found["as_of"]]
    if not earlier:
        return None
    last = max(row["as_of"] for row in earlier)
    return extract(json.loads([row for row in earlier if row["as_of"] == last][-1]["readout"]))


def restatements(workspace: Workspace, spec: Spec, found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what the present data say of earlier looks otherwise than was shown then: late orders, refunds.

    For an earlier date only numbers as measured can be computed anew, so these are compared: the curve's last point
    as it was recorded at each look, and today's curve at the same date. `block` is what decided then, so that a
    page can say where that was another number. Left out is what was withheld then, and what is capped, since today's
    cap is another; what is not to be `trusted` now is marked. In relative terms, or in the metric's unit (`in`) where
    either control's mean is not above zero.
    """
    capped = {(lift["metric"], lift["arm"]) for lift in found["lifts"] if lift["capped"]}
    now = {key: point for key, point in _curve(found).items() if key[1:] not in capped}
    shown_now = _shown(found)
    looks = {row["as_of"]: row["readout"] for row in _kept(workspace, spec)}  # the last word on each date
    out = []
    for on, kept_then in sorted(looks.items()):
        if on.isoformat() >= found["as_of"]:
            continue
        record_then = json.loads(kept_then)
        shown_then = _shown(record_then)
        for key, before in sorted(_curve(record_then).items()):
            if key[0] != on.isoformat() or key not in now or key[1:] not in shown_then:
                continue
            ends = _relative(before), _relative(now[key])
            relative = None not in ends
            if not relative:
                ends = before["absolute"]["value"], now[key]["absolute"]["value"]
            changed = restated(on, *ends, relative=relative)
            if changed:
                out.append(
                    {
                        "as_of": key[0],
                        "metric": key[1],
                        "arm": key[2],
                        "block": shown_then[key[1:]],
                        "trusted": key[1:] in shown_now,
                        "in": "relative" if relative else "absolute",
                        "from": changed.from_,
                        "to": changed.to,
                        "text": changed.text,
                    }
                )
    return out


def _shown(found: dict[str, Any]) -> dict[tuple[str, str], str]:
    """Return (metric, arm) → the block that decides, of uncapped comparisons whose numbers a page shows."""
    if any(each["status"] == "fail" for each in found["checks"]):
        return {}
    return {
        (lift["metric"], lift["arm"]): lift.get("corrects") or lift["decision"]
        for lift in found["lifts"]
        if lift["trusted"] and lift["breakdown"] is None and not lift["capped"]
    }


def _curve(found: dict[str, Any]) -> dict[tuple[str, str, str], dict[str, Any]]:
    return {(each["as_of"], each["metric"], each["arm"]): each for each in found.get("curve", ())}


def _relative(point: dict[str, Any]) -> float | None:
    """Return a point's lift as a fraction of the control's mean; None where that is no base."""
    held = point["means"]["control"]
    return point["absolute"]["value"] / held if held is not None and held > 0 else None
