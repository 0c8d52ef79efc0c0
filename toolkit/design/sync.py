"""Who should be in which segment, and the smallest change that makes it so.

Eligibility follows intention to treat: whoever was assigned keeps what their arm has, also after they have left
the cohort, until the offers end (`offers_end_at`). It ends sooner only for whoever must not be offered anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from toolkit.design.experiment import Experiment

__all__ = ["SegmentChange", "SyncPlan", "desired_members", "is_large", "offers_end_at", "plan_sync"]

LARGE_SHARE = 0.2
LARGE_NUMBER = 100


@dataclass(frozen=True, slots=True)
class SegmentChange:
    """What has to change in one segment; keys are sorted, so equal sets give equal plans.

    Attributes:
        exists: whether the segment is there already.
        moved: how many of those removed go on to another segment, as an offer escalates.
        holdout: whether its members are held out (added first), or eligible (removed first).
        big: whether it is, or is to be made, a big segment: one that does not list its members.
        whole: for a big segment, whether the whole list is sent, in place of whoever is in it.
    """

    segment: str
    holdout: bool
    exists: bool
    add: tuple[str, ...]
    remove: tuple[str, ...]
    unchanged: int
    moved: int = 0
    big: bool = False
    whole: bool = False

    @property
    def members(self) -> int:
        """Return how many members the segment has afterwards."""
        return self.unchanged + len(self.add)

    @property
    def before(self) -> int:
        """Return how many members the segment has now, as far as is known."""
        return self.unchanged + len(self.remove)

    @property
    def is_empty(self) -> bool:
        """Return whether there is nothing to do."""
        return self.exists and not (self.add or self.remove or self.whole)

    @property
    def share_changed(self) -> float | None:
        """Return memberships that begin or end as a share of the members now; None where there are none."""
        return (len(self.add) + len(self.remove)) / self.before if self.before else None

    @property
    def is_large_removal(self) -> bool:
        """Return whether more than a fifth of the members, and more than 100, would lose what they have."""
        return is_large(len(self.remove) - self.moved, self.before)


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """Every segment of an experiment with its change, holdouts first."""

    experiment: str
    changes: tuple[SegmentChange, ...]

    @property
    def is_empty(self) -> bool:
        """Return whether there is nothing to do."""
        return all(change.is_empty for change in self.changes)

    @property
    def removals(self) -> int:
        """Return how many memberships end."""
        return sum(len(change.remove) for change in self.changes)


def is_large(leaving: int, before: int) -> bool:
    """Return whether so many of so many are too many to go without a person's word."""
    return leaving > LARGE_NUMBER and leaving > LARGE_SHARE * before


def offers_end_at(experiment: Experiment) -> datetime | None:
    """Return when nobody is eligible any more: enrolment has ended and the last primary window has closed.

    None where a primary metric counts without end: then offers stay until a person takes them back.
    """
    windows = [each.window for each in experiment.deciding]
    closed = [each for each in windows if each]
    return experiment.ends_at + max(closed) if len(closed) == len(windows) else None


def desired_members(
    experiment: Experiment,
    arms: Mapping[str, str],
    *,
    do_not_offer: AbstractSet[str] = frozenset(),
    universal: AbstractSet[str] = frozenset(),
    escalated: AbstractSet[str] = frozenset(),
    attributes: Mapping[str, Mapping[str, Any]] | None = None,
    over: bool = False,
) -> dict[str, frozenset[str]]:
    """Return segment → members, holdouts first.

    `arms` is the ledger (customer → arm). Whoever is in `do_not_offer` or in the `universal` holdout is in no
    eligibility segment, whatever their arm; neither is the control, nor anybody once the offers are `over`.
    `escalated` have reached the second step of an offer; `attributes` (customer → what is known of them) are what
    band traits look at.
    """
    segments: dict[str, set[str]] = {key: set() for key in experiment.segments}
    held = segments[experiment.holdout_segment]
    bands = [trait for trait in experiment.traits if trait.type == "band"]
    places = {
        (arm, moved): [
            segments[key]
            for trait in experiment.traits
            if trait not in bands and (key := trait.segment_of(arm, escalated=moved)) is not None
        ]
        for arm in experiment.treatments
        for moved in (False, True)
    }
    known = attributes or {}
    for customer, arm in arms.items():
        if arm == experiment.control:
            held.add(customer)
        elif not over and customer not in do_not_offer and customer not in universal:
            for members in places[arm, customer in escalated]:
                members.add(customer)
            for trait in bands:
                key = trait.segment_of(arm, attributes=known.get(customer))
                if key is not None:
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
    differences = {
        segment: (
            wanted - (actual.get(segment) or frozenset()),
            (actual.get(segment) or frozenset()) - wanted,
        )
        for segment, wanted in desired.items()
    }
    gained = {
        customer for segment, (add, _) in differences.items() if segment not in held for customer in add
    }
    return SyncPlan(
        experiment.key,
        tuple(
            SegmentChange(
                segment,
                holdout=segment in held,
                exists=actual.get(segment) is not None,
                add=tuple(sorted(add)),
                remove=tuple(sorted(remove)),
                unchanged=len(desired[segment]) - len(add),
                moved=0 if segment in held else len(remove & gained),
            )
            for segment, (add, remove) in differences.items()
        ),
    )
