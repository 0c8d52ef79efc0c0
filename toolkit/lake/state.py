"""What a measurement keeps for the next one: a cache beside the lake's tables, never needed and never trusted blindly.

One folder per experiment holds a manifest, which names every other file. Files are written under names of their
own and the manifest is put in place last, so that who reads finds all of one state or nothing. A state that
does not fit (another experiment file, other events, a damaged file) is as good as none.
"""

from __future__ import annotations

import json
import os
import time
import uuid
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.lake.customers import Customers
from toolkit.lake.engine import Engine, text, texts
from toolkit.lake.enrolled import Enrolled
from toolkit.lake.hours import Hours
from toolkit.lake.signs import Signs

__all__ = ["STATE_UPTO", "State", "Store", "store_of", "taken_in"]

STATE_UPTO = 200_000_000
"""Beyond so many events without a state, none is begun: the signs of all would have to be in memory at once."""
FORMAT = 8
FAN = 5
"""So many files of about one size become one."""
MANIFEST = "state.json"
TRIED = "again.json"
"""Left by a measurement of many events: should there be another one, a state will pay."""
STALE_SECONDS = 86_400
EDGE = 65_536
"""Bytes at both ends of a file that are looked at before it is read."""
FAR = 2**62
"""Later than any event."""


@dataclass(frozen=True, slots=True)
class State:
    """What was counted until an instant, and where the rest of it is kept.

    Attributes:
        fits: the digest of everything that what was counted depends on.
        upto: events before this instant (microseconds since 1970) are counted.
        events: file of events → the latest instant in it; a file's place is what `signs` call it.
        by_name: name → events counted, the latest of all, two of their currencies, events without amount.
        step: how many measurements were kept before.
        ledger: the ledger's files that were read.
        enrolled: what is known of them.
        ids: files of all ids ever met, and the number by which other files call each.
        customers: the file of what is known of every number: arm, assigned, first, here, plain sums and what corrections change.
        kinds: how each sum is kept.
        marked: files of events that cannot just be added up.
        corrections: files of what these change, each with the `step` that found it.
        retracted: files of the signs whose corrections of before a step no longer hold.
        bare: files of the numbers of customers with orders without an amount, one a row for each.
        recent: file of counted events (number, kind, happened, v_…) → the latest instant in it.
        recent_since: all events since this instant are in `recent`.
        hours: files of orders by the hour, as `Hours` has them.
        signs: files of sorted signs of events, of where each stands (its file's place × 2³² + its row), and of their `leads`.
        looks: date → rows (arm, sums…) of the curve's looks, oldest first.
        enrolled_by_look: date → customers assigned by its end, by the arm's place.
        sizes: file → bytes and a digest of its ends.
        before: files of the state before, which somebody may still be reading.
    """

    fits: str
    upto: int = 0
    step: int = 0
    ledger: list[str] = field(default_factory=list)
    enrolled: Enrolled = field(default_factory=Enrolled)
    events: dict[str, int] = field(default_factory=dict)
    by_name: dict[str, list[Any]] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    customers: list[str] = field(default_factory=list)
    kinds: dict[str, str] = field(default_factory=dict)
    marked: list[str] = field(default_factory=list)
    corrections: list[str] = field(default_factory=list)
    retracted: list[str] = field(default_factory=list)
    bare: list[str] = field(default_factory=list)
    recent: dict[str, int] = field(default_factory=dict)
    recent_since: int = FAR
    hours: list[str] = field(default_factory=list)
    signs: list[list[str]] = field(default_factory=list)
    looks: dict[str, list[list[float]]] = field(default_factory=dict)
    enrolled_by_look: dict[str, list[int]] = field(default_factory=dict)
    sizes: dict[str, list[int]] = field(default_factory=dict)
    before: list[str] = field(default_factory=list)

    @property
    def files(self) -> list[str]:
        """Return the names of all files of this state."""
        rows = [*self.ids, *self.customers, *self.marked, *self.corrections, *self.retracted, *self.bare]
        runs = [*self.signs, *self.enrolled.signs]
        return [*rows, *self.recent, *self.hours, *(name for run in runs for name in run)]


@dataclass(frozen=True, slots=True)
class Store:
    """The folder of one experiment's state; `made` are the files written to it, to be taken back if the rest fails."""

    folder: Path
    made: list[str] = field(default_factory=list)

    def path(self, name: str) -> str:
        """Return where a file of the state is."""
        return str(self.folder / name)

    def read(self) -> State | None:
        """Return the state that is kept; None where none is, or it is damaged."""
        try:
            said = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
            digest = said.pop("digest")
            if digest != _digest(said) or said.pop("format") != FORMAT:
                return None
            state = State(**{**said, "enrolled": Enrolled(**said["enrolled"])})
            if any(_ends(self.path(name)) != tuple(state.sizes[name]) for name in state.files):
                return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return state

    def runs(self, signs: Sequence[Sequence[str]]) -> list[Signs]:
        """Return runs of signs that are kept; they are read where they are looked at."""
        return [Signs(*(np.load(self.path(name), mmap_mode="r") for name in run)) for run in signs]

    def wanted(self) -> bool:
        """Return whether there is a state, or a measurement went before that would have gained by one."""
        return any(os.path.exists(self.path(name)) for name in (MANIFEST, TRIED))  # noqa: PTH110

    def note(self) -> None:
        """Leave word that many events were measured without a state. Where that cannot be, nothing is lost."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / TRIED).write_text("{}", encoding="utf-8")
        except OSError:
            return

    def copy(self, con: Engine, query: str, what: str) -> str:
        """Write the rows of a query as a new file and return its name."""
        name = f"{what}-{uuid.uuid4().hex}.parquet"
        self.made.append(name)
        con.run(
            f"COPY ({query}) TO {text(self.path(name))} (FORMAT parquet, COMPRESSION snappy, PARQUET_VERSION v2)"
        )
        return name

    def with_rows(self, con: Engine, kept: Sequence[str], what: str, new: str) -> list[str]:
        """Return the files of `what` with one of the rows of `new`, which now and then takes in those before it."""
        if not con.one(f"SELECT count(*) FROM {new}")[0]:
            return list(kept)
        own = self.copy(con, f"SELECT * FROM {new}", what)
        taken = taken_in([self._size(name) for name in kept], self._size(own))
        if not taken:
            return [*kept, own]
        merged = self.copy(con, f"SELECT * FROM {self.read_files([*kept[-taken:], own])}", what)
        self.drop([own])
        return [*kept[:-taken], merged]

    def read_files(self, names: Sequence[str]) -> str:
        """Return what stands after FROM for some of the files."""
        return f"read_parquet([{texts(self.path(name) for name in names)}])"

    def _size(self, name: str) -> int:
        return (self.folder / name).stat().st_size

    def with_signs(self, signs: Sequence[list[str]], fresh: Signs) -> list[list[str]]:
        """Return the runs of `signs` with a new one, which now and then takes in those before it."""
        if not len(fresh.signs):
            return list(signs)
        runs = self.runs(signs)
        taken = taken_in([len(run.signs) for run in runs], len(fresh.signs))
        if taken:
            all_of = [*runs[-taken:], fresh]
            fresh = Signs.sorted_from(
                np.concatenate([run.signs for run in all_of]),
                np.concatenate([run.places for run in all_of]),
                runs=True,
            )
        parts = {"signs": fresh.signs, "places": fresh.places, "leads": fresh.with_leads().leads}
        return [*signs[: len(signs) - taken], self._save(parts)]

    def customers(self, state: State) -> Customers:
        """Return what is kept of every number.

        Raises:
            OSError, ValueError: it cannot be read.
        """
        if not state.customers:
            return Customers.none({})
        (name,) = state.customers
        with open(self.path(name), "rb") as file:  # noqa: PTH123
            return Customers.load(file, state.kinds)

    def with_customers(self, customers: Customers) -> list[str]:
        """Write what is known of every number as a new file and return its name."""
        name = f"customers-{uuid.uuid4().hex}.npy"
        self.made.append(name)
        with open(self.path(name), "wb") as file:  # noqa: PTH123
            customers.save(file)
        return [name]

    def hours(self, state: State) -> Hours | None:
        """Return the orders by the hour that are kept, if any are."""
        if not state.hours:
            return None
        arrivals, every, own = (np.load(self.path(name)) for name in state.hours)
        return Hours(arrivals, every, own)

    def with_hours(self, hours: Hours) -> list[str]:
        """Write orders by the hour as new files and return their names."""
        if hours.arrivals is None:
            return []
        return self._save({"arrivals": hours.arrivals, "every": hours.every, "own": hours.own})

    def _save(self, parts: Mapping[str, Any]) -> list[str]:
        """Write arrays as new files and return their names."""
        mark = uuid.uuid4().hex
        names = [f"{what}-{mark}.npy" for what in parts]
        self.made.extend(names)
        for name, part in zip(names, parts.values(), strict=True):
            np.save(self.path(name), part)
        return names

    def write(self, state: State, known: Mapping[str, Sequence[int]], before: Sequence[str]) -> None:
        """Put `state` in place of the one before, whose files stay until the next time.

        `known` are the sizes of files already there. Two processes at once leave the state of the later one.
        """
        sizes = {name: list(known.get(name) or _ends(self.path(name))) for name in state.files}
        whole = {"format": FORMAT, **asdict(replace(state, sizes=sizes, before=list(before)))}
        waiting = self.folder / f"{uuid.uuid4().hex}.json"
        self.made.append(waiting.name)
        waiting.write_text(json.dumps({**whole, "digest": _digest(whole)}), encoding="utf-8")
        waiting.replace(self.folder / MANIFEST)
        self.made.clear()  # they are the state's now, whatever comes after
        self._clean({MANIFEST, TRIED, *state.files, *before})

    def _clean(self, needed: set[str]) -> None:
        """Remove what no state needs, once it is a day old: others may be writing or reading it now."""
        for each in self.folder.iterdir():
            if each.name not in needed and each.stat().st_mtime < time.time() - STALE_SECONDS:
                each.unlink(missing_ok=True)

    def drop(self, names: Sequence[str]) -> None:
        """Remove files by name; those that are gone already are no matter."""
        for name in names:
            (self.folder / name).unlink(missing_ok=True)


def taken_in(sizes: Sequence[int], new: int) -> int:
    """Return how many of the last files, of these sizes, a new one takes in: none until there are `FAN` alike.

    So there are few files, and a row is written a few times at most: both grow with the logarithm of all rows.
    """
    taken = 0
    while True:
        alike = _last_up_to(2 * new, sizes[: len(sizes) - taken])
        if len(alike) + 1 < FAN:
            return taken
        taken, new = taken + len(alike), new + sum(alike)


def _last_up_to(most: int, sizes: Sequence[int]) -> list[int]:
    return list(takewhile(lambda size: size <= most, reversed(sizes)))


def store_of(home: str, experiment: str) -> Store | None:
    """Return where the state of an experiment is; None for a lake in an object store, which keeps none."""
    return None if "://" in home else Store(Path(home) / "state" / experiment)


def _digest(said: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps({key: said[key] for key in sorted(said) if key != "digest"}).encode())


def _ends(path: str) -> tuple[int, int]:
    """Return a file's bytes and a digest of its two ends."""
    with open(path, "rb") as file:  # noqa: PTH123
        first = file.read(EDGE)
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - EDGE, 0))
        return size, zlib.crc32(file.read(EDGE), zlib.crc32(first))
