"""What a cap would do, against the same done by hand with numpy."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.stats.caps import choice_of
from toolkit.stats.power import smallest_effect

AMOUNTS = np.exp(np.random.default_rng(3).normal(3, 1.5, 400))


def choice(quantile, **more):
    return choice_of(
        AMOUNTS,
        10_000,
        quantile,
        **({"treated": [9000, 6000], "held": 1000, "alpha": 0.05, "power": 0.8} | more),
    )


def test_a_cap_is_that_of_the_numbers_of_all_customers_zeros_among_them():
    numbers = np.concatenate([np.zeros(9_600), AMOUNTS])
    found = choice(0.99)
    cap = np.quantile(numbers, 0.99)
    capped = np.minimum(numbers, cap)
    assert found.value == pytest.approx(cap)
    assert found.above == (numbers > cap).sum()
    assert found.kept == pytest.approx(capped.sum() / numbers.sum())
    by_hand = smallest_effect(capped.var(ddof=1), 6000, 1000) / capped.mean()
    assert found.relative == pytest.approx(by_hand)


def test_without_a_cap_all_is_kept_and_the_tail_is_doubted():
    found = choice(None)
    assert found.kept == 1
    assert found.value is None
    assert found.doubt
    assert choice(0.99, treated=[100_000], held=100_000).doubt is None


def test_a_cap_on_nothing_is_refused():
    with pytest.raises(ValueError, match="nobody has a number"):
        choice_of(np.array([]), 100, 0.99, treated=[90], held=10, alpha=0.05, power=0.8)
    with pytest.raises(ValueError, match="the same number"):
        choice_of(np.full(100, 5.0), 100, None, treated=[90], held=10, alpha=0.05, power=0.8)


def test_a_quantile_among_those_who_have_nothing_is_no_choice():
    assert choice(0.95) is None
    assert choice_of(np.array([5.0]), 1000, 0.9, treated=[90], held=10, alpha=0.05, power=0.8) is None
    assert choice(0.97).value > 0
