"""A third of all requests fail: a push waits as long as it is told to, and in the end everything is as planned.

`LIFT_LONG=1` plays 200 storms instead of a few.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import formatdate

import httpx
import pytest

from tests.clients.wiring import START, Clock
from tests.steps.pushing import Shop, cast, held_by, planned
from tests.steps.pushing_vendors import Vendors
from tests.steps.trouble import Line, Trouble, cut_off, cut_short, refused, reset, silent, wired
from toolkit.errors import RateLimited, UnexpectedAnswer, Unreachable, VendorError

STORMS = 200 if os.environ.get("LIFT_LONG") == "1" else 10
SHARE = 0.3
MOST_RUNS = 12
LATER_SECONDS = 600.0
"""When a push that failed is run again."""
pytestmark = pytest.mark.timeout(86_400 if STORMS == 200 else 300)
CUSTOMERS = cast(universal=2, holdout=4, banner=5, escalating=9)


@dataclass
class Storm:
    """Befalls requests by chance, and remembers before when each vendor asked not to be asked again."""

    seed: int
    clock: Clock
    share: float = SHARE
    struck: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    too_early: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.not_before = {"launchdarkly": 0.0, "customerio": 0.0}

    def trouble(self, request: httpx.Request) -> Trouble | None:
        """Return what befalls a request, and note one that comes before the vendor's time."""
        vendor = "customerio" if request.url.path.endswith("/batch") else "launchdarkly"
        if (early := self.not_before[vendor] - self.clock.now) > 1e-6:
            self.too_early.append(f"{request.method} {request.url.path}: {early:.3f} s too early")
        if self.chance.random() >= self.share:
            return lambda _, go_on: self.heard(vendor, go_on())
        kind = self.chance.choice(sorted(KINDS))
        self.struck[kind] += 1
        answer = KINDS[kind](self)
        return lambda asked, go_on: self.heard(vendor, answer(asked, go_on))

    def heard(self, vendor: str, answer: httpx.Response) -> httpx.Response:
        """Note until when an answer asks to wait."""
        told = answer.headers
        self.refused += answer.status_code == 429
        until = [self.clock.now]
        if answer.status_code in (429, 503) and "retry-after" in told:
            said = told["retry-after"]
            until.append(self.clock.now + float(said) if said.isdecimal() else self.dated)
        spent = "0" in (told.get(f"x-ratelimit-{each}-remaining") for each in ("route", "global"))
        if "x-ratelimit-reset" in told and (answer.status_code == 429 or spent):
            until.append(float(told["x-ratelimit-reset"]) / 1000)
        self.not_before[vendor] = max(self.not_before[vendor], *until)
        return answer

    def seconds(self) -> int:
        """Return a wait that a vendor may ask for."""
        return self.chance.choice((1, 2, 3, 7, 20))

    def until_a_date(self) -> Trouble:
        """Return the refusal that names the second when it ends."""
        self.dated = float(int(self.clock.now) + self.seconds())
        return refused(429, retry_after=formatdate(self.dated, usegmt=True))


KINDS = {
    "429": lambda _: refused(429),
    "429 with seconds": lambda storm: refused(429, retry_after=str(storm.seconds())),
    "429 with a date": lambda storm: storm.until_a_date(),
    "429 with a reset": lambda storm: refused(
        429,
        x_ratelimit_route_remaining="0",
        x_ratelimit_reset=str(int((storm.clock.now + storm.seconds()) * 1000)),
    ),
    "500": lambda _: refused(500),
    "502": lambda _: refused(502),
    "503 with seconds": lambda storm: refused(503, retry_after=str(storm.seconds())),
    "connection reset": lambda _: reset,
    "time-out after the write": lambda _: silent,
    "answer cut off": lambda _: cut_off,
    "answer cut short": lambda _: cut_short,
}
"""What may befall a request, made by the storm."""


@dataclass
class Weather:
    """A shop, its vendors, and the storm between them."""

    shop: Shop
    vendors: Vendors
    storm: Storm

    def push_until_done(self) -> list[VendorError]:
        """Run the push again until it ends well; return the errors that ended it before."""
        errors: list[VendorError] = []
        line = Line(self.vendors)
        line.trouble = self.storm.trouble
        random.seed(self.storm.seed)  # the clients' jitter
        with wired(line, self.storm.clock):
            while True:
                try:
                    self.shop.sync()
                except VendorError as error:
                    errors.append(error)
                    assert len(errors) < MOST_RUNS, errors
                    self.storm.clock.now += LATER_SECONDS
                else:
                    return errors


@pytest.fixture
def weather(tmp_path) -> Callable[..., Weather]:
    """Return what makes weather: a shop of its own, nobody assigned yet."""

    def made(seed: int, share: float = SHARE, requests_a_window: int | None = None) -> Weather:
        clock = Clock()
        vendors = Vendors(clock, requests_a_window=requests_a_window)
        for customer in CUSTOMERS:
            vendors.customerio.create(id=customer)
        folder = tmp_path / str(seed)
        folder.mkdir()
        return Weather(
            Shop(folder, people=dict.fromkeys(CUSTOMERS, False)), vendors, Storm(seed, clock, share=share)
        )

    return made


def test_storms_of_faults_end_in_the_plan_and_no_wait_is_undercut(weather):
    """Even storms befall the first push, odd ones a push that withdraws, removes and moves on."""
    struck: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    for seed in range(STORMS):
        each = weather(seed, share=0 if seed % 2 else SHARE)
        errors = each.push_until_done()
        assert held_by(each.vendors, CUSTOMERS) == planned(CUSTOMERS)
        if seed % 2:
            protected = frozenset(CUSTOMERS[::4])
            each.shop.people.update(dict.fromkeys(protected, True))
            each.shop.now = each.shop.known_until = each.shop.now + timedelta(days=20)
            each.storm.share = SHARE
            errors = each.push_until_done()
            assert held_by(each.vendors, CUSTOMERS) == planned(CUSTOMERS, protected=protected, escalated=True)
        assert each.storm.too_early == []
        struck.update(each.storm.struck)
        ended[" and ".join(type(error).__name__ for error in errors) or "none"] += 1
    print(
        f"{STORMS} storms of {dict(struck.most_common())}; runs that ended in an error before one that did not: "
        f"{dict(ended.most_common())}"
    )
    assert set(struck) == set(KINDS)
    # an answer that looks whole and is not ends a run at once; the rest is ridden out but for the longest storms
    clear = {UnexpectedAnswer.__name__, RateLimited.__name__, Unreachable.__name__}
    assert {name for each in ended for name in each.split(" and ")} <= {"none", *clear}
    assert ended["none"] > STORMS / 3


def test_the_vendors_own_limits_are_kept_without_one_refusal_that_its_headers_foretold(weather):
    each = weather(0, share=0, requests_a_window=4)
    assert each.push_until_done() == []
    assert held_by(each.vendors, CUSTOMERS) == planned(CUSTOMERS)
    assert each.storm.too_early == []
    assert each.storm.refused == 0
    assert each.storm.clock.now - START > 20
