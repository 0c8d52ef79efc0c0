"""The vendor repeats itself and promises no order: what stands in the end is what stands had it told each thing once."""

from __future__ import annotations

import random
import sqlite3
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.storm import report
from tests.receiver.served import crossing
from toolkit.errors import StorageError
from toolkit.lake.inbox import REMEMBERED, Inbox
from toolkit.lake.received import Crossing, Unusable, Waiting
from toolkit.lake.tables import Lake
from toolkit.receiver.bodies import Misunderstood, crossing_of, delivery_of
from toolkit.settings import Settings
from toolkit.steps.inbox import move_deliveries
from toolkit.steps.workspace import Workspace

NOW = 1_800_000_000.0
KEYS = {"cart": "id", "mail": "email"}


@pytest.fixture
def inbox(tmp_path):
    with Inbox(tmp_path / "inbox.sqlite") as opened:
        yield opened


def word(customer, action, moment, event_id=None):
    return Crossing(event_id or f"{customer}{action}{moment}", "cart", customer, action, moment)


def shuffled(arrivals, chance):
    """Return the arrivals in any order, every fifth of them twice."""
    told = [*arrivals, *chance.sample(arrivals, len(arrivals) // 5)]
    chance.shuffle(told)
    return told


def test_ten_thousand_deliveries_shuffled_and_repeated_leave_the_lake_as_in_order_and_once(tmp_path):
    chance = random.Random(1)
    arrivals = [delivery_of(report(number)) for number in range(10_000)]
    kept = []
    for name, told in (("once", arrivals), ("shuffled", shuffled(arrivals, chance))):
        workspace = Workspace.open(Settings(lift_home=str(tmp_path / name)))
        with Inbox(tmp_path / f"{name}.sqlite") as inbox:
            for start in range(0, len(told), 700):
                inbox.accept(told[start : start + 700], at=NOW)
                if start % 2_800 == 0:
                    move_deliveries(workspace, inbox)
            move_deliveries(workspace, inbox)
            assert inbox.waiting() == Waiting(0, 0, 0)
        rows = Lake(str(tmp_path / name)).read("deliveries").drop_columns(["received_at"]).to_pylist()
        kept.append(sorted(tuple(sorted(row.items(), key=str)) for row in rows))
    assert len(kept[0]) == 10_000
    assert kept[0] == kept[1]


def test_ten_thousand_crossings_shuffled_and_repeated_leave_the_same_last_words(tmp_path):
    chance = random.Random(2)
    arrivals = [
        crossing_of(crossing(f"c{chance.randrange(2_000)}", chance.choice(["enter", "exit"]), moment), KEYS)
        for moment in range(10_000)
    ]
    left = []
    for name, told in (("once", arrivals), ("shuffled", shuffled(arrivals, chance))):
        with Inbox(tmp_path / name) as inbox:
            for start in range(0, len(told), 700):
                inbox.accept(told[start : start + 700], at=NOW)
                if name == "shuffled":
                    inbox.applied(inbox.standings()[::2])
            left.append(inbox.standings())
    last = {each.customer: each.action for each in arrivals}
    assert {each.customer: each.action for each in left[0]} == last
    with sqlite3.connect(tmp_path / "once") as one, sqlite3.connect(tmp_path / "shuffled") as other:
        query = "SELECT experiment, customer, entered, action, moment FROM standings"
        assert one.execute(query).fetchall() == other.execute(query).fetchall()


@settings(max_examples=40, deadline=None)
@given(
    st.permutations(
        [("enter", 1), ("exit", 2), ("enter", 3), ("exit", 3), ("enter", 2), ("exit", 1)],
    ).flatmap(lambda words: st.tuples(st.just(words), st.sets(st.integers(0, 5))))
)
def test_whatever_the_order_the_last_word_holds_and_of_equal_ones_the_exit(tmp_path_factory, drawn):
    words, settled_after = drawn
    with Inbox(tmp_path_factory.mktemp("inbox") / "inbox.sqlite") as inbox:
        applied = set()
        for at, (action, moment) in enumerate(words):
            inbox.accept([word("c", action, moment)], at=NOW)
            if at in settled_after:
                applied |= {each.customer for each in inbox.standings() if each.entered}
                inbox.applied(inbox.standings())
        (left,) = inbox._rows("SELECT entered, action, moment FROM standings")
        assert left == (1, "exit", 3)
        applied |= {each.customer for each in inbox.standings() if each.entered}
        assert applied == {"c"}


def test_who_left_before_we_heard_that_they_came_is_still_to_be_enrolled(inbox):
    inbox.accept([word("c", "exit", 2)], at=NOW)
    inbox.applied(inbox.standings())
    assert inbox.accept([word("c", "enter", 1)], at=NOW) == ["stale"]
    (standing,) = inbox.standings()
    assert (standing.entered, standing.action, standing.moment) == (True, "exit", 2)


def test_a_word_that_came_while_the_one_before_was_applied_is_not_settled_with_it(inbox):
    inbox.accept([word("c", "enter", 1)], at=NOW)
    before = inbox.standings()
    inbox.accept([word("c", "exit", 2)], at=NOW)
    inbox.applied(before)
    (standing,) = inbox.standings()
    assert standing.action == "exit"


def test_an_event_id_is_known_for_eight_days_and_then_forgotten(inbox):
    delivery = delivery_of(report(1))
    days = REMEMBERED.total_seconds()
    assert inbox.accept([delivery], at=NOW) == ["new"]
    assert inbox.accept([delivery], at=NOW + days) == ["repeated"]
    inbox.accept([], at=NOW + days + 1)
    assert inbox.accept([delivery], at=NOW + days + 1) == ["new"]


def test_one_transaction_keeps_all_of_a_batch_or_nothing(inbox):
    impossible = word("\ud800", "enter", 1)
    with pytest.raises(StorageError):
        inbox.accept([word("c", "enter", 1), impossible], at=NOW)
    assert inbox.waiting() == Waiting(0, 0, 0)
    assert inbox.accept([word("c", "enter", 1)], at=NOW) == ["new"]


def test_what_is_put_aside_is_kept_as_it_came_and_counted(inbox):
    body = b"\xff\x00 no JSON"
    for _ in range(3):
        inbox.accept([Unusable("segments", body, "is not UTF-8")], at=NOW)
    (held,) = inbox.held()
    assert (held.bodies, held.times) == (1, 3)
    assert inbox.unusable() == [Unusable("segments", body, "is not UTF-8")]


def test_a_file_that_is_removed_takes_nothing_in_any_more(inbox):
    inbox.path.unlink()
    with pytest.raises(StorageError, match="removed or replaced"):
        inbox.accept([word("c", "enter", 1)], at=NOW)


def test_the_inbox_is_its_owners_and_no_other_release_writes_to_it(inbox):
    assert stat.S_IMODE(inbox.path.stat().st_mode) == 0o600
    assert inbox._rows("PRAGMA journal_mode") == [("persist",)]
    assert inbox._rows("PRAGMA synchronous") == [(2,)]
    inbox._con.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageError, match="another release"):
        Inbox(inbox.path)


def test_a_body_of_no_message_is_acknowledged_and_needs_no_row():
    said = report(1, metric="subscribed", object_type="customer", data={"customer_id": "c1"})
    assert delivery_of(said) is None


def test_identifiers_follow_the_experiments_identity():
    body = crossing("Ann@Example.com ", "enter", 1, experiment="mail").replace(b'"id"', b'"email"')
    assert crossing_of(body, KEYS).customer == "ann@example.com"
    with pytest.raises(Misunderstood, match="`email`"):
        crossing_of(crossing("c1", "enter", 1, experiment="mail"), KEYS)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b'"enter"', b'"entered"', "neither enter nor exit"),
        (b'"cart"', b'"other"', "no experiment file"),
        (b"1790000001", b"1790000001000", "no instant in seconds"),
        (b"1790000001", b'"{{ now }}"', "no number"),
        (b'"timestamp"', b'"time"', "`timestamp` is missing"),
        (b'"timestamp": 1790000001', b'"version": 1.5', "`version` is no whole number"),
        (b'"event_id"', b'"id"', "`event_id` is missing"),
        (b'"identifiers"', b'"customer"', "`identifiers` is missing"),
    ],
)
def test_a_body_that_cannot_be_used_says_why_without_naming_anybody(old, new, why):
    body = crossing("c-secret", "enter", 1)
    assert old in body
    with pytest.raises(Misunderstood, match=why) as found:
        crossing_of(body.replace(old, new), KEYS)
    assert "c-secret" not in str(found.value)
