"""Trouble on the wire between the toolkit's clients and the vendors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb
import httpx
import pytest

from tests.clients.wiring import Clock
from tests.steps.pushing_vendors import Vendors
from toolkit.clients import CustomerIOTrack, LaunchDarkly

GoOn = Callable[[], httpx.Response]
Trouble = Callable[[httpx.Request, GoOn], httpx.Response]
"""What befalls a request: it may let the vendor answer, change the answer, or raise."""


class Crash(BaseException):
    """The process ends here."""


class Line(httpx.BaseTransport):
    """The wire between the toolkit's clients and `vendors`.

    `trouble` says what befalls a request; `watch` sees each request that the vendor took.
    """

    def __init__(self, vendors: Vendors) -> None:
        self.vendors = vendors
        self.trouble: Callable[[httpx.Request], Trouble | None] = lambda _: None
        self.watch: Callable[[httpx.Request], None] = lambda _: None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Pass a request on, unless there is trouble."""

        def go_on() -> httpx.Response:
            answer = self.vendors.answer(request)
            self.watch(request)
            return answer

        befalls = self.trouble(request)
        return befalls(request, go_on) if befalls else go_on()


def refused(status: int, message: str = "", **headers: str) -> Trouble:
    """Return the trouble that the vendor does nothing and answers `status`."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda *_: httpx.Response(status, headers=told, json={"message": message})


def reset(request: httpx.Request, _: GoOn) -> httpx.Response:
    """Break the connection before anything is done."""
    raise httpx.ReadError("connection reset by peer", request=request)


def silent(request: httpx.Request, go_on: GoOn) -> httpx.Response:
    """Do what was asked, and never answer."""
    go_on()
    raise httpx.ReadTimeout("timed out", request=request)


def cut_off(_: httpx.Request, go_on: GoOn) -> httpx.Response:
    """Do what was asked, and break the connection in the middle of the answer."""
    answer = go_on()
    return httpx.Response(answer.status_code, headers=answer.headers, stream=HalfAStream(answer.content))


def cut_short(_: httpx.Request, go_on: GoOn) -> httpx.Response:
    """Do what was asked, and answer half of it as if it were all, as a proxy might."""
    answer = go_on()
    return httpx.Response(answer.status_code, content=answer.content[: len(answer.content) // 2])


def crash_before(*_: object) -> httpx.Response:
    """End the process before the request arrives."""
    raise Crash


def crash_after(_: httpx.Request, go_on: GoOn) -> httpx.Response:
    """End the process after the request took effect."""
    go_on()
    raise Crash


class HalfAStream(httpx.SyncByteStream):
    """The first half of a body, then a lost connection."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        yield self._body[: len(self._body) // 2]
        raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")


def calm(_: httpx.Request) -> None:
    """Let nothing befall a request."""


PASSING: dict[str, Trouble] = {
    "too many requests": refused(429),
    "unavailable": refused(503),
    "connection reset": reset,
    "time-out after the write": silent,
    "answer cut off": cut_off,
}
"""Trouble that a retry mends, where it strikes once."""
ENDING: dict[str, Trouble] = {
    "key refused": refused(401),
    "no right": refused(403),
    "changed meanwhile": refused(409),
    "answer cut short": cut_short,
    "crash before": crash_before,
    "crash after": crash_after,
}
"""Trouble that ends the run."""


@dataclass(frozen=True)
class Place:
    """The n-th request whose method and path hold `kind`, or with `lasts` that one and all after it."""

    kind: str
    number: int
    lasts: bool = False

    def counter(self) -> Callable[[httpx.Request], bool]:
        """Return what tells, request by request, whether trouble strikes."""
        seen = 0

        def strikes(request: httpx.Request) -> bool:
            nonlocal seen
            fits = self.kind in f"{request.method} {request.url.path}"
            seen += fits
            return (fits and seen == self.number) or (self.lasts and seen >= self.number)

        return strikes


@contextmanager
def wired(line: httpx.BaseTransport, clock: Clock) -> Iterator[None]:
    """Let every client of a vendor that is opened meanwhile use `line`, and `clock` for its waits."""
    wiring = {"transport": line, "sleep": clock.sleep, "clock": clock, "wall": clock}
    with pytest.MonkeyPatch.context() as patch, one_duckdb():
        for client in (LaunchDarkly, CustomerIOTrack):
            for name, value in wiring.items():
                patch.setitem(client.__init__.__kwdefaults__, name, value)
        yield


@contextmanager
def one_duckdb() -> Iterator[None]:
    """Let the engine's sessions be those of one DuckDB: opening another takes longer than a push's own work."""
    with pytest.MonkeyPatch.context() as patch, duckdb.connect(":memory:") as one:
        patch.setattr(duckdb, "connect", lambda _: one.cursor())
        yield
