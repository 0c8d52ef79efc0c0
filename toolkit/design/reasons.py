"""Why a membership begins or ends, in words that can be counted.

A change that nothing known explains was made by somebody's hand: that is drift, shown as such and mended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from types import MappingProxyType

from toolkit.design.experiment import Experiment
from toolkit.design.sync import SegmentChange, SyncPlan
from toolkit.design.traits import TraitContract, eligibility_segment

__all__ = ["BY_HAND", "REASONS", "Facts", "Record", "Why", "reason_to_add", "reason_to_remove", "reasons_of"]

REASONS: Mapping[str, str] = MappingProxyType(
    {
        "assigned": "newly assigned",
        "held_out": "newly held out",
        "universal_holdout": "in the universal holdout",
        "escalated": "moved on to the second offer",
        "deescalated": "moved back to the first offer",
        "changed_band": "their attribute is in another band",
        "eligible_again": "may be offered something again",
        "do_not_offer": "must not be offered anything",
        "not_known": "not known whether they may be offered anything",
        "margin": "protected by their margin",
        "held_out_as_another": "one person with somebody held out",
        "left_cohort": "left the cohort",
        "experiment_over": "the offers have ended",
        "left_ledger": "no longer among the assignments",
        "contract_changed": "the trait's arms or values were changed",
        "added_by_hand": "put there by hand",
        "removed_by_hand": "taken out by hand",
    }
)
"""Reason → what it means."""
BY_HAND = ("added_by_hand", "removed_by_hand")
NOBODY: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Record:
    """What we know to have done in one segment.

    Attributes:
        members: read back as members.
        removed: read back as members no longer.
        intended: were being added to a big segment when a push broke off; they may be members.
        refused: customer → the vendor's words; not added again until somebody asks for it.
    """

    members: AbstractSet[str] = NOBODY
    removed: AbstractSet[str] = NOBODY
    intended: AbstractSet[str] = NOBODY
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Return whether nothing was ever done there."""
        return not (self.members or self.removed or self.intended or self.refused)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of customers and segments where reasons are looked for.

    Attributes:
        arms: customer → arm.
        desired, actual: segment → members wanted, and members there (None where there is no segment).
        record: segment → what we know to have done there.
        barred: reason → customers who are not eligible for it, whatever their arm; the first that fits is told.
        over: whether the offers have ended.
    """

    experiment: Experiment
    arms: Mapping[str, str]
    desired: Mapping[str, AbstractSet[str]]
    actual: Mapping[str, AbstractSet[str] | None]
    record: Mapping[str, Record]
    barred: Mapping[str, AbstractSet[str]] = field(default_factory=dict)
    over: bool = False

    def trait_of(self, segment: str) -> TraitContract | None:
        """Return the trait that `segment` carries, None for a holdout's."""
        return next((each for each in self.experiment.traits if segment in each.segments()), None)

    def siblings(self, segment: str) -> tuple[str, ...]:
        """Return the other segments of the trait that `segment` carries."""
        trait = self.trait_of(segment)
        return tuple(key for key in trait.segments() if key != segment) if trait else ()


@dataclass(frozen=True, slots=True)
class Why:
    """Reason → customers, for the memberships of a segment that begin and for those that end."""

    add: Mapping[str, int]
    remove: Mapping[str, int]

    @property
    def by_hand(self) -> int:
        """Return how many were put there or taken out by somebody's hand."""
        return sum(
            count for kind in (self.add, self.remove) for name, count in kind.items() if name in BY_HAND
        )


def reasons_of(sync: SyncPlan, facts: Facts) -> dict[str, Why]:
    """Return segment → why its memberships begin and end."""
    return {
        change.segment: Why(
            dict(Counter(reason_to_add(key, change, facts) for key in change.add)),
            dict(Counter(reason_to_remove(key, change, facts) for key in change.remove)),
        )
        for change in sync.changes
    }


def reason_to_add(customer: str, change: SegmentChange, facts: Facts) -> str:
    """Return why a customer's membership begins."""
    record = facts.record.get(change.segment, Record())
    if customer in record.members:
        return "removed_by_hand"
    if change.holdout:
        return "held_out" if change.segment == facts.experiment.holdout_segment else "universal_holdout"
    for other in facts.siblings(change.segment):
        known = facts.record.get(other, Record())
        if customer in (facts.actual.get(other) or NOBODY) or customer in known.members:
            return _moved_to(change.segment, facts)
    return "eligible_again" if customer in record.removed else "assigned"


def reason_to_remove(customer: str, change: SegmentChange, facts: Facts) -> str:
    """Return why a customer's membership ends."""
    record = facts.record.get(change.segment, Record())
    ours = customer in record.members or customer in record.intended
    if customer in record.removed:
        return "added_by_hand"
    if change.holdout:
        return "left_ledger" if ours else "added_by_hand"
    arm = facts.arms.get(customer)
    trait = facts.trait_of(change.segment)
    if arm is None:
        return "left_ledger" if ours else "added_by_hand"
    if arm == facts.experiment.control:
        return "held_out" if ours else "added_by_hand"
    if trait is not None and arm not in trait.treated_arms:
        return "contract_changed" if ours else "added_by_hand"
    for reason, customers in facts.barred.items():
        if customer in customers:
            return reason
    if facts.over:
        return "experiment_over"
    for other in facts.siblings(change.segment):
        if customer in facts.desired.get(other, NOBODY):
            return _moved_to(other, facts)
    return "contract_changed" if ours else "added_by_hand"


def _moved_to(segment: str, facts: Facts) -> str:
    trait = facts.trait_of(segment)
    if trait is not None and trait.type == "band":
        return "changed_band"
    if trait is None or trait.escalate is None:
        return "contract_changed"
    return "escalated" if segment == eligibility_segment(trait.name, trait.escalate.to) else "deescalated"
