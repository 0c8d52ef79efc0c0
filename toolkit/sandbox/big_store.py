"""The store in which an application's SDK looks for members of big segments, filled from the stand-in's state."""

from __future__ import annotations

import time

from ldclient.interfaces import BigSegmentStore, BigSegmentStoreMetadata

from toolkit.sandbox.launchdarkly import LaunchDarkly

__all__ = ["StateStore"]


class StateStore(BigSegmentStore):  # type: ignore[misc]
    """What the vendor's Relay Proxy would keep up to date in Redis or DynamoDB; here always up to date."""

    def __init__(self, state: LaunchDarkly) -> None:
        self._state = state

    def get_metadata(self) -> BigSegmentStoreMetadata:
        """Return that the store is up to date."""
        return BigSegmentStoreMetadata(int(time.time() * 1000))

    def get_membership(self, context_hash: str) -> dict[str, bool] | None:
        """Return segment reference → included, for the hash of a context's key."""
        with self._state.lock:
            return self._state.big.membership(context_hash) or None

    def stop(self) -> None:
        """Do nothing: there is no connection."""
