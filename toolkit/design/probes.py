"""Probe people: made-up customers of every kind that matters, and what each must be served.

A probe is evaluated by the vendor's own SDK in a world: the flag as it is read, or the same with a part broken.
Each probe is a crowd of keys, so that a draw that treats one in a hundred is seen as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Any

from toolkit.design.assignment import arm_of
from toolkit.design.audit_rollout import drawing_rule
from toolkit.design.findings import Status
from toolkit.design.fitting import fitting, other_kind
from toolkit.design.flag_contract import FlagContract, in_json, same_value
from toolkit.design.flags import Flag, Prerequisite, Segment
from toolkit.design.people import Probe, World
from toolkit.design.served import Subject

__all__ = ["Outcome", "Served", "judge", "probes_of", "world_of"]

FEW = 20
CROWD = 500
"""Keys of those who are unknown or drawn, whom a draw of one in a hundred would strike."""
VIP = {"vip": True, "tier": "vip", "ltv_tier": "vip"}
ABSENT = "lift-probe-absent"
"""A flag that is nowhere; a prerequisite on it fails."""


@dataclass(frozen=True, slots=True)
class Served:
    """What the SDK said about one key: the variation's place (None for the application's default), and why."""

    place: int | None
    value: Any
    reason: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a probe's people got, at worst.

    Attributes:
        got: the value in words.
        decided_by: the rule or circumstance that decided.
        wrong: how many of them got something else than expected.
        leak: whether somebody who must get the control was served a treatment.
    """

    probe: Probe
    status: Status
    got: str
    decided_by: str
    wrong: int
    leak: bool


def probes_of(subject: Subject) -> tuple[Probe, ...]:
    """Return everyone to try on the flag, and in which world."""
    contract = subject.contract
    strangers, held, eligible = _strangers(contract), _held(subject), _eligible(subject)
    plain = (*strangers, *held, *eligible, *fitting(subject, strangers[0], _plainly(held)))
    by_segment = eligible if contract.mode == "segments" else ()
    unmarked = tuple(each for each in held if not each.attributes) if contract.mode != "rollout" else ()
    affected: Mapping[World, tuple[Probe, ...]] = {
        "segments missing": (strangers[0], *unmarked, *by_segment),
        "big-segment store down": (strangers[0], *unmarked, *by_segment),
        "flag off": (strangers[0], *held, *eligible),
        "prerequisite failing": (strangers[0], *held, *eligible),
    }
    broken = [
        replace(probe, keys=probe.keys[:FEW], world=world, expected=contract.control)
        for world, probes in affected.items()
        for probe in probes
    ]
    return (*plain, *broken)


def world_of(
    world: World, flag: Flag, segments: Mapping[str, Segment | None]
) -> tuple[Flag, dict[str, Segment]]:
    """Return the flag and the segments as they are in `world`; a flag that is off is taken as on, but for one."""
    there = {key: segment for key, segment in segments.items() if segment}
    on = replace(flag, on=True)
    if world == "segments missing":
        return on, {}
    if world == "big-segment store down":
        return on, {key: replace(each, unbounded=True) for key, each in there.items()}
    if world == "flag off":
        return replace(flag, on=False), there
    if world == "prerequisite failing":
        return replace(on, prerequisites=(Prerequisite(ABSENT, 0),)), there
    return on, there


def judge(subject: Subject, probe: Probe, served: tuple[Served, ...]) -> Outcome:
    """Return the worst of what a probe's people were served."""
    judged = [(_judge(subject, probe, each), each) for each in served]
    worst, one = max(judged, key=lambda pair: SEVERITY.index(pair[0]))
    wrong = sum(verdict != "right" for verdict, _ in judged)
    status: Status = "pass" if worst == "right" else "warn" if worst in ("foreign", "withheld") else "fail"
    got = "the application's own default" if one.place is None else in_json(one.value)
    return Outcome(probe, status, got, _decided_by(subject, one.reason), wrong, worst == "leak")


SEVERITY = ("right", "foreign", "withheld", "wrong", "leak")
"""What one of a probe's people can meet, from good to bad; `withheld` by another flag that is needed first."""


def _judge(subject: Subject, probe: Probe, served: Served) -> str:
    contract = subject.contract
    value = contract.value_of(subject.flag, served.place)
    if value is not None and same_value(value, probe.expected):
        return "right"
    if same_value(probe.expected, contract.control) and served.place is not None and subject.controls:
        return "leak" if value is not None or probe.held else "foreign"
    if served.reason.get("kind") == "PREREQUISITE_FAILED" and value is not None:
        return "withheld"
    return "wrong"


def _decided_by(subject: Subject, reason: Mapping[str, Any]) -> str:
    kind = str(reason.get("kind", ""))
    if kind == "RULE_MATCH":
        rule = subject.flag.rules[int(reason["ruleIndex"])]
        return f"rule {rule.number}"
    if kind == "PREREQUISITE_FAILED":
        return f"prerequisite {reason.get('prerequisiteKey')}"
    if kind == "ERROR":
        return f"error {reason.get('errorKind')}"
    return {"OFF": "off", "FALLTHROUGH": "fallthrough", "TARGET_MATCH": "individual target"}.get(kind, kind)


def _strangers(contract: FlagContract) -> tuple[Probe, ...]:
    """Return people who are not enrolled; where a rollout draws, such as it holds out."""
    trait, promised = contract.names[0], contract.treatments[0]
    arm = contract.control_arm if contract.mode == "rollout" else None
    odd: list[tuple[str, dict[str, Any]]] = [
        ("new, of unknown key", {}),
        ("returning, not enrolled", {"returning": True, "orders": 7}),
        ("VIP, not enrolled", VIP),
        ("anonymous", {"anonymous": True}),
        (f"{trait} of an unknown value", {trait: "lift-probe-unknown"}),
        (f"{trait} of a wrong type", {trait: "true" if isinstance(promised, bool) else 1}),
    ]
    if contract.mode == "segments":
        odd.append((f"says to be {trait}, in no segment", {trait: promised}))
    people = [
        Probe(name, _keys(contract, name, arm), contract.control, contract.kind, told) for name, told in odd
    ]
    people.append(replace(people[0], name="without the context kind", kind=other_kind(contract.kind)))
    people[0] = replace(people[0], keys=_keys(contract, people[0].name, arm, CROWD))
    if contract.do_not_offer:
        name = f"{contract.do_not_offer}, in no segment"
        told = {contract.do_not_offer: True}
        people.append(Probe(name, _keys(contract, name, None), contract.control, contract.kind, told))
    return tuple(people)


def _plainly(held: Iterable[Probe]) -> tuple[Probe, ...]:
    """Return those who are held out and in no other segment, told nothing of."""
    return tuple(each for each in held if len(each.segments) == 1 and not each.attributes)


def _held(subject: Subject) -> tuple[Probe, ...]:
    """Return people who are held out, some of them eligible by mistake."""
    contract = subject.contract
    people = []
    for segment in contract.holdouts:
        name = "universal holdout" if segment == contract.universal else "holdout"
        keys = _keys(contract, segment, None)
        held = Probe(name, keys, contract.control, contract.kind, segments=(segment,), held=True)
        people.append(held)
        for promise in contract.promises:
            told = {promise.attribute: promise.value} if promise.attribute else {}
            also = (promise.segment,) if promise.segment else ()
            wrongly = f"{name}, wrongly among {promise.who.removeprefix('members of ')}"
            people.append(replace(held, name=wrongly, segments=(segment, *also), attributes=told))
    return (*people, *(each for each in _drawn(subject) if each.held))


def _eligible(subject: Subject) -> tuple[Probe, ...]:
    """Return people who have to be served a treatment."""
    contract = subject.contract
    people = []
    for promise in contract.promises:
        told = {promise.attribute: promise.value} if promise.attribute else {}
        segments = (promise.segment,) if promise.segment else ()
        for who, more in (("returning", {"returning": True}), ("VIP", VIP)):
            name = f"{who}, enrolled: {promise.who.removeprefix('members of ')}"
            keys = _keys(contract, name, None)
            people.append(
                Probe(name, keys, promise.value, contract.kind, {**more, **told}, segments=segments)
            )
    return (*people, *(each for each in _drawn(subject) if not each.held))


def _drawn(subject: Subject) -> Iterator[Probe]:
    """Yield the customers of each arm, where a rollout draws: the SDK has to draw what the ledger drew."""
    contract, found = subject.contract, drawing_rule(subject)
    if contract.mode != "rollout":
        return
    rule = found[0] if found else None
    segments = tuple(
        str(clause.values[0])
        for clause in (rule.clauses if rule else ())
        if clause.is_segment and clause.values
    )
    for arm, (value, *_) in contract.arms.items():
        held = same_value(value, contract.control)
        keys = _keys(contract, f"arm {arm}", arm, CROWD)
        yield Probe(f"enrolled, arm {arm}", keys, value, contract.kind, segments=segments, held=held)


def _keys(contract: FlagContract, name: str, arm: str | None, most: int = FEW) -> tuple[str, ...]:
    """Return made-up keys, of customers whom the draw puts into `arm` where one is given."""
    numbered = (f"lift-probe {name} {n}" for n in count())
    if arm is None:
        return tuple(islice(numbered, most))
    bounds = contract.bounds
    return tuple(islice((key for key in numbered if arm_of(bounds, contract.prefix, key) == arm), most))
