"""A plan says what changes and why, refuses what empties segments, and is carried out whatever happens."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.steps.team import (
    ASSIGNED_AT,
    ELIGIBLE,
    HELD,
    HOLDOUT,
    KEY,
    LARGE,
    READY,
    SMALL,
    SPEC,
    Team,
    people,
)
from toolkit.clients import CustomerIOTrack
from toolkit.errors import (
    Conflict,
    DataError,
    InvalidRequest,
    NotEnoughData,
    PushRefused,
    SettingsError,
    SpecError,
    WaitingForPerson,
)
from toolkit.lake.memberships import Membership, append_memberships
from toolkit.lake.tables import Lake
from toolkit.sandbox import Fault, Sandbox, rest_api
from toolkit.show.pushing import plan_record, plan_text, pushed_record, pushed_text
from toolkit.steps import known
from toolkit.steps import push as push_step
from toolkit.steps.propagation import propagation
from toolkit.steps.push import plan_push, push
from toolkit.steps.workspace import Spec

RULE = {"_id": "r", "clauses": [{"attribute": "country", "op": "in", "values": ["NZ"], "negate": False}]}


@pytest.fixture(scope="module")
def served():
    with Sandbox(seed=3, scale=0.001, limits=False) as box:
        yield box


@pytest.fixture
def team(served, tmp_path):
    """A team with forty treated and ten held out, and an empty LaunchDarkly."""
    state = served.launchdarkly
    state.segments.clear()
    state.approvals, state.refused_keys = False, set()
    served.requests.clear()
    return Team(tmp_path, served, people(40) | people(10, "holdout", "h"))


# ---- why -------------------------------------------------------------------------------------------------


def test_a_first_plan_says_who_is_newly_assigned_and_newly_held_out(team):
    team.protected = {"c000001"}
    plan = team.plan()
    assert plan.why[ELIGIBLE].add == {"assigned": 39}
    assert plan.why[HOLDOUT].add == {"held_out": 10}
    assert not team.box.launchdarkly.segments
    assert "1 treated customers are never eligible (`do_not_offer`)" in plan.notes


def test_reasons_follow_a_customer_through_protection_and_back(team):
    team.push()
    team.protected = {"c000001", "c000002"}
    assert team.why(ELIGIBLE) == ({}, {"do_not_offer": 2})
    team.push()
    team.protected = {"c000002"}
    assert team.why(ELIGIBLE) == ({"eligible_again": 1}, {})
    team.push()
    assert team.members(ELIGIBLE) == set(people(40)) - {"c000002"}
    assert team.plan().sync.is_empty


def test_escalation_and_its_end_are_told_as_such_in_both_segments(team):
    team.arms = people(3, "growing") | people(1, "holdout", "h")
    team.push()
    team.now = team.known_until = ASSIGNED_AT + timedelta(days=15)
    assert team.why(LARGE) == ({"escalated": 3}, {})
    assert team.why(SMALL) == ({}, {"escalated": 3})
    team.push()
    team.orders = {"c000001": ASSIGNED_AT + timedelta(days=3)}
    assert team.why(LARGE) == ({}, {"deescalated": 1})
    team.push()
    assert (team.members(SMALL), team.members(LARGE)) == ({"c000001"}, {"c000000", "c000002"})


def test_what_somebody_changed_by_hand_is_shown_as_drift_and_changed_back(team):
    team.push()
    team.edit(ELIGIBLE, add={"h000001", "stranger"}, remove={"c000003"})
    team.edit(HOLDOUT, remove={"h000002"})
    plan = team.plan()
    assert plan.why[ELIGIBLE].add == {"removed_by_hand": 1}
    assert plan.why[ELIGIBLE].remove == {"added_by_hand": 2}
    assert plan.why[HOLDOUT].add == {"removed_by_hand": 1}
    said = plan_text(plan, team.write().experiment, applied=False)
    assert "drift: 4 memberships were changed by hand, and are changed back" in said
    team.push()
    assert team.members(ELIGIBLE) == set(people(40))
    assert team.members(HOLDOUT) == set(people(10, "holdout", "h"))


def test_who_leaves_the_cohort_keeps_the_offer_and_what_was_known_of_them(team):
    team.protected = {"c000001"}
    team.push()
    team.unnamed = {"c000001", "c000002"}
    plan = team.plan()
    assert plan.sync.is_empty
    assert any(note.startswith("2 treated customers are no longer named") for note in plan.notes)


def test_of_whom_the_source_never_spoke_is_offered_nothing(team):
    team.unnamed = {"c000002"}
    team.push()
    assert "c000002" not in team.members(ELIGIBLE)
    team.unnamed = set()
    team.push()
    assert "c000002" in team.members(ELIGIBLE)


@pytest.mark.parametrize("other", ["h000001", "u000001"])
def test_one_person_with_somebody_held_out_of_this_or_of_everything_is_offered_nothing(team, other):
    team.spec = SPEC.replace(
        "entry: rolling}", "entry: rolling, universal_holdout: {key: always, share: 0.1}}"
    )
    team.with_messages()
    team.push()
    lake = team.workspace().lake
    lake.append_rows(
        "assignments", [{"experiment": "always", "id": "u000001", "arm": "holdout", "assigned_at": team.now}]
    )
    lake.append_rows(
        "same_people",
        [
            {"id": each, "person": "c000001", "id_type": "id", "seen_at": team.now}
            for each in ("c000001", other)
        ],
    )
    assert team.why(ELIGIBLE) == ({}, {"held_out_as_another": 1})
    team.push()
    assert team.members(ELIGIBLE) == set(people(40)) - {"c000001"}
    assert not team.attribute("c000001", READY)


def test_when_the_last_window_has_closed_everybodys_offer_ends_and_the_plan_says_so(team):
    team.push()
    team.now = team.write().experiment.complete_at - timedelta(seconds=1)
    assert team.plan().sync.is_empty
    team.now += timedelta(seconds=1)
    plan = team.plan()
    assert plan.why[ELIGIBLE].remove == {"experiment_over": 40}
    assert any("offers have ended" in note for note in plan.notes)
    team.push()
    assert (team.members(ELIGIBLE), len(team.members(HOLDOUT))) == (set(), 10)


# ---- what is never done silently ---------------------------------------------------------------------------


def test_without_a_ledger_nothing_is_planned(team):
    team.spec = SPEC.replace("assignment: {source: files}\n", "")
    with pytest.raises(NotEnoughData, match="nobody is assigned yet"):
        team.plan()


@pytest.mark.parametrize("name", ["people", "assignments"])
def test_a_file_without_rows_is_an_error_and_changes_nothing(team, name):
    team.push()
    if name == "people":
        team.unnamed = set(team.arms)
    else:
        team.arms = {}
    with pytest.raises(DataError, match=rf"{name}\.parquet: has a header but no rows"):
        team.push()
    assert len(team.members(ELIGIBLE)) == 40


def test_a_fifth_of_a_segment_goes_only_if_told_so_by_the_number_that_the_refusal_names(team):
    team.arms = people(600)
    team.push()
    team.protected = set(list(people(600))[:121])
    with pytest.raises(PushRefused, match=r"121 of 600.*--allow-removals 121"):
        team.push()
    with pytest.raises(PushRefused):
        team.push(allow_removals=120)
    assert len(team.members(ELIGIBLE)) == 600
    team.push(allow_removals=121)
    assert len(team.members(ELIGIBLE)) == 479


def test_a_hundred_may_go_without_a_word(team):
    team.arms = people(150)
    team.push()
    team.protected = set(list(people(150))[:100])
    team.push()
    assert len(team.members(ELIGIBLE)) == 50


def test_a_file_that_lost_its_rows_empties_not_even_a_small_segment(team):
    team.push()
    team.arms = people(10, "holdout", "h")
    with pytest.raises(PushRefused, match="has a file lost its rows"):
        team.push()
    assert len(team.members(ELIGIBLE)) == 40
    team.push(allow_removals=40)
    assert not team.members(ELIGIBLE)


def test_a_missing_column_of_who_must_not_be_offered_anything_is_an_error(team):
    team.spec = SPEC.replace("attribute: do_not_offer", "attribute: no_offers")
    with pytest.raises(DataError, match="no column `no_offers`"):
        team.plan()


def test_a_source_that_suddenly_protects_nobody_makes_nobody_eligible_silently(team):
    team.arms = people(300)
    team.protected = set(list(people(300))[:150])
    team.push()
    team.protected = set()
    for _ in range(2):
        with pytest.raises(PushRefused, match=r"150 of 150 customers who must not.*--allow-removals 150"):
            team.push()
    assert len(team.members(ELIGIBLE)) == 150
    team.push(allow_removals=150)
    assert len(team.members(ELIGIBLE)) == 300


def test_a_file_of_people_that_lost_nearly_all_rows_leaves_everything_as_it_is(team):
    team.protected = {"c000001"}
    team.push()
    team.unnamed = set(team.arms) - {"c000005"}
    assert team.plan().sync.is_empty


def test_whoever_customerio_protected_stays_so_until_it_names_them_without_the_attribute(team, monkeypatch):
    team.spec = SPEC.replace("{source: files, entry: rolling}", "{source: customerio, segment: 1}")
    team.with_messages()
    gone, free = (team.box.customerio.find(each) for each in ("c000001", "c000002"))
    gone.attributes["do_not_offer"] = free.attributes["do_not_offer"] = True
    team.push()
    assert not {"c000001", "c000002"} & team.members(ELIGIBLE)
    gone.attributes.clear()  # deleted, or merged into another person
    monkeypatch.delitem(team.box.customerio._by["id"], "c000001")
    free.attributes["do_not_offer"] = False
    assert any(note.startswith("1 treated customers are no longer named") for note in team.plan().notes)
    team.push()
    assert team.members(ELIGIBLE) == set(people(40)) - {"c000001"}
    assert not gone.attributes.get(READY)


def test_a_segment_that_somebody_gave_rules_is_not_trusted_and_what_must_end_ends(team):
    team.arms |= people(3, "growing", "g")
    team.with_messages()
    team.push()
    state = team.box.launchdarkly
    state.put_segment(replace(state.segments[ELIGIBLE], rules=(RULE,)))
    team.protected = {"c000001", "g000001"}
    team.arms |= people(2, "growing", "n") | people(1, "holdout", "k") | people(1, name="d")
    for customer in ("n000000", "n000001", "k000000", "d000000"):
        team.box.customerio.create(id=customer)
    with pytest.raises(PushRefused, match=f"{ELIGIBLE} was given 1 rules"):
        team.push()
    assert team.members(ELIGIBLE) == set(people(40))
    assert team.members(SMALL) == {"g000000", "g000002"}
    assert "k000000" in team.members(HOLDOUT)
    ready = {who for who in team.arms if team.attribute(who, READY)}
    assert ready == set(people(40) | people(3, "growing", "g")) - team.protected
    state.put_segment(replace(state.segments[ELIGIBLE], rules=()))
    team.push()
    assert {who for who in team.arms if team.attribute(who, READY)} == ready | {
        "n000000",
        "n000001",
        "d000000",
    }


def test_a_trait_of_another_experiment_beside_this_one_is_not_pushed(team):
    team.push()
    (team.folder / "other.yml").write_text(SPEC.replace("key: banner", "key: other"))
    for path in ("banner.yml", "other.yml"):
        with team.opened() as (workspace, _, client), pytest.raises(SpecError, match=f"{ELIGIBLE} is also"):
            plan_push(workspace, Spec.read(team.folder / path), client)
    later = SPEC.replace("key: banner", "key: other").replace("2026-12-28", "2027-12-28")
    (team.folder / "other.yml").write_text(later.replace("2026-08-01", "2027-06-01"))
    assert team.plan().sync.is_empty, "one ends before the other starts"


def test_a_segment_in_which_another_experiments_customers_are_recorded_is_not_pushed(team):
    team.push()
    elsewhere = team.folder / "elsewhere"
    elsewhere.mkdir()
    for name in ("people", "assignments", "events"):
        shutil.copy(team.folder / f"{name}.parquet", elsewhere)
    (elsewhere / "other.yml").write_text(SPEC.replace("key: banner", "key: other"))
    said = rf"other cannot be pushed.*{ELIGIBLE} holds 40 customers of banner"
    with team.opened() as (workspace, _, client), pytest.raises(SpecError, match=said):
        plan_push(workspace, Spec.read(elsewhere / "other.yml"), client)
    assert "lift-other-holdout" not in team.box.launchdarkly.segments
    lake, mine = team.workspace().lake, [*people(40)]
    rows = [Membership(ELIGIBLE, each, "removed") for each in mine] + [Membership(ELIGIBLE, "o", "member")]
    append_memberships(
        lake, rows, {ELIGIBLE: "other"}, at=team.now, run="of a version that did not refuse it"
    )
    with team.opened() as (workspace, _, client):
        assert plan_push(workspace, Spec.read(elsewhere / "other.yml"), client).desired[ELIGIBLE]
    with pytest.raises(SpecError, match=f"{ELIGIBLE} holds 1 customers of other"):
        team.plan()


def test_in_the_segment_of_a_renamed_trait_only_whoever_may_be_offered_something_stays(team):
    team.with_messages()
    team.push()
    team.spec = SPEC.replace("free_shipping_eligible", "shipping_eligible")
    team.push()
    assert team.members(ELIGIBLE) == team.members("lift-shipping-eligible") == set(people(40))
    team.protected = {"c000001"}
    team.arms["c000002"] = "holdout"
    plan = team.plan()
    assert plan.why[ELIGIBLE].remove == {"do_not_offer": 1, "held_out": 1}
    assert any(note.startswith(f"{ELIGIBLE}: the file has no such segment any more") for note in plan.notes)
    team.push()
    assert team.members(ELIGIBLE) == set(people(40)) - {"c000001", "c000002"}
    assert team.plan().sync.is_empty
    team.now = team.write().experiment.complete_at
    team.push()
    assert not team.members(ELIGIBLE)
    assert team.plan().sync.is_empty


def test_a_push_that_begins_nothing_and_meets_somebody_elses_change_looks_after_a_renamed_trait_too(team):
    team.arms |= people(3, "growing", "g")
    team.push()
    team.spec = SPEC.replace("free_shipping_eligible", "shipping_eligible")
    team.push()
    state = team.box.launchdarkly
    state.put_segment(replace(state.segments[SMALL], rules=(RULE,)))
    team.protected = {"c000001"}
    team.box.fail(Fault("launchdarkly", "status", status=409, method="PATCH", times=1))
    with pytest.raises(PushRefused, match=f"{SMALL} was given 1 rules"):
        team.push()
    assert (
        team.members(ELIGIBLE) == team.members("lift-shipping-eligible") == set(people(40)) - team.protected
    )


@pytest.mark.parametrize("change", [{"rules": (RULE,)}, {"tags": ()}])
def test_whoever_is_left_in_the_segment_of_a_renamed_trait_that_cannot_be_changed_is_told(team, change):
    team.push()
    team.spec = SPEC.replace("free_shipping_eligible", "shipping_eligible")
    team.push()
    state = team.box.launchdarkly
    state.put_segment(replace(state.segments[ELIGIBLE], **change))
    team.push()
    team.protected = {"c000001"}
    team.arms |= people(1, name="d")
    with pytest.raises(
        (PushRefused, Conflict), match=f"{ELIGIBLE}: the file has no .* and 1 customers"
    ) as told:
        team.push()
    assert "take them out there" in str(told.value)
    assert team.members("lift-shipping-eligible") == set(people(40) | people(1, name="d")) - team.protected
    state.put_segment(replace(state.segments[ELIGIBLE], included={"user": ("c000000",)}))
    team.push()


def test_a_plan_is_not_applied_hours_later(team):
    with team.opened() as (_, spec, client):
        plan = team.plan()
        team.now += timedelta(hours=2)
        with pytest.raises(PushRefused, match="plan again"):
            push(team.workspace(), spec, client, plan)
    assert not team.box.launchdarkly.segments


# ---- requests ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 1500, 1501, 3200])
def test_changes_go_in_as_few_patches_as_they_fit_into(team, count):
    team.arms = people(count)
    team.push()
    assert team.asked("PATCH", ELIGIBLE) == math.ceil(count / 1500)
    assert team.asked("PATCH") == math.ceil(count / 1500)


def test_removals_and_additions_of_one_segment_share_a_patch(team):
    team.push()
    team.protected = {"c000001", "c000002"}
    team.arms |= people(5, name="d")
    before = team.asked("PATCH")
    team.push()
    assert team.asked("PATCH") - before == 1
    assert team.members(ELIGIBLE) == set(people(40) | people(5, name="d")) - team.protected


def test_a_second_push_writes_nothing_and_leaves_the_lake_as_it_is(team):
    team.with_messages()
    team.push()
    writes = team.asked("PATCH") + team.asked("POST")
    tables = ("sync_receipts", "memberships", "protected", "ready")
    versions = [team.workspace().lake.version(name) for name in tables]
    done = team.push()
    assert (done.writes, done.told) == (0, 0)
    assert team.asked("PATCH") + team.asked("POST") == writes
    assert [team.workspace().lake.version(name) for name in tables] == versions


def test_json_of_plan_and_push_have_counts_and_reasons_and_nobodys_key(team):
    team.push()
    team.edit(ELIGIBLE, add={"stranger"})
    team.box.launchdarkly.refused_keys = {"d000000"}
    team.arms |= people(2, name="d")
    with team.opened() as (workspace, spec, client):
        plan = team.plan()
        done = push(workspace, spec, client, plan)
    record = plan_record(plan, spec.experiment)
    (eligible,) = [each for each in record["segments"] if each["segment"] == ELIGIBLE]
    assert (eligible["add"], eligible["remove"], eligible["unchanged"]) == (2, 1, 40)
    assert eligible["reasons"] == {"add": {"assigned": 2}, "remove": {"added_by_hand": 1}}
    assert eligible["by_hand"] == 1
    told = json.dumps([record, pushed_record(done)])
    assert not any(key in told for key in [*team.arms, "stranger"])
    assert pushed_record(done)["not_taken"] == {ELIGIBLE: 1}


# ---- whatever happens --------------------------------------------------------------------------------------


def test_failures_on_the_way_are_tried_again(team):
    for kind, method in (("status", "GET"), ("apply_then_reset", "POST"), ("apply_then_reset", "PATCH")):
        team.box.fail(Fault("launchdarkly", kind, status=503, method=method, path="/segments/"))
    team.push()
    assert team.members(ELIGIBLE) == set(people(40))
    assert team.plan().sync.is_empty


def test_someone_elses_change_meanwhile_is_read_and_planned_around(team):
    team.push()
    team.arms |= people(5, name="d")
    team.box.fail(Fault("launchdarkly", "status", status=409, method="PATCH", times=2))
    team.push()
    assert team.members(ELIGIBLE) == set(people(40) | people(5, name="d"))


def test_a_conflict_that_lasts_is_told(team):
    team.push()
    team.arms |= people(5, name="d")
    team.box.fail(Fault("launchdarkly", "status", status=409, method="PATCH", times=4))
    with pytest.raises(Conflict, match="someone else changed it"):
        team.push()
    team.push()
    assert len(team.members(ELIGIBLE)) == 45


def test_a_segment_made_by_another_run_meanwhile_is_adopted_if_it_is_ours(team):
    with team.opened() as (workspace, spec, client):
        plan = team.plan()
        team.push()
        done = push(workspace, spec, client, plan)
    assert done.writes == 0
    assert team.members(ELIGIBLE) == set(people(40))


def test_an_approval_is_told_as_waiting_for_a_person_with_what_waits(team):
    team.box.launchdarkly.approvals = True
    with pytest.raises(
        WaitingForPerson, match=rf"What waits: {HOLDOUT} \(add 10, remove 0\), {ELIGIBLE} \(add 40"
    ) as told:
        team.push()
    assert told.value.exit_status == 3
    team.box.launchdarkly.approvals = False
    team.push()
    assert len(team.members(ELIGIBLE)) == 40


def test_a_write_that_was_done_in_part_is_finished(team, monkeypatch):
    """The vendor answers 200 and does half: what is read back is what counts."""
    whole, halves = rest_api.patched, iter([True, True])

    def half(segment, instructions, **more):
        if next(halves, False):
            instructions = [{**each, "values": each["values"][::2]} for each in instructions]
        return whole(segment, instructions, **more)

    monkeypatch.setattr(rest_api, "patched", half)
    team.push()
    assert team.members(ELIGIBLE) == set(people(40))
    assert len(team.members(HOLDOUT)) == 10


# ---- keys that are not taken ---------------------------------------------------------------------------------


def test_bad_keys_are_found_put_aside_and_the_rest_goes_through(team):
    team.arms = people(3000)
    team.with_messages()
    bad = {"c000007", "c001499", "c002222"}
    team.box.launchdarkly.refused_keys = set(bad)
    done = team.push()
    assert set(done.not_taken[ELIGIBLE]) == bad
    assert team.members(ELIGIBLE) == set(people(3000)) - bad
    assert team.asked("PATCH", ELIGIBLE) < 100
    assert {who for who in team.arms if team.attribute(who, READY)} == set(people(3000)) - bad
    assert "does not take 3 keys ('c000007', 'c001499', 'c002222'" in pushed_text(done)


def test_what_is_put_aside_is_shown_and_tried_again_only_when_asked(team):
    team.box.launchdarkly.refused_keys = {"c000007"}
    team.push()
    patches = team.asked("PATCH")
    plan = team.plan()
    assert plan.sync.is_empty
    assert "does not take 1 keys ('c000007'); --retry-refused tries again" in plan_text(
        plan, team.write().experiment, applied=False
    )
    team.push()
    assert team.asked("PATCH") == patches
    team.push(retry_refused=True)
    assert team.asked("PATCH") == patches + 1
    assert set(team.plan().refused[ELIGIBLE]) == {"c000007"}
    team.box.launchdarkly.refused_keys = set()
    team.push(retry_refused=True)
    assert "c000007" in team.members(ELIGIBLE)
    assert not team.plan().refused


def test_where_everything_is_refused_it_is_not_the_keys_and_nothing_is_put_aside(team):
    team.arms = people(400)
    team.box.launchdarkly.refused_keys = set(team.arms)
    with pytest.raises(InvalidRequest, match="hardly the keys"):
        team.push()
    assert team.asked("PATCH") < 120
    assert not team.plan().refused


# ---- messages ------------------------------------------------------------------------------------------------


def test_a_message_whose_release_was_not_kept_is_withdrawn_when_it_must_be(team, monkeypatch):
    """The push breaks off after Customer.io was told and before that could be kept."""
    team.with_messages()
    kept = Lake.append_rows

    def lost(lake, table, rows):
        if table == "ready" and any(row["state"] == "told" for row in rows):
            raise KeyboardInterrupt
        kept(lake, table, rows)

    with monkeypatch.context() as patched:
        patched.setattr(Lake, "append_rows", lost)
        with pytest.raises(KeyboardInterrupt):
            team.push()
    assert team.attribute("c000001", READY)
    team.protected = {"c000001"}
    team.push()
    assert not team.attribute("c000001", READY)
    assert team.attribute("c000002", READY)
    assert team.push().told == 0


def test_what_was_never_sent_is_not_taken_for_told_once_the_customer_is_protected(team, monkeypatch):
    """The push breaks off after it noted whom it would release, and before Customer.io heard of it."""
    team.with_messages()

    def lost(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(CustomerIOTrack, "identify", lost)
        with pytest.raises(KeyboardInterrupt):
            team.push()
    team.protected = {"c000001"}
    team.push()
    assert (team.attribute("c000001", HELD), team.attribute("c000002", HELD)) == (False, False)
    assert not team.attribute("c000001", READY)
    assert team.attribute("c000002", READY)
    assert team.push().told == 0


def test_the_message_of_who_stands_no_longer_among_the_assignments_is_withdrawn(team):
    team.with_messages()
    team.push()
    del team.arms["c000001"]
    team.push()
    assert "c000001" not in team.members(ELIGIBLE)
    assert not team.attribute("c000001", READY)
    assert team.attribute("c000002", READY)
    assert team.push().told == 0


def test_without_the_track_key_nobody_loses_an_offer_whose_message_stays_released(team):
    team.with_messages()
    team.push()
    team.arms["c000001"] = "holdout"
    team.messages = False
    plan = team.plan()
    assert plan.why[ELIGIBLE].remove == {"held_out": 1}
    before = team.asked("PATCH")
    with pytest.raises(SettingsError, match=r"CUSTOMERIO_SITE_ID and CUSTOMERIO_TRACK_API_KEY are not set"):
        team.push()
    assert team.asked("PATCH") == before
    team.messages = True
    team.push()
    assert not team.attribute("c000001", READY)
    assert "c000001" not in team.members(ELIGIBLE)


def test_how_fast_traits_got_through_is_told_and_kept(team):
    team.now = ASSIGNED_AT + timedelta(minutes=2)
    (found,) = team.push().propagation
    assert (found.trait, found.customers, found.late) == ("free_shipping_eligible", 40, 0)
    assert (found.p50_seconds, found.p95_seconds, found.max_age_seconds) == (120.0, 120.0, 300.0)
    team.arms |= people(10, name="d") | people(4, "growing", "g")
    team.now = ASSIGNED_AT + timedelta(minutes=10)
    (banner, offer) = team.push().propagation
    assert (banner.customers, banner.p50_seconds, banner.late) == (10, 600.0, 10)
    assert (offer.trait, offer.customers, offer.late) == ("offer", 4, 0)
    team.arms |= people(3, name="e")
    spec = team.write()
    (banner, offer) = propagation(team.workspace(), spec, ASSIGNED_AT.date())
    assert (banner.customers, banner.late, banner.waiting) == (50, 13, 3)
    assert (banner.p50_seconds, banner.p95_seconds) == (120.0, 600.0)
    assert (offer.customers, offer.waiting) == (4, 0)


def test_an_escalation_is_due_when_its_time_has_come_not_when_the_customer_was_assigned(team):
    team.arms = people(3, "growing")
    team.push()
    team.known_until = ASSIGNED_AT + timedelta(days=15)
    team.now = ASSIGNED_AT + timedelta(days=14, hours=1)
    team.known_until = team.now
    (found,) = team.push().propagation
    assert (found.customers, found.p50_seconds) == (3, 3600.0)


def test_receipts_hold_what_was_read_back(team):
    team.push()
    rows = team.workspace().lake.read("sync_receipts", experiment=KEY).to_pylist()
    (row,) = [each for each in rows if each["target"] == ELIGIBLE]
    assert (row["added"], row["removed"], row["members"], row["version"]) == (40, 0, 40, 2)


def test_a_push_that_broke_off_before_its_receipts_gets_them_by_the_next(team, monkeypatch):
    def lost(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(push_step, "_receipts", lost)
        with pytest.raises(KeyboardInterrupt):
            team.push()
    assert team.push().writes == 0
    rows = team.workspace().lake.read("sync_receipts", experiment=KEY).to_pylist()
    assert {row["target"]: row["members"] for row in rows}[ELIGIBLE] == 40
    assert team.push().told == 0
    assert team.workspace().lake.read("sync_receipts", experiment=KEY).num_rows == len(rows)


def test_whom_customerio_does_not_know_is_named_and_told_once_they_are_there(team):
    team.arms = people(40)
    team.with_messages()
    team.arms |= people(3, name="x")
    done = team.push()
    strangers = {"x000000", "x000001", "x000002"}
    assert (done.told, set(done.known.unknown)) == (40, strangers)
    assert strangers <= team.members(ELIGIBLE)
    assert "Customer.io does not know 3 keys ('x000000', 'x000001', 'x000002') of 43" in pushed_text(done)
    assert pushed_record(done)["unknown_to_customerio"] == 3
    team.box.customerio.create(id="x000001")
    done = team.push()
    assert (done.writes, done.told, len(done.known.unknown)) == (0, 1, 2)
    assert team.attribute("x000001", READY)


def test_of_very_many_a_sample_is_asked_for(team, monkeypatch):
    team.arms = people(400)
    team.with_messages()
    team.arms |= people(400, name="x")
    monkeypatch.setattr(known, "MOST", 500)
    monkeypatch.setattr(known, "SAMPLE", 100)
    before = len(team.box.requests)
    done = team.push()
    assert (done.known.asked, done.known.among) == (100, 800)
    assert 25 < len(done.known.unknown) < 75
    assert done.told == 800 - len(done.known.unknown)
    assert "of 100 sampled from 800" in pushed_text(done)
    asked = [each for each in team.box.requests[before:] if each.path == "/v1/customers/attributes"]
    assert len(asked) == 1


def test_where_it_cannot_be_asked_the_push_says_so_and_goes_on(team, monkeypatch):
    team.arms = people(5)
    team.with_messages()
    whole = Team.environment
    monkeypatch.setattr(
        Team,
        "environment",
        lambda self: {k: v for k, v in whole(self).items() if k != "CUSTOMERIO_APP_API_KEY"},
    )
    done = team.push()
    assert done.told == 5
    assert "was not asked: CUSTOMERIO_APP_API_KEY" in pushed_text(done)
    assert pushed_record(done)["unknown_to_customerio"] is None
