from __future__ import annotations

import math
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from toolkit.design.experiment import Experiment
from toolkit.stats.estimate import Group, difference, fieller
from toolkit.stats.lifts import lifts_of
from toolkit.stats.moments import Moments
from toolkit.stats.readings import Readings
from toolkit.stats.skew import (
    FEWEST_ABOVE,
    FEWEST_CONVERTERS,
    Skewness,
    cap_for,
    corrected,
    corrected_relative,
    distrust,
    skewness,
    smallest_found,
    with_subject,
)


def mean_of(rows):
    moments = Moments.of(np.asarray(rows, dtype=float)[:, None])
    n = moments.n
    return Group(n, moments.mean[0], moments.products[0, 0] / (n - 1) / n, float(moments.cubes[0]) / n**3)


def shoppers(n, buyers=0.03, log_sd=1.0, seed=0, cap=math.inf):
    rng = np.random.default_rng(seed)
    return np.minimum((rng.random(n) < buyers) * rng.lognormal(sigma=log_sd, size=n), cap)


@st.composite
def groups(draw, positive=False):
    """Two arms that share a shape, more or less, of any unit."""
    unit = draw(st.floats(0.01, 1000))
    found = []
    shape = draw(st.floats(-12, 12))
    for _ in range(2):
        n = draw(st.integers(300, 40_000))
        sd = draw(st.floats(0.2, 5))
        mean = draw(st.floats(0.05, 3) if positive else st.floats(-3, 3))
        third = shape * sd**3 / n**2 * draw(st.floats(0.5, 2))
        found.append(Group(n, unit * mean, unit**2 * sd**2 / n, unit**3 * third))
    return tuple(found)


levels = st.floats(1e-12, 0.5)


@pytest.mark.parametrize("seed", range(3))
def test_skewness_is_the_pooled_numbers_skewness_times_a_factor_of_the_sizes(seed):
    few, many = shoppers(3000, seed=seed), shoppers(20_000, seed=seed + 10)
    pooled = scipy.stats.skew(np.r_[few - few.mean(), many - many.mean()])
    factor = (1 / 20_000**2 - 1 / 3000**2) / (1 / 20_000 + 1 / 3000) ** 1.5
    found = skewness(mean_of(many), mean_of(few))
    assert found.net == pytest.approx(pooled * factor, rel=1e-3)
    assert found.gross > -found.net


def test_skewness_of_a_difference_is_its_third_cumulant_over_its_standard_error_cubed():
    # one shape in both arms: then the pooled form and the definition are one
    few, many = Group(100, 2.0, 4 / 100, 7 / 100**2), Group(900, 5.0, 4 / 900, 7 / 900**2)
    by_definition = (many.third - few.third) / (many.variance + few.variance) ** 1.5
    assert skewness(many, few).net == pytest.approx(by_definition, rel=1e-12)
    assert skewness(few, many).net == pytest.approx(-by_definition, rel=1e-12)


def test_arms_of_one_size_have_no_net_skewness_and_get_welchs_interval():
    one, other = shoppers(2000, seed=1), shoppers(2000, seed=2)
    treated, control = mean_of(one), mean_of(other)
    oracle = scipy.stats.ttest_ind(one, other, equal_var=False)
    interval = oracle.confidence_interval(0.95)
    found = corrected(treated, control, 0.05)
    assert skewness(treated, control).net == 0
    assert skewness(treated, control).gross > 0.1
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found.p_value == pytest.approx(oracle.pvalue, rel=1e-9)


@settings(max_examples=300)
@given(groups(), levels)
def test_p_is_below_alpha_exactly_where_the_interval_excludes_zero(pair, alpha):
    found = corrected(*pair, alpha)
    assume(abs(found.p_value / alpha - 1) > 1e-6)
    assert (found.p_value < alpha) == (not found.low <= 0 <= found.high)


@settings(max_examples=300)
@given(groups(), levels)
def test_at_an_intervals_end_the_test_is_exactly_at_alpha(pair, alpha):
    treated, control = pair
    found = corrected(treated, control, alpha)
    for end in (found.low, found.high):
        moved = replace(treated, mean=treated.mean - end)
        assert corrected(moved, control, alpha).p_value == pytest.approx(alpha, rel=1e-4)


@settings(max_examples=200)
@given(groups(), levels, st.floats(1.01, 1e6))
def test_a_smaller_alpha_gives_a_wider_interval_around_the_value(pair, alpha, times):
    wide, narrow = corrected(*pair, alpha / times), corrected(*pair, alpha)
    assert wide.low < narrow.low < narrow.high < wide.high
    if alpha <= 0.2:  # an interval of every other experiment may be narrower than what skewness moves it by
        assert narrow.low < narrow.value < narrow.high
    assert all(math.isfinite(end) for end in (wide.low, wide.high))


@given(groups(), levels, st.floats(0.01, 100))
def test_another_unit_changes_the_unit_alone(pair, alpha, unit):
    found = corrected(*pair, alpha)
    other = corrected(
        *(Group(g.n, g.mean * unit, g.variance * unit**2, g.third * unit**3) for g in pair), alpha
    )
    assert (other.low, other.high) == pytest.approx((found.low * unit, found.high * unit), rel=1e-6)
    assert other.p_value == pytest.approx(found.p_value, rel=1e-6)


@given(groups(), levels)
def test_losses_are_mirrored_gains(pair, alpha):
    found = corrected(*pair, alpha)
    other = corrected(*(Group(g.n, -g.mean, g.variance, -g.third) for g in pair), alpha)
    assert (other.low, other.high) == pytest.approx((-found.high, -found.low), rel=1e-9)
    assert other.p_value == pytest.approx(found.p_value, rel=1e-9)


def test_a_small_holdout_of_uneven_buyers_widens_the_side_of_an_increase():
    treated, control = mean_of(shoppers(18_000, seed=3)), mean_of(shoppers(2000, seed=4))
    plain, found = difference(treated, control, 0.05), corrected(treated, control, 0.05)
    assert skewness(treated, control).net < -0.1
    assert found.low < plain.low
    assert found.high < plain.high
    assert (found.value, found.se, found.df) == (plain.value, plain.se, plain.df)


@given(groups(positive=True), levels)
def test_the_relative_interval_excludes_zero_exactly_where_the_absolute_one_does(pair, alpha):
    absolute, relative = corrected(*pair, alpha), corrected_relative(*pair, alpha)
    assume(abs(absolute.p_value / alpha - 1) > 1e-6)
    low = -math.inf if relative.low is None else relative.low
    high = math.inf if relative.high is None else relative.high
    assert (low <= 0 <= high) == (absolute.low <= 0 <= absolute.high)


@settings(max_examples=300)
@given(groups(positive=True), levels)
def test_the_relative_ends_are_where_the_same_statistic_meets_the_same_limits(pair, alpha):
    treated, control = pair
    absolute, relative = corrected(*pair, alpha), corrected_relative(*pair, alpha)
    for end, limit in ((relative.low, absolute.low), (relative.high, absolute.high)):
        if end is not None:
            ratio = 1 + end
            se = math.sqrt(treated.variance + ratio**2 * control.variance)
            expected = (absolute.value - limit) / absolute.se
            assert (treated.mean - ratio * control.mean) / se == pytest.approx(expected, rel=1e-5, abs=1e-7)


@given(groups(positive=True), st.floats(1e-6, 0.5))
def test_without_skewness_the_relative_interval_is_fiellers_with_students_quantile(pair, alpha):
    treated, control = (replace(each, third=0.0) for each in pair)
    found = corrected_relative(treated, control, alpha)
    df = difference(treated, control, alpha).df
    quantile = scipy.stats.t.isf(alpha / 2, df)
    expected = fieller(treated, control, 2 * scipy.stats.norm.sf(quantile))
    for mine, theirs in ((found.low, expected.low), (found.high, expected.high)):
        if theirs is not None:
            assert mine == pytest.approx(theirs, rel=1e-5, abs=1e-7)


def test_over_an_uncertain_control_the_relative_lift_has_no_upper_end():
    found = corrected_relative(Group(18_000, 0.03, 1e-6, 0.0), Group(2000, 0.004, 5e-6, 0.0), 0.05)
    assert found.low > 0
    assert found.high is None


@pytest.mark.parametrize("mean", [0.0, -1.0, 1e-15])
def test_over_a_control_not_above_zero_there_is_no_relative_lift(mean):
    found = corrected_relative(Group(900, 0.03, 1e-6, 0.0), Group(100, mean, 0.01, 0.0), 0.05)
    assert (found.value, found.low, found.high) == (None, None, None)


def test_customers_expected_are_never_said_to_be_as_many_as_are_needed():
    treated, control = Group(1800, 0.1, 1e-6, 0.0), Group(200, 0.1, 1e-6, 0.0)
    said = distrust(treated, control, [180, 19], skew_corrected=True, bounded=True)
    assert said.startswith(
        "only 19 converting customers are to be expected in the smaller arm of 200; at least 20 "
    )


def test_groups_that_do_not_vary_get_no_p_value():
    still = Group(50, 1.0, 0.0, 0.0)
    assert corrected(still, still, 0.05).p_value is None
    assert skewness(still, still) == Skewness(0.0, 0.0)


def test_a_group_without_its_third_cumulant_is_refused():
    known, unknown = Group(50, 1.0, 0.1, 0.0), Group(50, 1.0, 0.1)
    with pytest.raises(ValueError, match="third cumulant"):
        corrected(known, unknown, 0.05)
    with pytest.raises(ValueError, match="third cumulant"):
        distrust(unknown, known, (40, 40), skew_corrected=True, bounded=True)


def rates(n, share):
    """The group of a conversion rate."""
    return Group(n, share, share * (1 - share) / n, share * (1 - share) * (1 - 2 * share) / n**2)


@given(st.integers(0, FEWEST_CONVERTERS - 1), st.integers(0, 10_000), st.booleans(), st.booleans())
def test_nothing_is_trusted_that_rests_on_fewer_than_ten_converters_in_an_arm(
    few, many, skew_corrected, bounded
):
    one, other = rates(5000, 0.01), rates(45_000, 0.01)
    for converters in ((few, many), (many, few)):
        reason = distrust(one, other, converters, skew_corrected=skew_corrected, bounded=bounded)
        assert f"rests on {min(converters)} converting customer" in reason


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("rests on 0 converting customers in an arm", "revenue rests on 0 converting customers in an arm"),
        ("so uneven that it would miss", "revenue is so uneven that it would miss"),
        ("only 6 converting customers are to be expected", "only 6 converting customers are to be expected"),
    ],
)
def test_a_reason_stands_alone_with_the_metric_as_its_subject_where_it_has_none(why, said):
    assert with_subject("revenue", why) == said


def test_ten_converters_are_not_enough_where_fewer_were_as_likely():
    reason = distrust(rates(4500, 0.012), rates(500, 0.02), (54, 10), skew_corrected=True, bounded=True)
    assert "only 6 converting customers are to be expected in the smaller arm of 500" in reason


def test_a_conversion_rate_is_trusted_by_how_many_convert_in_the_smaller_arm():
    def reason(held, treated, *, skew_corrected):
        converters = (round(0.03 * treated), round(0.03 * held))
        return distrust(
            rates(treated, 0.03), rates(held, 0.03), converters, skew_corrected=skew_corrected, bounded=True
        )

    assert "would see an increase too often by chance" in reason(2000, 18_000, skew_corrected=False)
    assert "would see a decrease too often by chance" in reason(18_000, 2000, skew_corrected=False)
    assert reason(2000, 18_000, skew_corrected=True) is None
    assert reason(2000, 2000, skew_corrected=False) is None
    assert reason(12_000, 108_000, skew_corrected=False) is None


def test_raw_revenue_of_a_small_holdout_is_not_trusted_and_says_what_to_do():
    treated, control = mean_of(shoppers(18_000, log_sd=1.5)), mean_of(shoppers(2000, log_sd=1.5, seed=1))
    reason = distrust(treated, control, (540, 60), skew_corrected=False, bounded=False)
    assert "2,000 customers in the smaller arm would miss" in reason
    assert "cap it or hold out more" in reason


def test_capped_revenue_is_trusted_where_enough_customers_stand_above_the_cap():
    treated, control = (mean_of(shoppers(n, log_sd=1.5, seed=n, cap=15.0)) for n in (18_000, 2000))
    assert distrust(treated, control, (540, 60), skew_corrected=True, bounded=True) is None
    assert "cap it lower" in distrust(treated, control, (540, 60), skew_corrected=True, bounded=False)


def test_an_adjustment_by_a_covariate_more_uneven_than_the_holdout_bears_is_not_trusted():
    treated, control = (mean_of(shoppers(n, seed=n, cap=5.0)) for n in (18_000, 2000))
    wild = tuple(mean_of(shoppers(n, log_sd=1.5, seed=n)) for n in (18_000, 2000))
    tame = tuple(mean_of(shoppers(n, log_sd=1.5, seed=n, cap=15.0)) for n in (18_000, 2000))

    def reason(*covariates):
        return distrust(treated, control, (540, 60), skew_corrected=True, bounded=True, covariates=covariates)

    assert reason() is None
    assert reason(tame) is None
    assert "adjusted by a covariate so uneven" in reason(tame, wild)


def test_an_adjustment_is_trusted_only_where_the_unadjusted_numbers_are_as_even():
    adjusted = tuple(mean_of(shoppers(n, seed=n, cap=5.0)) for n in (18_000, 2000))
    uneven = tuple(mean_of(shoppers(n, log_sd=1.5, seed=n)) for n in (18_000, 2000))

    def reason(unadjusted):
        return distrust(*adjusted, (540, 60), skew_corrected=True, bounded=True, unadjusted=unadjusted)

    assert reason(None) is None
    assert reason(adjusted) is None
    assert f"so uneven (skewness {skewness(*uneven).gross:.2f}" in reason(uneven)


@given(st.integers(1, 10**7), st.lists(st.integers(1, 10**7), min_size=1, max_size=4))
def test_a_cap_is_a_quantile_with_enough_customers_above_it(control, treated):
    found = cap_for(control, treated)
    assert 0.99 <= found < 1
    if found > 0.99:
        assert (1 - found) * (control + sum(treated)) > FEWEST_ABOVE


def test_a_larger_holdout_is_capped_higher():
    found = [cap_for(n, [9 * n]) for n in (1000, 2000, 10_000, 40_000)]
    assert found == sorted(found)
    above = [(1 - quantile) * n for quantile, n in zip(found, (1000, 2000, 10_000, 40_000), strict=True)]
    assert above == pytest.approx([4.06] * 4, abs=0.05)


def test_a_cap_needs_customers_in_every_arm():
    with pytest.raises(ValueError, match="every arm"):
        cap_for(100, [0])


@pytest.mark.parametrize("buyers", [0.01, 0.03, 0.1, 0.3])
@pytest.mark.parametrize("log_sd", [1.0, 1.5, 2.0, 2.5])
@pytest.mark.parametrize("treated", [2000, 18_000])
def test_capped_by_the_rule_revenue_of_any_tail_is_even_enough(treated, log_sd, buyers):
    parts = [shoppers(n, buyers, log_sd, seed=n + 1) for n in (2001, treated)]
    cap = np.quantile(np.concatenate(parts), cap_for(2001, [treated]))
    control, other = (mean_of(np.minimum(part, cap)) for part in parts)
    assert 0.02 < skewness(other, control).gross < 0.37


def share_of(n, converted):
    p = converted / n
    return Group(n, p, p * (1 - p) / (n - 1), p * (1 - p) * (1 - 2 * p) / n**2)


def test_the_smallest_effect_it_would_find_is_found_in_eight_of_ten_however_uneven_the_arms():
    rng = np.random.default_rng(8)
    sizes, share = [18_000, 2_000], 0.03

    def drawn(effect):
        counts = rng.binomial(sizes, [share + effect, share]).tolist()
        return [share_of(*each) for each in zip(sizes, counts, strict=True)]

    effect = 0.0
    for _ in range(4):  # what is said where it is true
        effect = float(np.mean([smallest_found(*drawn(effect), 0.05, 0.8) for _ in range(200)]))
    found = np.mean([corrected(*drawn(effect), 0.05).low > 0 for _ in range(6000)])
    assert 0.765 < found < 0.82  # the normal formula's effect is found in 74 %


def test_a_lift_whose_interval_is_corrected_says_the_effect_that_this_interval_would_find():
    metric = {"name": "bought", "kind": "conversion", "column": "bought"}
    experiment = Experiment.model_validate(
        {
            "key": "share",
            "start": date(2026, 1, 1),
            "end": date(2026, 2, 1),
            "arms": {"holdout": 0.1, "offer": 0.9},
            "control": "holdout",
            "assignment": {"source": "files"},
            "outcomes": {"source": "files"},
            "metrics": [metric],
        }
    )
    counts = {"holdout": (2_000, 60), "offer": (18_000, 580)}
    moments = {
        arm: Moments(k, np.ones(1), np.zeros((1, 1)), np.zeros(1)).with_silent(n)
        for arm, (n, k) in counts.items()
    }
    customers = {arm: n for arm, (n, _) in counts.items()}
    bought = {arm: {"bought": k} for arm, (_, k) in counts.items()}
    readings = Readings(customers, ["bought"], moments, bought, {"bought": ("bought",)}, {"bought": ()})
    (lift,) = lifts_of(experiment, readings)
    assert lift.decision == "skew_corrected"
    groups = [share_of(*counts[arm]) for arm in ("offer", "holdout")]
    assert lift.detectable == pytest.approx(smallest_found(*groups, 0.05, 0.8), rel=1e-9)


def test_of_even_arms_the_smallest_effect_is_the_textbooks():
    arm = Group(500, 0.1, 0.0002, 3e-8)
    textbook = (scipy.stats.norm.isf(0.025) + scipy.stats.norm.isf(0.2)) * math.sqrt(2 * arm.variance)
    assert smallest_found(arm, arm, 0.05, 0.8) == pytest.approx(textbook, rel=1e-9)
