"""One door for all requests: handlers are plain functions from a `Call` to an `Answer`.

The door reads the body, keeps the log of requests and plays the faults that a test has scripted.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Lock
from typing import Any, Literal

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Answer", "Call", "Door", "Fault", "Handler", "Seen", "Vendor", "with_abort"]

Vendor = Literal["customerio", "customerio-track", "launchdarkly", "launchdarkly-sdk", "sandbox"]


@dataclass(frozen=True, slots=True)
class Call:
    """A request. `raw` is path and query as sent; header names are in lower case."""

    method: str
    path: str
    raw: str
    parts: Mapping[str, str]
    params: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body parsed, or None where it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def mapping(self) -> dict[str, Any]:
        """Return the body's object, or an empty one where it is none."""
        said = self.json()
        return said if isinstance(said, dict) else {}


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: text and bytes as they are, None as no body, anything else as JSON."""

    status: int
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        """Return the Starlette response."""
        headers = dict(self.headers)
        if self.body is None:
            return Response(status_code=self.status, headers=headers)
        if isinstance(self.body, str | bytes):
            return Response(self.body, self.status, headers)
        text = json.dumps(self.body, separators=(",", ":"))
        return Response(text, self.status, headers, media_type="application/json")


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with the next `times` requests that fit.

    `kind`: "status" answers `status` and does nothing; "reset" breaks the connection and does nothing;
    "apply_then_reset" and "apply_then_timeout" do what was asked and then break the connection, at once or
    after `seconds` of silence. `path` is a part of the path; empty `method` and `path` fit all.
    """

    vendor: Vendor
    kind: Literal["status", "reset", "apply_then_reset", "apply_then_timeout"] = "status"
    status: int = 500
    times: int = 1
    method: str = ""
    path: str = ""
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 30.0

    def fits(self, vendor: Vendor, method: str, path: str) -> bool:
        """Tell whether the fault strikes this request."""
        return vendor == self.vendor and self.method in ("", method) and self.path in path


@dataclass(frozen=True, slots=True)
class Seen:
    """A request in the log. `at` is the simulated instant; status 0 means a broken connection."""

    vendor: Vendor
    method: str
    path: str
    status: int
    at: datetime


Handler = Callable[[Call], Answer]


class Door:
    """Makes routes of handlers, logs what passes and plays faults.

    `refusals` tells how each vendor words a scripted fault of a status that brings no body of its own.
    """

    def __init__(
        self, now: Callable[[], datetime], refusals: Mapping[Vendor, Callable[[int], Answer]]
    ) -> None:
        self._refusals = refusals
        self.seen: list[Seen] = []
        self._faults: list[Fault] = []
        self._lock = Lock()
        self._now = now

    def script(self, fault: Fault) -> None:
        """Let a fault strike; faults strike in the order in which they were scripted."""
        with self._lock:
            self._faults.append(fault)

    def route(self, vendor: Vendor, method: str, path: str, handler: Handler) -> Route:
        """Return a Starlette route that answers by `handler`, which runs in a worker thread."""

        async def endpoint(request: Request) -> Response:
            call = await _call(request)
            fault = self._strike(vendor, call)
            if fault is None or fault.kind.startswith("apply"):
                answer = await run_in_threadpool(handler, call)
            else:
                answer = self._refusal(vendor, fault)
            broken = fault is not None and fault.kind != "status"
            self._log(vendor, call, 0 if broken else answer.status)
            if fault is not None and broken:
                await asyncio.sleep(fault.seconds if fault.kind == "apply_then_timeout" else 0)
                request.scope["sandbox.abort"]()
                await asyncio.sleep(0.01)
            return answer.response()

        return Route(path, endpoint, methods=[method])

    def note(self, vendor: Vendor, method: str, path: str, status: int) -> None:
        """Log a request that passed by another way."""
        with self._lock:
            self.seen.append(Seen(vendor, method, path, status, self._now()))

    def _refusal(self, vendor: Vendor, fault: Fault) -> Answer:
        """Return a scripted refusal, in the vendor's words where the script has none."""
        if fault.body is None and not fault.headers and vendor in self._refusals:
            return self._refusals[vendor](fault.status)
        return Answer(fault.status, fault.body, fault.headers)

    def _log(self, vendor: Vendor, call: Call, status: int) -> None:
        if vendor != "sandbox":
            self.note(vendor, call.method, call.path, status)

    def _strike(self, vendor: Vendor, call: Call) -> Fault | None:
        """Take the first fault that fits, once."""
        with self._lock:
            for place, fault in enumerate(self._faults):
                if fault.fits(vendor, call.method, call.path):
                    if fault.times > 1:
                        self._faults[place] = replace(fault, times=fault.times - 1)
                    else:
                        del self._faults[place]
                    return fault
        return None


async def _call(request: Request) -> Call:
    """Return a request as a value."""
    query = request.scope["query_string"].decode("latin-1")
    raw_path = request.scope.get("raw_path", b"").decode("latin-1")
    return Call(
        method=request.method,
        path=request.url.path,
        raw=f"{raw_path}?{query}" if query else raw_path,
        parts={name: str(value) for name, value in request.path_params.items()},
        params=dict(request.query_params),
        headers=dict(request.headers),
        body=await request.body(),
    )


def with_abort(app: ASGIApp) -> ASGIApp:
    """Let handlers break a connection: `scope["sandbox.abort"]()` closes uvicorn's transport at once."""

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        cycle = getattr(send, "__self__", None)
        if cycle is not None and scope["type"] == "http":
            scope["sandbox.abort"] = cycle.transport.abort
        await app(scope, receive, send)

    return outer
