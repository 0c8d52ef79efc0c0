"""Flags as the REST API tells them, safe to begin with, and ways to spoil them; what an audit makes of them."""

from __future__ import annotations

import copy
from typing import Any

from toolkit.design.audit import audit_flag
from toolkit.design.findings import Finding
from toolkit.design.flag_contract import FlagContract, contracts_of
from toolkit.design.flags import read_flag, read_segment
from toolkit.design.parse import parse_experiment
from toolkit.design.probes import Outcome, probes_of
from toolkit.design.served import Subject
from toolkit.design.traits import OWNERSHIP_TAG
from toolkit.steps.evaluation import try_probes

UNIVERSAL, HOLDOUT, ELIGIBLE = (
    "lift-always-on-holdout",
    "lift-shipping-holdout",
    "lift-free-shipping-eligible",
)
BOOLEAN = """\
key: shipping
start: 2026-10-05
end: 2026-12-28
seed: 61
cohort: {source: files, universal_holdout: {key: always-on, share: 0.02}}
arms: {holdout: 0.1, free_shipping: 0.9}
control: holdout
traits: [{name: free_shipping_eligible, arms: [free_shipping], flag: banner}]
do_not_offer: {attribute: do_not_offer}
outcomes: {}
metrics: [{name: bought, kind: conversion, column: bought}]
"""
ENUM = BOOLEAN.replace(
    "traits: [{name: free_shipping_eligible, arms: [free_shipping], flag: banner}]",
    "traits: [{name: offer, type: enum, values: {shipping: free_shipping, percent: ten_percent}, default: none, flag: banner}]",
).replace("arms: {holdout: 0.1, free_shipping: 0.9}", "arms: {holdout: 0.1, shipping: 0.45, percent: 0.45}")
ROLLOUT = BOOLEAN + "delivery: {mode: rollout}\n"
LOOKUP = BOOLEAN + "delivery: {mode: lookup}\n"


def contract(spec: str = BOOLEAN) -> FlagContract:
    return contracts_of(parse_experiment(spec, "shipping.yml"), "shipping.yml")[0]


def clause(attribute: str, op: str, *values: Any, negate: bool = False, **more: Any) -> dict[str, Any]:
    return {"_id": "c", "attribute": attribute, "op": op, "values": list(values), "negate": negate, **more}


def member(*segments: str, negate: bool = False) -> dict[str, Any]:
    return clause("segmentMatch", "segmentMatch", *segments, negate=negate)


def rule(serves: int | dict[str, Any], *clauses: dict[str, Any], **more: Any) -> dict[str, Any]:
    served = {"rollout": serves} if isinstance(serves, dict) else {"variation": serves}
    return {"_id": f"r{id(clauses)}", **served, "clauses": list(clauses), "trackEvents": False, **more}


def rollout(*weights: tuple[int, int], **more: Any) -> dict[str, Any]:
    return {"variations": [{"variation": place, "weight": weight} for place, weight in weights], **more}


def flag(*rules: dict[str, Any], values: tuple[Any, ...] = (True, False), **targeting: Any) -> dict[str, Any]:
    """Return a flag whose variation 1 is the control unless told otherwise."""
    here = {
        "on": True,
        "archived": False,
        "salt": "salt",
        "version": 3,
        "rules": list(rules),
        "fallthrough": {"variation": 1},
        "offVariation": 1,
        "targets": [],
        "contextTargets": [],
        "prerequisites": [],
        "trackEvents": True,
        "trackEventsFallthrough": False,
    }
    variations = [{"_id": f"v{place}", "value": value} for place, value in enumerate(values)]
    return {"key": "banner", "variations": variations, "environments": {"production": here | targeting}}


def safe(**targeting: Any) -> dict[str, Any]:
    """Return the safe flag of `BOOLEAN`."""
    told = flag(rule(1, member(UNIVERSAL)), rule(1, member(HOLDOUT)), rule(0, member(ELIGIBLE)), **targeting)
    return copy.deepcopy(told)


def here(told: dict[str, Any]) -> dict[str, Any]:
    """Return a flag's targeting in the environment."""
    return told["environments"]["production"]


def segment(key: str, *included: str, **more: Any) -> dict[str, Any]:
    return {
        "key": key,
        "tags": [OWNERSHIP_TAG],
        "included": list(included),
        "excluded": [],
        "rules": [],
        **more,
    }


def subject(
    told: dict[str, Any],
    spec: str = BOOLEAN,
    *,
    without: tuple[str, ...] = (),
    segments: tuple[dict[str, Any], ...] = (),
    flags: tuple[dict[str, Any], ...] = (),
) -> Subject:
    """Return a flag under audit whose segments exist, but for those in `without`."""
    read, promised = read_flag(told, "production"), contract(spec)
    wanted = {*promised.segments, *promised.values, *read.segments} - set(without)
    there = {key: read_segment(segment(key)) for key in wanted} | {
        each["key"]: read_segment(each) for each in segments
    }
    others = {each["key"]: read_flag(each, "production") for each in flags}
    return Subject(read, promised, there, others)


def findings(of: Subject, status: str = "fail") -> list[Finding]:
    return [each for each in audit_flag(of) if each.status == status]


def outcomes(of: Subject, status: str = "fail") -> list[Outcome]:
    return [each for each in try_probes(of, probes_of(of)) if each.status == status]
