"""A flag and the segments that it reads, as values: what LaunchDarkly's REST API tells, without its clutter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.errors import UnexpectedAnswer

__all__ = [
    "TOTAL_WEIGHT",
    "Clause",
    "Flag",
    "Prerequisite",
    "Rollout",
    "Rule",
    "Segment",
    "SegmentRule",
    "Serve",
    "Target",
    "Variation",
    "Weighted",
    "read_flag",
    "read_segment",
]

TOTAL_WEIGHT = 100_000
"""What a rollout's weights sum to."""
USER = "user"
SEGMENT_MATCH = "segmentMatch"


@dataclass(frozen=True, slots=True)
class Variation:
    """A value that the flag can serve; `id` is what instructions call it."""

    id: str
    value: Any
    name: str = ""


@dataclass(frozen=True, slots=True)
class Clause:
    """A condition. A `segmentMatch` is about `values` as segments, and ignores `attribute` and `kind`."""

    attribute: str
    op: str
    values: tuple[Any, ...]
    negate: bool = False
    kind: str | None = None

    @property
    def is_segment(self) -> bool:
        """Return whether this asks for membership of a segment."""
        return self.op == SEGMENT_MATCH


@dataclass(frozen=True, slots=True)
class Weighted:
    """A variation (by place) and its weight in 1/100,000."""

    variation: int
    weight: int
    untracked: bool = False


@dataclass(frozen=True, slots=True)
class Rollout:
    """A draw among variations; `experiment` marks those of the vendor's own experiments, which ignore `bucket_by`."""

    variations: tuple[Weighted, ...]
    bucket_by: str | None = None
    kind: str | None = None
    seed: int | None = None
    experiment: bool = False


@dataclass(frozen=True, slots=True)
class Serve:
    """What a rule or the fallthrough serves: one variation, or a draw; neither is a fault."""

    variation: int | None = None
    rollout: Rollout | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that is in force. `number` counts from 1, as the vendor's pages do, with disabled rules counted."""

    number: int
    id: str
    serve: Serve
    clauses: tuple[Clause, ...]
    track: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """Contexts that get a variation (by place) by their key alone."""

    kind: str
    variation: int
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prerequisite:
    """Another flag, which has to be on and serve this variation (by place)."""

    key: str
    variation: int


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag in one environment. `off` is the place of the variation served when it is off, None for none."""

    key: str
    variations: tuple[Variation, ...]
    on: bool
    off: int | None
    fallthrough: Serve
    rules: tuple[Rule, ...] = ()
    targets: tuple[Target, ...] = ()
    prerequisites: tuple[Prerequisite, ...] = ()
    track: bool = False
    track_fallthrough: bool = False
    archived: bool = False
    tags: tuple[str, ...] = ()
    salt: str = ""
    version: int = 1

    @property
    def clauses(self) -> tuple[Clause, ...]:
        """Return the clauses of all rules."""
        return tuple(clause for rule in self.rules for clause in rule.clauses)

    @property
    def segments(self) -> tuple[str, ...]:
        """Return the keys of the segments that rules ask for, each once."""
        return _asked_for(self.clauses)


@dataclass(frozen=True, slots=True)
class SegmentRule:
    """A rule that makes members of a segment; with a `weight`, of that share of those who fit."""

    clauses: tuple[Clause, ...]
    weight: int | None = None
    bucket_by: str | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment. `included` and `excluded` are (context kind, keys); a big one (`unbounded`) lists nobody."""

    key: str
    included: tuple[tuple[str, frozenset[str]], ...] = ()
    excluded: tuple[tuple[str, frozenset[str]], ...] = ()
    rules: tuple[SegmentRule, ...] = ()
    tags: tuple[str, ...] = ()
    unbounded: bool = False
    unbounded_kind: str = USER
    generation: int = 1
    salt: str = ""
    version: int = 1

    @property
    def segments(self) -> tuple[str, ...]:
        """Return the keys of the segments that its rules ask for, each once."""
        return _asked_for(clause for rule in self.rules for clause in rule.clauses)


def read_flag(told: Mapping[str, Any], environment: str) -> Flag:
    """Return the flag that the REST API told, as it stands in `environment`. Disabled rules are left out.

    Raises:
        UnexpectedAnswer: the answer is not in the vendor's documented shape.
    """
    where = f"LaunchDarkly's flag {told.get('key')}"
    here = _of(_of(told, "environments", dict, where), environment, dict, where)
    rules = enumerate(_each(here, "rules", where), start=1)
    return Flag(
        key=_of(told, "key", str, where),
        variations=tuple(
            Variation(str(each.get("_id") or ""), each.get("value"), str(each.get("name") or ""))
            for each in _each(told, "variations", where)
        ),
        on=_of(here, "on", bool, where),
        off=_may(here, "offVariation", int, where),
        fallthrough=_serve(_may(here, "fallthrough", dict, where) or {}, where),
        rules=tuple(
            Rule(
                number,
                str(each.get("_id") or ""),
                _serve(each, f"{where}, rule {number}"),
                _clauses(each, f"{where}, rule {number}"),
                bool(each.get("trackEvents")),
            )
            for number, each in rules
            if not each.get("disabled")
        ),
        targets=tuple(_targets(here, where)),
        prerequisites=tuple(
            Prerequisite(_of(each, "key", str, where), _of(each, "variation", int, where))
            for each in _each(here, "prerequisites", where)
        ),
        track=bool(here.get("trackEvents")),
        track_fallthrough=bool(here.get("trackEventsFallthrough")),
        archived=bool(told.get("archived") or here.get("archived")),
        tags=tuple(map(str, told.get("tags") or ())),
        salt=str(here.get("salt") or ""),
        version=_may(here, "version", int, where) or 1,
    )


def read_segment(told: Mapping[str, Any]) -> Segment:
    """Return the segment that the REST API told.

    Raises:
        UnexpectedAnswer: the answer is not in the vendor's documented shape.
    """
    where = f"LaunchDarkly's segment {told.get('key')}"
    return Segment(
        key=_of(told, "key", str, where),
        included=_members(told, "included", where),
        excluded=_members(told, "excluded", where),
        rules=tuple(
            SegmentRule(
                _clauses(each, where),
                _may(each, "weight", int, where),
                _may(each, "bucketBy", str, where),
                _may(each, "rolloutContextKind", str, where),
            )
            for each in _each(told, "rules", where)
        ),
        tags=tuple(map(str, told.get("tags") or ())),
        unbounded=bool(told.get("unbounded")),
        unbounded_kind=str(told.get("unboundedContextKind") or USER),
        generation=_may(told, "generation", int, where) or 1,
        salt=str(told.get("salt") or ""),
        version=_may(told, "version", int, where) or 1,
    )


def _asked_for(clauses: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(key) for clause in clauses if clause.is_segment for key in clause.values))


def _serve(told: Mapping[str, Any], where: str) -> Serve:
    rollout = _may(told, "rollout", dict, where)
    return Serve(_may(told, "variation", int, where), _rollout(rollout, where) if rollout else None)


def _rollout(told: Mapping[str, Any], where: str) -> Rollout:
    return Rollout(
        variations=tuple(
            Weighted(
                _of(each, "variation", int, where),
                _of(each, "weight", int, where),
                bool(each.get("_untracked")),
            )
            for each in _each(told, "variations", where)
        ),
        bucket_by=_may(told, "bucketBy", str, where) or None,
        kind=_may(told, "contextKind", str, where) or None,
        seed=_may(told, "seed", int, where),
        experiment=bool(told.get("experimentAllocation")),
    )


def _clauses(told: Mapping[str, Any], where: str) -> tuple[Clause, ...]:
    return tuple(
        Clause(
            attribute=str(each.get("attribute") or ""),
            op=_of(each, "op", str, where),
            values=tuple(_of(each, "values", list, where)),
            negate=bool(each.get("negate")),
            kind=_may(each, "contextKind", str, where) or None,
        )
        for each in _each(told, "clauses", where)
    )


def _targets(here: Mapping[str, Any], where: str) -> Sequence[Target]:
    """Return individual targets; both lists of the answer may hold users, and one may only point to the other."""
    found: dict[tuple[str, int], dict[str, None]] = {}
    for name in ("targets", "contextTargets"):
        for each in _each(here, name, where):
            kind = str(each.get("contextKind") or USER)
            keys = found.setdefault((kind, _of(each, "variation", int, where)), {})
            keys.update(dict.fromkeys(map(str, _may(each, "values", list, where) or ())))
    return [Target(kind, variation, tuple(keys)) for (kind, variation), keys in found.items() if keys]


def _members(told: Mapping[str, Any], side: str, where: str) -> tuple[tuple[str, frozenset[str]], ...]:
    found: dict[str, set[str]] = {}
    if users := _may(told, side, list, where):
        found[USER] = set(map(str, users))
    for each in _each(told, f"{side}Contexts", where):
        kind = str(each.get("contextKind") or USER)
        found.setdefault(kind, set()).update(map(str, _may(each, "values", list, where) or ()))
    return tuple((kind, frozenset(keys)) for kind, keys in found.items())


def _each(told: Mapping[str, Any], name: str, where: str) -> list[Mapping[str, Any]]:
    items = _may(told, name, list, where) or []
    if not all(isinstance(each, dict) for each in items):
        raise UnexpectedAnswer(f"{where}: `{name}` must be a list of objects")
    return items


def _may(told: Mapping[str, Any], name: str, kind: type, where: str) -> Any:
    return None if told.get(name) is None else _of(told, name, kind, where)


def _of(told: Mapping[str, Any], name: str, kind: type, where: str) -> Any:
    value = told.get(name)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UnexpectedAnswer(
            f"{where}: `{name}` is {'missing' if value is None else 'no ' + kind.__name__}"
        )
    return value
