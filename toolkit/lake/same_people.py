"""People who turned out to be one: the ledger keeps them all, and where their arms differ, that is a crossover.

Customer.io merges people by deleting one of them. What was drawn for each stays as it was drawn, so that the arms
stay random; but whoever was held out as one and treated as the other is held out of nothing any more.

A row of the table `same_people` puts a customer under the name of a person, who is one of them. Where two persons
turn out to be one, their customers get new rows: under the person's latest name stand all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime

from toolkit.design.experiment import Experiment
from toolkit.lake.engine import Engine, connect, parquet, text
from toolkit.lake.sync_tables import Sync, identity_of, open_tables, rows_of
from toolkit.lake.tables import Lake

__all__ = ["count_merged", "grouped", "held_as_another", "keep_same_people"]


def keep_same_people(lake: Lake, sync: Sync, experiment: Experiment, *, at: datetime) -> int:
    """Keep who turned out to be one person; return how many customers got a person anew.

    That is where one person had several identifiers one after the other, or where a deleted person's e-mail address
    is that of exactly one who is there: merging people deletes the one, and leaves the address to the other.
    """
    key = experiment.identity.key
    if "people" not in sync.files:
        return 0
    named = {"id": "customer_id", "email": "lower(trim(email_addr))", "cio_id": "internal_customer_id"}[key]
    with connect() as con:
        told = rows_of(con, sync.files["people"], "people")
        open_tables(con, sync, "people")
        con.table(
            "known",
            f"SELECT {identity_of(key)} AS id, lower(trim(e.email)) AS address, e.deleted FROM sync.everyone e "
            f"WHERE {identity_of(key)} <> '' AND trim(e.email) <> ''",
        )
        files = lake.files("same_people")
        before = (
            con.rows(f"SELECT id, person FROM {parquet(files)} WHERE id_type = {text(key)}") if files else []
        )
        found = con.rows(
            "SELECT id, min(id) OVER (PARTITION BY internal_customer_id) AS other FROM "
            f"(SELECT DISTINCT internal_customer_id, {named} AS id FROM ({told}) WHERE {named} <> '') "
            "QUALIFY id <> other UNION ALL "
            "SELECT gone.id, here.id AS other FROM known gone JOIN "
            "(SELECT address, min(id) AS id FROM known WHERE NOT deleted GROUP BY address HAVING count(*) = 1) here "
            "USING (address) WHERE gone.id <> here.id"  # only one is there, so the others are gone
        )
    fresh = grouped([*before, *found]).items() - set(before)
    lake_rows = [
        {"id": each, "person": person, "id_type": key, "seen_at": at} for each, person in sorted(fresh)
    ]
    if lake_rows:
        lake.append_rows("same_people", lake_rows)
    return len({each for each, person in fresh if each != person})


def grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return id → the first, in order, of all ids that `pairs` lead to from it."""
    above: dict[str, str] = {}

    def top(each: str) -> str:
        while (over := above.setdefault(each, each)) != each:
            above[each] = above[over]
            each = over
        return each

    for one, other in pairs:
        low, high = sorted((top(one), top(other)))
        above[high] = low
    return {each: top(each) for each in list(above)}


def count_merged(con: Engine, lake: Lake, experiment: Experiment) -> int:
    """Return how many customers of `ledger` are one person with a customer of another arm. Needs `ledger`."""
    stored = con.stored(lake, "same_people")
    if stored is None:
        return 0
    ours = f"SELECT id, person FROM {stored.sql} WHERE id_type = {text(experiment.identity.key)}"
    mixed = (
        f"SELECT s.person FROM ({ours}) s JOIN ledger l ON l.id = s.id "
        "GROUP BY s.person HAVING min(l.arm) <> max(l.arm)"
    )
    return int(
        con.one(
            f"SELECT count(DISTINCT s.id) FROM ({ours}) s JOIN ledger l ON l.id = s.id "
            f"WHERE s.person IN ({mixed})"
        )[0]
    )


def held_as_another(
    lake: Lake, experiment: Experiment, arms: Mapping[str, str], *, universal: AbstractSet[str] = frozenset()
) -> frozenset[str]:
    """Return the customers who are treated, and one person with somebody held out: they must not be offered anything.

    `arms` is customer → arm; held out is the control, and who is in the `universal` holdout. Where two arms meet in
    one person, the holdout's side wins: what is held back can be given later, and what was given cannot be taken
    back.
    """
    with connect() as con:
        same = con.stored(lake, "same_people")
        if same is None:
            return frozenset()
        met = con.rows(f"SELECT id, person FROM {same.sql} WHERE id_type = {text(experiment.identity.key)}")
    control = experiment.control
    held = {person for each, person in met if arms.get(each) == control or each in universal}
    return frozenset(each for each, person in met if person in held and arms.get(each, control) != control)
