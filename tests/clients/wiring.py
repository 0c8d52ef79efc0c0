"""A vendor made of a list of answers, and a clock that only moves when somebody sleeps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import httpx

from toolkit.clients import CustomerIO, CustomerIOTrack, LaunchDarkly

APP_KEY = "app-key-0123456789abcdef"
TRACK_KEY = "track-key-0123456789abcdef"
TOKEN = "api-0123456789-abcdef-0123"
START = 1_800_000_000.0


class Clock:
    """Unix seconds; `naps` are the waits that were asked for."""

    def __init__(self) -> None:
        self.now = START
        self.naps: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


class Vendor:
    """Answers in order, the last one again and again; remembers what was asked and when."""

    def __init__(self, answers: Iterable[Any], clock: Clock | None = None) -> None:
        self.answers = list(answers)
        self.clock = clock or Clock()
        self.asked: list[httpx.Request] = []
        self.asked_at: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        answer = self.answers[min(len(self.asked), len(self.answers) - 1)]
        self.asked.append(request)
        self.asked_at.append(self.clock.now)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return answer
        if isinstance(answer, Callable):
            return answer(request)
        return httpx.Response(200, json=answer)

    def wiring(self) -> dict[str, Any]:
        return {
            "transport": httpx.MockTransport(self),
            "sleep": self.clock.sleep,
            "clock": self.clock,
            "wall": self.clock,
        }

    def app(self, **more: Any) -> CustomerIO:
        return CustomerIO(APP_KEY, **self.wiring(), **more)

    def track(self) -> CustomerIOTrack:
        return CustomerIOTrack("site-123456", TRACK_KEY, **self.wiring())

    def launchdarkly(self, **more: Any) -> LaunchDarkly:
        return LaunchDarkly(TOKEN, project="shop", environment="prod", **self.wiring(), **more)

    def gaps(self) -> list[float]:
        return [round(b - a, 6) for a, b in zip(self.asked_at, self.asked_at[1:], strict=False)]


def refused(status: int, code: str = "", message: str = "", **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"code": code, "message": message}, headers=headers)
