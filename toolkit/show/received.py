"""The receiver, in plain text; no line names a customer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.show.table import table_text

if TYPE_CHECKING:
    from toolkit.lake.received import Held
    from toolkit.receiver.chores import Once, Retried
    from toolkit.steps.inbox import Folder

__all__ = ["held_text", "listening_text", "once_text", "retried_text"]


def listening_text(url: str, inbox: Path, folder: Folder) -> str:
    """Return where the receiver listens, where it keeps things, and for which experiments."""
    keys = ", ".join(sorted(folder.specs())) or "none"
    lines = [
        f"listening on {url} (POST /customerio/reporting, POST /segments)",
        f"inbox: {inbox}",
        f"experiments of {folder.folder}: {keys}",
        *(f"left out: {wrong}" for wrong in folder.wrong),
    ]
    return "\n".join(lines)


def held_text(held: Sequence[Held]) -> str:
    """Return what was put aside as unusable, by reason."""
    if not held:
        return "nothing was put aside"
    return table_text(
        ["route", "reason", "bodies", "times"],
        [[each.door, each.reason, f"{each.bodies:,}", f"{each.times:,}"] for each in held],
        right=[2, 3],
    )


def once_text(done: Once) -> str:
    """Return what one pass over the inbox did."""
    lines = [
        f"{done.before.deliveries - done.after.deliveries:,} deliveries and "
        f"{done.before.crossings - done.after.crossings:,} crossings applied"
    ]
    if done.after.deliveries or done.after.crossings:
        lines.append(
            f"still waiting: {done.after.deliveries:,} deliveries, {done.after.crossings:,} crossings"
        )
    if done.after.quarantined:
        lines.append(f"put aside as unusable: {done.after.quarantined:,}; see --quarantined")
    return "\n".join([*lines, *(f"refused: {each}" for each in done.refused)])


def retried_text(retried: Retried) -> str:
    """Return how many bodies were taken out of quarantine."""
    return (
        f"{retried.mended:,} bodies taken in; {sum(each.bodies for each in retried.held):,} remain put aside"
    )
