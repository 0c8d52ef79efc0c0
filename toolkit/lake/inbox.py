"""The inbox: what webhooks brought, kept on this machine's disk until it is applied.

One SQLite file. A commit returns after its pages are on the disk, so whatever was acknowledged outlives a crash.
The journal is a rollback journal that persists: write-ahead logs of SQLite before 3.51.3 can be corrupted by a race,
and a journal that is deleted may be back after a power failure, and undo what was acknowledged.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from toolkit.errors import StorageError
from toolkit.lake.received import Arrival, Crossing, Delivery, Held, Outcome, Standing, Unusable, Waiting

__all__ = ["REMEMBERED", "Inbox"]

REMEMBERED = timedelta(days=8)
"""How long an event id is known again; longer than any vendor repeats one."""
FORGOTTEN_AT_ONCE = 1_000
"""Event ids that one commit forgets at most, so that none takes long."""
LAYOUT = 1
NEW, RECORDED, DONE = 0, 1, 2

DELIVERY = tuple(each.name for each in fields(Delivery))


class Inbox:
    """The file at `path`, made if it is not there; readable by its owner only. Use it in one thread.

    Args:
        path: on a local disk.
        patience_seconds: how long to wait while another process writes.

    Raises:
        StorageError: from every method, if the disk refuses, or the file is locked for too long.
    """

    def __init__(self, path: Path, *, patience_seconds: float = 2.0) -> None:
        self.path = path
        _make(path)
        with self._told():
            self._con = sqlite3.connect(path, timeout=patience_seconds, isolation_level=None)
            self._file = _identity(path)
            self._con.execute("PRAGMA journal_mode = PERSIST")
            self._con.execute("PRAGMA synchronous = FULL")
            self._lay_out()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._con.close()

    def accept(self, arrivals: Sequence[Arrival], *, at: float) -> list[Outcome]:
        """Keep `arrivals`, all of them or none, and return what became of each; afterwards they are on the disk.

        `at` is the present in seconds since 1970; event ids are known again for `REMEMBERED` from then.
        """
        with self._transaction():
            outcomes = [self._accept(each, at) for each in arrivals]
            self._con.execute(
                "DELETE FROM seen WHERE (door, event_id) IN (SELECT door, event_id FROM seen WHERE at < ? LIMIT ?)",
                (at - REMEMBERED.total_seconds(), FORGOTTEN_AT_ONCE),
            )
        return outcomes

    def waiting(self) -> Waiting:
        """Return how much is in the inbox."""
        (counts,) = self._rows(
            "SELECT (SELECT count(*) FROM deliveries), (SELECT count(*) FROM standings WHERE stage < ?), "
            "(SELECT count(*) FROM quarantine)",
            DONE,
        )
        return Waiting(*counts)

    def deliveries(self, most: int) -> tuple[int, list[Delivery]]:
        """Return the first deliveries not taken yet, and the place of the last of them (0: there are none)."""
        rows = self._rows(f"SELECT place, {', '.join(DELIVERY)} FROM deliveries ORDER BY place LIMIT ?", most)
        return (rows[-1][0] if rows else 0), [Delivery(*row[1:]) for row in rows]

    def taken(self, through: int) -> None:
        """Drop the deliveries up to the place `through`: the lake has them."""
        with self._transaction():
            self._con.execute("DELETE FROM deliveries WHERE place <= ?", (through,))

    def standings(self) -> list[Standing]:
        """Return what is still to be applied, in a fixed order."""
        rows = self._rows(
            "SELECT experiment, customer, entered, action, moment, stage FROM standings WHERE stage < ? "
            "ORDER BY experiment, customer",
            DONE,
        )
        return [
            Standing(key, who, bool(entered), action, moment, stage == RECORDED)
            for key, who, entered, action, moment, stage in rows
        ]

    def recorded(self, standings: Iterable[Standing]) -> None:
        """Note that the lake has `standings`; one that changed meanwhile is left as it is."""
        self._advance(standings, RECORDED)

    def applied(self, standings: Iterable[Standing]) -> None:
        """Note that `standings` are applied; one that changed meanwhile is left as it is."""
        self._advance(standings, DONE)

    def held(self) -> list[Held]:
        """Return what was put aside, by reason."""
        rows = self._rows(
            "SELECT door, reason, count(*), sum(times) FROM quarantine GROUP BY door, reason ORDER BY door, reason"
        )
        return [Held(*row) for row in rows]

    def unusable(self) -> list[Unusable]:
        """Return the bodies that were put aside, the oldest first."""
        rows = self._rows("SELECT door, body, reason FROM quarantine ORDER BY at, digest")
        return [Unusable(*row) for row in rows]

    def mended(self, pairs: Sequence[tuple[Unusable, Arrival | None]], *, at: float) -> list[Outcome]:
        """Accept what can be understood now of what was put aside, and drop it there; None says that it is not needed."""
        with self._transaction():
            for held, _ in pairs:
                self._con.execute("DELETE FROM quarantine WHERE digest = ?", (_digest(held),))
            return [self._accept(arrival, at) for _, arrival in pairs if arrival is not None]

    def _lay_out(self) -> None:
        (layout,) = self._con.execute("PRAGMA user_version").fetchone()
        if layout == LAYOUT:
            return
        if layout:
            raise StorageError(f"{self.path}: was written by another release; use the one that wrote it")
        with self._transaction():
            for statement in (
                "CREATE TABLE IF NOT EXISTS seen (door TEXT, event_id TEXT, at REAL, PRIMARY KEY (door, event_id)) "
                "WITHOUT ROWID",
                "CREATE INDEX IF NOT EXISTS seen_at ON seen (at)",
                f"CREATE TABLE IF NOT EXISTS deliveries (place INTEGER PRIMARY KEY AUTOINCREMENT, {', '.join(DELIVERY)})",
                "CREATE TABLE IF NOT EXISTS standings (experiment TEXT, customer TEXT, entered INTEGER, action TEXT, "
                "moment INTEGER, stage INTEGER, PRIMARY KEY (experiment, customer)) WITHOUT ROWID",
                f"CREATE INDEX IF NOT EXISTS unsettled ON standings (experiment) WHERE stage < {DONE}",
                "CREATE TABLE IF NOT EXISTS quarantine (digest TEXT PRIMARY KEY, door TEXT, body BLOB, reason TEXT, "
                "at REAL, times INTEGER)",
                f"PRAGMA user_version = {LAYOUT}",
            ):
                self._con.execute(statement)

    def _accept(self, arrival: Arrival, at: float) -> Outcome:
        if isinstance(arrival, Unusable):
            self._con.execute(
                "INSERT INTO quarantine VALUES (?, ?, ?, ?, ?, 1) ON CONFLICT (digest) DO UPDATE SET times = times + 1",
                (_digest(arrival), arrival.door, arrival.body, arrival.reason, at),
            )
            return "quarantined"
        door = type(arrival).__name__
        noted = self._con.execute("INSERT OR IGNORE INTO seen VALUES (?, ?, ?)", (door, arrival.event_id, at))
        if not noted.rowcount:
            return "repeated"
        if isinstance(arrival, Crossing):
            return self._cross(arrival)
        self._con.execute(
            f"INSERT INTO deliveries ({', '.join(DELIVERY)}) VALUES ({', '.join('?' * len(DELIVERY))})",
            [getattr(arrival, name) for name in DELIVERY],
        )
        return "new"

    def _cross(self, new: Crossing) -> Outcome:
        """Let the last word on a customer be the last by its own moment, whatever came first."""
        whom = (new.experiment, new.customer)
        entered = new.action == "enter"
        old = self._con.execute(
            "SELECT entered, action, moment FROM standings WHERE experiment = ? AND customer = ?", whom
        ).fetchone()
        if old is None:
            row = (*whom, entered, new.action, new.moment, NEW)
            self._con.execute("INSERT INTO standings VALUES (?, ?, ?, ?, ?, ?)", row)
            return "new"
        before, action, moment = old
        if (new.moment, not entered) > (moment, action == "exit"):
            self._con.execute(
                "UPDATE standings SET entered = ?, action = ?, moment = ?, stage = ? "
                "WHERE experiment = ? AND customer = ?",
                (entered or before, new.action, new.moment, NEW, *whom),
            )
            return "new"
        if entered and not before:  # left before we heard that they came: still to be enrolled
            self._con.execute(
                "UPDATE standings SET entered = 1, stage = ? WHERE experiment = ? AND customer = ?",
                (NEW, *whom),
            )
        return "stale"

    def _advance(self, standings: Iterable[Standing], stage: int) -> None:
        with self._transaction():
            self._con.executemany(
                "UPDATE standings SET stage = ? WHERE experiment = ? AND customer = ? AND entered = ? "
                "AND action = ? AND moment = ?",
                [
                    (stage, each.experiment, each.customer, each.entered, each.action, each.moment)
                    for each in standings
                ],
            )

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._told(), closing(self._con.execute(query, values)) as found:
            return found.fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if _identity(self.path) != self._file:  # what is written to a file without a name is lost
            raise StorageError(f"{self.path}: was removed or replaced meanwhile; start again")
        with self._told():
            self._con.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._con.execute("COMMIT")
            except BaseException:
                if self._con.in_transaction:
                    self._con.execute("ROLLBACK")
                raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Let SQLite's refusals be ours, those of values that it cannot hold among them."""
        try:
            yield
        except (sqlite3.Error, UnicodeError, OverflowError) as refused:
            raise StorageError(f"{self.path}: cannot be read or written: {refused}") from None


def _make(path: Path) -> None:
    """Make an empty file, unless it is there, and put its name on the disk too."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as refused:
        raise StorageError(f"{path}: cannot be made: {refused.strerror}") from None


def _identity(path: Path) -> tuple[int, int] | None:
    """Return which file `path` names now; None where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _digest(held: Unusable) -> str:
    return hashlib.sha256(held.door.encode() + b"\0" + held.body).hexdigest()
