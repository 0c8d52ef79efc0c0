"""Random flags: where the static checks find no fault, LaunchDarkly's SDK serves nobody a treatment wrongly."""

from __future__ import annotations

import os
import random
from itertools import combinations, product
from typing import Any

import pytest

from tests.design.flags_at_hand import (
    BOOLEAN,
    ELIGIBLE,
    HOLDOUT,
    LOOKUP,
    UNIVERSAL,
    clause,
    findings,
    flag,
    here,
    member,
    outcomes,
    rollout,
    rule,
    segment,
    subject,
)
from toolkit.design.people import Probe
from toolkit.steps.evaluation import offline_sdk

FLAGS = 1000 if os.environ.get("LIFT_LONG") else 24
TRAIT = "free_shipping_eligible"
GROUPS = (UNIVERSAL, HOLDOUT, ELIGIBLE, "beta")
ATTRIBUTES: tuple[dict[str, Any], ...] = (
    {},
    {TRAIT: True},
    {TRAIT: "true"},
    {TRAIT: 1},
    {"vip": True, "anonymous": True},
)
OTHERS: tuple[dict[str, Any], ...] = ({}, {"device": {TRAIT: True}})
PEOPLE = [
    Probe("", ("k1", "k2"), False, "user", attributes, groups, others)
    for size in range(len(GROUPS) + 1)
    for groups in combinations(GROUPS, size)
    for attributes, others in product(ATTRIBUTES, OTHERS)
] + [
    Probe("", ("k1", "k2"), False, kind, attributes)
    for kind in ("device", "org")
    for attributes in ATTRIBUTES
]


def some_clause(chance: random.Random) -> dict[str, Any]:
    group = chance.choice(GROUPS)
    kind = chance.choice([{}, {}, {"contextKind": "user"}, {"contextKind": "device"}])
    return chance.choice(
        [
            member(group),
            member(group),
            member(ELIGIBLE, group),
            member(group, negate=True),
            clause(TRAIT, "in", True, **kind),
            clause(TRAIT, "in", "true"),
            clause(TRAIT, "in", True, negate=True),
            clause("vip", "in", True),
            clause("kind", "in", chance.choice(["user", "device"]), negate=chance.random() < 0.3, **kind),
            clause("key", "in", "k1"),
            clause("", "in", "x"),
            {**member(), "values": []},
        ]
    )


def some_draw(chance: random.Random) -> dict[str, Any]:
    weights = chance.choice(
        [
            ((1, 100_000),),
            ((1, 100_000), (0, 0)),
            ((0, 0), (1, 100_000)),
            ((1, 50_000), (0, 50_000)),
            ((0, 50_000), (1, 50_000)),
            ((1, 60_000), (0, 0)),
            ((0, 100_000),),
        ]
    )
    more = chance.choice(
        [{}, {"seed": 61}, {"bucketBy": "company"}, {"contextKind": "org"}, {"bucketBy": "key"}]
    )
    vendors = (
        {"experimentAllocation": {"defaultVariation": 1, "canReshuffle": False}}
        if chance.random() < 0.2
        else {}
    )
    return rollout(*weights, **more, **vendors)


def some_serve(chance: random.Random) -> int | dict[str, Any]:
    return chance.choice([0, 0, 1, 1, some_draw(chance), some_draw(chance), 7])


def some_flag(chance: random.Random, spec: str) -> dict[str, Any]:
    """Return the safe flag with one or two things done to it."""
    eligible = member(ELIGIBLE) if spec == BOOLEAN else clause(TRAIT, "in", True)
    told = flag(rule(1, member(UNIVERSAL)), rule(1, member(HOLDOUT)), rule(0, eligible))
    it = here(told)
    for _ in range(chance.choice([1, 1, 2])):
        rules = it["rules"]
        what = chance.randrange(14)
        if what < 5:
            added = [some_clause(chance) for _ in range(chance.choice([0, 1, 1, 1, 2, 2]))]
            disabled = {"disabled": True} if chance.random() < 0.1 else {}
            rules.insert(chance.randint(0, len(rules)), rule(some_serve(chance), *added, **disabled))
        elif what == 5 and rules:
            rules[chance.randrange(len(rules))]["clauses"].append(some_clause(chance))
        elif what == 6 and rules:
            at = chance.randrange(len(rules))
            rules[at] = rule(some_serve(chance), *rules[at]["clauses"])
        elif what == 7:
            chance.shuffle(rules)
        elif what == 8 and rules:
            rules.pop(chance.randrange(len(rules)))
        elif what == 9:
            it["fallthrough"] = chance.choice([{"variation": 0}, {}, {"rollout": some_draw(chance)}])
        elif what == 10:
            kind = chance.choice(["user", "device"])
            target = {"values": ["k1"], "variation": chance.choice([0, 1]), "contextKind": kind}
            it[chance.choice(["targets", "contextTargets"])] = [target]
        elif what == 11:
            it["offVariation"] = chance.choice([0, 1, None])
        else:
            rules.insert(chance.randint(0, len(rules)), rule(1, some_clause(chance)))
    return told


def may_be_treated(person: Probe, spec: str) -> bool:
    if {UNIVERSAL, HOLDOUT} & set(person.segments):
        return False
    if spec == BOOLEAN:
        return ELIGIBLE in person.segments
    return person.kind == "user" and person.attributes.get(TRAIT) is True


@pytest.mark.parametrize("spec", [BOOLEAN, LOOKUP], ids=["segments", "lookup"])
def test_where_no_check_fails_the_sdk_serves_the_control_to_all_who_must_get_it(spec):
    chance = random.Random(20261005)
    found_safe, found_leaking, probed = 0, 0, 0
    for _ in range(FLAGS):
        broken = segment(ELIGIBLE, rules=[{"clauses": [some_clause(chance)]}])
        oddly = (broken,) if spec == BOOLEAN and chance.random() < 0.1 else ()
        audited = subject(some_flag(chance, spec), spec, segments=(segment("beta"), *oddly))
        segments = {key: each for key, each in audited.segments.items() if each}
        with offline_sdk(audited.flag, segments, {}) as sdk:
            leaked = [
                person
                for person in PEOPLE
                if not may_be_treated(person, spec)
                and any(not audited.is_control(each.place) for each in sdk.serve_probe(person))
            ]
        if not findings(audited):
            found_safe += 1
            assert not leaked, (audited.flag, leaked[0])
        elif leaked:
            found_leaking += 1
            probed += bool(outcomes(audited))
    assert found_safe > FLAGS / 10
    assert found_leaking > FLAGS / 10
    assert probed > 0.9 * found_leaking  # the probes alone find nearly all of them
    print(f"\n{FLAGS} flags: {found_safe} safe, {found_leaking} leak, of which probes found {probed}")
