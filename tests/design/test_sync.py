from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.example import EXAMPLE, FILES
from toolkit.design.parse import parse_experiment
from toolkit.design.sync import desired_members, is_large, offers_end_at, plan_sync

EXPERIMENT = parse_experiment(EXAMPLE, "x.yml")
HOLDOUT, UNIVERSAL, ELIGIBLE = EXPERIMENT.segments
CUSTOMERS = st.sampled_from([f"c{number}" for number in range(12)])
LEDGERS = st.dictionaries(CUSTOMERS, st.sampled_from(["holdout", "free_shipping"]))


@given(LEDGERS, st.sets(CUSTOMERS), st.sets(CUSTOMERS))
def test_no_held_out_and_no_protected_customer_is_ever_eligible(ledger, protected, universal):
    desired = desired_members(EXPERIMENT, ledger, do_not_offer=protected, universal=universal)
    held = {customer for customer, arm in ledger.items() if arm == "holdout"}
    assert not desired[ELIGIBLE] & (held | protected | universal)
    assert desired[HOLDOUT] == held
    assert desired[UNIVERSAL] == universal
    assert desired[ELIGIBLE] == set(ledger) - held - protected - universal


@given(st.sets(CUSTOMERS), st.sets(CUSTOMERS))
def test_applying_a_plan_gives_what_was_wanted_and_nothing_is_left_to_do(wanted, have):
    plan = plan_sync(EXPERIMENT, {ELIGIBLE: wanted}, {ELIGIBLE: have})
    (change,) = plan.changes
    after = (have | set(change.add)) - set(change.remove)
    assert after == wanted
    assert change.members == len(wanted)
    assert plan_sync(EXPERIMENT, {ELIGIBLE: wanted}, {ELIGIBLE: after}).is_empty


@given(st.sets(CUSTOMERS), st.sets(CUSTOMERS), st.randoms())
def test_equal_sets_give_equal_plans_in_whatever_order(wanted, have, chance):
    shuffled = list(wanted)
    chance.shuffle(shuffled)
    assert plan_sync(EXPERIMENT, {ELIGIBLE: wanted}, {ELIGIBLE: have}) == plan_sync(
        EXPERIMENT, {ELIGIBLE: set(shuffled)}, {ELIGIBLE: have}
    )


def test_a_segment_that_is_not_there_is_a_change_even_without_members():
    assert not plan_sync(EXPERIMENT, {ELIGIBLE: set()}, {}).is_empty


def test_emptying_a_large_part_of_a_segment_is_noticed():
    members = {f"c{number}" for number in range(1000)}
    fewer = {f"c{number}" for number in range(750)}
    (change,) = plan_sync(EXPERIMENT, {ELIGIBLE: fewer}, {ELIGIBLE: members}).changes
    assert change.is_large_removal
    (change,) = plan_sync(EXPERIMENT, {ELIGIBLE: fewer}, {ELIGIBLE: set(list(members)[:10]) | fewer}).changes
    assert not change.is_large_removal


def test_a_fifth_of_a_segment_and_a_hundred_members_may_go_and_one_more_may_not():
    assert not is_large(100, 100)
    assert is_large(101, 101)
    assert not is_large(200, 1000)
    assert is_large(201, 1000)


def test_those_who_move_to_another_offer_do_not_count_as_removed():
    first, second = "lift-offer-small", "lift-offer-large"
    everyone = {f"c{number}" for number in range(200)}
    plan = plan_sync(EXPERIMENT, {first: set(), second: everyone}, {first: everyone, second: set()})
    assert plan.changes[0].moved == 200
    assert not plan.changes[0].is_large_removal


@given(LEDGERS)
def test_once_the_offers_are_over_nobody_is_eligible_and_who_is_held_out_stays_so(ledger):
    desired = desired_members(EXPERIMENT, ledger, over=True)
    assert not desired[ELIGIBLE]
    assert desired[HOLDOUT] == {customer for customer, arm in ledger.items() if arm == "holdout"}


def test_offers_end_when_the_last_primary_window_has_closed():
    assert offers_end_at(EXPERIMENT).isoformat() == "2027-01-11T00:00:00+00:00"
    assert offers_end_at(parse_experiment(FILES, "x.yml")) is None


def test_a_customer_is_in_the_band_that_their_number_lies_in():
    band = (
        "traits:\n  - {name: tier, type: band, attribute: ltv, arms: [free_shipping], default: none, "
        "bands: {low: [0, 50], high: [50, null]}}\n"
    )
    experiment = parse_experiment(EXAMPLE.replace("traits:\n", band), "x.yml")
    arms = {"a": "free_shipping", "b": "free_shipping", "c": "free_shipping", "h": "holdout"}
    known = {"a": {"ltv": 10}, "b": {"ltv": 50}, "c": {}, "h": {"ltv": 60}}
    desired = desired_members(experiment, arms, attributes=known)
    assert (desired["lift-tier-low"], desired["lift-tier-high"]) == ({"a"}, {"b"})


def test_what_changes_is_told_as_a_share_of_the_members_now():
    (change,) = plan_sync(EXPERIMENT, {ELIGIBLE: {"a", "b", "c"}}, {ELIGIBLE: {"b", "c", "d", "e"}}).changes
    assert (change.before, change.members, change.share_changed) == (4, 3, 0.75)
    (new,) = plan_sync(EXPERIMENT, {ELIGIBLE: {"a"}}, {}).changes
    assert new.share_changed is None
