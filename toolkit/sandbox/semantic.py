"""LaunchDarkly's semantic patches of segments: instructions in, a segment out, all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

from toolkit.sandbox.launchdarkly import Segment

__all__ = ["PatchError", "patched"]

MAX_OPERATIONS = 1500
MAX_CONTEXTS = 15_000


class PatchError(ValueError):
    """The patch is refused as a whole."""


def patched(segment: Segment, instructions: Any, *, refused: AbstractSet[str] = frozenset()) -> Segment:
    """Return the segment after all instructions; the same object where nothing changes.

    Raises:
        PatchError: an instruction cannot be read, a limit is passed, a key is among `refused`, or one would be
            both included and excluded.
    """
    if not isinstance(instructions, list) or not instructions:
        raise PatchError("instructions must be a list with at least one instruction")
    counts = [len(_values(each)) for each in instructions if _kind(each) in TARGETS]
    if sum(counts) > MAX_OPERATIONS:
        raise PatchError(f"a patch may hold at most {MAX_OPERATIONS} target operations, not {sum(counts)}")
    after = segment
    for instruction in instructions:
        kind = _kind(instruction)
        if kind in TARGETS and segment.kind:
            raise PatchError("a big segment's targets are not changed by a patch")
        if kind in TARGETS and TARGETS[kind][1] and not refused.isdisjoint(_values(instruction)):
            raise PatchError("a context key is not valid")
        if kind in TARGETS:
            after = _retarget(after, instruction, *TARGETS[kind])
        elif kind in DESCRIBES:
            after = DESCRIBES[kind](after, instruction)
        else:
            raise PatchError(f"unknown instruction kind {kind!r}")
    if after.size() > MAX_CONTEXTS:
        raise PatchError(f"a standard segment may target at most {MAX_CONTEXTS} contexts; use a big segment")
    for kind, keys in after.included.items():
        if set(keys).intersection(after.excluded.get(kind, ())):
            raise PatchError("the same context key would be both included and excluded")
    return segment if after == segment else after


TARGETS = {
    "addIncludedTargets": ("included", True),
    "removeIncludedTargets": ("included", False),
    "addExcludedTargets": ("excluded", True),
    "removeExcludedTargets": ("excluded", False),
}


def _kind(instruction: Any) -> str:
    if not isinstance(instruction, dict) or not isinstance(instruction.get("kind"), str):
        raise PatchError("every instruction needs a kind")
    return str(instruction["kind"])


def _values(instruction: Mapping[str, Any]) -> list[str]:
    values = instruction.get("values")
    if not isinstance(values, list) or not all(isinstance(each, str) and each for each in values):
        raise PatchError(f"{instruction['kind']}: values must be a list of context keys")
    return values


def _retarget(segment: Segment, instruction: Mapping[str, Any], where: str, add: bool) -> Segment:
    """Add or remove targets; what is so already stays."""
    kind = instruction.get("contextKind")
    if not isinstance(kind, str) or not kind:
        raise PatchError(f"{instruction['kind']}: contextKind is required")
    before: Mapping[str, tuple[str, ...]] = getattr(segment, where)
    keys = dict.fromkeys(before.get(kind, ()))
    for key in _values(instruction):
        if add:
            keys[key] = None
        else:
            keys.pop(key, None)
    if tuple(keys) == before.get(kind, ()):
        return segment
    changed = {**before, kind: tuple(keys)}
    return replace(segment, included=changed) if where == "included" else replace(segment, excluded=changed)


def _tags(instruction: Mapping[str, Any]) -> list[str]:
    tags = instruction.get("values")
    if not isinstance(tags, list) or not all(isinstance(each, str) for each in tags):
        raise PatchError(f"{instruction['kind']}: values must be a list of tags")
    return tags


def _text(instruction: Mapping[str, Any]) -> str:
    value = instruction.get("value")
    if not isinstance(value, str):
        raise PatchError(f"{instruction['kind']}: value must be text")
    return value


DESCRIBES: Mapping[str, Callable[[Segment, Mapping[str, Any]], Segment]] = {
    "addTags": lambda segment, said: replace(
        segment, tags=tuple(dict.fromkeys([*segment.tags, *_tags(said)]))
    ),
    "removeTags": lambda segment, said: replace(
        segment, tags=tuple(each for each in segment.tags if each not in _tags(said))
    ),
    "updateName": lambda segment, said: replace(segment, name=_text(said)),
    "updateDescription": lambda segment, said: replace(segment, description=_text(said)),
}
