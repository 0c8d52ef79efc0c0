"""Enrolment: who of a cohort is new, and the one pass that assigns them and writes the ledger.

Customers stream from where they stand into the ledger's file: what is done for each is one hash for the arm, and
one that shows repeats. Only who must be compared with others (assigned before, held out of everything, or claimed
by another experiment of the layer) is kept in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from toolkit.design.assignment import TOTAL_WEIGHT, bounds_of, held_out_below, weights_of
from toolkit.design.experiment import Experiment
from toolkit.errors import DataError, LedgerError
from toolkit.lake.cohort import attributes_wanted
from toolkit.lake.copying import append_query
from toolkit.lake.engine import Engine, instant, parquet, text, texts
from toolkit.lake.tables import Lake

__all__ = [
    "OPEN_ARM",
    "Enrolment",
    "MatchReport",
    "count_assigned",
    "enrol",
    "find_new",
    "refuse_redraw",
    "refuse_without_universal",
    "report_matches",
]

OPEN_ARM = "open"
"""In the universal holdout's ledger: customers who may be in experiments."""
FIRST = 1_000
"""So many customers tell whether a universal holdout was in force."""
UNLIKELY = 1e-3
NOBODY = "SELECT CAST(NULL AS VARCHAR) AS id WHERE false"


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
    """Create `customers(id, attributes)` and return how the relation `qualified(id, email, attributes)` meets the key.

    Ids may be missing or repeated in `qualified`; `customers` has each once, with the first attributes it has.

    Raises:
        DataError: a part of it cannot be read.
    """
    try:
        return _match(con)
    except con.errors as refused:
        raise DataError(f"the cohort cannot be read: {str(refused).splitlines()[0]}") from None


def _match(con: Engine) -> MatchReport:
    people = int(con.one("SELECT count(*) FROM qualified")[0])
    signed = f"SELECT {con.sign('id')} AS sign FROM qualified WHERE id <> ''"
    repeats, keyed = con.repeated("qualified_repeats", signed, at_most=people)
    everyone, repeated = "SELECT id, attributes FROM qualified WHERE id <> ''", 0
    if repeats:
        again = f"{con.sign('id')} IN (SELECT sign FROM qualified_repeats)"
        con.table(
            "qualified_again",
            "SELECT id, arg_min(attributes, line) AS attributes, count(*) AS rows "
            f"FROM (SELECT id, attributes, {con.line('qualified')} AS line FROM qualified) "
            f"WHERE id <> '' AND {again} GROUP BY id",
        )
        everyone += f" AND NOT ({again}) UNION ALL SELECT id, attributes FROM qualified_again"
        repeated = int(con.one("SELECT sum(rows - 1) FROM qualified_again")[0])
    con.view("customers", everyone)
    without = people - keyed
    reachable = "SELECT count(*) FROM qualified WHERE coalesce(id, '') = '' AND coalesce(email, '') <> ''"
    email_only = int(con.one(reachable)[0]) if without else 0
    return MatchReport(people, keyed - repeated, without, email_only, repeated)


def refuse_redraw(con: Engine, lake: Lake, experiment: Experiment, spec: str) -> None:
    """Refuse a seed or shares other than those of the first enrolment; what others assign has neither.

    Raises:
        LedgerError: they changed; says what they were.
    """
    if experiment.assignment.source == "files":
        return
    _refuse_other(con, lake, experiment.key, experiment.prefix, experiment.arms, f"{spec}: seed and arms")
    held = experiment.cohort.universal_holdout if experiment.cohort else None
    if held:
        shares = _universal_shares(held.share)
        _refuse_other(con, lake, held.key, held.key, shares, f"{spec}: cohort.universal_holdout")


def refuse_without_universal(con: Engine, lake: Lake, experiment: Experiment, spec: str) -> None:
    """Refuse to go on without the universal holdout that was in force when the first customers were enrolled.

    The ledger says so where all of them stand in its other arm, and were written there in the same run, or are too
    many for that to be chance.

    Raises:
        LedgerError: the file names none any more; says which it was.
    """
    held = experiment.cohort.universal_holdout if experiment.cohort else None
    own, everybody = lake.files("assignments", experiment=experiment.key), lake.files("assignments")
    if (
        experiment.assignment.source == "files"
        or held
        or not own
        or not {"prefix", "shares"} <= set(con.columns(parquet(everybody)))
    ):
        return
    con.table(
        "first_enrolled",
        f"SELECT CAST(id AS VARCHAR) AS id, assigned_at FROM {parquet(own)} "
        f"WHERE experiment = {text(experiment.key)} LIMIT {FIRST}",
    )
    enrolled = int(con.one("SELECT count(DISTINCT id) FROM first_enrolled")[0])
    found = con.rows(
        "SELECT l.experiment, min(l.shares), count(DISTINCT l.id), bool_or(l.assigned_at = f.assigned_at) "
        f"FROM {parquet(everybody)} l JOIN first_enrolled f ON f.id = l.id WHERE l.arm = {text(OPEN_ARM)} "
        f"AND l.shares LIKE '{{\"holdout\": %' AND l.prefix = l.experiment AND l.experiment <> {text(experiment.key)} "
        "GROUP BY 1 ORDER BY 1"
    )
    for key, written, known, together in found:
        weights = json.loads(written)
        chance = (1 - weights.get("holdout", 0) / TOTAL_WEIGHT) ** enrolled
        if set(weights) == {"holdout", OPEN_ARM} and known == enrolled and (together or chance < UNLIKELY):
            share = weights["holdout"] / TOTAL_WEIGHT
            raise LedgerError(
                f"{spec}: cohort.universal_holdout: is gone, and {experiment.key} has enrolled only customers outside "
                f"of {key}, whose members are in nothing; put it back (`universal_holdout: {{key: {key}, share: "
                f"{share:g}}}`), or start a new experiment under a new key"
            )


def count_assigned(con: Engine, lake: Lake, key: str) -> int:
    """Return how many rows the ledger has of the experiment `key`."""
    return int(con.one(f"SELECT count(*) FROM ({_assigned(lake, key)})")[0])


def find_new(
    con: Engine, lake: Lake, experiment: Experiment, rivals: Sequence[str], customers: int
) -> tuple[int, int, int]:
    """Create `fresh(id, held)` and `admitted(id, attributes)` from the relation `customers`, of so many rows.

    `fresh` are those not assigned yet, `held` in the universal holdout; `admitted` are the others of them, with
    what is known of them. `rivals` are the other experiments of the layer whose enrolment overlaps: each customer
    belongs to the one whose own hash is largest, and stays where the ledger already has them.

    Returns:
        customers assigned before, customers newly in the universal holdout, customers of other experiments.
    """
    known, candidates = 0, "customers"
    if _has_rows(con, "assigned", _assigned(lake, experiment.key)):
        candidates = "newcomers"
        con.table(candidates, "SELECT id, attributes FROM customers ANTI JOIN assigned USING (id)")
        known = customers - int(con.one(f"SELECT count(*) FROM {candidates}")[0])
    held = experiment.cohort.universal_holdout if experiment.cohort else None
    layer = experiment.cohort.layer if experiment.cohort else None
    theirs = []
    if layer and _has_rows(con, "taken", _taken(con, lake, experiment.key, layer)):
        theirs.append("id IN (SELECT id FROM taken)")
    if layer:
        theirs += [f"{_digits(f'{layer}.{rival}')} > mine" for rival in rivals]
    if not held and not theirs:
        con.view("fresh", f"SELECT id, false AS held FROM {candidates}")
        con.view("admitted", f"SELECT id, attributes FROM {candidates}")
        return known, 0, 0
    out = f"{_digits(held.key)} < {text(held_out_below(held.share))}" if held else "false"
    mine = _digits(f"{layer}.{experiment.key}") if rivals else "''"
    con.table(
        "screened",
        f"SELECT id, held, NOT held AND ({' OR '.join(theirs) or 'false'}) AS elsewhere "
        f"FROM (SELECT id, {out} AS held, {mine} AS mine FROM {candidates})",
    )
    con.view("fresh", "SELECT id, held FROM screened WHERE NOT elsewhere")
    whom = "SEMI JOIN (SELECT id FROM fresh WHERE NOT held) USING (id)"
    con.view("admitted", f"SELECT id, attributes FROM {candidates} {whom}")
    universal, elsewhere = con.one(
        "SELECT count(*) FILTER (WHERE held), count(*) FILTER (WHERE elsewhere) FROM screened"
    )
    return known, int(universal), int(elsewhere)


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
    takes those of `admitted`.

    Raises:
        StorageError: the disk or the object store refused.
    """
    known, universal, elsewhere = counts
    held = experiment.cohort.universal_holdout if experiment.cohort else None
    layer = experiment.cohort.layer if experiment.cohort else None
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
    elif attributes_wanted(experiment):
        recorded = f"SELECT id, {instant(at)} AS recorded_at, attributes FROM admitted"
        append_query(
            con, lake, "people", f"{recorded} WHERE attributes IS NOT NULL", experiment=experiment.key
        )
    if held:
        shares = _universal_shares(held.share)
        arm = f"CASE WHEN held THEN {_one_of('holdout', shares)} ELSE {_one_of(OPEN_ARM, shares)} END"
        before = _has_rows(con, "looked_at", _assigned(lake, held.key))
        whom = "fresh ANTI JOIN looked_at USING (id)" if before else "fresh"
        drawn = f"SELECT id, {arm} AS arm, {_drawn_with(at, held.key, shares, None)} FROM {whom}"
        append_query(con, lake, "assignments", drawn, experiment=held.key)
    arms, bounds = experiment.arms, bounds_of(experiment.arms)
    below = " ".join(
        f"WHEN place < {text(each.below)} THEN {_one_of(each.arm, arms)}" for each in bounds[:-1]
    )
    drawn = (
        f"SELECT id, CASE {below} ELSE {_one_of(bounds[-1].arm, arms)} END AS arm, "
        f"{_drawn_with(at, experiment.prefix, arms, layer)} "
        f"FROM (SELECT id, {_digits(experiment.prefix)} AS place FROM fresh WHERE NOT held)"
    )
    assigned = append_query(con, lake, "assignments", drawn, experiment=experiment.key, arms=list(arms))
    return Enrolment({arm: assigned.get(arm, 0) for arm in arms}, known, universal, elsewhere)


def _drawn_with(at: datetime, prefix: str, shares: Mapping[str, float], layer: str | None) -> str:
    """Return the ledger's columns that say when and how arms were drawn, the same for all rows; without a layer none."""
    written = _written(shares)
    return (
        f"{instant(at)} AS assigned_at, {_one_of(prefix, [prefix])} AS prefix, "
        f"{_one_of(written, [written])} AS shares{f', {_one_of(layer, [layer])} AS layer' if layer else ''}"
    )


def _one_of(value: str, values: Iterable[str]) -> str:
    """Return `value` as SQL, as one of the enumeration of `values`."""
    return f"CAST({text(value)} AS ENUM({texts(values)}))"


def _digits(prefix: str) -> str:
    """Return the SQL of the digest that begins with design.assignment.digits.

    Compared as text with the 15 digits of a bound, the 40 of the digest fall on the side of their first 15:
    where those equal the bound, the longer text is the larger, so that neither is below it.
    """
    return f"sha1({text(prefix + '.')} || id)"


def _has_rows(con: Engine, name: str, query: str) -> bool:
    """Give the query a name, and return whether it has rows."""
    con.view(name, query)
    return bool(con.rows(f"SELECT 1 FROM {name} LIMIT 1"))


def _assigned(lake: Lake, key: str) -> str:
    files = lake.files("assignments", experiment=key)
    if not files:
        return NOBODY
    return f"SELECT CAST(id AS VARCHAR) AS id FROM {parquet(files)} WHERE experiment = {text(key)}"


def _taken(con: Engine, lake: Lake, key: str, layer: str) -> str:
    """Return the query of the customers whom other experiments of the layer have already."""
    files = lake.files("assignments")
    if not files or "layer" not in con.columns(parquet(files)):
        return NOBODY
    others = f"layer = {text(layer)} AND experiment <> {text(key)} AND id IS NOT NULL"
    return f"SELECT CAST(id AS VARCHAR) AS id FROM {parquet(files)} WHERE {others}"


def _universal_shares(share: float) -> dict[str, float]:
    return {"holdout": share, OPEN_ARM: 1 - share}


def _written(shares: Mapping[str, float]) -> str:
    return json.dumps(weights_of(shares))


def _refuse_other(
    con: Engine, lake: Lake, key: str, prefix: str, shares: Mapping[str, float], what: str
) -> None:
    files = lake.files("assignments", experiment=key)
    if not files or not {"prefix", "shares"} <= set(con.columns(parquet(files))):
        return
    written = _written(shares)
    other = [f"{name} <> {text(was)}" for name, was in (("prefix", prefix), ("shares", written))]
    ours = f"{parquet(files)} WHERE experiment = {text(key)}"
    # apart from one another, files' own extremes answer both without a look at the rows
    if not any(con.rows(f"SELECT 1 FROM {ours} AND {each} LIMIT 1") for each in other):
        return
    drawn = set(con.rows(f"SELECT DISTINCT prefix, shares FROM {ours} AND prefix IS NOT NULL"))
    before = " and ".join(f"seed {each!r} with {was}" for each, was in sorted(drawn))
    raise LedgerError(
        f"{what} changed after the first enrolment of {key}: it was {before}, and is {prefix!r} with {written}; "
        "assignments are never re-drawn. Put them back, or start a new experiment under a new key"
    )
