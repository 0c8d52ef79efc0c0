"""The attribute look-up: trait values by customer, for applications that put them into their own context."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from toolkit.design.experiment import Experiment
from toolkit.design.sync import is_large

__all__ = ["ROW_COLUMNS", "Lookup", "Previous", "Values", "values_of"]

Values = Mapping[str, bool | str]
"""Trait → value, of one customer."""
ROW_COLUMNS = ("experiment", "schema", "version", "generated_at", "max_age_seconds")
"""What every row says besides the customer's id and values."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Previous:
    """The look-up that stands where a new one is to be: whose it is, its version, and its customers."""

    experiment: str
    version: int
    customers: AbstractSet[str]


@dataclass(frozen=True, slots=True)
class Lookup:
    """Trait values by customer. Whoever is missing has every trait's default.

    Attributes:
        version: greater than that of every look-up before it.
        generated_at: when what it rests on was read (UTC).
        customers: customer → trait → value, of whoever has more than defaults.
        leaving: how many customers of the version before it are missing now.
        before: how many customers the version before it had.
    """

    experiment: Experiment
    version: int
    generated_at: datetime
    customers: Mapping[str, Values]
    leaving: int = 0
    before: int = 0

    @classmethod
    def of(
        cls,
        experiment: Experiment,
        customers: Mapping[str, Values],
        previous: Previous | None,
        *,
        at: datetime,
    ) -> Lookup:
        """Return the look-up that follows `previous`.

        Its version is the time in whole seconds, or one more than the version before: it rises also where the
        file before was lost, or the clock was set back.
        """
        known = previous.customers if previous else frozenset()
        seconds = (at - _EPOCH).days * 86_400 + (at - _EPOCH).seconds
        version = max(previous.version + 1, seconds) if previous else seconds
        return cls(experiment, version, at, customers, len(known - customers.keys()), len(known))

    @property
    def is_large_removal(self) -> bool:
        """Return whether more than a fifth of the customers, and more than 100, would lose what they have."""
        return is_large(self.leaving, self.before)

    @property
    def counts(self) -> dict[str, dict[bool | str, int]]:
        """Return trait → value → customers who have it, without defaults."""
        counts: dict[str, dict[bool | str, int]] = {
            trait.name: dict.fromkeys(trait.positive_values, 0) for trait in self.experiment.traits
        }
        for told in self.customers.values():
            for name, value in told.items():
                if value in counts[name]:
                    counts[name][value] += 1
        return counts

    def contracts(self) -> dict[str, dict[str, Any]]:
        """Return trait → what a reader has to know of it, JSON-ready."""
        return {
            trait.name: {
                "type": trait.type,
                "values": list(trait.positive_values),
                "default": trait.default,
                "schema": trait.schema_version,
                "max_age_seconds": round(trait.age_limit.total_seconds()),
                "flag": trait.flag,
                "meaning": trait.meaning,
            }
            for trait in self.experiment.traits
        }

    def head(self) -> dict[str, Any]:
        """Return what holds for every row, JSON-ready: of several traits the newest schema, the shortest age."""
        contracts = self.contracts().values()
        return {
            "experiment": self.experiment.key,
            "schema": max(each["schema"] for each in contracts),
            "version": self.version,
            "generated_at": self.generated_at.isoformat(),
            "max_age_seconds": min(each["max_age_seconds"] for each in contracts),
        }


def values_of(
    experiment: Experiment,
    arms: Mapping[str, str],
    *,
    barred: AbstractSet[str] = frozenset(),
    escalated: AbstractSet[str] = frozenset(),
    attributes: Mapping[str, Mapping[str, Any]] | None = None,
    over: bool = False,
) -> dict[str, Values]:
    """Return customer → trait → value of everyone who has more than defaults, by customer.

    They are the members of the segments that are pushed. Neither the control nor whoever is `barred` is among
    them, nor anybody once the offers are `over`: a look-up that named them would tell who is held out.
    """
    known, nothing = attributes or {}, dict[str, Any]()
    values: dict[str, Values] = {}
    for customer in () if over else sorted(arms.keys() - barred):
        arm, moved, told = arms[customer], customer in escalated, known.get(customer, nothing)
        given = {
            trait.name: trait.value_of(arm, escalated=moved, attributes=told) for trait in experiment.traits
        }
        if any(given[each.name] != each.default for each in experiment.traits):
            values[customer] = given
    return values
