"""The calibration's own figures with fewer runs: its bands are widened by what chance alone would do."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.calibration.__main__ import COVERAGE, EFFECTS, FALSE, SIDE
from benchmarks.calibration.intervals import (
    ALPHA,
    Run,
    Way,
    alike,
    coverage,
    ends,
    far_out,
    judged,
    p_values,
)
from benchmarks.calibration.worlds import World, cap_of, histories, purchases
from tests.real_experiments import SHARED, needs_real_data
from toolkit.stats.estimate import Group, difference
from toolkit.stats.moments import Moments
from toolkit.stats.skew import cap_for, corrected, corrected_relative

SMALL = World(2_000, 18_000, 0.03, 1.5)
CHANCE = 3.5
"""Standard errors by which a rate may leave its band."""


def within(result, band, *, sides=True):
    """Whether coverage and sides lie in their bands, give or take chance."""

    def close(rate, low, high):
        slack = CHANCE * math.sqrt(high * (1 - high) / result.trusted)
        return low - slack <= rate <= high + slack

    return close(1 - result.held, 1 - band[1], 1 - band[0]) and (
        not sides or all(close(side, *SIDE) for side in result.sides)
    )


def arm(rng, n):
    sd, shape = rng.uniform(0.5, 2), rng.uniform(-8, 8)
    return Group(n, rng.uniform(0.02, 1), sd**2 / n, shape * sd**3 / n**2)


@pytest.mark.parametrize(
    "way", [Way(), Way(normal=True), Way(skew_corrected=True)], ids=["welch", "normal", "corrected"]
)
@pytest.mark.parametrize("alpha", [0.05, 1e-4])
def test_all_runs_at_once_get_the_toolkits_own_intervals(way, alpha):
    rng = np.random.default_rng(1)
    sizes = [(int(rng.integers(50, 50_000)), int(rng.integers(50, 50_000))) for _ in range(200)]
    runs = [Run(arm(rng, n), arm(rng, m), (50, 50), 0.0) for n, m in [*sizes, (700, 700)]]
    low, high, _ = ends(way, runs, alpha)
    p = p_values(way, runs)
    for at, run in enumerate(runs):
        if way.skew_corrected:
            found = corrected(run.treated, run.control, alpha)
        else:
            found = difference(run.treated, run.control, alpha, normal=way.normal)
        assert (low[at], high[at]) == pytest.approx((found.low, found.high), rel=1e-7, abs=1e-9)
        if not way.normal:
            assert p[at] == pytest.approx(found.p_value, rel=1e-6)


def test_a_relative_miss_is_counted_where_the_toolkits_relative_interval_misses():
    rng = np.random.default_rng(2)
    missed = 0
    for _ in range(400):
        treated, control = arm(rng, 9000), arm(rng, 1000)
        ratio = float(rng.uniform(-0.5, 1.5))
        relative = corrected_relative(treated, control, ALPHA)
        low = -math.inf if relative.low is None else relative.low
        high = math.inf if relative.high is None else relative.high
        run = Run(treated, control, (50, 50), 0.0, ratio)
        counted = judged(Way(skew_corrected=True), [run], always=True).relative
        assert counted == (not low <= ratio <= high)
        missed += counted
    assert 40 < missed < 360


def test_a_run_summed_as_arrays_has_the_moments_of_its_rows():
    world = World(60, 340, 0.3, 1.0, 1.2, 1.1)
    chunk = next(purchases(world, 4, 1))
    raw, capped = chunk.sums(), chunk.sums(0.9)
    for run in range(4):
        parts = chunk.amounts[run, : chunk.cut], chunk.amounts[run, chunk.cut :]
        rows = [np.r_[part, np.zeros(n)][:n] for part, n in zip(parts, (60, 340), strict=True)]
        assert [int((part > 0).sum()) for part in parts] == list(reversed(raw.converters(run)))
        cap = np.quantile(np.concatenate(rows), 0.9)
        assert capped.cap[run] == pytest.approx(cap, rel=1e-12)
        assert capped.above[run] == sum((each > cap).sum() for each in rows)
        for sums, limit in ((raw, np.inf), (capped, cap)):
            for place, each in enumerate(rows):
                mine, oracle = sums.moments(run, place), Moments.of(np.minimum(each, limit)[:, None])
                for name in ("n", "mean", "products", "cubes"):
                    np.testing.assert_allclose(getattr(mine, name), getattr(oracle, name), rtol=1e-9)


def test_a_cap_among_those_who_bought_nothing_is_refused():
    with pytest.raises(ValueError, match="bought nothing"):
        cap_of(np.array([[1.0, 2.0]]), 100, 0.9)


def test_the_truth_of_a_capped_metric_is_what_a_very_large_experiment_shows():
    world = World(3_000_000, 3_000_000, 0.3, 1.0, 1.1, 1.2)
    sums = next(purchases(world, 1, 3)).sums(0.97)
    treated, control = sums.groups(0)
    se = math.sqrt(treated.variance + control.variance)
    assert treated.mean - control.mean == pytest.approx(float(world.truth(sums.cap)[0]), abs=4 * se)
    relative = 4 * se / control.mean * 1.5
    assert treated.mean / control.mean - 1 == pytest.approx(float(world.ratio(sums.cap)[0]), abs=relative)


def test_histories_have_the_buyers_amounts_and_habits_they_promise():
    world = World(100_000, 100_000, 0.1, 0.5, 1.5, 2.0)
    control, treated = next(histories(world, 1, 4))
    bought, again = control.rows[:, 0] > 0, control.rows[:, 3] > 0
    assert bought.sum() / 1e5 == pytest.approx(0.1, abs=0.004)
    assert again.sum() / 1e5 == pytest.approx(0.1, abs=0.004)
    assert (bought & again).sum() / bought.sum() == pytest.approx(0.5, abs=0.02)
    assert treated.rows[:, 0].sum() / 1e5 == pytest.approx(0.15, abs=0.005)
    assert np.corrcoef(np.log(control.rows[bought & again][:, [1, 3]]).T)[0, 1] > 0.6
    per_order = [each.rows[:, 1].sum() / each.rows[:, 2].sum() for each in (control, treated)]
    assert per_order[1] / per_order[0] == pytest.approx(2.0, abs=0.05)


@pytest.fixture(scope="module")
def known():
    return coverage(SMALL, 20_000, 7, {"0.999": 0.999, "0.99": 0.99})


@pytest.mark.parametrize(
    ("name", "held", "high"),
    [
        ("raw, untrusted too", 0.886, 0.113),
        ("0.999, Welch, untrusted too", 0.928, 0.066),
        ("0.99, Welch, untrusted too", 0.949, 0.036),
    ],
)
def test_welchs_interval_misses_as_it_is_known_to(known, name, held, high):
    assert known[name].held == pytest.approx(held, abs=0.008)
    assert known[name].sides[0] == pytest.approx(high, abs=0.008)


def test_raw_revenue_of_a_small_holdout_is_never_trusted_and_capped_revenue_nearly_always(known):
    assert known["raw"].trusted == 0
    assert known["0.999"].share > 0.99
    assert known["0.99"].share == 1


def test_the_corrected_interval_is_right_where_welchs_is_not(known):
    for name in ("0.999", "0.99"):
        assert within(known[name], COVERAGE)


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize(("size", "runs"), [(2_000, 8_000), (10_000, 3_000)])
@pytest.mark.parametrize("log_sd", [0.5, 1.0, 1.5])
def test_trusted_intervals_hold_the_truth_over_the_grid(effect, size, runs, log_sd):
    more, larger = EFFECTS[effect]
    world = World(size, 9 * size, 0.03, log_sd, more, larger)
    found = coverage(
        world, runs, size + int(10 * log_sd), {"0.999": 0.999, "rule": cap_for(size, [9 * size])}
    )
    for name in ("0.999", "rule"):
        assert found[name].share > 0.98
        assert within(found[name], COVERAGE)
        assert 0.932 < 1 - found[name].relative / found[name].trusted < 0.968
    assert found["raw"].trusted == 0


def test_raw_revenue_of_a_large_holdout_is_trusted_where_amounts_are_even():
    found = coverage(World(40_000, 360_000, 0.03, 0.5), 1_500, 5, {})
    assert found["raw"].share > 0.99
    assert within(found["raw"], COVERAGE)


@pytest.mark.parametrize(
    ("world", "quantile", "runs"),
    [
        (World(1_000, 9_000, 0.03, 1.0), 0.9990, 20_000),
        (World(2_000, 18_000, 0.03, 2.0), 0.9988, 20_000),
        (World(2_000, 18_000, 0.03, 0.5), 0.9999, 20_000),
        (World(5_000, 5_000, 0.03, 1.0), None, 15_000),
        (World(1_600, 14_400, 0.3, 0.5), None, 8_000),
    ],
)
def test_where_some_runs_are_trusted_and_others_not_trusting_does_not_select(world, quantile, runs):
    name = "raw" if quantile is None else "capped"
    result = coverage(world, runs, 6, {} if quantile is None else {name: quantile})[name]
    assert 0.05 < result.share < 0.98
    assert within(result, COVERAGE)


@pytest.mark.parametrize("split", [0.5, 0.1])
@pytest.mark.parametrize(
    ("customers", "buyers", "log_sd", "runs", "kinds"),
    [
        (20_000, 0.03, 1.5, 2_500, {"mean, capped", "mean, capped and adjusted"}),
        (16_000, 0.40, 0.3, 600, {"conversion", "mean", "mean, adjusted", "mean, capped"}),
    ],
)
def test_false_positives_are_as_rare_as_they_should_be(split, customers, buyers, log_sd, runs, kinds):
    held = int(split * customers)
    found = alike(World(held, customers - held, buyers, log_sd), runs, 7)
    trusted = {kind for kind, each in found.items() if each.share > 0.9}
    assert kinds <= trusted
    for kind in trusted:
        assert within(found[kind], (1 - FALSE[1], 1 - FALSE[0])), kind


def test_far_out_the_corrected_p_value_is_cautious_where_welchs_is_reckless():
    rates = far_out(SMALL, 60_000, 8, 0.999, (0.01, 0.001))
    for welch_up, welch_down, up, down in rates.values():
        assert welch_up > 4
        assert welch_down < 0.3
        assert up < 1.3
        assert down < 1.6


@needs_real_data
@pytest.mark.reference
def test_real_spending_split_at_random_shows_no_effect_more_often_than_it_should():
    import pandas as pd

    spend = pd.read_parquet(SHARED / "hillstrom_mens.parquet")["spend"].to_numpy()
    bought = np.flatnonzero(spend)
    rng = np.random.default_rng(9)
    held, n = 4_261, len(spend)
    capped = np.minimum(spend, np.quantile(spend, cap_for(held, [n - held])))
    runs = []
    for _ in range(6_000):
        # customers who bought nothing are alike: only where the buyers fall matters
        chosen = np.zeros(n, dtype=bool)
        chosen[rng.choice(n, held, replace=False)] = True
        mine = chosen[bought]
        parts = capped[bought][~mine], capped[bought][mine]
        groups = []
        for part, size in zip(parts, (n - held, held), strict=True):
            moments = Moments.of(part[:, None]).with_silent(size)
            groups.append(
                Group(
                    size,
                    moments.mean[0],
                    moments.products[0, 0] / (size - 1) / size,
                    moments.cubes[0] / size**3,
                )
            )
        runs.append(Run(*groups, (len(parts[0]), len(parts[1])), 0.0, bounded=True))
    plain, result = judged(Way(), runs, always=True), judged(Way(skew_corrected=True), runs)
    assert result.share > 0.95
    assert within(result, COVERAGE)
    assert plain.sides[0] > 0.04
