"""Whole weeks: what is pushed decides what shoppers see, and what they see decides what they do."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.sandbox.shop import enrol, members, patch, push, rest, track
from toolkit.sandbox import PROGRAMS, Sandbox


def lived(seed: int, *, pushed: bool) -> Sandbox:
    with Sandbox(seed=seed, scale=0.1, limits=False) as box:
        for _ in range(2):
            if pushed:
                for key in PROGRAMS:
                    push(box, key, enrol(box, key, holdout_every=5))
            box.advance(7)
    return box


def story(box: Sandbox) -> list:
    told = [
        (each.id, each.at, each.person, each.type, each.name, each.data) for each in box.customerio.activities
    ]
    return [*told, *box.messages, *box.evaluations]


def orders(box: Sandbox) -> set:
    return {each.data["order_id"] for each in box.customerio.activities if each.name == "Order Completed"}


@pytest.fixture(scope="module")
def pushed() -> Sandbox:
    return lived(4, pushed=True)


def test_the_same_seed_and_calls_tell_the_same_story(pushed: Sandbox):
    assert story(lived(4, pushed=True)) == story(pushed)


def test_another_seed_tells_another_story(pushed: Sandbox):
    assert orders(lived(5, pushed=False)) != orders(pushed)


def test_no_held_out_customer_is_shown_or_sent_anything():
    with Sandbox(seed=4, scale=0.1, limits=False) as box:
        ledgers = {key: enrol(box, key, holdout_every=3) for key in PROGRAMS}
        for key, ledger in ledgers.items():
            push(box, key, ledger)
        box.advance(7)
        for key, ledger in ledgers.items():
            program = PROGRAMS[key]
            held = {customer for customer, arm, _ in ledger if arm == "holdout"}
            treated = {customer for customer, arm, _ in ledger if arm != "holdout"}
            shown = [each for each in box.evaluations if each.flag == program.flag]
            values = {each.value for each in shown if each.customer_id in held}
            assert values == {program.control}
            assert {each.value for each in shown if each.customer_id in treated} - {program.control}
            sent = {each.customer_id for each in box.messages if each.experiment == key}
            assert sent
            assert sent <= treated


def test_who_refuses_offers_is_shown_none(pushed: Sandbox):
    people = pushed.world.people
    refuse = {key for key, out in zip(people.ids, people.do_not_offer.tolist(), strict=True) if out and key}
    controls = {program.flag: program.control for program in PROGRAMS.values()}
    shown = [each for each in pushed.evaluations if each.customer_id in refuse]
    assert shown
    assert all(each.value == controls[each.flag] for each in shown)


def test_without_a_push_everybody_sees_the_control_and_gets_no_message():
    box = lived(4, pushed=False)
    controls = {program.flag: program.control for program in PROGRAMS.values()}
    assert box.evaluations
    assert all(each.value == controls[each.flag] for each in box.evaluations)
    assert box.messages == []


def test_a_treatment_only_adds_orders_to_what_would_have_been(pushed: Sandbox):
    base, treated = orders(lived(4, pushed=False)), orders(pushed)
    assert base < treated


def test_a_message_goes_once_and_never_to_the_unsubscribed(pushed: Sandbox):
    sent = [(each.experiment, each.customer_id) for each in pushed.messages]
    assert len(set(sent)) == len(sent)
    left = pushed.world.people.unsubscribed
    ids = pushed.world.people.ids
    assert not {key for _, key in sent} & {ids[n] for n in left.nonzero()[0]}


def test_a_message_waits_for_the_ready_attribute_and_stops_at_the_holdout_attribute(box: Sandbox):
    first, second, third = members(box, "vip-early-access")[:3]
    for key, marks in (
        (first, {"ready_vip-early-access": True}),
        (second, {"ready_vip-early-access": True, "holdout_vip-early-access": True}),
        (third, {"ready_vip-early-access": "false"}),
    ):
        item = {"type": "person", "identifiers": {"id": key}, "action": "identify", "attributes": marks}
        track(box).post("/api/v2/entity", json=item)
    box.advance(1)
    assert {each.customer_id for each in box.messages} <= {first}
    assert box.world.people.reachable[box.world.people.ids.index(first)] == bool(box.messages)


def test_a_withdrawn_eligibility_ends_the_treatment_at_once(box: Sandbox):
    keys = members(box, "vip-early-access")
    push(box, "vip-early-access", [(key, "early_access", box.now) for key in keys])
    box.advance(2)
    gone = {"kind": "removeIncludedTargets", "contextKind": "user", "values": keys}
    with rest(box) as client:
        patch(client, "lift-early-access-eligible", gone)
    already = len(box.evaluations)
    assert any(each.value is True for each in box.evaluations)
    box.advance(3)
    assert box.evaluations[already:]
    assert all(each.value in (False, "none") for each in box.evaluations[already:])


def test_the_cart_segment_takes_in_abandoners_weekly_and_lets_buyers_go():
    with Sandbox(seed=4, scale=0.2, limits=False) as box:
        before = set(members(box, "cart-free-shipping"))
        box.advance(7)
        after = set(members(box, "cart-free-shipping"))
        bought = {
            box.world.people.ids[each.person]
            for each in box.customerio.activities
            if each.name == "Order Completed" and each.at >= box.now - timedelta(days=7)
        }
    assert 0.7 * 90 < len(after - before) < 1.3 * 90
    assert before - after
    assert before - after <= bought


def test_there_are_thirty_days_of_orders_before_the_start_and_none_of_the_dormant(still: Sandbox):
    events = [each for each in still.customerio.activities if each.name == "Order Completed"]
    dormant = set(still.world.audience("winback-dormant").tolist())
    assert still.now - timedelta(days=30) <= min(each.at for each in events) < still.now - timedelta(days=28)
    assert not {each.person for each in events} & dormant
