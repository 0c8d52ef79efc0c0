"""Small hand-made experiments: what counts, when, and what is refused."""

from __future__ import annotations

import gzip
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from tests.example import FILES, OnFiles
from toolkit.errors import DataError, NotEnoughData, SpecError
from toolkit.lake.tables import Lake
from toolkit.settings import Settings
from toolkit.steps.measure import measure
from toolkit.steps.workspace import Spec, Workspace

AT = pd.Timestamp("2026-01-01T00:00:00Z")


def measured(path, as_of=date(2026, 1, 31)):
    home = str(path.parent / "lake")
    return measure(Workspace(Settings(lift_home=home), Lake(home)), Spec.read(path), as_of=as_of)


def sums(found, metric="revenue"):
    (lift,) = [each for each in found.lifts if each.metric == metric and each.breakdown is None]
    return {arm: mean * found.customers[arm] for arm, mean in lift.means.items()}


def status(found, name):
    return next(check.status for check in found.checks if check.name == name)


def order(customer, at, amount, order_id, **more):
    return {
        "event_id": f"x{order_id}{at}",
        "id": customer,
        "name": "Order Completed",
        "timestamp": at,
        "amount": amount,
        "currency": "USD",
        "order_id": order_id,
    } | more


@pytest.fixture
def case(tmp_path):
    return OnFiles(tmp_path)


def only(case, *rows):
    case.events = pd.DataFrame(rows)
    return case.write()


def test_csv_and_parquet_say_the_same(case, tmp_path):
    parquet = measured(case.write())
    csv = measured(case.write(csv=True))
    assert parquet.lifts == csv.lifts
    assert parquet.checks == csv.checks


def test_instants_in_nanoseconds_are_instants(case):
    whole = measured(case.write())
    case.events["timestamp"] = case.events["timestamp"].astype("datetime64[ns, UTC]")
    case.assignments["assigned_at"] = case.assignments["assigned_at"].astype("datetime64[ns, UTC]")
    assert measured(case.write()).lifts == whole.lifts


def test_a_folder_of_parts_is_one_table(case):
    path = case.write()
    parts = path.parent / "parts"
    parts.mkdir()
    whole = measured(path)
    case.events.iloc[:10].to_parquet(parts / "events_1.parquet")
    case.events.iloc[10:].to_parquet(parts / "events_2.parquet")
    path.write_text(case.spec.replace("events: {source: files}", "events: {source: files, path: parts}"))
    assert measured(path).lifts == whole.lifts


def test_only_events_from_assignment_until_the_date_and_within_the_window_count(case):
    case.spec = FILES.replace("value: amount}", "value: amount, window: 14d}")
    second = pd.Timedelta(seconds=1)
    found = measured(
        only(
            case,
            order("c0", AT - second, 1, "before"),
            order("c0", AT, 10, "at"),
            order("c0", AT + pd.Timedelta(days=14) - second, 100, "last"),
            order("c0", AT + pd.Timedelta(days=14), 1000, "after the window"),
        )
    )
    assert sums(found)["treatment"] == pytest.approx(110)
    found = measured(case.folder / "experiment.yml", as_of=date(2026, 1, 10))
    assert sums(found)["treatment"] == pytest.approx(10)


def test_the_date_ends_in_the_experiments_time_zone(case):
    case.spec = FILES.replace("end: 2026-02-01", "end: 2026-02-01\ntimezone: America/New_York")
    case.assignments["assigned_at"] = AT + pd.Timedelta(hours=6)
    path = only(case, order("c0", pd.Timestamp("2026-01-11T04:30:00Z"), 10, "late evening of the tenth"))
    assert sums(measured(path, as_of=date(2026, 1, 10)))["treatment"] == pytest.approx(10)
    assert sums(measured(path, as_of=date(2026, 1, 9)))["treatment"] == pytest.approx(0)


def test_an_order_counts_once_however_often_it_arrives(case):
    one = order("c0", AT + pd.Timedelta(days=1), 10, "o1")
    found = measured(
        only(case, one, one | {"event_id": "again", "timestamp": AT + pd.Timedelta(days=2)}, one)
    )
    assert sums(found)["treatment"] == pytest.approx(10)
    assert status(found, "duplicate_orders") == "fail"


def test_refunds_are_taken_off_their_orders_wholly_partly_and_late(case):
    day = pd.Timedelta(days=1)
    found = measured(
        only(
            case,
            order("c0", AT + day, 100, "whole"),
            order("c0", AT + 5 * day, 100, "whole", name="Order Refunded", event_id="r1"),
            order("c2", AT + day, 100, "partly"),
            order("c2", AT + 29 * day, 30, "partly", name="Order Refunded", event_id="r2"),
            order("c4", AT + 2 * day, 7, None, name="Order Refunded", event_id="r3"),
            order("c6", AT - 9 * day, 50, "long ago"),
            order("c6", AT + day, 50, "long ago", name="Order Refunded", event_id="r4"),
        )
    )
    assert sums(found)["treatment"] == pytest.approx(100 - 100 + 100 - 30 - 7)
    assert sums(found, "purchase_rate")["treatment"] == pytest.approx(2)


def test_a_refund_is_its_orders_whoever_brings_it(case):
    day = pd.Timedelta(days=1)
    back = {"name": "Order Refunded"}
    found = measured(
        only(
            case,
            order("c0", AT + day, 100, "o1"),
            order("guest-7", AT + 2 * day, 30, "o1", event_id="r1", **back),
            order("guest-7", AT + 3 * day, 30, "o1", event_id="r1", **back),  # delivered twice
            order("c2", AT + 2 * day, 5, "o1", event_id="r2", **back),
            order("guest-7", AT + 2 * day, 8, "guests own", event_id="r3", **back),
            order("guest-7", AT + 2 * day, 9, None, event_id="r4", **back),
        )
    )
    assert sums(found)["treatment"] == pytest.approx(100 - 30 - 5)
    assert not any("refunds are of orders" in note for note in found.notes)


def test_a_lookback_knows_nothing_that_came_after_assignment(case):
    case.spec = FILES.replace("value: amount}", "value: amount, covariates: [{lookback: 30d}]}")
    day = pd.Timedelta(days=1)
    rows = [order(f"c{n}", AT - (1 + n % 9) * day, 10.0 + n, f"p{n}") for n in range(40)]
    rows += [order(f"c{n}", AT + day, 10.0 + n, f"o{n}") for n in range(0, 80, 3)]
    before = measured(only(case, *rows))
    refunds = [
        order(f"c{n}", AT + 2 * day, 10.0 + n, f"p{n}", name="Order Refunded", event_id=f"r{n}")
        for n in range(9)
    ]
    after = measured(only(case, *rows, *refunds))
    adjusted = [next(lift.adjusted for lift in found.lifts if lift.adjusted) for found in (before, after)]
    assert adjusted[0].absolute.value == pytest.approx(adjusted[1].absolute.value, rel=1e-12)
    assert adjusted[0].absolute.se == pytest.approx(adjusted[1].absolute.se, rel=1e-12)


def test_emails_are_trimmed_and_lower_cased_and_nothing_more(case):
    case.spec = FILES.replace("timezone", "timezone").replace("cohort:", "identity: {key: email}\ncohort:")
    case.people["id"] = [f"c{n}@x.org" for n in range(80)]
    case.assignments["id"] = [f" C{n}@X.org " for n in range(80)]
    path = only(
        case,
        order("c0@x.ORG", AT + pd.Timedelta(days=1), 10, "o1"),
        order("c0+tag@x.org", AT + pd.Timedelta(days=1), 1000, "o2"),
    )
    assert sums(measured(path))["treatment"] == pytest.approx(10)


def test_whole_number_ids_meet_their_texts(case):
    case.assignments["id"] = range(80)
    case.people["id"] = range(80)
    path = only(case, order("0", AT + pd.Timedelta(days=1), 10, "o1"))
    assert sums(measured(path))["treatment"] == pytest.approx(10)


def test_the_first_assignment_holds_and_crossing_withholds_the_verdict(case):
    again = case.assignments.iloc[:10].assign(arm="treatment", assigned_at=AT + pd.Timedelta(days=3))
    case.assignments = pd.concat([again, case.assignments])
    found = measured(case.write())
    assert found.customers == {"holdout": 40, "treatment": 40}
    assert status(found, "crossover") == "fail"
    assert found.verdict.status == "not_readable"


def test_assignments_outside_enrolment_or_after_the_date_do_not_count(case):
    case.assignments.loc[0, "assigned_at"] = AT - pd.Timedelta(days=1)
    case.assignments.loc[2, "assigned_at"] = AT + pd.Timedelta(days=60)
    case.assignments.loc[4, "assigned_at"] = AT + pd.Timedelta(days=20)
    found = measured(case.write(), as_of=date(2026, 1, 15))
    assert found.customers == {"holdout": 40, "treatment": 37}
    assert any("2 assignments before start or after end" in note for note in found.notes)


def test_a_cap_is_the_pooled_quantile_with_silent_customers_as_zeros(case):
    case.spec = FILES.replace("value: amount}", "value: amount, cap: 0.95}")
    found = measured(case.write())
    spent = case.assignments.merge(
        case.events.groupby("id")["amount"].sum().reset_index(), how="left"
    ).fillna({"amount": 0})
    expected = spent["amount"].quantile(0.95)
    (lift,) = [each for each in found.lifts if each.metric == "revenue"]
    assert lift.capped.cap == pytest.approx(expected, rel=1e-12)
    means = spent.assign(amount=spent["amount"].clip(upper=expected)).groupby("arm")["amount"].mean()
    assert lift.capped.absolute.value == pytest.approx(means["treatment"] - means["holdout"], rel=1e-9)
    assert lift.decision == "capped"
    assert lift.raw is not None


def test_breakdowns_add_up_to_the_whole(case):
    case.spec = FILES + "analysis: {breakdowns: [tier]}\n"
    case.people["tier"] = ["a", "a", "b", None] * 20
    found = measured(case.write())
    levels = [lift for lift in found.lifts if lift.breakdown == "tier" and lift.metric == "revenue"]
    assert {lift.level for lift in levels} == {"a", "other"}  # b and unknown stand in one arm only
    assert any("fewer than 10 customers" in note for lift in levels for note in lift.notes)
    for arm in ("treatment", "holdout"):
        assert sum(lift.customers[arm] for lift in levels) == found.customers[arm]
        total = sum(lift.means[arm] * lift.customers[arm] for lift in levels if lift.customers[arm])
        assert total == pytest.approx(sums(found)[arm])


def test_customers_whose_covariate_is_unknown_are_kept(case):
    case.spec = FILES.replace("value: amount}", "value: amount, covariates: [age]}")
    case.people["age"] = case.people["age"].astype(float)
    case.people.loc[::3, "age"] = None
    found = measured(case.write())
    (lift,) = [each for each in found.lifts if each.adjusted]
    assert lift.adjusted.covariates == ("age", "age missing")
    assert found.customers == {"holdout": 40, "treatment": 40}


@pytest.mark.parametrize("far", [1e6, 1e9])
def test_a_covariate_far_from_zero_adjusts_as_well_where_it_is_not_known_for_all(case, far):
    case.spec = FILES.replace("value: amount}", "value: amount, covariates: [age]}")
    case.people["age"] = np.where(np.arange(80) % 9 == 0, np.nan, case.people["age"])
    (_, near) = measured(case.write()).lifts
    case.people["age"] += far
    (_, lift) = measured(case.write()).lifts
    assert lift.adjusted.covariates == ("age", "age missing")
    assert lift.adjusted.absolute.value == pytest.approx(near.adjusted.absolute.value, rel=1e-6)
    assert lift.adjusted.absolute.se == pytest.approx(near.adjusted.absolute.se, rel=1e-6)


def test_too_few_converters_are_never_trusted(case):
    rows = [order(f"c{n}", AT + pd.Timedelta(days=1), 5, f"o{n}") for n in range(0, 60, 2)]
    rows.append(order("c1", AT + pd.Timedelta(days=30), None, None, name="Visited"))
    found = measured(only(case, *rows))
    assert {lift.trusted for lift in found.lifts} == {False}
    assert found.verdict.status == "not_readable"
    assert "0 customers in holdout" in found.verdict.text


def test_targeted_customers_are_refused_and_not_reported_as_a_win(case):
    case.spec = FILES.replace("role: primary}", "role: primary, covariates: [age]}")
    case.assignments["arm"] = ["treatment" if age > 39 else "holdout" for age in case.people["age"]]
    found = measured(case.write())
    assert status(found, "balance") == "fail"
    assert found.verdict.status == "not_readable"


def test_unequal_arms_fail_the_sample_ratio(case):
    case.assignments["arm"] = ["treatment"] * 60 + ["holdout"] * 20
    found = measured(case.write())
    assert status(found, "sample_ratio") == "fail"
    assert found.verdict.status == "not_readable"


def test_stale_data_fail(case):
    case.events["timestamp"] = AT + pd.Timedelta(days=2)
    found = measured(case.write())
    assert status(found, "freshness") == "fail"


def test_customers_assigned_because_they_bought_fail(case):
    at = case.assignments.set_index("id")["assigned_at"].copy()
    for buyer in case.events["id"][::2]:
        at[buyer] = AT + pd.Timedelta(days=25)
    case.assignments["assigned_at"] = case.assignments["id"].map(at)
    case.spec = FILES.replace(", entry: rolling", "")
    assert status(measured(case.write()), "assignment_before_outcome") == "fail"


def test_ids_of_another_kind_fail_instead_of_measuring_nothing(case):
    case.spec = FILES.replace("cohort: {source: files, entry: rolling}\n", "")
    case.events["id"] = ["user_" + each for each in case.events["id"]]
    found = measured(case.write())
    assert status(found, "identity_match") == "fail"
    assert found.verdict.status == "not_readable"


def test_a_guardrail_without_any_event_yet_is_noted_and_not_refused(case):
    case.spec = (
        FILES + "  - {name: left, kind: conversion, event: Unsubscribed, role: guardrail, harm: increase}\n"
    )
    found = measured(case.write())
    assert any("no event is named Unsubscribed" in note for note in found.notes)
    assert not next(lift for lift in found.lifts if lift.metric == "left").trusted


def test_other_columns_can_be_values(case):
    case.spec = FILES.replace("value: amount", "value: quantity")
    case.events["quantity"] = 2
    found = measured(case.write())
    assert sum(sums(found).values()) == pytest.approx(2 * len(case.events))


REFUSED = {
    "a missing file": (lambda case: setattr(case, "events", None), "events.parquet: no such file"),
    "a missing column": (
        lambda case: setattr(case, "events", case.events.drop(columns="name")),
        "no column `name`; it has",
    ),
    "no amount to sum": (
        lambda case: setattr(case, "events", case.events.drop(columns="amount")),
        "no column `amount`",
    ),
    "instants without a zone": (
        lambda case: setattr(
            case, "events", case.events.assign(timestamp=case.events["timestamp"].dt.tz_localize(None))
        ),
        "column `timestamp` has no time zone",
    ),
    "two currencies": (
        lambda case: setattr(case, "events", case.events.assign(currency=["USD", "EUR", "EUR"] * 9)),
        "orders are in 2 currencies (18 in EUR, 9 in USD)",
    ),
    "an arm that is none": (
        lambda case: setattr(case, "assignments", case.assignments.replace({"arm": {"holdout": "ctrl"}})),
        "column `arm` holds 'ctrl'",
    ),
    "an assignment without customer": (
        lambda case: setattr(case, "assignments", case.assignments.replace({"id": {"c3": None}})),
        "row 4: `id` is empty",
    ),
    "fractional ids": (
        lambda case: setattr(case, "events", case.events.assign(id=0.5)),
        "column `id` is DOUBLE; identifiers must be text or whole numbers",
    ),
    "an amount that is no number": (
        lambda case: setattr(case, "events", case.events.assign(amount="ten")),
        "column `amount` is text; it must hold numbers",
    ),
    "an amount that is not finite": (
        lambda case: setattr(case, "events", case.events.assign(amount=float("inf"))),
        "row 1: `amount` 'inf' is not finite",
    ),
    "an empty table": (
        lambda case: setattr(case, "events", case.events.iloc[:0]),
        "has a header but no rows",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_file_that_cannot_be_used_is_refused_by_name(case, what):
    spoil, message = REFUSED[what]
    spoil(case)
    with pytest.raises(DataError) as refused:
        measured(case.write())
    assert message in str(refused.value)


def test_csv_rows_are_named(case):
    case.events["timestamp"] = case.events["timestamp"].astype(str)
    case.events.loc[4, "timestamp"] = "2026-01-05 10:00:00"
    with pytest.raises(
        DataError, match=r"events\.csv: row 5: `timestamp` '2026-01-05 10:00:00' has no time zone"
    ):
        measured(case.write(csv=True))
    case.events.loc[4, "timestamp"] = "soon+00:00"
    with pytest.raises(DataError, match=r"row 5: `timestamp` 'soon\+00:00' (has no|is no)"):
        measured(case.write(csv=True))


def test_an_empty_file_and_one_that_is_no_table_are_refused(case):
    path = case.write()
    (case.folder / "events.parquet").write_bytes(b"")
    with pytest.raises(DataError, match="the file is empty"):
        measured(path)
    (case.folder / "events.parquet").write_bytes(b"not a table at all")
    with pytest.raises(DataError, match="cannot be read"):
        measured(path)


def test_a_stated_zone_reads_instants_without_one(case):
    expected = measured(case.write()).lifts
    case.events["timestamp"] = case.events["timestamp"].dt.tz_convert("Europe/Berlin").dt.tz_localize(None)
    case.spec = FILES.replace("events: {source: files}", "events: {source: files, timezone: Europe/Berlin}")
    assert measured(case.write()).lifts == expected


def test_a_bare_day_is_midnight_in_the_stated_zone(case):
    case.spec = FILES.replace(
        "events: {source: files}", "events: {source: files, path: events.csv, timezone: America/New_York}"
    )
    case.assignments["assigned_at"] = "2026-01-10T03:00:00Z"  # the evening of the 9th in New York
    case.events["timestamp"] = "2026-01-10"
    lift = measured(case.write(csv=True)).lifts[0]
    assert lift.converters == {"treatment": 14, "holdout": 13}
    case.spec = case.spec.replace("America/New_York", "Europe/Berlin")  # an hour before midnight UTC
    lift = measured(case.write(csv=True)).lifts[0]
    assert lift.converters == {"treatment": 0, "holdout": 0}


def test_a_metric_on_an_event_that_never_occurs_is_refused_with_the_nearest_name(case):
    case.spec = FILES.replace("event: Order Completed, role", "event: Order Complete, role")
    with pytest.raises(SpecError, match=r"metrics\[0\] .*'Order Complete'; did you mean 'Order Completed'"):
        measured(case.write())


def test_a_covariate_that_is_no_column_is_refused(case):
    case.spec = FILES.replace("value: amount}", "value: amount, covariates: [ltv]}")
    with pytest.raises(
        SpecError, match=r"metrics\[1\]\.covariates \(revenue\): 'ltv' is no column .* there are"
    ):
        measured(case.write())


def test_outcomes_with_two_rows_for_one_customer_are_refused(case):
    pd.DataFrame({"id": ["c1", "c1", "c2"], "spend": [1.0, 2.0, 3.0]}).to_parquet(
        case.folder / "outcomes.parquet"
    )
    case.spec = (
        FILES.split("events:")[0]
        + "outcomes: {source: files}\nmetrics: [{name: spend, kind: mean, column: spend}]\n"
    )
    with pytest.raises(DataError, match=r"'c1' \(2 times\)"):
        measured(case.write())


def test_nobody_assigned_is_said_so(case):
    case.assignments["assigned_at"] = AT + pd.Timedelta(days=300)
    with pytest.raises(NotEnoughData, match="nobody to measure: 80 assignments lie outside"):
        measured(case.write())


def test_an_order_without_a_currency_does_not_hide_that_the_others_are_in_two(case):
    case.events.loc[0, "currency"], case.events.loc[1, "currency"] = "", "EUR"
    with pytest.raises(DataError, match=r"orders are in 2 currencies \(25 in USD, 1 in EUR\)"):
        measured(case.write())


def test_repeated_orders_are_a_share_of_orders_however_much_else_happened(case):
    case.spec = FILES + "  - {name: viewed, kind: conversion, event: Product Viewed}\n"
    again = case.events.assign(event_id="d" + case.events["event_id"])
    views = pd.DataFrame(
        {
            "event_id": [f"v{n}" for n in range(5000)],
            "id": [f"stranger{n}" for n in range(5000)],
            "name": "Product Viewed",
            "timestamp": AT + pd.Timedelta(days=2),
        }
    )
    case.events = pd.concat([case.events, again, views])
    found = measured(case.write())
    (check,) = [each for each in found.checks if each.name == "duplicate_orders"]
    assert (check.status, check.detail[:32]) == ("fail", "27 of 54 order events (50.00%) r")


def test_a_metric_on_a_number_that_none_of_its_events_has_is_refused(case):
    case.events["amount"] = None
    case.events["amount"] = case.events["amount"].astype("float64")
    with pytest.raises(
        SpecError, match=r"metrics\[1\] \(revenue\): none of the 27 events named 'Order Completed'"
    ):
        measured(case.write())
    case.spec = case.spec.replace("value: amount}", "value: amount, role: guardrail, harm: decrease}")
    assert sums(measured(case.write())) == {"treatment": 0.0, "holdout": 0.0}


def test_a_ratio_is_trusted_alike_in_whatever_order_its_rows_stand(case):
    rng = np.random.default_rng(2)
    n = 24_000
    ids = [f"c{at}" for at in range(n)]
    orders = np.where(rng.random(n) < 0.85, 0.0, 1.0 + rng.poisson(2, n))
    frame = pd.DataFrame(
        {"id": ids, "orders": orders, "revenue": orders * 20 + rng.normal(0, 8, n) * np.sqrt(orders)}
    )
    case.spec = FILES.split("events:")[0] + (
        "outcomes: {source: files}\nmetrics:\n"
        "  - {name: per_order, kind: ratio, numerator: {column: revenue}, denominator: {column: orders}}\n"
    )
    case.assignments = pd.DataFrame(
        {"id": ids, "arm": rng.choice(["holdout", "treatment"], n), "assigned_at": AT}
    )
    path = case.write()
    said = []
    for rows in (frame, frame.sort_values("orders"), frame.sort_values("orders", ascending=False)):
        rows.to_parquet(case.folder / "outcomes.parquet")
        (lift,) = measured(path).lifts
        said.append((lift.trusted, lift.notes, round(lift.raw.absolute.low, 9)))
    assert said[0] == said[1] == said[2]
    assert said[0][0]


def test_a_refund_takes_off_its_size_whatever_sign_it_bears_and_one_without_an_amount_is_told(case):
    before = measured(case.write())
    refund = case.events.head(3).assign(
        name="Order Refunded", event_id=["r0", "r1", "r2"], amount=[4.0, -4.0, None]
    )
    case.events = pd.concat([case.events, refund])
    after = measured(case.write())
    assert sum(sums(before).values()) - sum(sums(after).values()) == pytest.approx(8.0)
    assert "1 refunds carry no amount and take nothing off revenue" in after.notes
    case.events.loc[case.events["event_id"] == "r0", "currency"] = "EUR"
    with pytest.raises(DataError, match="2 currencies"):
        measured(case.write())


def test_an_order_sent_again_after_assignment_is_the_one_from_before_it(case):
    case.assignments["assigned_at"] = AT + pd.Timedelta(days=5)
    case.events["timestamp"] = AT + pd.Timedelta(days=6)
    before = sums(measured(case.write()))
    old = [order(f"c{n}", AT - pd.Timedelta(days=20), 50.0, f"old{n}") for n in range(0, 40, 2)]
    again = [order(f"c{n}", AT + pd.Timedelta(days=7), 50.0, f"old{n}") for n in range(0, 40, 2)]
    case.events = pd.concat([case.events, pd.DataFrame(old + again)])
    found = measured(case.write())
    assert sums(found) == pytest.approx(before)
    assert status(found, "duplicate_orders") == "fail"


def test_an_event_of_a_clock_that_runs_wrong_does_not_make_stale_data_fresh(case):
    case.events = pd.concat(
        [case.events, pd.DataFrame([order("x", pd.Timestamp("2099-01-01T00:00:00Z"), 1.0, "z")])]
    )
    found = measured(case.write(), as_of=date(2026, 3, 31))
    assert status(found, "freshness") == "fail"
    assert found.data_through == AT + pd.Timedelta(days=20)


def test_of_two_rows_that_are_one_order_the_same_counts_in_whatever_order_they_stand(case):
    rows = [
        order(f"c{n}", AT + pd.Timedelta(days=3), 10.0 + n % 7 * at, f"o{n}")
        for n in range(40)
        for at in (1, 2)
    ]
    for row in rows:
        row["event_id"] = None
    one, other = sums(measured(only(case, *rows))), sums(measured(only(case, *reversed(rows))))
    assert one == pytest.approx(other, abs=1e-9)


@pytest.mark.parametrize("looks", ["fixed", "weekly"])
def test_a_cap_waits_until_enough_have_bought_and_all_else_is_measured(case, looks):
    """Of 80 customers 27 buy in the end; above the quantile 0.75 stand 20."""
    case.spec = (
        FILES.replace("value: amount}", "value: amount, cap: 0.75}") + f"analysis: {{looks: {looks}}}\n"
    )
    path = case.write()
    early, late = measured(path, date(2026, 1, 13)), measured(path)
    rate, revenue = early.lifts
    assert revenue.capped is None
    assert not revenue.trusted
    assert revenue.notes[-1] == (
        "capped at the quantile 0.75 it needs 20 of 80 customers above zero, and 19 are; "
        "it becomes readable as customers buy"
    )
    assert rate.raw.absolute.se > 0
    assert len(early.checks) == len(late.checks)
    assert {metric for metric, _ in early.schedule.traces} == (
        {"purchase_rate"} if looks == "weekly" else set()
    )
    assert late.lifts[1].decision == "capped"
    assert late.lifts[1].capped.cap > 0


def test_a_primary_metric_whose_cap_waits_says_so_in_the_verdict(case):
    case.spec = FILES.replace(", role: primary", "").replace(
        "value: amount", "value: amount, cap: 0.75, role: primary"
    )
    found = measured(case.write(), date(2026, 1, 7))
    assert found.verdict.status == "not_readable"
    assert found.verdict.text.startswith(
        "No lift can be read yet: capped at the quantile 0.75 it needs 20 of 80"
    )


OUTCOMES = """\
key: ready
start: 2026-01-01
end: 2026-02-01
arms: {holdout: 0.5, treatment: 0.5}
control: holdout
assignment: {source: files}
outcomes: {source: files}
metrics:
  - {name: profit, kind: mean, column: profit, cap: CAP}
"""


@pytest.mark.parametrize("cap", [0.6, 0.9, 0.98])
@pytest.mark.parametrize("silent", [0, 4])
def test_a_cap_is_the_quantile_of_all_customers_and_none_where_it_is_not_above_zero(case, cap, silent):
    """Of 80 customers 12 bring a profit, the silent ones nothing, and all others a loss."""
    profit = np.r_[np.arange(1.0, 13.0), -np.arange(5.0, 73.0)]
    case.spec = OUTCOMES.replace("CAP", str(cap))
    profit[20 : 20 + silent] = 0.0
    rows = pd.DataFrame({"id": case.people["id"], "profit": profit})
    path = case.write()
    rows[rows["profit"] != 0].to_parquet(path.parent / "outcomes.parquet")
    (lift,) = measured(path).lifts
    quantile = np.quantile(profit, cap)
    if quantile > 0:
        assert lift.capped.cap == pytest.approx(quantile)
        assert lift.capped.capped_customers == (profit > quantile).sum()
    else:
        assert lift.capped is None
        assert "of 80 customers above zero, and 12 are" in lift.notes[-1]


@pytest.mark.parametrize("loss", [-1.0, -0.1])
def test_a_cap_between_a_loss_and_a_profit_is_the_quantile_between_them(case, loss):
    profit = np.r_[np.arange(1.0, 13.0), np.full(68, loss)]
    quantile = np.quantile(profit, 0.85)
    case.spec = OUTCOMES.replace("CAP", "0.85")
    path = case.write()
    pd.DataFrame({"id": case.people["id"], "profit": profit}).to_parquet(path.parent / "outcomes.parquet")
    (lift,) = measured(path).lifts
    assert (lift.capped and lift.capped.cap) == (pytest.approx(quantile) if quantile > 0 else None)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("yesterday", "is no instant"),
        ("09/06/2026", "is no instant"),
        ("1788602400", "is no instant"),
        ("2026-01-03 10:00", "has no time zone"),
    ],
)
def test_what_is_no_instant_is_told_from_what_has_no_time_zone(case, value, said):
    case.assignments["assigned_at"] = ["2026-01-01T00:00:00Z"] * 79 + [value]
    with pytest.raises(DataError, match=f"row 80: `assigned_at` '{value}' {said}"):
        measured(case.write(csv=True))


@pytest.mark.parametrize("before", [2, 60_000])
@pytest.mark.parametrize("name", ["people", "assignments", "events"])
def test_a_row_with_a_field_too_many_is_named(case, name, before):
    case.spec = FILES.replace("revenue, kind: mean,", "revenue, kind: mean, covariates: [age],")
    path = case.write(csv=True)
    file = path.parent / f"{name}.csv"
    header, row, *rest = file.read_text().splitlines(keepends=True)
    file.write_text("".join([header, *[row] * before, "x," + row, *rest]))
    with pytest.raises(DataError, match=rf"{name}\.csv: row {before + 1} has (\d) fields, and the header"):
        measured(path)


def test_a_compressed_file_that_is_cut_short_or_none_at_all_is_named(case):
    path = case.write(csv=True)
    text = FILES.replace("events: {source: files}", "events: {source: files, path: events.csv.gz}")
    path.write_text(
        text.replace("assignment: {source: files}", "assignment: {source: files, path: assignments.csv}")
    )
    whole = gzip.compress((path.parent / "events.csv").read_bytes())
    (path.parent / "events.csv.gz").write_bytes(whole)
    assert measured(path).lifts
    for damaged in (whole[: len(whole) // 2], b"nothing of the kind"):
        (path.parent / "events.csv.gz").write_bytes(damaged)
        with pytest.raises(DataError, match=r"events\.csv\.gz: cannot be read: "):
            measured(path)


CONVERTED = FILES.split("cohort:")[0] + (
    "arms: {holdout: 0.5, treatment: 0.5}\ncontrol: holdout\nassignment: {source: files, path: one.parquet}\n"
    "outcomes: {source: files, path: OUTCOMES}\nmetrics: [{name: bought, kind: conversion, column: bought}]\n"
)


@pytest.mark.parametrize("path", ["one.parquet", "beside.parquet", "beside.csv"])
@pytest.mark.parametrize("value", [-1.0, 0.3])
def test_a_conversions_column_says_how_often_it_was_done(case, path, value):
    case.people = case.assignments.assign(bought=[1.0, 0.0] * 40)

    def write():
        case.people.to_parquet(case.folder / "one.parquet")
        case.people.to_parquet(case.folder / "beside.parquet")
        case.people.to_csv(case.folder / "beside.csv", index=False)
        (case.folder / "experiment.yml").write_text(CONVERTED.replace("OUTCOMES", path))
        return case.folder / "experiment.yml"

    (lift,) = measured(write()).lifts
    assert (lift.means["treatment"], lift.means["holdout"]) == (1.0, 0.0)
    case.people.loc[8, "bought"] = 3.0
    (lift,) = measured(write()).lifts
    assert (lift.means["treatment"], lift.means["holdout"]) == (1.0, 0.0)
    case.people.loc[6, "bought"] = value
    with pytest.raises(DataError, match=rf"{path}: row 7: `bought` '{value}' is neither 0 nor at least 1"):
        measured(write())


@pytest.mark.parametrize("csv", [True, False])
def test_a_file_whose_name_could_be_a_pattern_is_itself(case, csv):
    whole = measured(case.write(csv=csv))
    ending = "csv" if csv else "parquet"
    path = case.write(csv=csv)
    (path.parent / f"events.{ending}").rename(path.parent / f"events[1].{ending}")
    case.events = case.events.iloc[:3]
    case.write(csv=csv)
    (path.parent / f"events.{ending}").rename(path.parent / f"events1.{ending}")
    text = FILES.replace("events: {source: files}", f"events: {{source: files, path: 'events[1].{ending}'}}")
    if csv:
        text = text.replace(
            "assignment: {source: files}", "assignment: {source: files, path: assignments.csv}"
        )
    path.write_text(text)
    assert measured(path).lifts == whole.lifts


def in_two_files(case, first, second):
    """Write the events in two files below the folder `kept`, which a pattern or a folder's name may stand for."""
    path, half = case.write(), len(case.events) // 2
    for name, rows in ((first, case.events.iloc[:half]), (second, case.events.iloc[half:])):
        file = path.parent / "kept" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        rows.to_parquet(file)
    (path.parent / "events.parquet").unlink()
    return path


@pytest.mark.parametrize("second", ["2.parquet", "2026/2.parquet", "2026/01/2.parquet"])
def test_a_pattern_with_two_stars_finds_files_at_every_depth(case, second):
    whole = measured(case.write())
    path = in_two_files(case, "1.parquet", second)
    path.write_text(
        FILES.replace("events: {source: files}", "events: {source: files, path: 'kept/**/*.parquet'}")
    )
    assert measured(path).lifts == whole.lifts


@pytest.mark.parametrize("name", ["2026/2.parquet", "day=2/2.parquet", "2.pq"])
def test_a_folder_that_holds_more_than_is_read_of_it_is_refused(case, name):
    path = in_two_files(case, "1.parquet", name)
    path.write_text(FILES.replace("events: {source: files}", "events: {source: files, path: kept}"))
    with pytest.raises(DataError, match=rf"kept: of a folder .* not {name}; name the files by a pattern"):
        measured(path)


@pytest.mark.parametrize("name", ["_started/2.parquet", ".hidden/2.parquet", "_SUCCESS.csv"])
def test_what_begins_with_a_dot_or_an_underscore_in_a_folder_is_no_data(case, name):
    whole = measured(case.write())
    path = in_two_files(case, name, "2.parquet")
    (path.parent / "kept" / "2.parquet").unlink()
    case.events.to_parquet(path.parent / "kept" / "1.parquet")
    path.write_text(FILES.replace("events: {source: files}", "events: {source: files, path: kept}"))
    assert measured(path).lifts == whole.lifts


def test_a_delta_table_is_not_read_as_a_folder_of_files(case):
    path = case.write()
    kept = path.parent / "kept"
    write_deltalake(kept, pa.table({"id": ["c1"], "name": ["Order Completed"]}))
    path.write_text(FILES.replace("events: {source: files}", "events: {source: files, path: kept}"))
    with pytest.raises(DataError, match="kept: is a Delta table, whose folder keeps rows that were removed"):
        measured(path)


def test_a_look_back_knows_no_refund_that_another_customer_brings_after_the_assignment(case):
    case.spec = FILES.replace("value: amount}", "value: amount, covariates: [{lookback: 20d}]}")
    case.assignments.loc[1::2, "assigned_at"] = AT + pd.Timedelta(days=9)
    before = [order(f"c{n}", AT - pd.Timedelta(days=2), 5.0 + n % 7, f"b{n}") for n in range(80)]
    case.events = pd.concat([case.events, pd.DataFrame(before)], ignore_index=True)
    (_, without) = measured(case.write()).lifts
    back = order("c1", AT + pd.Timedelta(days=3), 9.0, "b4", name="Order Refunded")
    case.events = pd.concat([case.events, pd.DataFrame([back])], ignore_index=True)
    (_, lift) = measured(case.write()).lifts
    assert lift.adjusted == without.adjusted
