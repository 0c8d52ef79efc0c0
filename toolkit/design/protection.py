"""Who must not be offered anything, and how often that is looked at: parts of the experiment file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from toolkit.design.durations import Duration
from toolkit.design.metrics import Part
from toolkit.design.traits import number_of

__all__ = ["DoNotOffer", "MarginProtection", "Schedule"]


class DoNotOffer(Part):
    """Whoever has this attribute (present, and neither false nor empty) is never eligible."""

    attribute: Annotated[str, Field(min_length=1)]


class MarginProtection(Part):
    """Whoever's number `attribute` is below `below`, or is no number, is never eligible, whatever the arm."""

    attribute: Annotated[str, Field(min_length=1)]
    below: Annotated[float, Field(allow_inf_nan=False)]

    def protects(self, attributes: Mapping[str, Any]) -> bool:
        """Return whether a customer of whom `attributes` are known must not be offered anything."""
        number = number_of(attributes.get(self.attribute))
        return number is None or number < self.below


class Schedule(Part):
    """How often the team runs what; told to `lift check`, which compares it with how old traits may be."""

    push: Duration
