"""Eligibility traits: what LaunchDarkly is told about a customer, one segment per positive value."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from toolkit.design.durations import Duration
from toolkit.design.metrics import Part

__all__ = ["OWNERSHIP_TAG", "TraitContract", "eligibility_segment", "holdout_segment"]

OWNERSHIP_TAG = "lift-toolkit"
"""Carried by every segment of ours; a segment without it is never touched."""


class Escalation(Part):
    """The second step of an offer: customers of `arms` move to `to`, `after` so long without an order."""

    arms: Annotated[tuple[str, ...], Field(min_length=1)]
    to: str
    after: Duration


class TraitContract(Part):
    """One trait: who has it, its type, and the conservative value of everyone else.

    A boolean trait is true for the customers of `arms`. An enum trait has a value per arm, in `values`;
    with `escalate`, customers who have not ordered some time after assignment get another value.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
    type: Literal["boolean", "enum"] = "boolean"
    arms: tuple[str, ...] = ()
    values: dict[str, str] = {}
    default: bool | str = False
    escalate: Escalation | None = None
    max_age: Duration | None = None
    flag: str | None = None
    owner: str | None = None
    meaning: str = ""

    @model_validator(mode="after")
    def _conservative(self) -> TraitContract:
        if self.type == "boolean":
            if self.values or self.escalate:
                raise ValueError(
                    "`values` and `escalate` belong to `type: enum`; a boolean trait lists its `arms`"
                )
            if not self.arms:
                raise ValueError("a boolean trait needs `arms`: the arms whose customers have it")
            if self.default is not False:
                raise ValueError("`default` must be false: who is unknown gets no offer")
            return self
        if self.arms or not self.values:
            raise ValueError("an enum trait needs `values` (arm: value), and no `arms`")
        if not isinstance(self.default, str) or self.default in self.every_value:
            raise ValueError("`default` must be a text that stands for no offer and is no arm's value")
        if self.escalate and (strange := sorted(set(self.escalate.arms) - set(self.values))):
            raise ValueError(f"`escalate` names arms without a first value: {', '.join(strange)}")
        return self

    @property
    def every_value(self) -> tuple[str, ...]:
        """Return the positive values of an enum trait, each once, in the file's order."""
        more = (self.escalate.to,) if self.escalate else ()
        return tuple(dict.fromkeys((*self.values.values(), *more)))

    @property
    def treated_arms(self) -> tuple[str, ...]:
        """Return the arms whose customers have the trait."""
        return self.arms or tuple(self.values)

    def segments(self) -> tuple[str, ...]:
        """Return the keys of the segments that carry this trait."""
        if self.type == "boolean":
            return (eligibility_segment(self.name),)
        return tuple(eligibility_segment(self.name, value) for value in self.every_value)

    def segment_of(self, arm: str, *, escalated: bool = False) -> str | None:
        """Return the segment that a customer of `arm` belongs to, or None."""
        if self.type == "boolean":
            return eligibility_segment(self.name) if arm in self.arms else None
        if escalated and self.escalate and arm in self.escalate.arms:
            return eligibility_segment(self.name, self.escalate.to)
        return eligibility_segment(self.name, self.values[arm]) if arm in self.values else None


def eligibility_segment(trait: str, value: str | None = None) -> str:
    """Return the key of the segment whose members have `trait` (with that `value`)."""
    return "-".join(["lift", _slug(trait), *([_slug(value)] if value else [])])


def holdout_segment(key: str) -> str:
    """Return the key of the segment of those held out of the experiment (or in the universal holdout)."""
    return f"lift-{key}-holdout"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
