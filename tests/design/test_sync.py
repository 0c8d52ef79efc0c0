from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.example import EXAMPLE
from toolkit.design.parse import parse_experiment
from toolkit.design.sync import desired_members, plan_sync

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
