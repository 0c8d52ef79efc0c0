"""Reading vendors' JSON: a field is there and of its documented kind, or the answer is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NoReturn, TypeVar

from toolkit.errors import UnexpectedAnswer

__all__ = ["field", "field_or_none", "is_cut_short", "items", "parsed", "text_or_none"]

T = TypeVar("T")


def parsed(body: bytes, where: str, *, parse_float: Callable[[str], Any] | None = None) -> Mapping[str, Any]:
    """Return the JSON object in `body`.

    Args:
        body: what the vendor answered.
        where: vendor and route, for the message.
        parse_float: what to make of a number with a decimal point; a float where not given.

    Raises:
        UnexpectedAnswer: it is not JSON, cut short, or not an object. The body itself is not quoted:
            it may hold personal data.
    """
    try:
        data = json.loads(body, parse_float=parse_float, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise UnexpectedAnswer(
            f"{where}: {_kind_of(body)}; run again, and if it stays so, check the address and any proxy between"
        ) from None
    if not isinstance(data, dict):
        raise UnexpectedAnswer(
            f"{where}: the answer is a JSON {type(data).__name__} where an object is documented"
        )
    return data


def is_cut_short(body: bytes) -> bool:
    """Return whether `body` begins as JSON and does not end so."""
    if body.lstrip()[:1] not in (b"{", b"["):
        return False
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return True
    return False


def field(data: Any, name: str, kind: type[T], where: str) -> T:
    """Return `data[name]`, which must be of `kind` (a bool is not taken for an int).

    Raises:
        UnexpectedAnswer: it is missing or of another kind; the message names the field, not the value.
    """
    value = data.get(name) if isinstance(data, Mapping) else None
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        found = "missing" if value is None else f"a {type(value).__name__}"
        raise UnexpectedAnswer(f"{where}: `{name}` is {found} where a {kind.__name__} is documented")
    return value


def field_or_none(data: Any, name: str, kind: type[T], where: str) -> T | None:
    """Return `data[name]` as `field` does, but None where it is missing or null.

    Raises:
        UnexpectedAnswer: it is of another kind.
    """
    return None if isinstance(data, Mapping) and data.get(name) is None else field(data, name, kind, where)


def items(data: Any, name: str, kind: type[T], where: str) -> list[T]:
    """Return the list `data[name]`, all of `kind`; empty where it is missing or null.

    Raises:
        UnexpectedAnswer: it is no list, or something in it is of another kind.
    """
    found: list[T] = field_or_none(data, name, list, where) or []
    if strange := [type(each).__name__ for each in found if not isinstance(each, kind)]:
        raise UnexpectedAnswer(
            f"{where}: `{name}` holds a {strange[0]} where a {kind.__name__} is documented"
        )
    return found


def text_or_none(value: Any) -> str | None:
    """Return an identifier as text: "" and null become None, a whole number its digits."""
    if value is None or isinstance(value, bool | float | Decimal | dict | list) or value == "":
        return None
    return str(value)


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


def _kind_of(body: bytes) -> str:
    head = body.lstrip()[:1]
    if head == b"<":
        return f"the answer is a web page ({len(body)} bytes) where JSON is documented"
    if head in (b"{", b"["):
        return f"the answer is cut short or broken JSON ({len(body)} bytes)"
    return f"the answer is not JSON ({len(body)} bytes)"
