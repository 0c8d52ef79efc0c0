"""For JupyterLab: values that show themselves, sliders that need no server, bars that move.

`activate()` once, and a spec, a plan, an audit, a design or a measurement at a cell's end is shown as what it says.
"""

from __future__ import annotations

from toolkit.notebook.balance import balance
from toolkit.notebook.compare import compare
from toolkit.notebook.enrolment import enrolment
from toolkit.notebook.example import start_with_files
from toolkit.notebook.explore_cap import explore_cap
from toolkit.notebook.explore_power import explore_power
from toolkit.notebook.formats import activate, show
from toolkit.notebook.picture import pictures_of
from toolkit.notebook.progress import progress

__all__ = [
    "activate",
    "balance",
    "compare",
    "enrolment",
    "explore_cap",
    "explore_power",
    "pictures_of",
    "progress",
    "show",
    "start_with_files",
]
