"""JSON pointers (RFC 6901): where a property stands in a text of many."""

from __future__ import annotations

__all__ = ["pointer_to", "pointers_to"]


def pointer_to(name: str) -> str:
    """Return the pointer to what is called `name`, whatever characters that has."""
    return "/" + name.replace("~", "~0").replace("/", "~1")


def pointers_to(path: str) -> tuple[str, ...]:
    """Return where `path` may stand: under that very name, or deeper, a level for each dot."""
    return tuple(dict.fromkeys((pointer_to(path), "".join(pointer_to(step) for step in path.split(".")))))
