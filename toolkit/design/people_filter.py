"""Customer.io's filter of people: what it may say.

Its own document lets a misspelt filter pass, and a filter that is not understood may fit everybody: so the form is
held here, before anything is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["problem_of"]

KINDS = ("and", "or", "not", "segment", "attribute")
OPERATORS = ("eq", "exists")
DEEPEST = 20


def problem_of(condition: Any, where: str = "filter") -> str | None:
    """Return what is wrong with a filter, naming the place as `filter.and[1].attribute`; None where nothing is."""
    if where.count(".") > DEEPEST:
        return f"{where}: is nested more than {DEEPEST} deep; write it flatter"
    if not isinstance(condition, Mapping) or len(condition) != 1 or next(iter(condition)) not in KINDS:
        said = (
            f", not {', '.join(map(repr, condition))}" if isinstance(condition, Mapping) and condition else ""
        )
        return f"{where}: must hold exactly one of {', '.join(KINDS)}{said}"
    kind, value = next(iter(condition.items()))
    here = f"{where}.{kind}"
    if kind in ("and", "or"):
        if not isinstance(value, list) or not value:
            return f"{here}: must be a list of conditions, with at least one"
        found = (problem_of(each, f"{here}[{at}]") for at, each in enumerate(value))
        return next((each for each in found if each), None)
    if kind == "not":
        return problem_of(value, here)
    return _segment(value, here) if kind == "segment" else _attribute(value, here)


def _segment(value: Any, here: str) -> str | None:
    if isinstance(value, Mapping) and set(value) == {"id"} and type(value["id"]) is int:
        return None
    return f"{here}: must be {{id: 7}}, the number of a segment"


def _attribute(value: Any, here: str) -> str | None:
    if not isinstance(value, Mapping) or not isinstance(value.get("field"), str) or not value["field"]:
        return f"{here}: needs `field`, the attribute's name"
    strange = set(value) - {"field", "operator", "value"}
    if strange:
        return f"{here}: {', '.join(map(repr, sorted(strange)))} is none of field, operator, value"
    if value.get("operator") not in OPERATORS:
        return f"{here}: `operator` must be {' or '.join(OPERATORS)}"
    if value["operator"] == "eq" and not isinstance(value.get("value"), str):
        return f"{here}: `value` must be a text, in quotes"
    if value["operator"] == "exists" and "value" in value:
        return f"{here}: `exists` takes no `value`"
    return None
