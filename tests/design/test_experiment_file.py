from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.example import EXAMPLE
from toolkit.design.metrics import Conversion, Mean, Ratio, Term
from toolkit.design.parse import parse_experiment
from toolkit.errors import SpecError


def parsed(text: str = EXAMPLE):
    return parse_experiment(text, "experiments/x.yml")


def test_the_documented_file_is_read_whole():
    experiment = parsed()
    purchase, revenue, aov, unsubscribed = experiment.metrics
    assert isinstance(purchase, Conversion)
    assert isinstance(revenue, Mean)
    assert isinstance(aov, Ratio)
    assert purchase.window == timedelta(days=14)
    assert revenue.covariate_names == ("lookback_60d", "ltv_90d")
    assert aov.terms == (Term("sum", "Order Completed", "amount"), Term("count", "Order Completed"))
    assert (unsubscribed.harm, unsubscribed.margin) == ("increase", 0.002)
    assert experiment.prefix == "61"
    assert experiment.treatments == ("free_shipping",)
    assert experiment.segments == (
        "lift-cart-free-shipping-holdout",
        "lift-always-on-2026h2-holdout",
        "lift-free-shipping-eligible",
    )


def test_dates_are_midnights_in_the_experiments_time_zone():
    experiment = parsed(EXAMPLE.replace("timezone: UTC", "timezone: America/New_York"))
    assert experiment.starts_at == datetime(2026, 10, 5, 4, tzinfo=UTC)
    assert experiment.end_of(experiment.start) == datetime(2026, 10, 6, 4, tzinfo=UTC)
    # the clocks go back on the first of November: that day has 25 hours
    day = datetime(2026, 11, 1).date()  # noqa: DTZ001
    assert experiment.end_of(day) - experiment.midnight(day) == timedelta(hours=25)


def test_without_a_seed_the_key_is_the_prefix():
    assert parsed(EXAMPLE.replace("seed: 61\n", "")).prefix == "cart-free-shipping"


WRONG = {
    "shares that do not sum to one": (
        "free_shipping: 0.90",
        "free_shipping: 0.85",
        "x.yml:16: arms: shares sum to 0.95; they must sum to 1",
    ),
    "a control that is no arm": (
        "control: holdout",
        "control: hold_out",
        "x.yml:17: control: 'hold_out' is no arm; the arms are holdout, free_shipping",
    ),
    "an unknown key": ("window: 14d, role: primary", "windw: 14d, role: primary", "did you mean `window`?"),
    "an unknown key at the top": ("owners:", "ownrs:", "x.yml:4: ownrs: unknown key; did you mean `owners`?"),
    "a kind that is none": ("kind: mean", "kind: median", "kind 'median' is not known; use 'conversion'"),
    "a metric on nothing": ("event: Unsubscribed, ", "", "metrics[3]: measures nothing; name an `event`"),
    "a guardrail without a direction": ("harm: increase, ", "", "a guardrail needs `harm: increase`"),
    "an end before the start": ("end: 2026-12-28", "end: 2026-09-28", "end: 2026-09-28 is before start"),
    "an unknown time zone": ("timezone: UTC", "timezone: Mars", "'Mars' is no time zone"),
    "a duration without unit": ("window: 14d", "window: 14", "14 is no duration"),
    "a trait that reaches the control": (
        "arms: [free_shipping]",
        "arms: [holdout]",
        "'holdout' is the control",
    ),
    "a trait that is on by default": ("default: false", "default: true", "`default` must be false"),
    "a share of more than everyone": ("share: 0.02", "share: 2", "2 must be less than 1"),
    "a segment and a filter": (
        "segment: 7",
        "segment: 7\n  filter: {a: b}",
        "needs `filter` or `segment`, and only one",
    ),
    "a column without outcomes": ("event: Unsubscribed", "column: left", "`column` needs `outcomes:`"),
    "an empty key": ("key: cart-free-shipping", "key: ''", "x.yml:1: key:"),
    "a key written twice": ("seed: 61", "seed: 61\nseed: 62", "x.yml:9: seed: is written twice; keep one"),
    "a file that is no YAML": ("metrics:", "metrics: ]", "this is not YAML"),
    "a date with a time": ("start: 2026-10-05", "start: 2026-10-05 12:00:00", "is a date, without a time"),
    "a date that is in no calendar": (
        "end: 2026-12-28",
        "end: 2026-02-30",
        "x.yml:6: end: 2026-02-30 cannot be read (day is out of range for month); write a day that is in the calendar",
    ),
    "a date in another form": (
        "start: 2026-10-05",
        "start: 05.10.2026",
        "x.yml:5: start: '05.10.2026' is no date; write it as 2026-09-28",
    ),
    "a date that is a number": (
        "start: 2026-10-05",
        "start: 20261005",
        "start: 20261005 is no date; write it as",
    ),
    "a key that is a list": ("seed: 61", "? [seed]\n: 61", "x.yml:8: this is not YAML: found unhashable key"),
    "two metrics of one name": ("name: aov", "name: revenue", "two are named 'revenue'"),
    "covariates named twice": ("[{lookback: 60d}, ltv_90d]", "[ltv_90d, ltv_90d]", "name one thing twice"),
    "a covariate that is the outcome": (
        "kind: conversion, event: Unsubscribed, role",
        "kind: conversion, column: left, covariates: [left], role",
        "x.yml:27: metrics[3]: `covariates` names `left`, which is what the metric measures; name a column",
    ),
    "an end that never comes": (
        "end: 2026-12-28",
        "end: 9999-12-31",
        ": end: 9999-12-31 lies outside",
    ),
    "a start before there were clocks": ("start: 2026-10-05", "start: 1066-10-14", "start: 1066-10-14 lies"),
    "a window beyond all time": ("window: 14d", "window: 99999999d", "'99999999d' is longer than 10 years"),
    "a window beyond all numbers": ("window: 14d", "window: 9999999999999w", "is longer than 10 years"),
    "a cost without end": ("offer_cost: 6.0", "offer_cost: .inf", "value.offer_cost: inf is not finite"),
    "a margin that is no number": ("margin: 0.002", "margin: .nan", "margin: nan is not finite"),
    "a seed that is no number": ("seed: 61", "seed: true", "seed: true is no number"),
    "a kind of context that is several": (
        "context_kind: user",
        "context_kind: multi",
        "'multi' is no kind of context",
    ),
    "a kind of context without a name": (
        "context_kind: user",
        "context_kind: ''",
        "identity.context_kind: ''",
    ),
    "an arm that nobody would be in": (
        "{holdout: 0.10, free_shipping: 0.90}",
        "{holdout: 0.000001, free_shipping: 0.999999}",
        "holdout: 1e-06 is none of LaunchDarkly's 100,000 parts",
    ),
    "a universal holdout of the experiment's own key": (
        "key: always-on-2026h2",
        "key: cart-free-shipping",
        "its key is the experiment's own",
    ),
    "a conversion with a value": (
        "kind: conversion, event: Order Completed",
        "kind: conversion, value: amount, event: Order Completed",
        "metrics[0].value: belongs to `kind: mean`",
    ),
    "a cap that cuts nothing": ("cap: 0.999", "cap: 3", "metrics[1].cap: 3 must be less than 1"),
    "an arm whose name is none to YAML": (
        "{holdout: 0.10, free_shipping: 0.90}",
        "{no: 0.10, free_shipping: 0.90}",
        ": arms: False is no name, though it may look like one; put quotes around it",
    ),
    "a path that goes nowhere": (
        "assignment: {source: hash}",
        "assignment: {source: hash, path: a}",
        "`path` goes with",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_file_is_refused_with_place_and_mend(what):
    before, after, message = WRONG[what]
    assert before in EXAMPLE
    with pytest.raises(SpecError) as refused:
        parsed(EXAMPLE.replace(before, after, 1))
    assert message in str(refused.value)
    assert str(refused.value).startswith("experiments/x.yml")


def test_every_problem_is_told_at_once():
    text = EXAMPLE.replace("control: holdout", "control: nobody").replace(
        "end: 2026-12-28", "end: 2026-01-01"
    )
    with pytest.raises(SpecError) as refused:
        parsed(text)
    assert len(str(refused.value).splitlines()) == 2


@pytest.mark.parametrize(
    "metric",
    [
        "{name: m, kind: conversion, event: E, cap: 0.9}",
        "{name: m, kind: mean, event: E, value: v, cap: 3}",
        "{name: m, kind: mean, event: E, value: v, covariates: [{lookback: 0d}]}",
    ],
)
def test_of_one_wrong_metric_one_thing_is_said(metric):
    with pytest.raises(SpecError) as refused:
        parsed(EXAMPLE.split("metrics:")[0] + f"metrics:\n  - {metric}\n")
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["", "# only a comment\n", "- a\n- b\n", "just words"])
def test_a_file_that_is_no_mapping_is_refused(text):
    with pytest.raises(SpecError, match=r"experiments/x\.yml"):
        parsed(text)


def test_an_enum_trait_has_a_segment_per_value_and_escalates():
    text = EXAMPLE.replace(
        "  - {name: free_shipping_eligible, type: boolean, arms: [free_shipping], default: false,",
        "  - {name: offer, type: enum, values: {free_shipping: free_shipping}, default: none,\n"
        "     escalate: {arms: [free_shipping], to: ten_percent, after: 14d},",
    )
    (trait,) = parsed(text).traits
    assert trait.segments() == ("lift-offer-free-shipping", "lift-offer-ten-percent")
    assert trait.segment_of("free_shipping") == "lift-offer-free-shipping"
    assert trait.segment_of("free_shipping", escalated=True) == "lift-offer-ten-percent"
    assert trait.segment_of("holdout") is None
