"""From the REST form of flags and segments to the form that LaunchDarkly's SDKs evaluate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from toolkit.design.flags import USER, Clause, Flag, Rollout, Segment, Serve

__all__ = ["sdk_flag", "sdk_segment"]


def sdk_flag(flag: Flag) -> dict[str, Any]:
    """Return a flag as SDKs read it."""
    return {
        "key": flag.key,
        "version": flag.version,
        "salt": flag.salt,
        "deleted": False,
        "on": flag.on and not flag.archived,
        "variations": [each.value for each in flag.variations],
        "offVariation": flag.off,
        "fallthrough": _serve(flag.fallthrough),
        "rules": [
            {
                "id": rule.id,
                **_serve(rule.serve),
                "clauses": _clauses(rule.clauses),
                "trackEvents": rule.track,
            }
            for rule in flag.rules
        ],
        "targets": [
            {"variation": each.variation, "values": list(each.keys)}
            for each in flag.targets
            if each.kind == USER
        ],
        "contextTargets": [
            # SDKs look users up in `targets`, by variation, wherever this list names their kind
            {
                "contextKind": each.kind,
                "variation": each.variation,
                "values": [] if each.kind == USER else list(each.keys),
            }
            for each in flag.targets
        ],
        "prerequisites": [{"key": each.key, "variation": each.variation} for each in flag.prerequisites],
        "trackEvents": flag.track,
        "trackEventsFallthrough": flag.track_fallthrough,
    }


def sdk_segment(segment: Segment) -> dict[str, Any]:
    """Return a segment as SDKs read it. SDKs ask their store about the members of a big one."""
    big = {
        "unbounded": True,
        "unboundedContextKind": segment.unbounded_kind,
        "generation": segment.generation,
    }
    return {
        "key": segment.key,
        "version": segment.version,
        "salt": segment.salt,
        "deleted": False,
        **_members("included", segment.included),
        **_members("excluded", segment.excluded),
        "rules": [
            {
                "clauses": _clauses(rule.clauses),
                **_given(weight=rule.weight, bucketBy=rule.bucket_by, rolloutContextKind=rule.kind),
            }
            for rule in segment.rules
        ],
        **(big if segment.unbounded else {}),
    }


def _members(side: str, members: Iterable[tuple[str, frozenset[str]]]) -> dict[str, Any]:
    by_kind = dict(members)
    return {
        side: sorted(by_kind.get(USER, ())),
        f"{side}Contexts": [
            {"contextKind": kind, "values": sorted(keys)} for kind, keys in by_kind.items() if kind != USER
        ],
    }


def _serve(serve: Serve) -> dict[str, Any]:
    return _given(variation=serve.variation, rollout=_rollout(serve.rollout) if serve.rollout else None)


def _rollout(rollout: Rollout) -> dict[str, Any]:
    return {
        "kind": "experiment" if rollout.experiment else "rollout",
        "variations": [
            {"variation": each.variation, "weight": each.weight, "untracked": each.untracked}
            for each in rollout.variations
        ],
        **_given(bucketBy=rollout.bucket_by, contextKind=rollout.kind, seed=rollout.seed),
    }


def _clauses(clauses: Iterable[Clause]) -> list[dict[str, Any]]:
    return [
        {
            "attribute": each.attribute,
            "op": each.op,
            "values": list(each.values),
            "negate": each.negate,
            **_given(contextKind=each.kind),
        }
        for each in clauses
    ]


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
