"""Differences of covariates in standard deviations, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.stats.moments import Moments
from toolkit.stats.readings import Readings
from toolkit.stats.standardised import standardised_differences


def readings(**arms):
    moments = {arm: Moments.of(np.array(rows, dtype=float)) for arm, rows in arms.items()}
    sizes = {arm: len(rows) for arm, rows in arms.items()}
    covariates = {"revenue": (("ltv", "a0"), ("flat", "a1")), "orders": (("ltv", "a0"),)}
    return Readings(sizes, ["a0", "a1"], moments, {}, {}, covariates)


def test_a_difference_is_in_pooled_standard_deviations_and_each_covariate_stands_once():
    rng = np.random.default_rng(1)
    treated, held = rng.normal(1, 2, 300), rng.normal(0, 1, 100)
    flat = [np.column_stack([each, np.ones(len(each))]) for each in (treated, held)]
    (found,) = standardised_differences(readings(offer=flat[0], holdout=flat[1]), "holdout")
    spread = np.sqrt((treated.var(ddof=1) + held.var(ddof=1)) / 2)
    assert found.covariate == "ltv"
    assert found.arm == "offer"
    assert found.value == pytest.approx((treated.mean() - held.mean()) / spread)
    assert found.high - found.value == pytest.approx(1.959964 * np.sqrt(1 / 300 + 1 / 100), rel=1e-6)
    assert found.value - found.low == pytest.approx(found.high - found.value)


def test_an_arm_of_one_customer_is_compared_with_nothing():
    assert standardised_differences(readings(offer=[[1, 1]], holdout=[[1, 1], [2, 1]]), "holdout") == ()
