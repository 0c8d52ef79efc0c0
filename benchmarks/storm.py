"""A client that sends many signed webhooks at once, byte for byte as a vendor would, and times every answer."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Answer", "Storm", "burst", "report", "request_of", "signed", "steady"]

CAMPAIGN = 7


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: which request it was (its place), its status (0: none came), and after how many seconds."""

    place: int
    status: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Storm:
    """All answers of a storm, and how long it took as a whole."""

    answers: tuple[Answer, ...]
    seconds: float

    @property
    def statuses(self) -> set[int]:
        """Return which statuses came."""
        return {each.status for each in self.answers}

    def within(self, share: float) -> float:
        """Return the seconds within which this share of the answers came."""
        times = sorted(each.seconds for each in self.answers)
        return times[min(int(len(times) * share), len(times) - 1)]


def signed(body: bytes, key: str, *, at: float | None = None) -> dict[str, str]:
    """Return the headers with which the vendor would send `body`."""
    stamp = str(int(time.time() if at is None else at))
    digest = hmac.new(key.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    return {"X-CIO-Timestamp": stamp, "X-CIO-Signature": digest, "Content-Type": "application/json"}


def report(number: int, **more: Any) -> bytes:
    """Return the body of a reporting webhook about message `number`."""
    data = {"delivery_id": f"d{number}", "campaign_id": CAMPAIGN, "identifiers": {"id": f"c{number}"}}
    said = {"event_id": f"e{number}", "metric": "sent", "object_type": "email", "timestamp": 1_790_000_000}
    return json.dumps({**said, "data": data, **more}).encode()


def request_of(body: bytes, key: str) -> bytes:
    """Return a whole HTTP request."""
    headers = {**signed(body, key), "Host": "receiver", "Content-Length": str(len(body))}
    told = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST /customerio/reporting HTTP/1.1\r\n{told}\r\n".encode() + body


def burst(port: int, requests: Sequence[bytes]) -> Storm:
    """Send all requests at one moment, each over a connection of its own."""
    return asyncio.run(_storm(port, enumerate(requests), connections=len(requests), each_anew=True))


def steady(port: int, requests: Sequence[bytes], *, connections: int) -> Storm:
    """Send the requests over so many connections, on each one after the other."""
    return asyncio.run(_storm(port, enumerate(requests), connections=connections, each_anew=False))


async def _storm(
    port: int, requests: Iterator[tuple[int, bytes]], *, connections: int, each_anew: bool
) -> Storm:
    answers: list[Answer] = []

    async def send() -> None:
        began = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for place, request in requests:
            if not each_anew:
                began = time.perf_counter()
            writer.write(request)
            status = await _status(reader)
            answers.append(Answer(place, status, time.perf_counter() - began))
            if each_anew or not status:
                break
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(send() for _ in range(connections)), return_exceptions=True)
    return Storm(tuple(answers), time.perf_counter() - began)


async def _status(reader: asyncio.StreamReader) -> int:
    """Return the status of the next answer, which has no body; 0 where the connection ends before."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return 0
    return int(head.split(b" ", 2)[1])
