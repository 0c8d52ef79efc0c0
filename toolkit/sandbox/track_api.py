"""The stand-in's Customer.io Track API."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.routing import Route

from toolkit.sandbox.customerio import CustomerIO
from toolkit.sandbox.wire import Answer, Call, Door, Handler

__all__ = ["TrackApi"]

MAX_REQUEST = 500 * 1024
MAX_ITEM = 32 * 1024
MAX_NAME = 150
MAX_VALUE = 1000


class ItemError(ValueError):
    """An item of a batch is refused: reason, field and message in the vendor's terms."""

    def __init__(self, reason: str, field: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field

    def shape(self) -> dict[str, Any]:
        """Return the error as an answer holds it."""
        return {"reason": self.reason, "field": self.field, "message": str(self)}


class TrackApi:
    """Handlers that write into a `CustomerIO`."""

    def __init__(self, state: CustomerIO, site_id: str, key: str) -> None:
        self._state = state
        self._expected = b"Basic " + base64.b64encode(f"{site_id}:{key}".encode())

    def routes(self, door: Door, url: Callable[[], str]) -> list[Route]:
        """Return the routes. `url` tells the server's address, as the region's."""

        def region(_: Call) -> Answer:
            """Tell the account's region."""
            return Answer(200, {"url": url(), "region": "us", "environment_id": 1})

        table: Sequence[tuple[str, str, Handler]] = (
            ("POST", "/api/v2/batch", self.batch),
            ("POST", "/api/v2/entity", self.entity),
            ("GET", "/api/v1/accounts/region", region),
        )
        return [
            door.route("customerio-track", method, path, self._guarded(handler))
            for method, path, handler in table
        ]

    def _guarded(self, handler: Handler) -> Handler:
        def guarded(call: Call) -> Answer:
            if not hmac.compare_digest(call.headers.get("authorization", "").encode(), self._expected):
                return Answer(401, {"meta": {"error": "Unauthorized"}})
            with self._state.lock:
                return handler(call)

        return guarded

    def batch(self, call: Call) -> Answer:
        """Apply up to 500 KB of items; refused ones are named in a 207, the others are applied."""
        if len(call.body) > MAX_REQUEST:
            return malformed("batch", f"request is larger than {MAX_REQUEST} bytes")
        items = call.mapping().get("batch")
        if not isinstance(items, list) or not items:
            return malformed("batch", "batch must be a list with at least one item")
        errors = []
        for index, item in enumerate(items):
            try:
                self._apply(item)
            except ItemError as wrong:
                errors.append({"batch_index": index, **wrong.shape()})
        return Answer(207, {"errors": errors}) if errors else Answer(200, {})

    def entity(self, call: Call) -> Answer:
        """Apply one item."""
        try:
            self._apply(call.json())
        except ItemError as wrong:
            return Answer(400, {"errors": [wrong.shape()]})
        return Answer(200, {})

    def _apply(self, item: Any) -> None:
        if not isinstance(item, dict):
            raise ItemError("invalid", "batch", "an item must be an object")
        if len(json.dumps(item, separators=(",", ":")).encode()) > MAX_ITEM:
            raise ItemError("invalid", "batch", f"an item must not be larger than {MAX_ITEM} bytes")
        if item.get("type") != "person":
            raise ItemError("invalid", "type", "type must be person")
        attributes = item.get("attributes") or {}
        if not isinstance(attributes, dict):
            raise ItemError("invalid", "attributes", "attributes must be an object")
        if item.get("action") == "identify":
            self._identify(item.get("identifiers"), attributes)
        elif item.get("action") == "event":
            self._event(item, attributes)
        else:
            raise ItemError("invalid", "action", "action must be identify or event")

    def _identify(self, identifiers: Any, attributes: dict[str, Any]) -> None:
        """Set attributes; with `_update` nobody is created."""
        kind, key = identity(identifiers)
        wanted = {name: value for name, value in attributes.items() if name != "_update"}
        for name, value in wanted.items():
            if len(name.encode()) > MAX_NAME:
                raise ItemError("invalid", "attributes", f"attribute name longer than {MAX_NAME} bytes")
            if len(str(value).encode()) > MAX_VALUE:
                raise ItemError("invalid", f"attributes.{name}", f"value larger than {MAX_VALUE} bytes")
        person = self._state.find(key, kind)
        if person is None:
            if attributes.get("_update") is True:
                return
            if kind == "cio_id":
                raise ItemError("invalid", "identifiers.cio_id", "no person has this cio_id")
            person = self._state.create(**{kind: key})
        self._state.set_attributes(person, wanted)

    def _event(self, item: dict[str, Any], data: dict[str, Any]) -> None:
        """Record a person's event."""
        kind, key = identity(item.get("identifiers"))
        name = item.get("name")
        if not isinstance(name, str) or not name:
            raise ItemError("required", "name", "an event needs a name")
        stamp = item.get("timestamp", self._state.epoch)
        if not isinstance(stamp, int):
            raise ItemError("invalid", "timestamp", "timestamp must be a Unix time")
        person = self._state.find(key, kind)
        if person is None and kind != "cio_id":
            person = self._state.create(**{kind: key})
        if person is None:
            raise ItemError("invalid", "identifiers.cio_id", "no person has this cio_id")
        self._state.record(person, name, data, datetime.fromtimestamp(stamp, UTC))


def identity(identifiers: Any) -> tuple[str, str]:
    """Return the one identifier's kind and value.

    Raises:
        ItemError: there is not exactly one of id, email, cio_id, or it is empty.
    """
    if not isinstance(identifiers, dict) or len(identifiers) != 1:
        raise ItemError("required", "identifiers", "identifiers must hold exactly one of id, email, cio_id")
    kind, key = next(iter(identifiers.items()))
    if kind not in ("id", "email", "cio_id") or not str(key):
        raise ItemError("invalid", f"identifiers.{kind}", "must be a non-empty id, email or cio_id")
    return kind, str(key)


def malformed(field: str, message: str) -> Answer:
    """Refuse a whole request."""
    return Answer(400, {"errors": [{"reason": "invalid", "field": field, "message": message}]})
