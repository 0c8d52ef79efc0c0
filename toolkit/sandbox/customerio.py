"""The state of the stand-in Customer.io: people with attributes, segments, activities, messages."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import RLock
from typing import Any

import numpy as np

from toolkit.sandbox.model import PROGRAMS
from toolkit.sandbox.people import TIERS
from toolkit.sandbox.world import Event, Message, Numbers, World

__all__ = ["Activity", "CustomerIO", "Person", "Segment"]

ACTIVITY_DAYS = 30
"""How far back the activity log can be read."""
EVERYONE = 1
"""The id of the segment of all people."""


@dataclass(slots=True)
class Person:
    """A profile; `since` is when it was made (epoch seconds)."""

    number: int
    id: str
    email: str
    cio_id: str
    since: int
    attributes: dict[str, Any] = field(default_factory=dict)
    stamps: dict[str, int] = field(default_factory=dict)

    def identifiers(self) -> dict[str, str | None]:
        """Return the identifiers as the vendor's answers hold them: None where unset."""
        return {"email": self.email or None, "id": self.id or None, "cio_id": self.cio_id}


@dataclass(frozen=True, slots=True)
class Segment:
    """A data-driven segment: `experiment` names the audience, "" means everybody."""

    id: int
    name: str
    experiment: str


@dataclass(frozen=True, slots=True)
class Activity:
    """A line of the activity log; its place in the log is the order in which it became known."""

    id: str
    at: datetime
    shown_at: datetime
    person: int
    type: str
    name: str
    data: Mapping[str, Any]


def is_true(value: Any) -> bool:
    """Tell whether an attribute's value counts as true in a campaign's condition."""
    return value is not None and str(value).strip().lower() not in ("", "false", "0", "none", "null")


class CustomerIO:
    """Everything that the App API tells and the Track API changes. Hold `lock` to read or change it.

    Segments whose ids are in `building` answer that they are not finished.
    """

    def __init__(self, world: World, seed: int) -> None:
        self.lock = RLock()
        self.world = world
        self.building: set[int] = set()
        self.people: list[Person] = []
        self.activities: list[Activity] = []
        self.sent: list[Message] = []
        self.exports: list[Mapping[str, Any]] = []
        self._seed = seed
        self._by: dict[str, dict[str, Person]] = {"id": {}, "email": {}, "cio_id": {}}
        self.segments = {
            EVERYONE: Segment(EVERYONE, "Everyone", ""),
            **{p.audience: Segment(p.audience, p.audience_name, p.key) for p in PROGRAMS.values()},
        }
        self._admit()
        self.publish(world.history)

    @property
    def epoch(self) -> int:
        """Return the simulated present in epoch seconds."""
        return int(self.world.now.timestamp())

    def opaque(self, *parts: object) -> str:
        """Return an identifier that tells nothing, and is the same for the same seed and parts."""
        return hashlib.blake2b(repr((self._seed, *parts)).encode(), digest_size=13).hexdigest()

    def find(self, key: str, id_type: str = "id") -> Person | None:
        """Return the person with an identifier; e-mail addresses match in any case."""
        return self._by.get(id_type, {}).get(key.lower() if id_type == "email" else key)

    def create(self, *, id: str = "", email: str = "") -> Person:  # noqa: A002
        """Add a person, who exists but does not shop."""
        number = len(self.people)
        return self._add(Person(number, id, email, f"a3{number + 0x800000:06x}", self.epoch))

    def members(self, segment: Segment) -> list[int]:
        """Return the numbers of a segment's members, ascending."""
        if not segment.experiment:
            return list(range(len(self.people)))
        return [int(each) for each in np.sort(self.world.audience(segment.experiment))]

    def set_attributes(self, person: Person, attributes: Mapping[str, Any]) -> None:
        """Set attributes; None and "" remove one. What changes goes into the activity log."""
        changes: dict[str, Any] = {}
        for name, value in attributes.items():
            before = person.attributes.get(name)
            after = None if value == "" else value
            if before != after:
                changes[name] = {"from": as_text(before), "to": as_text(after)}
                person.stamps[name] = self.epoch
            if after is None:
                person.attributes.pop(name, None)
            else:
                person.attributes[name] = after
        if changes:
            self._log(self.world.now, self.world.now, person.number, "attribute_change", "", changes)

    def record(self, person: Person, name: str, data: Mapping[str, Any], at: datetime) -> None:
        """Log an event that came by the Track API."""
        self._log(at, self.world.now, person.number, "event", name, data)

    def ready(self) -> dict[str, Numbers]:
        """Return by experiment whom its campaign may message: marked ready, and not held out."""
        return {
            key: np.array(
                [
                    person.number
                    for person in self.people[: len(self.world.people)]
                    if is_true(person.attributes.get(f"ready_{key}"))
                    and not is_true(person.attributes.get(f"holdout_{key}"))
                ],
                dtype=np.int64,
            )
            for key in PROGRAMS
        }

    def publish(self, events: Iterable[Event]) -> None:
        """Take in a day: its events, and the messages sent since the last."""
        fresh = self.world.messages[len(self.sent) :]
        shown: list[tuple[datetime, int, Event | Message]] = [(each.at, -1, each) for each in fresh]
        shown += [(each.shown_at, each.serial, each) for each in events]
        for _, _, each in sorted(shown, key=lambda row: row[:2]):
            if isinstance(each, Message):
                delivery = {"delivery_id": self.opaque("delivery", len(self.sent)), "delivered": None}
                self.sent.append(each)
                self._log(each.at, each.at, each.person, "sent_email", "", delivery)
            else:
                self._log(each.at, each.shown_at, each.person, "event", each.name, each.data)
                if each.name == "Unsubscribed":
                    person = self.people[each.person]
                    person.attributes["unsubscribed"] = True
                    person.stamps["unsubscribed"] = int(each.at.timestamp())

    def newest_first(self, before: int | None) -> Iterator[tuple[int, Activity]]:
        """Yield the readable log backwards from a place (exclusive; None: its end), with places."""
        oldest = self.world.now - timedelta(days=ACTIVITY_DAYS)
        last = len(self.activities) if before is None else min(before, len(self.activities))
        for place in range(last - 1, -1, -1):
            activity = self.activities[place]
            if activity.shown_at < oldest:
                return
            yield place, activity

    def _log(
        self, at: datetime, shown_at: datetime, person: int, kind: str, name: str, data: Mapping[str, Any]
    ) -> None:
        identity = self.opaque("activity", len(self.activities))
        self.activities.append(Activity(identity, at, shown_at, person, kind, name, data))

    def _admit(self) -> None:
        """Make a profile of everyone in the world."""
        people = self.world.people
        since = int((self.world.starts_at - timedelta(days=400)).timestamp())
        for number, (key, email, cio_id) in enumerate(
            zip(people.ids, people.emails, people.cio_ids, strict=True)
        ):
            attributes: dict[str, Any] = {
                "ltv_90d": float(people.ltv_90d[number]),
                "ltv_tier": TIERS[people.tier[number]],
            }
            if people.do_not_offer[number]:
                attributes["do_not_offer"] = True
            if people.unsubscribed[number]:
                attributes["unsubscribed"] = True
            self._add(Person(number, key, email, cio_id, since, attributes))

    def _add(self, person: Person) -> Person:
        self.people.append(person)
        self._by["cio_id"][person.cio_id] = person
        if person.id:
            self._by["id"][person.id] = person
        if person.email:
            self._by["email"][person.email.lower()] = person
        return person


def as_text(value: Any) -> str:
    """Return an attribute's value as the App API tells it: all are text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
