"""What late orders and refunds change of weeks that were read already."""

from __future__ import annotations

from datetime import date

import pandas as pd
import pytest

from tests.example import FILES, OnFiles
from toolkit.lake.tables import Lake
from toolkit.settings import Settings
from toolkit.steps.readout import keep, record
from toolkit.steps.workspace import Spec, Workspace

WEEKLY = FILES + "analysis: {looks: weekly}\n"


@pytest.fixture
def case(tmp_path):
    return OnFiles(tmp_path, WEEKLY)


def read(case, as_of):
    path = case.write()
    home = str(path.parent / "lake")
    workspace = Workspace(Settings(lift_home=home), Lake(home))
    found = record(workspace, Spec.read(path), as_of=as_of)
    keep(workspace, found)
    return found


def late(case, customer, at, amount):
    row = case.events.iloc[0].to_dict() | {
        "event_id": f"late-{customer}",
        "order_id": f"late-{customer}",
        "id": customer,
        "timestamp": pd.Timestamp(at, tz="UTC"),
        "amount": amount,
    }
    case.events = pd.concat([case.events, pd.DataFrame([row])], ignore_index=True)


def test_a_week_of_which_nothing_new_was_learnt_is_not_restated(case):
    read(case, date(2026, 1, 14))
    assert read(case, date(2026, 1, 21))["restatements"] == []


def test_a_late_order_restates_the_week_it_belongs_to_and_says_from_what_to_what(case):
    before = read(case, date(2026, 1, 14))
    late(case, "c2", "2026-01-09", 500.0)
    found = read(case, date(2026, 1, 21))
    (revenue,) = [each for each in found["restatements"] if each["metric"] == "revenue"]
    assert revenue["as_of"] == "2026-01-14"
    lift = next(each for each in before["lifts"] if each["metric"] == "revenue")
    assert revenue["from"] == pytest.approx(lift["raw"]["relative"]["value"])
    held = lift["means"]["control"]
    assert revenue["to"] == pytest.approx((lift["raw"]["absolute"]["value"] + 500 / 40) / held)
    assert revenue["text"].startswith("restated from ")


def test_an_order_of_the_new_week_restates_nothing(case):
    read(case, date(2026, 1, 14))
    late(case, "c2", "2026-01-18", 500.0)
    assert read(case, date(2026, 1, 21))["restatements"] == []
