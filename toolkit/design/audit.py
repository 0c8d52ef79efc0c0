"""Static checks of a flag: what its targeting says about who could be served a treatment.

`CHECKS` names them. Each yields findings; a check that finds nothing wrong yields one that passes. What is
shown here holds for every context; `toolkit.design.probes` asks the vendor's own SDK the same questions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from toolkit.design.audit_form import (
    check_attributes,
    check_bucketing,
    check_clauses,
    check_negation,
    check_variations,
    check_weights,
)
from toolkit.design.audit_reads import check_prerequisites, check_segments, check_tracking
from toolkit.design.audit_rollout import check_exclusions, check_rollout, drawing_rule
from toolkit.design.findings import Finding, failed, passed, warned
from toolkit.design.flag_contract import in_json, same_value
from toolkit.design.flags import Rule
from toolkit.design.served import Subject

__all__ = ["CHECKS", "audit_flag"]


def audit_flag(subject: Subject) -> tuple[Finding, ...]:
    """Return what all static checks found, in their order."""
    return tuple(finding for check in CHECKS.values() for finding in check(subject))


def check_state(subject: Subject) -> Iterator[Finding]:
    """Say whether the flag is on; off, everybody is served the control."""
    if subject.flag.archived:
        yield failed("state", "the flag is archived: nobody is served a treatment", "restore the flag")
    elif not subject.flag.on:
        yield warned(
            "state",
            "the flag is off: everybody is served its off variation; what follows holds for when it is on",
            "turn it on when the experiment starts",
        )
    else:
        yield passed("state", "the flag is on")


def check_off(subject: Subject) -> Iterator[Finding]:
    """Check that a flag that is off serves the control."""
    flag = subject.flag
    if flag.off is None:
        yield failed(
            "off",
            "there is no off variation: an application gets its own default, which nobody here knows",
            f"set the off variation to {in_json(subject.contract.control)}",
        )
    elif not subject.is_control(flag.off):
        yield failed(
            "off",
            f"when off, the flag serves {subject.shown(flag.off)}",
            f"set the off variation to {in_json(subject.contract.control)}",
        )
    else:
        yield passed("off", f"off serves {subject.shown(flag.off)}")


def check_fallthrough(subject: Subject) -> Iterator[Finding]:
    """Check that whoever fits no rule is served the control, or is drawn where the rollout is the delivery."""
    places = subject.reach(subject.flag.fallthrough, sure=False)
    strange = [place for place in places if not subject.is_control(place)]
    drawing = drawing_rule(subject) if subject.contract.mode == "rollout" else None
    if not places:
        yield failed(
            "fallthrough",
            "it serves nothing: an application gets its own default, which nobody here knows",
            f"serve {in_json(subject.contract.control)}",
        )
    elif drawing and drawing[0] is None:
        yield passed("fallthrough", "it draws the arms; see `rollout`")
    elif strange:
        yield failed(
            "fallthrough",
            f"whoever fits no rule can be served {subject.shown(*strange)}",
            f"serve {in_json(subject.contract.control)} to all who fit no rule",
        )
    else:
        yield passed("fallthrough", f"whoever fits no rule is served {subject.shown(*places)}")


def check_holdouts(subject: Subject) -> Iterator[Finding]:
    """Check that each holdout is served the control by a rule before any that may serve something else."""
    rules = subject.flag.rules
    treating = next((at for at, rule in enumerate(rules) if subject.may_treat(rule)), len(rules))
    for segment in subject.contract.holdouts:
        at = next((at for at, rule in enumerate(rules) if subject.holds_out(rule, segment)), None)
        mend = f"make it the first rule: if in segment {segment}, serve {in_json(subject.contract.control)}"
        if at is None:
            yield failed("holdouts", f"no rule serves the control to all members of {segment}", mend)
        elif at > treating:
            first = rules[treating]
            yield failed(
                "holdouts",
                f"rule {rules[at].number} holds out {segment} only after rule {first.number}, which can serve "
                f"{subject.shown(*subject.reach_of(first))}",
                mend,
                rules[at],
            )
        else:
            yield passed("holdouts", f"rule {rules[at].number} holds out {segment} before any treatment")


def check_targets(subject: Subject) -> Iterator[Finding]:
    """Check that nobody is served a treatment by their key alone."""
    strange = [each for each in subject.flag.targets if not subject.is_control(each.variation)]
    for each in strange:
        yield failed(
            "targets",
            f"{len(each.keys):,} contexts of kind `{each.kind}` are individually served "
            f"{subject.shown(each.variation)}, before any rule",
            "remove these individual targets",
        )
    if not strange:
        yield passed("targets", "nobody is individually served a treatment")


def check_eligible_only(subject: Subject) -> Iterator[Finding]:
    """Check that rules serve treatments only to those whom the contract promises them."""
    drawing = drawing_rule(subject) if subject.contract.mode == "rollout" else None
    safe = True
    for rule in subject.flag.rules:
        if drawing and rule is drawing[0]:
            continue
        for place in subject.reach_of(rule):
            finding = _stranger(subject, rule, place)
            if finding:
                safe = safe and finding.status != "fail"
                yield finding
    if safe:
        yield passed("eligible_only", "rules serve treatments to those alone who are to have them")


def _stranger(subject: Subject, rule: Rule, place: int) -> Finding | None:
    """Return what is wrong with a rule's serving the variation at `place`, if anything."""
    if subject.is_control(place) or subject.is_gated(rule, place):
        return None
    value = subject.shown(place)
    if not 0 <= place < len(subject.flag.variations):
        return failed("eligible_only", f"it serves {value}", "serve a variation of the flag", rule)
    if subject.is_foreign(place):
        return warned(
            "eligible_only",
            f"it can serve {value}, which is no value of this experiment: customers of either arm may get it",
            "keep it after this experiment's rules, or in a flag of its own",
            rule,
        )
    return failed(
        "eligible_only",
        f"it can serve {value} to people who are not eligible for it",
        _gate(subject, place),
        rule,
    )


def _gate(subject: Subject, place: int) -> str:
    value = subject.contract.value_of(subject.flag, place)
    who = [each.who for each in subject.contract.promises if same_value(each.value, value)]
    if not who:
        return "remove the rule; the rollout alone serves treatments"
    return f"serve it to {' or '.join(who)} only, by a condition of its own that is not negated"


def check_delivery(subject: Subject) -> Iterator[Finding]:
    """Check that everyone who is promised a value is served it."""
    for promise in subject.contract.promises:
        rule = next((each for each in subject.flag.rules if subject.delivers(each, promise)), None)
        if rule:
            value = in_json(promise.value)
            yield passed("delivery", f"rule {rule.number} serves {value} to {promise.who}")
        else:
            yield failed(
                "delivery",
                f"no rule serves {in_json(promise.value)}, and nothing else, to all {promise.who}",
                "add such a rule, with that condition alone, after the holdouts",
            )


CHECKS: Mapping[str, Callable[[Subject], Iterator[Finding]]] = {
    "state": check_state,
    "variations": check_variations,
    "off": check_off,
    "fallthrough": check_fallthrough,
    "holdouts": check_holdouts,
    "targets": check_targets,
    "eligible_only": check_eligible_only,
    "delivery": check_delivery,
    "rollout": check_rollout,
    "exclusions": check_exclusions,
    "clauses": check_clauses,
    "negation": check_negation,
    "attributes": check_attributes,
    "bucketing": check_bucketing,
    "weights": check_weights,
    "segments": check_segments,
    "prerequisites": check_prerequisites,
    "tracking": check_tracking,
}
"""Name → check, in the order in which they are shown; `rollout` and `exclusions` are about that mode alone."""
