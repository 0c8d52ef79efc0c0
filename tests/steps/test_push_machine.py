"""Whatever happens to customers, vendors, wires and segments, nobody is offered what they must not be.

`LIFT_LONG=1` lives 1,000 lives of 50 steps instead of a few.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.steps.push_life import CUSTOMERS, HELD_OUT, TREATED, Life
from tests.steps.pushing import BANNER, HOLDOUT, OFFERS, OFFERS_END_AT
from tests.steps.pushing_vendors import Site
from tests.steps.trouble import Place, calm, refused

LONG = os.environ.get("LIFT_LONG") == "1"
RUNS, STEPS = (1000, 50) if LONG else (6, 20)
pytestmark = pytest.mark.timeout(86_400 if LONG else 300)


@pytest.fixture(scope="module")
def site():
    opened = Site()
    yield opened
    opened.close()


@pytest.fixture
def life(site) -> Iterator[Life]:
    """Return a life in which everybody has joined and nothing was pushed yet."""
    Life.site = site
    begun = Life()
    begun.begin(set(CUSTOMERS))
    yield begun
    begun.teardown()


def test_moves_overrides_newcomers_and_hand_edits_meet_in_one_sync(life):
    life.leave(TREATED[2])
    life.sync_with(calm)
    life.time_passes(15, known=True)
    life.change_the_override(TREATED[-1])
    life.join(TREATED[2], protected=False)
    life.edit_by_hand(HOLDOUT, HELD_OUT, add=False)
    for offer in OFFERS:
        life.edit_by_hand(offer, HELD_OUT, add=True)
        life.edit_by_hand(offer, "stranger", add=True)
    life.sync_with(calm)
    life.order(TREATED[-2])
    life.sync_with(calm)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_whoever_is_taken_out_by_hand_before_the_read_back_is_not_messaged_without_an_offer(life, number):
    life.sync_while_somebody_edits(Place("PATCH", number), BANNER, TREATED[0], add=False)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_what_another_changed_meanwhile_is_planned_anew_within_the_push(life, number):
    strikes = Place("PATCH", number).counter()
    life.sync_with(lambda request: refused(409) if strikes(request) else None)


@pytest.mark.parametrize("kind", ["crash before", "crash after", "time-out after the write"])
def test_a_release_that_was_not_recorded_is_withdrawn_from_whoever_is_protected_since(life, kind):
    life.sync_that_may_fail(kind, Place("batch", 1, lasts=True))
    life.change_the_override(TREATED[0])
    life.sync_with(calm)


def test_whoever_must_not_be_offered_anything_stays_so_when_the_file_names_them_no_more(life):
    life.change_the_override(TREATED[0])
    life.sync_with(calm)
    life.leave(TREATED[0])
    life.sync_with(calm)
    life.join(TREATED[0], protected=False)
    life.sync_that_may_fail("key refused", Place("PATCH", 1))
    life.leave(TREATED[0])
    life.sync_with(calm)


def test_offers_and_messages_end_with_the_experiment_and_holdouts_stay_known(life):
    life.sync_with(calm)
    life.shop.now = OFFERS_END_AT - timedelta(minutes=6)
    life.sync_with(calm)
    life.sync_that_may_fail("crash after", Place("PATCH", 1))
    life.sync_with(calm)
    assert not any(life.wanted[offer] for offer in OFFERS)


def test_no_life_of_an_experiment_offers_anything_to_whom_it_must_not(site):
    Life.site = site
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=RUNS,
            stateful_step_count=STEPS,
            deadline=None,
            # making a failure smaller takes minutes; its steps are printed as they are
            phases=[Phase.generate],
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
