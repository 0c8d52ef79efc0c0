"""One pass over `unit` for all moments, and one more for what needs the first one's means.

Zeros are merged, not read: customers missing from `unit` are silent, and added by formula.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from toolkit.design.experiment import Experiment
from toolkit.lake.engine import Connection, one, parquet, text, texts
from toolkit.lake.tables import Lake
from toolkit.stats.adjust import ArmRegression
from toolkit.stats.moments import Moments

__all__ = [
    "Level",
    "active_of",
    "breakdown_moments",
    "cap_of",
    "early_outcomes",
    "largest_of",
    "moments_of",
    "residual_sums",
    "with_capped",
]


Level = tuple[str, str]
"""A breakdown and one of its values, such as (ltv_tier, gold)."""
Fitted = tuple[str, str, str]


def cap_of(con: Connection, column: str, quantile: float, customers: int) -> tuple[float, int]:
    """Return the pooled `quantile` of `column` over all `customers`, and how many lie above it.

    Silent customers count as zeros. Linear interpolation between order statistics (Hyndman & Fan 1996,
    type 7). Only the few largest values are sorted.
    """
    place = (customers - 1) * quantile
    below = int(np.floor(place))
    from_top = customers - 1 - below  # how many stand above the lower neighbour
    rows = con.execute(
        f"SELECT {column} FROM unit WHERE {column} <> 0 ORDER BY {column} DESC LIMIT {from_top + 1}"
    ).fetchall()
    # values below zero (refunds) stand under the silent ones; at these quantiles they are never reached
    values = [max(float(value), 0.0) for (value,) in rows]
    values += [0.0] * (from_top + 1 - len(values))
    lower, upper = values[from_top], values[max(from_top - 1, 0)]
    cap = lower + (upper - lower) * (place - below)
    above = one(con, f"SELECT count(*) FROM unit WHERE {column} > {cap!r}")[0]
    return cap, int(above)


def with_capped(con: Connection, capped: Mapping[str, tuple[str, float]]) -> None:
    """Add to `unit` each new column of `capped`: name → (column, cap)."""
    for name, (column, cap) in capped.items():
        con.execute(f"ALTER TABLE unit ADD COLUMN {name} DOUBLE")
        con.execute(f"UPDATE unit SET {name} = least({column}, {cap!r})")


def moments_of(
    con: Connection, arms: Sequence[str], customers: Mapping[str, int], columns: Sequence[str]
) -> dict[str, Moments]:
    """Return each arm's moments of `columns`, over all its customers."""
    if not columns:
        return {arm: Moments.silent(customers[arm], 0) for arm in arms}
    found = {
        row[0]: row[1:]
        for row in con.execute(f"SELECT arm, {_sums(columns)} FROM unit GROUP BY arm").fetchall()
    }
    first = {at: _read(row, len(columns)) for at, row in found.items()}
    cubes = _cubes(con, columns, first)
    out = {}
    for at, arm in enumerate(arms):
        here = first.get(at)
        if here is None:
            out[arm] = Moments.silent(customers[arm], len(columns))
        else:
            n, mean, products = here
            out[arm] = Moments(n, mean, products, cubes[at]).with_silent(customers[arm])
    return out


def active_of(con: Connection, arms: Sequence[str], columns: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return arm → column → customers for whom the column is not zero."""
    shown = ", ".join(f"count(*) FILTER ({name} <> 0)" for name in columns)
    found = {row[0]: row[1:] for row in con.execute(f"SELECT arm, {shown} FROM unit GROUP BY arm").fetchall()}
    return {
        arm: dict(zip(columns, found.get(at, (0,) * len(columns)), strict=True))
        for at, arm in enumerate(arms)
    }


def breakdown_moments(
    con: Connection, arms: Sequence[str], breakdowns: Sequence[str], columns: Sequence[str]
) -> tuple[dict[Level, dict[str, Moments]], dict[Level, dict[str, dict[str, int]]]]:
    """Return per (breakdown, level) and arm the moments (without cubes) and the counts of non-zeros.

    `unit` has every customer then. Customers whose level is not known make up the level `unknown`.
    """
    if not breakdowns:
        return {}, {}
    names = [f"b{at}" for at in range(len(breakdowns))]
    sets = ", ".join(f"(arm, {name})" for name in names)
    shown = ", ".join(f"count(*) FILTER ({name} <> 0)" for name in columns)
    rows = con.execute(
        f"SELECT arm, grouping({', '.join(names)}), {', '.join(names)}, {shown}, {_sums(columns)} "
        f"FROM unit GROUP BY GROUPING SETS ({sets}) ORDER BY ALL"
    ).fetchall()
    moments: dict[Level, dict[str, Moments]] = {}
    active: dict[Level, dict[str, dict[str, int]]] = {}
    for row in rows:
        arm, mask, levels, rest = arms[row[0]], row[1], row[2 : 2 + len(names)], row[2 + len(names) :]
        place = next(i for i in range(len(names)) if not mask >> (len(names) - 1 - i) & 1)
        level = (breakdowns[place], "unknown" if levels[place] is None else levels[place])
        n, mean, products = _read(rest[len(columns) :], len(columns))
        moments.setdefault(level, {})[arm] = Moments(n, mean, products, np.zeros(len(columns)))
        active.setdefault(level, {})[arm] = dict(zip(columns, rest[: len(columns)], strict=True))
    return {level: moments[level] for level in sorted(moments)}, active


def residual_sums(
    con: Connection,
    arms: Sequence[str],
    customers: Mapping[str, int],
    fits: Mapping[Fitted, tuple[Sequence[str], ArmRegression]],
) -> dict[Fitted, float]:
    """Return Σ w² e² / (1 − h) for every (block, metric, arm) of `fits`, each with its columns, in one pass."""
    if not fits:
        return {}
    keys = list(fits)
    sums = [f"sum({_residual(*fits[key])}) FILTER (arm = {arms.index(key[2])})" for key in keys]
    counted = dict(con.execute("SELECT arm, count(*) FROM unit GROUP BY arm").fetchall())
    summed = one(con, f"SELECT {', '.join(sums)} FROM unit")
    out = {}
    for key, value in zip(keys, summed, strict=True):
        columns, regression = fits[key]
        silent = customers[key[2]] - counted.get(arms.index(key[2]), 0)
        rest = regression.hc2_of(np.zeros((1, len(columns)))) * silent if silent else 0.0
        out[key] = (0.0 if value is None else float(value)) + rest
    return out


def early_outcomes(
    con: Connection, arms: Sequence[str], names: Sequence[str]
) -> tuple[dict[str, int], dict[str, int]]:
    """Return per arm: customers whose first event of `names` came before their assignment, and with any.

    Events count since the first assignment of all. Needs `happened` and `ledger`.
    """
    rows = con.execute(
        "SELECT ledger.arm, count(*), count(*) FILTER (first < ledger.assigned_at) FROM ("
        f"SELECT id, min(happened_at) AS first FROM happened WHERE name IN ({texts(names)}) "
        "AND happened_at >= (SELECT min(assigned_at) FROM ledger) GROUP BY id) JOIN ledger USING (id) GROUP BY 1"
    ).fetchall()
    found = {arm: (int(having), int(early)) for arm, having, early in rows}
    return (
        {arm: found.get(arm, (0, 0))[1] for arm in arms},
        {arm: found.get(arm, (0, 0))[0] for arm in arms},
    )


def largest_of(con: Connection, column: str) -> tuple[float, float, int]:
    """Return the largest customer's `column`, its arm's total, and that arm's customers above zero.

    Of all arms the one whose largest customer has the largest share of the total.
    """
    rows = con.execute(
        f"SELECT max({column}), sum({column}), count(*) FILTER ({column} > 0) FROM unit GROUP BY arm"
    ).fetchall()
    sound = [(float(most), float(total), int(n)) for most, total, n in rows if total and total > 0]
    return max(sound, key=lambda row: row[0] / row[1], default=(0.0, 0.0, 0))


def treated_all_the_same(con: Connection, lake: Lake, experiment: Experiment) -> int | None:
    """Return how many of the control were given the treatment, None where exposures are not recorded."""
    files = lake.files("exposures")
    if not files:
        return None
    return int(
        one(
            con,
            f"SELECT count(DISTINCT e.id) FROM {parquet(files)} e JOIN ledger l ON e.id = l.id "
            f"WHERE e.experiment = {text(experiment.key)} AND l.arm = {text(experiment.control)} "
            "AND e.timestamp >= l.assigned_at",
        )[0]
    )


def _sums(columns: Sequence[str]) -> str:
    """Return count, means and covariances (centred, numerically stable in DuckDB) of all pairs."""
    pairs = [
        f"covar_pop({columns[i]}, {columns[j]})" if i != j else f"var_pop({columns[i]})"
        for i in range(len(columns))
        for j in range(i + 1)
    ]
    return ", ".join(["count(*)", *(f"avg({name})" for name in columns), *pairs])


def _read(row: Sequence[float], width: int) -> tuple[int, np.ndarray, np.ndarray]:
    n = int(row[0])
    mean = np.array(row[1 : 1 + width], dtype=float)
    products = np.zeros((width, width))
    rest = iter(row[1 + width :])
    for i in range(width):
        for j in range(i + 1):
            products[i, j] = products[j, i] = next(rest) * n
    return n, mean, products


def _cubes(
    con: Connection, columns: Sequence[str], first: Mapping[int, tuple[int, np.ndarray, np.ndarray]]
) -> dict[int, np.ndarray]:
    sums = []
    for place, name in enumerate(columns):
        centre = " ".join(f"WHEN {at} THEN {float(mean[place])!r}" for at, (_, mean, _) in first.items())
        sums.append(f"sum(power({name} - CASE arm {centre} END, 3))")
    if not first:
        return {}
    rows = con.execute(f"SELECT arm, {', '.join(sums)} FROM unit GROUP BY arm").fetchall()
    return {row[0]: np.array(row[1:], dtype=float) for row in rows}


def _residual(columns: Sequence[str], fit: ArmRegression) -> str:
    """Return the SQL of one row's w² e² / (1 − h)."""

    def off(place: int) -> str:
        return f"({columns[place]} - {float(fit.mean[place])!r})"

    def combined(weights: Iterable[float], places: Sequence[int]) -> str:
        said = [f"{float(w)!r} * {off(p)}" for w, p in zip(weights, places, strict=True) if w != 0]
        return " + ".join(said) or "0"

    x = fit.covariates
    outcome = [place for place in range(len(columns)) if fit.weights[place] != 0]
    e = f"({combined([fit.weights[place] for place in outcome], outcome)} - ({combined(fit.slope, x)}))"
    w = f"({1 / fit.n!r} + {combined(fit.lever, x)})"
    squares = " + ".join(
        f"{float(fit.inverse[i, j]) * (1 if i == j else 2)!r} * {off(x[i])} * {off(x[j])}"
        for i in range(len(x))
        for j in range(i + 1)
    )
    h = f"({1 / fit.n!r} + {squares or '0'})"
    return f"power({w} * {e}, 2) / greatest(1 - {h}, 1e-12)"
