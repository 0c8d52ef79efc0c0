"""The stand-in's big segments: lists kept beside the SDK's payload, changed by keys or by a file.

SDKs find a big segment's members in a store of the application's own, by the hash of the context's key; here
that store is `BigStore.membership`, which has the same layout as the vendor's Redis and DynamoDB stores.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from email import policy
from email.parser import BytesParser
from typing import Literal

__all__ = ["GENERATION", "BigStore", "Import", "hashed", "read_form"]

GENERATION = 1


@dataclass
class Import:
    """A file on its way into a segment. `left` is how many more times it is looked at before it is done."""

    number: str
    segment: str
    mode: str
    keys: tuple[str, ...]
    status: Literal["pending_approval", "in_progress", "complete", "stopped"]
    left: int = 1


@dataclass
class BigStore:
    """Who is in which big segment; hold the stand-in's lock to read or change it."""

    included: dict[str, set[str]] = field(default_factory=dict)
    excluded: dict[str, set[str]] = field(default_factory=dict)
    imports: dict[str, Import] = field(default_factory=dict)
    _by_hash: dict[str, dict[str, bool]] = field(default_factory=dict)

    def change(self, segment: str, side: str, *, add: Iterable[str], remove: Iterable[str]) -> None:
        """Put contexts on a side ("included" or "excluded") of a segment, and take others off."""
        lists = self.included if side == "included" else self.excluded
        keys = lists.setdefault(segment, set())
        added, removed = set(add), set(remove)
        keys -= removed
        keys |= added
        for key in added | removed:
            self._index(segment, key)

    def replace(self, segment: str, keys: Iterable[str]) -> None:
        """Make the included those of `keys`."""
        wanted, there = set(keys), self.included.get(segment, set())
        self.change(segment, "included", add=wanted - there, remove=there - wanted)

    def look(self, segment: str) -> bool:
        """Tell whether an import into the segment is under way; each look brings it one step further."""
        under_way = [
            each for each in self.imports.values() if each.segment == segment and each.status == "in_progress"
        ]
        for each in under_way:
            each.left -= 1
            if each.left < 0:
                self._finish(each)
        return any(each.status == "in_progress" for each in under_way)

    def _finish(self, done: Import) -> None:
        done.status = "complete"
        there = self.included.get(done.segment, set()) if done.mode == "replace" else set()
        wanted = set(done.keys)
        self.change(done.segment, "included", add=wanted - there, remove=there - wanted)

    def membership(self, context_hash: str) -> dict[str, bool]:
        """Return segment reference → included (or else excluded), for the hash of a context's key."""
        return dict(self._by_hash.get(context_hash, {}))

    def _index(self, segment: str, key: str) -> None:
        places, reference = self._by_hash.setdefault(hashed(key), {}), f"{segment}.g{GENERATION}"
        places.pop(reference, None)
        if key in self.included.get(segment, ()):
            places[reference] = True
        elif key in self.excluded.get(segment, ()):
            places[reference] = False


def hashed(key: str) -> str:
    """Return what stands for a context's key in a store."""
    return base64.b64encode(hashlib.sha256(key.encode()).digest()).decode()


def read_form(content_type: str, body: bytes) -> tuple[Mapping[str, str], tuple[str, ...] | None]:
    """Return a multipart form's fields and the keys of its CSV file, None where it has no file."""
    whole = b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body
    fields: dict[str, str] = {}
    keys = None
    for part in BytesParser(policy=policy.HTTP).parsebytes(whole).iter_parts():
        name = part.get_param("name", header="content-disposition")
        raw = part.get_payload(decode=True)
        content = raw.decode() if isinstance(raw, bytes) else ""
        if name == "file":
            keys = tuple(row[0] for row in csv.reader(io.StringIO(content, newline="")) if row and row[0])
        else:
            fields[str(name)] = content
    return fields, keys
