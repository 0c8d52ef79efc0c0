from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri
from statsmodels.stats.multitest import multipletests

from toolkit.stats.multiplicity import benjamini_hochberg, holm

P = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.01, 0.05, 1.0]), st.floats(0, 1e-3))
FAMILY = st.lists(st.one_of(P, st.none()), max_size=12)
ALPHA = st.sampled_from([0.05, 0.1, 0.01, 0.3])
METHODS = [(holm, "holm"), (benjamini_hochberg, "fdr_bh")]
BOTH = pytest.mark.parametrize(("adjust", "name"), METHODS, ids=["holm", "benjamini_hochberg"])


@BOTH
@settings(max_examples=20, deadline=None)  # the oracle is slow
@given(p_values=FAMILY, alpha=ALPHA)
def test_adjusted_p_values_are_those_of_statsmodels(adjust, name, p_values, alpha):
    members = [each for each in p_values if each is not None]
    found = [each for each in adjust(p_values, alpha) if each.p_value is not None]
    assert len(found) == len(members)
    if members:
        rejects, adjusted, _, _ = multipletests(members, alpha, method=name)
        np.testing.assert_allclose([each.p_value for each in found], adjusted, rtol=1e-12, atol=1e-300)
        for each, theirs, p_value in zip(found, rejects, adjusted, strict=True):
            if (
                abs(p_value - alpha) > 1e-12
            ):  # at the bound itself an interval touches zero: not rejected here
                assert each.rejected == theirs


@BOTH
@given(p_values=FAMILY, alpha=ALPHA)
def test_an_interval_excludes_zero_exactly_where_the_adjusted_p_value_is_below_the_level(
    adjust, name, p_values, alpha
):
    for p_value, each in zip(p_values, adjust(p_values, alpha), strict=True):
        if p_value is not None:
            assert (p_value < each.alpha) == (each.p_value < alpha) == each.rejected


@BOTH
@given(effects=st.lists(st.floats(-6, 6), min_size=1, max_size=8), alpha=ALPHA)
def test_normal_intervals_at_the_levels_given_agree_with_the_decisions(adjust, name, effects, alpha):
    p_values = [float(2 * ndtr(-abs(each))) for each in effects]
    for z, each in zip(effects, adjust(p_values, alpha), strict=True):
        reach = -float(ndtri(each.alpha / 2))
        if abs(abs(z) - reach) > 1e-9:
            assert (z - reach > 0 or z + reach < 0) == each.rejected


@BOTH
@given(p_values=FAMILY, alpha=ALPHA)
def test_smaller_p_values_stay_smaller_and_none_gets_smaller_by_adjusting(adjust, name, p_values, alpha):
    pairs = [
        (p_value, each)
        for p_value, each in zip(p_values, adjust(p_values, alpha), strict=True)
        if p_value is not None
    ]
    for p_value, each in pairs:
        assert p_value <= each.p_value * (1 + 1e-12)
        assert alpha / len(pairs) * (1 - 1e-12) <= each.alpha <= alpha * (1 + 1e-12)
    for one, its in pairs:
        for other, theirs in pairs:
            if one < other:
                assert its.p_value <= theirs.p_value
                assert its.rejected >= theirs.rejected
            if one == other:
                assert its == theirs


@BOTH
@given(p_values=FAMILY, alpha=ALPHA, random=st.randoms())
def test_the_order_of_a_family_makes_no_difference(adjust, name, p_values, alpha, random):
    order = list(range(len(p_values)))
    random.shuffle(order)
    shuffled = adjust([p_values[place] for place in order], alpha)
    straight = adjust(p_values, alpha)
    assert shuffled == [straight[place] for place in order]


@BOTH
def test_what_has_no_p_value_is_no_member_of_the_family(adjust, name):
    found = adjust([0.01, None, 0.04], 0.05)
    assert [found[0], found[2]] == adjust([0.01, 0.04], 0.05)
    assert (found[1].p_value, found[1].alpha, found[1].rejected) == (None, None, False)
    assert adjust([None], 0.05)[0].alpha is None
    assert adjust([], 0.05) == []


@BOTH
def test_a_family_of_one_is_left_alone(adjust, name):
    (found,) = adjust([0.03], 0.05)
    assert (found.p_value, found.alpha, found.rejected) == (0.03, 0.05, True)
    (found,) = adjust([0.0], 0.05)
    assert (found.p_value, found.alpha, found.rejected) == (0.0, 0.05, True)


@BOTH
@pytest.mark.parametrize("wrong", [[float("nan")], [1.2], [-0.1]])
def test_what_is_no_p_value_is_refused(adjust, name, wrong):
    with pytest.raises(ValueError, match="p-value"):
        adjust(wrong, 0.05)
    with pytest.raises(ValueError, match="level"):
        adjust([0.5], 0.0)


def test_holm_steps_down_and_benjamini_hochberg_up():
    p_values = [0.001, 0.02, 0.03, 0.6]
    stepped = holm(p_values, 0.05)
    assert [each.rejected for each in stepped] == [True, False, False, False]
    assert [each.alpha for each in stepped] == pytest.approx([0.05 / 4, 0.05 / 3, 0.05 / 3, 0.05 / 3])
    stepped = benjamini_hochberg(p_values, 0.05)
    assert [each.rejected for each in stepped] == [True, True, True, False]
    assert [each.alpha for each in stepped] == pytest.approx([0.0375, 0.0375, 0.0375, 0.05])


def correlated(rng, runs, means, shared):
    """Return z-scores with correlation `shared` in pairs, shape (runs, m)."""
    common = rng.normal(size=(runs, 1))
    return means + np.sqrt(shared) * common + np.sqrt(1 - shared) * rng.normal(size=(runs, len(means)))


@pytest.mark.parametrize("shared", [0.0, 0.6])
def test_holm_keeps_the_chance_of_any_false_rejection(shared):
    rng, runs = np.random.default_rng(11), 3000
    means = np.array([0, 0, 0, 0, 3.0, 3.0])
    z = correlated(rng, runs, means, shared)
    false, true = 0, 0
    for row in 2 * ndtr(-np.abs(z)):
        rejected = [each.rejected for each in holm(row.tolist(), 0.05)]
        false += any(rejected[:4])
        true += sum(rejected[4:])
    assert false / runs <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
    assert true / runs / 2 > 0.6


@pytest.mark.parametrize("shared", [0.0, 0.6])
def test_benjamini_hochberg_keeps_false_discoveries_and_the_coverage_of_what_is_selected(shared):
    rng, runs = np.random.default_rng(12), 3000
    means = np.array([0.0] * 6 + [1.0, 2.0, 3.0, 4.0])
    z = correlated(rng, runs, means, shared)
    discoveries, misses = [], []
    for row, p_values in zip(z, 2 * ndtr(-np.abs(z)), strict=True):
        found = benjamini_hochberg(p_values.tolist(), 0.1)
        chosen = np.array([each.rejected for each in found])
        reach = np.array([-ndtri(each.alpha / 2) for each in found])
        missed = np.abs(row - means) > reach
        discoveries.append(chosen[:6].sum() / max(chosen.sum(), 1))
        misses.append(missed[chosen].sum() / max(chosen.sum(), 1))
    for rates in (discoveries, misses):
        assert np.mean(rates) <= 0.1 + 3 * np.std(rates) / np.sqrt(runs)
    assert np.mean(discoveries) > 0.02  # the bound is 6/10 of 0.1: a test that rejects nothing would pass


def test_every_interval_of_holm_covers_with_the_level_at_least():
    rng, runs = np.random.default_rng(13), 3000
    means = np.array([0.0, 1.0, 3.0, 6.0])
    z = correlated(rng, runs, means, 0.3)
    missed = np.zeros(4)
    for row, p_values in zip(z, 2 * ndtr(-np.abs(z)), strict=True):
        reach = np.array([-ndtri(each.alpha / 2) for each in holm(p_values.tolist(), 0.05)])
        missed += np.abs(row - means) > reach
    assert (missed / runs <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)).all()
