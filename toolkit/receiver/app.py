"""The doors: routes that take webhooks in. A body is checked, understood, kept, and only then acknowledged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from toolkit.errors import StorageError
from toolkit.lake.received import Arrival, Unusable
from toolkit.receiver.bodies import Misunderstood, crossing_of, delivery_of
from toolkit.receiver.commits import Committer
from toolkit.receiver.signatures import is_signed, knows_secret
from toolkit.receiver.tallies import Tallies

__all__ = ["LARGEST_BODY", "SECRET_HEADER", "Keys", "receiver_app"]

SIGNATURE_HEADER, TIMESTAMP_HEADER = "x-cio-signature", "x-cio-timestamp"
SECRET_HEADER = "x-lift-secret"  # noqa: S105 (its name)
REPORTING, SEGMENTS = "reporting", "segments"
LARGEST_BODY = 1_000_000
"""In bytes. A report that includes its message's content is some hundred thousand."""
UNREAD = frozenset({401, 408, 413})
"""After these the connection ends, lest whoever is refused keep it busy with the rest of a body."""
CLOSE = {"connection": "close"}
LONGEST_ANSWER_SECONDS = 3.5
"""The vendor gives up after four, and sends it again."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What proves that a request is authentic, and how old a signature may be."""

    signing_key: bytes = field(repr=False)
    segment_secret: bytes = field(repr=False)
    tolerance_seconds: float


class _Refused(Exception):
    """A request that is answered with `status`, without a reason that would help a forger."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def receiver_app(
    keys: Keys,
    committer: Committer,
    identity_keys: Callable[[], Mapping[str, str]],
    tallies: Tallies,
    *,
    alive: Callable[[], bool] = lambda: True,
    lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]] | None = None,
    clock: Callable[[], float] = time.time,
) -> Starlette:
    """Return the ASGI application.

    Args:
        keys: what authentic requests prove that they know.
        committer: where arrivals are kept; running while requests come.
        identity_keys: returns experiment → identifier of its customers, as the files say now.
        tallies: counted into.
        alive: whether what was kept is being applied.
        lifespan: what starts and stops with the application.
        clock: seconds since 1970.
    """

    async def keep(door: str, arrival: Arrival | None) -> None:
        outcome = "unneeded" if arrival is None else await committer.commit(arrival)
        tallies.arrived(door, outcome)

    async def reporting(request: Request) -> None:
        body = await _body_of(request)
        stamps = request.headers.getlist(TIMESTAMP_HEADER)
        signatures = request.headers.getlist(SIGNATURE_HEADER)
        within = keys.tolerance_seconds
        if not is_signed(keys.signing_key, stamps, signatures, body, now=clock(), tolerance_seconds=within):
            raise _Refused(401)
        try:
            arrival: Arrival | None = delivery_of(body)
        except Misunderstood as why:
            arrival = Unusable(REPORTING, body, str(why))
        await keep(REPORTING, arrival)

    async def segments(request: Request) -> None:
        if not knows_secret(keys.segment_secret, request.headers.getlist(SECRET_HEADER)):
            raise _Refused(401)
        body = await _body_of(request)
        try:
            arrival: Arrival = crossing_of(body, identity_keys())
        except Misunderstood as why:
            arrival = Unusable(SEGMENTS, body, str(why))
        await keep(SEGMENTS, arrival)

    async def health(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(_: Request) -> Response:
        try:
            async with asyncio.timeout(LONGEST_ANSWER_SECONDS):
                await committer.waiting()
        except (StorageError, TimeoutError):
            return JSONResponse({"inbox": "cannot be written", "worker": alive()}, 503)
        return JSONResponse({"inbox": "can be written", "worker": alive()}, 200 if alive() else 503)

    async def metrics(_: Request) -> Response:
        try:
            async with asyncio.timeout(LONGEST_ANSWER_SECONDS):
                text = tallies.text(await committer.waiting())
        except (StorageError, TimeoutError):
            return Response(status_code=503)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    return Starlette(
        routes=[
            Route("/customerio/reporting", _door(REPORTING, reporting, tallies), methods=["POST"]),
            Route("/segments", _door(SEGMENTS, segments, tallies), methods=["POST"]),
            Route("/health", health),
            Route("/ready", ready),
            Route("/metrics", metrics),
        ],
        lifespan=lifespan,
    )


def _door(
    name: str, take: Callable[[Request], Awaitable[None]], tallies: Tallies
) -> Callable[[Request], Awaitable[Response]]:
    """Return the handler that answers in time, whatever `take` meets: 200 only if what came is kept."""

    async def handle(request: Request) -> Response:
        started = time.perf_counter()
        status = 200
        try:
            async with asyncio.timeout(LONGEST_ANSWER_SECONDS):
                await take(request)
        except _Refused as refused:
            status = refused.status
        except StorageError:
            status = 503
        except TimeoutError:
            status = 408 if request.scope.get("lift.reading") else 503
        except ClientDisconnect:
            status = 400
        tallies.answered(name, status, time.perf_counter() - started)
        return Response(status_code=status, headers=CLOSE if status in UNREAD else None)

    return handle


async def _body_of(request: Request) -> bytes:
    """Return the body.

    Raises:
        _Refused: it is too large; the rest of it is not read.
    """
    declared = request.headers.get("content-length", "0")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > LARGEST_BODY:
        raise _Refused(413)
    request.scope["lift.reading"] = True
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > LARGEST_BODY:
            raise _Refused(413)
        parts.append(part)
    request.scope["lift.reading"] = False
    return b"".join(parts)
