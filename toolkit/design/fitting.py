"""People made to fit a flag's own conditions: whoever would find the hole in a rule, if there is one.

That a probe fits is not promised (a pattern is not solved); whatever it is served must be the control.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from toolkit.design.audit_rollout import drawing_rule
from toolkit.design.flags import USER, Clause
from toolkit.design.people import Probe
from toolkit.design.served import KEY, KIND, Subject

__all__ = ["fitting", "other_kind"]

SOMETHING_ELSE = "lift-probe-other"
BEYOND = {
    "lessThan": -1,
    "lessThanOrEqual": 0,
    "greaterThan": 1,
    "greaterThanOrEqual": 0,
    "before": -1000,
    "after": 1000,
}
"""What to add to a condition's number to fit it."""
FAR = {
    "before": "1970-01-01T00:00:00Z",
    "after": "9999-12-31T23:59:59Z",
    "semVerLessThan": "0.0.0",
    "semVerGreaterThan": "9999.0.0",
}


def fitting(subject: Subject, stranger: Probe, held: Iterable[Probe]) -> Iterator[Probe]:
    """Yield people who fit what the flag asks for and must be served the control all the same.

    They are strangers who fit a rule but for the eligibility that it asks for, strangers who fit a rule of an
    eligibility segment, customers held out who fit a rule wholly, and whoever is targeted by key.
    """
    contract, drawing = subject.contract, drawing_rule(subject)
    for rule in subject.flag.rules:
        if not subject.may_treat(rule) or (contract.mode == "rollout" and drawing and rule is drawing[0]):
            continue
        places = subject.reach_of(rule)
        open_to_all = [each for each in rule.clauses if not any(subject.gates(each, at) for at in places)]
        if open_to_all == [] and rule.clauses:
            continue  # whoever is eligible fits, and is tried as such
        yield _fit(replace(stranger, name=f"new, fits rule {rule.number}"), open_to_all)
        for each in held:
            yield _fit(replace(each, name=f"{each.name}, fits rule {rule.number}"), rule.clauses)
    for key in contract.values if contract.mode == "segments" else ():
        segment = subject.segments.get(key)
        for number, made in enumerate(segment.rules if segment else (), start=1):
            yield _fit(replace(stranger, name=f"new, fits rule {number} of segment {key}"), made.clauses)
    for target in subject.flag.targets:
        if not subject.is_control(target.variation):
            name = f"individually targeted {target.kind} contexts"
            yield replace(stranger, name=name, keys=target.keys, kind=target.kind)


def other_kind(kind: str) -> str:
    """Return a context kind that is not `kind`."""
    return "device" if kind == USER else USER


def _fit(probe: Probe, clauses: Sequence[Clause]) -> Probe:
    for clause in clauses:
        if clause.values:
            probe = _fit_one(probe, clause)
    return probe


def _fit_one(probe: Probe, clause: Clause) -> Probe:
    if clause.is_segment:
        more = () if clause.negate else (str(clause.values[0]),)
        return replace(probe, segments=(*probe.segments, *more))
    wanted = SOMETHING_ELSE if clause.negate else _satisfying(clause)
    if clause.attribute == KIND:
        kind = str(wanted)
        return probe if kind == probe.kind else replace(probe, others={**probe.others, kind: {}})
    kind = clause.kind or USER
    if clause.attribute == KEY and kind == probe.kind:
        return replace(probe, keys=(str(wanted),))
    if kind == probe.kind:
        return replace(probe, attributes=_with(probe.attributes, clause, wanted))
    return replace(probe, others={**probe.others, kind: _with(probe.others.get(kind, {}), clause, wanted)})


def _satisfying(clause: Clause) -> Any:
    value = clause.values[0]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value + BEYOND.get(clause.op, 0)
    return FAR.get(clause.op, value)


def _with(attributes: Any, clause: Clause, value: Any) -> dict[str, Any]:
    """Return the attributes with that of the clause set; with a kind it may be a path into an object."""
    if clause.kind is None or not clause.attribute.startswith("/"):
        return {**attributes, clause.attribute: value}
    *way, last = [step.replace("~1", "/").replace("~0", "~") for step in clause.attribute[1:].split("/")]
    nested: Any = {last: value}
    for step in reversed(way):
        nested = {step: nested}
    return {**attributes, **nested}
