"""The stand-in's Customer.io App API."""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from starlette.routing import Route

from toolkit.sandbox.customerio import CustomerIO, Person, Segment, as_text
from toolkit.sandbox.exports import Exports
from toolkit.sandbox.filters import FilterError, matching
from toolkit.sandbox.limits import Bucket
from toolkit.sandbox.wire import Answer, Call, Door, Handler

__all__ = ["AppApi", "refused", "scripted"]

MESSAGE_WINDOW = timedelta(days=183)


def refused(status: int, detail: str) -> Answer:
    """Return a refusal in the vendor's usual body."""
    return Answer(status, {"errors": [{"detail": detail, "status": str(status)}]})


def scripted(status: int) -> Answer:
    """Return the vendor's refusal of a status, as a scripted fault plays it: a 429 has no body."""
    return Answer(status) if status == 429 else refused(status, "scripted")


class AppApi:
    """Handlers over a `CustomerIO`. Without a bucket there is no rate limit."""

    def __init__(
        self, state: CustomerIO, key: str, bucket: Bucket | None, clock: Callable[[], float] = time.time
    ) -> None:
        self._state = state
        self._key = key
        self._bucket = bucket
        self._clock = clock

    def routes(self, door: Door, url: Callable[[], str]) -> list[Route]:
        """Return the routes. `url` tells the server's address, for links to downloads."""
        exports = Exports(self._state, url, self._clock)
        table: Sequence[tuple[str, str, Handler, object]] = (
            ("GET", "/v1/segments", self.segments, None),
            ("GET", "/v1/segments/{id:int}", self.segment, None),
            ("GET", "/v1/segments/{id:int}/membership", self.membership, None),
            ("GET", "/v1/segments/{id:int}/customer_count", self.customer_count, None),
            ("GET", "/v1/customers", self.by_email, {"results": []}),
            ("POST", "/v1/customers", self.search, {"identifiers": [], "ids": [], "next": ""}),
            ("POST", "/v1/customers/attributes", self.bulk_attributes, {"customers": []}),
            ("GET", "/v1/customers/{id}/attributes", self.attributes, {}),
            ("GET", "/v1/activities", self.activities, {"activities": [], "next": ""}),
            ("GET", "/v1/messages", self.messages, {"messages": [], "next": ""}),
            ("POST", "/v1/exports/customers", exports.start, None),
            ("POST", "/v1/exports/deliveries", exports.start_deliveries, None),
            ("GET", "/v1/exports/{id:int}", exports.export, None),
            ("GET", "/v1/exports/{id:int}/download", exports.download, None),
        )
        return [
            door.route("customerio", method, path, self._guarded(handler, nothing))
            for method, path, handler, nothing in table
        ] + [door.route("sandbox", "GET", "/_sandbox/exports/{id:int}.csv", exports.file)]

    def _guarded(self, handler: Handler, nothing: object) -> Handler:
        """Check key and rate first, then find `nothing`, with a 200, where the vendor's would.

        That is where + or @ is unencoded in the path, or @ in the query. A + in the query reads as a space.
        """

        def guarded(call: Call) -> Answer:
            sent = call.headers.get("authorization", "")
            if not hmac.compare_digest(sent.encode(), f"Bearer {self._key}".encode()):
                return Answer(401, {"meta": {"error": "Unauthorized request"}})
            if self._bucket is not None and not self._bucket.take():
                return Answer(429)
            if nothing is not None and ("@" in call.raw or "+" in call.raw.partition("?")[0]):
                return Answer(200, nothing)
            with self._state.lock:
                return handler(call)

        return guarded

    def segments(self, _: Call) -> Answer:
        """List the segments."""
        return Answer(200, {"segments": [self._segment(each) for each in self._state.segments.values()]})

    def segment(self, call: Call) -> Answer:
        """Tell about a segment, and whether it is finished."""
        found = self._state.segments.get(int(call.parts["id"]))
        return refused(404, "not found") if found is None else Answer(200, {"segment": self._segment(found)})

    def customer_count(self, call: Call) -> Answer:
        """Count a segment's members."""
        found = self._state.segments.get(int(call.parts["id"]))
        return (
            refused(404, "not found")
            if found is None
            else Answer(200, {"count": len(self._state.members(found))})
        )

    def membership(self, call: Call) -> Answer:
        """List a segment's members, up to 30,000 a page."""
        found = self._state.segments.get(int(call.parts["id"]))
        if found is None:
            return refused(404, "not found")
        return self._people_page(self._state.members(found), call, usual=1000, most=30_000)

    def by_email(self, call: Call) -> Answer:
        """Find people by e-mail address."""
        person = self._state.find(call.params.get("email", ""), "email")
        return Answer(200, {"results": [] if person is None else [person.identifiers()]})

    def search(self, call: Call) -> Answer:
        """List the people whom a filter fits."""
        try:
            numbers = matching(self._state, call.mapping().get("filter"))
        except FilterError as wrong:
            return refused(400, str(wrong))
        return self._people_page(numbers, call, usual=50, most=1000)

    def attributes(self, call: Call) -> Answer:
        """Tell a person's attributes."""
        key, id_type = call.parts["id"], call.params.get("id_type", "id")
        if key.startswith("cio_"):
            key, id_type = key.removeprefix("cio_"), "cio_id"
        if id_type not in ("id", "email", "cio_id"):
            return refused(400, f"{id_type} is not an identifier in this workspace")
        person = self._state.find(key, id_type)
        return (
            refused(404, "customer not found")
            if person is None
            else Answer(200, {"customer": profile(person)})
        )

    def bulk_attributes(self, call: Call) -> Answer:
        """Tell the attributes of up to 100 people; unknown ones are left out."""
        ids = call.mapping().get("ids")
        if not isinstance(ids, list) or not 1 <= len(ids) <= 100:
            return refused(400, "ids must hold between 1 and 100 entries")
        people = [self._state.find(str(each), call.params.get("id_type", "id")) for each in ids]
        return Answer(200, {"customers": [{"customer": profile(each)} for each in people if each]})

    def activities(self, call: Call) -> Answer:
        """List activities, newest first; a page's token stays true when new ones arrive."""
        limit, before = page_size(call, 10, 100), place_of(call)
        if limit is None or before == -1:
            return refused(400, "invalid start or limit")
        kind, name = call.params.get("type"), call.params.get("name")
        customer, whose = call.params.get("customer_id"), None
        if customer is not None:
            whose = self._state.find(customer, call.params.get("id_type", "id"))
            if whose is None:
                return Answer(200, {"activities": [], "next": ""})
        fitting = (
            (place, each)
            for place, each in self._state.newest_first(before)
            if kind in (None, each.type)
            and name in (None, each.name)
            and (whose is None or whose.number == each.person)
        )
        page, start = take(fitting, limit)
        people = self._state.people
        return Answer(
            200,
            {
                "activities": [
                    {
                        "id": each.id,
                        "customer_id": people[each.person].id or None,
                        "customer_identifiers": people[each.person].identifiers(),
                        "type": each.type,
                        "name": each.name,
                        "timestamp": int(each.at.timestamp()),
                        "data": dict(each.data),
                    }
                    for each in page
                ],
                "next": start,
            },
        )

    def messages(self, call: Call) -> Answer:
        """List the messages sent, newest first, within at most six months."""
        limit, before = page_size(call, 50, 1000), place_of(call)
        try:
            latest = int(call.params.get("end_ts", self._state.epoch))
            earliest = int(call.params.get("start_ts", latest - MESSAGE_WINDOW.total_seconds()))
            campaign = int(call.params["campaign_id"]) if "campaign_id" in call.params else None
        except ValueError:
            return refused(400, "start_ts, end_ts and campaign_id must be numbers")
        if limit is None or before == -1 or latest - earliest > MESSAGE_WINDOW.total_seconds():
            return refused(400, "invalid start or limit, or a window of more than 6 months")
        sent = self._state.sent
        last = len(sent) if before is None else min(before, len(sent))
        fitting = (
            (place, place)
            for place in range(last - 1, -1, -1)
            if earliest <= sent[place].at.timestamp() <= latest
            and campaign in (None, sent[place].campaign_id)
            and call.params.get("type", "email") == "email"
            and call.params.get("metric", "sent") in ("created", "attempted", "sent", "delivered")
        )
        page, start = take(fitting, limit)
        return Answer(200, {"messages": [self._message(place) for place in page], "next": start})

    def _segment(self, segment: Segment) -> dict[str, Any]:
        building = segment.id in self._state.building
        since = int(self._state.world.starts_at.timestamp())
        return {
            "id": segment.id,
            "deduplicate_id": f"{segment.id}:{since}",
            "name": segment.name,
            "description": "",
            "state": "build" if building else "finished",
            "progress": 40 if building else None,
            "type": "dynamic",
            "tags": None,
        }

    def _message(self, place: int) -> dict[str, Any]:
        message = self._state.sent[place]
        person, at = self._state.people[message.person], int(message.at.timestamp())
        identity = self._state.opaque("delivery", place)
        return {
            "id": identity,
            "deduplicate_id": f"{identity}:{at}",
            "message_template_id": message.campaign_id,
            "customer_id": person.id or None,
            "customer_identifiers": person.identifiers(),
            "recipient": person.email,
            "subject": "Something for you",
            "metrics": {"created": at, "attempted": at, "sent": at, "delivered": at},
            "created": at,
            "failure_message": None,
            "campaign_id": message.campaign_id,
            "action_id": message.campaign_id * 10,
            "newsletter_id": None,
            "broadcast_id": None,
            "trigger_event_id": None,
            "forgotten": False,
            "type": "email",
        }

    def _people_page(self, numbers: Sequence[int], call: Call, *, usual: int, most: int) -> Answer:
        """Return a page of people in the order of their numbers, from after the token's."""
        limit, after = page_size(call, usual, most), place_of(call)
        if limit is None or after == -1:
            return refused(400, "invalid start or limit")
        page, start = take(((each, each) for each in numbers if after is None or each > after), limit)
        people = [self._state.people[each] for each in page]
        found = [each.identifiers() for each in people]
        return Answer(200, {"ids": [each.id for each in people], "identifiers": found, "next": start})


def profile(person: Person) -> dict[str, Any]:
    """Return a person as the attribute look-ups tell them: all values are text."""
    texts = {name: as_text(value) for name, value in person.attributes.items() if name != "unsubscribed"}
    return {
        "id": person.id,
        "identifiers": person.identifiers(),
        "attributes": {**{name: key for name, key in person.identifiers().items() if key}, **texts},
        "timestamps": {"cio_id": person.since, **person.stamps},
        "unsubscribed": bool(person.attributes.get("unsubscribed")),
        "devices": [],
    }


def page_size(call: Call, usual: int, most: int) -> int | None:
    """Return how many rows are asked for, or None where that is not allowed."""
    said = call.params.get("limit", str(usual))
    return int(said) if said.isascii() and said.isdigit() and 1 <= int(said) <= most else None


def place_of(call: Call) -> int | None:
    """Return the place that a page's token stands for, None without one, -1 for one that is not ours."""
    token = call.params.get("start", "")
    if not token:
        return None
    try:
        return int(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode().removeprefix("at:"))
    except ValueError:
        return -1


def take(fitting: Any, limit: int) -> tuple[list[Any], str]:
    """Return the next rows of (place, row), and the token of the page after, "" at the end."""
    page: list[Any] = []
    last = None
    for place, row in fitting:
        if len(page) == limit:
            return page, base64.urlsafe_b64encode(f"at:{last}".encode()).decode().rstrip("=")
        page.append(row)
        last = place
    return page, ""
