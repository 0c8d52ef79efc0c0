"""Each reason for which a membership begins or ends, and what is taken for a hand's work."""

from __future__ import annotations

import pytest

from tests.example import EXAMPLE
from toolkit.design.parse import parse_experiment
from toolkit.design.reasons import BY_HAND, REASONS, Facts, Record, reasons_of
from toolkit.design.sync import plan_sync

EXPERIMENT = parse_experiment(
    EXAMPLE.replace(
        "arms: {holdout: 0.10, free_shipping: 0.90}", "arms: {holdout: 0.1, treated: 0.8, other: 0.1}"
    ).replace(
        "  - {name: free_shipping_eligible, type: boolean, arms: [free_shipping], default: false, max_age: 5m, "
        "flag: free-shipping-banner, owner: retention}\n",
        "  - {name: offer, type: enum, default: none, values: {treated: small}, "
        "escalate: {arms: [treated], to: large, after: 14d}}\n",
    ),
    "x.yml",
)
HOLDOUT, UNIVERSAL, SMALL, LARGE = EXPERIMENT.segments
TREATED, HELD, OTHER = {"c": "treated"}, {"c": "holdout"}, {"c": "other"}


def reasons(segment, desired, actual, *, arms=TREATED, record=None, **known):
    """Return why the customer c is added to and removed from a segment."""
    wanted = {key: {"c"} if key in desired else set() for key in EXPERIMENT.segments}
    there = {key: {"c"} if key in actual else set() for key in EXPERIMENT.segments}
    facts = Facts(EXPERIMENT, arms, wanted, there, record or {}, **known)
    why = reasons_of(plan_sync(EXPERIMENT, wanted, there), facts)[segment]
    return [*why.add, *why.remove]


OURS = Record(members={"c"})
GONE = Record(removed={"c"})


@pytest.mark.parametrize(
    ("reason", "segment", "desired", "actual", "known"),
    [
        ("assigned", SMALL, [SMALL], [], {}),
        ("held_out", HOLDOUT, [HOLDOUT], [], {"arms": HELD}),
        ("universal_holdout", UNIVERSAL, [UNIVERSAL], [], {"arms": {}}),
        ("escalated", LARGE, [LARGE], [SMALL], {}),
        ("escalated", SMALL, [LARGE], [SMALL], {"record": {SMALL: OURS}}),
        ("escalated", LARGE, [LARGE], [], {"record": {SMALL: OURS}}),
        ("deescalated", SMALL, [SMALL], [LARGE], {}),
        ("deescalated", LARGE, [SMALL], [LARGE], {"record": {LARGE: OURS}}),
        ("eligible_again", SMALL, [SMALL], [], {"record": {SMALL: GONE}}),
        ("removed_by_hand", SMALL, [SMALL], [], {"record": {SMALL: OURS}}),
        ("removed_by_hand", HOLDOUT, [HOLDOUT], [], {"arms": HELD, "record": {HOLDOUT: OURS}}),
        ("do_not_offer", SMALL, [], [SMALL], {"barred": {"do_not_offer": {"c"}}}),
        ("left_cohort", SMALL, [], [SMALL], {"barred": {"left_cohort": {"c"}}}),
        ("universal_holdout", SMALL, [], [SMALL], {"barred": {"universal_holdout": {"c"}}}),
        ("margin", SMALL, [], [SMALL], {"barred": {"do_not_offer": {"x"}, "margin": {"c"}}}),
        ("experiment_over", SMALL, [], [SMALL], {"over": True}),
        ("left_ledger", SMALL, [], [SMALL], {"arms": {}, "record": {SMALL: OURS}}),
        ("left_ledger", HOLDOUT, [], [HOLDOUT], {"arms": {}, "record": {HOLDOUT: OURS}}),
        ("held_out", SMALL, [], [SMALL], {"arms": HELD, "record": {SMALL: OURS}}),
        ("contract_changed", SMALL, [], [SMALL], {"arms": OTHER, "record": {SMALL: OURS}}),
        ("added_by_hand", SMALL, [], [SMALL], {"arms": {}}),
        ("added_by_hand", SMALL, [], [SMALL], {"arms": HELD}),
        ("added_by_hand", SMALL, [], [SMALL], {"arms": OTHER}),
        ("added_by_hand", HOLDOUT, [], [HOLDOUT], {}),
        ("added_by_hand", SMALL, [], [SMALL], {"barred": {"do_not_offer": {"c"}}, "record": {SMALL: GONE}}),
    ],
)
def test_each_change_has_its_reason(reason, segment, desired, actual, known):
    assert reasons(segment, desired, actual, **known) == [reason]
    assert reason in REASONS


def test_what_hands_did_is_counted_as_drift():
    wanted, there = {SMALL: {"a", "b"}}, {SMALL: {"b", "x", "y"}}
    facts = Facts(
        EXPERIMENT, {"a": "treated", "b": "treated"}, wanted, there, {SMALL: Record(members={"a", "b"})}
    )
    why = reasons_of(plan_sync(EXPERIMENT, wanted, there), facts)[SMALL]
    assert (why.add, why.remove, why.by_hand) == ({"removed_by_hand": 1}, {"added_by_hand": 2}, 3)
    assert set(BY_HAND) <= set(REASONS)
