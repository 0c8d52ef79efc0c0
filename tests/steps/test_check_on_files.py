"""What `lift check` finds in the files that an experiment names, and in the ledger."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.end_to_end.conftest import Lift
from tests.example import FILES, OnFiles
from toolkit.errors import LedgerError, NotEnoughData
from toolkit.lake.tables import Lake
from toolkit.settings import Settings
from toolkit.steps.assign import assign
from toolkit.steps.check import check
from toolkit.steps.lookup import lookup
from toolkit.steps.measure import measure
from toolkit.steps.readout import readout
from toolkit.steps.workspace import Spec, Workspace

HASHED = FILES.replace("assignment: {source: files}\n", "")
OUTCOMES = FILES.split("events:")[0] + (
    "outcomes: {source: files}\nmetrics: [{name: spend, kind: mean, column: spend, covariates: [age]}]\n"
)
BEFORE, DURING = "2025-12-31T12:00:00Z", "2026-01-15T12:00:00Z"


@pytest.fixture
def case(tmp_path):
    return OnFiles(tmp_path)


def workspace_of(case, now):
    home = str(case.folder / "lake")
    return Workspace(Settings(lift_home=home, lift_now=now, lift_reports=case.folder / "reports"), Lake(home))


def checked(case, now=DURING):
    return check(workspace_of(case, now), Spec.read(case.write()))


@pytest.mark.parametrize(
    ("field", "name"), [("cohort", "people"), ("assignment", "assignments"), ("events", "events")]
)
def test_a_file_that_is_not_there_is_told_and_fails_nothing(case, field, name):
    setattr(case, name, None)
    said = f"{field}: {case.folder}/{name}.parquet is not there"
    for now in (BEFORE, DURING):
        found = checked(case, now)
        assert found.failures == ()
        assert [each.endswith(said) for each in found.to_come] == [True]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("revenue, kind: mean,", "revenue, kind: mean, covariates: [nope],", "no column 'nope'"),
        ("metrics:", "analysis: {breakdowns: [nope]}\nmetrics:", "no column 'nope'"),
        ("revenue, kind: mean,", "revenue, kind: mean, covariates: [tier],", "`tier` is text"),
        ("value: amount", "value: amonut", "no column `amonut`"),
        ("arms: {holdout: 0.5, treatment", "arms: {holdout: 0.5, treated", "holds 'treatment'"),
    ],
)
def test_what_a_file_does_not_have_fails(case, before, after, said):
    assert checked(case).failures == ()
    case.spec = FILES.replace(before, after)
    for now in (BEFORE, DURING):
        assert any(said in each for each in checked(case, now).failures)


def test_outcomes_without_a_metrics_column_fail(case):
    case.spec = OUTCOMES
    case.people.assign(spent=1.0).to_parquet(case.folder / "outcomes.parquet")
    (failure,) = checked(case).failures
    assert "'spend' is no column" in failure


def test_once_enrolment_is_over_with_nobody_assigned_every_command_says_how_to_go_on(case):
    case.spec, later = HASHED, "2027-01-15T12:00:00Z"
    mend = "`assignment: {source: files, path: …}`"
    workspace, spec = workspace_of(case, later), Spec.read(case.write())
    assert any(mend in each for each in check(workspace, spec).warnings)
    assert mend in assign(workspace, spec).skipped
    with pytest.raises(NotEnoughData, match="until enrolment ends on") as told:
        measure(workspace, spec)
    assert mend in str(told.value)
    assign(workspace_of(case, DURING), spec)
    assert not any(mend in each for each in check(workspace, spec).warnings)
    assert mend not in assign(workspace, spec).skipped


def test_an_event_that_nobody_has_fails_once_enrolment_has_begun(case):
    case.spec = FILES.replace("conversion, event: Order Completed", "conversion, event: Order Complete")
    (unseen,) = checked(case, BEFORE).to_come
    assert "did you mean 'Order Completed'?" in unseen
    assert checked(case).failures == (unseen,)


def test_the_command_ends_with_status_two_and_says_what_failed(case):
    case.events = case.events.drop(columns="amount")
    said = Lift(case.folder)("check", case.write(), expect=2).stdout
    assert f"failed: {case.folder}/events.parquet: no column `amount`" in said


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("arms: {holdout: 0.5, treatment: 0.5}", "arms: {holdout: 0.4, treatment: 0.6}"),
        ("control:", "seed: 7\ncontrol:"),
    ],
)
def test_a_changed_seed_or_share_is_refused_by_every_step_that_reads_the_ledger(case, before, after):
    trait = "traits: [{name: offer, type: boolean, arms: [treatment]}]\n"
    case.spec = HASHED + trait
    workspace = workspace_of(case, DURING)
    assign(workspace, Spec.read(case.write()))
    case.spec = case.spec.replace(before, after)
    changed = Spec.read(case.write())
    for step in (check, measure, readout, lambda *given: lookup(*given, str(case.folder / "offer.json"))):
        with pytest.raises(LedgerError, match="changed after the first enrolment of on-files"):
            step(workspace, changed)
    assert not (case.folder / "reports" / "on-files").exists()


def test_what_others_assign_has_neither_seed_nor_shares(case):
    case.spec = HASHED
    assign(workspace_of(case, DURING), Spec.read(case.write()))
    case.spec = FILES.replace("control:", "seed: 7\ncontrol:")
    assert checked(case).failures == ()
    assert measure(workspace_of(case, DURING), Spec.read(case.write())).customers == {
        "holdout": 40,
        "treatment": 40,
    }


@pytest.mark.parametrize(
    ("key", "ids"), [("email", ["a@x.com", "b@x.com"]), ("cio_id", ["c1", "c2"]), ("id", ["1", "2"])]
)
def test_the_draw_is_made_by_the_identity_key_where_people_have_its_column(case, key, ids):
    case.spec = HASHED.replace("arms:", f"identity: {{key: {key}}}\narms:", 1)
    case.people = pd.DataFrame(
        {"id": ["1", "2", "3"], "email": ["A@x.com", " b@X.com", None], "cio_id": ["c1", "c2", None]}
    ).iloc[: 2 if key == "id" else 3]
    workspace = workspace_of(case, DURING)
    done = assign(workspace, Spec.read(case.write()))
    assert (done.matches.with_key, done.matches.without_key) == (2, len(case.people) - 2)
    assert sorted(row["id"] for row in workspace.lake.records("assignments", ["id"])) == ids


def test_a_universal_holdout_cannot_be_dropped_once_customers_were_enrolled_without_its_members(case):
    """Also where another experiment wrote who is in it."""
    case.people = pd.DataFrame({"id": [f"c{n}" for n in range(2000)]})
    holding = "cohort: {source: files, universal_holdout: {key: in-nothing, share: 0.1}, entry: rolling}\n"
    plain = HASHED.replace("on-files", "plain")
    first = HASHED.replace("on-files", "first").replace("cohort: {source: files, entry: rolling}\n", holding)
    second = first.replace("key: first", "key: second")
    for at, spec in enumerate((first, second, plain)):
        case.spec = spec
        assign(workspace_of(case, f"2026-01-15T12:00:0{at}Z"), Spec.read(case.write()))
    for spec in (first, second):
        case.spec = spec.replace(holding, "cohort: {source: files, entry: rolling}\n")
        for step in (assign, check):
            with pytest.raises(LedgerError, match="put it back .*in-nothing, share: 0.1"):
                step(workspace_of(case, DURING), Spec.read(case.write()))
    case.spec = plain
    assert assign(workspace_of(case, DURING), Spec.read(case.write())).enrolment.known == 2000
