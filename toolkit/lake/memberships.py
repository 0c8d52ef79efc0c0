"""The record of segments: who was put where, taken out, or refused, and when it was read back.

Only changes are appended; the latest word on a customer in a segment counts. A big segment does not list its
members, so that what is recorded here is all that is known of them.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any, Literal, NamedTuple

from toolkit.design.experiment import Experiment
from toolkit.design.reasons import Record
from toolkit.design.traits import TraitContract
from toolkit.lake.engine import connect, micros, micros_of, parquet, quoted, text, texts
from toolkit.lake.ledger import open_ledger
from toolkit.lake.tables import Lake, schema_of

__all__ = [
    "Membership",
    "State",
    "append_memberships",
    "append_protected",
    "claims_of",
    "delays_of",
    "protected_now",
    "read_protected",
    "read_record",
    "read_told",
    "segments_of",
    "stamp",
]

State = Literal["intended", "member", "removed", "refused"]
"""`intended`: about to be added to a big segment; `refused`: the vendor does not take this key."""


class Membership(NamedTuple):
    """One word on a customer in a segment. `due_at` is when it was due (UTC), where that is known."""

    segment: str
    id: str
    state: State
    due_at: datetime | None = None
    detail: str | None = None


def stamp() -> int:
    """Return the clock's nanoseconds, by which later rows are told from earlier ones."""
    return time.time_ns()


def append_memberships(
    lake: Lake, rows: Iterable[Membership], owners: Mapping[str, str], *, at: datetime, run: str
) -> None:
    """Append `rows` as one commit; without rows there is none. `owners`: segment → the key whose segment it is.

    Raises:
        StorageError: the disk or the object store refused.
    """
    import pyarrow as pa

    rows = list(rows)
    if not rows:
        return
    columns: dict[str, Any] = {
        "experiment": [owners[row.segment] for row in rows],
        "segment": [row.segment for row in rows],
        "id": [row.id for row in rows],
        "state": [row.state for row in rows],
        "detail": [row.detail for row in rows],
        "due_at": [row.due_at for row in rows],
        "at": [at] * len(rows),
        "run": [run] * len(rows),
        "written": [stamp()] * len(rows),
    }
    lake.append("memberships", pa.table(columns, schema=schema_of("memberships")))


def read_record(lake: Lake, owners: Mapping[str, str]) -> dict[str, Record]:
    """Return segment → what we know to have done there, for the segments of `owners` (segment → owner's key)."""
    files = [name for owner in set(owners.values()) for name in lake.files("memberships", experiment=owner)]
    if not files:
        return {segment: Record() for segment in owners}
    whose = " OR ".join(
        f"(segment = {text(segment)} AND experiment = {text(owner)})" for segment, owner in owners.items()
    )
    with connect() as con:
        con.table(
            "latest",
            "SELECT segment, id, arg_max(state, written) AS state, arg_max(detail, written) AS detail "
            f"FROM {parquet(files)} WHERE {whose} GROUP BY segment, id",
        )
        found = {
            (segment, state): ids
            for segment, state, ids in con.rows("SELECT segment, state, list(id) FROM latest GROUP BY ALL")
        }
        refused = con.rows("SELECT segment, id, coalesce(detail, '') FROM latest WHERE state = 'refused'")
    return {
        segment: Record(
            members=frozenset(found.get((segment, "member"), ())),
            removed=frozenset(found.get((segment, "removed"), ())),
            intended=frozenset(found.get((segment, "intended"), ())),
            refused={customer: said for where, customer, said in refused if where == segment},
        )
        for segment in owners
    }


def claims_of(lake: Lake, segments: Collection[str], *, but: str) -> dict[str, dict[str, int]]:
    """Return segment → key of another experiment than `but` → how many members of it are recorded there.

    A customer is there for the experiment that had the last word on them: what one push removed is no other's any more.
    """
    files = lake.files("memberships") if segments else []
    if not files:
        return {}
    with connect() as con:
        rows = con.rows(
            "SELECT segment, holder, count(*) FROM (SELECT segment, id, arg_max(experiment, written) AS holder FROM "
            f"{parquet(files)} WHERE segment IN ({texts(segments)}) GROUP BY segment, id "
            f"HAVING arg_max(state, written) IN ('member', 'intended')) WHERE holder <> {text(but)} "
            "GROUP BY ALL ORDER BY ALL"
        )
    found: dict[str, dict[str, int]] = {}
    for segment, key, count in rows:
        found.setdefault(segment, {})[key] = count
    return found


def segments_of(lake: Lake, key: str) -> frozenset[str]:
    """Return every segment in which something was ever done for an experiment."""
    files = lake.files("memberships", experiment=key)
    if not files:
        return frozenset()
    with connect() as con:
        rows = con.rows(f"SELECT DISTINCT segment FROM {parquet(files)} WHERE experiment = {text(key)}")
    return frozenset(str(row[0]) for row in rows)


def append_protected(lake: Lake, key: str, protected: Mapping[str, bool], *, at: datetime) -> None:
    """Append what is known now of customers: whether they must not be offered anything."""
    import pyarrow as pa

    if protected:
        columns: dict[str, Any] = {
            "experiment": [key] * len(protected),
            "id": list(protected),
            "protected": list(protected.values()),
            "at": [at] * len(protected),
            "written": [stamp()] * len(protected),
        }
        lake.append("protected", pa.table(columns, schema=schema_of("protected")))


def read_protected(lake: Lake, key: str) -> dict[str, bool]:
    """Return customer → whether they must not be offered anything, as it was known last."""
    files = lake.files("protected", experiment=key)
    if not files:
        return {}
    with connect() as con:
        return dict(
            con.rows(
                f"SELECT id, arg_max(protected, written) FROM {parquet(files)} "
                f"WHERE experiment = {text(key)} GROUP BY id"
            )
        )


def read_told(lake: Lake, key: str, *, since: int) -> list[tuple[str, str, str]]:
    """Return (customer, attributes as JSON, state) of what Customer.io was told, in order.

    `since` is the clock's nanoseconds from which on it was written.
    """
    files = lake.files("ready", experiment=key)
    if not files or not lake.has("ready", "written"):  # all of it is older than the column
        return []
    with connect() as con:
        return con.rows(
            f"SELECT id, attributes, state FROM {parquet(files)} WHERE experiment = {text(key)} "
            f'AND written >= {since} ORDER BY written, "at"'
        )


def protected_now(lake: Lake, key: str) -> frozenset[str]:
    """Return the customers who must not be offered anything, as it was known last."""
    files = lake.files("protected", experiment=key)
    if not files:
        return frozenset()
    with connect() as con:
        rows = con.rows(
            f"SELECT id FROM {parquet(files)} WHERE experiment = {text(key)} "
            "GROUP BY id HAVING arg_max(protected, written)"
        )
    return frozenset(str(row[0]) for row in rows)


def delays_of(
    lake: Lake, experiment: Experiment, spec: str, trait: TraitContract, *, until: datetime
) -> tuple[list[float], list[float]]:
    """Return seconds from due to read back, and for how long those have waited who are still to get the trait.

    One number per customer, of what happened before `until`. Whoever is protected waits for nothing.
    """
    segments, end, read_at = texts(trait.segments()), micros_of(until), micros(quoted("at"))
    files = lake.files("memberships", experiment=experiment.key)
    known = (
        f"SELECT * FROM {parquet(files)} WHERE experiment = {text(experiment.key)} "
        f"AND segment IN ({segments}) AND {read_at} <= {end}"
        if files
        else "SELECT '' AS id, '' AS state, NULL::TIMESTAMPTZ AS due_at, NULL::TIMESTAMPTZ AS \"at\" WHERE false"
    )
    spared = [
        customer for customer, is_protected in read_protected(lake, experiment.key).items() if is_protected
    ]
    places = [str(at) for at, arm in enumerate(experiment.arms) if arm in trait.treated_arms]
    with connect() as con:
        open_ledger(con, lake, experiment, spec, as_of_end=until)
        con.table("known", known)
        _register(con, "spared", spared)
        through = con.rows(
            f"SELECT ({read_at} - {micros('due_at')}) / 1e6 FROM known "
            "WHERE state = 'member' AND due_at IS NOT NULL"
        )
        waiting = con.rows(
            f"SELECT ({end} - l.assigned) / 1e6 FROM ledger l WHERE l.arm IN ({', '.join(places)}) "
            "AND l.id NOT IN (SELECT id FROM spared) "
            "AND l.id NOT IN (SELECT id FROM known WHERE state <> 'intended')"
        )
    return [row[0] for row in through], [row[0] for row in waiting]


def _register(con: Any, name: str, ids: Sequence[str] | AbstractSet[str]) -> None:
    import pyarrow as pa

    con.con.register(name, pa.table({"id": pa.array(list(ids), pa.string())}))
