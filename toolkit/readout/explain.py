"""How the numbers were made, in plain words, from what the record says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.readout import words
from toolkit.readout.figures import count, percent

if TYPE_CHECKING:
    from toolkit.readout.readout import Readout

__all__ = ["method"]


def method(readout: Readout) -> list[tuple[str, str]]:
    """Return (heading, paragraph) for each thing that was done; what was not done is not mentioned."""
    design, lifts = readout.design, readout.lifts()
    said = [
        (
            "Who is counted",
            words.intention_to_treat(str(design.get("control")), str(design.get("identity", "id"))),
        ),
        (
            "Over which span",
            words.windows([(str(each["name"]), each.get("window")) for each in design["metrics"]]),
        ),
        ("Looks", words.looks(str(design.get("looks", "fixed")))),
    ]
    if any(lift.lift.get("raw") for lift in lifts):
        said += [
            ("Differences", words.welch(readout.confidence)),
            ("Relative lifts", words.fieller(readout.confidence)),
        ]
    covariates: dict[str, None] = {}
    reductions, caps, margins = {}, {}, {}
    for lift in lifts:
        block = lift.block or {}
        covariates |= dict.fromkeys(str(each) for each in block.get("covariates", ()))
        if block.get("variance_reduction") is not None:
            reductions.setdefault(lift.metric, percent(block["variance_reduction"]))
        if block.get("cap") is not None:
            cap = lift.unit.size(block["cap"], 2)
            caps.setdefault(lift.metric, (lift.metric, cap, count(block.get("capped_customers"))))
        if lift.margin is not None:
            way = "rise" if lift.margin > 0 else "fall"
            size = abs(lift.margin)
            said_margin = lift.unit.change(size, lift.unit.decimals(None, None, size)).removeprefix("+")
            margins.setdefault(lift.metric, (lift.metric, way, said_margin))
    if covariates:
        said.append(("Adjusted", words.adjusted(list(covariates), list(reductions.items()))))
    if caps:
        said.append(("Capped", words.capped(list(caps.values()))))
    if margins:
        said.append(("Guardrails", words.margins(list(margins.values()))))
    if design.get("correction"):
        said.append(("Several comparisons", words.correction(str(design["correction"]), len(lifts))))
    if any(lift.doubt for lift in lifts):
        said.append(("What is not shown", words.NOT_SHOWN))
    return said
