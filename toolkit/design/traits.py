"""Eligibility traits: what LaunchDarkly is told about a customer, one segment per positive value.

A trait is a contract between who decides an offer and who builds what shows it: its values, what each means,
how it is computed, how old it may be, and what everyone has of whom nothing is known.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import timedelta
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from toolkit.design.durations import Duration
from toolkit.design.metrics import Part

__all__ = [
    "OWNERSHIP_TAG",
    "USUAL_MAX_AGE",
    "Band",
    "Escalation",
    "TraitContract",
    "TraitType",
    "eligibility_segment",
    "holdout_segment",
    "number_of",
]

OWNERSHIP_TAG = "lift-toolkit"
"""Carried by every segment of ours; a segment without it is never touched."""

TraitType = Literal["boolean", "enum", "band"]
Band = tuple[float | None, float | None]
"""From where (included) to where (excluded) numbers belong to a band; None where it has no end."""

USUAL_MAX_AGE: Mapping[TraitType, timedelta] = {
    "boolean": timedelta(hours=1),
    "enum": timedelta(days=1),
    "band": timedelta(days=1),
}
"""How old a value may be where the file does not say: what is switched on and off changes faster than a tier."""

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


class Escalation(Part):
    """The second step of an offer: customers of `arms` move to `to`, `after` so long without an order.

    An order since assignment, or the event `opt_out`, takes them back to their first value.
    """

    arms: Annotated[tuple[str, ...], Field(min_length=1)]
    to: str
    after: Duration
    opt_out: Annotated[str, Field(min_length=1)] | None = None


class TraitContract(Part):
    """One trait: who has it, its type, and the conservative value of everyone else.

    A boolean trait is true for the customers of `arms`. An enum trait has a value per arm, in `values`;
    with `escalate`, customers who have not ordered some time after assignment get another value. A band trait
    gives customers of `arms` the name of the band of `bands` in which the number `attribute` lies.

    `schema` (in Python `schema_version`) is the contract's version: it is raised when values or their meaning
    change, and goes wherever the values go.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
    type: TraitType = "boolean"
    arms: tuple[str, ...] = ()
    values: dict[str, str] = {}
    attribute: Annotated[str, Field(min_length=1)] | None = None
    bands: dict[str, Band] = {}
    default: bool | str = False
    escalate: Escalation | None = None
    max_age: Duration | None = None
    flag: str | None = None
    owner: str | None = None
    meaning: str = ""
    computed: str = ""
    schema_version: Annotated[int, Field(ge=1, alias="schema")] = 1

    @model_validator(mode="after")
    def _conservative(self) -> TraitContract:
        if self.type != "band" and (self.bands or self.attribute):
            raise ValueError(f"`attribute` and `bands` belong to `type: band`; this is `type: {self.type}`")
        if self.type == "boolean":
            self._check_boolean()
        elif self.type == "enum":
            self._check_enum()
        else:
            self._check_bands()
        return self

    def _check_boolean(self) -> None:
        if self.values or self.escalate:
            raise ValueError(
                "`values` and `escalate` belong to `type: enum`; a boolean trait lists its `arms`"
            )
        if not self.arms:
            raise ValueError("a boolean trait needs `arms`: the arms whose customers have it")
        if self.default is not False:
            raise ValueError("`default` must be false: who is unknown gets no offer")

    def _check_enum(self) -> None:
        if self.arms or not self.values:
            raise ValueError("an enum trait needs `values` (arm: value), and no `arms`")
        self._check_texts("no arm's value")
        if self.escalate and (strange := sorted(set(self.escalate.arms) - set(self.values))):
            raise ValueError(f"`escalate` names arms without a first value: {', '.join(strange)}")

    def _check_bands(self) -> None:
        if self.values or self.escalate:
            raise ValueError("`values` and `escalate` belong to `type: enum`; a band trait has `bands`")
        if not (self.arms and self.attribute and self.bands):
            raise ValueError(
                "a band trait needs `arms`, the `attribute` that is a number, and `bands` (name: [from, below])"
            )
        self._check_texts("no band's name")
        ordered = sorted(self.bands.items(), key=lambda each: _ends(each[1]))
        for name, band in ordered:
            low, high = _ends(band)
            if not low < high:
                raise ValueError(f"`bands`: {name} is [{band[0]}, {band[1]}]; the first must be the smaller")
        for (name, band), (above, higher) in pairwise(ordered):
            if _ends(band)[1] > _ends(higher)[0]:
                raise ValueError(
                    f"`bands`: {name} and {above} overlap; a number must lie in one of them only"
                )

    def _check_texts(self, what: str) -> None:
        if not isinstance(self.default, str) or self.default in self.every_value or not self.default:
            raise ValueError(
                f"`default` must be a text that stands for no offer and is {what} (quote off, no and on, "
                "which YAML takes for true or false)"
            )
        for value in self.every_value:
            if not _slug(value):
                raise ValueError(f"{value!r} has no letter or digit a-z, 0-9 for the key of its segment")

    @property
    def every_value(self) -> tuple[str, ...]:
        """Return the positive values of an enum or band trait, each once, in the file's order."""
        more = (self.escalate.to,) if self.escalate else ()
        return tuple(dict.fromkeys((*self.values.values(), *more, *self.bands)))

    @property
    def positive_values(self) -> tuple[bool | str, ...]:
        """Return every value but the default; of a boolean trait that is true."""
        return (True,) if self.type == "boolean" else self.every_value

    @property
    def treated_arms(self) -> tuple[str, ...]:
        """Return the arms whose customers have the trait."""
        return self.arms or tuple(self.values)

    @property
    def age_limit(self) -> timedelta:
        """Return how old a value may be: `max_age`, or what is usual for the type."""
        return self.max_age or USUAL_MAX_AGE[self.type]

    def segments(self) -> tuple[str, ...]:
        """Return the keys of the segments that carry this trait."""
        return tuple(self._segment(value) for value in self.positive_values)

    def value_of(
        self, arm: str, *, escalated: bool = False, attributes: Mapping[str, Any] | None = None
    ) -> bool | str:
        """Return the value of a customer of `arm`, the default where nothing says otherwise.

        `attributes` are what is known of the customer; only a band trait looks at them.
        """
        if arm not in self.treated_arms:
            return self.default
        if self.type == "boolean":
            return True
        if self.type == "band":
            return self._band_of((attributes or {}).get(self.attribute or ""))
        rule = self.escalate
        return rule.to if rule and escalated and arm in rule.arms else self.values[arm]

    def segment_of(
        self, arm: str, *, escalated: bool = False, attributes: Mapping[str, Any] | None = None
    ) -> str | None:
        """Return the segment that a customer of `arm` belongs to, or None."""
        value = self.value_of(arm, escalated=escalated, attributes=attributes)
        return None if value == self.default else self._segment(value)

    def _band_of(self, value: Any) -> bool | str:
        number = number_of(value)
        if number is None:
            return self.default
        lying = (name for name, band in self.bands.items() if _ends(band)[0] <= number < _ends(band)[1])
        return next(lying, self.default)

    def _segment(self, value: bool | str) -> str:
        return eligibility_segment(self.name, value if isinstance(value, str) else None)


def number_of(value: Any) -> float | None:
    """Return `value` as a finite number, None for what is none: true, "", "n/a", nan, 1_000.

    Vendors give numbers as text; a text counts if it is a plain decimal number.
    """
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str) and not NUMBER.fullmatch(value.strip()):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def eligibility_segment(trait: str, value: str | None = None) -> str:
    """Return the key of the segment whose members have `trait` (with that `value`)."""
    return "-".join(["lift", _slug(trait), *([_slug(value)] if value else [])])


def holdout_segment(key: str) -> str:
    """Return the key of the segment of those held out of the experiment (or in the universal holdout)."""
    return f"lift-{key}-holdout"


def _ends(band: Band) -> tuple[float, float]:
    low, high = band
    return (-math.inf if low is None else low), (math.inf if high is None else high)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
