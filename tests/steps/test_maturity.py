"""How complete a look is: orders that pulls brought late, refunds still to come, and what that does to a verdict."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from tests.example import FILES, OnFiles
from tests.steps.pulled_world import Pulled
from toolkit.lake.tables import Lake
from toolkit.readout.record import record_of
from toolkit.settings import Settings
from toolkit.steps.measure import measure
from toolkit.steps.workspace import Spec, Workspace


def test_what_has_not_come_yet_is_told_from_what_came_late_before(tmp_path):
    world = Pulled(tmp_path, every=1, late=0.6)
    maturity = world.found().maturity
    assert maturity.arrived == pytest.approx(world.come.mean(), abs=0.01)
    assert world.come.mean() < 0.97
    assert maturity.settled is None


def test_a_look_of_which_orders_are_still_to_come_is_provisional_and_says_so(tmp_path):
    found = Pulled(tmp_path, every=1, late=0.6).found()
    assert found.verdict.status == "provisional"
    assert "of orders have come in" in found.verdict.text


@pytest.mark.parametrize("every", [0.25, 1, 7.5])
def test_orders_that_the_first_pull_after_them_brought_were_not_late_however_rare_pulls_are(tmp_path, every):
    found = Pulled(tmp_path, every=every).found()
    assert found.maturity.arrived > 0.999
    assert found.verdict.status != "provisional"


def test_history_that_the_first_pull_fetched_says_nothing_of_lateness(tmp_path):
    world = Pulled(tmp_path, every=20, late=0.5)
    maturity = world.found().maturity
    late_in_time = world.come[2000:].mean()  # orders before the first pull are not judged
    assert maturity.arrived == pytest.approx(late_in_time, abs=0.06)


def test_fewer_than_three_pulls_tell_nothing(tmp_path):
    assert Pulled(tmp_path, every=30, late=0.5).found().maturity is None


def with_refunds(folder, *, role, share=0.3, after=10.0, n=4000):
    """Return a case of `n` orders over 40 days until February 9th; a share of them refunded about `after` days later."""
    rng = np.random.default_rng(5)
    metrics = FILES.replace("event: Order Completed, role: primary", "event: Order Completed").replace(
        "value: amount}", f"value: amount, role: {role}}}"
    )
    spec = metrics if role == "primary" else FILES
    case = OnFiles(folder, spec)
    at = pd.Timestamp("2026-01-01T01:00:00Z")
    happened = np.sort(rng.random(n)) * 40
    refunded = rng.random(n) < share
    back = happened + rng.exponential(after, n)
    orders = pd.DataFrame(
        {
            "event_id": [f"e{k}" for k in range(n)],
            "id": [f"c{k % 80}" for k in range(n)],
            "name": "Order Completed",
            "timestamp": at + pd.to_timedelta(happened, unit="D"),
            "amount": 10.0,
            "currency": "USD",
            "order_id": [f"o{k}" for k in range(n)],
        }
    )
    seen = refunded & (back < 39.9)
    refunds = orders[seen].assign(
        name="Order Refunded",
        event_id=[f"r{k}" for k in np.flatnonzero(seen)],
        timestamp=at + pd.to_timedelta(back[seen], unit="D"),
    )
    case.events = pd.concat([orders, refunds])
    truth = 1 - (refunded & ~seen & (back < happened + 30)).sum() / n
    return case, truth


def look(case, as_of=date(2026, 2, 9)):
    home = str(case.folder / "lake")
    spec = Spec.read(case.write())
    return spec, measure(Workspace(Settings(lift_home=home), Lake(home)), spec, as_of=as_of)


def test_refunds_still_to_come_are_told_from_how_late_refunds_came_and_revenue_is_provisional(tmp_path):
    case, truth = with_refunds(tmp_path, role="primary")
    _, found = look(case)
    assert truth < 0.95
    assert found.maturity.settled == pytest.approx(truth, abs=0.03)
    assert found.maturity.arrived is None
    assert found.verdict.status == "provisional"
    assert "still to be refunded" in found.verdict.text


def test_refunds_do_not_make_a_decision_on_conversion_provisional_but_are_told(tmp_path):
    case, truth = with_refunds(tmp_path, role="secondary")
    spec, found = look(case)
    assert found.verdict.status != "provisional"
    said = record_of(spec.experiment, found, spec_digest="")["maturity"]
    assert said["settled"] == pytest.approx(truth, abs=0.03)
    assert said["provisional"] is False


def test_months_later_everything_is_settled(tmp_path):
    case, _ = with_refunds(tmp_path, role="primary", after=2.0)
    _, early = look(case, date(2026, 2, 9))
    late = case.events[case.events["name"] == "Order Completed"].iloc[[0]]
    late = late.assign(event_id="last", order_id="last", timestamp=pd.Timestamp("2026-06-01T00:00:00Z"))
    case.events = pd.concat([case.events, late])
    _, found = look(case, date(2026, 6, 2))
    assert found.maturity.settled > 0.995 > early.maturity.settled
    assert found.verdict.status != "provisional"
