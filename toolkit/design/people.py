"""People who are tried on a flag, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Probe", "World"]

World = Literal["as it is", "segments missing", "big-segment store down", "flag off", "prerequisite failing"]
"""The flag and its segments as they were read, or with a part of them broken."""


@dataclass(frozen=True, slots=True)
class Probe:
    """People of one kind.

    Attributes:
        keys: their context keys: made up, or those that the flag itself names, which are shown to nobody.
        expected: the value that they must be served.
        kind: the kind of their context.
        attributes: what the application passes about them; `anonymous` marks the context so.
        segments: segments that they are in.
        others: further kinds of their context, with attributes.
        held: whether they are held out, so that nothing but the control may reach them.
    """

    name: str
    keys: tuple[str, ...]
    expected: bool | str
    kind: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    segments: tuple[str, ...] = ()
    others: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    held: bool = False
    world: World = "as it is"
