"""The vendors' rate limits, in real time: tests give a clock of their own."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

__all__ = ["Bucket", "Windows"]


class Bucket:
    """A token bucket: `a_second` requests a second, as many at once."""

    def __init__(self, a_second: float, clock: Callable[[], float]) -> None:
        self._rate = a_second
        self._clock = clock
        self._tokens = a_second
        self._filled_at = clock()
        self._lock = Lock()

    def take(self) -> bool:
        """Take a token, or tell that there is none."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._rate, self._tokens + (now - self._filled_at) * self._rate)
            self._filled_at = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True


@dataclass(frozen=True, slots=True)
class Allowance:
    """What remains of a window: requests in all and of one route, and its end (epoch seconds)."""

    everywhere: int
    route: int
    ends_at: float
    granted: bool

    def headers(self, now: float) -> dict[str, str]:
        """Return LaunchDarkly's headers: the reset in epoch milliseconds, and the wait in seconds."""
        told = {
            "X-Ratelimit-Global-Remaining": str(self.everywhere),
            "X-Ratelimit-Route-Remaining": str(self.route),
            "X-Ratelimit-Reset": str(int(self.ends_at * 1000)),
        }
        return told if self.granted else {**told, "Retry-After": str(max(1, math.ceil(self.ends_at - now)))}


class Windows:
    """Fixed windows of `seconds`, with one limit for each route and one for all together."""

    def __init__(
        self, *, route: int, everywhere: int, clock: Callable[[], float], seconds: float = 10.0
    ) -> None:
        self.route_limit = route
        self.global_limit = everywhere
        self._seconds = seconds
        self._clock = clock
        self._ends_at = -math.inf
        self._used: Counter[str] = Counter()
        self._lock = Lock()

    def take(self, route: str, *, count: bool = True) -> Allowance:
        """Count a request to `route` (not, if the limits are off) and tell what remains."""
        with self._lock:
            now = self._clock()
            if now >= self._ends_at:
                self._used.clear()
                self._ends_at = now + self._seconds
            left = self.route_limit - self._used[route]
            left_everywhere = self.global_limit - self._used.total()
            granted = left > 0 and left_everywhere > 0
            if granted and count:
                self._used[route] += 1
                left, left_everywhere = left - 1, left_everywhere - 1
            return Allowance(max(0, left_everywhere), max(0, left), self._ends_at, granted)
