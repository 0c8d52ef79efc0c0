"""Customer.io's Track API: attributes to write, many people a request."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import httpx

from toolkit.clients.answers import field, items
from toolkit.clients.customerio_values import Identifiers
from toolkit.clients.http import Timing, Vendor, Wire, path_of, usable_secret
from toolkit.errors import DataError, UnexpectedAnswer

__all__ = ["BatchResult", "CustomerIOTrack", "Failed"]

MAX_REQUEST_BYTES = 500_000
MAX_ITEM_BYTES = 32_000
MAX_NAME_BYTES = 150
MAX_VALUE_BYTES = 1_000
ID_TYPES = ("id", "cio_id", "email")
BATCH = "Customer.io Track at POST /api/v2/batch"
OPENING, CLOSING = b'{"batch":[', b"]}"
VENDOR = Vendor(
    "Customer.io Track",
    "CUSTOMERIO_SITE_ID and CUSTOMERIO_TRACK_API_KEY",
    " and that CUSTOMERIO_REGION is the account's (us|eu)",
    "CUSTOMERIO_TRACK_URL",
)


@dataclass(frozen=True, slots=True)
class Failed:
    """An item that was refused: `index` is its place in what was passed in; the rest is the vendor's, without keys."""

    index: int
    reason: str
    field: str
    message: str


@dataclass(frozen=True, slots=True)
class BatchResult:
    """How many people were accepted, and what was refused. Nobody is created, so an unknown one counts too."""

    written: int
    failed: tuple[Failed, ...]


class CustomerIOTrack:
    """A client of the Track API; use it in one thread, and close it.

    Args:
        site_id: of the workspace.
        api_key: the Track API key that goes with it.
        base_url: of the account's region.
        transport: stands for the network in tests.
        sleep: waits so many seconds.
        clock: seconds that only ever grow.
        wall: seconds since the epoch.
    """

    def __init__(
        self,
        site_id: str,
        api_key: str,
        *,
        base_url: str = "https://track.customer.io",
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        site = usable_secret(site_id, "CUSTOMERIO_SITE_ID")
        key = usable_secret(api_key, "CUSTOMERIO_TRACK_API_KEY")
        basic = base64.b64encode(f"{site}:{key}".encode()).decode()
        self._wire = Wire(
            VENDOR,
            base_url,
            headers={"Authorization": f"Basic {basic}"},
            secrets=(basic, key, site),
            transport=transport,
            timing=Timing(sleep, clock, wall),
        )

    def __repr__(self) -> str:
        return f"CustomerIOTrack({self._wire.host})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    def identify(
        self,
        people: Sequence[tuple[Identifiers | Mapping[str, str], Mapping[str, Any]]],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> BatchResult:
        """Set attributes of people who exist; nobody is created. It may be done again with the same outcome.

        Args:
            people: (identifiers, attributes) of each. Of `Identifiers` the first of id, cio_id and email that
                is set names the person; a mapping must hold exactly one of them, like `{"id": "42"}`.
                Attribute names hold at most 150 bytes, values 1,000.
            progress: told after each request how many of `people` were sent so far.

        Raises:
            DataError: an item is too large, has not one identifier, or is not JSON; the message names its
                index and attribute, never the person. Nothing was sent.
            Unauthorized, RateLimited, Unreachable, UnexpectedAnswer, VendorError: people sent before stay
                written.
        """
        sent = [_item(index, *each) for index, each in enumerate(people)]
        failed: list[Failed] = []
        for first, some in _requests(sent):
            body = OPENING + b",".join(some) + CLOSING
            told = self._wire.ask("POST", path_of("api", "v2", "batch"), body=body, may_be_empty=True)
            failed += [self._failed(each, first, len(some)) for each in items(told, "errors", dict, BATCH)]
            if progress is not None:
                progress(first + len(some))
        return BatchResult(len(people) - len({each.index for each in failed}), tuple(failed))

    def _failed(self, told: Mapping[str, Any], first: int, sent: int) -> Failed:
        index = field(told, "batch_index", int, BATCH)
        if not 0 <= index < sent:
            raise UnexpectedAnswer(f"{BATCH}: batch_index {index} is not among the {sent} items sent")
        said = (self._wire.clean(str(told.get(each) or "")) for each in ("reason", "field", "message"))
        return Failed(first + index, *said)


def _item(index: int, who: Identifiers | Mapping[str, str], attributes: Mapping[str, Any]) -> bytes:
    """Return one person's item, encoded in ASCII, so that its size is the same however it is counted."""
    where = f"person number {index} of the batch"
    for name, value in attributes.items():
        text = value if isinstance(value, str) else _encoded(value, f"{where}: attribute {name}").decode()
        for what, most in ((name, MAX_NAME_BYTES), (text, MAX_VALUE_BYTES)):
            size = len(what.encode(errors="replace"))
            if size > most:
                part = "name" if what is name else "value"
                raise DataError(
                    f"{where}: the {part} of attribute {name[:40]} is {size:,} bytes where Customer.io takes {most:,}"
                )
    item = {
        "type": "person",
        "identifiers": _identifier(who, where),
        "action": "identify",
        "attributes": {**attributes, "_update": True},
    }
    encoded = _encoded(item, where)
    if len(encoded) > MAX_ITEM_BYTES:
        raise DataError(
            f"{where} is {len(encoded):,} bytes where Customer.io takes {MAX_ITEM_BYTES:,}: send fewer attributes"
        )
    return encoded


def _identifier(who: Identifiers | Mapping[str, str], where: str) -> dict[str, str]:
    if isinstance(who, Identifiers):
        known = {name: value for name in ID_TYPES if (value := getattr(who, name))}
        named = dict(list(known.items())[:1])
    else:
        named = dict(who)
    if [name in ID_TYPES and isinstance(value, str) and value != "" for name, value in named.items()] != [
        True
    ]:
        raise DataError(f"{where} must have exactly one identifier, a text: {', '.join(ID_TYPES)}")
    return named


def _encoded(value: Any, where: str) -> bytes:
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError):
        raise DataError(f"{where} is not what JSON can hold; make it text, a number or a boolean") from None


def _requests(items: Sequence[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """Yield (index of the first, items) of each request, filled up to the largest size."""
    some: list[bytes] = []
    size = empty = len(OPENING) + len(CLOSING)
    for index, item in enumerate(items):
        if some and size + len(item) + 1 >= MAX_REQUEST_BYTES:
            yield index - len(some), some
            some, size = [], empty
        some.append(item)
        size += len(item) + 1
    if some:
        yield len(items) - len(some), some
