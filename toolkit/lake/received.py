"""What webhooks bring, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Arrival", "Crossing", "Delivery", "Held", "Outcome", "Standing", "Unusable", "Waiting"]

Outcome = Literal["new", "repeated", "stale", "quarantined"]
"""What became of an arrival. `stale`: a later word on the same customer stands already."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a reporting webhook says of a message; `at` is in microseconds since 1970.

    Of `id`, `email` and `cio_id` at least one is not empty.
    """

    event_id: str
    delivery_id: str
    metric: str
    campaign_id: int | None
    newsletter_id: int | None
    id: str
    email: str
    cio_id: str
    at: int


@dataclass(frozen=True, slots=True)
class Crossing:
    """A customer entered the cohort of an experiment, or left it.

    `moment` orders the words on one customer: the larger one holds, and of equal ones the exit.
    """

    event_id: str
    experiment: str
    customer: str
    action: Literal["enter", "exit"]
    moment: int


@dataclass(frozen=True, slots=True)
class Unusable:
    """An authentic body that cannot be understood, as it came, and why."""

    door: str
    body: bytes
    reason: str


Arrival = Delivery | Crossing | Unusable


@dataclass(frozen=True, slots=True)
class Standing:
    """The last word on a customer of an experiment.

    Attributes:
        entered: whether the customer ever entered; who did is enrolled, even if they have left since.
        recorded: whether the lake has it already.
    """

    experiment: str
    customer: str
    entered: bool
    action: Literal["enter", "exit"]
    moment: int
    recorded: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """How much is in the inbox: not yet in the lake, not yet applied, and put aside as unusable."""

    deliveries: int
    crossings: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class Held:
    """Bodies put aside for one reason; `times` counts repeats of the same bytes."""

    door: str
    reason: str
    bodies: int
    times: int
