"""Published experiments, measured through files, against what independent code found on them."""

from __future__ import annotations

from datetime import date

import pytest

from tests.real_experiments import cdnow, hillstrom, needs_real_data, reference, starbucks
from toolkit.lake.tables import Lake
from toolkit.settings import Settings
from toolkit.steps.measure import measure
from toolkit.steps.workspace import Spec, Workspace

pytestmark = [pytest.mark.reference, needs_real_data]


def measured(path, as_of):
    home = str(path.parent / "lake")
    workspace = Workspace(Settings(lift_home=home), Lake(home))
    return measure(workspace, Spec.read(path), as_of=as_of)


def of(found, metric):
    (lift,) = [each for each in found.lifts if each.metric == metric]
    return lift


def assert_raw(lift, expected):
    absolute, relative = lift.raw.absolute, lift.raw.relative
    assert absolute.value == pytest.approx(expected["diff"], abs=1e-9)
    assert absolute.se == pytest.approx(expected["se_welch"], abs=1e-9)
    assert (absolute.low, absolute.high) == pytest.approx(tuple(expected["ci_welch"]), abs=1e-6)
    assert relative.value == pytest.approx(expected["rel_lift"], abs=1e-9)
    assert (relative.low, relative.high) == pytest.approx(tuple(expected["rel_ci_fieller_normal"]), abs=1e-4)
    assert lift.raw.p_value == pytest.approx(expected["welch_p"], rel=1e-6)


def assert_adjusted(lift, expected):
    lin = expected["lin_hc2"]
    absolute = lift.adjusted.absolute
    assert absolute.value == pytest.approx(lin["est"], abs=1e-6)
    assert absolute.se == pytest.approx(lin["se"], abs=1e-6)
    assert (absolute.low, absolute.high) == pytest.approx(tuple(lin["ci"]), abs=1e-6)
    assert lift.adjusted.relative.value == pytest.approx(expected["lin_rel_lift"], abs=1e-6)
    assert lift.adjusted.variance_reduction == pytest.approx(lin["variance_reduction"], abs=1e-6)


@pytest.mark.parametrize("through", ["events", "outcomes"])
@pytest.mark.parametrize(
    ("covariates", "case"),
    [
        ("[history]", "adj_history"),
        ("[history, recency]", "adj_history_recency"),
        ("[history, recency, mens, womens, newbie]", "adj_all_numeric"),
    ],
)
def test_hillstrom_is_reproduced(tmp_path, through, covariates, case):
    found = measured(hillstrom(tmp_path, through, covariates), date(2008, 4, 3))
    expected = reference()["hillstrom_mens"]
    assert found.customers == {"holdout": 21306, "treatment": 21307}
    assert found.checks[0].p_value == pytest.approx(expected["srm"]["p"], abs=1e-9)
    assert not found.failed
    for metric in ("visit", "conversion", "spend"):
        assert_raw(of(found, metric), expected["metrics"][metric]["compare"])
        assert_adjusted(of(found, metric), expected["metrics"][metric][case])
    assert found.verdict.status == "incremental"


@pytest.mark.parametrize(
    ("covariates", "case"),
    [("[V2, V3]", "adj_V2_V3"), ("[V1, V2, V3, V4, V5, V6, V7]", "adj_V1_V7")],
)
def test_starbucks_is_reproduced_and_a_wider_interval_is_said_to_be_wider(tmp_path, covariates, case):
    found = measured(starbucks(tmp_path, covariates), date(2020, 3, 1))
    expected = reference()["starbucks_promotion_training"]
    (lift,) = found.lifts
    assert found.checks[0].p_value == pytest.approx(expected["srm"]["p"], abs=1e-9)
    assert_raw(lift, expected["purchase"])
    assert_adjusted(lift, expected[case])
    assert any("widened the interval" in note for note in lift.notes)


def test_the_cdnow_placebo_finds_nothing_and_its_lookback_removes_a_quarter_of_the_variance(tmp_path):
    found = measured(cdnow(tmp_path), date(1998, 6, 30))
    expected = reference()["cdnow_placebo_split"]
    assert found.checks[0].p_value == pytest.approx(expected["srm"]["p"], abs=1e-9)
    assert_raw(of(found, "spend"), expected["spend"])
    assert_raw(of(found, "buyer"), expected["buyer"])
    assert_adjusted(of(found, "spend"), expected["adj"])
    assert of(found, "spend").adjusted.variance_reduction == pytest.approx(0.278, abs=1e-3)
    assert found.verdict.status == "inconclusive"
