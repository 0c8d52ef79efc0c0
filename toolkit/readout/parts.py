"""What a page is put together from: cells, tables, figures and cards. Looks are the templates' business."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from toolkit.readout import words
from toolkit.readout.figures import count, day, p_value, percent
from toolkit.readout.svg import icon

__all__ = ["TEMPLATES", "Card", "Cell", "Column", "Figure", "Line", "Section", "Table", "templates"]

TEMPLATES = Path(__file__).parent / "template"


@cache
def templates() -> Environment:
    """Return the templates: everything is escaped, and a name that is missing is an error."""
    loaded = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    loaded.globals.update(icon=icon, words=words, count=count, percent=percent, day=day, p_value=p_value)
    return loaded


@dataclass(frozen=True, slots=True)
class Column:
    """A column's heading; numbers stand at the right."""

    title: str
    numeric: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """What a cell says, with a quieter second line and a small picture beside it."""

    said: str
    more: str = ""
    icon: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A row of cells; `kind` is `""`, `counts` (stands out), `doubt` (stands back), or a check's status."""

    cells: tuple[Cell, ...]
    kind: str = ""

    @classmethod
    def of(cls, *cells: str | Cell | tuple[str, str], kind: str = "") -> Line:
        """Return a row; text, or text with its second line, becomes a cell."""
        made = (
            each if isinstance(each, Cell) else Cell(each) if isinstance(each, str) else Cell(*each)
            for each in cells
        )
        return cls(tuple(made), kind)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings; the first cell of a row is its heading."""

    caption: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing, its caption, what its marks mean, and the same as a table."""

    caption: str
    chart: Markup
    table: Table
    key: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Card:
    """One question and its answer: the insight first, then drawings, then tables, then notes.

    `paragraphs` and `terms` (name, tag, meaning) are for cards of words; `folded` is a table and
    `remarks` are sentences on single numbers, both shown on demand.
    """

    key: str
    question: str
    insight: str
    figures: tuple[Figure, ...] = ()
    table: Table | None = None
    folded: Table | None = None
    paragraphs: tuple[str, ...] = ()
    terms: tuple[tuple[str, str, str], ...] = ()
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    tag: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page, drawn; in a notebook it shows itself."""

    key: str
    html: Markup

    @classmethod
    def of(cls, card: Card | None, key: str) -> Section:
        """Return the card as a section; one without a card is empty."""
        shown = "" if card is None else templates().get_template("card.html.j2").render(card=card)
        return cls(key, Markup(shown))  # noqa: S704 (escaped by the template)

    def __repr__(self) -> str:
        return f"{self.key}: {'a part of the page' if self.html else 'nothing to show in this readout'}"

    def _repr_html_(self) -> str | None:
        return f'<div class="lift mathjax_ignore tex2jax_ignore">{self.html}</div>' if self.html else None
