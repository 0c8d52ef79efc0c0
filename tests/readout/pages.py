"""Pages of records, made without a kernel, and what a parser finds in them."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

from markupsafe import Markup

from toolkit.readout import Readout
from toolkit.readout.index import write_index
from toolkit.readout.page import page_of
from toolkit.readout.record import as_json
from toolkit.readout.render import DOWNLOADS
from toolkit.readout.spreadsheet import as_csv

__all__ = ["Nodes", "changed", "page", "site"]


def page(record) -> str:
    """Return the record's page."""
    sections = [Markup('<div class="lift">{}</div>').format(each.html) for each in Readout(record).sections()]
    return page_of(sections, str(record["design"]["name"]), up="../../index.html", downloads=DOWNLOADS)


def changed(record, **more):
    """Return a copy of the record, with some fields changed."""
    return json.loads(json.dumps(record)) | more


def site(folder: Path, records) -> Path:
    """Write every record's page, JSON and CSV, and the index; return the index's path."""
    for record in records:
        place = folder / record["experiment"] / record["as_of"]
        place.mkdir(parents=True)
        (place / "readout.json").write_text(as_json(record))
        (place / "readout.csv").write_text(as_csv(record), newline="")
        (place / "index.html").write_text(page(record))
    return write_index(folder)


class Nodes(HTMLParser):
    """A page's elements and attributes, in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
