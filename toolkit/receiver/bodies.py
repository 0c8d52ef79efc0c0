"""What the bodies of webhooks say. Pure: bytes in, a value out, or a reason why there is none."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from toolkit.lake.received import Crossing, Delivery

__all__ = ["Misunderstood", "crossing_of", "delivery_of"]

IDENTIFIERS = ("id", "email", "cio_id")
LONGEST_TEXT = 500
EARLIEST_SECONDS = 946_684_800
"""The year 2000: what is below is no instant in seconds."""
LATEST_SECONDS = 4_102_444_800
"""The year 2100: what is above is in milliseconds."""
LARGEST_WHOLE = 2**48
"""Below every instant in microseconds, so that versions and instants never look alike."""
MICROSECONDS = 1_000_000


class Misunderstood(Exception):
    """A body says nothing that can be used; the message says why, without quoting it."""


def delivery_of(body: bytes) -> Delivery | None:
    """Return what a reporting webhook says of a message; None if it is of no message (a subscription, say).

    Raises:
        Misunderstood: it is not in the documented form.
    """
    said = _object(body)
    metric, event_id = _text(said, "metric"), _text(said, "event_id")
    moment = _instant(said, "timestamp")
    data = _part(said, "data")
    if not data.get("delivery_id"):
        return None
    named = data.get("identifiers")
    known = {"id": data.get("customer_id"), **(named if isinstance(named, dict) else {})}
    who = {name: _text(known, name) for name in IDENTIFIERS if known.get(name) not in (None, "")}
    if not who:
        raise Misunderstood("`data.identifiers` names nobody")
    return Delivery(
        event_id=event_id,
        delivery_id=_text(data, "delivery_id"),
        metric=metric,
        campaign_id=_whole(data, "campaign_id"),
        newsletter_id=_whole(data, "newsletter_id"),
        at=moment,
        **{name: who.get(name, "") for name in IDENTIFIERS},
    )


def crossing_of(body: bytes, identity_keys: Mapping[str, str]) -> Crossing:
    """Return which customer crossed into or out of which experiment's cohort.

    `identity_keys` is experiment → the identifier that its customers are known by.

    Raises:
        Misunderstood: it is not in the documented form, or of no experiment that is known.
    """
    said = _object(body)
    event_id, experiment, action = (_text(said, name) for name in ("event_id", "experiment", "action"))
    if action not in ("enter", "exit"):
        raise Misunderstood("`action` is neither enter nor exit")
    if experiment not in identity_keys:
        raise Misunderstood("`experiment` is the key of no experiment file here")
    identity = identity_keys[experiment]
    identifiers = _part(said, "identifiers")
    customer = _text(identifiers, identity)
    moment = _whole(said, "version")
    if moment is None:
        moment = _instant(said, "timestamp")
    return Crossing(
        event_id,
        experiment,
        customer.strip().lower() if identity == "email" else customer,
        "enter" if action == "enter" else "exit",
        moment,
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body.decode("utf-8"), parse_constant=_no_number)
    except UnicodeDecodeError:
        raise Misunderstood("is not UTF-8") from None
    except RecursionError:
        raise Misunderstood("is nested too deeply") from None
    except ValueError:
        raise Misunderstood("is no JSON") from None
    if not isinstance(said, dict):
        raise Misunderstood("is no JSON object")
    return said


def _no_number(_: str) -> NoReturn:
    raise ValueError


def _part(said: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = said.get(name)
    if not isinstance(part, dict):
        raise Misunderstood(f"`{name}` is missing, or no object")
    return part


def _text(said: Mapping[str, Any], name: str) -> str:
    if said.get(name) in (None, ""):
        raise Misunderstood(f"`{name}` is missing, or empty")
    return _plain(said[name], name)


def _plain(value: Any, name: str) -> str:
    """Return a text, or a whole number as a text: templates write either."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return str(value)
    if not isinstance(value, str):
        raise Misunderstood(f"`{name}` is neither a text nor a whole number")
    if len(value) > LONGEST_TEXT:
        raise Misunderstood(f"`{name}` is longer than {LONGEST_TEXT} characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Misunderstood(f"`{name}` is no valid Unicode") from None
    return value


def _instant(said: Mapping[str, Any], name: str) -> int:
    """Return seconds since 1970, a number or its text, in microseconds."""
    seconds = _number(said.get(name), name)
    if not EARLIEST_SECONDS <= seconds < LATEST_SECONDS:
        raise Misunderstood(f"`{name}` is no instant in seconds since 1970")
    return round(seconds * MICROSECONDS)


def _whole(said: Mapping[str, Any], name: str) -> int | None:
    """Return a whole number from 0 to 2^48, or None where there is none."""
    if said.get(name) in (None, ""):
        return None
    number = _number(said[name], name)
    if number != int(number) or not 0 <= number < LARGEST_WHOLE:
        raise Misunderstood(f"`{name}` is no whole number from 0 to 2^48")
    return int(number)


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Misunderstood(f"`{name}` is missing, or no number")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise Misunderstood(f"`{name}` is missing, or no number") from None
    if not math.isfinite(number):
        raise Misunderstood(f"`{name}` is missing, or no number")
    return number
