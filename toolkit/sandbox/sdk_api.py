"""The stand-in's LaunchDarkly SDK routes: polling, streaming, and a sink for events."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from toolkit.sandbox.launchdarkly import LaunchDarkly, compact
from toolkit.sandbox.refusals import refusal
from toolkit.sandbox.wire import Answer, Call, Door

__all__ = ["SdkApi"]

HEARTBEAT_SECONDS = 5.0


class SdkApi:
    """Routes for SDKs that hold the raw SDK key."""

    def __init__(self, state: LaunchDarkly, key: str) -> None:
        self._state = state
        self._key = key.encode()
        self._loops: dict[asyncio.Queue[str | None], asyncio.AbstractEventLoop] = {}
        self._door: Door | None = None
        state.listeners.append(self._spread)

    def routes(self, door: Door) -> list[Route]:
        """Return the routes."""
        self._door = door
        return [
            door.route("launchdarkly-sdk", "GET", "/sdk/latest-all", self.latest),
            Route("/all", self.stream, methods=["GET"]),
            door.route("launchdarkly-sdk", "POST", "/bulk", self.sink),
            door.route("launchdarkly-sdk", "POST", "/diagnostic", self.sink),
        ]

    def latest(self, call: Call) -> Answer:
        """Tell all flags and segments, or that nothing changed since the tag sent."""
        if not self._knows(call.headers):
            return refusal(401, "unauthorized", "Invalid SDK key")
        with self._state.lock:
            tag = f'"{self._state.changes}"'
            if call.headers.get("if-none-match") == tag:
                return Answer(304, headers={"ETag": tag})
            return Answer(200, self._state.payload(), {"ETag": tag})

    def sink(self, call: Call) -> Answer:
        """Take events, and forget them."""
        return Answer(202) if self._knows(call.headers) else refusal(401, "unauthorized", "Invalid SDK key")

    async def stream(self, request: Request) -> Response:
        """Send everything once, then every change, with heartbeats in silence."""
        known = self._knows(dict(request.headers))
        if self._door is not None:
            self._door.note("launchdarkly-sdk", "GET", "/all", 200 if known else 401)
        if not known:
            return refusal(401, "unauthorized", "Invalid SDK key").response()
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        with self._state.lock:
            first = self._state.payload()
            self._loops[queue] = asyncio.get_running_loop()
        queue.put_nowait(event("put", {"path": "/", "data": first}))
        return StreamingResponse(self._lines(queue), media_type="text/event-stream")

    def close(self) -> None:
        """End all streams."""
        with self._state.lock:
            for queue, loop in list(self._loops.items()):
                loop.call_soon_threadsafe(queue.put_nowait, None)

    async def _lines(self, queue: asyncio.Queue[str | None]) -> AsyncIterator[str]:
        try:
            while True:
                try:
                    line = await asyncio.wait_for(queue.get(), HEARTBEAT_SECONDS)
                except TimeoutError:
                    line = ":\n\n"
                if line is None:
                    return
                yield line
        finally:
            self._loops.pop(queue, None)

    def _spread(self, kind: str, data: Mapping[str, Any]) -> None:
        """Pass a change on to all streams, from whatever thread it was made in."""
        if self._loops:
            line = event("patch", {"path": f"/{kind}/{data['key']}", "data": data})
            for queue, loop in list(self._loops.items()):
                loop.call_soon_threadsafe(queue.put_nowait, line)

    def _knows(self, headers: Mapping[str, str]) -> bool:
        return hmac.compare_digest(headers.get("authorization", "").encode(), self._key)


def event(name: str, data: Mapping[str, Any]) -> str:
    """Return a server-sent event."""
    return f"event: {name}\ndata: {compact(data)}\n\n"
