"""The sandbox's world: shoppers who live day by day, and what they leave behind.

No network here. The world asks `serve` what the site shows and is told who is ready for a message, so the
same days can be lived against the real flags or against any rule a test makes up. All draws of a day are
made for everybody, whatever was served: two worlds of one seed differ only by what was served and sent.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import count

import numpy as np
from numpy.typing import NDArray

from toolkit.sandbox import model
from toolkit.sandbox.model import PROGRAMS, Program
from toolkit.sandbox.people import Flags, Floats, People, pool_number, populate

__all__ = ["Evaluation", "Event", "Message", "Serve", "World", "rates"]

Numbers = NDArray[np.int64]
Serve = Callable[[Program, Sequence[int]], Sequence[bool | str]]
"""What the site shows to some people, given by their numbers, in their order."""
DAY = 86_400
NEVER = np.iinfo(np.int64).max // 2


@dataclass(frozen=True, slots=True, order=True)
class Event:
    """Something a person did at `at`, visible to others from `shown_at` on."""

    shown_at: datetime
    serial: int
    at: datetime = field(compare=False)
    person: int = field(compare=False)
    name: str = field(compare=False)
    data: Mapping[str, object] = field(compare=False)


@dataclass(frozen=True, slots=True)
class Message:
    """An e-mail that a campaign sent. `customer_id` is "" for people known by e-mail only."""

    at: datetime
    customer_id: str
    campaign_id: int
    experiment: str
    person: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A flag evaluated by the site at a visit."""

    at: datetime
    customer_id: str
    flag: str
    value: bool | str


def rates(
    people: People, numbers: Numbers, carted_on: Numbers, day: NDArray[np.int64] | int
) -> tuple[Floats, Floats]:
    """Return the chance of a visit on `day`, and of a purchase at it, without any offer.

    `carted_on` is the first day with cart rates of each of `numbers`. A row of days beside a column of
    numbers gives a table.
    """
    carted = day >= carted_on
    stale = day >= carted_on + model.FRESH_DAYS
    visit = np.where(carted, people.cart_visit[numbers], people.visit[numbers])
    buy = np.where(carted, people.cart_buy[numbers], people.buy[numbers])
    return np.where(stale, model.STALE_VISITS * visit, visit), buy


class World:
    """People and their days. `seed` settles who they are, `noise` (default: the same) what they do."""

    def __init__(
        self,
        *,
        seed: int = 1,
        scale: float = 1.0,
        starts_on: date = date(2026, 9, 28),
        noise: int | None = None,
    ) -> None:
        self.people = populate(seed, scale)
        self.starts_at = datetime.combine(starts_on, time(), UTC)
        self.day = -model.HISTORY_DAYS
        self.messages: list[Message] = []
        self.evaluations: list[Evaluation] = []
        size = len(self.people)
        self.carted_on = np.full(size, NEVER, dtype=np.int64)
        self.in_cart = np.zeros(size, dtype=bool)
        self.ordered = np.zeros(size, dtype=bool)
        self.unsubscribed_at = np.where(self.people.unsubscribed, -np.inf, np.inf)
        self._messaged_on = {key: np.full(size, NEVER, dtype=np.int64) for key in PROGRAMS}
        self._noise = seed if noise is None else noise
        self._carts_a_day = model.CARTS_A_WEEK * scale / 7
        self._pending: list[Event] = []
        self._serials = count()
        self._known = np.array([bool(each) for each in self.people.ids])
        self._everyone = np.arange(size)
        self.history = [event for _ in range(model.HISTORY_DAYS) for event in self.live(_nothing, {})]

    @property
    def now(self) -> datetime:
        """Return the simulated present: midnight of the day to be lived next."""
        return self.instant(0)

    def instant(self, seconds: float) -> datetime:
        """Return the instant that many seconds into the present day, to the second."""
        return self.starts_at + timedelta(days=self.day, seconds=int(seconds))

    def audience(self, experiment: str) -> Numbers:
        """Return who is in the experiment's Customer.io segment now."""
        members = self.people.members(PROGRAMS[experiment].pool)
        if PROGRAMS[experiment].pool == "browser":
            return members[self.in_cart[members]]
        return members[~self.ordered[members]] if PROGRAMS[experiment].pool == "winback" else members

    def live(self, serve: Serve, ready: Mapping[str, Numbers]) -> list[Event]:
        """Live one day and return the events that became visible in it, in their order.

        `ready` says, by experiment, who may get its message; each gets it once, at the start of the day.
        """
        draw = np.random.default_rng([model.STREAM, 2, self._noise, self.day + model.HISTORY_DAYS])
        size = len(self.people)
        u = {name: draw.random(size) for name in ("visit", "time", "buy", "refund", "late", "twice", "leave")}
        spare = draw.random((4, size))
        ordinary = draw.standard_normal(size)
        sent = np.zeros(size, dtype=bool)
        for key, numbers in sorted(ready.items()):
            sent[self._send(PROGRAMS[key], numbers)] = True
        visit, buy = rates(self.people, self._everyone, self.carted_on, self.day)
        here = u["visit"] < visit
        more, order = self._influence(serve, here, u["time"])
        bought = here & (u["buy"] < np.minimum(1.0, buy * more))
        if self.day < 0:
            bought &= self.people.pool != pool_number("winback")
        totals = self.people.level * order * np.exp(model.ORDER_LOG_SD * ordinary - model.ORDER_LOG_SD**2 / 2)
        for person in np.flatnonzero(bought).tolist():
            draws = {name: float(column[person]) for name, column in u.items()}
            self._order(person, round(float(totals[person]), 2), draws, spare[:, person].tolist())
        self._unsubscribe(u["leave"], sent, u["time"])
        self._end_day(bought, spare[3])
        shown = []
        while self._pending and self._pending[0].shown_at < self.now:
            shown.append(heapq.heappop(self._pending))
        return shown

    def _send(self, program: Program, numbers: Numbers) -> Numbers:
        """Send the program's message to those of `numbers` who had none; return who got it."""
        messaged_on = self._messaged_on[program.key]
        subscribed = self.unsubscribed_at[numbers] > self.day
        fresh: Numbers = numbers[
            (messaged_on[numbers] == NEVER) & subscribed & self.people.reachable[numbers]
        ]
        messaged_on[fresh] = self.day
        for order, person in enumerate(fresh.tolist()):
            at = self.instant(60 + order % 240)
            self.messages.append(
                Message(at, self.people.ids[person], program.campaign, program.key, person=person)
            )
        return fresh

    def _influence(self, serve: Serve, here: Flags, instants: Floats) -> tuple[Floats, Floats]:
        """Return the factors on everyone's chance to buy and on the total, from offers and messages."""
        more, order = np.ones(len(self.people)), np.ones(len(self.people))
        for program in PROGRAMS.values() if self.day >= 0 else ():
            age = self.day - self._messaged_on[program.key]
            more[(age >= 0) & (age < model.MESSAGE_LASTS_DAYS)] *= program.message_buy
            reach = here & self._known & (self.people.pool == pool_number(program.pool))
            if program.pool == "browser":
                reach &= self.carted_on <= self.day
            visitors = np.flatnonzero(reach)
            values = serve(program, visitors.tolist())
            more[visitors] *= [program.offer(value).buy for value in values]
            order[visitors] *= [program.offer(value).order for value in values]
            self.evaluations.extend(
                Evaluation(self.instant(instants[person] * DAY), self.people.ids[person], program.flag, value)
                for person, value in zip(visitors.tolist(), values, strict=True)
            )
        return more, order

    def _order(self, person: int, total: float, u: Mapping[str, float], spare: Sequence[float]) -> None:
        """Record an order, its late or second event, and its refund."""
        at = self.instant(u["time"] * DAY)
        late = timedelta(days=model.LATE_DAYS * spare[0]) if u["late"] < model.LATE_SHARE else timedelta()
        order_id = f"o-{self.day + model.HISTORY_DAYS:04d}{person:06d}"
        data = {
            "order_id": order_id,
            "total": f"{total:.2f}" if spare[1] < 0.5 else total,
            "currency": "USD",
            "items": 1 + int(4 * spare[2]),
        }
        self._remember(at + late, at, person, "Order Completed", data)
        if u["twice"] < model.TWICE_SHARE:
            self._remember(at + late + timedelta(minutes=3), at, person, "Order Completed", data)
        if u["refund"] < model.REFUNDED_SHARE:
            part = u["refund"] / model.REFUNDED_SHARE
            back = 1.0 if part < model.FULL_REFUND_SHARE else model.PARTIAL_REFUND
            soonest, latest = model.REFUND_DELAY_DAYS
            refunded_at = at + timedelta(seconds=int(DAY * (soonest + (latest - soonest) * spare[3])))
            refund = {"order_id": order_id, "total": round(total * back, 2)}
            shown_at = max(refunded_at, at + late + timedelta(hours=1))
            self._remember(shown_at, refunded_at, person, "Order Refunded", refund)

    def _remember(
        self, shown_at: datetime, at: datetime, person: int, name: str, data: Mapping[str, object]
    ) -> None:
        heapq.heappush(self._pending, Event(shown_at, next(self._serials), at, person, name, data))

    def _unsubscribe(self, u: Floats, sent: Flags, instants: Floats) -> None:
        """Let some subscribers go, more of them where a message came today. None left before day 0."""
        if self.day < 0:
            return
        stay = (1 - model.UNSUBSCRIBE_A_DAY) * np.where(sent, 1 - model.UNSUBSCRIBE_ON_MESSAGE, 1.0)
        for person in np.flatnonzero((u > stay) & np.isinf(self.unsubscribed_at)).tolist():
            if self.unsubscribed_at[person] < 0:
                continue
            self.unsubscribed_at[person] = self.day + instants[person]
            at = self.instant(instants[person] * DAY)
            self._remember(at, at, person, "Unsubscribed", {})

    def _end_day(self, bought: Flags, u: Floats) -> None:
        """Move carts in and out of their segment, and the world to the next midnight."""
        self.in_cart[bought] = False
        if self.day >= 0:
            self.ordered |= bought
        self.day += 1
        if self.day <= -7:
            return
        left = np.flatnonzero((self.carted_on <= self.day) & ~self.in_cart)
        back = self._number_by(self.day, model.RETURNING_CARTS) - self._number_by(
            self.day - 1, model.RETURNING_CARTS
        )
        self.in_cart[left[np.argsort(u[left])[:back]]] = True
        start, stop = self._number_by(self.day - 1), self._number_by(self.day)
        new = self.people.order_of_carts[start:stop]
        self.carted_on[new] = self.day
        self.in_cart[new] = True

    def _number_by(self, day: int, share: float = 1.0) -> int:
        """Return how many carts were abandoned since a week before the start, up to a day's beginning."""
        return int((day + 7) * self._carts_a_day * share)


def _nothing(program: Program, people: Sequence[int]) -> Sequence[bool | str]:
    """Serve the control to everyone."""
    return [program.control] * len(people)
