"""A life of one experiment, as a machine of Hypothesis makes it up: on the real steps, lake and clients.

After every request that a vendor took, the real LaunchDarkly SDK is asked what each customer sees.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path

import httpx
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.clients.wiring import Clock
from tests.steps.pushing import (
    BANNER,
    ENROLS_UNTIL,
    ESCALATES_AFTER,
    FIRST,
    FLAGS,
    HELD,
    HOLDOUT,
    KEY,
    OFFERS,
    OFFERS_END_AT,
    READY,
    SECOND,
    SEGMENTS,
    UNIVERSAL,
    Shop,
    cast,
    drawn,
    held_by,
    members_of,
)
from tests.steps.pushing_vendors import Site, Vendors
from tests.steps.trouble import ENDING, PASSING, Crash, GoOn, Line, Place, calm, refused, wired
from toolkit.errors import ToolkitError

CUSTOMERS = cast(universal=1, holdout=2, banner=3, escalating=4)
ARM = {customer: drawn(customer) for customer in CUSTOMERS}
TREATED = tuple(customer for customer in CUSTOMERS if ARM[customer] in ("banner", "escalating"))
HELD_OUT = next(customer for customer in CUSTOMERS if ARM[customer] == "holdout")
CONTROLS = frozenset(CUSTOMERS) - set(TREATED)


def places(*, lasts: bool = False, **kinds: int) -> st.SearchStrategy[Place]:
    """Return places among the first so many requests of each kind, a third of them among all requests."""
    return st.one_of(
        st.builds(Place, st.just(kind), st.integers(1, most), st.booleans() if lasts else st.just(False))
        for kind, most in (kinds or {"": 24, "PATCH": 6, "POST": 6, "batch": 2}).items()
    )


customers = st.sampled_from(CUSTOMERS)


class Life(RuleBasedStateMachine):
    """Weeks of one experiment: what the team does, what befalls it, and what must hold all the time."""

    site: Site

    def __init__(self) -> None:
        super().__init__()
        self.open = ExitStack()
        clock = Clock()
        self.vendors = Vendors(clock)
        for customer in CUSTOMERS:
            self.vendors.customerio.create(id=customer)
        self.site.follow(self.vendors)
        self.line = Line(self.vendors)
        self.line.watch = self.look
        self.open.enter_context(wired(self.line, clock))
        self.shop = Shop(Path(self.open.enter_context(tempfile.TemporaryDirectory())))
        self.assigned: dict[str, datetime] = {}
        self.protected: set[str] = set()
        self.broken: list[str] = []
        self.edited = ""
        """Whom somebody moved during the sync; what follows for them is not the sync's doing."""

    def teardown(self) -> None:
        """Converge at last; then there is nothing left to do, and the ledger is as it was drawn."""
        try:
            if self.shop.people and not self.broken:
                self.sync_with(calm)
                self.sync_with(lambda request: refused(401) if request.method != "GET" else None)
                rows = {row["id"]: (row["arm"], row["assigned_at"]) for row in self.shop.assigned()}
                assert rows == {
                    who: (ARM[who], at) for who, at in self.assigned.items() if ARM[who] != "universal"
                }
        finally:
            self.open.close()

    # ---- what the team and its customers do ----------------------------------------------------------

    @initialize(who=st.sets(customers, min_size=5))
    def begin(self, who: set[str]) -> None:
        self.shop.people = dict.fromkeys([TREATED[0], *sorted(who)], False)

    @rule(customer=customers, protected=st.booleans())
    def join(self, customer: str, protected: bool) -> None:
        self.shop.people.setdefault(customer, protected)

    @rule(customer=customers)
    def leave(self, customer: str) -> None:
        if len(self.shop.people) > 4:
            self.shop.people.pop(customer, None)

    @rule(customer=customers)
    def change_the_override(self, customer: str) -> None:
        if customer in self.shop.people:
            self.shop.people[customer] = not self.shop.people[customer]

    @rule(customer=customers)
    def order(self, customer: str) -> None:
        self.shop.orders.append((customer, self.shop.now))
        self.shop.known_until = self.shop.now

    @rule(days=st.integers(1, 10), known=st.booleans())
    def time_passes(self, days: int, known: bool) -> None:
        self.shop.now += timedelta(days=days)
        if known:
            self.shop.known_until = self.shop.now

    @rule(
        segment=st.sampled_from(SEGMENTS),
        customer=st.sampled_from((*CUSTOMERS, "stranger")),
        add=st.booleans(),
    )
    def edit_by_hand(self, segment: str, customer: str, add: bool) -> None:
        self.vendors.edit(segment, **{"add" if add else "remove": [customer]})

    # ---- syncs, and what befalls them ----------------------------------------------------------------

    @rule(kind=st.sampled_from(sorted(PASSING)), place=st.none() | places())
    def sync(self, kind: str, place: Place | None) -> None:
        strikes = place.counter() if place else lambda _: False
        self.sync_with(lambda request: PASSING[kind] if strikes(request) else None)

    @rule(kind=st.sampled_from(sorted(PASSING | ENDING)), place=places(lasts=True))
    def sync_that_may_fail(self, kind: str, place: Place) -> None:
        strikes = place.counter()
        self.sync_with(lambda request: (PASSING | ENDING)[kind] if strikes(request) else None, may_fail=True)

    @rule(place=places(PATCH=4), segment=st.sampled_from(SEGMENTS), customer=customers, add=st.booleans())
    def sync_while_somebody_edits(self, place: Place, segment: str, customer: str, add: bool) -> None:
        """Edit right after a write, so that the segments are yet to be read back."""
        strikes = place.counter()

        def edit(_: httpx.Request, go_on: GoOn) -> httpx.Response:
            answer = go_on()
            self.edit_by_hand(segment, customer, add)
            self.edited = customer
            return answer

        self.sync_with(lambda request: edit if strikes(request) else None)

    def sync_with(self, trouble, *, may_fail: bool = False) -> None:
        self.shop.now += timedelta(minutes=5)
        if self.shop.now <= ENROLS_UNTIL:
            for customer in self.shop.people:
                self.assigned.setdefault(customer, self.shop.now)
        if not self.assigned:  # enrolment is over, and nobody ever was pushed: there is nothing to do
            return
        before = set(self.protected)
        for customer, protected in self.shop.people.items():
            (self.protected.add if protected else self.protected.discard)(customer)
        self.line.trouble, self.edited = trouble, ""
        self.before, self.wanted = self.wrongs(), self.desired()
        try:
            self.shop.sync()
        except (ToolkitError, Crash):
            if not may_fail:
                raise
            self.protected |= before - self.known_to_be_released()
        else:
            self.converged()
        assert not self.broken, "; ".join(self.broken)

    def known_to_be_released(self) -> set[str]:
        """Return who may be offered something again, as far as a run that failed has come to keep that."""
        rows = self.shop.workspace().lake.read("protected", experiment=KEY).to_pylist()
        latest = {row["id"]: row["protected"] for row in sorted(rows, key=lambda row: row["written"])}
        return {customer for customer, protected in latest.items() if not protected}

    # ---- what must hold ------------------------------------------------------------------------------

    def desired(self) -> dict[str, set[str]]:
        """Return who belongs to which segment, worked out from this machine's own knowledge."""
        members: dict[str, set[str]] = {segment: set() for segment in SEGMENTS}
        for customer, at in self.assigned.items():
            arm = ARM[customer]
            if arm in ("holdout", "universal"):
                members[HOLDOUT if arm == "holdout" else UNIVERSAL].add(customer)
            elif customer not in self.protected and self.shop.now < OFFERS_END_AT:
                members[BANNER].add(customer)
                if arm == "escalating":
                    ordered = any(who == customer and when >= at for who, when in self.shop.orders)
                    waited = at + ESCALATES_AFTER <= self.shop.known_until
                    members[SECOND if waited and not ordered else FIRST].add(customer)
        return members

    def offers_of(self, customer: str) -> dict[str, object]:
        """Return flag → offer that a customer is to be served."""
        return {
            flag: value
            for flag, (_, offers) in FLAGS.items()
            for segment, value in offers.items()
            if customer in self.wanted[segment]
        }

    def wrongs(self) -> dict[str, set[str]]:
        """Return what only a hand can bring about: sets of customers that no request of a sync may add to."""
        served = {customer: self.site.served(customer) for customer in CUSTOMERS}
        eligible = set().union(*(self.desired()[segment] for segment in OFFERS))
        return {
            "served though held out or protected": {c for c in CONTROLS | self.protected if served[c]},
            "in two steps of one offer": members_of(self.vendors, FIRST) & members_of(self.vendors, SECOND),
            "messaged without an offer": {
                c
                for c in CUSTOMERS
                if self.vendors.attribute(c, READY) and not served[c] and c not in eligible
            },
        }

    def look(self, request: httpx.Request) -> None:
        """Note whatever a request made wrong."""
        said = f"{request.method} {request.url.path}"
        if request.method == "GET":
            return
        after = self.wrongs()
        for what, who in after.items():
            if new := who - self.before[what] - {self.edited}:
                self.broken.append(f"{said}: {what}: {sorted(new)}")
        self.before = after
        if request.url.path.endswith("/batch"):
            for item in json.loads(request.content)["batch"]:
                customer = item["identifiers"]["id"]
                if item["attributes"].get(READY) and self.site.served(customer) != self.offers_of(customer):
                    self.broken.append(f"{said}: {customer} is messaged, and not served the offer")
        elif request.method == "PATCH" and not self.edited:
            self.look_at_the_order(json.loads(request.content), request.url.path)

    def look_at_the_order(self, patch: dict, path: str) -> None:
        """Note an offer that is made before all holdouts are known, or before all that must end have ended."""
        segment = path.rsplit("/", 1)[1]
        kinds = {each["kind"] for each in patch["instructions"]}
        if segment in OFFERS and not all(
            self.wanted[each] <= members_of(self.vendors, each) for each in (HOLDOUT, UNIVERSAL)
        ):
            self.broken.append(f"{segment} is changed before all who are held out are known")
        if segment in OFFERS and "addIncludedTargets" in kinds:
            for each in OFFERS:
                if strays := members_of(self.vendors, each) - self.wanted[each]:
                    self.broken.append(f"{segment} is added to while {sorted(strays)} are still in {each}")

    def converged(self) -> None:
        """Segments, what is served, and messages are exactly what they are to be."""
        held = {who: ARM[who] == "holdout" for who in self.assigned if ARM[who] != "universal"}
        eligible = set().union(*(self.wanted[segment] for segment in OFFERS))
        wanted, found = {**self.wanted, HELD: held, READY: eligible}, held_by(self.vendors, CUSTOMERS)
        assert found == wanted, {
            name: (found[name], each) for name, each in wanted.items() if found[name] != each
        }
        for customer in CUSTOMERS:
            assert self.site.served(customer) == self.offers_of(customer), customer
