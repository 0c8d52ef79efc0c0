"""The stand-in's LaunchDarkly REST routes that only big segments have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from toolkit.sandbox import shapes
from toolkit.sandbox.big_segments import Import, read_form
from toolkit.sandbox.launchdarkly import LaunchDarkly, Segment, object_id
from toolkit.sandbox.refusals import APPROVAL, MISSING, refusal
from toolkit.sandbox.wire import Answer, Call, Handler

__all__ = ["BigApi"]

NOT_BIG = refusal(400, "invalid_request", "This operation is only supported for big segments")


class BigApi:
    """Handlers over a `LaunchDarkly`; the lock is held by whoever calls them."""

    def __init__(self, state: LaunchDarkly) -> None:
        self._state = state

    def table(self, segments: str) -> Sequence[tuple[str, str, Handler]]:
        """Return method, path and handler of each route beneath the path of segments."""
        one = f"{segments}/{{key}}"
        return (
            ("POST", f"{one}/contexts", self.change),
            ("GET", f"{one}/contexts/{{context}}", self.context),
            ("POST", f"{one}/imports", self.start_import),
            ("GET", f"{one}/imports/{{number}}", self.tell_import),
        )

    def change(self, call: Call) -> Answer:
        """Put contexts on a big segment's lists, and take others off."""
        found = self._found(call)
        if isinstance(found, Answer):
            return found
        said = call.mapping()
        lists = {
            side: {how: _keys(said.get(side), how) for how in ("add", "remove")}
            for side in ("included", "excluded")
        }
        keys = [each for side in lists.values() for part in side.values() for each in part or ()]
        if any(part is None for side in lists.values() for part in side.values()):
            return refusal(400, "invalid_request", "add and remove must be lists of context keys")
        if self._state.refused_keys.intersection(keys):
            return refusal(400, "invalid_request", "a context key is not valid")
        if self._state.approvals:
            return APPROVAL
        for side, parts in lists.items():
            self._state.big.change(found.key, side, add=parts["add"] or (), remove=parts["remove"] or ())
        return Answer(204)

    def context(self, call: Call) -> Answer:
        """Tell whether a context is included or excluded."""
        found = self._found(call)
        if isinstance(found, Answer):
            return found
        key, big = call.parts["context"], self._state.big
        return Answer(
            200,
            {
                "userKey": key,
                "included": key in big.included.get(found.key, ()),
                "excluded": key in big.excluded.get(found.key, ()),
            },
        )

    def start_import(self, call: Call) -> Answer:
        """Take a file of keys; it is done when it has been looked at."""
        found = self._found(call)
        if isinstance(found, Answer):
            return found
        fields, keys = read_form(call.headers.get("content-type", ""), call.body)
        mode = fields.get("mode", "merge")
        if keys is None or mode not in ("merge", "replace"):
            return refusal(400, "invalid_request", "a file and a mode, merge or replace, are needed")
        if self._state.big.look(found.key):
            return refusal(409, "optimistic_locking_error", "An import is already in progress")
        bad = self._state.refused_keys.intersection(keys)
        status: Any = "stopped" if bad else "pending_approval" if self._state.approvals else "in_progress"
        number = object_id("import", len(self._state.big.imports))
        self._state.big.imports[number] = Import(number, found.key, mode, keys, status)
        return Answer(204, headers={"Location": f"{call.path}/{number}"})

    def tell_import(self, call: Call) -> Answer:
        """Tell how far an import is."""
        found = self._found(call)
        if isinstance(found, Answer):
            return found
        self._state.big.look(found.key)
        asked = self._state.big.imports.get(call.parts["number"])
        if asked is None or asked.segment != found.key:
            return MISSING
        return Answer(200, shapes.segment_import(asked, self._state.now()))

    def _found(self, call: Call) -> Segment | Answer:
        found = self._state.segments.get(call.parts["key"])
        if found is None:
            return MISSING
        return found if found.kind else NOT_BIG


def _keys(said: object, how: str) -> list[str] | None:
    """Return the keys to `how` on a side of a segment, None where they cannot be read."""
    keys = said.get(how, []) if isinstance(said, dict) else []
    readable = isinstance(keys, list) and all(isinstance(each, str) and each for each in keys)
    return keys if readable else None
