"""Other sizes and shares, from a plan: what the formulas say of them."""

from __future__ import annotations

import pytest

from toolkit.stats.power import power_of, smallest_conversion_effect, smallest_effect
from toolkit.stats.trade_offs import Planned, chance_at, smallest_at


def planned(kind="mean", **more):
    if kind == "conversion":
        effect = smallest_conversion_effect(0.1, 7000 / 1.1, 3000 / 1.1)
        return Planned(kind, 0.1, effect, effect, 7000, 3000, inflation=1.1, **more)
    effect = smallest_effect(9.0 * 1.1 * 0.8, 7000, 3000)
    return Planned(kind, 2.0, effect, effect, 7000, 3000, explained=0.2, inflation=1.1, **more)


@pytest.mark.parametrize("kind", ["mean", "conversion"])
def test_at_the_plan_itself_they_are_the_plan(kind):
    plan = planned(kind)
    assert smallest_at(plan, 7000, 3000) == pytest.approx(plan.effect / plan.base, rel=1e-9)
    assert chance_at(plan, 7000, 3000, plan.effect / plan.base) == pytest.approx(0.8, abs=1e-6)


def test_at_other_sizes_they_are_what_the_formulas_say():
    mean, share = planned(), planned("conversion")
    assert mean.variance == pytest.approx(9.0 * 1.1 * 0.8)
    assert smallest_at(mean, 900, 100) == pytest.approx(smallest_effect(7.92, 900, 100) / 2, rel=1e-9)
    assert chance_at(mean, 900, 100, 0.2) == pytest.approx(power_of(0.4, 7.92, 900, 100), rel=1e-9)
    assert smallest_at(share, 900, 100) == pytest.approx(
        smallest_conversion_effect(0.1, 900 / 1.1, 100 / 1.1) / 0.1
    )
    by_hand = power_of(0.02, 0.09 * 1.1, 900, 100, treated_variance=0.12 * 0.88 * 1.1)
    assert chance_at(share, 900, 100, 0.2) == pytest.approx(by_hand)


def test_what_simulation_found_the_formula_to_be_off_by_holds_elsewhere_too():
    plan = planned()
    off = Planned("mean", 2.0, 1.5 * plan.effect, plan.formula, 7000, 3000, explained=0.2, inflation=1.1)
    assert smallest_at(off, 500, 500) == pytest.approx(1.5 * smallest_at(plan, 500, 500))
    assert chance_at(off, 500, 500, 0.3) == pytest.approx(chance_at(plan, 500, 500, 0.2))


def test_a_share_beyond_all_customers_is_no_effect_that_can_be_found():
    plan = planned("conversion")
    assert chance_at(plan, 900, 100, 9.5) is None
    assert smallest_at(plan, 1, 0.5) is None
