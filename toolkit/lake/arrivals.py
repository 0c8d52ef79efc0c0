"""Files that others add to a folder: each is taken whole and once, whatever its order, or named and left.

What is kept in the lake is written before it is noted that a file was taken. A run that is interrupted takes the
file again, and rows that are kept already are not kept twice: that is for whoever keeps them to see to.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import duckdb

from toolkit.errors import DataError, StorageError
from toolkit.lake.engine import text, texts
from toolkit.lake.tables import Lake

__all__ = ["Arrival", "Kept", "Taken", "endings_of", "files_beside", "files_in", "reader_of", "take_new"]

BATCH_BYTES = 64_000_000
"""So much is read at once; what is kept of it is one commit."""
BATCH_FILES = 500
PATIENCE = timedelta(days=14)
"""For so long a file is read again whose rows wait for what another file is to tell."""
SHOWN = 3


@dataclass(frozen=True, slots=True)
class Arrival:
    """A file of a folder: its path, its name, its size, and when it was first looked at (None: now)."""

    path: str
    name: str
    size: int
    first_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What came of some files: rows looked at, rows new in the lake, rows that wait for another file.

    Attributes:
        without_key: rows that name no customer; they are left out.
        without_amount: orders or refunds whose amount is missing or no number; kept, without amount.
        through: how far the files reach: the latest instant among all rows, whatever they are of.
        open: paths of the files in which rows wait.
    """

    seen: int = 0
    added: int = 0
    waiting: int = 0
    without_key: int = 0
    without_amount: int = 0
    through: datetime | None = None
    open: frozenset[str] = frozenset()

    def __add__(self, other: Kept) -> Kept:
        """Return both together."""
        reached = [each for each in (self.through, other.through) if each]
        return Kept(
            self.seen + other.seen,
            self.added + other.added,
            self.waiting + other.waiting,
            self.without_key + other.without_key,
            self.without_amount + other.without_amount,
            max(reached, default=None),
            self.open | other.open,
        )


@dataclass(frozen=True, slots=True)
class Taken:
    """What a run over a folder brought: `files` taken, what came of them, and what is wrong with others."""

    files: int
    kept: Kept
    broken: tuple[str, ...]

    def __add__(self, other: Taken) -> Taken:
        """Return both together."""
        return Taken(self.files + other.files, self.kept + other.kept, (*self.broken, *other.broken))

    def settle(self, folder: str) -> None:
        """Raise DataError where files could not be taken; all others were."""
        if self.broken:
            more = f" (and {len(self.broken) - SHOWN} more files)" if len(self.broken) > SHOWN else ""
            raise DataError(
                f"{'; '.join(self.broken[:SHOWN])}{more}. Nothing of {'them' if len(self.broken) > 1 else 'it'} was "
                f"taken, and everything else in {folder} was; put it right, or move it away, and run again"
            )


def files_in(folder: str, fits: Callable[[str], bool], *, what: str) -> list[Arrival]:
    """Return the folder's files (also in folders beneath) whose names fit, by name; hidden ones are left out.

    Raises:
        DataError: there is no such folder; `what` says what it was named for.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"{folder}: no such folder; {what}")
    found = []
    for place, folders, names in os.walk(root):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for name in names:
            if fits(name) and not name.startswith((".", "_")):
                path = Path(place) / name
                found.append(Arrival(str(path), str(path.relative_to(root)), path.stat().st_size))
    return sorted(found, key=lambda each: each.name)


def files_beside(path: str, *, what: str) -> list[Arrival]:
    """Return the file at `path`, or the files of the folder there, that are Parquet, CSV or JSON lines.

    Raises:
        DataError: there is none; `what` says what it was named for.
    """
    one = Path(path)
    if one.is_file() and endings_of(one.name):
        return [Arrival(path, one.name, one.stat().st_size)]
    if one.is_file():
        raise DataError(f"{path}: must end in .parquet, .csv or .jsonl; {what}")
    return files_in(path, lambda name: bool(endings_of(name)), what=what)


def take_new(
    lake: Lake,
    source: str,
    files: Sequence[Arrival],
    keep: Callable[[Sequence[Arrival]], Kept],
    *,
    at: datetime,
    names: Sequence[str] = (),
) -> Taken:
    """Give `keep` the files that were not taken yet, some at a time, and note what was taken.

    A file is known by name and size. `keep` keeps all that it is given in one commit, or raises; a file that
    makes it raise is found, named and left, the others are taken. Rows that wait leave their file open, to be
    read again. Where `keep` keeps only what is called one of `names`, a file is taken for each of them by itself:
    one that is asked for later is looked for in files taken before.
    """
    wanted = [f"{source}:{name}" for name in names] or [source]
    total, taken = Kept(), 0
    broken = [
        f"{each.path}: the file is empty; it may still be on its way" for each in files if not each.size
    ]
    for batch in _batches(_untaken(lake, wanted, [each for each in files if each.size], at)):
        for some, outcome in _kept_apart(batch, keep, os.path.abspath(lake.home)):  # noqa: PTH100
            if isinstance(outcome, str):
                broken.append(outcome)
                continue
            total, taken = total + outcome, taken + len(some)
            lake.append_rows(
                "arrivals",
                [
                    {
                        "source": as_,
                        "file": each.name,
                        "bytes": each.size,
                        "open": each.path in outcome.open,
                        "taken_at": at,
                    }
                    for each in some
                    for as_ in wanted
                ],
            )
    return Taken(taken, total, tuple(broken))


def endings_of(name: str) -> str:
    """Return the form of a file by its name: parquet, csv, jsonl, or "" for another."""
    bare = name.lower().removesuffix(".gz")
    form = bare.rpartition(".")[2]
    if form in {"jsonl", "ndjson", "json"}:
        return "jsonl"
    return form if form == "csv" or (form == "parquet" and bare == name.lower()) else ""


def reader_of(files: Sequence[Arrival], form: str, fields: Sequence[str] = ()) -> str:
    """Return what stands after FROM for files of one form, with the column `filename`.

    `fields` are the names looked for in JSON lines; each is a column there, a text, empty where it is missing.
    """
    named = texts(each.path for each in files)
    if form == "csv":
        return (
            f"read_csv([{named}], header = true, all_varchar = true, union_by_name = true, strict_mode = true, "
            "filename = true)"
        )
    if form == "jsonl":
        columns = ", ".join(f"{text(each)}: 'JSON'" for each in fields)
        return (
            f"read_json([{named}], format = 'newline_delimited', columns = {{{columns}}}, filename = true, "
            "maximum_object_size = 33554432)"
        )
    return f"read_parquet([{named}], union_by_name = true, filename = true)"


def _untaken(lake: Lake, sources: Sequence[str], files: Sequence[Arrival], now: datetime) -> list[Arrival]:
    """Return the files that were not taken as each of `sources`, and those whose rows still wait."""
    first: dict[tuple[str, str, int], datetime] = {}
    closed: set[tuple[str, str, int]] = set()
    for row in lake.records("arrivals"):
        key = (row["source"], row["file"], row["bytes"])
        first[key] = min(row["taken_at"], first.get(key, row["taken_at"]))
        if not row["open"]:
            closed.add(key)
    found = []
    for each in files:
        keys = [(source, each.name, each.size) for source in sources]
        if any(key not in first for key in keys):
            found.append(each)
            continue
        since = min((first[key] for key in keys if key not in closed), default=None)
        if since is not None and now - since < PATIENCE:
            found.append(replace(each, first_at=since))
    return found


def _batches(files: Sequence[Arrival]) -> Iterator[list[Arrival]]:
    """Yield files together, so many that a batch is neither long nor large; those read before are by themselves."""
    some: list[Arrival] = []
    for each in sorted(files, key=lambda file: file.first_at is not None):
        full = len(some) >= BATCH_FILES or sum(file.size for file in some) + each.size > BATCH_BYTES
        if some and (full or (each.first_at is None) != (some[0].first_at is None)):
            yield some
            some = []
        some.append(each)
    if some:
        yield some


def _kept_apart(
    files: Sequence[Arrival], keep: Callable[[Sequence[Arrival]], Kept], home: str
) -> Iterator[tuple[Sequence[Arrival], Kept | str]]:
    """Yield files with what came of them, or what is wrong with the one; a batch that fails is halved.

    Raises:
        StorageError: it is not they that are wrong, but a file of the lake at `home`.
    """
    try:
        yield files, keep(files)
    except (DataError, StorageError, duckdb.Error) as failed:
        wrong = failed.__cause__ if isinstance(failed, StorageError) else failed
        if wrong is None:
            raise
        ours = f"{home}/" in str(wrong) and not any(each.path in str(wrong) for each in files)
        if ours and not isinstance(wrong, DataError):
            raise StorageError(f"the lake cannot be read: {str(wrong).splitlines()[0]}") from None
        if len(files) == 1:
            said = str(wrong).splitlines()[0].rstrip(". ")
            yield files, said if isinstance(wrong, DataError) else f"{files[0].path}: cannot be read: {said}"
            return
        half = len(files) // 2
        yield from _kept_apart(files[:half], keep, home)
        yield from _kept_apart(files[half:], keep, home)
