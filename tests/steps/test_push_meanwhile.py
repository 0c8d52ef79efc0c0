"""While a push waits for a vendor, others push and customers leave: nothing that ended meanwhile is begun again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.clients.wiring import Clock
from tests.steps.pushing import BANNER, KEY, READY, Shop, cast, drawn, held_by, members_of, planned
from tests.steps.pushing_vendors import Vendors
from tests.steps.trouble import Line, Place, calm, wired
from toolkit.errors import PushRefused
from toolkit.lake.crossings import keep_crossings
from toolkit.lake.received import Standing

CUSTOMERS = cast(universal=2, holdout=3, banner=4, escalating=6)
TREATED = tuple(each for each in CUSTOMERS if drawn(each) in ("banner", "escalating"))
LEAVER, NEWCOMER = TREATED[0], TREATED[-1]


class Busy:
    """A shop whose push is held up at a request, while something else goes on."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.vendors = Vendors(self.clock)
        for customer in CUSTOMERS:
            self.vendors.customerio.create(id=customer)
        self.line = Line(self.vendors)
        self.shop = Shop(folder, people=dict.fromkeys(CUSTOMERS, False))

    def push_while(self, goes_on: Callable[[], None], place: Place) -> None:
        """Push, and let something go on before the request at `place` is taken."""
        strikes = place.counter()

        def held_up(_, go_on):
            self.line.trouble = calm
            goes_on()
            return go_on()

        self.line.trouble = lambda request: held_up if strikes(request) else None
        self.shop.sync()
        assert self.line.trouble is calm, "the request never came"

    def protect_and_push(self) -> None:
        """Protect a customer, and push that."""
        self.shop.people[LEAVER] = True
        self.shop.sync()

    def leave(self) -> None:
        """Let a webhook tell that a customer left, and push that."""
        left = Standing(KEY, LEAVER, entered=True, action="exit", moment=1, recorded=False)
        keep_crossings(self.shop.workspace().lake, [left], at=self.shop.now)
        self.shop.sync()


@pytest.fixture
def busy(tmp_path) -> Iterator[Busy]:
    made = Busy(tmp_path)
    with wired(made.line, made.clock):
        yield made


PLACES = [
    *(Place("GET", number) for number in (1, 6)),
    *(Place("PATCH", number) for number in (1, 2, 3, 4)),
    Place("batch", 1),
]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place.kind}-{place.number}")
@pytest.mark.parametrize("ends", [Busy.protect_and_push, Busy.leave])
def test_a_first_push_neither_offers_nor_announces_what_another_push_ended_meanwhile(busy, ends, place):
    busy.push_while(lambda: ends(busy), place)
    assert held_by(busy.vendors, CUSTOMERS) == planned(CUSTOMERS, protected={LEAVER})


@pytest.mark.parametrize("place", [Place("PATCH", 1), Place("GET", 8), Place("batch", 1)], ids=str)
@pytest.mark.parametrize("ends", [Busy.protect_and_push, Busy.leave])
def test_a_push_that_mends_does_not_bring_back_whom_another_push_took_out(busy, ends, place):
    del busy.shop.people[NEWCOMER]
    busy.shop.sync()
    assert LEAVER in members_of(busy.vendors, BANNER)
    busy.shop.people[NEWCOMER] = False
    busy.push_while(lambda: ends(busy), place)
    assert held_by(busy.vendors, CUSTOMERS) == planned(CUSTOMERS, protected={LEAVER})


def test_whoever_is_protected_again_while_a_push_releases_them_stays_so(busy):
    busy.shop.people[LEAVER] = True
    busy.shop.sync()
    busy.shop.people[LEAVER] = False
    busy.push_while(busy.protect_and_push, Place("PATCH", 1))
    assert held_by(busy.vendors, CUSTOMERS) == planned(CUSTOMERS, protected={LEAVER})
    del busy.shop.people[LEAVER]
    busy.shop.sync()
    assert held_by(busy.vendors, CUSTOMERS) == planned(CUSTOMERS, protected={LEAVER})


def test_whoever_went_back_a_step_meanwhile_is_not_moved_on_again(busy):
    """The order is known to the second push alone, which finds its customer where they belong."""
    mover = next(each for each in TREATED if drawn(each) == "escalating")
    busy.shop.sync()
    busy.shop.now = busy.shop.known_until = busy.shop.now + timedelta(days=15)

    def order() -> None:
        busy.shop.orders.append((mover, busy.shop.now - timedelta(days=1)))
        busy.shop.sync()

    busy.push_while(order, Place("PATCH", 2))
    found = held_by(busy.vendors, CUSTOMERS)
    busy.shop.sync()
    assert found == held_by(busy.vendors, CUSTOMERS)


def test_a_protection_that_meanwhile_takes_in_nearly_everybody_is_asked_about(busy, monkeypatch):
    monkeypatch.setattr("toolkit.design.sync.LARGE_NUMBER", 5)

    def protect_all() -> None:
        busy.shop.people.update(dict.fromkeys(TREATED, True))
        busy.shop.sync()

    with pytest.raises(
        PushRefused, match=rf"{len(TREATED)} of {len(TREATED)} eligible customers .* Plan again"
    ):
        busy.push_while(protect_all, Place("PATCH", 3))
    assert not any(busy.vendors.attribute(each, READY) for each in CUSTOMERS)


def test_where_it_takes_them_in_after_their_messages_are_released_it_says_so(busy, monkeypatch):
    monkeypatch.setattr("toolkit.design.sync.LARGE_NUMBER", 5)

    def protect_all() -> None:
        busy.shop.people.update(dict.fromkeys(TREATED, True))
        with pytest.raises(PushRefused, match="more than a fifth"):
            busy.shop.sync()

    with pytest.raises(
        PushRefused, match="their messages are released by now, and not withdrawn. Plan again"
    ):
        busy.push_while(protect_all, Place("batch", 1))
    assert all(busy.vendors.attribute(each, READY) for each in TREATED)
