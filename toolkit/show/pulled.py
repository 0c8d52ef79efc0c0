"""What a pull brought, in plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from toolkit.lake.arrivals import Kept, Taken
    from toolkit.steps.activities import Walked
    from toolkit.steps.pull import Pulled

__all__ = ["pulled_text"]


def pulled_text(done: Pulled) -> str:
    """Return what a pull brought."""
    lines: list[str] = []
    if done.events:
        lines += _walked(done.events)
    if done.files:
        lines += _taken("events", done.files)
    if done.deliveries:
        lines += _kept("message events", done.deliveries)
    if done.exposures:
        lines += _taken("hours in which somebody was served the offer", done.exposures)
    if done.same_people:
        lines.append(
            f"{done.same_people:,} customers turned out to be one person with another: the check `crossover` says "
            "how many of them were in different arms"
        )
    return "\n".join(lines) or "nothing to pull: webhooks bring what this experiment asks for"


def _walked(walked: Walked) -> Iterator[str]:
    from toolkit.steps.pull import REACH

    yield f"{walked.added:,} new events ({walked.seen:,} looked at, {walked.pages:,} page{'' if walked.pages == 1 else 's'})"
    yield from _left_out(walked)
    if walked.gap:
        yield (
            f"warning: events from {walked.gap[0]:%Y-%m-%d} to {walked.gap[1]:%Y-%m-%d} can no longer be had: "
            f"Customer.io keeps {REACH.days} days; bring them from a warehouse export"
        )


def _taken(what: str, taken: Taken) -> Iterator[str]:
    yield f"{taken.kept.added:,} new {what} ({taken.kept.seen:,} rows looked at, {taken.files:,} new files)"
    yield from _waiting(taken.kept)


def _kept(what: str, kept: Kept) -> Iterator[str]:
    yield f"{kept.added:,} new {what} ({kept.seen:,} looked at)"
    yield from _waiting(kept)


def _waiting(kept: Kept) -> Iterator[str]:
    yield from _left_out(kept)
    if kept.waiting:
        yield f"{kept.waiting:,} rows wait for a file that says whose they are; they are read again at the next pull"


def _left_out(kept: Kept | Walked) -> Iterator[str]:
    if kept.without_key:
        yield f"{kept.without_key:,} rows are of people without the identity key, and left out"
    if kept.without_amount:
        yield f"{kept.without_amount:,} orders or refunds have no readable amount"
