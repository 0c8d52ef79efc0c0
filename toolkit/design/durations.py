"""Durations as people write them in an experiment file: `14d`, `5m`, `12h`, `2w`."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

__all__ = ["EARLIEST", "LATEST", "Duration", "in_words", "within_bounds"]

EARLIEST, LATEST = date(1970, 1, 1), date(2200, 12, 31)
"""Between these dates every engine can count, whatever span is added or taken off."""
LONGEST = timedelta(days=3653)

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_FORM = re.compile(r"([1-9]\d*)\s*([smhdw])")


def _parse(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    found = _FORM.fullmatch(value.strip()) if isinstance(value, str) else None
    if not found:
        raise ValueError(f"{value!r} is no duration; write a whole number and a unit, like 14d, 12h or 5m")
    try:
        span = timedelta(**{_UNITS[found[2]]: int(found[1])})
    except OverflowError:
        span = timedelta.max
    if span > LONGEST:
        raise ValueError(f"{value!r} is longer than 10 years ({LONGEST.days}d); write a shorter span")
    return span


def within_bounds(on: date) -> date:
    """Return `on`, a date that can be counted with.

    Raises:
        ValueError: it lies outside the bounds.
    """
    if not EARLIEST <= on <= LATEST:
        raise ValueError(f"{on} lies outside {EARLIEST} to {LATEST}; write the day that is meant")
    return on


def in_words(span: timedelta) -> str:
    """Return `span` in the largest unit that divides it: `14d`, `90m`."""
    seconds = round(span.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


Duration = Annotated[timedelta, BeforeValidator(_parse), PlainSerializer(in_words)]
"""A positive span of time, written as a whole number and one of s, m, h, d, w."""
