"""Customer.io's exports: for cohorts so large that asking person by person would take hours."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from toolkit.clients.answers import field
from toolkit.clients.http import Wire, path_of
from toolkit.clients.streams import Patience
from toolkit.design.people_filter import problem_of
from toolkit.errors import DataError, NotReady, UnexpectedAnswer, Unreachable, VendorError

__all__ = ["Export", "Exports", "refuse_strange"]

FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 15.0
PATIENCE_SECONDS = 1800.0
LINKS = 3
"""A link holds for 15 minutes; so many are asked for before a download is given up."""
TIMEOUT = httpx.Timeout(60.0, connect=10.0)
TRICKLE_SECONDS = 120.0
LEAST_BYTES_PER_SECOND = 10_000
"""A file may take two minutes, and as long as this pace takes for it, however large it is."""


@dataclass(frozen=True, slots=True)
class Export:
    """An export: its number, `pending`, `done` or `failed`, and how many rows it has once it is done, 0 if untold."""

    id: int
    status: str
    total: int


class Exports:
    """Starts exports over the App API's wire, and fetches their files from wherever they are kept.

    Args:
        wire: the App API's.
        transport: stands for the network in tests, also that of the files.
    """

    def __init__(self, wire: Wire, transport: httpx.BaseTransport | None) -> None:
        self._wire = wire
        self._transport = transport

    def people(self, filter: Mapping[str, Any], attributes: Sequence[str]) -> Export:  # noqa: A002
        """Start an export of the people whom a filter fits, with these attributes besides their identifiers.

        Raises:
            DataError: the filter is not in the documented form; nothing was asked.
        """
        refuse_strange(filter)
        return self._started("customers", {"filters": filter, "attributes": list(attributes)})

    def look(self, export: int) -> Export:
        """Return how an export stands.

        Raises:
            NotFound: there is none of this number.
        """
        path = path_of("v1", "exports", export)
        return _export_from(self._wire.ask("GET", path), f"Customer.io at GET {path}")

    def wait(self, export: Export, *, progress: Callable[[str, int, int], None] | None = None) -> Export:
        """Return the export once it is done; `progress` is told (what, seconds waited, 0).

        Raises:
            VendorError: Customer.io says that it failed.
            NotReady: it is not done after half an hour.
        """
        waited, pause = 0.0, FIRST_WAIT_SECONDS
        while export.status == "pending":
            if waited >= PATIENCE_SECONDS:
                raise NotReady(
                    f"Customer.io's export {export.id} is not done after {waited / 60:.0f} minutes: run again later"
                )
            self._wire.pause(pause)
            waited, pause = waited + pause, min(2 * pause, LONGEST_WAIT_SECONDS)
            export = self.look(export.id)
            if progress:
                progress("export", int(waited), 0)
        if export.status != "done":
            raise VendorError(
                f"Customer.io's export {export.id} is {export.status}: look at it under Data & Integrations, "
                "Exports, and run again"
            )
        return export

    def fetch(self, export: Export, into: Path) -> None:
        """Write a finished export's file to `into`: all of it, or nothing.

        The key is not sent along: the file's address is somebody else's, and is a secret itself. Where it has run
        out, or where fewer rows came than the export has, a new one is asked for.

        Raises:
            Unreachable: the file cannot be had, or not all of it.
        """
        path = path_of("v1", "exports", export.id, "download")
        part = into.with_name(f"{into.name}.part")
        said = ""
        for _ in range(LINKS):
            link = field(self._wire.ask("GET", path), "url", str, f"Customer.io at GET {path}")
            try:
                ends = self._stream(link, part)
                said = _lacking(part, export.total) or ("" if ends else "its last line does not end")
            except (httpx.HTTPError, httpx.InvalidURL) as lost:
                status = lost.response.status_code if isinstance(lost, httpx.HTTPStatusError) else None
                said = f"{type(lost).__name__}{f' {status}' if status else ''}"
            if not said:
                part.replace(into)
                return
            part.unlink(missing_ok=True)
        raise Unreachable(
            f"Customer.io's export {export.id} cannot be downloaded ({said}, {LINKS} times): check the network and "
            "any proxy between, then run again"
        )

    def _stream(self, link: str, into: Path) -> bool:
        """Write the file; return whether its end came, which HTTP does not tell where it names no length."""
        last = b""
        with httpx.Client(transport=self._transport, timeout=TIMEOUT, follow_redirects=True) as client:
            answer = Patience(client, self._wire.clock).stream(
                client.build_request("GET", link),
                seconds=TRICKLE_SECONDS,
                bytes_per_second=LEAST_BYTES_PER_SECOND,
            )
            with closing(answer), into.open("wb") as file:
                answer.raise_for_status()
                for some in answer.iter_bytes():
                    file.write(some)
                    last = some or last
        framed = "Content-Length" in answer.headers or "Transfer-Encoding" in answer.headers
        return framed or last.endswith(b"\n")

    def _started(self, what: str, body: Mapping[str, Any]) -> Export:
        path = path_of("v1", "exports", what)
        sent = json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
        return _export_from(self._wire.ask("POST", path, body=sent), f"Customer.io at POST {path}")


def refuse_strange(condition: Mapping[str, Any]) -> None:
    """Raise DataError where a filter of people is not in Customer.io's form, naming the place."""
    wrong = problem_of(condition)
    if wrong:
        raise DataError(f"Customer.io's {wrong}")


def _lacking(file: Path, total: int) -> str:
    """Return what keeps a file from being all of an export of `total` rows (0 if untold), "" if nothing does."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            rows = csv.reader(lines, strict=True)
            next(rows, None)
            count = sum(1 for row in rows if row)
    except (UnicodeDecodeError, csv.Error):
        return "it is cut short, or no CSV in UTF-8"
    return f"{count:,} of {total:,} rows came" if count < total else ""


def _export_from(told: Mapping[str, Any], where: str) -> Export:
    about = field(told, "export", dict, where)
    status = field(about, "status", str, where)
    if status not in {"pending", "done", "failed"}:
        raise UnexpectedAnswer(f"{where}: `status` {status!r} is none of pending, done, failed")
    total = about.get("total")
    failed = bool(about.get("failed"))
    return Export(
        field(about, "id", int, where), "failed" if failed else status, total if isinstance(total, int) else 0
    )
