"""Planning a push: a million who should be in a segment against a million who are."""

from __future__ import annotations

import json

from benchmarks.processes import PYTHON, Command, side_by_side
from benchmarks.works.section import Section, Setting, compare

__all__ = ["plan"]

ASKED_SECONDS = 2.0
CHANGED = 0.01


def plan(setting: Setting) -> Section:
    """The plan, its reasons and its batches, against the bare difference of two Python sets."""
    rows = setting.rows(1_000_000)
    timings = side_by_side(
        {
            how: Command([PYTHON, "-m", "benchmarks.floors.plan", str(rows), str(CHANGED), how])
            for how in ("floor", "plan")
        },
        repeats=setting.repeats,
        tick=setting.tick,
    )
    told = {how: json.loads(timing.out) for how, timing in timings.items()}
    same = all(told["floor"][name] == told["plan"][name] for name in ("add", "remove", "unchanged"))
    seconds = told["plan"]["seconds"]
    return Section(
        f"Planning a push of {rows:,} members",
        f"{rows:,} customers who should be members against {rows:,} who are, {CHANGED:.0%} of them others: the change, "
        "the reason of each, and the requests in order. Both processes make the customers' keys first; the floor then "
        "takes the two differences of sets.",
        (
            compare(
                "`plan_sync`, reasons, batches",
                timings["plan"],
                "bare sets",
                timings["floor"],
                asked_peak=1024,
            ),
        ),
        (
            f"Without making the keys: {seconds:.2f} s, {ASKED_SECONDS:.0f} s are asked: "
            f"{'met' if seconds <= ASKED_SECONDS else 'MISSED'}.",
            f"Both find {told['plan']['add']:,} to add, {told['plan']['remove']:,} to remove and "
            f"{told['plan']['unchanged']:,} unchanged."
            if same
            else "ANSWERS DIFFER: other changes.",
        ),
    )
