"""Coverage: the span of which events are known to be complete, without a gap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from toolkit.lake.tables import Lake

__all__ = ["REACH", "Covered", "coverage"]

REACH = timedelta(days=30)
"""How far back Customer.io's activities can be read; what is older when it is first asked for is lost."""


@dataclass(frozen=True, slots=True)
class Covered:
    """Everything that happened from `since` on and before `through` (aware UTC) is known."""

    since: datetime
    through: datetime


def coverage(lake: Lake, source: str, names: Sequence[str]) -> Covered | None:
    """Return the latest span without a gap for which events of all `names` were pulled from `source`.

    None where one of them never was. A pull reaches back `REACH`: where the one before is further away, what
    happened between them is not known, and the span begins anew.
    """
    reached: dict[str, set[datetime]] = {}
    for row in lake.records("cursors", ["source", "complete_through"]):
        if row["complete_through"] is not None:
            reached.setdefault(row["source"], set()).add(row["complete_through"])
    spans = [_latest(reached.get(f"{source}:{name}", set())) for name in names]
    known = [span for span in spans if span is not None]
    if not known or len(known) < len(spans):
        return None
    return Covered(max(span.since for span in known), min(span.through for span in known))


def _latest(walks: set[datetime]) -> Covered | None:
    span: Covered | None = None
    for at in sorted(walks):
        first = at - REACH
        span = Covered(span.since if span and first <= span.through else first, at)
    return span
