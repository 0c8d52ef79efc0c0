"""Checks of pure counts: how often they cry where all is well, and that they do where it is not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats

from toolkit.stats.quality import sample_ratio


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
