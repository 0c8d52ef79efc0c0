"""Both vendors without a socket, and the site that asks LaunchDarkly's real SDK.

The vendors are the sandbox's own handlers: the toolkit's clients build real requests, and what an SDK would
be streamed reaches it the instant it changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from threading import Event
from typing import Any

import httpx
from ldclient import Config, Context, LDClient
from ldclient.feature_store import InMemoryFeatureStore
from ldclient.interfaces import UpdateProcessor
from ldclient.versioned_data_kind import FEATURES, SEGMENTS
from starlette.routing import compile_path

from tests.clients.wiring import Clock
from tests.steps.pushing import FLAGS, HOLDOUT, SITE, TOKEN, TRACK_KEY, UNIVERSAL
from toolkit.sandbox.customerio import CustomerIO
from toolkit.sandbox.launchdarkly import Flag, serves
from toolkit.sandbox.launchdarkly import LaunchDarkly as LaunchDarklyState
from toolkit.sandbox.limits import Windows
from toolkit.sandbox.rest_api import RestApi
from toolkit.sandbox.track_api import TrackApi
from toolkit.sandbox.wire import Call, Handler
from toolkit.sandbox.world import World


class Vendors:
    """The sandbox's LaunchDarkly and Customer.io, asked by a function call instead of a socket.

    `requests_a_window` is LaunchDarkly's limit per route and ten seconds; None where nothing is counted.
    """

    def __init__(self, clock: Clock, *, requests_a_window: int | None = None) -> None:
        world = World(seed=1, scale=0.001, starts_on=date(2026, 3, 2))
        self.customerio = CustomerIO(world, 1)
        self.launchdarkly = LaunchDarklyState(lambda: world.now)
        for key, (control, offers) in FLAGS.items():
            self.launchdarkly.put_flag(safe_flag(key, control, offers))
        self._table: list[tuple[str, re.Pattern[str], Handler]] = []
        counted = requests_a_window is not None
        windows = Windows(route=requests_a_window or 1, everywhere=10**6, clock=clock)
        RestApi(self.launchdarkly, TOKEN, "sdk", windows, count=counted, clock=clock).routes(self)
        TrackApi(self.customerio, SITE, TRACK_KEY).routes(self, lambda: "")

    def route(self, vendor: str, method: str, path: str, handler: Handler) -> None:
        """Take a route, as the sandbox's door does."""
        self._table.append((method, compile_path(path)[0], handler))

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Return what the handler of the request's route answers."""
        for method, pattern, handler in self._table:
            found = pattern.match(request.url.path)
            if found and method == request.method:
                said = handler(
                    Call(
                        method=method,
                        path=request.url.path,
                        raw=request.url.raw_path.decode(),
                        parts=found.groupdict(),
                        params=dict(request.url.params),
                        headers={name.lower(): value for name, value in request.headers.items()},
                        body=request.content,
                    )
                ).response()
                return httpx.Response(said.status_code, headers=said.raw_headers, content=said.body)
        return httpx.Response(404, json={"code": "not_found", "message": "Invalid resource identifier"})

    def edit(self, segment: str, *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
        """Change a segment as somebody in the vendor's pages might."""
        found = self.launchdarkly.segments.get(segment)
        if found is not None:
            keys = [key for key in found.included.get("user", ()) if key not in set(remove)]
            included = {**found.included, "user": tuple(dict.fromkeys([*keys, *add]))}
            self.launchdarkly.put_segment(replace(found, included=included))

    def attribute(self, customer: str, name: str) -> Any:
        """Return what Customer.io knows of a customer, None where it knows nothing."""
        person = self.customerio.find(customer)
        return person.attributes.get(name) if person else None


def safe_flag(key: str, control: Any, offers: Mapping[str, Any]) -> Flag:
    """Return a flag whose first rules serve the control to both holdouts, then each offer to its segment."""
    rules = [serves(UNIVERSAL, 0), serves(HOLDOUT, 0)]
    rules += [serves(segment, at) for at, segment in enumerate(offers, start=1)]
    targeting = {
        "on": True,
        "rules": rules,
        "fallthrough": {"variation": 0},
        "offVariation": 0,
        "targets": [],
        "contextTargets": [],
        "prerequisites": [],
        "trackEvents": True,
    }
    return Flag(key, key, (control, *offers.values()), targeting)


class Site:
    """The real LaunchDarkly SDK, told of each change of `vendors` as a stream would tell it."""

    def __init__(self) -> None:
        self._store = InMemoryFeatureStore()
        config = Config("sdk", feature_store=self._store, update_processor_class=Streamed, send_events=False)
        self._client = LDClient(config)

    def follow(self, vendors: Vendors) -> None:
        """Begin anew with what `vendors` hold, and take what changes."""
        told = vendors.launchdarkly.payload()
        self._store.init({FEATURES: told["flags"], SEGMENTS: told["segments"]})
        kinds = {"flags": FEATURES, "segments": SEGMENTS}
        vendors.launchdarkly.listeners.append(lambda kind, data: self._store.upsert(kinds[kind], dict(data)))

    def served(self, customer: str) -> dict[str, Any]:
        """Return flag → the offer that a customer sees, without flags that serve the control."""
        seen = {
            key: self._client.variation(key, Context.create(customer), control)
            for key, (control, _) in FLAGS.items()
        }
        return {key: value for key, value in seen.items() if value != FLAGS[key][0]}

    def close(self) -> None:
        """End the client."""
        self._client.close()


class Streamed(UpdateProcessor):
    """Says that the store is complete; `Site.follow` fills it."""

    def __init__(self, config: Config, store: InMemoryFeatureStore, ready: Event) -> None:
        ready.set()

    def start(self) -> None:
        """Do nothing: changes are passed in."""

    def stop(self) -> None:
        """Do nothing."""

    def initialized(self) -> bool:
        """Tell that flags may be evaluated."""
        return True
