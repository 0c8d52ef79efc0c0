"""LaunchDarkly's REST API: segments and their members, and flags to audit."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import httpx

from toolkit.clients.answers import field, field_or_none, items
from toolkit.clients.http import Refusal, Timing, Vendor, Wire, path_of, usable_secret
from toolkit.clients.launchdarkly_big import BigSegments
from toolkit.errors import (
    Conflict,
    DataError,
    NotFound,
    Unauthorized,
    UnexpectedAnswer,
    VendorError,
    WaitingForPerson,
)

__all__ = ["MAX_TARGETS_PER_PATCH", "MAX_TARGETS_PER_SEGMENT", "LaunchDarkly", "LdSegment"]

MAX_TARGETS_PER_PATCH = 1500
"""The most target operations that one semantic patch may hold."""
MAX_TARGETS_PER_SEGMENT = 15_000
"""The most contexts that a standard segment may hold."""

API_VERSION = "20240415"
SEMANTIC_PATCH = "application/json; domain-model=launchdarkly.semanticpatch"
VENDOR = Vendor(
    "LaunchDarkly",
    "LAUNCHDARKLY_ACCESS_TOKEN",
    " (an access token, not an SDK key), and that LAUNCHDARKLY_URL is the account's",
    "LAUNCHDARKLY_URL",
)
RIGHTS = {"GET": "to read (reader)", "POST": "createSegment (writer)", "PATCH": "updateIncluded (writer)"}


@dataclass(frozen=True, slots=True)
class LdSegment:
    """A segment of one environment. `included` holds keys of the client's context kind.

    A big segment (`unbounded`) does not list its members: its `included` is empty whatever it holds.
    `included` beats `excluded`; each of `rules` can make members of its own, whom no list shows.

    Attributes:
        kind: of a big segment's keys; None for a standard segment, which may hold several kinds.
        count: how many contexts a big segment includes, where the vendor tells.
        importing: whether a list is being imported into a big segment.
    """

    key: str
    name: str
    tags: tuple[str, ...]
    version: int
    included: frozenset[str]
    unbounded: bool
    excluded: frozenset[str] = frozenset()
    rules: int = 0
    kind: str | None = None
    count: int | None = None
    importing: bool = False


class LaunchDarkly:
    """A client for one project and environment; use it in one thread, and close it.

    Every method can raise `Unauthorized`, `RateLimited`, `Unreachable`, `UnexpectedAnswer`, `NotFound`
    for a wrong project or environment, and `VendorError` for a request that the vendor calls invalid.

    Args:
        access_token: a REST access token (`api-…`), not an SDK key.
        project: its key.
        environment: its key.
        base_url: `https://app.eu.launchdarkly.com` for the EU.
        context_kind: the kind of the keys that are added and removed.
        transport: stands for the network in tests.
        sleep: waits so many seconds.
        clock: seconds that only ever grow.
        wall: seconds since the epoch.
    """

    def __init__(
        self,
        access_token: str,
        *,
        project: str,
        environment: str,
        base_url: str = "https://app.launchdarkly.com",
        context_kind: str = "user",
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        token = usable_secret(access_token, VENDOR.key_variables)
        self.project = project
        self.environment = environment
        self.context_kind = context_kind
        self._wire = Wire(
            VENDOR,
            base_url,
            headers={"Authorization": token, "LD-API-Version": API_VERSION},
            secrets=(token,),
            transport=transport,
            timing=Timing(sleep, clock, wall),
            refused=_refused,
        )
        self.big = BigSegments(self._wire, self._path)

    def __repr__(self) -> str:
        return f"LaunchDarkly({self._wire.host}, project={self.project!r}, environment={self.environment!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    def pause(self, seconds: float) -> None:
        """Send nothing for so many seconds."""
        self._wire.pause(seconds)

    def check_access(self) -> None:
        """Ask for the environment.

        Raises:
            NotFound: the token sees no such project or environment; the message names both.
        """
        try:
            self._wire.ask(
                "GET", path_of("api", "v2", "projects", self.project, "environments", self.environment)
            )
        except NotFound:
            raise NotFound(
                f"LaunchDarkly has no environment {self.environment!r} in project {self.project!r}, or the token"
                " does not see it: check LAUNCHDARKLY_PROJECT and LAUNCHDARKLY_ENVIRONMENT (their keys, not names)"
            ) from None

    def segment(self, key: str) -> LdSegment | None:
        """Return the segment, or None when the environment has none of this key."""
        try:
            return self._segment(self._wire.ask("GET", self._path(key)), key)
        except NotFound:
            self.check_access()
            return None

    def create_segment(
        self, key: str, *, name: str, description: str, tags: Sequence[str], big: bool = False
    ) -> LdSegment:
        """Make an empty segment: a standard one, or a big one, which stays so for ever.

        Raises:
            Unauthorized: the token may not, or the account's plan has no big segments.
            Conflict: there is one of this key. That may be ours, made by a request whose answer was lost:
                read it and look at its tags.
        """
        body: dict[str, Any] = {"key": key, "name": name, "description": description, "tags": list(tags)}
        if big:
            body |= {"unbounded": True, "unboundedContextKind": self.context_kind}
        try:
            return self._segment(self._wire.ask("POST", self._path(), body=_encoded(body)), key)
        except NotFound:
            self.check_access()
            raise

    def change_targets(
        self, key: str, *, add: Sequence[str] = (), remove: Sequence[str] = (), comment: str
    ) -> LdSegment:
        """Change who is included, by one semantic patch: all of it is done, or nothing.

        Keys that are already as asked are left so; the patch may be sent again.

        Args:
            key: of the segment.
            add: context keys to include.
            remove: context keys to include no longer; removed before `add` is added.
            comment: for the vendor's audit log.

        Returns:
            The segment after the change.

        Raises:
            DataError: nothing, or more than `MAX_TARGETS_PER_PATCH` keys, or one key both ways.
            NotFound: there is no such segment.
            Conflict: someone else changed it meanwhile; read it, and plan again.
            WaitingForPerson: the environment wants an approval first; nothing was changed.
            InvalidRequest: the vendor does not take one of the keys (it does not say which), or the segment
                would grow too large; nothing was changed.
        """
        count = len(add) + len(remove)
        if not 1 <= count <= MAX_TARGETS_PER_PATCH:
            raise DataError(
                f"segment {key}: a patch changes 1 to {MAX_TARGETS_PER_PATCH} targets, not {count}; split the change"
            )
        if both := len(set(add) & set(remove)):
            raise DataError(f"segment {key}: {both} keys are both to be added and removed; decide for one")
        instructions = [
            {"kind": kind, "contextKind": self.context_kind, "values": list(values)}
            for kind, values in (("removeIncludedTargets", remove), ("addIncludedTargets", add))
            if values
        ]
        return self._patch(key, instructions, comment)

    def relabel(
        self, key: str, *, description: str, add: Sequence[str], remove: Sequence[str], comment: str
    ) -> LdSegment:
        """Change a segment's description and tags; its members stay.

        Raises:
            NotFound: there is no such segment.
            Conflict: someone else changed it meanwhile; read it, and plan again.
            WaitingForPerson: the environment wants an approval first; nothing was changed.
        """
        instructions: list[dict[str, Any]] = [{"kind": "updateDescription", "value": description}]
        instructions += [
            {"kind": kind, "values": list(tags)}
            for kind, tags in (("removeTags", remove), ("addTags", add))
            if tags
        ]
        return self._patch(key, instructions, comment)

    def _patch(self, key: str, instructions: Sequence[Mapping[str, Any]], comment: str) -> LdSegment:
        body = {"environmentKey": self.environment, "comment": comment, "instructions": instructions}
        try:
            told = self._wire.ask("PATCH", self._path(key), body=_encoded(body), content_type=SEMANTIC_PATCH)
        except NotFound:
            self.check_access()
            raise NotFound(
                f"LaunchDarkly has no segment {key!r} in {self.project}/{self.environment}: create it first"
            ) from None
        return self._segment(told, key)

    def flag(self, key: str) -> Mapping[str, Any]:
        """Return the flag as the REST API tells it, with the targeting of this environment.

        Raises:
            NotFound: there is no such flag, or it has no such environment.
        """
        try:
            told = self._wire.ask(
                "GET", path_of("api", "v2", "flags", self.project, key), query={"env": self.environment}
            )
        except NotFound:
            self.check_access()
            raise NotFound(
                f"LaunchDarkly has no flag {key!r} in project {self.project!r}: check its key (not its name)"
            ) from None
        if self.environment not in field(told, "environments", dict, f"LaunchDarkly's flag {key}"):
            self.check_access()
            raise NotFound(f"LaunchDarkly's flag {key!r} has no environment {self.environment!r}")
        return told

    def _path(self, *key: str) -> str:
        return path_of("api", "v2", "segments", self.project, self.environment, *key)

    def _segment(self, told: Mapping[str, Any], key: str) -> LdSegment:
        where = f"LaunchDarkly's segment {key}"
        if field(told, "key", str, where) != key:
            raise UnexpectedAnswer(f"{where}: another segment was answered")
        unbounded = bool(field_or_none(told, "unbounded", bool, where))
        about = field_or_none(told, "_unboundedMetadata", dict, where)
        return LdSegment(
            key=key,
            name=field(told, "name", str, where),
            tags=tuple(items(told, "tags", str, where)),
            version=field(told, "version", int, where),
            included=self._keys(told, "included", where),
            unbounded=unbounded,
            excluded=self._keys(told, "excluded", where),
            rules=len(items(told, "rules", dict, where)),
            kind=field_or_none(told, "unboundedContextKind", str, where) if unbounded else None,
            count=field_or_none(about or {}, "includedCount", int, where),
            importing=bool(field_or_none(told, "_importInProgress", bool, where)),
        )

    def _keys(self, told: Mapping[str, Any], side: str, where: str) -> frozenset[str]:
        """Return the keys of our context kind; those of kind "user" stand in either of two lists.

        A target that names no kind is of kind "user".
        """
        keys: set[str] = set()
        if self.context_kind == "user":
            keys.update(items(told, side, str, where))
        for each in items(told, f"{side}Contexts", dict, where):
            values = items(each, "values", str, where)
            if (field_or_none(each, "contextKind", str, where) or "user") == self.context_kind:
                keys.update(values)
        return frozenset(keys)


def _refused(refusal: Refusal) -> VendorError:
    """Tell an approval from a missing right, and one conflict from the other."""
    at = f"({refusal.status}) at {refusal.route}"
    told = f" ({refusal.said})" if refusal.said else ""
    if refusal.status in (403, 405) and "approval" in refusal.said.lower():  # 405 is what flags answer
        return WaitingForPerson(
            f"LaunchDarkly waits for a person {at}{told}: the environment wants approvals; let someone approve the"
            " change there, or exempt this token from approvals"
        )
    if refusal.status == 403:
        right = RIGHTS.get(refusal.route.split(" ")[0], "for this")
        return Unauthorized(
            f"LaunchDarkly: the token lacks a right {at}{told}: give the token of {VENDOR.key_variables} a role with"
            f" the right {right}"
        )
    if refusal.code == "key_exists":
        return Conflict(
            f"LaunchDarkly has it already {at}{told}: if it is not this toolkit's, choose another key"
        )
    return refusal.error()


def _encoded(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
