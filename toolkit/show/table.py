"""A table of plain text."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

__all__ = ["table_text"]

WIDTH = 118


def table_text(header: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[int] = ()) -> str:
    """Return a table; columns of the places in `right` are aligned to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for at, name in enumerate(header):
        table.add_column(Text(name), justify="right" if at in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    shown = io.StringIO()
    Console(file=shown, width=WIDTH, color_system=None, force_jupyter=False).print(table)
    return shown.getvalue().strip("\n")
