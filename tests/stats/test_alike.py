"""Were the arms alike before: seldom a false alarm, whatever the sizes and shapes, and seldom a miss."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from toolkit.stats.alike import gap_p_value
from toolkit.stats.moments import Moments
from toolkit.stats.quality import BALANCE, balance
from toolkit.stats.readings import Readings


def readings(rows):
    """Return readings of arm → rows, all columns covariates."""
    columns = [f"x{at}" for at in range(next(iter(rows.values())).shape[1])]
    pairs = {"revenue": tuple((column, column) for column in columns)}
    moments = {arm: Moments.of(each) for arm, each in rows.items()}
    return Readings({arm: each.n for arm, each in moments.items()}, columns, moments, {}, {}, pairs)


def normal(rng, shape):
    return rng.normal(size=shape)


def spending(rng, shape):
    return (rng.random(shape) < 0.3) * rng.lognormal(3, 1.5, shape)


def mostly_unknown(rng, shape):
    return (rng.random(shape) < 0.2) * rng.normal(50, 10, shape)


@pytest.mark.parametrize("draw", [normal, spending, mostly_unknown])
@pytest.mark.parametrize("covariates", [1, 3, 10])
def test_arms_that_were_drawn_at_random_seldom_seem_unlike_however_small_and_uneven(draw, covariates):
    rng, runs = np.random.default_rng(3), 300
    found = []
    for _ in range(runs):
        rows = draw(rng, (200, covariates))
        found.append(balance(readings({"holdout": rows[:20], "one": rows[20:]}), "holdout").p_value)
    for bound in BALANCE:
        assert (np.array(found) < bound).sum() <= bound * runs + 3.5 * np.sqrt(bound * runs) + 1


def test_many_customers_are_asked_all_together_as_by_walds_test():
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(6000, 3)) @ rng.normal(size=(3, 3))
    rows[:3000] += 0.04
    one, two = Moments.of(rows[:3000]), Moments.of(rows[3000:])
    gap = one.mean - two.mean
    spread = (one + two).covariance * (1 / one.n + 1 / two.n)
    assert gap_p_value(one, two)[0] == pytest.approx(
        scipy.stats.chi2.sf(gap @ np.linalg.solve(spread, gap), 3)
    )


def test_an_uneven_gap_is_about_as_likely_as_drawing_the_same_customers_again_says():
    rng = np.random.default_rng(5)
    spent = rng.gamma(0.3, size=(400, 1))
    found = []
    for _ in range(2000):
        drawn = rng.permutation(spent)
        one, two = Moments.of(drawn[:40]), Moments.of(drawn[40:])
        found.append((gap_p_value(one, two)[0], float(one.mean[0] - two.mean[0])))
    p_values, gaps = np.array(found).T
    for bound in (0.2, 0.02):  # a tail on one side alone, of which twice is the p-value
        assert 0.5 <= (p_values[gaps > 0] < bound).sum() / 2000 / (bound / 2) <= 1.5


@pytest.mark.parametrize("covariates", [1, 4])
def test_an_arm_that_was_chosen_by_what_customers_had_spent_is_found(covariates):
    rng = np.random.default_rng(6)
    rows = spending(rng, (4000, covariates))
    held = rng.random(4000) < np.where(rows[:, 0] > np.quantile(rows[:, 0], 0.9), 0.4, 0.1)
    assert balance(readings({"holdout": rows[held], "one": rows[~held]}), "holdout").status == "fail"


def test_arms_that_a_column_tells_apart_without_exception_were_not_drawn_at_random():
    apart = {"holdout": np.zeros((50, 1)), "one": np.ones((450, 1))}
    assert balance(readings(apart), "holdout").status == "fail"


def test_what_varies_nowhere_is_not_compared():
    alike = {"holdout": np.ones((50, 2)), "one": np.ones((450, 2))}
    assert balance(readings(alike), "holdout").status == "skip"


@pytest.mark.parametrize(
    ("sizes", "covariates", "buyers", "fails", "warns"),
    [
        ((6, 14), 3, 1.0, 0.0005, 0.01),
        ((20, 20), 5, 1.0, 0.0005, 0.01),
        ((20, 180), 3, 1.0, 0.002, 0.02),
        ((60, 540), 5, 1.0, 0.002, 0.02),
        ((200, 1800), 1, 0.05, 0.008, 0.025),  # revenue: a few buy, and amounts are uneven
    ],
)
def test_a_fair_draw_is_seldom_called_out_of_balance(sizes, covariates, buyers, fails, warns):
    dice, runs, found = np.random.default_rng(5), 2000, []
    for _ in range(runs):
        rows = dice.lognormal(0, 0.5 if buyers == 1 else 1, (sum(sizes), covariates))
        rows *= dice.random(rows.shape) < buyers
        found.append(
            balance(readings({"holdout": rows[: sizes[0]], "one": rows[sizes[0] :]}), "holdout").status
        )
    assert found.count("fail") / runs <= fails + 3 * (fails / runs) ** 0.5
    assert (runs - found.count("pass")) / runs <= warns + 3 * (warns / runs) ** 0.5


def test_a_covariate_that_is_the_same_throughout_each_arm_shows_that_nobody_drew():
    dice = np.random.default_rng(6)
    noise = dice.normal(size=(600, 1))
    vip = np.r_[np.zeros(100), np.ones(500)][:, None]
    for rows in (vip, np.c_[noise, vip]):
        found = balance(readings({"holdout": rows[:100], "one": rows[100:]}), "holdout")
        assert found.status == "fail"
        assert "is 1 in one and 0 in holdout" in found.detail


def test_balance_of_one_covariate_is_the_test_of_a_random_draw():
    dice = np.random.default_rng(7)
    one, held = dice.normal(0.1, 1, (300, 1)), dice.normal(0, 2, (100, 1))
    both = np.r_[one, held]
    z = float((one.mean() - held.mean()) / np.sqrt(both.var(ddof=1) * (1 / 300 + 1 / 100)))
    found = balance(readings({"holdout": held, "one": one}), "holdout")
    assert found.p_value == pytest.approx(2 * scipy.stats.norm.sf(abs(z)), rel=1e-9)
