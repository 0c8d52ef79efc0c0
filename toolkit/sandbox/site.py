"""The shop's site: it asks the real LaunchDarkly SDK what to show, by streaming from the sandbox."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ldclient import Config, Context, LDClient
from ldclient.config import BigSegmentsConfig

from toolkit.errors import ToolkitError
from toolkit.sandbox.big_store import StateStore
from toolkit.sandbox.launchdarkly import VERSION_FLAG
from toolkit.sandbox.model import Program

__all__ = ["Site"]

PATIENCE_SECONDS = 15.0
CACHE_SECONDS = 0.001
"""How long the SDK may remember who is in which big segment."""
PROBE = Context.create("sandbox")


class Site:
    """A streaming SDK client, and what it shows to people known by their ids; `store` has the big segments."""

    def __init__(self, url: str, sdk_key: str, ids: Sequence[str], store: StateStore) -> None:
        self._ids = ids
        self._contexts: dict[int, Context] = {}
        config = Config(
            sdk_key,
            base_uri=url,
            stream_uri=url,
            events_uri=url,
            send_events=False,
            diagnostic_opt_out=True,
            big_segments=BigSegmentsConfig(store=store, context_cache_time=CACHE_SECONDS),
        )
        self._client = LDClient(config, start_wait=PATIENCE_SECONDS)

    def catch_up(self, changes: Callable[[], int]) -> None:
        """Wait until the client has every change that the server has made.

        Raises:
            ToolkitError: it does not come through.
        """
        patient_until = time.monotonic() + PATIENCE_SECONDS
        while self._client.variation(VERSION_FLAG, PROBE, -1) != changes():
            if time.monotonic() > patient_until:
                raise ToolkitError("the sandbox's site did not receive the latest flags and segments")
            time.sleep(0.001)

    def serve(self, program: Program, people: Sequence[int]) -> list[bool | str]:
        """Return what the program's flag serves to each."""
        return [
            self._client.variation(program.flag, self._context(number), program.control) for number in people
        ]

    def close(self) -> None:
        """Close the client's stream."""
        self._client.close()

    def _context(self, number: int) -> Context:
        found = self._contexts.get(number)
        if found is None:
            found = self._contexts[number] = Context.create(self._ids[number])
        return found
