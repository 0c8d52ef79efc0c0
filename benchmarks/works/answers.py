"""Whether two processes gave the same answer: a time counts for little where they did not."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

__all__ = ["agreement", "differences", "lifts_of"]

TOLERANCE = 1e-9
SMALL = 1e-3
"""Numbers below this are compared as if they were this large: a difference of nearly equal means has no more digits."""
STATEMENT = ("arms", "checks", "lifts", "curve", "verdict")
"""Parts of the JSON that say something about customers, rather than about files and versions."""


def lifts_of(printed: str) -> dict[str, dict[str, dict[str, float]]]:
    """Return metric → raw, adjusted → value, se from what `lift measure --json -` printed."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for lift in json.loads(printed)["lifts"]:
        if lift.get("breakdown") is None:
            found[lift["metric"]] = {
                block: {name: lift[block]["absolute"][name] for name in ("value", "se")}
                for block in ("raw", "adjusted")
                if lift.get(block)
            }
    return found


def agreement(ours: str, floor: str) -> str:
    """Return a sentence on whether the lifts that `lift` printed are those that the floor printed.

    A lift is a difference of means, so its error is taken as a share of the mean, not of what is left.
    """
    mine, theirs = lifts_of(ours), json.loads(floor)
    means = {lift["metric"]: abs(lift["means"]["control"]) for lift in json.loads(ours)["lifts"]}
    worst, missing = 0.0, []
    for metric, blocks in theirs.items():
        for block, numbers in blocks.items():
            here = mine.get(metric, {}).get(block)
            if here is None:
                missing.append(f"{metric} ({block})")
                continue
            worst = max(worst, abs(here["value"] - numbers["value"]) / means[metric])
            if "se" in numbers:
                worst = max(worst, abs(here["se"] / numbers["se"] - 1))
    if missing:
        return f"ANSWERS DIFFER: `lift` does not print {', '.join(missing)}."
    if worst > TOLERANCE:
        return f"ANSWERS DIFFER by up to {worst:.1e}; more than {TOLERANCE:.0e} is not the same answer."
    return f"Lifts equal the floor's to {worst:.0e} of the means, standard errors to as much of themselves."


def differences(one: str, other: str) -> tuple[float, list[str]]:
    """Return the largest relative difference of numbers in two printed JSONs, and the places where they disagree."""
    first, second = ({name: json.loads(each).get(name) for name in STATEMENT} for each in (one, other))
    worst, places = 0.0, []
    for place, mine, theirs in _pairs("", first, second):
        if isinstance(mine, float | int) and isinstance(theirs, float | int) and not isinstance(mine, bool):
            gap = 0.0 if mine == theirs else abs(mine - theirs) / max(abs(mine), abs(theirs), SMALL)
            gap = math.inf if math.isnan(gap) else gap
            worst = max(worst, gap)
            if gap > TOLERANCE:
                places.append(place)
        elif mine != theirs and not (isinstance(mine, str) and place.endswith(("detail", "text"))):
            places.append(place)
    return worst, places


def _pairs(place: str, one: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted({*one, *other}):
            yield from _pairs(f"{place}.{name}".lstrip("."), one.get(name), other.get(name))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for at, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            yield from _pairs(f"{place}[{at}]", mine, theirs)
    else:
        yield place, one, other
