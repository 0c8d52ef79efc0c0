"""Who really got the treatment: whom the experiment's messages reached, and who was served the offer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from toolkit.design.experiment import Experiment
from toolkit.lake.deliveries import reached_by
from toolkit.lake.engine import Engine, Stored, micros, micros_of, text, texts
from toolkit.lake.intake import complete_through
from toolkit.lake.same_people import count_merged
from toolkit.lake.tables import Lake

__all__ = ["Mixing", "mixing_of", "treated_by"]


@dataclass(frozen=True, slots=True)
class Mixing:
    """Customers who got what their arm should not get, since their assignment.

    Attributes:
        messaged: of the control, whom a message reached; None where nothing says whom it reached.
        served: of the control, who was served the offer; None likewise.
        either: of the control, of whom one or the other is true.
        served_elsewhere: of the treated arms, who was served a value that only other arms have.
        merged: of all arms, who turned out to be one person with a customer of another arm.
    """

    messaged: int | None
    served: int | None
    either: int
    served_elsewhere: int
    merged: int


def treated_by(con: Engine, lake: Lake, experiment: Experiment) -> tuple[str | None, str | None]:
    """Return the queries of (id, at): whom messages reached, and who was served the offer; None where unknown.

    Something is known where rows of this experiment are kept, or a pull has found that there are none.
    """
    return _messaged(con, lake, experiment), _served(con, lake, experiment)


def mixing_of(con: Engine, lake: Lake, experiment: Experiment, *, as_of_end: datetime) -> Mixing:
    """Return who got what the arm should not get, before `as_of_end`. Needs `ledger`."""
    messaged, served = treated_by(con, lake, experiment)
    control = list(experiment.arms).index(experiment.control)

    def count(*queries: str | None) -> int | None:
        known = [each for each in queries if each]
        if not known:
            return None
        told = " UNION ALL ".join(known)
        return int(
            con.one(
                f"SELECT count(DISTINCT e.id) FROM ({told}) e JOIN ledger l ON e.id = l.id "
                f"WHERE l.arm = {control} AND e.at >= l.assigned AND e.at < {micros_of(as_of_end)}"
            )[0]
        )

    return Mixing(
        count(messaged),
        count(served),
        count(messaged, served) or 0,
        _served_elsewhere(con, lake, experiment, as_of_end=as_of_end),
        count_merged(con, lake, experiment),
    )


def _served_elsewhere(con: Engine, lake: Lake, experiment: Experiment, *, as_of_end: datetime) -> int:
    stored = con.stored(lake, "exposures")
    if stored is None or not {"kind", "value"} <= set(con.columns(stored.sql)):
        return 0
    wrong = [
        f"l.arm = {place} AND e.kind = {text(f'flag:{trait.flag}')} AND e.value IN ({texts(others)})"
        for trait in experiment.traits
        if trait.flag
        for place, arm in enumerate(experiment.arms)
        if arm != experiment.control
        and (others := sorted(_values(experiment, trait.name) - _values(experiment, trait.name, arm)))
    ]
    if not wrong:
        return 0
    at = micros("e.timestamp")
    return int(
        con.one(
            f"SELECT count(DISTINCT e.id) FROM {stored.sql} e JOIN ledger l ON e.id = l.id "
            f"WHERE e.experiment = {text(experiment.key)} AND {at} >= l.assigned AND {at} < {micros_of(as_of_end)} "
            f"AND ({' OR '.join(f'({each})' for each in wrong)})"
        )[0]
    )


def _values(experiment: Experiment, name: str, arm: str | None = None) -> set[str]:
    """Return what a trait may be for customers of `arm` (or of any), as texts, its default left out."""
    trait = next(each for each in experiment.traits if each.name == name)
    arms = trait.treated_arms if arm is None else (arm,) if arm in trait.treated_arms else ()
    if trait.type == "band":
        return set(trait.bands) if arms else set()
    found = {trait.value_of(each, escalated=escalated) for each in arms for escalated in (False, True)}
    return {each if isinstance(each, str) else str(each).lower() for each in found}


def _messaged(con: Engine, lake: Lake, experiment: Experiment) -> str | None:
    ours = experiment.deliveries
    if ours is None:
        return None
    stored = con.stored(lake, "deliveries")
    if stored is None:
        return None if _pulled(con, lake, f"deliveries:{experiment.key}") is None else _nobody()
    query = reached_by(
        stored.sql, identity=experiment.identity.key, campaigns=ours.campaigns, newsletters=ours.newsletters
    )
    known = _pulled(con, lake, f"deliveries:{experiment.key}") or con.rows(
        f"SELECT 1 FROM ({query}) r LIMIT 1"
    )
    return query if known else None


def _served(con: Engine, lake: Lake, experiment: Experiment) -> str | None:
    stored = con.stored(lake, "exposures")
    pulled = _pulled(con, lake, f"exposures:{experiment.key}")
    if stored is None:
        return None if pulled is None else _nobody()
    query = _served_by(stored, experiment)
    return query if pulled or con.rows(f"SELECT 1 FROM ({query}) s LIMIT 1") else None


def _served_by(stored: Stored, experiment: Experiment) -> str:
    return (
        f"SELECT id, {micros('timestamp')} AS at FROM {stored.sql} WHERE experiment = {text(experiment.key)}"
    )


def _pulled(con: Engine, lake: Lake, source: str) -> datetime | None:
    return complete_through(lake, source, ["read"], con=con)


def _nobody() -> str:
    return "SELECT '' AS id, CAST(0 AS BIGINT) AS at WHERE false"
