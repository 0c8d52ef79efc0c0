"""LaunchDarkly's big segments: lists too long to be listed, changed by batches of keys or by a file."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence

from toolkit.clients.answers import field
from toolkit.clients.http import NO_PARTS, Wire
from toolkit.errors import Conflict, DataError, InvalidRequest, NotReady, UnexpectedAnswer, WaitingForPerson

__all__ = ["MAX_CONTEXTS_PER_CHANGE", "UNREADABLE", "BigSegments"]

MAX_CONTEXTS_PER_CHANGE = 1500
"""Keys in one request. The vendor names no bound for big segments, so theirs is taken that it names elsewhere."""
UNREADABLE = frozenset(NO_PARTS)
"""Keys for which a big segment cannot be asked, since a key stands in the address there."""
POLLS = 60
FIRST_POLL_SECONDS = 0.5
MOST_POLL_SECONDS = 10.0
FILENAME = "members.csv"


class BigSegments:
    """What only big segments have; reached as `LaunchDarkly(…).big`.

    Methods raise what those of `LaunchDarkly` do.
    """

    def __init__(self, wire: Wire, path: Callable[..., str]) -> None:
        self._wire = wire
        self._path = path

    def change(self, key: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        """Change who is included; keys that are already as asked are left so, and it may be sent again.

        Raises:
            DataError: nothing, or more than `MAX_CONTEXTS_PER_CHANGE` keys, or one key both ways.
            InvalidRequest: the vendor does not take one of the keys.
        """
        count = len(add) + len(remove)
        if not 1 <= count <= MAX_CONTEXTS_PER_CHANGE or set(add) & set(remove):
            raise DataError(
                f"segment {key}: a change takes 1 to {MAX_CONTEXTS_PER_CHANGE} keys, each one way, not {count}"
            )
        body = json.dumps({"included": {"add": list(add), "remove": list(remove)}}, separators=(",", ":"))
        self._wire.ask("POST", self._path(key, "contexts"), body=body.encode(), may_be_empty=True)

    def includes(self, key: str, context: str) -> bool:
        """Return whether the context of this key is included in the segment.

        Raises:
            DataError: the key cannot be asked for; it is one of `UNREADABLE`.
        """
        where = f"LaunchDarkly's segment {key}"
        told = self._wire.ask("GET", self._path(key, "contexts", context))
        if field(told, "userKey", str, where) != context:
            raise UnexpectedAnswer(f"{where}: another context was answered than the one asked for")
        return field(told, "included", bool, where)

    def replace(self, key: str, members: Iterable[str]) -> None:
        """Send the whole list as a file, in place of whoever is in the segment, and wait until it is taken.

        Raises:
            WaitingForPerson: the import waits for an approval.
            NotReady: it, or another before it, is not done after some minutes; it goes on at the vendor's.
            InvalidRequest: the vendor stopped it, as where it does not take one of the keys.
        """
        body, content_type = _form({"mode": "replace"}, _csv(members))
        number = self._start_import(key, body, content_type)
        if not number:
            raise UnexpectedAnswer(
                f"LaunchDarkly's segment {key}: an import was taken without saying where it is"
            )
        self._await_import(key, number)

    def _start_import(self, key: str, body: bytes, content_type: str) -> str:
        """Send the file, once no other import into the segment is under way; return the import's id."""
        for wait in _waits():
            try:
                return self._wire.ask_where(
                    "POST", self._path(key, "imports"), body=body, content_type=content_type
                )
            except Conflict:
                self._wire.pause(wait)
        raise NotReady(f"LaunchDarkly's segment {key}: another import is still under way: run again later")

    def _await_import(self, key: str, number: str) -> None:
        where = f"LaunchDarkly's import {number} into segment {key}"
        for wait in _waits():
            told = self._wire.ask("GET", self._path(key, "imports", number))
            status = field(told, "status", str, where)
            if status == "complete":
                return
            if status == "pending_approval":
                raise WaitingForPerson(
                    f"{where} waits for a person: let someone approve it there, then run again"
                )
            if status == "stopped":
                raise InvalidRequest(f"{where} was stopped: look at the segment's imports there")
            self._wire.pause(wait)
        raise NotReady(f"{where} is still under way: run again later")


def _waits() -> Iterator[float]:
    """Return how long to wait after each look at an import, in seconds."""
    for turn in range(POLLS):
        yield min(FIRST_POLL_SECONDS * 2**turn, MOST_POLL_SECONDS)


def _csv(members: Iterable[str]) -> bytes:
    """Return the keys as a file of one column, quoted where they must be."""
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows([key] for key in members)
    return out.getvalue().encode()


def _form(fields: dict[str, str], file: bytes) -> tuple[bytes, str]:
    """Return a multipart form (RFC 7578) with a file, and its content type."""
    boundary = hashlib.sha256(file).hexdigest()
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    opening = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{FILENAME}"\r\n'
        "Content-Type: text/csv\r\n\r\n"
    )
    body = b"".join((head.encode(), opening.encode(), file, f"\r\n--{boundary}--\r\n".encode()))
    return body, f"multipart/form-data; boundary={boundary}"
