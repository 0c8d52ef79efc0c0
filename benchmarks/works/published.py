"""A readout, from the experiment file to the page: what the weekly job takes per experiment."""

from __future__ import annotations

from pathlib import Path

from benchmarks.data import prepare
from benchmarks.processes import LIFT, PYTHON, Command, side_by_side
from benchmarks.works.cold import CUSTOMERS, SPEC
from benchmarks.works.section import Section, Setting, compare

__all__ = ["readout"]

FLOOR = Path(__file__).parents[1] / "floors" / "published.py"


def readout(setting: Setting) -> Section:
    """`lift readout` on eighty customers, against papermill on an empty notebook and nbconvert's HTML of it."""
    folder = prepare("small", CUSTOMERS, tick=setting.tick)
    spec = folder / "readout.yml"
    spec.write_text(SPEC.replace("key: on-files", "key: on-a-page") + "analysis: {looks: weekly}\n")
    asked = [LIFT, "readout", str(spec), "--as-of", "2026-01-21"]
    timings = side_by_side(
        {
            "floor": Command([PYTHON, str(FLOOR), str(folder)]),
            "lift": Command(
                ["env", f"LIFT_REPORTS={folder / 'reports'}", *asked],
                home=folder / "lake",
                may_end_with=(0, 1),
            ),
        },
        repeats=setting.repeats,
        tick=setting.tick,
    )
    return Section(
        "A readout, from file to page",
        f"`lift readout` on {CUSTOMERS} customers in files: measured, run through papermill, written as one page. "
        "The floor is papermill on an empty notebook and nbconvert's HTML of it.",
        (
            compare(
                "`lift readout`",
                timings["lift"],
                "papermill and nbconvert, empty notebook",
                timings["floor"],
                asked=1.6,
            ),
        ),
    )
