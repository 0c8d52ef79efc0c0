"""The safe flag of an experiment, in the words of LaunchDarkly's REST API: what to create, and how to instruct it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.design.experiment import Experiment
from toolkit.design.flag_contract import FlagContract, in_json, same_value
from toolkit.design.labels import label_of
from toolkit.design.traits import OWNERSHIP_TAG

__all__ = [
    "drawn_fallthrough",
    "flag_body",
    "flag_instructions",
    "placeholders",
    "segment_bodies",
    "values_of",
]


def values_of(contract: FlagContract) -> tuple[bool | str, ...]:
    """Return the values of the flag's variations, in order; as LaunchDarkly has them, true before false."""
    values = (contract.control, *contract.treatments)
    return (True, False) if isinstance(contract.control, bool) else values


def flag_body(contract: FlagContract, experiment: Experiment) -> dict[str, Any]:
    """Return the body that creates the flag: off, with the control as its default in every environment."""
    values = values_of(contract)
    control = values.index(contract.control)
    return {
        "key": contract.flag,
        "name": f"{experiment.title}: {', '.join(contract.names)}",
        "description": f"Carries {', '.join(contract.names)} of the experiment {experiment.key}; audit it with lift.",
        "variations": [{"value": value, "name": in_json(value)} for value in values],
        "defaults": {"onVariation": control, "offVariation": control},
        "tags": [OWNERSHIP_TAG, experiment.key],
        "temporary": True,
    }


def segment_bodies(contract: FlagContract, experiment: Experiment) -> tuple[dict[str, Any], ...]:
    """Return the bodies that create the segments which the flag reads, holdouts first."""
    return tuple(
        {
            "key": key,
            "name": key,
            "description": label.description,
            "tags": list(label.tags),
        }
        for key in contract.segments
        for label in [label_of(experiment, key)]
    )


def placeholders(contract: FlagContract) -> tuple[str, ...]:
    """Return what stands for the variations' ids until LaunchDarkly has given them."""
    return tuple(f"<_id of the variation {in_json(value)}>" for value in values_of(contract))


def flag_instructions(contract: FlagContract, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return the semantic patch's instructions that give the flag its safe targeting; it stays on or off.

    `ids` are the variations', in the order of `values_of`. Where a rollout draws, its seed cannot be instructed;
    see `drawn_fallthrough`.
    """
    by_value = list(zip(values_of(contract), ids, strict=True))
    control = _id(by_value, contract.control)
    rules = [_rule(_member(key), control) for key in contract.holdouts]
    if contract.mode == "rollout" and contract.do_not_offer:
        rules.append(_rule(_one_of(contract.do_not_offer, contract.kind, value=True), control))
    for promise in contract.promises:
        clause = (
            _member(promise.segment)
            if promise.segment
            else _one_of(promise.attribute or "", contract.kind, value=promise.value)
        )
        rules.append(_rule(clause, _id(by_value, promise.value)))
    falls = {"kind": "updateFallthroughVariationOrRollout", "variationId": control}
    return [
        {"kind": "updateOffVariation", "variationId": control},
        *([falls] if contract.mode != "rollout" else []),
        {"kind": "replaceTargets", "targets": []},
        {"kind": "replaceRules", "rules": rules},
        {"kind": "updateTrackEvents", "trackEvents": True},
    ]


def drawn_fallthrough(contract: FlagContract, places: Sequence[int]) -> dict[str, Any]:
    """Return the fallthrough that draws the arms as the ledger does, for a JSON patch.

    `places` are the variations', in the order of `values_of`.
    """
    by_value = list(zip(values_of(contract), places, strict=True))
    return {
        "rollout": {
            "variations": [
                {
                    "variation": next(at for told, at in by_value if same_value(told, contract.arms[arm][0])),
                    "weight": weight,
                }
                for arm, weight in contract.weights.items()
            ],
            "contextKind": contract.kind,
            "seed": contract.seed,
        }
    }


def _id(by_value: Sequence[tuple[bool | str, str]], value: bool | str) -> str:
    return next(each for told, each in by_value if same_value(told, value))


def _rule(clause: Mapping[str, Any], variation: str) -> dict[str, Any]:
    return {"variationId": variation, "clauses": [dict(clause)]}


def _member(segment: str) -> dict[str, Any]:
    return {"attribute": "segmentMatch", "op": "segmentMatch", "values": [segment], "negate": False}


def _one_of(attribute: str, kind: str, *, value: bool | str) -> dict[str, Any]:
    return {"contextKind": kind, "attribute": attribute, "op": "in", "values": [value], "negate": False}
