"""How complete a look is: orders that pulls brought late, refunds still to come, and what that does to a verdict."""

from __future__ import annotations

import shutil
from datetime import date

import numpy as np
import pandas as pd
import pytest

from tests.example import FILES, OnFiles
from tests.steps.pulled_world import END, SPEC, Pulled
from toolkit.lake import lateness
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
    of_revenue = SPEC.replace(", role: primary", "").replace("value: amount", "value: amount, role: primary")
    found = Pulled(tmp_path, every=1, late=0.6, spec=of_revenue).found()
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


def mixed(folder, n=40_000):
    """Return a case like `with_refunds` in which strangers order too, and half the customers are assigned late."""
    case, _ = with_refunds(folder, role="primary", n=n)
    rng = np.random.default_rng(6)
    late = pd.Timestamp("2026-01-15T00:00:00Z")
    case.assignments.loc[1::2, "assigned_at"] = late
    whose = {f"o{k}": f"{'s' if rng.random() < 0.4 else 'c'}{k % 80}" for k in range(n)}
    case.events["id"] = case.events["order_id"].map(whose)
    return case


@pytest.mark.parametrize("first", ["2026-01-01", "2025-10-01"])
def test_counting_all_orders_by_age_and_who_is_ours_apart_comes_to_the_same(tmp_path, monkeypatch, first):
    case = mixed(tmp_path, n=4000)
    case.assignments.loc[0, "assigned_at"] = pd.Timestamp(f"{first}T00:00:00Z")
    case.spec = case.spec.replace("start: 2026-01-01", f"start: {first}")
    _, exact = look(case)
    for name, value in (("SAMPLED", 0), ("SAMPLE", 1), ("ENOUGH", 1)):
        monkeypatch.setattr(lateness, name, value)
    _, found = look(case)
    assert found.maturity.settled == pytest.approx(exact.maturity.settled, rel=1e-9)
    assert found.maturity.settled < 0.99


@pytest.mark.parametrize(("order", "within"), [("by time", 0.006), ("by customer", 0.02), ("any", 0.008)])
def test_a_sample_of_very_many_orders_tells_the_same_however_the_file_is_sorted(
    tmp_path, monkeypatch, order, within
):  # three standard deviations of it; of 80 customers few are in each block
    case = mixed(tmp_path)
    if order == "by time":
        case.events = case.events.sort_values("timestamp")
    elif order == "by customer":
        case.events = case.events.sort_values(["id", "timestamp"])
    else:
        case.events = case.events.sample(frac=1, random_state=1)
    _, exact = look(case)
    for name, value in (("SAMPLED", 1000), ("SAMPLE", 8), ("ENOUGH", 50)):
        monkeypatch.setattr(lateness, name, value)
    _, found = look(case)
    assert found.maturity.settled != exact.maturity.settled
    assert found.maturity.settled == pytest.approx(exact.maturity.settled, abs=within)


def test_orders_of_a_lake_are_counted_by_the_hour_and_none_is_sampled(tmp_path, monkeypatch):
    world = Pulled(tmp_path, every=1, late=0.6)
    exact = world.found().maturity
    for name, value in (("SAMPLED", 100), ("SAMPLE", 4)):
        monkeypatch.setattr(lateness, name, value)
    assert world.found().maturity == exact


def test_ages_of_which_a_sample_holds_few_share_what_older_ones_say(monkeypatch):
    monkeypatch.setattr(lateness, "ENOUGH", 10)
    sampled = np.array([[1, 1, 5], [2, 0, 0], [9, 3, 30], [20, 10, 100], [3, 3, 30]], dtype=float)
    pooled = lateness._pooled(sampled)
    assert pooled.tolist() == [[12, 4, 35]] * 3 + [[23, 13, 130]] * 2
    assert lateness._pooled(sampled[:1]).tolist() == [[1, 1, 5]]


@pytest.mark.parametrize(("late", "arrived"), [(0.6, None), (0.0, 1.0)])
def test_what_files_bring_late_is_told_too_and_what_they_end_before_is_not_late(tmp_path, late, arrived):
    (tmp_path / "tracks").mkdir()
    spec = SPEC.replace("events: {source: customerio}", "events: {source: pipelines, path: tracks}")
    world = Pulled(tmp_path, every=1, late=late, spec=spec, cut=0.25)
    maturity = world.found().maturity
    assert maturity.arrived == pytest.approx(arrived or world.come.mean(), abs=0.012)


def test_a_first_pull_that_was_interrupted_withholds_the_verdict(tmp_path):
    world = Pulled(tmp_path, every=1)
    shutil.rmtree(tmp_path / "lake" / "cursors")
    row = {"source": "customerio:id:Order Completed", "finished": False, "saved_at": END, "next": "page-2"}
    world.lake.append_rows("cursors", [row])
    found = world.found()
    (check,) = [each for each in found.checks if each.name == "freshness"]
    assert check.status == "fail"
    assert "no pull has brought all events named Order Completed" in check.detail
    assert (found.verdict.status, found.data_through) == ("not_readable", None)
