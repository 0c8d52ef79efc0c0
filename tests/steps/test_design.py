"""Designs from small made-up histories, against numbers worked out by hand and by independent formulas."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from datetime import date

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import statsmodels.api as sm
from pydantic import ValidationError
from typer.testing import CliRunner

from tests.example import EXAMPLE
from tests.real_experiments import cdnow, hillstrom, needs_real_data
from toolkit.cli import app
from toolkit.design.experiment import Experiment
from toolkit.errors import NotEnoughData, SpecError
from toolkit.lake.history import as_if
from toolkit.lake.tables import Lake
from toolkit.settings import Settings
from toolkit.show.designed import design_text
from toolkit.stats.planning import looks_inflation
from toolkit.stats.power import customers_needed, smallest_conversion_effect
from toolkit.stats.skew import cap_for
from toolkit.steps.design import design
from toolkit.steps.workspace import Spec, Workspace

START = pd.Timestamp("2026-03-02T00:00:00Z")
DAY = pd.Timedelta(days=1)
PEOPLE = 3000
SPEC = """\
key: planned
start: 2026-03-02
end: 2026-03-30
cohort: {source: files, entry: snapshot}
arms: {holdout: 0.4, offer: 0.6}
control: holdout
events: {source: files}
metrics:
  - {name: purchase_rate, kind: conversion, event: Order Completed, window: 14d, role: primary}
  - {name: revenue, kind: mean, event: Order Completed, value: amount, window: 14d}
"""
EVENTS = ["id", "timestamp", "amount"]


class History:
    """A folder with a cohort, and what it did before the start."""

    def __init__(self, folder, spec=SPEC):
        rng = np.random.default_rng(1)
        self.folder, self.spec = folder, spec
        self.people = pd.DataFrame({"id": [f"c{n}" for n in range(PEOPLE)]})
        self.before = rng.normal(50, 10, PEOPLE) * (rng.random(PEOPLE) < 0.5)
        self.bought = rng.random(PEOPLE) < np.where(self.before > 0, 0.4, 0.2)
        self.spent = np.where(self.bought, rng.normal(40, 8, PEOPLE) + self.before, 0.0)
        self.rows = [(f"c{n}", START - 10 * DAY, amount) for n, amount in enumerate(self.spent) if amount]
        self.rows += [(f"c{n}", START - 30 * DAY, amount) for n, amount in enumerate(self.before) if amount]

    def write(self, rows=None):
        events = pd.DataFrame(self.rows if rows is None else rows, columns=EVENTS)
        events = events.assign(name="Order Completed", order_id=[f"o{n}" for n in range(len(events))])
        events["timestamp"] = events["timestamp"].astype("datetime64[us, UTC]")
        events.to_parquet(self.folder / "events.parquet")
        self.people.to_parquet(self.folder / "people.parquet")
        path = self.folder / "experiment.yml"
        path.write_text(self.spec)
        return path


@pytest.fixture
def past(tmp_path):
    return History(tmp_path)


def designed(path, **asked):
    home = str(path.parent / "lake")
    settings = Settings(lift_home=home, lift_now="2026-02-20T12:00:00Z")
    return design(Workspace(settings, Lake(home)), Spec.read(path), **({"as_of": date(2026, 3, 1)} | asked))


def row(found, metric, arm="offer"):
    (one,) = [each for each in found.rows if (each.metric, each.arm) == (metric, arm)]
    return one


def numbers(found):
    """What was found, to the digits that do not hang on the order of summing."""
    every = [(each.base, each.effect) for each in found.rows]
    return [pytest.approx(each, rel=1e-9) for each in every]


def textbook(variance, treated, held):
    z = scipy.stats.norm.isf(0.025) + scipy.stats.norm.isf(0.2)
    return z * math.sqrt(variance * (1 / treated + 1 / held))


def test_a_cohorts_history_is_what_it_did_over_one_window_before_the_date(past):
    found = designed(past.write())
    rate, revenue = row(found, "purchase_rate"), row(found, "revenue")
    assert found.basis == "history"
    assert "2026-02-16 to 2026-03-01" in found.source
    assert (rate.treated, rate.held) == (1800, 1200)
    assert rate.base == pytest.approx(past.bought.mean(), rel=1e-12)
    assert rate.effect == smallest_conversion_effect(rate.base, 1800, 1200)
    assert revenue.base == pytest.approx(past.spent.mean(), rel=1e-12)
    assert revenue.effect == pytest.approx(textbook(past.spent.var(ddof=1), 1800, 1200), rel=1e-5)
    assert revenue.method == "formula"


def test_an_effect_so_large_that_it_spreads_the_treated_is_found_as_often_as_it_is_said_to_be(past):
    rng = np.random.default_rng(8)
    spent = np.where(rng.random(PEOPLE) < 0.06, rng.lognormal(3, 0.4, PEOPLE), 0.0)
    past.spec = SPEC.replace("holdout: 0.4, offer: 0.6", "holdout: 0.5, offer: 0.5")
    rows = [(f"c{n}", START - 10 * DAY, amount) for n, amount in enumerate(spent) if amount]
    revenue = row(designed(past.write(rows)), "revenue")
    assert revenue.method == "simulation"
    assert "that treated customers vary more than the control" in revenue.why
    assert revenue.formula == pytest.approx(textbook(spent.var(ddof=1), 1500, 1500), rel=1e-5)

    def power(effect, runs=3000):
        amounts, share = spent[spent > 0], np.mean(spent > 0)
        found = 0
        for _ in range(runs):
            sums = []
            for buyers in rng.binomial(1500, [share * (1 + effect / spent.mean()), share]):
                drawn = rng.choice(amounts, buyers)
                mean = drawn.sum() / 1500
                sums.append((mean, (drawn @ drawn - 1500 * mean**2) / 1499 / 1500))
            (one, its), (other, others) = sums
            found += abs(one - other) > 1.96 * math.sqrt(its + others)
        return found / runs

    assert 0.77 < power(revenue.effect) < 0.84
    assert power(revenue.formula) < 0.76


def test_without_a_date_it_is_planned_from_whole_days_before_today_or_the_start(past):
    past.rows += [("c0", START - 20 * DAY, 30.0)]
    path = past.write()
    assert "2026-02-06 to 2026-02-19" in designed(path, as_of=None).source
    past.spec = SPEC.replace("start: 2026-03-02", "start: 2026-02-10")
    assert "2026-01-27 to 2026-02-09" in designed(past.write(), as_of=None).source


def test_orders_outside_the_window_change_nothing(past):
    plain = designed(past.write())
    outside = [("c0", START - 15 * DAY, 1e6), ("c1", START, 1e6), ("stranger", START - DAY, 1e6)]
    found = designed(past.write([*past.rows, *outside]))
    assert [(each.base, each.effect) for each in found.rows] == numbers(plain)


def test_a_look_back_narrows_the_effect_by_what_regression_says_it_explains(past):
    plain = row(designed(past.write()), "revenue")
    past.spec = SPEC.replace("window: 14d}\n", "window: 14d, covariates: [{lookback: 60d}]}\n")
    found = row(designed(past.write()), "revenue")
    oracle = sm.OLS(past.spent, sm.add_constant(past.before)).fit()
    assert found.explained == pytest.approx(oracle.rsquared_adj, rel=1e-9)
    assert found.effect == pytest.approx(plain.effect * math.sqrt(1 - found.explained), rel=1e-9)
    assert found.explained > 0.1


def test_attributes_of_people_explain_too(past):
    past.people["habit"] = past.before
    past.spec = SPEC.replace("window: 14d}\n", "window: 14d, covariates: [habit]}\n")
    found = row(designed(past.write()), "revenue")
    oracle = sm.OLS(past.spent, sm.add_constant(past.before)).fit()
    assert found.explained == pytest.approx(oracle.rsquared_adj, rel=1e-9)


def test_a_cap_is_applied_before_the_effect_is_worked_out(past):
    plain = row(designed(past.write()), "revenue")
    past.spec = SPEC.replace("window: 14d}\n", "window: 14d, cap: 0.9}\n")
    found = row(designed(past.write()), "revenue")
    capped = np.minimum(past.spent, np.quantile(past.spent, 0.9))
    assert found.cap == pytest.approx(np.quantile(past.spent, 0.9))
    assert found.base == pytest.approx(capped.mean(), rel=1e-9)
    assert found.formula == pytest.approx(textbook(capped.var(ddof=1), 1800, 1200), rel=1e-5)
    assert found.effect < plain.effect


def test_a_cap_that_too_few_have_bought_for_is_told_while_it_can_be_changed_and_the_rest_is_planned(past):
    past.spec = SPEC.replace("window: 14d}\n", "window: 14d, cap: 0.6}\n")
    found = designed(past.write())
    assert row(found, "revenue").effect is None
    assert row(found, "revenue").why == (
        f"capped at the quantile 0.6 it needs 1,200 of 3,000 customers above zero, and {past.bought.sum()} are; "
        "it becomes readable as customers buy. If no more will, cap it higher before anybody is assigned"
    )
    assert row(found, "purchase_rate").effect > 0


def test_a_cap_that_follows_from_sizes_follows_from_the_planned_ones(past):
    past.spec = SPEC.replace("window: 14d}\n", "window: 14d, cap: auto}\n")
    found = row(designed(past.write()), "revenue")
    assert found.cap == pytest.approx(np.quantile(past.spent, cap_for(1200, [1800])))


def test_weekly_looks_are_paid_for_and_alpha_is_the_experiments(past):
    plain = row(designed(past.write()), "revenue")
    past.spec = SPEC + "analysis: {looks: weekly}\n"
    weekly = designed(past.write())
    assert weekly.looks == 6  # four weeks of enrolment and two of the window
    assert weekly.inflation == looks_inflation(6)
    assert row(weekly, "revenue").effect == pytest.approx(plain.effect * math.sqrt(weekly.inflation))
    past.spec = SPEC + "analysis: {alpha: 0.01}\n"
    z = scipy.stats.norm.isf(0.005) + scipy.stats.norm.isf(0.2)
    stricter = row(designed(past.write()), "revenue").effect / plain.effect
    assert stricter == pytest.approx(z / (scipy.stats.norm.isf(0.025) + scipy.stats.norm.isf(0.2)), rel=1e-5)


def test_a_past_that_never_was_has_a_key_that_no_experiment_can_have(past):
    experiment = Spec.read(past.write()).experiment
    earlier, _ = as_if(experiment, experiment.starts_at)
    with pytest.raises(ValidationError, match="pattern"):
        Experiment.model_validate(experiment.model_dump() | {"key": earlier.key})


def test_whoever_is_held_out_of_everything_is_not_counted(past):
    past.spec = SPEC.replace("snapshot}", "snapshot, universal_holdout: {key: all, share: 0.1}}")
    found = designed(past.write())
    assert (found.rows[0].treated, found.rows[0].held) == (1620, 1080)


def test_uneven_revenue_is_simulated_and_its_effect_is_larger_than_the_formulas(past):
    rng = np.random.default_rng(5)
    past.spec = SPEC.replace("holdout: 0.4, offer: 0.6", "holdout: 0.1, offer: 0.9")
    few = rng.choice(PEOPLE, 300, replace=False)
    rows = [(f"c{n}", START - DAY, each) for n, each in zip(few, rng.lognormal(3, 1.5, 300), strict=True)]
    found = designed(past.write(rows))
    one = row(found, "revenue")
    assert one.method == "simulation"
    assert one.effect == one.simulated > one.formula * 1.03
    assert "the formula does not hold" in one.why
    assert "at most 0.15" in one.doubt
    assert "`cap: auto` would cap at the quantile 0.99 " in one.doubt
    assert one.why in design_text(found)
    assert one.doubt in design_text(found)


def test_too_few_converters_to_be_expected_are_told_before_the_start(past):
    rows = [(f"c{n}", START - DAY, 10.0) for n in range(20)]
    found = designed(past.write(rows))
    assert "at least 10 are needed to trust it" in row(found, "purchase_rate").doubt
    assert row(designed(past.write()), "purchase_rate").doubt is None


def test_weeks_come_from_when_people_came_to_qualify(past):
    past.spec = SPEC.replace("snapshot", "rolling")
    entered = pd.Series([START - (n % 100 + 0.5) * DAY for n in range(PEOPLE)])
    past.people["qualified_at"] = entered.astype("datetime64[us, UTC]")
    found = designed(past.write(), lift=0.05)
    weekly = PEOPLE * 7 / 100
    assert found.pace == pytest.approx(weekly)
    assert found.rows[0].treated == round((PEOPLE + 4 * weekly) * 0.6)
    ((lift, weeks),) = row(found, "revenue").weeks
    needed = customers_needed(0.05 * past.spent.mean(), past.spent.var(ddof=1), 0.4)
    assert lift == 0.05
    assert weeks.customers == pytest.approx(needed, abs=1)
    assert weeks.enrolment == math.ceil((weeks.customers - PEOPLE) / weekly)
    assert weeks.total == weeks.enrolment + 2
    curve = next(each for each in found.curves if each.metric == "revenue")
    planned = dict(curve.by_week)[4]
    assert planned == pytest.approx(row(found, "revenue").relative, rel=1e-3)


def test_a_pace_that_nothing_tells_is_asked_for_and_not_made_up(past):
    past.spec = SPEC.replace("snapshot", "rolling")
    path = past.write()
    silent = designed(path)
    assert silent.pace is None
    assert all(not curve.by_week for curve in silent.curves)
    assert any("--pace" in note for note in silent.notes)
    hard = row(silent, "revenue").weeks[0][1]
    assert hard.total is None
    assert "not known" in hard.text
    told = designed(path, pace=500)
    assert row(told, "revenue").weeks[0][1].enrolment == math.ceil((hard.customers - PEOPLE) / 500)


def test_the_cost_of_holding_out_is_money_of_those_held_out_if_the_lift_is_real(past):
    past.spec = SPEC.replace("snapshot", "rolling") + "value: {currency: USD, margin: 0.5, offer_cost: 2}\n"
    path = past.write()
    assert designed(path, pace=700).cost is None
    cost = designed(path, pace=700, lift=0.1).cost
    each, orders = past.spent.mean(), past.bought.mean()
    assert cost.revenue == pytest.approx(700 * 0.4 * each * 0.1)
    assert cost.profit == pytest.approx(700 * 0.4 * (0.5 * each * 0.1 - 2 * orders * 1.1))
    assert "which is assumed" in cost.text


@pytest.mark.parametrize(("price", "said"), [(0, "forgoes"), (90, "saves")])
def test_what_holding_out_saves_is_not_told_as_a_loss_below_zero(past, price, said):
    past.spec = SPEC + f"value: {{currency: USD, margin: 0.5, offer_cost: {price}}}\n"
    cost = designed(past.write(), lift=0.1).cost
    assert (cost.profit >= 0) == (said == "forgoes")
    assert re.search(rf" and {said} [\d,.]+ of profit", cost.text)
    assert "−" not in cost.text


def test_a_design_says_which_quantile_a_cap_is_and_of_whom(past):
    past.spec = SPEC.replace("value: amount, window", "value: amount, cap: 0.9, window")
    found = designed(past.write())
    said = f"revenue is capped at {row(found, 'revenue').cap:,.6g}, the quantile 0.9 over the customers learnt from"
    assert said in found.notes


def assign(past, arm_of):
    ids = past.people["id"]
    frame = pd.DataFrame({"id": ids, "arm": [arm_of(n) for n in range(PEOPLE)], "assigned_at": START})
    frame.to_parquet(past.folder / "assignments.parquet")
    past.spec = past.spec.replace("events:", "assignment: {source: files}\nevents:")


def test_after_assignment_it_is_the_controls_own_numbers_and_nobody_elses(past):
    assign(past, lambda n: "holdout" if n % 3 == 0 else "offer")
    rows = [(f"c{n}", START + DAY, 20.0 + n % 7) for n in range(0, PEOPLE, 9)]
    found = designed(past.write(rows), as_of=date(2026, 3, 20))
    one = row(found, "revenue")
    assert found.basis == "control"
    assert (one.treated, one.held) == (2000, 1000)
    held = np.array([20.0 + n % 7 if n % 9 == 0 else 0.0 for n in range(0, PEOPLE, 3)])
    assert one.base == pytest.approx(held.mean())
    assert one.formula == pytest.approx(textbook(held.var(ddof=1), 2000, 1000), rel=1e-5)
    treated = [(f"c{n}", START + DAY, 1e5) for n in range(1, PEOPLE, 9)]
    again = row(designed(past.write([*rows, *treated]), as_of=date(2026, 3, 20)), "revenue")
    assert (again.base, again.effect) == pytest.approx((one.base, one.effect), rel=1e-9)
    early = designed(past.write(rows), as_of=date(2026, 3, 5))
    assert any("windows close on 2026-03-16" in note for note in early.notes)


def test_an_assignment_file_that_is_yet_to_come_leaves_the_history(past):
    plain = designed(past.write())
    assign(past, lambda n: "offer")
    (past.folder / "assignments.parquet").unlink()
    found = designed(past.write())
    assert [(each.base, each.effect) for each in found.rows] == numbers(plain)


def test_ready_outcomes_are_the_history_where_nobody_is_treated(past):
    past.spec = SPEC.replace("events:", "outcomes:").replace(
        "event: Order Completed, value: amount", "column: spent"
    )
    past.spec = past.spec.replace("event: Order Completed", "column: bought")
    path = past.write()
    outcomes = pd.DataFrame({"id": past.people["id"], "bought": past.bought * 1, "spent": past.spent})
    outcomes[past.bought].to_parquet(past.folder / "outcomes.parquet")
    found = designed(path)
    assert found.rows[1].effect == pytest.approx(textbook(past.spent.var(ddof=1), 1800, 1200), rel=1e-5)
    assert found.rows[0].base == pytest.approx(past.bought.mean())


def test_history_that_is_too_short_is_told(past):
    rows = [each for each in past.rows if each[1] > START - 11 * DAY]
    found = designed(past.write(rows))
    assert any("events reach back to 2026-02-20 only, not to 2026-02-16" in each for each in found.notes)
    assert not any("reach back" in each for each in designed(past.write()).notes)


def test_without_history_there_is_no_number(past):
    with pytest.raises(NotEnoughData, match="nobody did it among 3,000 customers"):
        designed(past.write([("c0", START - 40 * DAY, 5.0)]))
    with pytest.raises(NotEnoughData, match="no event is from before 2026-03-02"):
        designed(past.write([("c0", START + DAY, 5.0)]))


def test_nobody_named_is_nobody_to_plan_with(past):
    past.spec = SPEC.replace("cohort: {source: files, entry: snapshot}\n", "assignment: {source: files}\n")
    with pytest.raises(NotEnoughData, match="no `cohort` says who would be"):
        designed(past.write())


def test_a_cohort_of_customer_io_needs_its_events_in_the_lake(tmp_path):
    path = tmp_path / "cart.yml"
    path.write_text(EXAMPLE)
    with pytest.raises(NotEnoughData, match="run `lift pull"):
        designed(path)


def test_several_arms_each_have_their_row_and_their_own_size(past):
    past.spec = SPEC.replace("{holdout: 0.4, offer: 0.6}", "{holdout: 0.4, offer: 0.2, more: 0.4}")
    found = designed(past.write())
    one, two = row(found, "revenue"), row(found, "revenue", "more")
    assert (one.treated, two.treated, one.held, two.held) == (600, 1200, 1200, 1200)
    assert one.effect > two.effect
    assert {each.arm for each in found.curves} == {"offer", "more"}


def test_the_curve_against_the_share_meets_the_plan_and_falls_towards_equal_arms(past):
    found = designed(past.write())
    curve = dict(next(each for each in found.curves if each.metric == "revenue").by_share)
    assert curve[0.4] == pytest.approx(row(found, "revenue").relative, rel=1e-9)
    assert list(curve.values()) == sorted(curve.values(), reverse=True)
    assert (min(curve), max(curve)) == (0.01, 0.5)


def test_the_picture_is_one_svg_that_says_in_words_what_it_shows(past):
    past.spec = SPEC.replace("key: planned", "key: planned\nname: Fish & chips <b>")
    found = designed(past.write())
    drawn = ET.fromstring(found.picture().svg)
    names = [each.tag.rpartition("}")[2] for each in drawn.iter()]
    assert drawn.get("role") == "img"
    assert "script" not in names
    assert names.count("polyline") == len(found.curves)
    assert "Fish & chips <b>" in drawn.find("{*}title").text
    assert "purchase_rate: 1% held out" in drawn.find("{*}desc").text
    words = [each.text for each in drawn.findall(".//{*}text")]
    row = found.rows[0]
    assert f"{row.relative:.1%} at this size" in words
    assert f"share of {found.customers:,} customers held out" in words
    assert found.picture()._repr_svg_() == found.picture().svg


def run(path, *words):
    home = {"LIFT_HOME": str(path.parent / "lake"), "LIFT_NOW": "2026-03-02T00:00:00Z"}
    return CliRunner().invoke(app, ["design", str(path), *words], env=home)


def test_the_command_writes_text_json_and_picture(past):
    path = past.write()
    picture = path.parent / "power.svg"
    shown = run(path, "--lift", "7%", "--picture", str(picture))
    assert shown.exit_code == 0, shown.output
    assert "customers for +7%" in shown.stdout
    assert ET.parse(picture).getroot().tag.endswith("svg")
    record = json.loads(run(path, "--json", "-").stdout)
    assert record["rows"][0]["metric"] == "purchase_rate"
    assert [each["lift"] for each in record["rows"][0]["weeks"]] == [0.05, 0.1, 0.2]


@pytest.mark.parametrize("lift", ["much", "0", "nan", "-100"])
def test_a_lift_that_is_none_is_refused(past, lift):
    wrong = run(past.write(), f"--lift={lift}").exception
    assert isinstance(wrong, SpecError)
    assert "--lift" in str(wrong)


def test_a_design_loads_no_library_that_takes_seconds(past):
    asked = (
        "import sys; from toolkit.cli import app; app(sys.argv[1:], standalone_mode=False); "
        "print([name for name in ('statsmodels', 'scipy.stats', 'pandas', 'plotly') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", asked, "design", str(past.write()), "--as-of", "2026-03-01"],
        env={"LIFT_HOME": str(past.folder / "lake")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


@needs_real_data
@pytest.mark.reference
def test_real_experiments_have_the_effects_that_their_published_spread_allows(tmp_path):
    found = designed(hillstrom(tmp_path, "events"), as_of=date(2008, 4, 3))
    spend = row(found, "spend", "treatment")
    rows = pd.read_parquet(tmp_path / "events.parquet")
    held = pd.read_parquet(tmp_path / "assignments.parquet").query("arm == 'holdout'")
    orders = rows[rows["name"].eq("Order Completed") & rows["id"].isin(held["id"].astype(str))]["amount"]
    variance = np.r_[orders, np.zeros(21306 - len(orders))].var(ddof=1)
    explained = spend.explained
    assert spend.formula == pytest.approx(textbook(variance * (1 - explained), 21307, 21306), rel=1e-5)


@needs_real_data
@pytest.mark.reference
def test_the_half_year_before_explains_a_third_of_what_cdnows_control_spends(tmp_path):
    found = designed(cdnow(tmp_path), as_of=date(1998, 6, 30))
    spend = row(found, "spend", "treatment")
    assert 0.2 < spend.explained < 0.5
    assert spend.base == pytest.approx(45.96, abs=0.01)
