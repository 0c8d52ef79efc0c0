"""The sandbox as a whole: both vendors' stand-ins on one address, and the shoppers behind them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from threading import RLock
from types import TracebackType
from typing import Self

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from toolkit.sandbox import app_api, rest_api
from toolkit.sandbox.app_api import AppApi
from toolkit.sandbox.big_store import StateStore
from toolkit.sandbox.control import Control
from toolkit.sandbox.customerio import CustomerIO
from toolkit.sandbox.launchdarkly import ENVIRONMENT, PROJECT, LaunchDarkly
from toolkit.sandbox.limits import Bucket, Windows
from toolkit.sandbox.rest_api import RestApi
from toolkit.sandbox.sdk_api import SdkApi
from toolkit.sandbox.server import Server
from toolkit.sandbox.site import Site
from toolkit.sandbox.track_api import TrackApi
from toolkit.sandbox.truth import true_effect
from toolkit.sandbox.wire import Answer, Door, Fault, Seen, with_abort
from toolkit.sandbox.world import Evaluation, Message, World

__all__ = ["Sandbox"]

APP_KEY = "sandbox-app-key"
SITE_ID = "sandbox-site"
TRACK_KEY = "sandbox-track-key"
ACCESS_TOKEN = "api-sandbox-token"  # noqa: S105
SDK_KEY = "sdk-sandbox-key"
APP_REQUESTS_A_SECOND = 10
ROUTE_REQUESTS_A_WINDOW = 100
REQUESTS_A_WINDOW = 400


class Sandbox:
    """`with Sandbox(seed=1) as box:` serves until the block ends.

    The same seed, scale, start and sequence of calls give the same customers, events and messages. With
    `limits=False` no request is refused for coming too often. `clock` is real time in epoch seconds for the
    rate limits; shoppers' time moves by `advance` only. `port` 0 takes a free one.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        scale: float = 1.0,
        starts_on: date = date(2026, 9, 28),
        limits: bool = True,
        port: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.world = World(seed=seed, scale=scale, starts_on=starts_on)
        self.customerio = CustomerIO(self.world, seed)
        self.launchdarkly = LaunchDarkly(lambda: self.world.now)
        self._door = Door(
            lambda: self.world.now,
            {"customerio": app_api.scripted, "launchdarkly": rest_api.scripted},
        )
        self._sdk = SdkApi(self.launchdarkly, SDK_KEY)
        windows = Windows(route=ROUTE_REQUESTS_A_WINDOW, everywhere=REQUESTS_A_WINDOW, clock=clock)
        rest = RestApi(self.launchdarkly, ACCESS_TOKEN, SDK_KEY, windows, count=limits, clock=clock)
        bucket = Bucket(APP_REQUESTS_A_SECOND, clock) if limits else None
        app = AppApi(self.customerio, APP_KEY, bucket, clock)
        track = TrackApi(self.customerio, SITE_ID, TRACK_KEY)
        control = Control(self._door, self.customerio, self.launchdarkly, self.advance, self.environment)
        routes = [
            *app.routes(self._door, lambda: self.url),
            *track.routes(self._door, lambda: self.url),
            *rest.routes(self._door),
            *self._sdk.routes(self._door),
            *control.routes(),
        ]
        served = Starlette(routes=routes, exception_handlers={404: _nowhere, 405: _nowhere})
        self._server = Server(with_abort(served), port)
        self._site: Site | None = None
        self._turn = RLock()

    def __enter__(self) -> Self:
        """Start to serve."""
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop serving."""
        if self._site is not None:
            self._site.close()
            self._site = None
        self._sdk.close()
        self._server.stop()

    @property
    def url(self) -> str:
        """Return the address of everything, such as http://127.0.0.1:8123."""
        return self._server.url

    @property
    def now(self) -> datetime:
        """Return the simulated present, in UTC."""
        return self.world.now

    @property
    def messages(self) -> list[Message]:
        """Return what the campaigns sent, in order."""
        return self.world.messages

    @property
    def evaluations(self) -> list[Evaluation]:
        """Return every flag evaluation by a shopper's visit, day by day."""
        return self.world.evaluations

    @property
    def requests(self) -> list[Seen]:
        """Return the log of requests, in the order of their answers; streams count when they open."""
        return self._door.seen

    def environment(self) -> dict[str, str]:
        """Return the variables with which the toolkit talks to this sandbox, at this simulated instant."""
        return {
            "CUSTOMERIO_APP_URL": self.url,
            "CUSTOMERIO_APP_API_KEY": APP_KEY,
            "CUSTOMERIO_TRACK_URL": self.url,
            "CUSTOMERIO_SITE_ID": SITE_ID,
            "CUSTOMERIO_TRACK_API_KEY": TRACK_KEY,
            "LAUNCHDARKLY_URL": self.url,
            "LAUNCHDARKLY_ACCESS_TOKEN": ACCESS_TOKEN,
            "LAUNCHDARKLY_PROJECT": PROJECT,
            "LAUNCHDARKLY_ENVIRONMENT": ENVIRONMENT,
            "LAUNCHDARKLY_SDK_KEY": SDK_KEY,
            "LIFT_NOW": self.now.isoformat(),
        }

    def advance(self, days: int = 7) -> None:
        """Let shoppers live on for some days.

        Raises:
            ToolkitError: the sandbox does not serve, or its site cannot be reached.
        """
        with self._turn:
            if self._site is None:
                store = StateStore(self.launchdarkly)
                self._site = Site(self.url, SDK_KEY, self.world.people.ids, store)
            for _ in range(days):
                self._site.catch_up(lambda: self.launchdarkly.changes)
                with self.customerio.lock:
                    self.customerio.publish(self.world.live(self._site.serve, self.customerio.ready()))

    def fail(self, fault: Fault) -> None:
        """Script a fault for coming requests."""
        self._door.script(fault)

    def truth(
        self,
        experiment: str,
        metric: str,
        assigned: Iterable[tuple[str, str, datetime]],
        as_of_end: datetime,
        *,
        arm: str,
        window: timedelta | None = None,
    ) -> float:
        """Return the true absolute effect of `arm` per assigned customer; see `toolkit.sandbox.truth`."""
        with self.customerio.lock:
            return true_effect(self.world, experiment, metric, assigned, as_of_end, arm=arm, window=window)


async def _nowhere(request: Request, error: Exception) -> Response:
    """Refuse an unknown path or method in the words of the vendor that it would belong to."""
    status = getattr(error, "status_code", 404)
    if request.url.path.startswith("/api/v2/"):
        code = "not_found" if status == 404 else "method_not_allowed"
        return rest_api.refusal(status, code, "Invalid resource identifier").response()
    if request.url.path.startswith("/v1/"):
        return app_api.refused(status, "not found").response()
    return Answer(status, {"error": f"no {request.method} {request.url.path} here"}).response()
