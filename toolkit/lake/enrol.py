"""Enrolment: who of a cohort is new, and the one pass that assigns them and writes the ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from toolkit.design.assignment import bounds_of, held_out_below, weights_of
from toolkit.design.experiment import Experiment
from toolkit.errors import LedgerError
from toolkit.lake.engine import Engine, instant, parquet, text
from toolkit.lake.tables import Lake

__all__ = ["OPEN_ARM", "Enrolment", "MatchReport", "enrol", "find_new", "refuse_redraw", "report_matches"]

OPEN_ARM = "open"
"""In the universal holdout's ledger: customers who may be in experiments."""


@dataclass(frozen=True, slots=True)
class MatchReport:
    """How a cohort meets the identity key.

    Attributes:
        people: rows that the source gave.
        with_key: distinct customers who have the key.
        without_key: rows that lack it; they cannot be assigned, targeted or measured.
        email_only: rows among them that have an e-mail address.
        repeated: rows beyond a customer's first.
    """

    people: int
    with_key: int
    without_key: int
    email_only: int
    repeated: int


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an assignment run did.

    Attributes:
        assigned: arm → customers newly assigned.
        known: customers of the cohort who were assigned before.
        universal: customers newly found in the universal holdout.
        elsewhere: customers who belong to another experiment of the layer.
    """

    assigned: dict[str, int]
    known: int
    universal: int
    elsewhere: int


def report_matches(con: Engine) -> MatchReport:
    """Return how the relation `qualified(id, email)` meets the key; ids may be missing or repeated."""
    people, with_key, without, email_only = con.one(
        "SELECT count(*), count(DISTINCT nullif(id, '')), count(*) FILTER (coalesce(id, '') = ''), "
        "count(*) FILTER (coalesce(id, '') = '' AND coalesce(email, '') <> '') FROM qualified",
    )
    return MatchReport(people, with_key, without, email_only, people - without - with_key)


def refuse_redraw(lake: Lake, experiment: Experiment, spec: str) -> None:
    """Refuse a seed or shares other than those of the first enrolment.

    Raises:
        LedgerError: they changed; says what they were.
    """
    _refuse_other(lake, experiment.key, experiment.prefix, experiment.arms, f"{spec}: seed and arms")
    held = experiment.cohort.universal_holdout if experiment.cohort else None
    if held:
        shares = _universal_shares(held.share)
        _refuse_other(lake, held.key, held.key, shares, f"{spec}: cohort.universal_holdout")


def find_new(con: Engine, lake: Lake, experiment: Experiment, rivals: Sequence[str]) -> tuple[int, int, int]:
    """Create `fresh(id, held)`: customers of `qualified` not assigned yet; `held` in the universal holdout.

    `rivals` are the other experiments of the layer whose enrolment overlaps: each customer belongs to the one
    whose own hash is largest, and stays where the ledger already has them.

    Returns:
        customers assigned before, customers newly in the universal holdout, customers of other experiments.
    """
    cohort = experiment.cohort
    held = cohort.universal_holdout if cohort else None
    layer = cohort.layer if cohort else None
    con.view("assigned", _assigned(lake, experiment.key))
    con.run(
        "CREATE OR REPLACE TEMP TABLE candidates AS SELECT DISTINCT id FROM qualified "
        "WHERE coalesce(id, '') <> '' AND id NOT IN (SELECT id FROM assigned WHERE id IS NOT NULL)"
    )
    known = con.one("SELECT count(DISTINCT id) FROM qualified SEMI JOIN assigned USING (id)")[0]
    out = f"{_digits(held.key)} < {text(held_out_below(held.share))}" if held else "false"
    theirs = "false"
    if layer:
        mine = _digits(f"{layer}.{experiment.key}")
        beaten = [f"{_digits(f'{layer}.{rival}')} > {mine}" for rival in rivals]
        taken = pa.table({"id": pa.array(_taken(lake, experiment.key, layer), pa.string())})
        con.con.register("taken", taken)
        theirs = " OR ".join(["id IN (SELECT id FROM taken WHERE id IS NOT NULL)", *beaten])
    con.run(
        f"CREATE OR REPLACE TEMP TABLE fresh AS SELECT id, held FROM (SELECT id, {out} AS held, "
        f"NOT {out} AND ({theirs}) AS elsewhere FROM candidates) WHERE NOT elsewhere"
    )
    kept, universal = con.one("SELECT count(*), count(*) FILTER (held) FROM fresh")
    return known, universal, con.one("SELECT count(*) FROM candidates")[0] - kept


def enrol(
    con: Engine,
    lake: Lake,
    experiment: Experiment,
    counts: tuple[int, int, int],
    attributes: Mapping[str, Mapping[str, object]] | None,
    *,
    at: datetime,
) -> Enrolment:
    """Assign everyone of `fresh` in one pass and write people, the universal holdout, then the ledger.

    `attributes` (customer → what is known now) are kept as they are; later changes do not reach them. None
    takes the column `attributes` of `qualified`.
    """
    known, universal, elsewhere = counts
    held = experiment.cohort.universal_holdout if experiment.cohort else None
    layer = experiment.cohort.layer if experiment.cohort else None
    when = instant(at)
    bounds = bounds_of(experiment.arms)
    place = _digits(experiment.prefix)
    arms = " ".join(f"WHEN {place} < {text(bound.below)} THEN {text(bound.arm)}" for bound in bounds[:-1])
    arm = f"CASE {arms} ELSE {text(bounds[-1].arm)} END"
    con.run(f"CREATE OR REPLACE TEMP TABLE drawn AS SELECT id, {arm} AS arm FROM fresh WHERE NOT held")
    assigned = dict(con.rows("SELECT arm, count(*) FROM drawn GROUP BY arm"))
    if attributes is not None:
        lake.append_rows(
            "people",
            [
                {
                    "experiment": experiment.key,
                    "id": each,
                    "recorded_at": at,
                    "attributes": json.dumps(known_of, default=str),
                }
                for each, known_of in sorted(attributes.items())
            ],
        )
    elif con.one("SELECT count(*) FROM drawn SEMI JOIN qualified USING (id) WHERE id <> ''")[0]:
        _append(
            con,
            lake,
            "people",
            f"SELECT {text(experiment.key)} AS experiment, id, {when} AS recorded_at, first(attributes) AS attributes "
            "FROM drawn JOIN qualified USING (id) WHERE attributes IS NOT NULL GROUP BY id",
        )
    if held:
        shares = _universal_shares(held.share)
        con.view("screened", _assigned(lake, held.key))
        _append(
            con,
            lake,
            "assignments",
            f"SELECT {text(held.key)} AS experiment, id, "
            f"CASE WHEN held THEN 'holdout' ELSE {text(OPEN_ARM)} END AS arm, "
            f"{when} AS assigned_at, {text(held.key)} AS prefix, {text(_written(shares))} AS shares, "
            "CAST(NULL AS VARCHAR) AS layer FROM fresh ANTI JOIN screened USING (id)",
        )
    _append(
        con,
        lake,
        "assignments",
        f"SELECT {text(experiment.key)} AS experiment, id, arm, {when} AS assigned_at, "
        f"{text(experiment.prefix)} AS prefix, {text(_written(experiment.arms))} AS shares, "
        f"CAST({text(layer) if layer else 'NULL'} AS VARCHAR) AS layer FROM drawn",
    )
    return Enrolment({arm: int(assigned.get(arm, 0)) for arm in experiment.arms}, known, universal, elsewhere)


def _append(con: Engine, lake: Lake, table: str, query: str) -> None:
    if con.one(f"SELECT count(*) FROM ({query})")[0]:
        lake.append(table, con.stream(query))


def _digits(prefix: str) -> str:
    """Return the SQL of design.assignment.digits."""
    return f"substr(sha1({text(prefix + '.')} || id), 1, 15)"


def _assigned(lake: Lake, key: str) -> str:
    files = lake.files("assignments", experiment=key)
    if not files:
        return "SELECT CAST(NULL AS VARCHAR) AS id WHERE false"
    return f"SELECT CAST(id AS VARCHAR) AS id FROM {parquet(files)} WHERE experiment = {text(key)}"


def _taken(lake: Lake, key: str, layer: str) -> list[str]:
    """Return the customers whom other experiments of the layer have already."""
    rows = (
        lake.read("assignments", ["experiment", "id"], layer=layer)
        if lake.has("assignments", "layer")
        else None
    )
    return [] if rows is None else [row["id"] for row in rows.to_pylist() if row["experiment"] != key]


def _universal_shares(share: float) -> dict[str, float]:
    return {"holdout": share, OPEN_ARM: 1 - share}


def _written(shares: Mapping[str, float]) -> str:
    return json.dumps(weights_of(shares))


def _refuse_other(lake: Lake, key: str, prefix: str, shares: Mapping[str, float], what: str) -> None:
    rows = lake.read("assignments", ["experiment", "prefix", "shares"], experiment=key)
    written = _written(shares)
    drawn = {
        (row["prefix"], row["shares"])
        for row in rows.group_by(["prefix", "shares"]).aggregate([]).to_pylist()
        if row["prefix"] is not None
    }
    if not drawn or drawn == {(prefix, written)}:
        return
    before = " and ".join(f"seed {each!r} with {was}" for each, was in sorted(drawn))
    raise LedgerError(
        f"{what} changed after the first enrolment of {key}: it was {before}, and is {prefix!r} with {written}; "
        "assignments are never re-drawn. Put them back, or start a new experiment under a new key"
    )
