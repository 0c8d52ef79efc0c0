"""Customer.io's App API: segments, people and activities to read."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Self

import httpx

from toolkit.clients.answers import field, text_or_none
from toolkit.clients.customerio_exports import Exports, refuse_strange
from toolkit.clients.customerio_track import BatchResult, CustomerIOTrack, Failed
from toolkit.clients.customerio_values import (
    Activity,
    ActivityPage,
    Identifiers,
    Message,
    MessagePage,
    Person,
    Segment,
    activity_from,
    identifiers_from,
    message_from,
    person_from,
)
from toolkit.clients.http import Timing, Vendor, Wire, path_of, usable_secret
from toolkit.errors import DataError, NotFound, NotReady, UnexpectedAnswer

__all__ = [
    "Activity",
    "ActivityPage",
    "BatchResult",
    "CustomerIO",
    "CustomerIOTrack",
    "Failed",
    "Identifiers",
    "Message",
    "MessagePage",
    "Person",
    "Segment",
]

MEMBERS_PER_PAGE = 30_000
FOUND_PER_PAGE = 1000
PEOPLE_PER_REQUEST = 100
ACTIVITIES_PER_PAGE = 100
MESSAGES_PER_PAGE = 1000
MOST_BARREN_PAGES = 50
"""So many pages in a row may be empty, or repeat what came; a walk with a filter may meet some."""
MESSAGES_WINDOW_SECONDS = 183 * 86_400
ID_TYPES = ("id", "email", "phone", "cio_id")
FINISHED = "finished"
VENDOR = Vendor(
    "Customer.io",
    "CUSTOMERIO_APP_API_KEY",
    " and that CUSTOMERIO_REGION is the account's (us|eu)",
    "CUSTOMERIO_APP_URL",
)


class CustomerIO:
    """A client of the App API; use it in one thread, and close it.

    Every method can raise `Unauthorized`, `RateLimited`, `Unreachable`, `UnexpectedAnswer`, and
    `VendorError` for a request that the vendor calls invalid.

    Args:
        app_api_key: an App API key.
        base_url: of the account's region.
        transport: stands for the network in tests.
        sleep: waits so many seconds.
        clock: seconds that only ever grow.
        requests_per_second: the account's limit; requests go out a little slower.
        wall: seconds since the epoch.
    """

    def __init__(
        self,
        app_api_key: str,
        *,
        base_url: str = "https://api.customer.io",
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        requests_per_second: float = 10.0,
        wall: Callable[[], float] = time.time,
    ) -> None:
        key = usable_secret(app_api_key, VENDOR.key_variables)
        self._transport = transport
        self._wire = Wire(
            VENDOR,
            base_url,
            headers={"Authorization": f"Bearer {key}"},
            secrets=(key,),
            transport=transport,
            timing=Timing(sleep, clock, wall),
            per_second=requests_per_second,
        )

    def __repr__(self) -> str:
        return f"CustomerIO({self._wire.host})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    def segment(self, segment_id: int) -> Segment:
        """Return a segment.

        Raises:
            NotFound: the workspace has no segment of this number.
        """
        where = f"Customer.io's segment {segment_id}"
        told = field(self._of_segment(segment_id), "segment", dict, where)
        progress = told.get("progress")
        return Segment(
            id=field(told, "id", int, where),
            name=field(told, "name", str, where),
            state=field(told, "state", str, where),
            description=str(told.get("description") or ""),
            type=str(told.get("type") or ""),
            progress=int(progress) if isinstance(progress, int | float) else None,
        )

    def segment_size(self, segment_id: int) -> int:
        """Return how many people are in a segment.

        Raises:
            NotFound: the workspace has no segment of this number.
        """
        told = self._of_segment(segment_id, "customer_count")
        return field(told, "count", int, f"Customer.io's segment {segment_id}")

    def segment_members(self, segment_id: int) -> Iterator[Identifiers]:
        """Return the members of a segment, page by page as they are taken.

        Raises:
            NotFound: the workspace has no segment of this number.
            NotReady: it is still being built, so that members would be missing; raised at once.
        """
        found = self.segment(segment_id)
        if found.state != FINISHED:
            done = "" if found.progress is None else f", {found.progress} % done"
            raise NotReady(
                f"Customer.io is still building segment {segment_id} “{found.name}” (state {found.state}{done}):"
                " wait until its page shows it finished, then run again"
            )
        path = path_of("v1", "segments", segment_id, "membership")
        return self._people("GET", path, MEMBERS_PER_PAGE, None)

    def search(self, filter: Mapping[str, Any]) -> Iterator[Identifiers]:  # noqa: A002
        """Return the people whom a filter fits, page by page as they are taken.

        Args:
            filter: as documented, e.g. `{"and": [{"segment": {"id": 4}}]}`.

        Raises:
            DataError: the filter is not in that form; nothing was asked.
        """
        refuse_strange(filter)
        return self._people("POST", path_of("v1", "customers"), FOUND_PER_PAGE, _encoded({"filter": filter}))

    def attributes(
        self, ids: Sequence[str], *, id_type: str = "id", progress: Callable[[int], None] | None = None
    ) -> Iterator[Person]:
        """Return people with their attributes, 100 a request; unknown ones are left out.

        Args:
            ids: identifiers, all of the same type.
            id_type: "id", "email", "phone" or "cio_id".
            progress: told after each request how many of `ids` were asked for so far.

        Raises:
            DataError: the type is none of these, or an identifier is empty.
        """
        if id_type not in ID_TYPES:
            raise DataError(f"id_type {id_type!r} is none of {', '.join(ID_TYPES)}")
        if "" in ids:
            raise DataError(f"identifier number {list(ids).index('')} of {len(ids)} is empty; leave it out")
        return self._attributes(ids, id_type, progress or (lambda _: None))

    def activity_pages(
        self,
        *,
        start: str | None = None,
        type: str = "event",  # noqa: A002
        name: str | None = None,
    ) -> Iterator[ActivityPage]:
        """Return finished pages of at most 100 activities, so that rows and cursor are saved together.

        The vendor keeps 30 days and takes no time range.

        Args:
            start: the `next` of a page before; the newest where None.
            type: of activity.
            name: of event.
        """
        path, where = path_of("v1", "activities"), "Customer.io at GET /v1/activities"
        query = {"type": type, **({} if name is None else {"name": name})}
        for told, own, following in self._pages("GET", path, ACTIVITIES_PER_PAGE, None, start, query):
            rows = field(told, "activities", list, where)
            yield ActivityPage(
                tuple(activity_from(row, number) for number, row in enumerate(rows)), own, following
            )

    def message_pages(
        self,
        *,
        start: str | None = None,
        campaign_id: int | None = None,
        newsletter_id: int | None = None,
        metric: str | None = None,
        start_ts: int | None = None,
        end_ts: int | None = None,
    ) -> Iterator[MessagePage]:
        """Return finished pages of at most 1,000 deliveries, so that rows and cursor are saved together.

        Args:
            start: the `next` of a page before, of the same question; the newest where None.
            campaign_id: only of this campaign.
            newsletter_id: only of this newsletter.
            metric: only those to which this happened, e.g. "sent".
            start_ts: from this instant on, in seconds since the epoch.
            end_ts: until this instant.

        Raises:
            DataError: the instants are more than 6 months apart, which the vendor does not answer.
        """
        if start_ts is not None and end_ts is not None and end_ts - start_ts > MESSAGES_WINDOW_SECONDS:
            raise DataError("Customer.io lists messages of at most 6 months at a time; ask for shorter spans")
        asked = {
            "campaign_id": campaign_id,
            "newsletter_id": newsletter_id,
            "metric": metric,
            "start_ts": start_ts,
            "end_ts": end_ts,
        }
        return self._messages({name: value for name, value in asked.items() if value is not None}, start)

    @property
    def exports(self) -> Exports:
        """Return what starts exports and fetches them: for many people at once."""
        return Exports(self._wire, self._transport)

    def _messages(self, query: Mapping[str, str | int], start: str | None) -> Iterator[MessagePage]:
        path, where = path_of("v1", "messages"), "Customer.io at GET /v1/messages"
        for told, _, following in self._pages("GET", path, MESSAGES_PER_PAGE, None, start, query):
            rows = field(told, "messages", list, where)
            yield MessagePage(tuple(message_from(row, at) for at, row in enumerate(rows)), following)

    def _of_segment(self, segment_id: int, *rest: str) -> Mapping[str, Any]:
        try:
            return self._wire.ask("GET", path_of("v1", "segments", segment_id, *rest))
        except NotFound:
            raise NotFound(
                f"Customer.io has no segment {segment_id} in this workspace: check the number in the address of the"
                " segment's page, and that CUSTOMERIO_APP_API_KEY is of the same workspace"
            ) from None

    def _attributes(
        self, ids: Sequence[str], id_type: str, progress: Callable[[int], None]
    ) -> Iterator[Person]:
        path, where = path_of("v1", "customers", "attributes"), "Customer.io at POST /v1/customers/attributes"
        for first in range(0, len(ids), PEOPLE_PER_REQUEST):
            some = list(ids[first : first + PEOPLE_PER_REQUEST])
            told = self._wire.ask("POST", path, query={"id_type": id_type}, body=_encoded({"ids": some}))
            people = [person_from(each, where) for each in field(told, "customers", list, where)]
            progress(first + len(some))
            yield from people

    def _people(self, method: str, path: str, limit: int, body: bytes | None) -> Iterator[Identifiers]:
        where = f"Customer.io at {method} {path}"
        for told, _, _ in self._pages(method, path, limit, body, None, {}):
            if not told.keys() & {"identifiers", "ids"}:
                raise UnexpectedAnswer(f"{where}: neither `identifiers` nor `ids` is there; run again")
            empty = told.get("identifiers") is None and not told.get("ids")
            for each in () if empty else field(told, "identifiers", list, where):
                yield identifiers_from(each, where)

    def _pages(
        self,
        method: str,
        path: str,
        limit: int,
        body: bytes | None,
        start: str | None,
        query: Mapping[str, str | int],
    ) -> Iterator[tuple[Mapping[str, Any], str | None, str | None]]:
        """Yield (answer, its cursor, the next cursor) until there is no next."""
        seen, barren = {start}, 0
        known: set[int] = set()
        while True:
            asked: dict[str, str | int] = {**query, "limit": limit, **({"start": start} if start else {})}
            told = self._wire.ask(method, path, query=asked, body=body, parse_float=Decimal)
            following = text_or_none(told.get("next"))
            if following is not None and following in seen:
                raise UnexpectedAnswer(
                    f"Customer.io at {method} {path}: the pages go round in a circle; run again"
                )
            rows = [each for each in told.values() if isinstance(each, list) and each]
            digest = hash(repr(rows))
            barren = 0 if rows and digest not in known else barren + 1
            if barren > MOST_BARREN_PAGES:
                raise UnexpectedAnswer(
                    f"Customer.io at {method} {path}: {barren} pages in a row brought nothing new, and there is always"
                    " a next; run again"
                )
            known.add(digest)
            yield told, start, following
            if following is None:
                return
            seen.add(following)
            start = following


def _encoded(body: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise DataError(
            f"Customer.io cannot be asked in JSON ({error}); use texts and whole numbers"
        ) from None
