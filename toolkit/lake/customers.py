"""Customers by number, between measurements: arrays in which a number is a place.

What a week brings is added where it belongs, so that who did nothing is not looked at. Sums keep their digits:
whole numbers and decimals are kept whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt

from toolkit.lake.engine import Engine

__all__ = ["DOUBLE", "WHOLE", "Customers", "Flags", "Found", "Numbers", "fetched", "kind_of_sum"]

Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Found = dict[str, tuple[npt.NDArray[Any], Flags]]
"""Column → values (those that are not known are zero), and which are known."""

FIXED = ("arm", "assigned", "first")
"""What is known of every number besides sums: the arm, the assignment, the first outcome (microseconds)."""
TOLD = ("here", "corrected")
"""What is true of a number or not: that it did something that matters, that something of it is corrected."""
WHOLE, DOUBLE = "0", "double"
MOST = 2**61
"""Larger whole numbers are not kept: two of them could not be added."""


def kind_of_sum(declared: str) -> str:
    """Return how a column of sums is kept: the digits after the point of a whole number or a decimal, or `double`.

    Raises:
        ValueError: such a column cannot be kept.
    """
    if declared in {"DOUBLE", "FLOAT"}:
        return DOUBLE
    if declared in {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"}:
        return WHOLE
    found = re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", declared)
    if not found:
        raise ValueError(f"sums of type {declared} cannot be kept")
    return found[2]


def fetched(
    con: Engine, query: str, kinds: Mapping[str, str], told: Sequence[str] = ()
) -> tuple[Numbers, Found]:
    """Return the column `number` of a query, and its columns `kinds` and, true or not, `told`.

    Raises:
        ValueError: a number is too large to be kept.
        duckdb.Error: likewise, or the query cannot be run.
    """
    shown = ["number", *(f"{_as_kept(name, kind)} AS {name}" for name, kind in kinds.items())]
    shown += [f"coalesce({name}, false) AS {name}" for name in told]
    rows = con.con.execute(f"SELECT {', '.join(shown)} FROM ({query})").fetchnumpy()
    numbers = np.asarray(rows.pop("number"), dtype=np.int64)
    found: Found = {}
    for name, column in rows.items():
        values, known = np.ma.getdata(column), ~np.ma.getmaskarray(column)
        if isinstance(column, np.ma.MaskedArray):
            values = np.where(known, values, 0)
        _refuse_large(name, values, kinds.get(name, DOUBLE))
        found[name] = values, known
    return numbers, found


@dataclass(frozen=True, slots=True, eq=False)
class Customers:
    """What is known of every number.

    Attributes:
        kinds: column of sums → how it is kept (`kind_of_sum`).
        values: shape (numbers,) each, for each of FIXED and of `kinds`; zero where it is not known. Doubles are kept by
            their bits. In what may be changed they have 64 bits, in what was read as many as they need.
        known: shape (columns + 2, numbers), where there is a value; then a row for each of TOLD.

    Raises:
        ValueError: the arrays are not of these shapes.
    """

    kinds: dict[str, str]
    values: list[npt.NDArray[Any]]
    known: Flags

    def __post_init__(self) -> None:
        columns, shape = len(FIXED) + len(self.kinds), (len(self),)
        if [each.shape for each in self.values] != [shape] * columns or self.known.shape != (
            columns + len(TOLD),
            *shape,
        ):
            raise ValueError("arrays of customers are not of one shape")

    @classmethod
    def none(cls, kinds: Mapping[str, str]) -> Self:
        """Return nobody."""
        columns = len(FIXED) + len(kinds)
        values = [np.zeros(0, np.int64) for _ in range(columns)]
        return cls(dict(kinds), values, np.zeros((columns + len(TOLD), 0), np.bool_))

    @classmethod
    def load(cls, file: BinaryIO, kinds: Mapping[str, str]) -> Self:
        """Return what `save` wrote, not to be changed.

        Raises:
            OSError, ValueError: it cannot be read.
        """
        try:
            values = [np.load(file) for _ in range(len(FIXED) + len(kinds))]
            known = np.unpackbits(np.load(file), axis=1, count=len(values[0])).view(np.bool_)
        except (EOFError, TypeError, IndexError) as wrong:  # an end too early, or other arrays than bits
            raise ValueError(f"arrays of customers cannot be read: {wrong}") from wrong
        for array in (*values, known):
            array.flags.writeable = False
        return cls(dict(kinds), values, known)

    def save(self, file: BinaryIO) -> None:
        """Write all arrays into an open file, each as narrow as it can be: most of writing them is their bytes."""
        for name, row in zip([*FIXED, *self.kinds], self.values, strict=True):
            np.save(file, row if self.kinds.get(name) == DOUBLE else _narrow(row))
        np.save(file, np.packbits(self.known, axis=1))

    def __len__(self) -> int:
        return int(self.known.shape[-1])

    def with_more(self, more: int) -> Self:
        """Return a copy that may be changed, with so many numbers more, of which nothing is known."""
        size = len(self)
        values = [np.zeros(size + more, np.int64) for _ in self.values]
        known = np.zeros((self.known.shape[0], size + more), np.bool_)
        for row, kept in zip(values, self.values, strict=True):
            row[:size] = kept
        known[:, :size] = self.known
        return type(self)(self.kinds, values, known)

    def without_sums(self) -> Customers:
        """Return a copy that may be changed, of what is known besides sums."""
        fixed = len(FIXED)
        values = [row.astype(np.int64) for row in self.values[:fixed]]
        return Customers({}, values, np.concatenate([self.known[:fixed], self.known[-len(TOLD) :]]))

    def of(self, name: str) -> tuple[npt.NDArray[Any], Flags]:
        """Return the values of a column and where there is one: these arrays themselves."""
        at = [*FIXED, *self.kinds].index(name)
        row = self.values[at]
        return (row.view(np.float64) if self.kinds.get(name) == DOUBLE else row), self.known[at]

    def told(self, name: str) -> Flags:
        """Return for whom one of TOLD is true: this array itself."""
        row: Flags = self.known[len(FIXED) + len(self.kinds) + TOLD.index(name)]
        return row

    def put(self, at: Numbers | slice, found: Found) -> None:
        """Let columns of some numbers be what was found, known or not."""
        for name, (given, there) in found.items():
            values, known = self.of(name)
            values[at], known[at] = given, there

    def forget(self, at: Numbers | slice, names: Iterable[str]) -> None:
        """Let columns of some numbers be not known."""
        for name in names:
            values, known = self.of(name)
            values[at], known[at] = 0, False

    def add(self, at: Numbers, found: Found) -> None:
        """Add what was found of some numbers, each once, to what is known.

        Raises:
            ValueError: a sum is too large to be kept.
        """
        for name, (given, there) in found.items():
            values, known = self.of(name)
            sums = values[at] + given
            _refuse_large(name, sums, self.kinds[name])
            values[at] = sums
            known[at] |= there

    def earliest(self, at: Numbers, name: str, given: Numbers, there: Flags) -> None:
        """Let a column of some numbers, each once, be the lower of what it is and what was found, where that is known."""
        values, known = self.of(name)
        was, had = values[at], known[at]
        values[at] = np.where(there & had, np.minimum(was, given), np.where(there, given, was))
        known[at] = had | there

    def lend(
        self,
        con: Engine,
        name: str,
        besides: Found | None = None,
        told: Mapping[str, Flags] | None = None,
        *,
        at: Numbers | None = None,
    ) -> None:
        """Create the view `name(number, here, corrected, arm, assigned, first, …)`, which reads these arrays where they are.

        `besides` and `told` are further columns, or stand in place of those of that name. With `at` it shows those
        numbers alone, of a copy.
        """
        valued = {column: self.of(column) for column in [*FIXED, *self.kinds]} | (besides or {})
        flags = {column: self.told(column) for column in TOLD} | dict(told or {})
        lent: dict[str, npt.NDArray[Any]] = {"number": np.arange(len(self)), **flags}
        shown = list(lent)
        for column, (values, known) in valued.items():
            lent[f"v_{column}"], lent[f"k_{column}"] = values, known
            said = _as_it_was(f"v_{column}", self.kinds.get(column, WHOLE))
            shown.append(f"CASE WHEN k_{column} THEN {said} END AS {column}")
        if at is not None:
            lent = {column: each[at] for column, each in lent.items()}
        con.lend(f"{name}_lent", lent)
        con.view(name, f"SELECT {', '.join(shown)} FROM {name}_lent")


def _as_it_was(column: str, kind: str) -> str:
    """Return the expression of a kept number as the engine had it."""
    if kind in {WHOLE, DOUBLE}:
        return column if kind == DOUBLE else f"CAST({column} AS BIGINT)"
    return f"CAST(CAST({column} AS DECIMAL(38,0)) * {10 ** -int(kind):.{kind}f} AS DECIMAL(38,{kind}))"


def _as_kept(column: str, kind: str) -> str:
    """Return the expression of a number of the engine as it is kept."""
    if kind == DOUBLE:
        return f"CAST({column} AS DOUBLE)"
    return f"CAST({column} AS BIGINT)" if kind == WHOLE else f"CAST({column} * {10 ** int(kind)} AS BIGINT)"


def _narrow(row: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return whole numbers with as few bits as they need."""
    lowest, highest = (int(row.min()), int(row.max())) if len(row) else (0, 0)
    kinds = (np.int8, np.int16, np.int32, np.int64)
    return row.astype(
        next(kind for kind in kinds if np.iinfo(kind).min <= lowest and highest <= np.iinfo(kind).max)
    )


def _refuse_large(name: str, values: npt.NDArray[Any], kind: str) -> None:
    if kind != DOUBLE and len(values) and max(-int(values.min()), int(values.max())) >= MOST:
        raise ValueError(f"{name} is too large to be kept")
