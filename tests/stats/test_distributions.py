from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.stats.distributions import binomial_p, chi2_sf, ndtr, ndtri, t_quantile, t_sf, t_upper

DF = st.one_of(st.floats(1, 300), st.floats(300, 1e8))


@given(st.floats(-37, 37))
def test_normal_probabilities_are_scipys(z):
    assert ndtr(z) == pytest.approx(scipy.stats.norm.cdf(z), rel=1e-12)


@given(st.one_of(st.floats(1e-300, 1e-3), st.floats(1e-3, 1 - 1e-9)))
def test_normal_quantiles_are_scipys(p):
    assert ndtri(p) == pytest.approx(scipy.stats.norm.ppf(p), rel=1e-12, abs=1e-15)


@given(st.floats(-40, 40), DF)
def test_t_tails_are_scipys(t, df):
    expected = scipy.stats.t.sf(t, df)
    assert t_sf(t, df) == pytest.approx(expected, rel=1e-9 if abs(t) < 20 or df < 1e5 else 1e-6)


@given(st.floats(1e-12, 0.4999), DF)
def test_t_quantiles_are_scipys(tail, df):
    expected = scipy.stats.t.isf(tail, df)
    assert t_upper(tail, df) == pytest.approx(expected, rel=1e-10)
    assert t_quantile(1 - tail, df) == pytest.approx(scipy.stats.t.ppf(1 - tail, df), rel=1e-8)


@settings(deadline=None)
@given(st.data(), st.integers(1, 5000), st.floats(1e-4, 0.9999))
def test_exact_binomial_p_values_are_scipys(data, of, share):
    near = min(max(round(of * share), 0), of)
    count = data.draw(st.one_of(st.integers(0, of), st.integers(max(near - 9, 0), min(near + 9, of))))
    expected = scipy.stats.binomtest(count, of, share).pvalue
    assert binomial_p(count, of, share) == pytest.approx(expected, rel=1e-8, abs=1e-290)


@pytest.mark.parametrize("df", [1, 2, 2.5, 3, 7.3, 30, 199.9, 200.1, 1234.5, 99_999, 100_001, 3e6])
def test_t_quantiles_that_intervals_use_hold_to_twelve_digits(df):
    for alpha in (0.05, 0.01, 0.001, 0.1):
        assert t_quantile(1 - alpha / 2, df) == pytest.approx(scipy.stats.t.ppf(1 - alpha / 2, df), rel=1e-11)


@given(st.integers(1, 60), st.floats(1e-6, 700))
def test_chi_squared_tails_are_scipys(df, x):
    assert chi2_sf(df, x) == pytest.approx(scipy.stats.chi2.sf(x, df), rel=1e-10, abs=1e-300)


@pytest.mark.parametrize("df", [100_001, 3e6, 1e8])
@pytest.mark.parametrize("t", [9.99, 10.01, 30, 633, 1e6])
def test_far_out_a_tail_is_small_whatever_the_degrees_of_freedom(t, df):
    assert t_sf(t, df) == pytest.approx(scipy.stats.t.sf(t, df), rel=1e-6, abs=1e-250)
    assert 1 - t_sf(-t, df) == pytest.approx(0, abs=1e-15)


def test_the_middle_and_the_limits_are_plain():
    assert t_quantile(0.5, 7) == 0
    assert t_sf(0, 7) == 0.5
    assert chi2_sf(3, 0) == 1
    assert t_sf(2, math.inf) == ndtr(-2)
    assert np.isclose(t_upper(0.025, math.inf), 1.959963984540054)
    with pytest.raises(ValueError, match="probability"):
        ndtri(1)
