"""Cards on trust: the checks, and whether site and message agreed in time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from toolkit.readout import words
from toolkit.readout.figures import count, duration
from toolkit.readout.parts import Card, Cell, Column, Line, Table

if TYPE_CHECKING:
    from toolkit.readout.readout import Readout

__all__ = ["checks", "propagation"]


def checks(readout: Readout) -> Card:
    """Return every check with its answer, and what to do where it did not pass."""
    lines = []
    for each in readout.record["checks"]:
        mend = words.check_mend(each["name"]) if each["status"] in {"fail", "warn"} else ""
        lines.append(
            Line(
                (
                    Cell(words.check_title(each["name"]), words.check_question(each["name"])),
                    Cell(words.CHECK_STATUS[each["status"]], icon=each["status"]),
                    Cell(words.sentence(readout.prose(each["detail"])), mend or _unusual(each)),
                ),
                each["status"],
            )
        )
    columns = (Column("Check"), Column("Answer"), Column("What was found, and what to do"))
    tally = words.tally(each["status"] for each in readout.record["checks"])
    return Card(
        "checks",
        "Can the numbers be believed?",
        f"{tally[:1].upper()}{tally[1:]}. A failed check withholds the verdict.",
        table=Table("Checks in full", columns, tuple(lines)),
    )


def _unusual(check: Mapping[str, Any]) -> str:
    """Return what a small p-value means where the arms count as alike all the same."""
    small = check["name"] == "balance" and check["status"] == "pass" and (check.get("p_value") or 1.0) < 0.05
    return words.UNUSUAL if small else ""


def propagation(readout: Readout) -> Card | None:
    """Return how long it took from a trait being due until it was read back, against its `max_age`."""
    every = readout.record.get("propagation") or []
    found = [each for each in every if each["customers"] or each.get("waiting")]
    if not found:
        return None
    late = sum(each["late"] or 0 for each in found)
    total = sum(each["customers"] + each.get("waiting", 0) for each in found)
    lines = tuple(
        Line.of(
            each["trait"],
            count(each["customers"]),
            count(each.get("waiting", 0)),
            duration(each["p50_seconds"]),
            duration(each["p95_seconds"]),
            duration(each["max_age_seconds"]) if each["max_age_seconds"] is not None else "none set",
            count(each["late"]),
        )
        for each in found
    )
    columns = (
        Column("Trait"),
        *(
            Column(said, numeric=True)
            for said in ("Memberships", "Waiting", "Half within", "95% within", "Allowed", "Late")
        ),
    )
    insight = (
        f"No trait was later than it may be, at {words.plural(total, 'membership')}."
        if not late
        else f"A trait was later than it may be at {count(late)} of {words.plural(total, 'membership')}."
    )
    return Card(
        "propagation",
        "Did site and message agree in time?",
        insight,
        table=Table("From a trait being due until it was read back", columns, lines),
        notes=(words.MEMBERSHIPS,),
    )
