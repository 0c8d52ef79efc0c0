"""Small cells of a breakdown: never shown, and not to be had by subtracting what is shown from the total.

Every level of a breakdown is shown as itself, or as part of one merged level, so what is shown adds up to each
arm's total. Whatever can be derived from sums and differences of what is shown is a union of shown levels, and
each of those has enough customers in every arm (secondary suppression; Hundepool et al. 2012, Statistical
Disclosure Control, chapter 4). That holds for one breakdown at one time, not across breakdowns or looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["FEWEST", "Cells", "cells_of"]

FEWEST = 10
"""A level with fewer customers in any arm is not shown."""

OTHER = "other"


@dataclass(frozen=True, slots=True)
class Cells:
    """Which levels of a breakdown are shown, and as what.

    Attributes:
        shown: level → the level it is shown as (itself, or the merged one); None where nothing can be shown.
        notes: sentences on what was merged or hidden and why.
    """

    shown: dict[str, str | None]
    notes: tuple[str, ...] = ()


def cells_of(counts: Mapping[str, Mapping[str, int]], *, fewest: int = FEWEST) -> Cells:
    """Return how to show the levels of one breakdown, from level → arm → customers.

    Levels share out each arm's customers: those without a level make up one of their own, and an arm that a level
    does not name has none there. Levels with fewer than `fewest` customers in any arm are merged into one, and
    the next smallest joins them until the merged one has enough in every arm; the smallest is the one with the
    fewest customers in its smallest arm, then in all, then the first by name. If that leaves one level there is
    no breakdown to show. The order in which levels come makes no difference.
    """
    arms = {arm for level in counts.values() for arm in level}

    def smallest(level: str) -> int:
        return min((counts[level].get(arm, 0) for arm in arms), default=0)

    order = sorted(counts, key=lambda level: (smallest(level), sum(counts[level].values()), level))
    small = [level for level in order if smallest(level) < fewest]
    merged = len(small)
    while small and merged < len(order) and not _enough(counts, order[:merged], arms, fewest):
        merged += 1
    if len(order) - merged + (merged > 0) < 2:
        why = (
            f"not broken down: fewer than two levels have {fewest} customers in every arm"
            if counts
            else "not broken down: no customer has a level"
        )
        return Cells(dict.fromkeys(counts), (why,))
    apart = order[merged:]
    name = OTHER
    while name in apart:
        name = f"all {name}"
    shown: dict[str, str | None] = {level: level if level in apart else name for level in counts}
    if not merged:
        return Cells(shown)
    said = f"{merged} levels are shown together as “{name}”: "
    said += (
        f"{len(small)} of them {'has' if len(small) == 1 else 'have'} fewer than {fewest} customers in an arm"
    )
    return Cells(shown, (said,))


def _enough(counts: Mapping[str, Mapping[str, int]], levels: list[str], arms: set[str], fewest: int) -> bool:
    return all(sum(counts[level].get(arm, 0) for level in levels) >= fewest for arm in arms)
