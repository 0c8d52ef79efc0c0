"""How another process moves the sandbox: simulated time, faults and switches, under /_sandbox."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from starlette.routing import Route

from toolkit.sandbox.customerio import CustomerIO
from toolkit.sandbox.launchdarkly import LaunchDarkly
from toolkit.sandbox.wire import Answer, Call, Door, Fault

__all__ = ["Control"]


class Control:
    """Handlers of the sandbox's own routes, which need no key: they are on the loopback only."""

    def __init__(
        self,
        door: Door,
        customerio: CustomerIO,
        launchdarkly: LaunchDarkly,
        advance: Callable[[int], None],
        environment: Callable[[], Mapping[str, str]],
    ) -> None:
        self._door = door
        self._customerio = customerio
        self._launchdarkly = launchdarkly
        self._advance = advance
        self._environment = environment

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            self._door.route("sandbox", "GET", "/_sandbox/state", self.state),
            self._door.route("sandbox", "POST", "/_sandbox/advance", self.advance),
            self._door.route("sandbox", "POST", "/_sandbox/fail", self.fail),
            self._door.route("sandbox", "POST", "/_sandbox/set", self.switch),
        ]

    def state(self, _: Call) -> Answer:
        """Tell the simulated present, the environment to export, and counts."""
        world = self._customerio.world
        counts = {
            "people": len(self._customerio.people),
            "activities": len(self._customerio.activities),
            "messages": len(world.messages),
            "evaluations": len(world.evaluations),
            "requests": len(self._door.seen),
            "segments": len(self._launchdarkly.segments),
        }
        return Answer(
            200, {"now": world.now.isoformat(), "counts": counts, "environment": dict(self._environment())}
        )

    def advance(self, call: Call) -> Answer:
        """Let `days` (default 7) pass."""
        days = call.mapping().get("days", 7)
        if not isinstance(days, int) or not 0 < days <= 366:
            return Answer(400, {"error": "days must be a whole number from 1 to 366"})
        self._advance(days)
        return self.state(call)

    def fail(self, call: Call) -> Answer:
        """Script a fault: the fields of `Fault`, with `vendor` at least."""
        said, known = call.mapping(), {each.name for each in fields(Fault)}
        if "vendor" not in said or set(said) - known:
            return Answer(400, {"error": f"a fault has vendor, and may have {', '.join(sorted(known))}"})
        self._door.script(Fault(**said))
        return Answer(200, {})

    def switch(self, call: Call) -> Answer:
        """Set `approvals`, `has_big_segments` and `refused_keys` of LaunchDarkly, and Customer.io's `building`.

        `building` are the ids of segments that are not ready yet.
        """
        said: dict[str, Any] = call.mapping()
        known = ("approvals", "has_big_segments", "refused_keys", "building")
        if set(said) - set(known):
            return Answer(400, {"error": f"only {', '.join(known)} can be set"})
        if "has_big_segments" in said:
            self._launchdarkly.has_big_segments = bool(said["has_big_segments"])
        if "refused_keys" in said:
            self._launchdarkly.refused_keys = set(map(str, said["refused_keys"]))
        if "approvals" in said:
            self._launchdarkly.approvals = bool(said["approvals"])
        if "building" in said:
            self._customerio.building = {int(each) for each in said["building"]}
        return Answer(200, {})
