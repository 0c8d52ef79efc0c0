"""From regressions to the variances of adjusted means: one pass for what needs the sums of the first.

A residual is known only once its regression is. All regressions of all arms share the pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from toolkit.lake.aggregate import Summed, Sums, literal
from toolkit.lake.engine import Engine
from toolkit.stats.adjust import ArmRegression

__all__ = ["residual_sums"]

Fitted = tuple[str, str, str]


def residual_sums(
    con: Engine,
    arms: Sequence[str],
    sums: Sums,
    found: Mapping[str, Summed],
    fits: Mapping[Fitted, tuple[Sequence[str], ArmRegression]],
) -> dict[Fitted, tuple[float, float]]:
    """Return Σ w² e² / (1 − h) and Σ w³ e³ for every (block, metric, arm) of `fits`, in one pass.

    Every arm's regressions stand in one row of parameters, which is joined: no arm's rows are read for another.
    Regressions on the same covariates share what depends on those alone.
    """
    if not fits:
        return {}
    blocks = list(dict.fromkeys(key[:2] for key in fits))
    shapes = {block: next(fits[key] for key in fits if key[:2] == block) for block in blocks}
    designs: dict[str, int] = {}
    design_of: list[int] = []
    names: list[str] = []
    values: list[list[float]] = [[] for _ in arms]
    layers: tuple[list[str], list[str], list[str]] = ([], [], [])
    for place, block in enumerate(blocks):
        columns, shape = shapes[block]
        covariates = [columns[each] for each in shape.covariates]
        own = [_design_parameters(fits[*block, arm][1]) for arm in arms]
        design = designs.setdefault(repr((covariates, own)), len(designs))
        if design not in design_of:
            said, texts_of = _design(f"x{design}", covariates)
            names += said
            for layer, each in zip(layers, texts_of, strict=True):
                layer.append(each)
            for given, more in zip(values, own, strict=True):
                given.extend(more)
        design_of.append(design)
        said, line = _residual(f"r{place}", f"x{design}", columns, shape)
        names += said
        layers[1].append(line)
        for given, arm in zip(values, arms, strict=True):
            given.extend(_residual_parameters(fits[*block, arm][1]))
    # keys are of the type that arms have: where those are cast, each row is joined by itself
    keyed = ([f"CAST({at} AS SMALLINT)", *map(literal, row)] for at, row in enumerate(values))
    rows = ", ".join(f"({', '.join(each)})" for each in keyed)
    inner = f"SELECT u.*, {', '.join(f'p.{name}' for name in names)} FROM {sums.relation('arm')} u JOIN (SELECT * FROM (VALUES {rows}) AS v(p_arm, {', '.join(names)})) p ON u.arm = p.p_arm"
    for layer in layers:
        inner = f"SELECT *, {', '.join(layer)} FROM ({inner})"
    shown = ", ".join(
        f"sum(r{place}e * r{place}e * x{design}q), sum(r{place}e * r{place}e * r{place}e * x{design}c)"
        for place, design in enumerate(design_of)
    )
    by_arm = {row[0]: row[1:] for row in con.rows(f"SELECT arm, {shown} FROM ({inner}) GROUP BY arm")}
    out = {}
    for key, (columns, regression) in fits.items():
        at, place = list(arms).index(key[2]), blocks.index(key[:2])
        squares, cubes = (
            (float(each) for each in by_arm[at][2 * place : 2 * place + 2]) if at in by_arm else (0.0, 0.0)
        )
        silent = found[key[2]].moments.n - found[key[2]].rows
        if silent:
            rest = regression.residual_sums(np.zeros((1, len(columns))))
            squares, cubes = squares + rest[0] * silent, cubes + rest[1] * silent
        out[key] = (squares, cubes)
    return out


def _design_parameters(fit: ArmRegression) -> list[float]:
    """Return what one arm's regression says of its covariates alone, in the order in which `_design` names it."""
    size = range(len(fit.covariates))
    squares = [float(fit.inverse[i, j]) * (1 if i == j else 2) for i in size for j in range(i + 1)]
    means = (float(fit.mean[place]) for place in fit.covariates)
    return [1 / fit.n, *means, *(float(each) for each in fit.lever), *squares]


def _design(name: str, columns: Sequence[str]) -> tuple[list[str], tuple[str, str, str]]:
    """Return the names of the parameters of covariates, and in three layers the SQL of w² / (1 − h) and w³.

    Each layer names what the next one uses more than once: an engine computes a named step once.
    """
    size = range(len(columns))
    lower = [(i, j) for i in size for j in range(i + 1)]
    n, squares = f"{name}n", [f"{name}v{i}_{j}" for i, j in lower]
    means, levers, shifted = ([f"{name}{letter}{i}" for i in size] for letter in "mlx")
    off = [f"{each} - {mean} AS {own}" for each, mean, own in zip(columns, means, shifted, strict=True)]
    lifted = " + ".join(f"{lever} * {own}" for lever, own in zip(levers, shifted, strict=True))
    spread = " + ".join(
        f"{own} * {shifted[i]} * {shifted[j]}" for own, (i, j) in zip(squares, lower, strict=True)
    )
    return (
        [n, *means, *levers, *squares],
        (
            ", ".join(off),
            f"{n} + {lifted} AS {name}g, 1e0 - {n} - ({spread}) AS {name}h",
            f"{name}g * {name}g / CASE WHEN {name}h > 1e-12 THEN {name}h ELSE 1e-12 END AS {name}q, "
            f"{name}g * {name}g * {name}g AS {name}c",
        ),
    )


def _residual_parameters(fit: ArmRegression) -> list[float]:
    """Return one arm's regression as numbers, in the order in which `_residual` names them."""
    outcome = [place for place in range(len(fit.weights)) if place not in fit.covariates]
    centre = float(fit.weights[outcome] @ fit.mean[outcome])
    return [
        centre,
        *(float(fit.weights[place]) for place in outcome),
        *(float(each) for each in fit.slope),
    ]


def _residual(name: str, design: str, columns: Sequence[str], fit: ArmRegression) -> tuple[list[str], str]:
    """Return the names of a regression's parameters, and the SQL of its residual e."""
    outcome = [place for place in range(len(fit.weights)) if place not in fit.covariates]
    weights = [f"{name}w{i}" for i in range(len(outcome))]
    slopes = [f"{name}b{i}" for i in range(len(fit.covariates))]
    plain = " + ".join(f"{weight} * {columns[place]}" for weight, place in zip(weights, outcome, strict=True))
    line = " + ".join(f"{slope} * {design}x{i}" for i, slope in enumerate(slopes))
    return [f"{name}k", *weights, *slopes], f"{plain} - {name}k - ({line}) AS {name}e"
