"""Who was served the offer: flag evaluations, from LaunchDarkly's Data Export or the toolkit's own SDK hook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from toolkit.design.experiment import Experiment
from toolkit.design.sources import Exposures
from toolkit.errors import DataError
from toolkit.lake.arrivals import Arrival, Kept, Taken, endings_of, files_beside, reader_of, take_new
from toolkit.lake.engine import Engine, connect, parquet, quoted, text, texts
from toolkit.lake.event_files import first_of, instant_of, need_columns, text_of
from toolkit.lake.tables import Lake

__all__ = ["keep_exposures"]

MEND = "It must be LaunchDarkly's Data Export (evaluation_events), or written by toolkit.exposure_hook"
USUAL: Mapping[str, tuple[str, ...]] = {
    "flag": ("flag_key", "flagKey"),
    "key": ("context_key", "contextKey", "user_key"),
    "kind": ("context_kind", "contextKind"),
    "value": ("variation_value", "variationValue", "value"),
    "timestamp": ("timestamp", "received_time", "receivedTime", "creation_time"),
}


def keep_exposures(
    lake: Lake, path: str, source: str, experiment: Experiment, ours: Exposures, *, at: datetime
) -> Taken:
    """Keep whom the experiment's flags served anything but the control, once an hour and value.

    From a file, or the files of a folder that came since. A trait's default is the control, or what `ours` names.

    Raises:
        DataError: there is no such file or folder.
    """
    what = "`exposures` names it as flag evaluations (.parquet, .csv, .jsonl)"
    files = files_beside(path, what=what)
    done = Taken(0, Kept(), ())
    for form in ("parquet", "csv", "jsonl"):

        def keep(some: Sequence[Arrival], form: str = form) -> Kept:
            with connect() as con:
                return _keep(con, lake, some, form, experiment, ours)

        done += take_new(lake, source, [each for each in files if endings_of(each.name) == form], keep, at=at)
    return done


def _keep(
    con: Engine, lake: Lake, files: Sequence[Arrival], form: str, experiment: Experiment, ours: Exposures
) -> Kept:
    source = reader_of(files, form, tuple(name for names in USUAL.values() for name in names))
    kinds = con.columns(source)
    need_columns(
        con, files, form, {what: USUAL[what] for what in ("flag", "key", "value", "timestamp")}, MEND
    )
    said = {
        what: first_of([text_of(quoted(each), kinds[each]) for each in names if each in kinds])
        for what, names in USUAL.items()
        if what not in {"timestamp", "value"}
    }
    value = first_of([_plain(quoted(each), kinds[each]) for each in USUAL["value"] if each in kinds])
    when = first_of(
        [instant_of(quoted(each), kinds[each], None) for each in USUAL["timestamp"] if each in kinds]
    )
    flags = tuple(dict.fromkeys(trait.flag for trait in experiment.traits if trait.flag))
    con.table(
        "evaluated",
        f"SELECT {said['flag']} AS flag, {said['key']} AS id, {value} AS value, {when} AS timestamp, filename "
        f"FROM {source} WHERE ({said['flag']} IS NULL OR {said['flag']} IN ({texts(flags)})) "
        f"AND coalesce({said['kind']}, {text(experiment.identity.context_kind)}) = {text(experiment.identity.context_kind)}",
    )
    bad, where = con.one(
        "SELECT count(*), min(filename) FROM evaluated WHERE flag IS NULL OR timestamp IS NULL"
    )
    if bad:
        raise DataError(f"{where}: {bad:,} rows lack the flag's key, or an instant that can be read")
    kept = lake.files("exposures")
    known = (
        f"SELECT id, kind, value, date_trunc('hour', timestamp) AS hour FROM {parquet(kept)} "
        f"WHERE experiment = {text(experiment.key)}"
        if kept
        else "SELECT '' AS id, '' AS kind, '' AS value, TIMESTAMPTZ '1970-01-01 00:00:00+00' AS hour WHERE false"
    )
    identifier = "lower(trim(id))" if experiment.identity.key == "email" else "id"
    con.table(
        "new_exposures",
        f"SELECT {text(experiment.key)} AS experiment, id, timestamp, kind, value FROM ("
        f"SELECT {identifier} AS id, 'flag:' || flag AS kind, value, date_trunc('hour', timestamp) AS hour, min(timestamp) AS timestamp "
        f"FROM evaluated WHERE id <> '' AND value IS NOT NULL AND NOT ({_is_control(experiment, ours)}) "
        f"GROUP BY ALL) ANTI JOIN ({known}) USING (id, kind, value, hour)",
    )
    seen, nobody = con.one("SELECT count(*), count(*) FILTER (WHERE coalesce(id, '') = '') FROM evaluated")
    added = int(con.one("SELECT count(*) FROM new_exposures")[0])
    if added:
        lake.append("exposures", lambda: con.stream("SELECT * FROM new_exposures"))
    return Kept(int(seen), added, without_key=int(nobody))


def _is_control(experiment: Experiment, ours: Exposures) -> str:
    """Return the condition that an evaluation showed nothing of the offer."""
    shown = [
        f"(flag = {text(trait.flag)} AND value IN ({texts(_as_text(each) for each in ours.control or (trait.default,))}))"
        for trait in experiment.traits
        if trait.flag
    ]
    return " OR ".join(shown)


def _as_text(value: bool | str) -> str:
    return value if isinstance(value, str) else str(value).lower()


def _plain(name: str, kind: str) -> str:
    """Return the expression of a served value as plain text, whether it was written as JSON or not."""
    if kind not in {"VARCHAR", "JSON"}:
        return f"lower(CAST({name} AS VARCHAR))" if kind == "BOOLEAN" else text_of(name, kind)
    said = text_of(name, kind)
    return f"CASE WHEN json_valid({said}) THEN json_extract_string({said}, '$') ELSE {said} END"
