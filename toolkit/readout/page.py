"""Templates and the stylesheet: where a section's words become HTML."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from toolkit.readout import figures, words
from toolkit.readout.svg import icon

__all__ = ["POLICY", "TEMPLATES", "Section", "fill", "stylesheet"]

TEMPLATES = Path(__file__).parent / "template"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
"""What a page may load: nothing but its own styles and pictures that stand in it."""


@dataclass(frozen=True, slots=True)
class Section:
    """A piece of a readout: shows itself in a notebook, and becomes part of the page."""

    name: str
    html: Markup

    def _repr_html_(self) -> str:
        return str(self.html)

    def __repr__(self) -> str:
        return f"<{self.name.replace('_', ' ')}{'' if self.html else ': nothing to show'}>"


def fill(template: str, **context: Any) -> Markup:
    """Return the template filled in; every value that is not Markup is escaped."""
    return Markup(_environment().get_template(template).render(context))  # noqa: S704  the template escapes


@cache
def stylesheet() -> Markup:
    """Return the one stylesheet, for readouts and the index alike."""
    return Markup((TEMPLATES / "readout.css").read_text(encoding="utf-8"))  # noqa: S704  our own file


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals.update(words=words, icon=icon, policy=POLICY)
    made.filters.update(
        day=figures.day,
        instant=figures.instant,
        count=figures.count,
        share=figures.percent,
        p=figures.p_value,
        sentence=words.sentence,
        arm=words.arm_name,
    )
    return made
