"""Static checks of a flag that draws the arms itself: its rollout has to be the experiment's own draw."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from toolkit.design.findings import Finding, failed, passed
from toolkit.design.flag_contract import in_json
from toolkit.design.flags import USER, Rollout, Rule
from toolkit.design.served import KEY, Subject

__all__ = ["check_exclusions", "check_rollout", "drawing_rule"]


def drawing_rule(subject: Subject) -> tuple[Rule | None, Rollout] | None:
    """Return the rule (None for the fallthrough) that draws the arms, and its rollout; None if none does."""
    for rule in subject.flag.rules:
        if rule.serve.variation is None and rule.serve.rollout and subject.may_treat(rule):
            return rule, rule.serve.rollout
    fallthrough = subject.flag.fallthrough
    if fallthrough.variation is None and fallthrough.rollout:
        return None, fallthrough.rollout
    return None


def check_rollout(subject: Subject) -> Iterator[Finding]:
    """Check that one rollout draws what the ledger drew, and that nothing else serves a treatment."""
    found, contract = drawing_rule(subject), subject.contract
    if contract.mode != "rollout":
        return
    if found is None:
        yield failed(
            "rollout",
            "neither a rule nor the fallthrough draws the arms",
            f"make the fallthrough a percentage rollout with seed {contract.seed}, or say `delivery: {{mode: segments}}`",
        )
        return
    rule, rollout = found
    faults = list(_faults(subject, rule, rollout))
    yield from faults
    if not faults:
        yield passed(
            "rollout", f"the arms are drawn with seed {contract.seed} in the ledger's shares and order"
        )


def check_exclusions(subject: Subject) -> Iterator[Finding]:
    """Check that whoever must not be offered anything is served the control before the draw."""
    contract = subject.contract
    if contract.mode != "rollout" or contract.do_not_offer is None:
        return
    treating = [at for at, rule in enumerate(subject.flag.rules) if subject.may_treat(rule)]
    before = subject.flag.rules[: treating[0]] if treating else subject.flag.rules
    if any(_excludes(subject, rule, contract.do_not_offer) for rule in before):
        yield passed("exclusions", f"a rule on `{contract.do_not_offer}` serves the control before the draw")
    else:
        yield failed(
            "exclusions",
            f"customers with `{contract.do_not_offer}` are drawn like everybody, and could be offered something",
            f"put a rule before the draw: if `{contract.do_not_offer}` is one of true, serve the control; and let the"
            " application pass that attribute",
        )


def _excludes(subject: Subject, rule: Rule, attribute: str) -> bool:
    alone = len(rule.clauses) == 1 and not rule.clauses[0].negate
    return alone and rule.clauses[0].attribute == attribute and not subject.may_treat(rule)


def _faults(subject: Subject, rule: Rule | None, rollout: Rollout) -> Iterator[Finding]:
    contract = subject.contract
    if rollout.seed != contract.seed:
        yield failed(
            "rollout",
            f"it draws with {'its own salt' if rollout.seed is None else f'seed {rollout.seed}'}, the ledger with seed "
            f"{contract.seed}: the arms would not be the ledger's",
            f"give the rollout the seed {contract.seed}",
            rule,
        )
    if rollout.bucket_by not in (None, KEY) and not rollout.experiment:
        yield failed(
            "rollout",
            f"it draws by `{rollout.bucket_by}`, the ledger by the customer's key",
            "bucket by `key`",
            rule,
        )
    if (rollout.kind or USER) != contract.kind:
        yield failed(
            "rollout",
            f"it draws contexts of kind `{rollout.kind or USER}`; customers are of kind `{contract.kind}`",
            f"set the rollout's context kind to `{contract.kind}`",
            rule,
        )
    told = _runs((_value(subject, each.variation), each.weight) for each in rollout.variations)
    wanted = _runs((in_json(contract.arms[arm][0]), weight) for arm, weight in contract.weights.items())
    if told != wanted:
        yield failed(
            "rollout",
            f"it serves {_in_words(told)}; the ledger's arms are {_in_words(wanted)}, in this order",
            "set these weights, in this order",
            rule,
        )


def _value(subject: Subject, place: int) -> str:
    value = subject.contract.value_of(subject.flag, place)
    return "something else" if value is None else in_json(value)


def _runs(parts: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return (value, weight) with neighbours of one value merged, and nothing of no weight."""
    drawn = [part for part in parts if part[1]]
    return [
        (value, sum(weight for _, weight in run)) for value, run in groupby(drawn, key=lambda part: part[0])
    ]


def _in_words(runs: Iterable[tuple[Any, int]]) -> str:
    return ", ".join(f"{value} {weight / 1000:g} %" for value, weight in runs) or "nothing"
