"""How long a vendor asks to wait, from the headers of its answer."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from math import isfinite

import httpx

__all__ = ["seconds_asked", "seconds_until_reset"]

SKEW_SECONDS = 2.0


def seconds_asked(answer: httpx.Response, wall: float) -> float:
    """Return how many seconds `Retry-After` (seconds or a date) asks to wait, 0 if it asks for nothing.

    `wall` is the present by our clock, in seconds since the epoch.
    """
    said = answer.headers.get("Retry-After", "").strip()
    try:
        seconds = float(said)
    except ValueError:
        until = _epoch_of(said)
        seconds = 0.0 if until is None else until - _their_now(answer, wall)
    return seconds if isfinite(seconds) and seconds > 0 else 0.0


def seconds_until_reset(answer: httpx.Response, wall: float) -> float:
    """Return how many seconds remain until `X-Ratelimit-Reset` (epoch milliseconds).

    0 where the window has room (no `X-Ratelimit-…-Remaining` is 0, and it is no 429), or the reset is past.
    """
    spent = answer.status_code == 429 or any(
        name.startswith("x-ratelimit-") and name.endswith("-remaining") and value.strip() == "0"
        for name, value in answer.headers.items()
    )
    try:
        reset = float(answer.headers.get("X-Ratelimit-Reset", "")) / 1000
    except ValueError:
        return 0.0
    return max(0.0, reset - _their_now(answer, wall)) if spent and isfinite(reset) else 0.0


def _their_now(answer: httpx.Response, ours: float) -> float:
    """Return the present in epoch seconds: ours, or theirs where ours is off."""
    theirs = _epoch_of(answer.headers.get("Date", ""))
    return ours if theirs is None or abs(theirs - ours) <= SKEW_SECONDS else theirs


def _epoch_of(http_date: str) -> float | None:
    try:
        at = parsedate_to_datetime(http_date)
    except (TypeError, ValueError):
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
