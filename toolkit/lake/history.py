"""The cohort's own past: what everybody who qualifies would have shown, had they been assigned earlier.

An engine that has a ledger of its own, in which all of the cohort are in the control since one instant. Whatever
measures an experiment measures this: windows, repeated orders, refunds and look-backs count as they will.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from toolkit.design.experiment import Experiment
from toolkit.design.metrics import Mean
from toolkit.design.sources import AssignmentSource
from toolkit.errors import NotEnoughData
from toolkit.lake.aggregate import literal
from toolkit.lake.cohort import ENTERED
from toolkit.lake.engine import Engine, Stored, at_micros, instant, micros_of, text
from toolkit.lake.sources import FileTable, open_file
from toolkit.stats.moments import Vector

if TYPE_CHECKING:
    from toolkit.lake.tables import Lake
    from toolkit.stats.readings import Readings

__all__ = [
    "AsIfAssigned",
    "amounts_of",
    "as_if",
    "customers_of_outcomes",
    "earliest_event",
    "enrolled_by_week",
    "qualified_by_week",
]

DAY, WEEK = timedelta(days=1), timedelta(days=7)
WEEKS_BACK = 8


class AsIfAssigned(Engine):
    """DuckDB in memory, with everybody of `customers(id, attributes)` in the control since one instant."""

    def assign_everybody(self, experiment: Experiment, at: datetime) -> None:
        """Create the ledger, and what is known of people where attributes came with them."""
        key, at_instant = text(experiment.key), instant(at)
        self.table(
            "as_if_assigned",
            f"SELECT {key} AS experiment, id, {text(experiment.control)} AS arm, {at_instant} AS assigned_at "
            "FROM customers",
        )
        self.table(
            "as_if_known",
            f"SELECT {key} AS experiment, id, attributes, {at_instant} AS recorded_at FROM customers "
            f"WHERE attributes IS NOT NULL AND {'true' if _from_query(experiment) else 'false'}",
        )

    def stored(self, lake: Lake, table: str, **partition: str) -> Stored | None:
        """Return where `table` is read: assignments and people here, everything else in the lake."""
        if table == "assignments":
            return Stored("everybody who qualifies", "as_if_assigned", None)
        if table == "people":
            return Stored("everybody who qualifies", "as_if_known", 0)
        return super().stored(lake, table, **partition)


def as_if(experiment: Experiment, until: datetime) -> tuple[Experiment, datetime]:
    """Return the experiment as it would have been, had all been assigned one window before `until`, and when.

    The window is the longest of the metrics'; for a metric without one it is as long as enrolment is planned.
    Breakdowns are left out, and attributes as covariates where the cohort does not bring any.
    """
    planned = max(experiment.end - experiment.start, DAY)
    span = max((each.window or planned for each in experiment.metrics), default=planned)
    first = until.astimezone(experiment.zone).date() - timedelta(days=math.ceil(span / DAY))
    unknown = bool(experiment.cohort and experiment.cohort.source == "customerio")
    metrics = tuple(
        each.model_copy(
            update={
                "covariates": tuple(one for one in each.covariates if not (unknown and isinstance(one, str)))
            }
        )
        for each in experiment.metrics
    )
    earlier = experiment.model_copy(
        update={
            "key": f"{experiment.key} as if",  # no experiment's own: nothing kept of one is taken for the other's
            "start": first,
            "end": first + DAY,
            "assignment": AssignmentSource(),
            "analysis": experiment.analysis.model_copy(update={"breakdowns": ()}),
            "metrics": metrics,
        }
    )
    return earlier, earlier.starts_at


def customers_of_outcomes(con: Engine, experiment: Experiment, spec: str) -> int:
    """Create `customers(id, attributes)` from the table of outcomes, where no cohort is stated; return how many.

    Raises:
        NotEnoughData: there are no outcomes either.
    """
    if experiment.outcomes is None:
        raise NotEnoughData(
            f"{spec}: nobody is assigned yet and no `cohort` says who would be; name one, so that its history can be read"
        )
    path = experiment.file_beside(spec, experiment.outcomes.file)
    table = open_file(con, path, what="`outcomes` names it as the table of outcomes")
    identifier = table.identity(experiment.identity.key)
    con.table(
        "customers",
        f"SELECT DISTINCT {identifier} AS id, CAST(NULL AS VARCHAR) AS attributes FROM {table.sql} "
        f"WHERE {identifier} <> ''",
    )
    return int(con.one("SELECT count(*) FROM customers")[0])


def earliest_event(con: Engine) -> datetime | None:
    """Return the earliest instant of the view `told`: how far back events reach; None where there are none."""
    return at_micros(con.one("SELECT min(happened) FROM told")[0])


def amounts_of(con: Engine, experiment: Experiment, readings: Readings, metric: Mean) -> Vector:
    """Return the numbers of the control's customers in `unit` that are not zero, capped as planned, shape (k,)."""
    column = readings.terms[metric.name][0]
    cap = readings.caps.get(metric.name)
    shown = f"least({column}, {literal(cap.value)})" if cap else column
    arm = list(experiment.arms).index(experiment.control)
    import numpy as np

    rows = con.rows(
        f"SELECT CAST({shown} AS DOUBLE) FROM unit WHERE arm = {arm} AND {column} <> 0 ORDER BY 1"
    )
    return np.array([row[0] for row in rows], dtype=float)


def enrolled_by_week(con: Engine, experiment: Experiment, until: datetime) -> tuple[int, ...]:
    """Return customers of the view `ledger` by whole week since the first, until `until` or the enrolment's end."""
    first = con.one("SELECT min(assigned) FROM ledger")[0]
    weeks = (min(micros_of(until), micros_of(experiment.ends_at)) - first) // (
        WEEK // timedelta(microseconds=1)
    )
    return _by_week(con, "SELECT assigned AS entered FROM ledger", first, int(weeks))


def qualified_by_week(
    con: Engine, experiment: Experiment, spec: str, until: datetime
) -> tuple[int, ...] | None:
    """Return people by the week in which they came to qualify, of the eight weeks before `until`.

    From the column `qualified_at` of the cohort's file or query; None where there is none.
    """
    cohort = experiment.cohort
    if cohort is None or cohort.source == "customerio":
        return None
    if _from_query(experiment):
        table = FileTable(con, cohort.sql or "", "from_sql", con.columns("from_sql"), csv=False)
    else:
        table = open_file(con, experiment.file_beside(spec, cohort.file), what="`cohort` names it")
    if ENTERED not in table.columns:
        return None
    at = table.micros(ENTERED, experiment.timezone)
    table.settle()
    first = micros_of(until - WEEKS_BACK * WEEK)
    return _by_week(con, f"SELECT {at} AS entered FROM {table.sql}", first, WEEKS_BACK)


def _by_week(con: Engine, instants: str, first: int, weeks: int) -> tuple[int, ...]:
    length = WEEK // timedelta(microseconds=1)
    found = dict(
        con.rows(
            f"SELECT CAST(floor((entered - {first}) / {length}) AS BIGINT) AS week, count(*) FROM ({instants}) "
            f"WHERE entered >= {first} AND entered < {first + weeks * length} GROUP BY 1"
        )
    )
    return tuple(int(found.get(week, 0)) for week in range(weeks))


def _from_query(experiment: Experiment) -> bool:
    return bool(experiment.cohort and experiment.cohort.source == "warehouse")
