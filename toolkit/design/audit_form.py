"""Static checks of a flag's form: variations, conditions, spelling, draws."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from toolkit.design.findings import Finding, failed, passed, warned
from toolkit.design.flag_contract import in_json, same_value
from toolkit.design.flags import TOTAL_WEIGHT, Clause, Rollout, Rule
from toolkit.design.served import KEY, Subject

__all__ = [
    "check_attributes",
    "check_bucketing",
    "check_clauses",
    "check_negation",
    "check_variations",
    "check_weights",
]

ALIKE = 0.9
"""How alike two names are, from 0 to 1, for one to be taken for a misspelling of the other."""
BROKEN_REFERENCE = re.compile(r"^/?$|^/.*(//|/$|~[^01]|~$)")
"""An attribute's path that no SDK can follow; evaluation ends in the application's default."""


def check_variations(subject: Subject) -> Iterator[Finding]:
    """Check that each value of the contract is a variation, in the contract's type."""
    contract, flag = subject.contract, subject.flag
    missing = [
        each for each in (contract.control, *contract.treatments) if not contract.places_of(flag, each)
    ]
    typed = "a boolean" if isinstance(contract.control, bool) else "a text"
    for value in missing:
        yield failed(
            "variations",
            f"no variation is {in_json(value)} ({typed}); the flag has {subject.shown(*range(len(flag.variations)))}",
            f"add a variation with the value {in_json(value)} as {typed}, or name the variation so where values are"
            " objects",
        )
    foreign = [place for place in range(len(flag.variations)) if subject.is_foreign(place)]
    if missing:
        return
    if foreign:
        yield warned(
            "variations",
            f"{subject.shown(*foreign)} stands for no value of the experiment",
            "remove what nobody needs, or add it to the trait",
        )
    else:
        yield passed(
            "variations", "every variation is a value of the experiment, and every value a variation"
        )


def check_clauses(subject: Subject) -> Iterator[Finding]:
    """Check that every rule has conditions, and that each of them can be evaluated."""
    safe = True
    for rule in subject.flag.rules:
        if not rule.clauses:
            safe = False
            yield failed("clauses", "it has no condition, so everybody fits", "remove the rule", rule)
        for clause in rule.clauses:
            if not clause.values:
                safe = False
                yield failed(
                    "clauses",
                    f"its condition on {_name(clause)} names no value, so nobody fits"
                    + (", and negated everybody" if clause.negate else ""),
                    "name the values, or remove the rule",
                    rule,
                )
            elif not clause.is_segment and BROKEN_REFERENCE.search(clause.attribute):
                safe = False
                yield failed(
                    "clauses",
                    f"no application can follow the attribute {clause.attribute!r}; it gets its own default",
                    "write the attribute's name",
                    rule,
                )
    if safe:
        yield passed("clauses", "every rule has conditions that can be evaluated")


def check_negation(subject: Subject) -> Iterator[Finding]:
    """Check that no segment is negated: where it or its store is missing, everybody fits."""
    negated = [
        (rule, clause)
        for rule in subject.flag.rules
        for clause in rule.clauses
        if clause.is_segment and clause.negate
    ]
    for rule, clause in negated:
        detail = f"everybody fits its negated condition on {_name(clause)} once the segment or its store is missing"
        if subject.may_treat(rule):
            yield failed("negation", detail, "ask for membership instead, and negate nothing", rule)
        else:
            yield warned(
                "negation", f"{detail}; they are served the control", "ask for membership instead", rule
            )
    if not negated:
        yield passed("negation", "no segment is negated")


def check_attributes(subject: Subject) -> Iterator[Finding]:
    """Check attributes' spelling and their values' types against the traits."""
    contract = subject.contract
    known = [*contract.names, *([contract.do_not_offer] if contract.do_not_offer else [])]
    safe = True
    for rule in subject.flag.rules:
        for clause in rule.clauses:
            if clause.is_segment:
                continue
            close = next((name for name in known if _misspells(clause.attribute, name)), None)
            if close:
                safe = False
                yield failed(
                    "attributes",
                    f"`{clause.attribute}` looks like `{close}` misspelled; nobody has it",
                    f"write `{close}`",
                    rule,
                )
            wrong = [each for each in clause.values if not _could_be(subject, clause, each)]
            if wrong:
                safe = False
                yield failed(
                    "attributes",
                    f"`{clause.attribute}` is compared with {', '.join(map(_quoted, wrong))}, which it never is",
                    f"compare with {_domain(subject, clause.attribute)}",
                    rule,
                )
    if safe:
        yield passed("attributes", "attributes are spelled and typed as the traits are")


def check_bucketing(subject: Subject) -> Iterator[Finding]:
    """Check that draws are by what everyone has, or serve the control first to those who lack it."""
    faults = 0
    for rule, rollout in _rollouts(subject):
        sure = subject.surely_drawn(rollout, sure=subject.needs_kind(rule) if rule else False)
        first = _first_served(subject, rollout)
        if not sure and first is not None and not subject.is_control(first):
            faults += 1
            by_key = rollout.experiment or rollout.bucket_by in (None, KEY)
            lack = "a context of its kind" if by_key else f"`{rollout.bucket_by}`"
            yield failed(
                "bucketing",
                f"{_where(rule)}everyone without {lack} is served {subject.shown(first)}, the first of the draw",
                f"draw contexts of kind `{subject.contract.kind}` by `key`, and put the control first or ask for the kind"
                " in a condition",
                rule,
            )
    if not faults:
        yield passed("bucketing", "whoever lacks what a draw goes by is served the control")


def check_weights(subject: Subject) -> Iterator[Finding]:
    """Check that weights sum to 100,000: the last variation of a draw takes what is left over."""
    faults = 0
    for rule, rollout in _rollouts(subject):
        total = sum(each.weight for each in rollout.variations)
        if total != TOTAL_WEIGHT or any(each.weight < 0 for each in rollout.variations):
            faults += 1
            yield failed(
                "weights",
                f"{_where(rule)}weights sum to {total:,}, not {TOTAL_WEIGHT:,}; the last variation takes the rest",
                f"let the weights sum to {TOTAL_WEIGHT:,}",
                rule,
            )
    if not faults:
        yield passed("weights", f"the weights of each draw sum to {TOTAL_WEIGHT:,}")


def _rollouts(subject: Subject) -> Iterator[tuple[Rule | None, Rollout]]:
    flag = subject.flag
    for rule, serve in (*((rule, rule.serve) for rule in flag.rules), (None, flag.fallthrough)):
        if serve.variation is None and serve.rollout and serve.rollout.variations:
            yield rule, serve.rollout


def _first_served(subject: Subject, rollout: Rollout) -> int | None:
    """Return what is served to those who lack what the draw goes by, None where that is the control at any rate.

    Without the kind it is the first variation whatever its weight, without the attribute the first that weighs.
    """
    if all(subject.is_control(each.variation) for each in rollout.variations):
        return None
    firsts = [rollout.variations[0]]
    if rollout.bucket_by not in (None, KEY) and not rollout.experiment:
        firsts += [each for each in rollout.variations if each.weight > 0][:1]
    return next(
        (each.variation for each in firsts if not subject.is_control(each.variation)), firsts[0].variation
    )


def _misspells(attribute: str, name: str) -> bool:
    if attribute.removeprefix("/") == name:
        return False
    bare, wanted = (re.sub(r"[^a-z0-9]", "", each.lower()) for each in (attribute, name))
    return bare == wanted or difflib.SequenceMatcher(None, bare, wanted).ratio() >= ALIKE


def _could_be(subject: Subject, clause: Clause, value: object) -> bool:
    """Return whether the clause's attribute can ever be `value`; of other attributes nothing is known."""
    contract = subject.contract
    if clause.attribute in contract.own:
        allowed = (contract.control, *contract.own[clause.attribute])
        return any(same_value(value, each) for each in allowed)
    if clause.attribute == contract.do_not_offer:
        return value not in ("true", "True", "false", "False")
    return True


def _domain(subject: Subject, attribute: str) -> str:
    values = subject.contract.own.get(attribute, (True,))
    return " or ".join(
        f"{in_json(each)}{' (a boolean, no text)' if isinstance(each, bool) else ''}" for each in values
    )


def _quoted(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else in_json(value)


def _where(rule: Rule | None) -> str:
    return "" if rule else "the fallthrough: "


def _name(clause: Clause) -> str:
    if clause.is_segment:
        return f"segment {', '.join(map(str, clause.values)) or '(none)'}"
    return f"`{clause.attribute}`"
