"""A panel: one answer as a heading, a sentence, tables, pictures and notes; it shows, prints and saves itself.

In a notebook it is HTML that JupyterLab's sanitiser leaves legible: tables with captions and headings, pictures as
images. What the sanitiser takes away (style, scripts) only adds looks, downloads and sliders.
"""

from __future__ import annotations

import csv
import io
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from toolkit.errors import ToolkitError
from toolkit.notebook.picture import TEMPLATE, Picture, written
from toolkit.readout.spreadsheet import plain
from toolkit.readout.svg import element
from toolkit.show.table import table_text

__all__ = ["Grid", "Panel", "download", "framed"]


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: cells are texts, the first of each row is its heading; `right` are the columns of numbers."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[int, ...] = ()

    @property
    def text(self) -> str:
        """Return the table for a terminal."""
        return f"{self.caption}\n{table_text(self.header, self.rows, right=self.right)}"

    @property
    def csv(self) -> str:
        """Return the table for a spreadsheet; no cell is a formula."""
        out = io.StringIO()
        csv.writer(out, lineterminator="\r\n").writerows(
            [plain(cell) for cell in row] for row in (self.header, *self.rows)
        )
        return out.getvalue()

    @property
    def html(self) -> Markup:
        """Return the table as HTML, with its caption, and headings that say what they head."""
        head = [
            element("th", name, scope="col", class_=self._side(at)) for at, name in enumerate(self.header)
        ]
        body = [
            element(
                "tr",
                *(
                    element("td", cell, class_=self._side(at))
                    if at
                    else element("th", cell, scope="row", class_=self._side(at))
                    for at, cell in enumerate(row)
                ),
            )
            for row in self.rows
        ]
        return element(
            "table",
            element("caption", self.caption),
            element("thead", element("tr", *head)),
            element("tbody", *body),
        )

    def _side(self, at: int) -> str | None:
        return "n" if at in self.right else None


@dataclass(frozen=True, slots=True, repr=False)
class Panel:
    """One answer.

    Attributes:
        status: `good`, `warn` or `bad` colours the edge; empty does not. The sentence says it in words.
        notes: what to know besides.
    """

    title: str
    said: str
    grids: tuple[Grid, ...] = ()
    pictures: tuple[Picture, ...] = ()
    notes: tuple[str, ...] = ()
    status: str = ""

    def __repr__(self) -> str:
        parts = [self.title, self.said, *(grid.text for grid in self.grids if grid.rows)]
        return "\n".join([*parts, *(f"picture: {each.said}" for each in self.pictures), *self.notes])

    def _repr_html_(self) -> str:
        parts = [picture.figure for picture in self.pictures]
        for grid in self.grids:
            if grid.rows:
                parts += [
                    element("div", grid.html, class_="wide"),
                    element("p", download("CSV", "table.csv", "text/csv", grid.csv), class_="save"),
                ]
        notes = [element("p", each, class_="quiet") for each in self.notes]
        return str(framed(self.title, self.said, [*parts, *notes], self.status))

    def save(self, path: str | Path) -> Path:
        """Write the panel to `path`: its first table (.csv), its first picture (.svg), or all of it (.html).

        Raises:
            ToolkitError: the panel has nothing that such a file could hold.
            StorageError: the file cannot be written.
        """
        target = Path(path)
        kind = target.suffix.lower()
        if kind == ".csv" and self.grids:
            return written(target, self.grids[0].csv)
        if kind == ".svg" and self.pictures:
            return self.pictures[0].save(target)
        if kind == ".html":
            return written(
                target, f'<!doctype html><html lang="en"><meta charset="utf-8">{self._repr_html_()}</html>'
            )
        has = [
            name for name, there in ((".csv", self.grids), (".svg", self.pictures), (".html", True)) if there
        ]
        raise ToolkitError(
            f"{path}: “{self.title}” can be saved as {', '.join(has)}; give the file such a name"
        )


def framed(title: str, said: str, parts: Sequence[Markup], status: str = "") -> Markup:
    """Return the parts under their heading and sentence, with the stylesheet that they need."""
    style = (TEMPLATE / "panel.css").read_text(encoding="utf-8")
    return element(
        "div",
        element("style", Markup(style)),  # noqa: S704 (our own stylesheet)
        element("h3", title),
        element("p", said, class_="said"),
        *parts,
        class_=f"lift-panel mathjax_ignore tex2jax_ignore {status}".strip(),  # a $ is money here, and begins no formula
    )


def download(label: str, name: str, kind: str, content: str) -> Markup:
    """Return a link that saves `content` as a file, from within the page itself."""
    held = b64encode(content.encode()).decode()
    return element("a", label, href=f"data:{kind};charset=utf-8;base64,{held}", download=name)
