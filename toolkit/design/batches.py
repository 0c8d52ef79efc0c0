"""In which order a plan is carried out, in requests of bounded size.

Whoever is held out is known before anything is offered, and what must end has ended before anything begins:
additions to holdouts, removals from eligibility, additions to eligibility, strays of the holdouts. Within that
order as few requests as can be: where the last request of one kind has room, it takes changes of the other kind
in the same segment that may go that early.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from toolkit.design.sync import SegmentChange, SyncPlan

__all__ = ["Batch", "batches_of"]


@dataclass(frozen=True, slots=True)
class Batch:
    """One request: keys to take out of a segment, and keys to put into it; or, without any, its whole list."""

    change: SegmentChange
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Return how many memberships begin or end."""
        return len(self.add) + len(self.remove)


def batches_of(sync: SyncPlan, *, size: int) -> tuple[Batch, ...]:
    """Return the requests that carry `sync` out, in order, each of at most `size` keys.

    A segment takes ceil(changes / size) requests, and one more at most where both its kinds of change must
    stay apart. The whole list of a big segment is one batch, whatever its size.
    """
    held = [change for change in sync.changes if change.holdout and not change.whole]
    eligible = [change for change in sync.changes if not change.holdout and not change.whole]
    ending = {key for change in sync.changes if not change.holdout for key in change.remove}
    found = [Batch(change) for change in sync.changes if change.holdout and change.whole]
    strays: list[tuple[SegmentChange, tuple[str, ...]]] = []
    for change in held:
        early = tuple(key for key in change.remove if key not in ending)
        room = -len(change.add) % size
        done = set(early[:room])
        found += _cut(change, change.add, early[:room], size, removals_first=False)
        strays.append((change, tuple(key for key in change.remove if key not in done)))
    # the segment that also gains comes last: when its removals go, no other's are left to wait for
    eligible.sort(key=lambda change: bool(change.add) and bool(change.remove))
    early_adds: dict[str, int] = {}
    for at, change in enumerate(eligible):
        last = at == len(eligible) - 1
        room = -len(change.remove) % size if last else 0
        early_adds[change.segment] = min(room, len(change.add))
        found += _cut(change, change.add[:room], change.remove, size, removals_first=True)
    found += [Batch(change) for change in sync.changes if change.whole and not change.holdout]
    for change in eligible:
        found += _cut(change, change.add[early_adds[change.segment] :], (), size, removals_first=True)
    for change, keys in strays:
        found += _cut(change, (), keys, size, removals_first=True)
    return tuple(found)


def _cut(
    change: SegmentChange, add: tuple[str, ...], remove: tuple[str, ...], size: int, *, removals_first: bool
) -> Iterator[Batch]:
    """Cut the changes of a segment into batches; the two kinds share the one that neither fills."""
    kinds = [("remove", remove), ("add", add)] if removals_first else [("add", add), ("remove", remove)]
    line = [(kind, key) for kind, keys in kinds for key in keys]
    for start in range(0, len(line), size):
        part = line[start : start + size]
        yield Batch(
            change,
            add=tuple(key for kind, key in part if kind == "add"),
            remove=tuple(key for kind, key in part if kind == "remove"),
        )
