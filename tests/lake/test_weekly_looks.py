"""The cumulative curve of one pass against measuring anew at every date."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from toolkit.lake.tables import Lake
from toolkit.settings import Settings
from toolkit.steps.measure import measure
from toolkit.steps.workspace import Spec, Workspace

SPEC = """\
key: weekly
start: 2026-09-28
end: 2026-11-16
timezone: {zone}
cohort: {{source: files, entry: rolling, path: assignments.parquet}}
arms: {{holdout: 0.3, one: 0.3, two: 0.4}}
control: holdout
assignment: {{source: files}}
events: {{source: files}}
metrics:
  - {{name: purchase_rate, kind: conversion, event: Order Completed, role: primary, window: 14d}}
  - {{name: revenue, kind: mean, event: Order Completed, value: amount, window: 21d, covariates: [{{lookback: 20d}}]}}
  - {{name: capped, kind: mean, event: Order Completed, value: amount, cap: 0.98}}
  - {{name: aov, kind: ratio, numerator: {{event: Order Completed, value: amount}}, denominator: {{event: Order Completed}}}}
  - {{name: visits, kind: mean, event: Visited}}
analysis: {{looks: {looks}}}
"""


def world(folder, seed=3, customers=900):
    rng = np.random.default_rng(seed)
    start = pd.Timestamp("2026-09-28T06:00:00Z")
    ids = [f"c{n}" for n in range(customers)]
    assigned = start + pd.to_timedelta(rng.integers(0, 45 * 86_400, customers), unit="s")
    arms = rng.choice(["holdout", "one", "two"], customers, p=[0.3, 0.3, 0.4])
    pd.DataFrame({"id": ids, "arm": arms, "assigned_at": assigned}).to_parquet(folder / "assignments.parquet")
    many = 4000
    who = rng.integers(0, int(customers * 1.1), many)
    at = start - pd.Timedelta(days=20) + pd.to_timedelta(rng.integers(0, 80 * 86_400, many), unit="s")
    events = pd.DataFrame(
        {
            "event_id": [f"e{n}" for n in range(many)],
            "id": [f"c{n}" for n in who],
            "name": rng.choice(["Order Completed", "Visited"], many),
            "timestamp": at,
            "amount": np.round(rng.lognormal(3, 1, many), 2),
            "currency": "USD",
            "order_id": [f"o{n}" for n in range(many)],
        }
    )
    events.loc[events["name"] == "Visited", ["order_id", "amount"]] = [None, np.nan]
    orders = events[events["name"] == "Order Completed"]
    again = orders.sample(120, random_state=seed).assign(event_id=lambda f: "again" + f["event_id"])
    again["timestamp"] += pd.to_timedelta(rng.integers(1, 20 * 86_400, len(again)), unit="s")
    refunds = orders.sample(200, random_state=seed + 1).assign(
        name="Order Refunded", event_id=lambda f: "r" + f["event_id"]
    )
    refunds["timestamp"] += pd.to_timedelta(rng.integers(-86_400, 25 * 86_400, len(refunds)), unit="s")
    refunds["amount"] = np.round(refunds["amount"] * rng.choice([0.5, 1.0], len(refunds)), 2)
    refunds.iloc[:20, refunds.columns.get_loc("order_id")] = None
    twice = events.sample(60, random_state=seed + 2)
    pd.concat([events, again, refunds, twice]).sample(frac=1, random_state=seed).to_parquet(
        folder / "events.parquet"
    )


def spec(folder, looks, zone="America/New_York"):
    path = folder / f"{looks}.yml"
    path.write_text(SPEC.format(looks=looks, zone=zone))
    return path


def measured(path, as_of):
    home = str(path.parent / "lake")
    return measure(Workspace(Settings(lift_home=home), Lake(home)), Spec.read(path), as_of=as_of)


def test_every_look_of_the_curve_is_what_measuring_at_that_date_says(tmp_path):
    world(tmp_path)
    last = date(2026, 11, 22)  # clocks change on 1 November
    weekly = measured(spec(tmp_path, "weekly"), last)
    fixed = spec(tmp_path, "fixed")
    compared = 0
    for week in range(8):
        on = last - timedelta(days=7 * week)
        alone = measured(fixed, on)
        for lift in alone.lifts:
            points = {point.on: point for point in weekly.schedule.traces[lift.metric, lift.arm].points}
            if lift.metric == "capped":  # the curve is capped at today's value throughout
                if week:
                    continue
                block = lift.capped
            else:
                block = lift.raw
            if block is None or on not in points:
                assert lift.raw is None or lift.raw.absolute.se == 0
                continue
            point = points[on]
            assert point.customers == {name: alone.customers[name] for name in (lift.arm, "holdout")}
            assert point.estimate.value == pytest.approx(block.absolute.value, rel=1e-9, abs=1e-9)
            assert point.estimate.se == pytest.approx(block.absolute.se, rel=1e-9)
            compared += 1
    assert compared > 60


def test_looks_correlate_as_resampling_customers_says(tmp_path):
    world(tmp_path, customers=500)
    last = date(2026, 11, 22)
    trace = measured(spec(tmp_path, "weekly", "UTC"), last).schedule.traces["revenue", "one"]
    assigned = pd.read_parquet(tmp_path / "assignments.parquet").set_index("id")
    events = pd.read_parquet(tmp_path / "events.parquet")
    ends = [pd.Timestamp(point.on, tz="UTC") + pd.Timedelta(days=1) for point in trace.points]
    one, two = ends[-3], ends[-2]
    sums = {end: running(assigned, events, end) for end in (one, two)}
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(3000):
        drawn = {}
        for arm in ("holdout", "one"):
            of = assigned.index[assigned["arm"] == arm]
            drawn[arm] = rng.choice(of, len(of))
        pairs.append(
            [
                sums[end].loc[drawn["one"]].mean() - sums[end].loc[drawn["holdout"]].mean()
                for end in (one, two)
            ]
        )
    assert trace.correlations[-2] == pytest.approx(np.corrcoef(np.array(pairs).T)[0, 1], abs=0.02)


def running(assigned, events, end):
    """Return revenue within 21 days of assignment, net of refunds, as known at `end`; NaN before assignment."""
    told = events[events["timestamp"] < end].sort_values(["timestamp", "event_id"])
    told = told.drop_duplicates("event_id")
    orders = (
        told[told["name"] == "Order Completed"]
        .drop_duplicates("order_id")
        .join(assigned, on="id", how="inner")
    )
    refunds = told[told["name"] == "Order Refunded"]
    taken = refunds.dropna(subset="order_id").groupby("order_id")["amount"].sum()
    orders["net"] = orders["amount"] - orders["order_id"].map(taken).fillna(0)
    loose = (
        refunds[refunds["order_id"].isna()]
        .join(assigned, on="id", how="inner")
        .assign(net=lambda f: -f["amount"])
    )
    every = pd.concat([orders, loose])
    off = every["timestamp"] - every["assigned_at"]
    inside = every[(off >= pd.Timedelta(0)) & (off < pd.Timedelta(days=21))]
    sums = inside.groupby("id")["net"].sum().reindex(assigned.index).fillna(0.0)
    return sums.where(assigned["assigned_at"] < end)


def test_a_weekly_interval_is_wider_and_its_p_value_agrees_with_it(tmp_path):
    world(tmp_path)
    for on in (date(2026, 10, 18), date(2026, 11, 15), date(2026, 12, 6)):
        weekly = measured(spec(tmp_path, "weekly"), on)
        alone = measured(spec(tmp_path, "fixed"), on)
        for now, fixed in zip(weekly.lifts, alone.lifts, strict=True):
            for name in ("raw", "adjusted", "capped"):
                block, other = getattr(now, name), getattr(fixed, name)
                if block is None or block.absolute.se == 0:
                    continue
                assert block.absolute.value == other.absolute.value
                assert block.absolute.high - block.absolute.low > other.absolute.high - other.absolute.low
                excludes = block.absolute.low > 0 or block.absolute.high < 0
                assert excludes == (block.p_value < 0.05)


def test_after_the_plan_has_ended_the_last_look_is_restated_and_spends_nothing_more(tmp_path):
    world(tmp_path)
    path = spec(tmp_path, "weekly")
    end, later = measured(path, date(2026, 12, 5)), measured(path, date(2026, 12, 26))
    assert end.schedule.looks[-1].fraction == later.schedule.looks[-1].fraction == 1
    for now, then in zip(end.lifts, later.lifts, strict=True):
        if now.metric == "purchase_rate":
            assert now.alpha == pytest.approx(then.alpha, rel=0.1)
            assert now.raw.absolute.value == then.raw.absolute.value


def test_numbers_that_grow_after_the_plans_end_have_a_boundary_for_all_later_looks(tmp_path):
    world(tmp_path)
    path = spec(tmp_path, "weekly")
    end, later = measured(path, date(2026, 12, 5)), measured(path, date(2026, 12, 12))
    assert end.schedule.ended_on is None
    assert later.schedule.ended_on == date(2026, 12, 5)
    assert later.schedule.growing == ("capped", "aov", "visits")
    for now, then in zip(end.lifts, later.lifts, strict=True):
        assert (then.decided.p_value < 0.05) == (then.decided.absolute.low * then.decided.absolute.high > 0)
        if now.metric not in later.schedule.growing:
            assert now.alpha == pytest.approx(then.alpha, rel=0.1)
            continue
        assert then.alpha < 0.0012 < 0.03 < now.alpha
        points = [each.schedule.traces[now.metric, now.arm].points for each in (end, later)]
        if now.metric != "capped":  # at today's cap throughout
            assert points[1][-2].boundary == pytest.approx(points[0][-1].boundary, rel=1e-6)


def test_a_window_that_closes_after_the_plans_end_is_restated_from_then_on(tmp_path):
    world(tmp_path)
    path = spec(tmp_path, "weekly")
    path.write_text(path.read_text().replace("window: 21d", "window: 35d"))
    open_still, closed, later = (
        measured(path, date(2026, 12, 12) + timedelta(days=each)) for each in (0, 7, 21)
    )
    assert [each.schedule.growing[0] for each in (open_still, closed, later)] == ["revenue"] * 3
    for now, then in zip(closed.lifts, later.lifts, strict=True):
        if now.metric == "revenue":
            assert now.alpha == pytest.approx(then.alpha, rel=0.01)
        if now.metric == "visits":
            assert then.alpha < now.alpha


def test_an_adjusted_interval_has_the_boundary_of_what_covariates_leave(tmp_path):
    world(tmp_path)
    found = measured(spec(tmp_path, "weekly"), date(2026, 11, 22))
    for lift in (each for each in found.lifts if each.decision == "adjusted"):
        explained = {"explained": lift.adjusted.variance_reduction}
        assert lift.alpha == pytest.approx(
            found.schedule.nominal(lift.metric, lift.arm, 0.05, **explained), rel=1e-9
        )
        assert lift.alpha <= found.schedule.nominal(lift.metric, lift.arm, 0.05)
    assert any(lift.decision == "adjusted" and lift.adjusted.variance_reduction > 0 for lift in found.lifts)


@pytest.mark.parametrize("boundary", ["planned", "always_on"])
def test_corrected_p_values_agree_with_corrected_intervals_at_every_look(tmp_path, boundary):
    world(tmp_path, customers=400)
    path = spec(tmp_path, "weekly")
    path.write_text(
        path.read_text().replace("looks: weekly", f"looks: weekly, boundary: {boundary}, alpha: 0.2")
    )
    for on in (date(2026, 10, 18), date(2026, 12, 5), date(2026, 12, 26)):
        for lift in measured(path, on).lifts:
            for found in (lift.decided, lift.corrected):
                if found and found.p_value is not None:
                    assert (found.p_value < 0.2) == (found.absolute.low * found.absolute.high > 0)
