from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.example import EXAMPLE
from toolkit.design.batches import batches_of
from toolkit.design.parse import parse_experiment
from toolkit.design.sync import plan_sync

EXPERIMENT = parse_experiment(
    EXAMPLE.replace(
        "traits:\n",
        "traits:\n  - {name: offer, type: enum, default: none, values: {free_shipping: small}, "
        "escalate: {arms: [free_shipping], to: large, after: 14d}}\n",
    ),
    "x.yml",
)
HELD, OFFERS = EXPERIMENT.segments[:2], EXPERIMENT.segments[2:]
KEYS = st.sets(st.sampled_from([f"c{number:02}" for number in range(20)]))
MEMBERS = st.fixed_dictionaries(dict.fromkeys(EXPERIMENT.segments, KEYS))
SIZE = 3


def carried_out(desired, actual):
    """Return the batches of a plan, and the members after each."""
    batches = batches_of(plan_sync(EXPERIMENT, desired, actual), size=SIZE)
    members, after = {key: set(there) for key, there in actual.items()}, []
    for batch in batches:
        there = members[batch.change.segment]
        members[batch.change.segment] = (there - set(batch.remove)) | set(batch.add)
        after.append({key: set(keys) for key, keys in members.items()})
    return batches, after


@given(MEMBERS, MEMBERS)
def test_carrying_a_plan_out_gives_what_was_wanted(desired, actual):
    batches, after = carried_out(desired, actual)
    assert (after[-1] if after else actual) == desired
    assert all(1 <= batch.size <= SIZE for batch in batches)


@given(MEMBERS, MEMBERS)
def test_nothing_is_offered_before_all_holdouts_are_known_and_all_that_ends_has_ended(desired, actual):
    for batch, members in zip(*carried_out(desired, actual), strict=True):
        if batch.change.segment in OFFERS:
            assert all(desired[key] <= members[key] for key in HELD)
            if batch.add:
                assert all(members[key] <= desired[key] for key in OFFERS)


@given(MEMBERS, MEMBERS)
def test_nobody_leaves_a_holdout_while_an_offer_that_must_end_still_stands(desired, actual):
    members = actual
    for batch, after in zip(*carried_out(desired, actual), strict=True):
        for key in batch.remove if batch.change.segment in HELD else ():
            assert not any(key in members[offer] - desired[offer] for offer in OFFERS)
        members = after


@given(MEMBERS, MEMBERS)
def test_a_segment_takes_as_few_requests_as_its_changes_fit_into_and_at_most_one_more(desired, actual):
    plan = plan_sync(EXPERIMENT, desired, actual)
    taken = [batch.change.segment for batch in batches_of(plan, size=SIZE)]
    for change in plan.changes:
        least = math.ceil((len(change.add) + len(change.remove)) / SIZE)
        may_be_more = change.add and change.remove
        assert least <= taken.count(change.segment) <= least + bool(may_be_more)


@given(KEYS, KEYS)
def test_a_segment_that_changes_alone_takes_no_request_more(desired, actual):
    plan = plan_sync(EXPERIMENT, {OFFERS[0]: desired}, {OFFERS[0]: actual})
    assert len(batches_of(plan, size=SIZE)) == math.ceil(len(desired ^ actual) / SIZE)


def test_a_whole_list_is_one_request_whatever_its_size():
    plan = plan_sync(EXPERIMENT, {OFFERS[0]: {"a", "b", "c", "d"}}, {OFFERS[0]: set()})
    whole = replace(plan, changes=tuple(replace(each, big=True, whole=True) for each in plan.changes))
    (batch,) = batches_of(whole, size=SIZE)
    assert (batch.change.segment, batch.add, batch.remove) == (OFFERS[0], (), ())
