"""What the vendor's own SDK serves to whom: flags and segments as they were read, evaluated without a network."""

from __future__ import annotations

import logging
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from itertools import groupby
from typing import Any

from toolkit.design.flags import USER, Flag, Segment
from toolkit.design.people import Probe
from toolkit.design.probes import Outcome, Served, judge, world_of
from toolkit.design.sdk_form import sdk_flag, sdk_segment
from toolkit.design.served import Subject

__all__ = ["OfflineSdk", "offline_sdk", "try_probes"]


def try_probes(subject: Subject, probes: Iterable[Probe]) -> tuple[Outcome, ...]:
    """Return what each probe's people are served, in the probes' order."""
    outcomes: list[Outcome] = []
    for world, group in groupby(probes, key=lambda probe: probe.world):
        flag, segments = world_of(world, subject.flag, subject.segments)
        down = world == "big-segment store down"
        with offline_sdk(flag, segments, subject.prerequisites, store_down=down) as sdk:
            outcomes += [judge(subject, probe, sdk.serve_probe(probe)) for probe in group]
    return tuple(outcomes)


@contextmanager
def offline_sdk(
    flag: Flag,
    segments: Mapping[str, Segment],
    prerequisites: Mapping[str, Flag | None],
    *,
    store_down: bool = False,
) -> Iterator[OfflineSdk]:
    """Yield the SDK with a flag and all that it reads; with `store_down` its store of big segments fails."""
    from ldclient import Config, LDClient
    from ldclient.config import BigSegmentsConfig
    from ldclient.feature_store import InMemoryFeatureStore
    from ldclient.versioned_data_kind import FEATURES, SEGMENTS

    flags = {key: sdk_flag(each) for key, each in prerequisites.items() if each} | {flag.key: sdk_flag(flag)}
    told = {key: sdk_segment(each) for key, each in segments.items()}
    store = InMemoryFeatureStore()
    store.init({FEATURES: flags, SEGMENTS: told})
    members = _BigMembers(down=store_down)
    config = Config(
        "offline",
        feature_store=store,
        use_ldd=True,  # reads the store and asks nobody
        send_events=False,
        diagnostic_opt_out=True,
        big_segments=BigSegmentsConfig(store=members, context_cache_time=0.0),
    )
    with _silence(logging.getLogger("ldclient")):
        client = LDClient(config, start_wait=0)
        try:
            yield OfflineSdk(client, flag.key, told, lambda segment: store.upsert(SEGMENTS, segment), members)
        finally:
            client.close()


@contextmanager
def _silence(logger: logging.Logger) -> Iterator[None]:
    """Let a logger say nothing: it would say for each key what the outcomes say of all."""
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


class OfflineSdk:
    """The SDK over what was read. Probe people join segments for as long as they are tried."""

    def __init__(
        self,
        client: Any,
        flag: str,
        segments: Mapping[str, Mapping[str, Any]],
        put: Any,
        members: _BigMembers,
    ) -> None:
        self._client = client
        self._flag = flag
        self._segments = segments
        self._put = put
        self._members = members
        self._changes = max((int(each["version"]) for each in segments.values()), default=0)

    def serve_probe(self, probe: Probe) -> tuple[Served, ...]:
        """Return what the probe's people are served, in the order of their keys."""
        joined = [self._segments[key] for key in dict.fromkeys(probe.segments) if key in self._segments]
        for segment in joined:
            if segment.get("unbounded"):
                self._members.join(segment, probe.keys)
            else:
                self._change(_with_members(segment, probe.kind, probe.keys))
        served = tuple(self._serve(_context(probe, key)) for key in probe.keys)
        for segment in joined:
            self._change(segment)
        self._members.leave()
        return served

    def serve(self, keys: Iterable[str], kind: str) -> Iterator[Served]:
        """Yield what contexts of `kind`, known by their keys alone, are served."""
        from ldclient import Context

        for key in keys:
            yield self._serve(Context.create(key, kind))

    def _serve(self, context: Any) -> Served:
        detail = self._client.variation_detail(self._flag, context, None)
        return Served(detail.variation_index, detail.value, detail.reason or {})

    def _change(self, segment: Mapping[str, Any]) -> None:
        self._changes += 1  # the store takes newer versions only
        self._put({**segment, "version": self._changes})


class _BigMembers:
    """A store of big segments that knows probe people; `down`, it fails as one that cannot be reached does."""

    def __init__(self, *, down: bool) -> None:
        self._down = down
        self._refs: dict[str, bool] = {}
        self._hashes: set[str] = set()

    def join(self, segment: Mapping[str, Any], keys: Sequence[str]) -> None:
        """Let contexts be in a big segment."""
        self._refs[f"{segment['key']}.g{segment['generation']}"] = True
        self._hashes.update(b64encode(sha256(key.encode()).digest()).decode() for key in keys)

    def leave(self) -> None:
        """Let nobody be in any."""
        self._refs, self._hashes = {}, set()

    def get_metadata(self) -> Any:
        """Say that the store is up to date (the SDK asks)."""
        from ldclient.interfaces import BigSegmentStoreMetadata

        return BigSegmentStoreMetadata(int(time.time() * 1000))

    def get_membership(self, context_hash: str) -> dict[str, bool] | None:
        """Return the segments of a context by the hash of its key (the SDK asks).

        Raises:
            ConnectionError: the store is down.
        """
        if self._down:
            raise ConnectionError("the store of big segments is down")
        return dict(self._refs) if context_hash in self._hashes else None

    def stop(self) -> None:
        """Do nothing: there is nothing to stop (the SDK asks)."""


def _with_members(segment: Mapping[str, Any], kind: str, keys: Sequence[str]) -> dict[str, Any]:
    if kind == USER:
        return {**segment, "included": [*segment["included"], *keys]}
    more = {"contextKind": kind, "values": list(keys)}
    return {**segment, "includedContexts": [*segment["includedContexts"], more]}


def _context(probe: Probe, key: str) -> Any:
    from ldclient import Context

    parts = [
        Context.from_dict({**attributes, "kind": kind, "key": key})
        for kind, attributes in ((probe.kind, probe.attributes), *probe.others.items())
    ]
    return parts[0] if len(parts) == 1 else Context.create_multi(*parts)
