"""What late orders and refunds change of weeks that were read already."""

from __future__ import annotations

from datetime import date

import pandas as pd
import pytest

from tests.example import FILES, OnFiles
from toolkit.lake.tables import Lake
from toolkit.readout import Readout
from toolkit.settings import Settings
from toolkit.steps.readout import keep, record
from toolkit.steps.workspace import Spec, Workspace

WEEKLY = FILES + "analysis: {looks: weekly}\n"


@pytest.fixture
def case(tmp_path):
    """Return an experiment with enough orders to be trusted from its second week on."""
    made = OnFiles(tmp_path, WEEKLY)
    for customer in range(32, 77, 3):
        late(made, f"c{customer}", "2026-01-08", 25.0)
    return made


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


def test_a_number_that_was_withheld_is_not_said_to_have_been_said(case):
    before = read(case, date(2026, 1, 7))
    assert not any(lift["trusted"] for lift in before["lifts"])
    late(case, "c2", "2026-01-05", 50.0)
    found = read(case, date(2026, 1, 21))
    assert all(lift["trusted"] for lift in found["lifts"])
    assert found["restatements"] == []


def test_a_number_that_is_not_to_be_trusted_any_more_is_not_shown(case):
    read(case, date(2026, 1, 14))
    late(case, "c2", "2026-01-09", 500.0)
    found = read(case, date(2026, 1, 21))
    (revenue,) = [each for each in found["restatements"] if each["metric"] == "revenue"]
    assert not revenue["trusted"]
    shown = str(Readout(found).restatements().html).split("Revenue")[1].split("</tr>")[0]
    assert f"{abs(revenue['from']):.1%}" in shown
    assert f"{abs(revenue['to']):.1%}" not in shown
    assert "not to be trusted" in shown


def test_a_number_of_a_page_that_could_not_be_read_is_not_said_to_have_been_said(case):
    home = str(case.folder / "lake")
    workspace = Workspace(Settings(lift_home=home), Lake(home))
    spec = Spec.read(case.write())
    before = record(workspace, spec, as_of=date(2026, 1, 14))
    before["checks"][0]["status"] = "fail"
    keep(workspace, before)
    late(case, "c2", "2026-01-09", 500.0)
    assert read(case, date(2026, 1, 21))["restatements"] == []


def test_where_adjusted_numbers_decided_a_restatement_says_so(case):
    case.spec = case.spec.replace("value: amount}", "value: amount, covariates: [age]}")
    for name in ("people", "assignments"):  # as many again: few customers are not adjusted
        rows = getattr(case, name)
        setattr(case, name, pd.concat([rows, rows.assign(id="d" + rows["id"])], ignore_index=True))
    before = read(case, date(2026, 1, 14))
    late(case, "c2", "2026-01-09", 500.0)
    found = read(case, date(2026, 1, 21))
    blocks = {each["metric"]: each["block"] for each in found["restatements"]}
    assert blocks["revenue"] == next(
        each["decision"] for each in before["lifts"] if each["metric"] == "revenue"
    )
    assert blocks["revenue"] == "adjusted"
    shown = str(Readout(found).restatements().html)
    assert "that page decided by adjusted" in shown
    assert "as measured" in shown


def test_where_the_control_is_no_base_a_restatement_is_in_the_metrics_unit(case):
    case.spec = case.spec.replace("value: amount", "value: margin")
    case.events["margin"] = -case.events["amount"]
    read(case, date(2026, 1, 14))
    late(case, "c2", "2026-01-09", 10.0)
    case.events.loc[case.events.index[-1], "margin"] = -40.0
    found = read(case, date(2026, 1, 21))
    (margin,) = [each for each in found["restatements"] if each["metric"] == "revenue"]
    assert margin["in"] == "absolute"
    assert margin["to"] - margin["from"] == pytest.approx(-40 / 40)
    said = Readout(found).restatements().html
    assert "%" not in said.split("Revenue")[1].split("</tr>")[0]
