"""The stand-in's LaunchDarkly REST API."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from starlette.routing import Route

from toolkit.sandbox import shapes
from toolkit.sandbox.big_api import BigApi
from toolkit.sandbox.flag_patches import instructed, replaced
from toolkit.sandbox.launchdarkly import ENVIRONMENT, PROJECT, Flag, LaunchDarkly, Segment, object_id
from toolkit.sandbox.limits import Windows
from toolkit.sandbox.refusals import APPROVAL, MISSING, refusal
from toolkit.sandbox.semantic import PatchError, patched
from toolkit.sandbox.wire import Answer, Call, Door, Handler

__all__ = ["RestApi", "refusal", "scripted"]

SEMANTIC = "domain-model=launchdarkly.semanticpatch"
PAGE = 20
NEW_KEY = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"


def scripted(status: int) -> Answer:
    """Return the vendor's refusal of a status, as a scripted fault plays it."""
    if status == 429:
        return replace(refusal(status, CODES[status], "Too many requests"), headers={"Retry-After": "1"})
    return refusal(status, CODES.get(status, "internal_service_error"), "The request could not be fulfilled")


CODES = {
    400: "invalid_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    409: "optimistic_locking_error",
    429: "rate_limited",
}


class RestApi:
    """Handlers over a `LaunchDarkly`. `count` says whether requests use up the rate limits."""

    def __init__(
        self,
        state: LaunchDarkly,
        token: str,
        sdk_key: str,
        windows: Windows,
        *,
        count: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._state = state
        self._token = token
        self._sdk_key = sdk_key
        self._windows = windows
        self._count = count
        self._clock = clock

    def routes(self, door: Door) -> list[Route]:
        """Return the routes."""
        segments, flags = "/api/v2/segments/{project}/{environment}", "/api/v2/flags/{project}"
        environments = "/api/v2/projects/{project}/environments"
        table: Sequence[tuple[str, str, Handler]] = (
            ("GET", segments, self.list_segments),
            ("POST", segments, self.create_segment),
            ("GET", f"{segments}/{{key}}", self.segment),
            ("PATCH", f"{segments}/{{key}}", self.patch_segment),
            *BigApi(self._state).table(segments),
            ("GET", flags, self.list_flags),
            ("POST", flags, self.create_flag),
            ("GET", f"{flags}/{{key}}", self.flag),
            ("PATCH", f"{flags}/{{key}}", self.patch_flag),
            ("GET", "/api/v2/projects/{project}", self.project),
            ("GET", environments, self.environments),
            ("GET", f"{environments}/{{environment}}", self.environment),
            ("GET", "/api/v2/caller-identity", self.caller),
        )
        return [
            door.route("launchdarkly", method, path, self._guarded(f"{method} {path}", handler))
            for method, path, handler in table
        ]

    def _guarded(self, route: str, handler: Handler) -> Handler:
        """Check token, rate, project and environment; put the vendor's headers on every answer."""

        def guarded(call: Call) -> Answer:
            allowance = self._windows.take(route, count=self._count)
            headers = allowance.headers(self._clock())
            headers["LD-API-Version"] = call.headers.get("ld-api-version", "20240415")
            if not hmac.compare_digest(call.headers.get("authorization", "").encode(), self._token.encode()):
                answer = refusal(401, "unauthorized", "Invalid access token")
            elif not allowance.granted:
                answer = refusal(429, "rate_limited", "You've exceeded the API rate limit. Try again later.")
            elif call.parts.get("project", PROJECT) != PROJECT:
                answer = refusal(404, "not_found", "Unknown project key")
            elif call.parts.get("environment", ENVIRONMENT) != ENVIRONMENT:
                answer = refusal(404, "not_found", "Unknown environment key")
            else:
                with self._state.lock:
                    answer = handler(call)
            return replace(answer, headers={**answer.headers, **headers})

        return guarded

    def list_segments(self, call: Call) -> Answer:
        """List segments by key, 20 a page."""
        told = [self._told(each) for _, each in sorted(self._state.segments.items())]
        return listed(told, call)

    def segment(self, call: Call) -> Answer:
        """Tell about a segment."""
        found = self._state.segments.get(call.parts["key"])
        return MISSING if found is None else Answer(200, self._told(found))

    def create_segment(self, call: Call) -> Answer:
        """Make an empty segment: a standard one, or a big one where the plan has them."""
        said = call.mapping()
        wrong = _unnamed(said)
        if wrong is not None:
            return wrong
        if said["key"] in self._state.segments:
            return refusal(409, "key_exists", f"A segment with key {said['key']} already exists")
        big = bool(said.get("unbounded"))
        if big and not self._state.has_big_segments:
            return refusal(403, "forbidden", "Big segments are not available on this plan")
        description, tags = str(said.get("description") or ""), tuple(map(str, said.get("tags") or ()))
        kind = str(said.get("unboundedContextKind") or "user") if big else None
        made = Segment(said["key"], said["name"], description, tags, kind=kind)
        return Answer(201, self._told(self._state.put_segment(made)))

    def patch_segment(self, call: Call) -> Answer:
        """Change a segment by a semantic patch, or with `dryRun` tell what it would become."""
        found = self._state.segments.get(call.parts["key"])
        if found is None:
            return MISSING
        if SEMANTIC not in call.headers.get("content-type", ""):
            return refusal(400, "invalid_request", "Request body is not a valid JSON patch")
        said = call.mapping()
        if said.get("environmentKey", ENVIRONMENT) != ENVIRONMENT:
            return refusal(400, "invalid_request", "environmentKey does not match the request's path")
        try:
            after = patched(found, said.get("instructions"), refused=self._state.refused_keys)
        except PatchError as wrong:
            return refusal(400, "invalid_request", str(wrong))
        if call.params.get("dryRun", "").lower() not in ("", "false"):
            return Answer(200, self._told(after))
        if self._state.approvals:
            return APPROVAL
        return Answer(200, self._told(found if after is found else self._state.put_segment(after)))

    def list_flags(self, call: Call) -> Answer:
        """List flags by key; targeting only where `summary=0` or an environment is asked for."""
        full = call.params.get("summary") in ("0", "false") or "env" in call.params
        flags = [shapes.flag(each, with_targeting=full) for _, each in sorted(self._state.flags.items())]
        return listed(flags, call)

    def flag(self, call: Call) -> Answer:
        """Tell about a flag, with its targeting."""
        found = self._state.flags.get(call.parts["key"])
        if found is None:
            return MISSING
        return Answer(
            200, shapes.flag(found, with_targeting=call.params.get("env", ENVIRONMENT) == ENVIRONMENT)
        )

    def create_flag(self, call: Call) -> Answer:
        """Make a flag that is off and, when on, serves its default: the first variation unless told otherwise."""
        said = call.mapping()
        wrong = _unnamed(said)
        if wrong is not None:
            return wrong
        if said["key"] in self._state.flags:
            return refusal(409, "key_exists", f"A flag with key {said['key']} already exists")
        variations = said.get("variations") or [{"value": True}, {"value": False}]
        values = tuple(each["value"] for each in variations if isinstance(each, dict) and "value" in each)
        if len(values) < 2 or len(values) < len(variations):
            return refusal(400, "invalid_request", "a flag needs at least two variations, each with a value")
        defaults = said.get("defaults") or {"onVariation": 0, "offVariation": len(values) - 1}
        on, off = (defaults.get(name) for name in ("onVariation", "offVariation"))
        if on not in range(len(values)) or off not in range(len(values)):
            return refusal(400, "invalid_request", "defaults must name variations by their index")
        targeting: dict[str, Any] = {
            "on": bool(said.get("isFlagOn")),
            "rules": [],
            "fallthrough": {"variation": on},
            "offVariation": off,
            "targets": [],
            "contextTargets": [],
            "prerequisites": [],
            "trackEvents": False,
        }
        tags = tuple(map(str, said.get("tags") or ()))
        description, names = (
            str(said.get("description") or ""),
            tuple(each.get("name") or "" for each in variations),
        )
        made = Flag(said["key"], said["name"], values, targeting, description, tags, names=names)
        return Answer(201, shapes.flag(self._state.put_flag(made)))

    def patch_flag(self, call: Call) -> Answer:
        """Change a flag by a semantic patch, or by a JSON patch of its targeting."""
        found = self._state.flags.get(call.parts["key"])
        if found is None:
            return MISSING
        said = call.mapping()
        if said.get("environmentKey", ENVIRONMENT) != ENVIRONMENT:
            return refusal(400, "invalid_request", "Unknown environment key")
        try:
            if SEMANTIC in call.headers.get("content-type", ""):
                after = instructed(found, said.get("instructions"))
            else:
                after = replaced(found, call.json() if not said else said.get("patch"))
        except PatchError as wrong:
            return refusal(400, "invalid_request", str(wrong))
        if self._state.approvals and after.targeting != found.targeting:
            return refusal(405, "method_not_allowed", "Approval is required to make this change")
        return Answer(200, shapes.flag(found if after == found else self._state.put_flag(after)))

    def project(self, _: Call) -> Answer:
        """Tell about the project."""
        return Answer(200, shapes.project())

    def environments(self, call: Call) -> Answer:
        """List the one environment."""
        return listed([self._environment()], call)

    def environment(self, _: Call) -> Answer:
        """Tell about the environment."""
        return Answer(200, self._environment())

    def caller(self, _: Call) -> Answer:
        """Tell who the token stands for."""
        account, token = object_id("account"), object_id("token")
        return Answer(
            200,
            {
                "accountId": account,
                "authKind": "token",
                "tokenKind": "service",
                "tokenName": "sandbox",
                "tokenId": token,
                "serviceToken": True,
            },
        )

    def _told(self, segment: Segment) -> dict[str, Any]:
        return shapes.segment(segment, self._state.big)

    def _environment(self) -> dict[str, Any]:
        return shapes.environment(self._sdk_key, approvals=self._state.approvals)


def _unnamed(said: Mapping[str, Any]) -> Answer | None:
    """Refuse a body without a name or with a key that no resource can have."""
    key, name = said.get("key"), said.get("name")
    if not isinstance(name, str) or not name:
        return refusal(400, "invalid_request", "name is required")
    if not isinstance(key, str) or not key or key[0] in "._-" or set(key) - set(NEW_KEY):
        return refusal(
            400, "invalid_request", "key must begin with a letter or digit and hold only a-z 0-9 . _ -"
        )
    return None


def listed(told: Sequence[Mapping[str, Any]], call: Call) -> Answer:
    """Return a page of a list, with links to itself and to the next."""
    if "filter" in call.params or "sort" in call.params:
        return refusal(400, "invalid_request", "the sandbox knows neither filter nor sort")
    limit, offset = call.params.get("limit", str(PAGE)), call.params.get("offset", "0")
    if not (limit.isdecimal() and offset.isdecimal() and int(limit) > 0):
        return refusal(400, "invalid_request", "limit and offset must be numbers")
    start, size = int(offset), int(limit)
    links = {"self": shapes.link(f"{call.path}?limit={size}&offset={start}")}
    if start + size < len(told):
        links["next"] = shapes.link(f"{call.path}?limit={size}&offset={start + size}")
    items = list(told[start : start + size])
    return Answer(200, {"items": items, "_links": links, "totalCount": len(told)})
