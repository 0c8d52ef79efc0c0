"""Apply: write a plan's batches to LaunchDarkly, in their order; what it refuses is narrowed down to keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from toolkit.clients import MAX_TARGETS_PER_PATCH, LaunchDarkly
from toolkit.clients.launchdarkly_big import UNREADABLE
from toolkit.design.batches import Batch, batches_of
from toolkit.design.experiment import Experiment
from toolkit.design.labels import SegmentLabel, label_of
from toolkit.design.sync import SegmentChange, SyncPlan
from toolkit.errors import InvalidRequest, PushRefused, Unauthorized, WaitingForPerson

__all__ = ["Writer"]

MOST_REFUSED = 25
"""So many refused keys are named in one push; more are rather the request's fault than the keys'."""


@dataclass
class Writer:
    """Writes to the segments of one experiment, and keeps count.

    Attributes:
        run: the push, for the vendor's audit log.
        progress: told (what, done, of).
        about_to: told of the keys that are about to be added to a big segment, which cannot list them.
        writes: requests that changed something.
        refused: segment → key → the vendor's words.
    """

    client: LaunchDarkly
    experiment: Experiment
    run: str
    progress: Callable[[str, int, int], None]
    about_to: Callable[[str, Sequence[str]], None]
    writes: int = 0
    refused: dict[str, dict[str, str]] = field(default_factory=dict)

    def apply(self, sync: SyncPlan, desired: Mapping[str, frozenset[str]]) -> None:
        """Create what is missing, then write every batch.

        Raises:
            Conflict: someone else changed a segment meanwhile; what was written stays.
            WaitingForPerson: a change waits for an approval; the message says which.
            PushRefused: a big segment is needed, and the account has none.
            VendorError: LaunchDarkly refused or could not be reached.
        """
        for change in sorted(sync.changes, key=lambda each: not each.big):
            if not change.exists:
                self._create(change)
        done, total = 0, sum(len(each.add) + len(each.remove) for each in sync.changes)
        for batch in batches_of(sync, size=MAX_TARGETS_PER_PATCH):
            try:
                self._write(batch, desired)
            except WaitingForPerson as waits:
                raise WaitingForPerson(f"{waits}. What waits: {_waiting(sync)}") from None
            done += batch.size
            self.progress("segments", done, total)

    def relabel(self, labels: Mapping[str, SegmentLabel]) -> None:
        """Tell segments that were made under an earlier schema which one they carry now."""
        for segment, label in labels.items():
            self.client.relabel(
                segment,
                description=label.description,
                add=label.tags,
                remove=label.outdated,
                comment=f"lift {self.experiment.key} run {self.run[:8]}: schema",
            )
            self.writes += 1

    def _create(self, change: SegmentChange) -> None:
        label = label_of(self.experiment, change.segment)
        try:
            self.client.create_segment(
                change.segment,
                name=change.segment,
                description=label.description,
                tags=label.tags,
                big=change.big,
            )
        except Unauthorized as refused:
            if not change.big:
                raise
            raise PushRefused(
                f"segment {change.segment} would have {change.members:,} members, too many for a standard segment, "
                f"and no big one could be made: {refused}. Big segments are on some of LaunchDarkly's plans only; "
                "narrow the cohort, or use `delivery: {mode: rollout}`"
            ) from None
        self.writes += 1

    def _write(self, batch: Batch, desired: Mapping[str, frozenset[str]]) -> None:
        change = batch.change
        if not change.whole:
            add: Sequence[str] = batch.add
            if change.big:
                add = self._readable(change.segment, add)
                self.about_to(change.segment, add)
            if add or batch.remove:
                self._send(change, add, batch.remove)
            return
        members = self._readable(change.segment, sorted(desired[change.segment]))
        self.about_to(change.segment, members)
        try:
            self.client.big.replace(change.segment, members)
            self.writes += 1
        except InvalidRequest:  # a key in the file is not taken; by batches it can be found
            for start in range(0, len(members), MAX_TARGETS_PER_PATCH):
                self._send(change, members[start : start + MAX_TARGETS_PER_PATCH], ())

    def _readable(self, segment: str, keys: Sequence[str]) -> Sequence[str]:
        """Return those of the keys that can be read back from a big segment; the others are put aside."""
        aside = UNREADABLE.intersection(keys)
        for key in sorted(aside):
            self.refused.setdefault(segment, {})[key] = "it cannot be read back from a big segment"
        return [key for key in keys if key not in aside] if aside else keys

    def _send(self, change: SegmentChange, add: Sequence[str], remove: Sequence[str]) -> None:
        """Send one change; where it is refused, send its halves, down to the keys that are not taken."""
        try:
            if change.big:
                self.client.big.change(change.segment, add=add, remove=remove)
            else:
                said = f"lift {self.experiment.key} run {self.run[:8]}: +{len(add)} -{len(remove)}"
                self.client.change_targets(change.segment, add=add, remove=remove, comment=said)
        except InvalidRequest as refused:
            self._narrow(change, add, remove, refused)
        else:
            self.writes += 1

    def _narrow(
        self, change: SegmentChange, add: Sequence[str], remove: Sequence[str], refused: InvalidRequest
    ) -> None:
        if remove and add:
            self._send(change, (), remove)
            self._send(change, add, ())
            return
        keys = add or remove
        if len(keys) > 1:
            middle = len(keys) // 2
            for half in (keys[:middle], keys[middle:]):
                self._send(change, *((half, ()) if add else ((), half)))
            return
        if remove:
            raise refused
        if sum(map(len, self.refused.values())) >= MOST_REFUSED:
            raise InvalidRequest(
                f"segment {change.segment}: more than {MOST_REFUSED} keys were refused one by one, so that it is "
                f"hardly the keys; none is put aside. {refused}"
            )
        self.refused.setdefault(change.segment, {})[keys[0]] = str(refused)


def _waiting(sync: SyncPlan) -> str:
    return ", ".join(
        f"{change.segment} (add {len(change.add):,}, remove {len(change.remove):,})"
        for change in sync.changes
        if change.add or change.remove or change.whole
    )
