"""Customer.io Pipelines' files of `track` calls, in the form that Segment made usual: Parquet, CSV or JSON lines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from toolkit.design.experiment import Experiment
from toolkit.design.sources import Events
from toolkit.errors import DataError
from toolkit.lake.arrivals import Arrival, Kept, Taken, endings_of, files_in, take_new
from toolkit.lake.engine import connect
from toolkit.lake.event_files import keep_told, read_told
from toolkit.lake.tables import Lake

__all__ = ["keep_tracks"]

FORMS = ("parquet", "csv", "jsonl")
USUAL = {
    "event_id": ("messageId", "message_id", "event_id", "id"),
    "id": ("userId", "user_id", "customer_id"),
    "person": (),
    "name": ("event", "event_name", "name"),
    "timestamp": ("timestamp", "originalTimestamp", "original_timestamp"),
    "properties": ("properties", "data"),
}


def keep_tracks(
    lake: Lake,
    folder: str,
    source: str,
    experiment: Experiment,
    events: Events,
    names: Sequence[str],
    *,
    at: datetime,
) -> Taken:
    """Keep the events called one of `names` of the folder's files that came since, each once.

    Raises:
        DataError: there is no such folder, or no file in it that can hold events.
    """
    what = "`events` names it as the folder of track files (.parquet, .csv, .jsonl)"
    files = files_in(folder, lambda name: bool(endings_of(name)), what=what)
    if not files:
        raise DataError(f"{folder}: no file ends in .parquet, .csv or .jsonl; {what}")
    done = Taken(0, Kept(), ())
    for form in FORMS:

        def keep(some: Sequence[Arrival], form: str = form) -> Kept:
            with connect() as con:
                through = read_told(
                    con, some, form, events, names, USUAL, email=experiment.identity.key == "email", at=at
                )
                con.run("ALTER TABLE told ADD COLUMN waits BOOLEAN DEFAULT false")
                return keep_told(con, lake, source, events, through=through, at=at)

        own = [each for each in files if endings_of(each.name) == form]
        done += take_new(lake, source, own, keep, at=at, names=names)
    return done
