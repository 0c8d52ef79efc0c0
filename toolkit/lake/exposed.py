"""What those did who really got the treatment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from toolkit.design.experiment import Experiment
from toolkit.lake.aggregate import capped
from toolkit.lake.engine import Engine, micros_of
from toolkit.lake.outcomes import Evidence, as_number
from toolkit.lake.tables import Lake
from toolkit.lake.treated import treated_by
from toolkit.stats.readings import Cap

__all__ = ["exposed_sums"]


def exposed_sums(
    con: Engine,
    lake: Lake,
    experiment: Experiment,
    evidence: Evidence,
    caps: Mapping[str, Cap],
    *,
    as_of_end: datetime,
) -> dict[str, tuple[int, dict[str, float]]] | None:
    """Return arm → customers exposed since their assignment, and per column the sum over them; capped in `c_<metric>`.

    Exposed is whom a message reached or who was served the offer. None where nothing is known of either, or
    results stand ready per customer. Needs `roster` and `active`.
    """
    known = [each for each in treated_by(con, lake, experiment) if each]
    if not known or evidence.told is None:
        return None
    counted = evidence.needs.counted
    con.table(
        "exposed",
        f"SELECT DISTINCT r.place, r.arm FROM ({' UNION ALL '.join(known)}) e JOIN roster r ON e.id = r.id "
        f"WHERE e.at >= r.assigned AND e.at < {micros_of(as_of_end)}",
    )
    columns = {each.name: each.name for each in counted}
    for metric, cap in caps.items():
        (column,) = evidence.needs.terms[metric]
        columns[f"c_{metric}"] = capped(column, cap.value)
    sums = ", ".join(f"sum({each})" for each in columns.values())
    shown = ", ".join(as_number(each) for each in counted)
    rows = con.rows(
        f"SELECT arm, count(*), {sums} FROM (SELECT exposed.arm, {shown} FROM exposed "
        "LEFT JOIN active ON exposed.place = active.place) GROUP BY arm"
    )
    if not rows:
        return None
    found = {row[0]: row[1:] for row in rows}
    nothing = (0,) * (len(columns) + 1)
    return {
        arm: (
            int(found.get(place, nothing)[0]),
            {
                name: float(value or 0)
                for name, value in zip(columns, found.get(place, nothing)[1:], strict=True)
            },
        )
        for place, arm in enumerate(experiment.arms)
    }
