"""Adjusted intervals of few customers: how often they miss, on either side of the bound of trust."""

from __future__ import annotations

import math

import numpy as np
import pytest

from toolkit.stats.adjust import FEWEST_DF, degrees_of_freedom, fit, outcome_of
from toolkit.stats.estimate import difference
from toolkit.stats.moments import Moments

RUNS = 4000
CHANCE = 3 * math.sqrt(0.05 * 0.95 / RUNS)


def false_positives(treated, control, covariates):
    """How often an adjusted interval excludes zero where there is no effect."""
    rng = np.random.default_rng([treated, control, covariates])
    places = list(range(1, covariates + 1))
    missed = 0
    for _ in range(RUNS):
        rows = rng.normal(size=(treated + control, covariates + 1))
        rows[:, 0] += rows[:, 1:].sum(axis=1)
        centre = rows[:, 1:].mean(axis=0)
        groups = []
        for arm in (rows[:treated], rows[treated:]):
            moments = Moments.of(arm)
            regression = fit(moments, outcome_of(moments, 1), places, centre)
            groups.append(regression.group(*regression.residual_sums(arm)))
        found = difference(*groups, 0.05, normal=True)
        missed += not found.low <= 0 <= found.high
    return missed / RUNS


@pytest.mark.parametrize("sizes", [(57, 57, 5), (756, 84, 1)])
def test_an_adjusted_interval_that_just_has_enough_customers_misses_as_often_as_it_says(sizes):
    assert FEWEST_DF <= degrees_of_freedom(*sizes) < FEWEST_DF + 3
    assert 0.045 - CHANCE < false_positives(*sizes) < 0.055 + CHANCE


@pytest.mark.parametrize("sizes", [(12, 12, 5), (180, 20, 5)])
def test_an_adjusted_interval_of_few_customers_misses_too_often_and_is_below_the_bound(sizes):
    assert degrees_of_freedom(*sizes) < FEWEST_DF
    assert false_positives(*sizes) > 0.055 + CHANCE


def test_degrees_of_freedom_are_those_of_welchs_test_of_arms_that_vary_alike():
    assert degrees_of_freedom(30, 30, 0) == pytest.approx(58)
    assert degrees_of_freedom(30, 30, 4) == pytest.approx(50)
    assert 44 < degrees_of_freedom(10_000, 50, 5) < 45
    assert degrees_of_freedom(100, 6, 5) == 0
