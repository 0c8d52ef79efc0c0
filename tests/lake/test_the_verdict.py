"""What is decided: by guardrails that can be judged and by those that cannot."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from tests.lake.two_arms import two_arms
from toolkit.lake.tables import Lake
from toolkit.settings import Settings
from toolkit.steps.measure import measure
from toolkit.steps.workspace import Spec, Workspace


def first(of, n):
    """Return `n` numbers, the first `of` of them 1 and the others 0."""
    return (np.arange(n) < of).astype(int)


UNSUBSCRIBED = (
    "name: unsubscribed, kind: conversion, column: unsub, role: guardrail, harm: increase, margin: 0.03"
)
COMPLAINED = (
    "name: complained, kind: conversion, column: comp, role: guardrail, harm: increase, margin: 0.002"
)
BOUGHT = "name: bought, kind: conversion, column: buy, role: primary"


def guarded(folder, *metrics, complaints=(0, 40)):
    return two_arms(
        folder,
        *metrics,
        unsub=np.r_[first(200, 2000), first(200, 2000)],
        comp=np.r_[first(complaints[0], 2000), first(complaints[1], 2000)],
        buy=np.r_[first(200, 2000), first(300, 2000)],
    )


@pytest.mark.parametrize(
    ("complaints", "why"),
    [
        ((0, 40), "It rose from 0 of 2,000 customers in holdout to 40 of 2,000 in treatment: look at it"),
        ((0, 0), "treatment harmed complained cannot be judged: rests on 0 customers"),
        ((40, 41), "Harm to complained by treatment is not ruled out (−0.82 to +0.92 points)"),
    ],
)
def test_no_harm_needs_every_guardrail_judged_and_safe(tmp_path, complaints, why):
    assert guarded(tmp_path, UNSUBSCRIBED).verdict.status == "no_harm"
    verdict = guarded(tmp_path, UNSUBSCRIBED, COMPLAINED, complaints=complaints).verdict
    assert verdict.status == "inconclusive"
    assert why in verdict.text


def test_a_primary_metric_that_cannot_be_read_is_the_subject_of_its_reason(tmp_path):
    bought = COMPLAINED.partition(", role")[0] + ", role: primary"
    verdict = guarded(tmp_path, bought, complaints=(0, 3)).verdict
    assert verdict.text.startswith(
        "No lift can be read yet: complained rests on 3 customers in treatment and 0"
    )


def test_an_increment_is_none_beside_a_guardrail_that_looks_harmed(tmp_path):
    verdict = guarded(tmp_path, BOUGHT, UNSUBSCRIBED, COMPLAINED).verdict
    assert verdict.status == "inconclusive"
    assert verdict.text.startswith("Treatment raised bought by 5.00 points")
    assert verdict.text.endswith(
        "It rose from 0 of 2,000 customers in holdout to 40 of 2,000 in treatment: "
        "look at it before anything is rolled out."
    )


def test_an_increment_names_the_guardrail_that_cannot_be_judged(tmp_path):
    verdict = guarded(tmp_path, BOUGHT, UNSUBSCRIBED, COMPLAINED, complaints=(0, 1)).verdict
    assert verdict.status == "incremental"
    assert "Whether treatment harmed complained cannot be judged: rests on 1 customer" in verdict.text
    assert "rolled out" not in verdict.text


def test_a_guardrail_of_one_number_in_each_arm_looks_harmed_where_it_rose(tmp_path):
    verdict = guarded(tmp_path, BOUGHT, COMPLAINED, complaints=(0, 2000)).verdict
    assert verdict.status == "inconclusive"
    assert "from 0 of 2,000 customers in holdout to 2,000 of 2,000 in treatment" in verdict.text


def test_how_far_something_moved_is_said_without_a_sign(tmp_path):
    numbers = 1.0 + np.arange(400) % 5
    metric = "name: y, kind: mean, column: y, role: primary"
    text = two_arms(tmp_path, metric, y=np.r_[numbers[:200] + 7, numbers[200:]]).verdict.text
    assert text == "Treatment lowered y by 7.00 (95% interval −7.28 to −6.72)."
    text = two_arms(tmp_path, metric, y=numbers).verdict.text
    assert text.endswith("; the smallest effect it would find is 0.40).")


TENTH, LAST = date(2026, 1, 10), date(2026, 2, 28)
ONE_LOOK = """\
key: one-look
start: 2026-01-01
end: 2026-03-01
cohort: {source: files, entry: ENTRY, path: assignments.parquet}
arms: {holdout: 0.5, treatment: 0.5}
control: holdout
assignment: {source: files}
events: {source: files}
metrics:
  - {name: bought, kind: conversion, event: Order Completed, role: primary WINDOW}
"""


@pytest.mark.parametrize(
    ("entry", "window", "grows"),
    [
        ("rolling", "", True),
        ("rolling", ", window: 3d", True),
        ("snapshot", "", True),
        ("snapshot", ", window: 3d", False),
    ],
)
def test_where_one_look_is_planned_a_decision_while_the_numbers_still_grow_says_what_that_is_worth(
    tmp_path, entry, window, grows
):
    start = pd.Timestamp("2026-01-02", tz="UTC")
    ids = [f"c{n}" for n in range(800)]
    arms = np.repeat(["holdout", "treatment"], 400)
    pd.DataFrame({"id": ids, "arm": arms, "assigned_at": start}).to_parquet(tmp_path / "assignments.parquet")
    buyers = pd.DataFrame({"id": ids[:40] + ids[400:520], "name": "Order Completed", "timestamp": start})
    later = {"id": "c1", "name": "Visited", "timestamp": start + pd.to_timedelta([8, 58], unit="D")}
    pd.concat([buyers, pd.DataFrame(later)]).to_parquet(tmp_path / "events.parquet")
    path, home = tmp_path / "one-look.yml", str(tmp_path / "lake")
    path.write_text(ONE_LOOK.replace("ENTRY", entry).replace(" WINDOW", window))
    workspace = Workspace(Settings(lift_home=home), Lake(home))
    said = [measure(workspace, Spec.read(path), as_of=on).verdict for on in (TENTH, LAST)]
    assert [each.status for each in said] == ["incremental", "incremental"]
    warned = ["One look is planned, and enrolment ends on 2026-03-01" in each.text for each in said]
    assert [bool(each.caution) for each in said] == warned
    assert warned == [grows, False]
