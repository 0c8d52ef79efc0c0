"""Markdown out of texts that anybody wrote: what they say is shown, and nothing in them takes effect."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

__all__ = ["code", "prose", "table_markdown"]

ACTIVE = re.compile(r"([\\`*_\[\]<>~&#$]|:(?=//)|(?<=www)\.)")
PIPE = r"\|"
"""A pipe within a table's cell, in code as in prose."""


def prose(text: object) -> str:
    """Return `text` as it reads, on one line: no markup, link or HTML in it takes effect."""
    return ACTIVE.sub(r"\\\1", _one_line(str(text)))


def code(text: object) -> str:
    """Return `text` as code within a line or a table's cell."""
    plain = _one_line(str(text))
    if not plain:
        return ""
    longest = max((len(run) for run in re.findall("`+", plain)), default=0)
    fence = "`" * (longest + 1)
    space = " " if "`" in (plain[0], plain[-1]) else ""
    return f"{fence}{space}{plain}{space}{fence}"


def table_markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are Markdown already; a pipe in them is a pipe, not the cell's end."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(each.replace('|', PIPE) for each in line)} |" for line in lines)


def _one_line(text: str) -> str:
    """Return `text` without line breaks, control characters and marks that turn the direction of reading."""
    kept = (" " if unicodedata.category(each) in {"Cc", "Cf", "Zl", "Zp"} else each for each in text)
    return " ".join("".join(kept).split())
