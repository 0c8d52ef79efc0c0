"""Numbers that nothing follows from: no base, no spread, no size that can be computed with."""

from __future__ import annotations

import numpy as np
import pytest

from tests.lake.two_arms import two_arms
from toolkit.errors import DataError


def test_where_the_controls_mean_is_not_above_zero_no_block_has_a_relative_lift(tmp_path):
    rng = np.random.default_rng(4)
    x = rng.normal(0, 3, 600)
    net = np.round(x + rng.normal(-2, 3, 600) + np.repeat([0, 1.5], 300), 2)
    metric = "name: net, kind: mean, column: net, covariates: [x]"
    found = two_arms(
        tmp_path, f"{metric}, role: primary", f"{metric.replace('net', 'also', 1)}", net=net, x=x
    )
    for lift in found.lifts:
        for block in (lift.raw, lift.adjusted, *([lift.corrected] if lift.corrected else [])):
            assert block.absolute.low > 0
            assert (block.relative.value, block.relative.low, block.relative.high) == (None, None, None)
        assert "there is no relative lift: the control's mean is not above zero" in lift.notes
    assert found.lifts[1].corrected
    assert found.verdict.text.startswith("Treatment raised net by 1.")


def test_of_nobody_the_mean_is_zero_and_no_ratio_or_relative_lift_is_taken(tmp_path):
    active = np.r_[np.zeros(150), np.arange(150) % 3 == 0]
    found = two_arms(
        tmp_path,
        "name: did, kind: conversion, column: did, role: primary",
        "name: spend, kind: mean, column: spend",
        "name: per_order, kind: ratio, numerator: {column: spend}, denominator: {column: orders}",
        did=active.astype(int),
        spend=active * (20.1 + np.arange(300) % 7),
        orders=active * (1 + np.arange(300) % 2 * 0.1),
    )
    for lift in found.lifts[:2]:
        assert lift.means["holdout"] == 0
        assert lift.raw.relative.value is None
    assert found.lifts[2].raw is None
    assert found.lifts[2].notes == ("holdout has a denominator of zero: there is no ratio",)


PRICE = "name: price, kind: ratio, numerator: {column: y}, denominator: {column: n}"
GUARDED = "name: y, kind: conversion, column: y, role: guardrail, harm: decrease, margin: 0.01"
COUNTS = 1.0 + np.arange(400) % 5


@pytest.mark.parametrize(
    ("metric", "numbers"),
    [
        (GUARDED, np.ones(400)),
        ("name: y, kind: mean, column: y, role: primary", np.repeat([4.1, 5.3], 200)),
        (f"{PRICE}, role: primary", COUNTS * np.repeat([9.99, 10.99], 200)),
        (f"{PRICE}, role: guardrail, harm: increase, margin: 0.5", COUNTS * 9.99),
    ],
)
def test_numbers_that_do_not_vary_decide_nothing(tmp_path, metric, numbers):
    found = two_arms(tmp_path, metric, y=numbers, n=COUNTS)
    lift = found.lifts[0]
    assert (lift.trusted, lift.answer, lift.decided.p_value) == (False, None, None)
    assert "every customer of an arm has the same number" in lift.notes[-1]
    assert found.verdict.status in {"inconclusive", "not_readable"}
    assert "same number" in found.verdict.text


@pytest.mark.parametrize("seed", [1, 9, 11])
def test_covariates_that_tell_the_outcome_exactly_adjust_nothing(tmp_path, seed):
    before = np.round(np.random.default_rng(seed).uniform(10, 90, 400), 2)
    metric = "name: fee, kind: mean, column: fee, covariates: [before], role: primary"
    found = two_arms(tmp_path, metric, fee=np.round(before * 1.19, 4), before=before)
    lift = found.lifts[0]
    assert (lift.decision, lift.adjusted) == ("raw", None)
    assert any("the covariates tell the outcome exactly" in note for note in lift.notes)
    assert found.verdict.status == "inconclusive"


@pytest.mark.parametrize("size", [1e80, 1e200, 1e300, 1e-82, 1e-200])
def test_numbers_that_cannot_be_computed_with_are_refused_by_name(tmp_path, size):
    spend = size * (1 + np.arange(400) % 7)
    for metric in (
        "name: spend, kind: mean, column: spend, role: primary",
        "name: n, kind: mean, column: n, covariates: [spend]",
        "name: r, kind: ratio, numerator: {column: n}, denominator: {column: spend}",
    ):
        with pytest.raises(DataError, match=r"`spend`.* cannot be computed with: give them in another unit"):
            two_arms(tmp_path, metric, spend=spend, n=COUNTS)


def test_a_ratio_that_cannot_be_computed_with_is_not_trusted(tmp_path):
    found = two_arms(tmp_path, f"{PRICE}, role: primary", y=COUNTS * 1e30, n=1e-30 * (1 + np.arange(400) % 3))
    assert found.verdict.status == "not_readable"
    assert "numbers beyond 1e+50 cannot be computed with" in found.verdict.text
