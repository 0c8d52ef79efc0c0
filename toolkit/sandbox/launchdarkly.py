"""The state of the stand-in LaunchDarkly: one project, one environment, segments, flags, listeners."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from threading import RLock
from typing import Any, TypeVar

from toolkit.sandbox.big_segments import GENERATION, BigStore
from toolkit.sandbox.model import PROGRAMS, UNIVERSAL_HOLDOUT_SEGMENT, Program

__all__ = ["VERSION_FLAG", "Flag", "LaunchDarkly", "Segment"]

PROJECT = "shop"
ENVIRONMENT = "production"
VERSION_FLAG = "sandbox-version"
"""A flag in the SDK payload only: its value counts the changes, so a client can tell that it has them all."""
UNSET = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment. Targets are kept by context kind; a big one has a `kind`, and its members elsewhere."""

    key: str
    name: str
    description: str = ""
    tags: tuple[str, ...] = ()
    included: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    excluded: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rules: tuple[Mapping[str, Any], ...] = ()
    version: int = 1
    created_at: datetime = UNSET
    changed_at: datetime = UNSET
    kind: str | None = None

    def size(self) -> int:
        """Return how many contexts are targeted."""
        return sum(map(len, (*self.included.values(), *self.excluded.values())))


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag. `targeting` is its environment's configuration in the REST API's words.

    It holds on, rules, fallthrough, offVariation, targets, contextTargets, prerequisites, trackEvents, and may
    hold trackEventsFallthrough. `names` are the variations', where they have some.
    """

    key: str
    name: str
    values: tuple[Any, ...]
    targeting: Mapping[str, Any]
    description: str = ""
    tags: tuple[str, ...] = ()
    temporary: bool = True
    names: tuple[str, ...] = ()
    version: int = 1
    created_at: datetime = UNSET
    changed_at: datetime = UNSET


def serves(segment: str, variation: int) -> dict[str, Any]:
    """Return a rule: the members of a segment get a variation."""
    clause = {"attribute": "segmentMatch", "op": "segmentMatch", "values": [segment], "negate": False}
    identity = f"{segment}/{variation}"
    return {
        "_id": object_id("rule", identity),
        "variation": variation,
        "clauses": [{"_id": object_id("clause", identity), **clause}],
        "trackEvents": False,
    }


def safe_targeting(program: Program) -> dict[str, Any]:
    """Return the targeting of a program's flag: holdouts first, then the eligible; else the control."""
    control = program.variations.index(program.control)
    return {
        "on": True,
        "rules": [
            serves(UNIVERSAL_HOLDOUT_SEGMENT, control),
            serves(program.holdout_segment, control),
            *(serves(key, program.variations.index(value)) for key, value in program.eligible.items()),
        ],
        "fallthrough": {"variation": control},
        "offVariation": control,
        "targets": [],
        "contextTargets": [],
        "prerequisites": [],
        "trackEvents": True,
    }


def object_id(*parts: object) -> str:
    """Return an identifier of 24 hex digits, the same for the same parts."""
    return hashlib.sha1(repr(parts).encode(), usedforsecurity=False).hexdigest()[:24]


Resource = TypeVar("Resource", Segment, Flag)


class LaunchDarkly:
    """Segments and flags, and who listens to their changes. Hold `lock` to read or change it.

    With `approvals` on, changes to targeting wait for a person. `refused_keys` are context keys that no segment
    takes; without `has_big_segments` none can be made. `on_change` callbacks get the kind
    ("segments" or "flags") and the SDK form of what changed; they must return at once.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.lock = RLock()
        self.now = now
        self.approvals = False
        self.has_big_segments = True
        self.refused_keys: set[str] = set()
        self.big = BigStore()
        self.segments: dict[str, Segment] = {}
        self.changes = 1
        self.listeners: list[Callable[[str, Mapping[str, Any]], None]] = []
        self.flags = {
            program.flag: Flag(
                program.flag,
                program.name,
                program.variations,
                safe_targeting(program),
                created_at=now(),
                changed_at=now(),
            )
            for program in PROGRAMS.values()
        }

    def put_segment(self, segment: Segment) -> Segment:
        """Store a segment as its next version, and tell the listeners."""
        stored = self._next(self.segments.get(segment.key), segment)
        self.segments[segment.key] = stored
        self._tell("segments", segment_for_sdk(stored))
        return stored

    def put_flag(self, flag: Flag) -> Flag:
        """Store a flag as its next version, and tell the listeners."""
        stored = self._next(self.flags.get(flag.key), flag)
        self.flags[flag.key] = stored
        self._tell("flags", flag_for_sdk(stored))
        return stored

    def retarget(self, flag: str, **changes: Any) -> Flag:
        """Change a flag's targeting, as somebody in the vendor's pages might, by rules=[] or on=False."""
        with self.lock:
            found = self.flags[flag]
            return self.put_flag(replace(found, targeting={**found.targeting, **changes}))

    def payload(self) -> dict[str, Any]:
        """Return all that an SDK needs."""
        with self.lock:
            flags = {key: flag_for_sdk(flag) for key, flag in self.flags.items()}
            return {
                "flags": {**flags, VERSION_FLAG: version_flag(self.changes)},
                "segments": {key: segment_for_sdk(segment) for key, segment in self.segments.items()},
            }

    def _next(self, before: Resource | None, resource: Resource) -> Resource:
        """Return a resource as the version after `before`, changed now."""
        created_at = before.created_at if before else self.now()
        version = before.version + 1 if before else 1
        return replace(resource, version=version, created_at=created_at, changed_at=self.now())

    def _tell(self, kind: str, data: Mapping[str, Any]) -> None:
        """Pass a change on, and after it the count of changes."""
        self.changes += 1
        for listener in self.listeners:
            listener(kind, data)
            listener("flags", version_flag(self.changes))


def segment_for_sdk(segment: Segment) -> dict[str, Any]:
    """Return a segment as SDKs read it."""
    return {
        "key": segment.key,
        "version": segment.version,
        "salt": object_id("salt", segment.key),
        "deleted": False,
        "generation": GENERATION,
        **({"unbounded": True, "unboundedContextKind": segment.kind} if segment.kind else {}),
        **targets(segment),
        "rules": [dict(rule) for rule in segment.rules],
    }


def targets(segment: Segment) -> dict[str, Any]:
    """Return a segment's targets as both APIs tell them: users apart from other kinds."""
    return {
        name: list(kept.get("user", ()))
        for name, kept in (("included", segment.included), ("excluded", segment.excluded))
    } | {
        name: [
            {"contextKind": kind, "values": list(keys)}
            for kind, keys in kept.items()
            if kind != "user" and keys
        ]
        for name, kept in (("includedContexts", segment.included), ("excludedContexts", segment.excluded))
    }


def flag_for_sdk(flag: Flag) -> dict[str, Any]:
    """Return a flag as SDKs read it."""
    targeting = flag.targeting
    rules = [
        {
            **{name: value for name, value in rule.items() if name not in ("_id", "disabled")},
            **drawn(rule),
            "id": rule["_id"],
        }
        for rule in targeting["rules"]
        if not rule.get("disabled")
    ]
    return {
        "key": flag.key,
        "version": flag.version,
        "salt": object_id("salt", flag.key),
        "deleted": False,
        "on": targeting["on"],
        "variations": list(flag.values),
        "rules": rules,
        "fallthrough": {**targeting["fallthrough"], **drawn(targeting["fallthrough"])},
        "offVariation": targeting["offVariation"],
        "targets": targeting["targets"],
        "contextTargets": targeting["contextTargets"],
        "prerequisites": targeting["prerequisites"],
        "trackEvents": targeting["trackEvents"],
        "trackEventsFallthrough": bool(targeting.get("trackEventsFallthrough")),
        "clientSide": False,
    }


def drawn(serving: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rollout of a rule or fallthrough as SDKs read it; nothing where there is none."""
    rollout = serving.get("rollout")
    if rollout is None:
        return {}
    apart = ("experimentAllocation", "variations")
    kind = "experiment" if rollout.get("experimentAllocation") else "rollout"
    variations = [
        {"variation": each["variation"], "weight": each["weight"], "untracked": bool(each.get("_untracked"))}
        for each in rollout["variations"]
    ]
    plain = {name: value for name, value in rollout.items() if name not in apart}
    return {"rollout": {**plain, "kind": kind, "variations": variations}}


def version_flag(changes: int) -> dict[str, Any]:
    """Return the flag whose value is the count of changes, in SDK form."""
    return {
        "key": VERSION_FLAG,
        "version": changes,
        "on": True,
        "variations": [changes],
        "fallthrough": {"variation": 0},
        "salt": "",
        "deleted": False,
    }


def compact(value: object) -> str:
    """Return JSON without spaces."""
    return json.dumps(value, separators=(",", ":"))
