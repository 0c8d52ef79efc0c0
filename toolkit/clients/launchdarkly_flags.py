"""LaunchDarkly's REST API of flags: what an audit reads, and the flags that a scaffold makes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.clients.http import path_of
from toolkit.clients.launchdarkly import SEMANTIC_PATCH, LaunchDarkly
from toolkit.errors import NotFound

__all__ = ["LaunchDarklyFlags"]


class LaunchDarklyFlags(LaunchDarkly):
    """A client that reads flags and segments whole, and makes flags. See `LaunchDarkly` for what it can raise."""

    def segment_told(self, key: str) -> Mapping[str, Any] | None:
        """Return the segment as the REST API tells it, rules and all; None where there is none."""
        try:
            return self._wire.ask("GET", self._path(key))
        except NotFound:
            self.check_access()
            return None

    def flag_told(self, key: str) -> Mapping[str, Any] | None:
        """Return the flag as `flag` does, but None where the environment has none of this key."""
        try:
            return self.flag(key)
        except NotFound:
            self.check_access()
            return None

    def create_flag(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Make the flag that `body` describes, in all environments of the project.

        Raises:
            Conflict: there is a flag of this key. That may be ours, made by a request whose answer was lost:
                read it and look at its tags.
        """
        try:
            return self._wire.ask("POST", path_of("api", "v2", "flags", self.project), body=_encoded(body))
        except NotFound:
            self.check_access()
            raise

    def instruct_flag(self, key: str, instructions: Sequence[Mapping[str, Any]], *, comment: str) -> None:
        """Change the flag in this environment by one semantic patch: all of it is done, or nothing.

        Raises:
            NotFound: there is no such flag.
            Conflict: someone else changed it meanwhile; read it, and plan again.
            WaitingForPerson: the environment wants an approval first; nothing was changed.
        """
        body = {"environmentKey": self.environment, "comment": comment, "instructions": list(instructions)}
        self._wire.ask("PATCH", self._flag_path(key), body=_encoded(body), content_type=SEMANTIC_PATCH)

    def replace_in_flag(self, key: str, path: str, value: Any, *, comment: str) -> None:
        """Replace what stands at `path` of the flag's targeting in this environment, by a JSON patch.

        Instructions cannot say a rollout's seed; this can.

        Raises:
            NotFound, Conflict, WaitingForPerson: as for `instruct_flag`.
        """
        place = f"/environments/{self.environment}/{path}"
        body = {"comment": comment, "patch": [{"op": "replace", "path": place, "value": value}]}
        self._wire.ask("PATCH", self._flag_path(key), body=_encoded(body))

    def _flag_path(self, key: str) -> str:
        return path_of("api", "v2", "flags", self.project, key)


def _encoded(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
