"""From rows to what may be said: families, cells, trust, money, exposure, seen through a whole measurement."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from toolkit.lake.tables import Lake
from toolkit.settings import Settings
from toolkit.steps.measure import measure
from toolkit.steps.workspace import Spec, Workspace

SPEC = """\
key: said
start: 2026-01-01
end: 2026-02-01
cohort: {source: files, path: outcomes.parquet}
arms: {holdout: 0.34, one: 0.33, two: 0.33}
control: holdout
assignment: {source: files}
outcomes: {source: files, path: outcomes.parquet}
metrics:
  - {name: bought, kind: conversion, column: bought, role: primary}
  - {name: spend, kind: mean, column: spend}
  - {name: visits, kind: mean, column: visits}
  - {name: per_visit, kind: ratio, numerator: {column: spend}, denominator: {column: visits}}
  - {name: left, kind: conversion, column: left, role: guardrail, harm: increase, margin: MARGIN}
analysis: {breakdowns: [tier], correction: CORRECTION}
"""


def world(folder, *, customers=6000, effect=0.06, seed=5, left=(0.1, 0.1, 0.1)):
    rng = np.random.default_rng(seed)
    arm = rng.integers(0, 3, customers)
    bought = rng.random(customers) < 0.3 + effect * (arm == 1)
    frame = pd.DataFrame(
        {
            "id": [f"c{n}" for n in range(customers)],
            "bought": bought.astype(int),
            "spend": np.round(bought * rng.gamma(4, 10, customers), 2),
            "visits": 1.0 + rng.poisson(2 + 0.2 * (arm == 2), customers),
            "left": (rng.random(customers) < np.array(left)[arm]).astype(int),
            "tier": rng.choice(["gold", "silver", "bronze"], customers, p=[0.2, 0.3, 0.5]),
        }
    )
    frame.loc[:11, "tier"] = "rare"
    frame.to_parquet(folder / "outcomes.parquet")
    pd.DataFrame(
        {
            "id": frame["id"],
            "arm": np.array(["holdout", "one", "two"])[arm],
            "assigned_at": pd.Timestamp("2026-01-02", tz="UTC"),
        }
    ).to_parquet(folder / "assignments.parquet")
    return frame.assign(arm=np.array(["holdout", "one", "two"])[arm])


def measured(folder, *, margin=0.05, correction="holm", spec=SPEC, as_of=date(2026, 3, 1)):
    path = folder / "said.yml"
    path.write_text(spec.replace("MARGIN", str(margin)).replace("CORRECTION", correction))
    home = str(folder / "lake")
    return measure(Workspace(Settings(lift_home=home), Lake(home)), Spec.read(path), as_of=as_of)


def whole(found, role=None):
    return [lift for lift in found.lifts if lift.breakdown is None and role in (None, lift.role)]


def test_secondaries_times_arms_are_one_family_and_the_primary_is_in_none(tmp_path):
    world(tmp_path)
    found = measured(tmp_path)
    family = whole(found, "secondary")
    assert len(family) == 6
    assert all(lift.corrected is None for lift in whole(found, "primary") + whole(found, "guardrail"))
    _, adjusted, *_ = multipletests([lift.decided.p_value for lift in family], method="holm")
    for lift, p_value in zip(family, adjusted, strict=True):
        assert lift.corrected.p_value == pytest.approx(p_value, rel=1e-9)
        inside = lift.corrected.absolute.low <= 0 <= lift.corrected.absolute.high
        assert inside == (lift.corrected.p_value >= 0.05)
        assert lift.corrected.absolute.high - lift.corrected.absolute.low >= (
            lift.decided.absolute.high - lift.decided.absolute.low
        ) * (1 - 1e-12)


def test_without_a_correction_nothing_is_corrected_but_the_exploratory_breakdowns(tmp_path):
    world(tmp_path)
    found = measured(tmp_path, correction="none")
    assert all(lift.corrected is None for lift in whole(found))
    parts = [lift for lift in found.lifts if lift.breakdown and lift.decided]
    _, adjusted, *_ = multipletests([lift.decided.p_value for lift in parts], method="fdr_bh")
    for lift, p_value in zip(parts, adjusted, strict=True):
        assert lift.corrected.method == "benjamini_hochberg"
        assert lift.corrected.p_value == pytest.approx(p_value, rel=1e-9)


def test_a_cell_of_few_customers_is_neither_shown_nor_to_be_had_by_subtraction(tmp_path):
    frame = world(tmp_path)
    found = measured(tmp_path)
    levels = {lift.level for lift in found.lifts if lift.breakdown}
    assert levels == {"bronze", "silver", "other"}
    for arm in ("holdout", "one", "two"):
        in_other = next(
            lift.customers[arm] for lift in found.lifts if lift.level == "other" and arm in lift.customers
        )
        assert in_other == ((frame["arm"] == arm) & frame["tier"].isin(["gold", "rare"])).sum()
        assert in_other >= 10


def test_customers_without_a_level_and_those_whose_level_is_called_unknown_are_one_level(tmp_path):
    frame = world(tmp_path)
    rows = pd.read_parquet(tmp_path / "outcomes.parquet")
    silver = rows.index[rows["tier"] == "silver"]
    rows.loc[silver, "tier"] = "unknown"
    rows.loc[silver[:300], "tier"] = None
    rows.loc[rows["tier"] == "gold", "tier"] = "bronze"
    rows.to_parquet(tmp_path / "outcomes.parquet")
    found = measured(tmp_path)
    parts = {
        (lift.level, lift.arm): lift for lift in found.lifts if lift.breakdown and lift.metric == "spend"
    }
    # the 12 of level `rare` are shown with those unknown, so that nothing can be had by subtraction
    assert {level for level, _ in parts} == {"bronze", "other"}
    known = frame["tier"].isin(["bronze", "gold"])
    for level, mine in (("bronze", known), ("other", ~known)):
        for arm in ("holdout", "one", "two"):
            here = frame[mine & (frame["arm"] == arm)]
            lift = parts[level, "two" if arm == "two" else "one"]
            assert lift.customers[arm] == len(here)
            assert lift.converters[arm] == (here["spend"] > 0).sum()
            assert lift.means[arm] == pytest.approx(here["spend"].mean())


@pytest.mark.parametrize(
    ("left", "margin", "answer"),
    [((0.1, 0.1, 0.1), 0.05, "safe"), ((0.1, 0.2, 0.2), 0.01, "harm"), ((0.1, 0.1, 0.1), 0.0005, "unclear")],
)
def test_a_guardrail_has_three_answers(tmp_path, left, margin, answer):
    world(tmp_path, left=left)
    lifts = whole(measured(tmp_path, margin=margin), "guardrail")
    assert answer in {lift.answer for lift in lifts}


def test_the_verdict_is_never_no_effect_and_names_what_would_have_been_found(tmp_path):
    world(tmp_path, effect=0.0)
    found = measured(tmp_path)
    assert found.verdict.status == "inconclusive"
    assert "the smallest effect it would find" in found.verdict.text
    assert "no effect" not in found.verdict.text.lower()
    lift = whole(found, "primary")[0]
    assert lift.detectable == pytest.approx(lift.raw.absolute.se * (1.959964 + 0.841621), rel=1e-6)


def test_targeted_customers_are_refused_however_large_the_difference(tmp_path):
    frame = world(tmp_path, effect=0.6)
    frame["before"] = frame["spend"] + 1
    frame.drop(columns="arm").to_parquet(tmp_path / "outcomes.parquet")
    spec = SPEC.replace(
        "column: bought, role: primary", "column: bought, role: primary, covariates: [before]"
    )
    found = measured(tmp_path, spec=spec)
    assert found.verdict.status == "not_readable"
    assert "not randomised" in found.verdict.text


def heavy(folder, *, held=2000, treated=18_000, buyers=0.03, log_sd=1.5, seed=1):
    rng = np.random.default_rng(seed)
    n = held + treated
    bought = rng.random(n) < buyers
    spend = np.where(bought, np.round(rng.lognormal(3, log_sd, n), 2), 0.0)
    ids = [f"c{k}" for k in range(n)]
    pd.DataFrame({"id": ids, "spend": spend, "bought": bought.astype(int)}).to_parquet(
        folder / "outcomes.parquet"
    )
    arms = ["holdout"] * held + ["treatment"] * treated
    at = pd.Timestamp("2026-01-02", tz="UTC")
    pd.DataFrame({"id": ids, "arm": arms, "assigned_at": at}).to_parquet(folder / "assignments.parquet")


HEAVY = """\
key: heavy
start: 2026-01-01
end: 2026-02-01
arms: {holdout: 0.1, treatment: 0.9}
control: holdout
assignment: {source: files}
outcomes: {source: files}
metrics:
  - {name: bought, kind: conversion, column: bought, role: primary}
  - {name: spend, kind: mean, column: spend}
  - {name: capped, kind: mean, column: spend, cap: 0.999}
  - {name: by_rule, kind: mean, column: spend, cap: auto}
"""


def test_heavy_tails_in_a_small_holdout_are_trusted_only_where_capped(tmp_path):
    heavy(tmp_path)
    lifts = {lift.metric: lift for lift in measured(tmp_path, spec=HEAVY).lifts}
    assert not lifts["spend"].trusted
    assert "so uneven" in lifts["spend"].notes[-1]
    for name in ("capped", "by_rule"):
        assert lifts[name].trusted
        assert lifts[name].decision == "capped"
    assert lifts["by_rule"].capped.cap <= lifts["capped"].capped.cap
    assert lifts["bought"].trusted
    assert lifts["bought"].decision == "skew_corrected"
    assert lifts["bought"].corrects == "raw"
    raw, corrected = lifts["bought"].raw.absolute, lifts["bought"].skew_corrected.absolute
    assert corrected.value == raw.value
    assert corrected.low < raw.low  # a small holdout that happens to buy little makes false winners


EVENTS = """\
key: exposed
start: 2026-01-01
end: 2026-02-01
cohort: {source: files, path: assignments.parquet}
arms: {holdout: 0.5, treatment: 0.5}
control: holdout
assignment: {source: files}
events: {source: files}
metrics:
  - {name: purchase_rate, kind: conversion, event: Order Completed, role: primary}
  - {name: revenue, kind: mean, event: Order Completed, value: amount}
value: {currency: USD, margin: 0.5, offer_cost: 2.0}
"""


def shop(folder, *, customers=4000, exposed_holdout=0, seed=2):
    rng = np.random.default_rng(seed)
    at = pd.Timestamp("2026-01-02", tz="UTC")
    ids = np.array([f"c{n}" for n in range(customers)])
    arms = np.where(np.arange(customers) % 2, "holdout", "treatment")
    seen = (arms == "treatment") & (rng.random(customers) < 0.5)
    bought = rng.random(customers) < 0.2 + 0.2 * seen
    pd.DataFrame({"id": ids, "arm": arms, "assigned_at": at}).to_parquet(folder / "assignments.parquet")
    buyers = ids[bought]
    amounts = np.round(rng.gamma(4, 10, len(buyers)), 2)
    pd.DataFrame(
        {
            "event_id": [f"e{n}" for n in range(len(buyers))],
            "id": buyers,
            "name": "Order Completed",
            "timestamp": at + pd.to_timedelta(rng.integers(0, 28 * 86_400, len(buyers)), unit="s"),
            "amount": amounts,
            "currency": "USD",
            "order_id": [f"o{n}" for n in range(len(buyers))],
        }
    ).to_parquet(folder / "events.parquet")
    shown = [*ids[seen], *ids[arms == "holdout"][:exposed_holdout]]
    Lake(str(folder / "lake")).append_rows(
        "exposures",
        [
            {
                "experiment": "exposed",
                "id": each,
                "timestamp": datetime(2026, 1, 3, tzinfo=UTC),
                "kind": "flag",
                "value": "true",
            }
            for each in shown
        ],
    )
    return (
        pd.DataFrame({"id": ids, "arm": arms, "seen": seen, "bought": bought})
        .merge(pd.DataFrame({"id": buyers, "amount": amounts}), how="left")
        .fillna({"amount": 0.0})
    )


EXPLAINED = """\
key: said
start: 2026-01-01
end: 2026-02-01
arms: {holdout: 0.5, treatment: 0.5}
control: holdout
assignment: {source: files, path: outcomes.parquet}
outcomes: {source: files, path: outcomes.parquet}
metrics:
  - {name: bought, kind: conversion, column: bought, role: primary}
  - {name: spend, kind: mean, column: spend, covariates: [history]}
"""


@pytest.mark.parametrize(("log_sd", "trusted"), [(0.6, True), (1.25, False)])
def test_an_adjustment_that_explains_the_largest_customers_does_not_make_their_tail_trusted(
    tmp_path, log_sd, trusted
):
    rng = np.random.default_rng(1)
    history = np.round(np.exp(rng.normal(0, log_sd, 4000)), 4)
    pd.DataFrame(
        {
            "id": [f"c{n}" for n in range(4000)],
            "arm": np.tile(["holdout", "treatment"], 2000),
            "assigned_at": pd.Timestamp("2026-01-02", tz="UTC"),
            "bought": 1 - np.arange(4000) % 5 // 4,
            "spend": np.round(history + rng.gamma(4, 0.1, 4000), 4),
            "history": history,
        }
    ).to_parquet(tmp_path / "outcomes.parquet")
    lift = next(each for each in whole(measured(tmp_path, spec=EXPLAINED)) if each.metric == "spend")
    assert lift.adjusted.variance_reduction > 0.8
    assert (lift.decision, lift.trusted) == ("adjusted", trusted)
    assert [note for note in lift.notes if note.startswith("so uneven")] == (
        [] if trusted else [lift.notes[-1]]
    )


SMALL = """\
key: small
start: 2026-01-01
end: 2026-02-01
arms: {holdout: 0.5, treatment: 0.5}
control: holdout
assignment: {source: files, path: outcomes.parquet}
outcomes: {source: files, path: outcomes.parquet}
metrics:
  - {name: spend, kind: mean, column: spend, role: primary, covariates: [x0, x1, x2, x3, x4]}
"""


@pytest.mark.parametrize(("customers", "decision"), [(20, "raw"), (60, "adjusted")])
def test_with_too_few_customers_for_its_covariates_the_unadjusted_numbers_decide(
    tmp_path, customers, decision
):
    rng = np.random.default_rng(4)
    before = rng.normal(5, 1, (2 * customers, 5))
    frame = pd.DataFrame(before, columns=[f"x{n}" for n in range(5)]).assign(
        id=[f"c{n}" for n in range(2 * customers)],
        arm=np.tile(["holdout", "treatment"], customers),
        assigned_at=pd.Timestamp("2026-01-02", tz="UTC"),
        spend=before.sum(axis=1) + rng.normal(20, 1, 2 * customers),
    )
    frame.to_parquet(tmp_path / "outcomes.parquet")
    (lift,) = measured(tmp_path, spec=SMALL).lifts
    assert (lift.decision, lift.trusted) == (decision, True)
    assert lift.adjusted.absolute.se < lift.raw.absolute.se
    assert lift.notes == (
        (
            "the unadjusted numbers decide: adjusting by 5 covariates in arms of 20 and 20 customers makes the "
            "interval too narrow; read the unadjusted one, or name fewer covariates",
        )
        if decision == "raw"
        else ()
    )


def test_the_effect_on_the_exposed_is_the_effect_over_the_share_exposed(tmp_path):
    frame = shop(tmp_path)
    found = measured(tmp_path, spec=EVENTS, as_of=date(2026, 1, 31))
    for lift, column in zip(found.lifts, ("bought", "amount"), strict=True):
        means = frame.groupby("arm")[column].mean()
        share = frame[frame["arm"] == "treatment"]["seen"].mean()
        assert lift.exposed.exposed_share == pytest.approx(share)
        assert lift.exposed.value == pytest.approx((means["treatment"] - means["holdout"]) / share)
        assert lift.exposed.low < lift.exposed.value < lift.exposed.high
        assert (lift.exposed.low > 0) == (lift.raw.absolute.low > 0)


def test_at_a_weekly_look_the_effect_on_the_exposed_has_the_boundary_and_p_value_of_the_lift(tmp_path):
    shop(tmp_path)
    for on in (date(2026, 1, 11), date(2026, 1, 18)):
        for lift in measured(tmp_path, spec=EVENTS + "analysis: {looks: weekly}\n", as_of=on).lifts:
            assert lift.alpha < 0.02
            assert lift.exposed.p_value == lift.raw.p_value
            assert (lift.exposed.low > 0) == (lift.raw.absolute.low > 0) == (lift.exposed.p_value < 0.05)


CAPPED = EVENTS.replace("value: amount}", "value: amount, cap: 0.98}")


def test_the_effect_on_the_exposed_rests_on_capped_numbers_where_they_decide(tmp_path):
    frame = shop(tmp_path)
    lift = measured(tmp_path, spec=CAPPED, as_of=date(2026, 1, 31)).lifts[1]
    means = frame.assign(amount=frame["amount"].clip(upper=lift.capped.cap)).groupby("arm")["amount"].mean()
    share = frame[frame["arm"] == "treatment"]["seen"].mean()
    assert (lift.exposed.block, lift.exposed.trusted) == ("capped", True)
    assert lift.exposed.value == pytest.approx((means["treatment"] - means["holdout"]) / share)
    assert lift.exposed.p_value == lift.capped.p_value
    of_arm = frame[frame["arm"] == "treatment"]
    assert lift.exposed == measured(tmp_path, spec=CAPPED, as_of=date(2026, 1, 31)).lifts[1].exposed
    freed = of_arm["amount"].clip(upper=lift.capped.cap) - lift.exposed.low * of_arm["seen"]
    held = frame[frame["arm"] == "holdout"]["amount"].clip(upper=lift.capped.cap)
    away = (freed.mean() - held.mean()) / np.sqrt(freed.var() / len(freed) + held.var() / len(held))
    assert away == pytest.approx(
        (lift.capped.absolute.value - lift.capped.absolute.low) / lift.capped.absolute.se
    )


def test_the_effect_on_the_exposed_is_marked_where_the_numbers_it_rests_on_are_not_to_be_trusted(tmp_path):
    shop(tmp_path)
    events = pd.read_parquet(tmp_path / "events.parquet")
    events["amount"] = np.round(np.exp(3 * np.random.default_rng(1).normal(size=len(events))), 2)
    events.to_parquet(tmp_path / "events.parquet")
    share, revenue = measured(tmp_path, spec=EVENTS, as_of=date(2026, 1, 31)).lifts
    assert (share.exposed.block, share.exposed.trusted, share.exposed.note) == ("raw", True, None)
    assert not revenue.exposed.trusted
    assert revenue.exposed.note == revenue.notes[-1]


def test_where_an_adjusted_lift_decides_the_effect_on_the_exposed_is_that_of_the_numbers_as_measured(
    tmp_path,
):
    frame = shop(tmp_path)
    rows = pd.read_parquet(tmp_path / "assignments.parquet")
    rows["history"] = frame["amount"] + np.random.default_rng(3).gamma(4, 5, len(frame))
    rows.to_parquet(tmp_path / "assignments.parquet")
    spec = EVENTS.replace("value: amount}", "value: amount, covariates: [history]}")
    lift = measured(tmp_path, spec=spec, as_of=date(2026, 1, 31)).lifts[1]
    assert (lift.decision, lift.exposed.block) == ("adjusted", "raw")
    assert lift.exposed.p_value == lift.raw.p_value


def test_an_exposed_holdout_refuses_the_effect_on_the_exposed_and_the_verdict(tmp_path):
    shop(tmp_path, exposed_holdout=200)
    found = measured(tmp_path, spec=EVENTS, as_of=date(2026, 1, 31))
    assert "exposed" in found.lifts[0].exposed.why
    assert found.verdict.status == "not_readable"


def test_money_is_margin_on_what_was_caused_less_what_every_order_cost(tmp_path):
    frame = shop(tmp_path)
    found = measured(tmp_path, spec=EVENTS, as_of=date(2026, 1, 31))
    worth = found.worth["treatment"]
    revenue = frame.groupby("arm")["amount"].mean()
    orders = frame.groupby("arm")["bought"].mean()
    customers = (frame["arm"] == "treatment").sum()
    profit = 0.5 * (revenue["treatment"] - revenue["holdout"]) - 2.0 * orders["treatment"]
    assert worth.revenue.value == pytest.approx(revenue["treatment"] - revenue["holdout"])
    assert worth.total_profit.value == pytest.approx(profit * customers)
    assert worth.total_cost == pytest.approx(2.0 * orders["treatment"] * customers)
    spent = 2.0 * orders["treatment"]
    assert worth.returned.value == pytest.approx(0.5 * (revenue["treatment"] - revenue["holdout"]) / spent)
