"""Customer.io's people filter: and, or, not, segment, attribute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from toolkit.sandbox.customerio import CustomerIO, Person, as_text

__all__ = ["FilterError", "matching"]

Test = Callable[[Person], bool]


class FilterError(ValueError):
    """The filter is not in the vendor's form; the message says where."""


def matching(state: CustomerIO, condition: Any) -> list[int]:
    """Return the numbers of the people whom a filter fits, ascending.

    Raises:
        FilterError: the filter is not in the vendor's form.
    """
    fits = _test(state, condition)
    return [person.number for person in state.people if fits(person)]


def _test(state: CustomerIO, condition: Any) -> Test:
    if not isinstance(condition, dict) or len(condition) != 1:
        raise FilterError("a filter holds exactly one of and, or, not, segment, attribute")
    kind, value = next(iter(condition.items()))
    if kind in ("and", "or"):
        if not isinstance(value, list) or not value:
            raise FilterError(f"`{kind}` needs a list of filters")
        tests = [_test(state, each) for each in value]
        joined = all if kind == "and" else any
        return lambda person: joined(test(person) for test in tests)
    if kind == "not":
        inner = _test(state, value)
        return lambda person: not inner(person)
    if kind == "segment":
        segment = state.segments.get(value.get("id", 0)) if isinstance(value, dict) else None
        if segment is None:
            raise FilterError("no such segment")
        members = frozenset(state.members(segment))
        return lambda person: person.number in members
    if kind == "attribute" and isinstance(value, dict) and isinstance(value.get("field"), str):
        name, operator, wanted = value["field"], value.get("operator"), as_text(value.get("value"))
        if operator == "exists":
            return lambda person: name in _attributes(person)
        if operator == "eq":
            return lambda person: name in _attributes(person) and as_text(_attributes(person)[name]) == wanted
    raise FilterError(f"`{kind}` cannot be understood")


def _attributes(person: Person) -> dict[str, Any]:
    """Return a person's attributes together with the identifiers that are set."""
    return {**person.attributes, **{name: key for name, key in person.identifiers().items() if key}}
