"""LaunchDarkly's patches of flags: semantic instructions, and the JSON patch of a flag's targeting.

Instructions in, a flag out, all or nothing. Rules and clauses that come without an identifier get one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from toolkit.sandbox.launchdarkly import ENVIRONMENT, Flag, object_id
from toolkit.sandbox.semantic import PatchError
from toolkit.sandbox.shapes import variation_id

__all__ = ["instructed", "replaced"]

WHOLE = 100_000


def instructed(flag: Flag, instructions: Any) -> Flag:
    """Return the flag after all instructions of a semantic patch.

    Raises:
        PatchError: an instruction cannot be read, or names what is not there.
    """
    if not isinstance(instructions, list) or not instructions:
        raise PatchError("instructions must be a list with at least one instruction")
    for said in instructions:
        kind = said.get("kind") if isinstance(said, dict) else None
        if kind in TARGETING:
            flag = replace(flag, targeting={**flag.targeting, **TARGETING[kind](flag, said)})
        elif kind in SETTINGS:
            flag = SETTINGS[kind](flag, said)
        else:
            raise PatchError(f"unknown instruction {kind!r}")
    return flag


def replaced(flag: Flag, operations: Any) -> Flag:
    """Return the flag after a JSON patch that replaces its fallthrough; other JSON patches are not known here.

    Raises:
        PatchError: the patch is of another kind, or its value is no fallthrough.
    """
    place = f"/environments/{ENVIRONMENT}/fallthrough"
    for said in operations if isinstance(operations, list) and operations else [None]:
        if not isinstance(said, dict) or (said.get("op"), said.get("path")) != ("replace", place):
            raise PatchError(f"of JSON patches only `replace` of {place} is known")
        _check_served(flag, said.get("value"))
        flag = replace(flag, targeting={**flag.targeting, "fallthrough": said["value"]})
    return flag


def _turn(*, on: bool) -> Callable[[Flag, Mapping[str, Any]], dict[str, Any]]:
    return lambda _flag, _said: {"on": on}


def _off(flag: Flag, said: Mapping[str, Any]) -> dict[str, Any]:
    return {"offVariation": _place(flag, said)}


def _fallthrough(flag: Flag, said: Mapping[str, Any]) -> dict[str, Any]:
    return {"fallthrough": _served(flag, said)}


def _add_rule(flag: Flag, said: Mapping[str, Any]) -> dict[str, Any]:
    rules = list(flag.targeting["rules"])
    before = said.get("beforeRuleId")
    at = _at(flag, before) if before else len(rules)
    rules.insert(at, _rule(flag, said, len(rules)))
    return {"rules": rules}


def _replace_rules(flag: Flag, said: Mapping[str, Any]) -> dict[str, Any]:
    return {"rules": [_rule(flag, each, number) for number, each in enumerate(_list(said, "rules"))]}


def _remove_rule(flag: Flag, said: Mapping[str, Any]) -> dict[str, Any]:
    return {"rules": [rule for rule in flag.targeting["rules"] if rule["_id"] != said.get("ruleId")]}


def _reorder(flag: Flag, said: Mapping[str, Any]) -> dict[str, Any]:
    by_id = {rule["_id"]: rule for rule in flag.targeting["rules"]}
    order = _list(said, "ruleIds")
    if sorted(map(str, order)) != sorted(by_id):
        raise PatchError("ruleIds must name every rule of the flag, and no other")
    return {"rules": [by_id[each] for each in order]}


def _rule_serves(flag: Flag, said: Mapping[str, Any]) -> dict[str, Any]:
    rules = list(flag.targeting["rules"])
    at = _at(flag, said.get("ruleId"))
    kept = {name: value for name, value in rules[at].items() if name not in ("variation", "rollout")}
    rules[at] = {**kept, **_served(flag, said)}
    return {"rules": rules}


def _rule_tracks(flag: Flag, said: Mapping[str, Any]) -> dict[str, Any]:
    rules = list(flag.targeting["rules"])
    at = _at(flag, said.get("ruleId"))
    rules[at] = {**rules[at], "trackEvents": _flagged(said)}
    return {"rules": rules}


def _replace_targets(flag: Flag, said: Mapping[str, Any]) -> dict[str, Any]:
    targets = [
        {
            "contextKind": str(each.get("contextKind") or "user"),
            "variation": _place(flag, each),
            "values": list(map(str, _list(each, "values"))),
        }
        for each in _list(said, "targets")
    ]
    return _targeted(targets)


def _targeted(targets: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return both lists of targets; users stand in the first, and the second points to them."""
    users = [each for each in targets if each["contextKind"] == "user"]
    pointing = [{**each, "values": []} if each["contextKind"] == "user" else each for each in targets]
    return {"targets": users, "contextTargets": pointing}


def _tracks(_: Flag, said: Mapping[str, Any]) -> dict[str, Any]:
    return {"trackEvents": _flagged(said)}


def _fallthrough_tracks(_: Flag, said: Mapping[str, Any]) -> dict[str, Any]:
    return {"trackEventsFallthrough": _flagged(said)}


TARGETING: Mapping[Any, Callable[[Flag, Mapping[str, Any]], dict[str, Any]]] = {
    "turnFlagOn": _turn(on=True),
    "turnFlagOff": _turn(on=False),
    "updateOffVariation": _off,
    "updateFallthroughVariationOrRollout": _fallthrough,
    "addRule": _add_rule,
    "replaceRules": _replace_rules,
    "removeRule": _remove_rule,
    "reorderRules": _reorder,
    "updateRuleVariationOrRollout": _rule_serves,
    "updateRuleTrackEvents": _rule_tracks,
    "replaceTargets": _replace_targets,
    "updateTrackEvents": _tracks,
    "updateTrackEventsFallthrough": _fallthrough_tracks,
}
"""Instructions about one environment."""


def _add_tags(flag: Flag, said: Mapping[str, Any]) -> Flag:
    return replace(flag, tags=tuple(dict.fromkeys((*flag.tags, *map(str, _list(said, "values"))))))


def _remove_tags(flag: Flag, said: Mapping[str, Any]) -> Flag:
    gone = set(map(str, _list(said, "values")))
    return replace(flag, tags=tuple(each for each in flag.tags if each not in gone))


SETTINGS: Mapping[Any, Callable[[Flag, Mapping[str, Any]], Flag]] = {
    "addTags": _add_tags,
    "removeTags": _remove_tags,
}
"""Instructions about the flag in all environments."""


def _rule(flag: Flag, said: Any, number: int) -> dict[str, Any]:
    if not isinstance(said, dict):
        raise PatchError("a rule is an object")
    identity = object_id("rule", flag.key, flag.version, number, repr(said))
    clauses = [_clause(each, identity, at) for at, each in enumerate(_list(said, "clauses"))]
    told = {"description": str(said["description"])} if said.get("description") else {}
    tracks = bool(said.get("trackEvents"))
    return {"_id": identity, **_served(flag, said), "clauses": clauses, "trackEvents": tracks, **told}


def _clause(said: Any, rule: str, at: int) -> dict[str, Any]:
    if not isinstance(said, dict) or not isinstance(said.get("op"), str):
        raise PatchError("a clause has attribute, op and values")
    kind = {"contextKind": str(said["contextKind"])} if said.get("contextKind") else {}
    return {
        "_id": object_id("clause", rule, at),
        "attribute": str(said.get("attribute") or ""),
        "op": said["op"],
        "values": list(_list(said, "values")),
        "negate": bool(said.get("negate")),
        **kind,
    }


def _served(flag: Flag, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an instruction lets a rule serve: a variation, or a percentage rollout (without a seed)."""
    weights = said.get("rolloutWeights")
    if weights is None:
        return {"variation": _place(flag, said)}
    if not isinstance(weights, dict) or sum(weights.values()) != WHOLE:
        raise PatchError(f"rolloutWeights must sum to {WHOLE}")
    variations = [
        {"variation": _place_of_id(flag, each), "weight": weight} for each, weight in weights.items()
    ]
    rollout: dict[str, Any] = {
        "variations": variations,
        "contextKind": str(said.get("rolloutContextKind") or "user"),
    }
    if said.get("rolloutBucketBy"):
        rollout["bucketBy"] = str(said["rolloutBucketBy"])
    return {"rollout": rollout}


def _check_served(flag: Flag, value: Any) -> None:
    said = value if isinstance(value, dict) else {}
    rollout = said.get("rollout")
    drawn = rollout.get("variations") if isinstance(rollout, dict) else [{"variation": said.get("variation")}]
    for each in drawn if isinstance(drawn, list) and drawn else [None]:
        place = each.get("variation") if isinstance(each, dict) else None
        if not isinstance(place, int) or not 0 <= place < len(flag.values):
            raise PatchError("a fallthrough serves a variation of the flag, or a rollout of some")
    if isinstance(rollout, dict) and sum(each.get("weight", 0) for each in rollout["variations"]) != WHOLE:
        raise PatchError(f"weights must sum to {WHOLE}")


def _place(flag: Flag, said: Any) -> int:
    return _place_of_id(flag, said.get("variationId") if isinstance(said, dict) else None)


def _place_of_id(flag: Flag, identity: Any) -> int:
    places = {variation_id(flag.key, place): place for place in range(len(flag.values))}
    if identity not in places:
        raise PatchError(f"the flag has no variation {identity!r}")
    return places[identity]


def _at(flag: Flag, identity: Any) -> int:
    found = next((at for at, rule in enumerate(flag.targeting["rules"]) if rule["_id"] == identity), None)
    if found is None:
        raise PatchError(f"the flag has no rule {identity!r}")
    return found


def _list(said: Any, name: str) -> list[Any]:
    values = said.get(name) if isinstance(said, dict) else None
    if not isinstance(values, list):
        raise PatchError(f"{name} must be a list")
    return values


def _flagged(said: Mapping[str, Any]) -> bool:
    if not isinstance(said.get("trackEvents"), bool):
        raise PatchError("trackEvents must be true or false")
    return bool(said["trackEvents"])
