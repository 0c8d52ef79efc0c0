"""Numbers as readers say them: signs, units, digits, dates, p-values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

__all__ = [
    "DASH",
    "Unit",
    "count",
    "day",
    "decimals_for",
    "duration",
    "instant",
    "p_value",
    "percent",
    "span",
    "total",
    "window",
]

DASH = "—"
SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "INR": "₹", "BRL": "R$"}
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def decimals_for(low: float | None, high: float | None, value: float | None) -> int:
    """Return how many decimals leave two significant digits of the interval's half-width.

    With no bounded interval it is three significant digits of the value. An end that is not zero is not said as zero.
    """
    if low is not None and high is not None and high > low:
        size, digits = (high - low) / 2, 2
    else:
        size, digits = abs(value or 0.0), 3
    if not size or not math.isfinite(size):
        return 2
    found = max(0, digits - 1 - math.floor(math.log10(size)))
    near = [abs(end) for end in (low, high) if end and math.isfinite(end) and not round(end, found)]
    return min(6, max([found, *(-math.floor(math.log10(end)) for end in near)]))


@dataclass(frozen=True, slots=True)
class Unit:
    """What a metric's numbers are in.

    `kind` is `points` (a share; differences in percentage points), `percent` (a relative lift), `money` or
    `number`.
    """

    kind: str = "number"
    currency: str | None = None

    @property
    def factor(self) -> float:
        """Return what a stored number is multiplied by before it is said."""
        return 100.0 if self.kind in {"points", "percent"} else 1.0

    def decimals(self, low: float | None, high: float | None, value: float | None) -> int:
        """Return the decimals that suit an estimate; money has none, or its cents."""
        found = decimals_for(*(None if each is None else each * self.factor for each in (low, high, value)))
        return 2 if found == 1 and self.kind == "money" else found

    def given(self, value: float) -> str:
        """Return a difference that was set, not estimated: signed, with all its digits and no more."""
        said = f"{abs(value) * self.factor:,.6f}"
        return self.change(value, len(said.rstrip("0").partition(".")[2]))

    def change(self, value: float | None, decimals: int, *, bare: bool = False) -> str:
        """Return a difference with its sign: `+7.64 points`, `−$1.20`, `+71.9%`; `bare` leaves “points” out."""
        if value is None:
            return DASH
        said = f"{abs(value) * self.factor:,.{decimals}f}"
        nought = not any(digit in said for digit in "123456789")
        sign = "" if nought else "−" if value < 0 else "+"
        sign += "\N{WORD JOINER}" if sign and self._prefix else ""
        return f"{sign}{self._prefix}{said}{self._suffix('' if bare else ' point' if said == '1' else ' points')}"

    def size(self, value: float | None, decimals: int) -> str:
        """Return a mean or a share: `18.28%`, `$1.42`."""
        if value is None:
            return DASH
        sign = ("−\N{WORD JOINER}" if self._prefix else "−") if value < 0 else ""
        return f"{sign}{self._prefix}{abs(value) * self.factor:,.{decimals}f}{self._suffix('%')}"

    def interval(self, low: float | None, high: float | None, decimals: int) -> str:
        """Return an interval; an end that is None has no bound."""
        if low is None and high is None:
            return "no bounds"
        if high is None:
            return f"{self.change(low, decimals)} or more"
        if low is None:
            return f"{self.change(high, decimals)} or less"
        return f"{self.change(low, decimals, bare=True)} to {self.change(high, decimals)}"

    @property
    def _prefix(self) -> str:
        if self.kind != "money" or not self.currency:
            return ""
        code = self.currency.upper()
        return SYMBOLS.get(code, f"{code}\N{NO-BREAK SPACE}")

    def _suffix(self, for_points: str) -> str:
        return for_points if self.kind == "points" else "%" if self.kind == "percent" else ""


def duration(seconds: float | None) -> str:
    """Return a span as people say it: `40 s`, `3 min`, `2.5 h`, `3 d`."""
    if seconds is None:
        return DASH
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 or not seconds else "under 1 s"


def span(start: str, end: str) -> str:
    """Return how long it is from the ISO date `start` to the end of `end`: `9 days`, `8 weeks`."""
    days = (date.fromisoformat(end) - date.fromisoformat(start)).days + 1
    if days < 14:
        return "1 day" if days == 1 else f"{days} days"
    return f"{round(days / 7)} weeks"


def window(written: str) -> str:
    """Return a window as people say it: `14 days` for `14d`; anything else as it stands."""
    number, unit = written[:-1], {"d": "day", "h": "hour", "m": "minute", "s": "second"}.get(written[-1:])
    if unit is None or not number.isdigit():
        return written
    return f"{number} {unit}{'' if number == '1' else 's'}"


def total(money: Mapping[str, float | None] | None, unit: Unit) -> tuple[str, str]:
    """Return an amount and its interval, in words, to two significant digits of the interval's half-width."""
    if not money or money["value"] is None:
        return DASH, ""
    value, low, high = money["value"], money["low"], money["high"]
    if low is None or high is None or high <= low:
        return unit.size(value, 0), ""
    digits = 1 - math.floor(math.log10((high - low) / 2))
    kept = min(2, max(0, digits))
    said, *ends = (unit.size(round(each, digits), kept) for each in (value, low, high))
    return said, " to ".join(ends)


def count(value: float | None) -> str:
    """Return a whole number with thousands separators."""
    return DASH if value is None else f"{value:,.0f}".replace("-", "−")


def percent(value: float | None, decimals: int = 1) -> str:
    """Return a share as a percentage, unsigned unless below zero."""
    return DASH if value is None else f"{value:.{decimals}%}".replace("-", "−")


def p_value(value: float | None) -> str:
    """Return a p-value: two significant digits, and `< 0.0001` for anything smaller."""
    if value is None:
        return DASH
    if value < 0.0001:
        return "< 0.0001"
    return f"{value:.{max(2, 1 - math.floor(math.log10(value)))}f}"


def day(iso: str | None) -> str:
    """Return an ISO date as `3 Apr 2008`; anything else as it stands."""
    try:
        on = date.fromisoformat(str(iso))
    except ValueError:
        return str(iso) if iso else DASH
    return f"{on.day} {MONTHS[on.month - 1]} {on.year}"


def instant(iso: str | None) -> str:
    """Return an ISO instant as `3 Apr 2008, 14:00 UTC`; anything else as it stands."""
    try:
        at = datetime.fromisoformat(str(iso)).astimezone(UTC)
    except ValueError:
        return str(iso) if iso else DASH
    return f"{day(at.date().isoformat())}, {at:%H:%M} UTC"
