"""Faulty flags, each caught by a rule and, where people meet the fault, by LaunchDarkly's own SDK; sound ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.design.flags_at_hand import (
    BOOLEAN,
    ELIGIBLE,
    ENUM,
    HOLDOUT,
    LOOKUP,
    ROLLOUT,
    UNIVERSAL,
    clause,
    contract,
    findings,
    flag,
    here,
    member,
    outcomes,
    rollout,
    rule,
    safe,
    segment,
    subject,
)
from toolkit.design.audit import audit_flag
from toolkit.design.flags import read_flag
from toolkit.design.parse import parse_experiment
from toolkit.design.people import Probe
from toolkit.design.probes import probes_of
from toolkit.errors import SpecError, UnexpectedAnswer
from toolkit.steps.evaluation import offline_sdk, try_probes


def spoiled(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    told = safe()
    change(here(told))
    return told


def with_rule(*added: dict[str, Any], at: int = 3) -> dict[str, Any]:
    return spoiled(lambda it: it["rules"].__setitem__(slice(at, at), added))


FAULTY: dict[str, tuple[Any, str, str | None]] = {
    # name: what is audited, the check that fails, a part of the name of a probe that fails
    "the fallthrough serves the treatment": (
        subject(safe(fallthrough={"variation": 0})),
        "fallthrough",
        "new",
    ),
    "one in two hundred falls through to the treatment": (
        subject(safe(fallthrough={"rollout": rollout((1, 97_000), (0, 3_000))})),
        "fallthrough",
        "new",
    ),
    "the fallthrough serves nothing": (subject(safe(fallthrough={})), "fallthrough", "new"),
    "off serves the treatment": (subject(safe(offVariation=0)), "off", "new"),
    "off serves the application's default": (subject(safe(offVariation=None)), "off", "new"),
    "the holdout's rule comes after the treatment's": (
        subject(spoiled(lambda it: it["rules"].insert(0, it["rules"].pop()))),
        "holdouts",
        "holdout, wrongly among",
    ),
    "the universal holdout has no rule": (
        subject(spoiled(lambda it: it["rules"].pop(0))),
        "holdouts",
        "universal holdout, wrongly among",
    ),
    "the holdout's rule asks for more than the holdout": (
        subject(spoiled(lambda it: it["rules"][1]["clauses"].append(clause("country", "in", "DE")))),
        "holdouts",
        "holdout, wrongly among",
    ),
    "the holdout's rule is disabled": (
        subject(spoiled(lambda it: it["rules"][1].update(disabled=True))),
        "holdouts",
        "holdout, wrongly among",
    ),
    "the holdout's rule is negated": (
        subject(spoiled(lambda it: it["rules"][1]["clauses"][0].update(negate=True))),
        "holdouts",
        "holdout, wrongly among",
    ),
    "a person is targeted": (
        subject(safe(targets=[{"values": ["somebody"], "variation": 0}])),
        "targets",
        "individually targeted",
    ),
    "a device is targeted": (
        subject(safe(contextTargets=[{"values": ["phone"], "variation": 0, "contextKind": "device"}])),
        "targets",
        "individually targeted",
    ),
    "a negated segment lets everybody in": (
        subject(with_rule(rule(0, member("employees", negate=True)))),
        "negation",
        "new",
    ),
    "a negated segment beside the eligible": (
        subject(
            spoiled(
                lambda it: it["rules"][2].update(clauses=[member(ELIGIBLE), member("barred", negate=True)])
            )
        ),
        "negation",
        None,
    ),
    "a rule without conditions": (subject(with_rule(rule(0))), "clauses", "new"),
    "an attribute that no SDK can follow": (
        subject(with_rule(rule(0, clause("/a//b", "in", 1, contextKind="user")), at=2)),
        "clauses",
        "new",
    ),
    "a rule for VIPs, enrolled or not": (
        subject(with_rule(rule(0, clause("vip", "in", True)))),
        "eligible_only",
        "VIP, not enrolled",
    ),
    "a rule for testers' addresses": (
        subject(with_rule(rule(0, clause("email", "endsWith", "@example.com")))),
        "eligible_only",
        "new, fits rule 4",
    ),
    "a rule for adults, before the holdouts": (
        subject(with_rule(rule(0, clause("age", "greaterThan", 17)), at=0)),
        "holdouts",
        "holdout, fits rule 1",
    ),
    "a rule for another team's segment": (
        subject(with_rule(rule(0, member("beta-testers")))),
        "eligible_only",
        "new, fits rule 4",
    ),
    "eligible or in another team's segment": (
        subject(spoiled(lambda it: it["rules"][2].update(clauses=[member(ELIGIBLE, "beta-testers")]))),
        "eligible_only",
        "new, fits rule 3",
    ),
    "the application is trusted where segments are pushed": (
        subject(with_rule(rule(0, clause("free_shipping_eligible", "in", True)))),
        "eligible_only",
        "says to be free_shipping_eligible",
    ),
    "only eligible customers of one country": (
        subject(spoiled(lambda it: it["rules"][2]["clauses"].append(clause("country", "in", "DE")))),
        "delivery",
        "returning, enrolled",
    ),
    "the eligible are drawn once more": (
        subject(
            spoiled(
                lambda it: it["rules"].__setitem__(
                    2, rule(rollout((0, 50_000), (1, 50_000)), member(ELIGIBLE))
                )
            )
        ),
        "delivery",
        "returning, enrolled",
    ),
    "a draw by an attribute that may be missing": (
        subject(safe(fallthrough={"rollout": rollout((0, 1), (1, 99_999), bucketBy="company")})),
        "bucketing",
        "new",
    ),
    "a draw of another kind, whose first variation has no weight": (
        subject(safe(fallthrough={"rollout": rollout((0, 0), (1, 100_000), contextKind="company")})),
        "bucketing",
        "new",
    ),
    "weights that leave a rest": (
        subject(safe(fallthrough={"rollout": rollout((1, 90_000), (0, 0))})),
        "weights",
        "new",
    ),
    "values that are texts": (
        subject(flag(*here(safe())["rules"], values=("true", "false"))),
        "variations",
        "new",
    ),
    "values that are numbers": (
        subject(flag(*here(safe())["rules"], values=(1, 0))),
        "variations",
        "new",
    ),
    "a variation that is not there": (
        subject(spoiled(lambda it: it["rules"][2].update(variation=7))),
        "eligible_only",
        "returning, enrolled",
    ),
    "a condition on the text true": (
        subject(with_rule(rule(0, clause("free_shipping_eligible", "in", "true")))),
        "attributes",
        "free_shipping_eligible of a wrong type",
    ),
    "an attribute misspelled": (
        subject(with_rule(rule(0, clause("freeShippingEligible", "in", True)))),
        "attributes",
        "new, fits rule 4",
    ),
    "the holdout's segment is missing": (
        subject(safe(), without=(HOLDOUT,)),
        "segments",
        "holdout, wrongly among",
    ),
    "the eligible's segment is missing": (
        subject(safe(), without=(ELIGIBLE,)),
        "segments",
        "returning, enrolled",
    ),
    "the eligible's segment makes members by rule": (
        subject(safe(), segments=(segment(ELIGIBLE, rules=[{"clauses": [clause("country", "in", "DE")]}]),)),
        "segments",
        f"new, fits rule 1 of segment {ELIGIBLE}",
    ),
    "a prerequisite that is not there": (
        subject(safe(prerequisites=[{"key": "gone", "variation": 0}])),
        "prerequisites",
        None,
    ),
    "flags that need each other": (
        subject(
            safe(prerequisites=[{"key": "other", "variation": 0}]),
            flags=({**flag(prerequisites=[{"key": "banner", "variation": 0}]), "key": "other"},),
        ),
        "prerequisites",
        "new",
    ),
    "exposures of one arm": (
        subject(spoiled(lambda it: (it.update(trackEvents=False), it["rules"][2].update(trackEvents=True)))),
        "tracking",
        None,
    ),
    "the flag is archived": (subject({**safe(), "archived": True}), "state", "returning, enrolled"),
    "an enum's values are swapped": (
        subject(
            flag(
                rule(0, member(UNIVERSAL, HOLDOUT)),
                rule(2, member("lift-offer-free-shipping")),
                rule(1, member("lift-offer-ten-percent")),
                values=("none", "free_shipping", "ten_percent"),
                fallthrough={"variation": 0},
                offVariation=0,
            ),
            ENUM,
        ),
        "eligible_only",
        "returning, enrolled",
    ),
    "an enum's value is misspelled": (
        subject(
            flag(
                rule(0, member(UNIVERSAL, HOLDOUT)),
                rule(1, member("lift-offer-free-shipping")),
                rule(2, member("lift-offer-ten-percent")),
                values=("none", "free-shipping", "ten_percent"),
                fallthrough={"variation": 0},
                offVariation=0,
            ),
            ENUM,
        ),
        "variations",
        "returning, enrolled",
    ),
    "a rollout of another seed": (
        subject(
            flag(
                rule(1, member(UNIVERSAL)),
                rule(1, clause("do_not_offer", "in", True)),
                fallthrough={"rollout": rollout((1, 10_000), (0, 90_000), seed=62)},
            ),
            ROLLOUT,
        ),
        "rollout",
        "enrolled, arm holdout",
    ),
    "a rollout of other shares": (
        subject(
            flag(
                rule(1, member(UNIVERSAL)),
                rule(1, clause("do_not_offer", "in", True)),
                fallthrough={"rollout": rollout((1, 5_000), (0, 95_000), seed=61)},
            ),
            ROLLOUT,
        ),
        "rollout",
        "enrolled, arm holdout",
    ),
    "a rollout in another order": (
        subject(
            flag(
                rule(1, member(UNIVERSAL)),
                rule(1, clause("do_not_offer", "in", True)),
                fallthrough={"rollout": rollout((0, 90_000), (1, 10_000), seed=61)},
            ),
            ROLLOUT,
        ),
        "bucketing",
        "without the context kind",
    ),
    "a rollout that offers to whom it must not": (
        subject(
            flag(
                rule(1, member(UNIVERSAL)),
                fallthrough={"rollout": rollout((1, 10_000), (0, 90_000), seed=61)},
            ),
            ROLLOUT,
        ),
        "exclusions",
        "do_not_offer",
    ),
    "a looked-up attribute compared with a text": (
        subject(
            flag(
                rule(1, member(UNIVERSAL, HOLDOUT)), rule(0, clause("free_shipping_eligible", "in", "true"))
            ),
            LOOKUP,
        ),
        "attributes",
        "of a wrong type",
    ),
    "a looked-up attribute negated": (
        subject(
            flag(
                rule(1, member(UNIVERSAL, HOLDOUT)),
                rule(0, clause("free_shipping_eligible", "in", True)),
                rule(0, clause("free_shipping_eligible", "in", True, negate=True)),
            ),
            LOOKUP,
        ),
        "eligible_only",
        "of an unknown value",
    ),
    "a looked-up attribute before the holdout": (
        subject(
            flag(rule(0, clause("free_shipping_eligible", "in", True)), rule(1, member(UNIVERSAL, HOLDOUT))),
            LOOKUP,
        ),
        "holdouts",
        "holdout, wrongly among",
    ),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_a_faulty_flag_is_caught_by_a_rule_and_by_whoever_meets_the_fault(fault):
    audited, check, probe = FAULTY[fault]
    failed = findings(audited)
    assert check in {each.check for each in failed}, failed
    assert all(each.mend for each in failed)
    if probe:
        met = [each.probe.name for each in outcomes(audited)]
        assert any(probe in name for name in met), met


def winback(*more: dict[str, Any], values: tuple[Any, ...], **targeting: Any) -> dict[str, Any]:
    return flag(
        rule(0, member(UNIVERSAL, HOLDOUT)),
        rule(1, member("lift-offer-free-shipping")),
        rule(2, member("lift-offer-ten-percent")),
        *more,
        values=values,
        **({"fallthrough": {"variation": 0}, "offVariation": 0} | targeting),
    )


DRAWN = (rule(1, member(UNIVERSAL)), rule(1, clause("do_not_offer", "in", True)))
SOUND: dict[str, Any] = {
    "boolean": subject(safe()),
    "enum": subject(winback(values=("none", "free_shipping", "ten_percent")), ENUM),
    "JSON objects by the trait's name": subject(
        winback(
            values=tuple({"offer": each, "text": "!"} for each in ("none", "free_shipping", "ten_percent"))
        ),
        ENUM,
    ),
    "one rule for both holdouts": subject(
        flag(rule(1, member("qa-bots", UNIVERSAL, HOLDOUT)), rule(0, member(ELIGIBLE)))
    ),
    "other teams' rules that serve the control": subject(
        with_rule(
            rule(1, clause("country", "in", "CU", "IR")),
            rule(1, clause("appVersion", "semVerLessThan", "3.0.0")),
            at=0,
        )
    ),
    "a draw among controls of another team": subject(
        with_rule(rule(rollout((1, 100_000), seed=7), clause("beta", "in", True)))
    ),
    "the eligible by a draw of one variation": subject(
        flag(*here(safe())["rules"][:2], rule(rollout((0, 100_000), seed=61), member(ELIGIBLE)))
    ),
    "a person targeted to the control": subject(safe(targets=[{"values": ["somebody"], "variation": 1}])),
    "a prerequisite that is on for all": subject(
        safe(prerequisites=[{"key": "checkout", "variation": 0}]),
        flags=({**flag(fallthrough={"variation": 0}), "key": "checkout"},),
    ),
    "a disabled rule that would leak": subject(with_rule(rule(0, disabled=True), at=0)),
    "exposures recorded rule by rule": subject(
        spoiled(
            lambda it: (
                it.update(trackEvents=False, trackEventsFallthrough=True),
                [each.update(trackEvents=True) for each in it["rules"]],
            )
        )
    ),
    "other environments as they like": subject(
        {
            **safe(),
            "environments": {
                **safe()["environments"],
                "test": {"on": True, "fallthrough": {"variation": 0}, "offVariation": 0},
            },
        }
    ),
    "a fallthrough by a draw that is always the control": subject(
        safe(fallthrough={"rollout": rollout((1, 100_000), (0, 0))})
    ),
    "a percentage rollout with the seed": subject(
        flag(*DRAWN, fallthrough={"rollout": rollout((1, 10_000), (0, 90_000), seed=61, contextKind="user")}),
        ROLLOUT,
    ),
    "an experiment's rollout with the seed": subject(
        flag(
            *DRAWN,
            fallthrough={
                "rollout": rollout(
                    (1, 10_000),
                    (0, 90_000),
                    seed=61,
                    experimentAllocation={"defaultVariation": 1, "canReshuffle": False},
                )
            },
        ),
        ROLLOUT,
    ),
    "a rollout in a rule that asks for the kind": subject(
        flag(*DRAWN, rule(rollout((1, 10_000), (0, 90_000), seed=61), clause("kind", "in", "user"))), ROLLOUT
    ),
    "a looked-up attribute": subject(
        flag(
            rule(1, member(UNIVERSAL)),
            rule(1, member(HOLDOUT)),
            rule(0, clause("free_shipping_eligible", "in", True)),
        ),
        LOOKUP,
    ),
}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_flag_is_accused_of_nothing(name):
    audited = SOUND[name]
    assert {each.status for each in audit_flag(audited)} == {"pass"}
    assert {each.status for each in try_probes(audited, probes_of(audited))} == {"pass"}


def test_a_draw_reaches_its_last_variation_with_the_rest_and_its_first_where_the_kind_is_missing():
    audited = subject(safe(fallthrough={"rollout": rollout((1, 60_000), (0, 0))}))
    assert audited.reach(audited.flag.fallthrough, sure=True) == (1, 0)
    audited = subject(safe(fallthrough={"rollout": rollout((0, 0), (1, 100_000))}))
    assert audited.reach(audited.flag.fallthrough, sure=True) == (1,)
    assert audited.reach(audited.flag.fallthrough, sure=False) == (1, 0)


def test_there_are_faults_and_sound_flags_enough():
    assert len(FAULTY) >= 20
    assert sum(probe is not None for _, _, probe in FAULTY.values()) >= 20
    assert len(SOUND) >= 10


@pytest.mark.parametrize(
    ("audited", "check"),
    [
        (subject(safe(on=False)), "state"),
        (subject(safe(trackEvents=False)), "tracking"),
        (subject(safe(), segments=(segment(HOLDOUT, tags=[]),)), "segments"),
        (subject(safe(), segments=(segment(HOLDOUT, "a"), segment(ELIGIBLE, "a", "b"))), "segments"),
        (subject(with_rule(rule(1, member("employees", negate=True)))), "negation"),
        (
            subject(
                safe(prerequisites=[{"key": "half", "variation": 0}]),
                flags=({**flag(fallthrough={"rollout": rollout((0, 50_000), (1, 50_000))}), "key": "half"},),
            ),
            "prerequisites",
        ),
        (subject(winback(values=("none", "free_shipping", "ten_percent", "spring")), ENUM), "variations"),
    ],
)
def test_what_is_no_danger_by_itself_is_a_warning(audited, check):
    assert findings(audited) == []
    assert outcomes(audited) == []
    assert check in {each.check for each in findings(audited, "warn")}


def test_a_value_of_another_experiment_is_a_warning_after_the_holdouts_and_a_fault_before_them():
    spring = rule(3, member("spring"))
    values = ("none", "free_shipping", "ten_percent", "spring")
    after = subject(winback(spring, values=values), ENUM)
    before = winback(values=values)
    here(before)["rules"].insert(0, spring)
    assert findings(after) == []
    assert {each.check for each in findings(after, "warn")} == {"variations", "eligible_only"}
    assert [each.probe.name for each in outcomes(after, "warn")] == ["new, fits rule 4"]
    assert {each.check for each in findings(subject(before, ENUM))} == {"holdouts"}
    leaked = [each for each in outcomes(subject(before, ENUM)) if each.leak]
    assert {each.probe.name for each in leaked} >= {"holdout, fits rule 1", "universal holdout, fits rule 1"}


def test_a_leak_names_the_rule_that_decided_and_how_many_it_struck():
    audited = subject(with_rule(rule(rollout((1, 50_000), (0, 50_000)), clause("vip", "in", True))))
    vip = next(each for each in outcomes(audited) if each.probe.name == "VIP, not enrolled")
    assert (vip.leak, vip.got, vip.decided_by) == (True, "true", "rule 4")
    assert 0 < vip.wrong < 20
    (finding,) = findings(audited)
    assert (finding.check, finding.rule, finding.rule_id) == ("eligible_only", 4, here_id(audited, 4))


def here_id(audited, number: int) -> str:
    return next(each.id for each in audited.flag.rules if each.number == number)


def test_big_segments_are_asked_for_by_the_sdk_and_fail_safe():
    big = tuple(
        segment(key, unbounded=True, unboundedContextKind="user", generation=2)
        for key in (UNIVERSAL, HOLDOUT, ELIGIBLE)
    )
    audited = subject(safe(), segments=big)
    assert findings(audited) == []
    assert outcomes(audited) == []
    assert {each.check for each in findings(audited, "warn")} == {"segments"}


def test_another_context_kind_is_audited_as_such():
    spec = BOOLEAN + "identity: {context_kind: customer}\n"
    safe_kind = subject(safe(), spec)
    assert findings(safe_kind) == []
    assert outcomes(safe_kind) == []
    users = subject(safe(), spec, segments=(segment(ELIGIBLE, "a-user"),))
    assert [each.check for each in findings(users)] == ["segments"]


def test_two_traits_of_one_flag_are_one_contract_and_must_agree_on_the_control():
    both = BOOLEAN.replace(
        "flag: banner}]", "flag: banner}, {name: vip_shipping, arms: [free_shipping], flag: banner}]"
    )
    assert contract(both).values == {ELIGIBLE: True, "lift-vip-shipping": True}
    odd = both.replace(
        "{name: vip_shipping, arms: [free_shipping]",
        "{name: offer, type: enum, values: {free_shipping: x}, default: none",
    )
    with pytest.raises(SpecError, match="share the flag"):
        contract(odd)


def test_a_spec_without_a_flag_says_so():
    with pytest.raises(SpecError, match="none names a `flag`"):
        contract(BOOLEAN.replace(", flag: banner", ""))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("seed: 61\n", ""), "needs `seed:`"),
        (("cohort: {source: files,", "cohort: {source: files, layer: a,"), "layer"),
        (("control: holdout\n", "control: holdout\nassignment: {source: files}\n"), "draws by hash"),
    ],
)
def test_a_rollout_that_cannot_be_is_refused_in_the_file(change, said):
    with pytest.raises(SpecError, match=said):
        parse_experiment(ROLLOUT.replace(*change), "shipping.yml")


@pytest.mark.parametrize(
    "change",
    [
        lambda it: it.update(on="yes"),
        lambda it: it.update(rules={}),
        lambda it: it.update(rules=["first"]),
        lambda it: it["rules"][0].update(variation="0"),
        lambda it: it["rules"][0]["clauses"][0].pop("op"),
        lambda it: it.update(prerequisites=[{"key": "other"}]),
    ],
)
def test_an_answer_in_another_shape_is_named_and_not_guessed_at(change):
    with pytest.raises(UnexpectedAnswer, match="LaunchDarkly's flag banner"):
        read_flag(spoiled(change), "production")


def test_people_who_were_tried_leave_no_trace():
    audited = subject(safe(), segments=(segment(UNIVERSAL, unbounded=True, unboundedContextKind="user"),))
    eligible = Probe("", ("k",), True, "user", segments=(ELIGIBLE,))
    held = replace(eligible, segments=(ELIGIBLE, UNIVERSAL))
    with offline_sdk(audited.flag, audited.segments, {}) as sdk:
        served = [
            sdk.serve_probe(each)[0].value
            for each in (eligible, replace(eligible, segments=()), held, eligible)
        ]
    assert served == [True, False, False, True]
