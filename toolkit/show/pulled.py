"""What a pull brought, in plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolkit.steps.pull import Pulled

__all__ = ["pulled_text"]


def pulled_text(done: Pulled) -> str:
    """Return what a pull brought."""
    from toolkit.steps.pull import REACH

    lines = [f"{done.added:,} new events ({done.seen:,} looked at, {done.pages:,} pages)"]
    if done.without_key:
        lines.append(f"{done.without_key:,} events are of people without the identity key, and left out")
    if done.without_amount:
        lines.append(f"{done.without_amount:,} orders or refunds have no readable amount")
    if done.gap:
        lines.append(
            f"warning: events from {done.gap[0]:%Y-%m-%d} to {done.gap[1]:%Y-%m-%d} can no longer be had: "
            f"Customer.io keeps {REACH.days} days; bring them from a warehouse export"
        )
    return "\n".join(lines)
