"""Crossings: the last word that came in on whether a customer is in an experiment's cohort."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from toolkit.lake.engine import connect, parquet, text
from toolkit.lake.received import Standing
from toolkit.lake.tables import Lake

__all__ = ["keep_crossings", "left_by_webhook"]


def keep_crossings(lake: Lake, standings: Iterable[Standing], *, at: datetime) -> None:
    """Append the last words on customers; a word that is appended twice says the same.

    Raises:
        StorageError: the disk or the object store refused.
    """
    rows = [
        {
            "experiment": each.experiment,
            "id": each.customer,
            "action": each.action,
            "moment": each.moment,
            "at": at,
        }
        for each in standings
    ]
    if rows:
        lake.append_rows("crossings", rows)


def left_by_webhook(lake: Lake, experiment: str) -> frozenset[str]:
    """Return the customers of whom the last word is that they left the cohort: they are not eligible.

    Of two words of one moment the exit holds.
    """
    files = lake.files("crossings", experiment=experiment)
    if not files:
        return frozenset()
    with connect() as con:
        rows = con.rows(
            f"SELECT id FROM {parquet(files)} WHERE experiment = {text(experiment)} GROUP BY id "
            "HAVING arg_max(action, (moment, action = 'exit')) = 'exit'"
        )
    return frozenset(str(row[0]) for row in rows)
