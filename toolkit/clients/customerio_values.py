"""Customer.io's nouns, and how they are read from its answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from toolkit.clients.answers import field, text_or_none
from toolkit.errors import UnexpectedAnswer

__all__ = ["Activity", "ActivityPage", "Identifiers", "Message", "MessagePage", "Person", "Segment"]


@dataclass(frozen=True, slots=True)
class Identifiers:
    """Who a person is to Customer.io; None where it has no such identifier (it may answer "")."""

    id: str | None = None
    email: str | None = None
    cio_id: str | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment. Its members may be read when `state` is "finished"; `progress` is a percentage or None."""

    id: int
    name: str
    state: str
    description: str
    type: str
    progress: int | None


@dataclass(frozen=True, slots=True)
class Person:
    """A person and the attributes; the vendor gives most values as text, whatever was written."""

    identifiers: Identifiers
    attributes: Mapping[str, Any]
    unsubscribed: bool


@dataclass(frozen=True, slots=True)
class Activity:
    """What someone did. `timestamp` is aware UTC; numbers in `data` with a decimal point are `Decimal`."""

    id: str
    type: str
    name: str
    timestamp: datetime
    identifiers: Identifiers
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ActivityPage:
    """A page of activities, newest first; `start` is its own cursor, `next` that of the page after."""

    activities: tuple[Activity, ...]
    start: str | None
    next: str | None


@dataclass(frozen=True, slots=True)
class Message:
    """A delivery; `metrics` gives the aware UTC instant of each thing that happened to it, as "sent"."""

    id: str
    identifiers: Identifiers
    type: str
    campaign_id: int | None
    newsletter_id: int | None
    created_at: datetime
    metrics: Mapping[str, datetime]


@dataclass(frozen=True, slots=True)
class MessagePage:
    """A page of messages, newest first; `next` is the cursor of the page after."""

    messages: tuple[Message, ...]
    next: str | None


def identifiers_from(told: Any, where: str) -> Identifiers:
    """Return identifiers; `where` is named when they are of another kind."""
    if not isinstance(told, Mapping):
        raise UnexpectedAnswer(
            f"{where}: identifiers are a {type(told).__name__} where an object is documented"
        )
    return Identifiers(*(text_or_none(told.get(each)) for each in ("id", "email", "cio_id")))


def person_from(told: Any, where: str) -> Person:
    """Return a person from one entry of a bulk answer."""
    customer = field(told, "customer", dict, where)
    attributes = field(customer, "attributes", dict, where)
    said = customer.get("unsubscribed")
    return Person(
        identifiers=identifiers_from(customer.get("identifiers") or {"id": customer.get("id")}, where),
        attributes=attributes,
        unsubscribed=str(attributes.get("unsubscribed") if said is None else said).lower() in ("true", "1"),
    )


def activity_from(told: Any, number: int) -> Activity:
    """Return an activity; `number` is its place on the page, to name one that has no id."""
    identity = text_or_none(told.get("id")) if isinstance(told, Mapping) else None
    where = f"Customer.io's activity {identity}" if identity else f"Customer.io: activity {number} of a page"
    if identity is None:
        raise UnexpectedAnswer(f"{where} has no id")
    data = told.get("data")
    if data is not None and not isinstance(data, Mapping):
        raise UnexpectedAnswer(f"{where}: `data` is a {type(data).__name__} where an object is documented")
    who = told.get("customer_identifiers") or {"id": told.get("customer_id")}
    return Activity(
        id=identity,
        type=field(told, "type", str, where),
        name=str(told.get("name") or ""),
        timestamp=_instant(told, "timestamp", where),
        identifiers=identifiers_from(who, where),
        data=data or {},
    )


def message_from(told: Any, number: int) -> Message:
    """Return a message; `number` is its place on the page, to name one that has no id."""
    identity = text_or_none(told.get("id")) if isinstance(told, Mapping) else None
    where = f"Customer.io's message {identity or f'number {number} of a page'}"
    if identity is None:
        raise UnexpectedAnswer(f"{where} has no id")
    metrics = told.get("metrics")
    happened = {} if metrics is None else field(told, "metrics", dict, where)
    return Message(
        id=identity,
        identifiers=identifiers_from(
            told.get("customer_identifiers") or {"id": told.get("customer_id")}, where
        ),
        type=str(told.get("type") or ""),
        campaign_id=None if told.get("campaign_id") is None else field(told, "campaign_id", int, where),
        newsletter_id=None if told.get("newsletter_id") is None else field(told, "newsletter_id", int, where),
        created_at=_instant(told, "created", where),
        metrics={name: _instant(happened, name, where) for name, at in happened.items() if at},
    )


def _instant(told: Mapping[str, Any], name: str, where: str) -> datetime:
    seconds = told.get(name)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float | Decimal):
        raise UnexpectedAnswer(f"{where}: `{name}` is not a number of seconds")
    try:
        return datetime.fromtimestamp(float(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        raise UnexpectedAnswer(f"{where}: `{name}` is no instant in seconds since 1970") from None
