"""Checks of pure counts: how often they cry where all is well, and that they do where it is not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats

from toolkit.stats.quality import assignment_before_outcome, sample_ratio


@pytest.mark.parametrize(
    ("customers", "share"),
    [(50, 0.02), (60, 0.02), (200, 0.02), (100, 0.05), (50, 0.5), (2000, 0.01), (10_000, 0.002)],
)
def test_a_fair_draw_of_two_arms_fails_the_sample_ratio_once_in_a_thousand_at_most(customers, share):
    few = np.arange(min(customers, 200) + 1)
    chance = scipy.stats.binom.pmf(few, customers, share)
    planned = {"holdout": share, "one": 1 - share}
    found = [sample_ratio({"holdout": n, "one": customers - n}, planned) for n in few.tolist()]
    assert chance[[each.status == "fail" for each in found]].sum() <= 0.001
    assert chance[[each.status != "pass" for each in found]].sum() <= 0.01


def test_a_fair_draw_of_three_arms_fails_the_sample_ratio_once_in_a_thousand_at_most():
    shares = {"holdout": 0.02, "one": 0.1, "two": 0.88}
    rest = itertools.product(range(14), range(32))
    counts = [(held, one, 60 - held - one) for held, one in rest]
    chance = scipy.stats.multinomial.pmf(counts, 60, list(shares.values()))
    assert chance.sum() > 0.999999
    found = [sample_ratio(dict(zip(shares, each, strict=True)), shares).status for each in counts]
    assert chance[[status == "fail" for status in found]].sum() <= 0.001
    assert chance[[status != "pass" for status in found]].sum() <= 0.01


@pytest.mark.parametrize("counts", [(9, 51), (0, 700), (60, 440)])
def test_a_small_holdout_that_lost_or_gained_customers_fails_the_sample_ratio(counts):
    share = {(9, 51): 0.02, (0, 700): 0.02, (60, 440): 0.05}[counts]
    found = sample_ratio(
        dict(zip(("holdout", "one"), counts, strict=True)), {"holdout": share, "one": 1 - share}
    )
    assert found.status == "fail"
    assert found.p_value == pytest.approx(scipy.stats.binomtest(counts[0], sum(counts), share).pvalue)


def test_with_a_hundred_expected_in_every_arm_the_sample_ratio_is_pearsons():
    found = sample_ratio({"holdout": 130, "one": 120, "two": 850}, {"holdout": 0.1, "one": 0.1, "two": 0.8})
    assert found.p_value == pytest.approx(scipy.stats.chisquare([130, 120, 850], [110, 110, 880]).pvalue)


def test_a_p_value_that_is_next_to_nothing_is_said_to_be_below_and_not_to_equal_below():
    assert sample_ratio({"a": 4600, "b": 5300}, {"a": 0.5, "b": 0.5}).detail.endswith("; p below 0.0001")
    assert "; p = " in sample_ratio({"a": 4950, "b": 4950}, {"a": 0.5, "b": 0.5}).detail


@pytest.mark.parametrize(
    ("customers", "held", "early"),
    [(1000, 20, 10), (1000, 50, 20), (10_000, 200, 50), (5000, 100, 300), (100_000, 2000, 100)],
)
def test_a_fair_draw_seldom_seems_to_have_assigned_by_outcome_where_few_were_early(customers, held, early):
    few = np.arange(min(held, early) + 1)
    chance = scipy.stats.hypergeom.pmf(few, customers, held, early)
    arms = {"holdout": held, "one": customers - held}
    found = [
        assignment_before_outcome({"holdout": n, "one": early - n}, arms, arms, rolling=True)
        for n in few.tolist()
    ]
    assert chance[[each.status == "fail" for each in found]].sum() <= 1e-6
    assert chance[[each.status != "pass" for each in found]].sum() <= 0.001


def test_arms_that_were_decided_by_the_outcome_fail_where_few_were_early_as_well():
    arms = {"holdout": 100, "one": 900}
    early = {"holdout": 12, "one": 3}
    found = assignment_before_outcome(early, arms, arms, rolling=True)
    assert found.status == "fail"
    assert found.p_value == pytest.approx(scipy.stats.binomtest(12, 15, 0.1).pvalue)
