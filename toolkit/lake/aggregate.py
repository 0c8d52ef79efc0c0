"""From `unit` to moments: one grouped pass for all sums.

Zeros are merged, not read: customers missing from `unit` are silent, and added by formula. Sums are taken of
distances from each column's own mean over all rows, so that they keep their digits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from toolkit.lake.engine import Engine
from toolkit.stats.estimate import RESIDUE
from toolkit.stats.moments import Moments

__all__ = [
    "Level",
    "Summed",
    "Sums",
    "cap_of",
    "capped",
    "centres_of",
    "literal",
]


EPSILON = float(np.finfo(float).eps)

Level = tuple[str, str]
"""A breakdown and one of its values, such as (ltv_tier, gold)."""


@dataclass(frozen=True, slots=True)
class Summed:
    """What a pass found of one group of customers.

    Attributes:
        rows: customers who stand in `unit`; the rest of the group is silent.
        moments: of all columns; products that were not asked for are NaN.
        active: outcome column → customers for whom it is not zero.
        known: attribute column → customers for whom it is known.
        largest: valued column → its largest value, and customers above zero.
    """

    rows: int
    moments: Moments
    active: dict[str, int]
    known: dict[str, int]
    largest: dict[str, tuple[float, int]]

    def __add__(self, other: Summed) -> Summed:
        """Return what was found of both groups together."""
        return Summed(
            self.rows + other.rows,
            self.moments + other.moments,
            {name: count + other.active[name] for name, count in self.active.items()},
            {name: count + other.known[name] for name, count in self.known.items()},
            {
                name: (max(most, other.largest[name][0]), positive + other.largest[name][1])
                for name, (most, positive) in self.largest.items()
            },
        )


@dataclass(frozen=True, slots=True)
class Sums:
    """What is asked of `unit` in one pass.

    Attributes:
        columns: name → expression over `unit`.
        centres: name → a value near the column's mean; zero for columns that are not there.
        pairs: (i, j), i > j: the places of columns whose products are needed.
        outcomes: columns whose non-zero rows are asked for.
        shares: those of `outcomes` that are 0 or 1, so that their sum counts them.
        attributes: columns that may be NULL, which would be counted here.
        valued: columns whose largest value is asked for.
    """

    columns: Mapping[str, str]
    centres: Mapping[str, float]
    pairs: tuple[tuple[int, int], ...]
    outcomes: tuple[str, ...]
    shares: frozenset[str] = frozenset()
    attributes: tuple[str, ...] = ()
    valued: tuple[str, ...] = ()

    def relation(self, *keys: str) -> str:
        """Return the query of `keys`, every column as it is, and its distance d… from its centre."""
        own = ", ".join([*keys, *(f"{expression} AS {name}" for name, expression in self.columns.items())])
        off = ", ".join(
            f"{name} - {literal(self.centres.get(name, 0.0))} AS d{at}"
            for at, name in enumerate(self.columns)
        )
        return f"(SELECT *, {off} FROM (SELECT {own} FROM unit))"

    @np.errstate(over="ignore", invalid="ignore")  # what is too large is refused later, by its name
    def by_arm(self, con: Engine, arms: Sequence[str], customers: Mapping[str, int]) -> dict[str, Summed]:
        """Return what each arm's customers sum to, the silent ones among them."""
        rows = con.rows(f"SELECT arm, {self._asked()} FROM {self.relation('arm')} GROUP BY arm")
        found = {row[0]: self._read(row[1:]) for row in rows}
        out = {}
        for at, arm in enumerate(arms):
            here = found.get(at) or self._nothing()
            out[arm] = replace(here, moments=here.moments.with_silent(customers[arm]))
        return out

    def by_level(
        self, con: Engine, arms: Sequence[str], breakdowns: Sequence[str]
    ) -> dict[Level, dict[str, Summed]]:
        """Return per (breakdown, level) and arm what its customers sum to; `unit` has every customer then.

        Customers whose level is not known make up the level `unknown`, with those whose level is called so.
        """
        if not breakdowns:
            return {}
        names = [f"b{at}" for at in range(len(breakdowns))]
        sets = ", ".join(f"(arm, {name})" for name in names)
        marks = ", ".join(f"grouping({name})" for name in names)
        rows = con.rows(
            f"SELECT arm, {marks}, {', '.join(names)}, {self._asked()} FROM {self.relation('arm', *names)} "
            f"GROUP BY GROUPING SETS ({sets})"
        )
        found: dict[Level, dict[str, Summed]] = {}
        for row in rows:
            width = len(names)
            marked, levels, rest = row[1 : 1 + width], row[1 + width : 1 + 2 * width], row[1 + 2 * width :]
            place = next(at for at, mark in enumerate(marked) if not mark)
            level = (breakdowns[place], "unknown" if levels[place] is None else str(levels[place]))
            here, arm = found.setdefault(level, {}), arms[row[0]]
            here[arm] = here[arm] + self._read(rest) if arm in here else self._read(rest)
        return {level: found[level] for level in sorted(found)}

    def _asked(self) -> str:
        shown = ["count(*)"]
        for at, name in enumerate(self.columns):
            shown.append(f"sum(d{at})")
            if name not in self.shares:
                shown += [f"sum(d{at} * d{at})", f"sum(d{at} * d{at} * d{at})"]
                if name in self.outcomes:
                    shown.append(f"sum(CAST({name} <> 0 AS INTEGER))")
        shown += [f"sum(d{i} * d{j})" for i, j in self.pairs]
        shown += [f"count({name})" for name in self.attributes]
        for name in self.valued:
            shown += [f"max({name})", f"sum(CAST({name} > 0 AS INTEGER))"]
        return ", ".join(shown)

    @np.errstate(over="ignore", invalid="ignore")
    def _read(self, row: Sequence[float | None]) -> Summed:
        """Return what a row of sums says; what is nothing but the sums' own rounding is zero."""
        said = (math.nan if each is None else float(each) for each in row)
        n, width = int(next(said)), len(self.columns)
        first, second, third = np.zeros(width), np.zeros(width), np.zeros(width)
        active: dict[str, int] = {}
        for at, name in enumerate(self.columns):
            first[at] = next(said)
            if name in self.shares:
                centre = self.centres.get(name, 0.0)
                active[name], first[at], second[at], third[at] = _share(n, first[at], centre)
                continue
            second[at], third[at] = next(said), next(said)
            if name in self.outcomes:
                active[name] = int(next(said))
        off = first / n
        centres = np.array([self.centres.get(name, 0.0) for name in self.columns])
        silent = np.array([active.get(name) == 0 for name in self.columns]) & np.isfinite(first)
        squares = second - n * off**2
        still = silent | (squares <= n * EPSILON * second)
        squares[still] = 0.0
        mean = off + centres
        # so much smaller than its centre, or than the spread, a mean is what rounding leaves of zero
        mean[silent | (np.abs(mean) <= RESIDUE * np.maximum(np.abs(centres), np.sqrt(squares / n)))] = 0.0
        products = np.full((width, width), np.nan)
        np.fill_diagonal(products, squares)
        for i, j in self.pairs:
            product = next(said) - n * off[i] * off[j]
            products[i, j] = products[j, i] = 0.0 if still[i] or still[j] else product
        cubes = np.where(still, 0.0, third - 3 * off * second + 2 * n * off**3)
        known = {name: int(next(said)) for name in self.attributes}
        largest = {name: (next(said), int(next(said))) for name in self.valued}
        return Summed(n, Moments(n, mean, products, cubes), active, known, largest)

    def _nothing(self) -> Summed:
        return Summed(
            0,
            Moments.none(len(self.columns)),
            dict.fromkeys(self.outcomes, 0),
            dict.fromkeys(self.attributes, 0),
            dict.fromkeys(self.valued, (0.0, 0)),
        )

    @np.errstate(over="ignore", invalid="ignore")
    def far_off(self, found: Iterable[Summed]) -> bool:
        """Return whether a centre was so far from a mean that digits were lost (six or more of sixteen)."""
        places = [at for at, name in enumerate(self.columns) if name in self.centres]
        names = [name for name in self.columns if name in self.centres]
        given = np.array([self.centres[name] for name in names])
        for each in found:
            counted = np.array([each.active.get(name) != 0 for name in names])
            off = np.where(counted, each.moments.mean[places] - given, 0.0)
            spread = np.diag(each.moments.products)[places]
            if each.rows and bool(((each.rows * off**2 > 1e6 * spread) & (off != 0)).any()):
                return True
        return False


def _share(rows: int, total: float, centre: float) -> tuple[int, float, float, float]:
    """Return how many of `rows` are 1, the others being 0, and the sums off `centre`, of squares and of cubes.

    `total` is the sum of distances from `centre` as it was added up; where it is not a number, nothing is known.
    """
    if not math.isfinite(total):
        return 0, math.nan, math.nan, math.nan
    ones = round(total + rows * centre)
    first, second, third = (ones * (1 - centre) ** k + (rows - ones) * (-centre) ** k for k in (1, 2, 3))
    return ones, first, second, third


def centres_of(con: Engine, columns: Sequence[str], *, rows: int | None = None) -> dict[str, float]:
    """Return each column's mean, over all rows of `unit` or over the first `rows`."""
    if not columns:
        return {}
    asked = ", ".join(f"avg({name})" for name in columns)
    source = "unit" if rows is None else f"(SELECT {', '.join(columns)} FROM unit LIMIT {rows})"
    means = con.one(f"SELECT {asked} FROM {source}")
    return {
        name: float(mean) if mean is not None and math.isfinite(mean) else 0.0
        for name, mean in zip(columns, means, strict=True)
    }


def cap_of(con: Engine, column: str, quantile: float, customers: int) -> tuple[float | None, int]:
    """Return the pooled `quantile` of `column` over all `customers`, and how many lie above it.

    None where it does not lie above zero, with the customers who do: as a cap it would make them all alike. Silent
    customers count as zeros, below which stand those below zero (refunds). Linear interpolation between order
    statistics (Hyndman & Fan 1996, type 7). Only the few largest values are sorted.
    """
    place = (customers - 1) * quantile
    below = int(np.floor(place))
    from_top = customers - 1 - below  # how many stand above the lower neighbour
    rows = con.rows(
        f"SELECT {column} FROM unit WHERE {column} <> 0 ORDER BY {column} DESC LIMIT {from_top + 1}"
    )
    values = [float(value) for (value,) in rows]
    under = [value for value in values if value < 0]
    known = len(values)
    if under and known > from_top:
        known = con.one(f"SELECT count(*) FROM unit WHERE {column} <> 0")[0]
    silent = min(customers - known, from_top + 1)
    values = [*values[: len(values) - len(under)], *[0.0] * silent, *under]
    lower, upper = values[from_top], values[max(from_top - 1, 0)]
    cap = lower + (upper - lower) * (place - below)
    above = con.one(f"SELECT count(*) FROM unit WHERE {column} > {literal(max(cap, 0.0))}")[0]
    return None if cap <= 0 else cap, int(above)


def capped(column: str, limit: float) -> str:
    """Return the expression of a column that counts as `limit` at most."""
    most = literal(limit)
    return f"CASE WHEN {column} < {most} THEN {column} ELSE {most} END"


def literal(value: float) -> str:
    """Return a double as SQL, with all its digits; without an exponent it would be read as a decimal."""
    said = repr(float(value))
    if not math.isfinite(value):
        return f"CAST('{said}' AS DOUBLE)"
    return said if "e" in said else f"{said}e0"
