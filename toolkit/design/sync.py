"""Who should be in which segment, and the smallest change that makes it so."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from toolkit.design.experiment import Experiment

__all__ = ["SegmentChange", "SyncPlan", "desired_members", "plan_sync"]

LARGE_SHARE = 0.2
LARGE_NUMBER = 100


@dataclass(frozen=True, slots=True)
class SegmentChange:
    """What has to change in one segment; keys are sorted, so equal sets give equal plans.

    Attributes:
        exists: whether the segment is there already.
        moved: how many of those removed go on to another segment, as an offer escalates.
        holdout: whether its members are held out (added first), or eligible (removed first).
    """

    segment: str
    holdout: bool
    exists: bool
    add: tuple[str, ...]
    remove: tuple[str, ...]
    unchanged: int
    moved: int = 0

    @property
    def members(self) -> int:
        """Return how many members the segment has afterwards."""
        return self.unchanged + len(self.add)

    @property
    def is_large_removal(self) -> bool:
        """Return whether more than a fifth of the members, and more than 100, would lose what they have."""
        before, leaving = self.unchanged + len(self.remove), len(self.remove) - self.moved
        return leaving > LARGE_NUMBER and leaving > LARGE_SHARE * before


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """Every segment of an experiment with its change, holdouts first."""

    experiment: str
    changes: tuple[SegmentChange, ...]

    @property
    def is_empty(self) -> bool:
        """Return whether there is nothing to do."""
        return all(change.exists and not change.add and not change.remove for change in self.changes)

    @property
    def removals(self) -> int:
        """Return how many memberships end."""
        return sum(len(change.remove) for change in self.changes)


def desired_members(
    experiment: Experiment,
    arms: Mapping[str, str],
    *,
    do_not_offer: AbstractSet[str] = frozenset(),
    universal: AbstractSet[str] = frozenset(),
    escalated: AbstractSet[str] = frozenset(),
) -> dict[str, frozenset[str]]:
    """Return segment → members, holdouts first.

    `arms` is the ledger (customer → arm). Whoever is in `do_not_offer` or in the `universal` holdout is in no
    eligibility segment, whatever their arm; neither is the control. `escalated` have reached the second step
    of an offer.
    """
    segments: dict[str, set[str]] = {key: set() for key in experiment.segments}
    for customer, arm in arms.items():
        if arm == experiment.control:
            segments[experiment.holdout_segment].add(customer)
        elif customer not in do_not_offer and customer not in universal:
            for trait in experiment.traits:
                key = trait.segment_of(arm, escalated=customer in escalated)
                if key:
                    segments[key].add(customer)
    if experiment.universal_segment:
        segments[experiment.universal_segment] |= universal
    return {key: frozenset(members) for key, members in segments.items()}


def plan_sync(
    experiment: Experiment,
    desired: Mapping[str, AbstractSet[str]],
    actual: Mapping[str, AbstractSet[str] | None],
) -> SyncPlan:
    """Return the smallest change from `actual` (None where the segment is not there) to `desired`.

    Order never matters: equal sets give equal plans.
    """
    held = {experiment.holdout_segment, experiment.universal_segment}
    gained = {
        customer
        for segment, wanted in desired.items()
        if segment not in held
        for customer in wanted - (actual.get(segment) or set())
    }
    changes = []
    for segment, wanted in desired.items():
        have = actual.get(segment)
        there = have or set()
        changes.append(
            SegmentChange(
                segment,
                segment in held,
                have is not None,
                tuple(sorted(wanted - there)),
                tuple(sorted(there - wanted)),
                len(wanted & there),
                0 if segment in held else len((there - wanted) & gained),
            )
        )
    return SyncPlan(experiment.key, tuple(changes))
