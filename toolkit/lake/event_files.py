"""Files of events that others write, in their words: to the columns of the lake, each event once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from toolkit.design.sources import EventColumns, Events
from toolkit.errors import DataError
from toolkit.lake.arrivals import Arrival, Kept, reader_of
from toolkit.lake.engine import Engine, at_micros, instant, micros, micros_of, parquet, quoted, text, texts
from toolkit.lake.pointers import pointers_to
from toolkit.lake.sources import INTEGERS, has_zone
from toolkit.lake.tables import Lake

__all__ = ["columns_of", "first_of", "instant_of", "keep_told", "need_columns", "read_told", "text_of"]

Usual = Mapping[str, tuple[str, ...]]
"""What is asked for → the names that its column usually has."""
NOTHING = "NULL::VARCHAR"
MEND = "Say in `events.columns` which it is"
MILLISECONDS_FROM = 100_000_000_000
"""Seconds since 1970 reach this in the year 5138; what is larger is milliseconds."""


def read_told(
    con: Engine,
    files: Sequence[Arrival],
    form: str,
    events: Events,
    names: Sequence[str],
    usual: Usual,
    *,
    email: bool,
    at: datetime,
) -> int | None:
    """Create `told(event_id, id, person, name, timestamp, amount, currency, order_id, properties, filename)`.

    These are the events called one of `names` in `files`, all of one form (`parquet`, `csv`, `jsonl`). `person` is
    Customer.io's internal id, where the files have it.

    Returns:
        the latest instant of any event in the files, in microseconds since 1970: so far the files reach. What is
        later than `at`, when they are read, was written by a clock that runs wrong.

    Raises:
        DataError: a file lacks a column, or a row its name or instant.
    """
    wanted = _wanted(events.columns, usual)
    properties = wanted["properties"]
    paths = {
        events.order.id,
        events.order.amount,
        events.order.currency,
        events.refund.id,
        events.refund.amount,
    }
    flat = {path: _flattened(path, properties) for path in paths}
    looked_for = [
        *(each for some in wanted.values() for each in some),
        *(n for some in flat.values() for n in some),
    ]
    source = reader_of(files, form, tuple(dict.fromkeys(looked_for)))
    kinds = con.columns(source)
    need_columns(con, files, form, {"name": wanted["name"], "timestamp": wanted["timestamp"]}, MEND)
    need_columns(con, files, form, {"id": (*wanted["id"], *wanted["person"])}, MEND)
    said = {what: _first_text(kinds, some) for what, some in wanted.items()}
    bag = _bag(kinds, properties)

    def of_kind(order: str, refund: str) -> str:
        mine, theirs = _value(kinds, flat[order], bag, order), _value(kinds, flat[refund], bag, refund)
        return (
            mine
            if order == refund
            else f"CASE WHEN name = {text(events.refund.name)} THEN {theirs} ELSE {mine} END"
        )

    when = first_of(
        [
            instant_of(_theirs(each), kinds[each], events.timezone)
            for each in wanted["timestamp"]
            if each in kinds
        ]
    )
    con.table(
        "told",
        f"SELECT event_id, {'lower(trim(id))' if email else 'id'} AS id, person, name, timestamp, "
        f"TRY_CAST({of_kind(events.order.amount, events.refund.amount)} AS DECIMAL(18, 4)) AS amount, "
        f"upper({_value(kinds, flat[events.order.currency], bag, events.order.currency)}) AS currency, "
        f"{of_kind(events.order.id, events.refund.id)} AS order_id, {bag} AS properties, filename FROM "
        f"(SELECT *, {said['event_id']} AS event_id, {said['id']} AS id, {said['person']} AS person, "
        f"{said['name']} AS name, {when} AS timestamp FROM (SELECT {_renamed(kinds)} FROM {source})) "
        f"WHERE name IS NULL OR timestamp IS NULL OR name IN ({texts(names)})",
    )
    _refuse_unreadable(con, {each: wanted[each] for each in ("name", "timestamp")})
    instants = f"SELECT {micros(when)} AS happened FROM (SELECT {_renamed(kinds)} FROM {source})"
    reached = con.one(f"SELECT max(happened) FROM ({instants}) WHERE happened <= {micros_of(at)}")[0]
    return None if reached is None else int(reached)


def keep_told(
    con: Engine, lake: Lake, source: str, events: Events, *, through: int | None, at: datetime
) -> Kept:
    """Append the rows of `told` that have a customer and are not kept yet as one commit, and say what came of all.

    Needs `told` with the column `waits` as well: whether another file is yet to tell who the customer is.
    """
    files = lake.files("events")
    known = (
        f"SELECT event_id FROM {parquet(files)} WHERE source = {text(source)}"
        if files
        else "SELECT '' AS event_id WHERE false"
    )
    own = (
        "coalesce(event_id, sha1(concat_ws('|', coalesce(id, person), name, epoch_us(timestamp), amount, order_id, "
        "row_number() OVER (PARTITION BY filename, coalesce(id, person), name, timestamp, amount, order_id))))"
    )
    con.view("named", f"SELECT * REPLACE ({own} AS event_id) FROM told")
    con.table(
        "new_events",
        "SELECT event_id, id, name, timestamp, amount, currency, order_id, properties, "
        f"{text(source)} AS source, {instant(at)} AS received_at FROM (SELECT *, row_number() OVER "
        "(PARTITION BY event_id ORDER BY timestamp, filename) AS copy FROM named WHERE id <> '') "
        f"ANTI JOIN ({known}) USING (event_id) WHERE copy = 1",
    )
    added = int(con.one("SELECT count(*) FROM new_events")[0])
    if added:
        lake.append("events", lambda: con.stream("SELECT * FROM new_events"))
    seen, waiting, nobody = con.one(
        "SELECT count(*), count(*) FILTER (WHERE waits), "
        "count(*) FILTER (WHERE coalesce(id, '') = '' AND NOT waits) FROM told"
    )
    money = texts({events.order.name, events.refund.name})
    bare = con.one(f"SELECT count(*) FROM new_events WHERE amount IS NULL AND name IN ({money})")[0]
    waits = con.rows("SELECT DISTINCT filename FROM told WHERE waits")
    return Kept(
        int(seen),
        added,
        int(waiting),
        int(nobody),
        int(bare),
        at_micros(through),
        frozenset(str(name) for (name,) in waits),
    )


def need_columns(con: Engine, files: Sequence[Arrival], form: str, wanted: Usual, mend: str) -> None:
    """Raise DataError, naming the file, unless each has a column of each kind wanted; JSON lines name theirs by row."""
    for path, there in columns_of(con, files, form).items():
        for what, names in wanted.items():
            if not there & set(names):
                raise DataError(
                    f"{path}: no column for the {what} ({' or '.join(names)}); it has {', '.join(sorted(there))}. "
                    f"{mend}"
                )


def columns_of(con: Engine, files: Sequence[Arrival], form: str) -> dict[str, set[str]]:
    """Return path → names of its columns; nothing for JSON lines, whose rows may differ."""
    if form == "jsonl":
        return {}
    if form == "csv":
        return {each.path: set(con.columns(reader_of([each], form))) - {"filename"} for each in files}
    rows = con.rows(
        f"SELECT file_name, name FROM parquet_schema([{texts(each.path for each in files)}]) ORDER BY 1"
    )
    found: dict[str, set[str]] = {}
    for path, name in rows:
        found.setdefault(str(path), set()).add(str(name))
    return found


def instant_of(name: str, kind: str, zone: str | None) -> str:
    """Return the expression of an instant; numbers are seconds or milliseconds since 1970, the rest is UTC or `zone`."""
    there = text(zone or "UTC")
    number = f"CASE WHEN abs({{0}}) >= {MILLISECONDS_FROM} THEN {{0}} / 1000.0 ELSE {{0}} END"
    bare = kind.partition("(")[0]
    if bare == "TIMESTAMP WITH TIME ZONE":
        return name
    if bare in INTEGERS | {"DOUBLE", "FLOAT", "DECIMAL"}:
        return f"to_timestamp({number.format(f'CAST({name} AS DOUBLE)')})"
    if bare in {"VARCHAR", "JSON"}:
        said = text_of(name, kind)
        told = number.format(f"TRY_CAST({said} AS DOUBLE)")
        return (
            f"CASE WHEN regexp_full_match({said}, '\\d{{9,}}(\\.\\d+)?') THEN to_timestamp({told}) "
            f"WHEN {has_zone(said)} THEN TRY_CAST({said} AS TIMESTAMPTZ) "
            f"ELSE timezone({there}, TRY_CAST({said} AS TIMESTAMP)) END"
        )
    return f"timezone({there}, TRY_CAST({name} AS TIMESTAMP))"


def text_of(name: str, kind: str) -> str:
    """Return the expression of a column as text, NULL where it is empty."""
    said = f"json_extract_string({name}, '$')" if kind == "JSON" else f"CAST({name} AS VARCHAR)"
    return f"nullif(trim({said}), '')"


def first_of(expressions: Sequence[str]) -> str:
    """Return the expression of the first of several that is not NULL; NULL where there are none."""
    return f"coalesce({', '.join(expressions)})" if expressions else NOTHING


def _wanted(columns: EventColumns, usual: Usual) -> dict[str, tuple[str, ...]]:
    """Return what is asked for → the columns to look at: the one that the experiment names, or the usual ones.

    Where it names the customer's column, the other kind of customer's id is not looked for.
    """
    named = {what: getattr(columns, what) for what in usual}
    out = {what: (named[what],) if named[what] else names for what, names in usual.items()}
    if named["id"] or named["person"]:
        for what in ("id", "person"):
            out[what] = (named[what],) if named[what] else ()
    return out


def _flattened(path: str, properties: Sequence[str]) -> tuple[str, ...]:
    """Return the columns in which a property stands where a warehouse has made columns of the properties."""
    return (path, *(f"{bag}{between}{path}" for bag in properties for between in (".", "_")))


def _renamed(kinds: Mapping[str, str]) -> str:
    """Return the columns under their own names, those that would meet ours under quotes of another kind."""
    return ", ".join(
        quoted(each) if each == "filename" else f"{quoted(each)} AS {_theirs(each)}" for each in kinds
    )


def _theirs(name: str) -> str:
    return quoted(f"their {name}")


def _first_text(kinds: Mapping[str, str], names: Sequence[str]) -> str:
    return first_of([text_of(_theirs(each), kinds[each]) for each in names if each in kinds])


def _bag(kinds: Mapping[str, str], names: Sequence[str]) -> str:
    """Return the expression of an event's properties as a JSON text."""
    found = []
    for each in (name for name in names if name in kinds):
        name, kind = _theirs(each), kinds[each]
        told = text_of(name, kind) if kind == "VARCHAR" else f"CAST(to_json({name}) AS VARCHAR)"
        found.append(f"CASE WHEN json_valid({told}) THEN {told} END")
    return first_of(found)


def _value(kinds: Mapping[str, str], flat: Sequence[str], bag: str, path: str) -> str:
    """Return the expression of a property: a column of its own, or what stands at `path` among the properties."""
    columns = [text_of(_theirs(each), kinds[each]) for each in flat if each in kinds]
    if bag != NOTHING:
        columns += [
            f"nullif(trim(json_extract_string({bag}, {text(each)})), '')" for each in pointers_to(path)
        ]
    return first_of(columns)


def _refuse_unreadable(con: Engine, wanted: Usual) -> None:
    for what, names in wanted.items():
        rows, path = con.one(f"SELECT count(*), min(filename) FROM told WHERE {what} IS NULL")
        if rows:
            raise DataError(
                f"{path}: {rows:,} rows have no {what} that can be read ({' or '.join(names)}); every event needs one"
            )
