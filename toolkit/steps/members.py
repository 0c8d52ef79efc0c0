"""Who is in the segments: as LaunchDarkly lists them, or, for big segments, as our own record has it.

A big segment does not list its members. Its record is trusted while LaunchDarkly counts as many, and a sample
of customers is as recorded; where it cannot be trusted, the whole list is sent anew.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from toolkit.clients import MAX_TARGETS_PER_SEGMENT, LaunchDarkly, LdSegment
from toolkit.clients.launchdarkly_big import UNREADABLE
from toolkit.design.experiment import Experiment
from toolkit.design.reasons import Record
from toolkit.design.traits import OWNERSHIP_TAG
from toolkit.errors import Conflict, PushRefused

__all__ = [
    "Actual",
    "actual_of",
    "differing",
    "is_so",
    "owners_of",
    "read_segments",
    "sample_of",
    "sample_of_big",
    "too_full",
    "unusable",
]

MOST_BY_KEYS = 15_000
"""More additions to a big segment than these go as one file, not as batches of keys."""
SAMPLE = 20
"""How many members of a big segment, and how many who are none, are looked at one by one."""
CHANGED = 50
"""Of those just added to a big segment, and of those just taken out, so many are looked at; all where they are fewer."""
LOOKS = 3
LOOK_SECONDS = 1.0
"""It may take a moment until a big segment is as it was told to be."""


@dataclass(frozen=True, slots=True)
class Actual:
    """Who is in a segment, as far as is known.

    Attributes:
        members: None where there is no segment.
        big: whether it is a big segment, or is to be made one.
        whole: whether the whole list is to be sent, in place of whoever is in it.
        doubt: why our record of a big segment cannot be trusted, "" where it can.
    """

    members: AbstractSet[str] | None
    big: bool = False
    whole: bool = False
    doubt: str = ""


def owners_of(experiment: Experiment) -> dict[str, str]:
    """Return segment → the key in whose name it is kept: the universal holdout's is shared by experiments."""
    held = experiment.cohort.universal_holdout if experiment.cohort else None
    return {
        segment: held.key if held and segment == experiment.universal_segment else experiment.key
        for segment in experiment.segments
    }


def read_segments(client: LaunchDarkly, keys: Iterable[str]) -> dict[str, LdSegment | None]:
    """Return segments as they are, None where there is none.

    Raises:
        Conflict: a segment of that name is there and is not ours.
        PushRefused: somebody gave one of ours rules, which would make members whom no list shows.
    """
    found = {key: client.segment(key) for key in keys}
    for wrong in unusable(client, found).values():
        raise wrong
    return found


def unusable(
    client: LaunchDarkly, found: Mapping[str, LdSegment | None]
) -> dict[str, Conflict | PushRefused]:
    """Return segment → why it must not be written to, for those of `found` of which that is so."""
    wrong: dict[str, Conflict | PushRefused] = {}
    for key, segment in found.items():
        if segment is None:
            continue
        if OWNERSHIP_TAG not in segment.tags:
            wrong[key] = Conflict(
                f"LaunchDarkly: segment {key} is there and does not carry our tag `{OWNERSHIP_TAG}`, so it is not "
                "touched; rename the trait, or add the tag if the segment is meant to be managed from here"
            )
        elif segment.rules:
            wrong[key] = PushRefused(
                f"LaunchDarkly: segment {key} was given {segment.rules} rules, which make members of their own; "
                "remove them there, and push again"
            )
        elif segment.kind and segment.kind != client.context_kind:
            wrong[key] = PushRefused(
                f"LaunchDarkly: segment {key} holds contexts of kind {segment.kind!r}, and the experiment's are of "
                f"kind {client.context_kind!r}; rename the trait, or mend identity.context_kind"
            )
    return wrong


def too_full(
    key: str, segment: LdSegment | None, wanted: AbstractSet[str], *, holdout: bool
) -> PushRefused | None:
    """Return why a standard segment does not take everybody who is `wanted` there, None where it does."""
    if segment is None or segment.unbounded or len(wanted) <= MAX_TARGETS_PER_SEGMENT:
        return None
    mend = (
        "Delete it at LaunchDarkly (with the flag off meanwhile, where it draws by itself), and push again: it is made "
        "big from the start"
        if holdout
        else "Rename the trait (its new segment is made big from the start), narrow the cohort, or use `delivery: {mode: "
        "rollout}`"
    )
    return PushRefused(
        f"segment {key} would have {len(wanted):,} members; it is a standard segment, which takes "
        f"{MAX_TARGETS_PER_SEGMENT:,} and is never turned into a big one. {mend}; until then nobody is added to it, and "
        "whoever must leave it does"
    )


def actual_of(
    client: LaunchDarkly,
    segment: LdSegment | None,
    wanted: AbstractSet[str],
    record: Record,
    *,
    seed: str,
) -> Actual:
    """Return who is in a segment, of which `wanted` are to be members; `seed` chooses the sample."""
    if segment is None:
        big = len(wanted) > MAX_TARGETS_PER_SEGMENT
        return Actual(None, big=big, whole=big)
    if not segment.unbounded:
        return Actual(segment.included)
    doubt = _doubt(client, segment, record, seed)
    many = len(wanted - record.members) > MOST_BY_KEYS
    return Actual(
        record.members | (record.intended - wanted), big=True, whole=many or bool(doubt), doubt=doubt
    )


def differing(
    client: LaunchDarkly, key: str, members: AbstractSet[str], others: AbstractSet[str], seed: str
) -> int:
    """Return how many of a sample of `members` are not in the big segment, and of `others` are."""
    sampled = [(each, True) for each in sample_of(members, SAMPLE, seed)]
    sampled += [(each, False) for each in sample_of(others, SAMPLE, seed)]
    return sum(client.big.includes(key, each) is not is_member for each, is_member in sampled)


def sample_of_big(
    members: AbstractSet[str], others: AbstractSet[str], changed: AbstractSet[str], seed: str
) -> dict[str, bool]:
    """Return whom to look at in a big segment → whether they are to be in it.

    They are a sample of those just `changed`, of `members`, and of `others`, who were in it or may have been.
    """
    among = [(members, SAMPLE), (members & changed, CHANGED), (others, SAMPLE), (changed - members, CHANGED)]
    return {each: each in members for keys, size in among for each in sample_of(keys, size, seed)}


def is_so(client: LaunchDarkly, key: str, expected: Mapping[str, bool]) -> bool:
    """Return whether everybody of `expected` comes to be in the big segment, or out of it, within some looks."""
    wrong = dict(expected)
    for look in range(LOOKS):
        if look:
            client.pause(LOOK_SECONDS)
        wrong = {each: is_in for each, is_in in wrong.items() if client.big.includes(key, each) is not is_in}
        if not wrong:
            return True
    return False


def sample_of(keys: AbstractSet[str], size: int, seed: str) -> tuple[str, ...]:
    """Return `size` of the keys that can be looked at, or all where there are fewer: the same for the same seed."""
    keys = keys - UNREADABLE if keys & UNREADABLE else keys
    if len(keys) <= size:
        return tuple(sorted(keys))
    return tuple(
        heapq.nsmallest(size, keys, key=lambda key: hashlib.sha256(f"{seed}.{key}".encode()).digest())
    )


def _doubt(client: LaunchDarkly, segment: LdSegment, record: Record, seed: str) -> str:
    """Return why the record of a big segment cannot be trusted, "" where it can."""
    if segment.importing:
        return "an import is under way"
    known, most = len(record.members), len(record.members) + len(record.intended)
    if segment.count is not None and not known <= segment.count <= most:
        return f"LaunchDarkly counts {segment.count:,} members, and our record has {known:,}"
    if segment.count is None and record.is_empty:
        return "there is no record of its members"
    wrong = differing(client, segment.key, record.members, record.removed, seed)
    return f"{wrong:,} of a sample are not as recorded" if wrong else ""
