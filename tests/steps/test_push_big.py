"""Beyond fifteen thousand members: big segments, whose members the real SDK finds in a store of its own."""

from __future__ import annotations

import os
import time
from contextlib import closing
from dataclasses import replace

import pytest
from ldclient import Config, Context, LDClient
from ldclient.config import BigSegmentsConfig

from tests.steps.team import ELIGIBLE, HOLDOUT, READY, SMALL, Team, people
from toolkit.clients import LaunchDarkly, launchdarkly_big
from toolkit.errors import Conflict, NotReady, PushRefused, ToolkitError, WaitingForPerson
from toolkit.lake.memberships import Membership, append_memberships
from toolkit.sandbox import Fault, Sandbox, big_segments
from toolkit.sandbox.big_segments import BigStore, hashed
from toolkit.sandbox.big_store import StateStore
from toolkit.sandbox.launchdarkly import serves
from toolkit.show.pushing import plan_text, pushed_text
from toolkit.steps import members as steps_members
from toolkit.steps.members import owners_of

MANY = 400
REALLY_MANY = 100_000 if os.environ.get("LIFT_LONG") == "1" else 15_001
FLAG = "free-shipping-banner"


@pytest.fixture(scope="module")
def served():
    with Sandbox(seed=3, scale=0.001, limits=False) as box:
        values = box.launchdarkly.flags[FLAG].values
        rules = [serves(HOLDOUT, values.index(False)), serves(ELIGIBLE, values.index(True))]
        box.launchdarkly.retarget(FLAG, rules=rules)
        yield box


@pytest.fixture
def team(served, tmp_path, monkeypatch):
    """A team with more treated customers than a standard segment takes, and an empty LaunchDarkly.

    Lest each test waits for fifteen thousand, a standard segment is taken to hold three hundred.
    """
    monkeypatch.setattr(steps_members, "MAX_TARGETS_PER_SEGMENT", 300)
    state = served.launchdarkly
    state.segments.clear()
    state.big = BigStore()
    state.approvals, state.refused_keys, state.has_big_segments = False, set(), True
    served.requests.clear()
    return Team(tmp_path, served, people(MANY) | people(10, "holdout", "h"))


@pytest.fixture
def pushed(team):
    """The same, pushed."""
    team.push()
    team.box.requests.clear()
    return team


def sdk(box, store):
    """Return a real SDK client that reads `store`."""
    config = Config(
        box.environment()["LAUNCHDARKLY_SDK_KEY"],
        base_uri=box.url,
        stream_uri=box.url,
        send_events=False,
        big_segments=BigSegmentsConfig(store=store, context_cache_time=0.001),
    )
    return LDClient(config, start_wait=5)


def served_to(client, *customers):
    return [client.variation(FLAG, Context.create(customer), False) for customer in customers]


def test_too_many_for_a_standard_segment_are_sent_as_one_file_and_evaluated_by_the_real_sdk(
    team, monkeypatch
):
    monkeypatch.undo()
    team.arms = people(REALLY_MANY) | people(10, "holdout", "h")
    done = team.push()
    assert team.box.launchdarkly.segments[ELIGIBLE].kind == "user"
    assert team.box.launchdarkly.segments[HOLDOUT].kind is None
    assert team.members(ELIGIBLE) == set(people(REALLY_MANY))
    assert (team.asked("POST", "/imports"), team.asked("POST", "/contexts"), team.asked("PATCH")) == (1, 0, 1)
    assert done.writes == len(team.write().experiment.segments) + 2
    with closing(sdk(team.box, StateStore(team.box.launchdarkly))) as client:
        assert served_to(client, "c000001", "c015000", "h000001", "stranger") == [True, True, False, False]
        team.arms |= people(1, name="d")
        team.protected = {"c000001"}
        team.push()
        time.sleep(0.01)  # the SDK may remember for a millisecond
        assert served_to(client, "d000000", "c000001", "c000002") == [True, False, True]


def test_without_a_store_the_sdk_serves_the_control(pushed):
    with closing(sdk(pushed.box, None)) as client:
        assert served_to(client, "c000001") == [False]


def test_the_layout_of_the_vendors_redis_store_is_read_by_its_own_client(pushed):
    redis = pytest.importorskip("redis")
    from ldclient.integrations import Redis

    server = redis.Redis(socket_timeout=1)
    try:
        server.ping()
    except redis.exceptions.ConnectionError:
        pytest.skip("no Redis at 127.0.0.1:6379")
    prefix, state = f"lift-test-{os.getpid()}", pushed.box.launchdarkly
    try:
        server.set(f"{prefix}:big_segments_synchronized_on", int(time.time() * 1000))
        for customer in ("c000001", "c000002"):
            included = [ref for ref, is_in in state.big.membership(hashed(customer)).items() if is_in]
            server.sadd(f"{prefix}:big_segment_include:{hashed(customer)}", *included)
        store = Redis.new_big_segment_store(url="redis://127.0.0.1:6379/0", prefix=prefix)
        with closing(sdk(pushed.box, store)) as client:
            assert served_to(client, "c000001", "c000002", "c000003") == [True, True, False]
    finally:
        server.delete(*server.keys(f"{prefix}:*"))


def test_later_changes_go_by_keys_removals_first_and_a_second_push_writes_nothing(pushed):
    pushed.arms |= people(1600, name="d")
    pushed.protected = {"c000001", "c000002"}
    pushed.push()
    assert pushed.members(ELIGIBLE) == set(pushed.arms) - {"c000001", "c000002"} - set(
        people(10, "holdout", "h")
    )
    assert (pushed.asked("POST", "/contexts"), pushed.asked("POST", "/imports")) == (2, 0)
    pushed.box.requests.clear()
    assert pushed.push().writes == 0
    assert pushed.asked("POST") == 0


@pytest.fixture
def deaf(monkeypatch):
    """Return what makes LaunchDarkly take so many changes to big segments without doing anything."""
    monkeypatch.setattr(LaunchDarkly, "pause", lambda *_: None)
    whole = BigStore.change

    def until(changes):
        left = iter(range(changes))

        def change(store, *args, **more):
            if next(left, None) is None:
                whole(store, *args, **more)

        monkeypatch.setattr(BigStore, "change", change)

    return until


@pytest.mark.parametrize("count", [1, 40, 120])
def test_no_message_goes_for_an_addition_that_is_not_there(pushed, deaf, count):
    newcomers = people(count, name="d")
    pushed.arms |= newcomers
    pushed.with_messages()
    deaf(100)
    with pytest.raises(Conflict, match="No message was released"):
        pushed.push()
    assert not any(pushed.attribute(each, READY) for each in newcomers)
    deaf(0)
    pushed.push()
    assert pushed.members(ELIGIBLE) == set(people(MANY) | newcomers)
    assert all(pushed.attribute(each, READY) for each in newcomers)


def test_a_removal_that_is_not_done_is_noticed_however_many_were_removed_before(pushed, deaf):
    pushed.protected = set(list(people(MANY))[:75])
    pushed.push()
    pushed.protected.add("c000200")
    deaf(1)
    pushed.push()  # the whole list, sent in place of the keys, takes them out
    assert pushed.asked("POST", "/imports") == 1
    assert pushed.members(ELIGIBLE) == set(people(MANY)) - pushed.protected


def test_a_push_that_broke_off_leaves_nobody_in_whom_the_record_does_not_know(pushed, monkeypatch):
    """The keys were added, and the process ended before that could be read back and kept."""
    pushed.arms |= people(3, name="d")
    asked = LaunchDarkly.segment

    def lost(client, key):
        if pushed.asked("POST", "/contexts"):
            raise KeyboardInterrupt
        return asked(client, key)

    with monkeypatch.context() as patched:
        patched.setattr(LaunchDarkly, "segment", lost)
        with pytest.raises(KeyboardInterrupt):
            pushed.push()
    assert "d000000" in pushed.members(ELIGIBLE)
    pushed.protected = {"d000000"}
    pushed.push()
    assert pushed.members(ELIGIBLE) == set(people(MANY)) | {"d000001", "d000002"}
    assert pushed.asked("POST", "/imports") == 0
    assert pushed.plan().sync.is_empty


def test_what_a_hand_changed_is_noticed_by_the_count_and_the_whole_list_is_sent(pushed):
    big = pushed.box.launchdarkly.big
    big.change(ELIGIBLE, "included", add={"h000001", "stranger"}, remove=())
    plan = pushed.plan()
    assert f"{ELIGIBLE}: LaunchDarkly counts {MANY + 2:,} members" in plan_text(
        plan, pushed.write().experiment, applied=False
    )
    pushed.push()
    assert pushed.members(ELIGIBLE) == set(people(MANY))
    assert pushed.plan().sync.is_empty


def test_a_swap_that_no_count_shows_is_noticed_where_the_sample_meets_it(pushed):
    gone = set(list(people(MANY))[: MANY // 2])
    strangers = {f"s{n}" for n in range(len(gone))}
    pushed.box.launchdarkly.big.change(ELIGIBLE, "included", add=strangers, remove=gone)
    assert "of a sample are not as recorded" in " ".join(pushed.plan().notes)
    pushed.push()
    assert pushed.members(ELIGIBLE) == set(people(MANY))


def test_a_lost_record_is_no_harm_the_whole_list_is_sent(pushed, tmp_path):
    pushed.folder = tmp_path / "elsewhere"
    pushed.folder.mkdir()
    pushed.push()
    assert pushed.members(ELIGIBLE) == set(people(MANY))
    assert pushed.asked("POST", "/imports") == 1


def test_a_plan_without_big_segments_is_told_before_anybody_is_eligible(team):
    team.box.launchdarkly.has_big_segments = False
    with pytest.raises(
        PushRefused, match=rf"{MANY:,} members.*Big segments are on some.*delivery: {{mode: rollout}}"
    ):
        team.push()
    assert not team.box.launchdarkly.segments


def test_a_standard_segment_never_becomes_a_big_one_and_whoever_must_leave_it_does(team):
    everyone, team.arms = team.arms, people(10)
    team.push()
    team.arms, team.protected = everyone, {"c000003"}
    team.with_messages()
    assert any("until then nobody is added to it" in note for note in team.plan().notes)
    with pytest.raises(PushRefused, match=r"never turned into a big one\. Rename the trait"):
        team.push()
    assert team.members(ELIGIBLE) == set(people(10)) - {"c000003"}
    assert team.members(HOLDOUT) == set(people(10, "holdout", "h"))
    assert {who for who in team.arms if team.attribute(who, READY)} == team.members(ELIGIBLE)


def test_a_holdouts_segment_that_is_full_is_made_big_once_it_was_deleted(team):
    team.arms = people(10) | people(10, "holdout", "h")
    team.push()
    team.arms |= people(MANY, "holdout", "h") | people(1, name="d")
    with pytest.raises(PushRefused, match=rf"{HOLDOUT} would have .* Delete it at LaunchDarkly"):
        team.push()
    assert "d000000" in team.members(ELIGIBLE)
    del team.box.launchdarkly.segments[HOLDOUT]
    team.push()
    assert team.members(HOLDOUT) == set(people(MANY, "holdout", "h"))


def test_whoever_finds_no_room_in_a_renamed_traits_segment_keeps_what_they_have_in_the_old_one(team):
    everyone, spec = team.arms, team.spec
    team.spec = spec.replace("free_shipping_eligible", "shipping_eligible")
    team.arms = people(10)
    team.push()
    team.spec, team.arms = spec, everyone
    team.with_messages()
    team.push()
    team.spec = spec.replace("free_shipping_eligible", "shipping_eligible")
    team.protected = {"c000003"}
    with pytest.raises(PushRefused, match="never turned into a big one"):
        team.push()
    assert team.members("lift-shipping-eligible") == set(people(10)) - team.protected
    assert team.members(ELIGIBLE) == set(people(MANY)) - team.protected
    assert {who for who in team.arms if team.attribute(who, READY)} == team.members(ELIGIBLE)


def test_whoever_finds_no_room_in_one_segment_keeps_another_when_somebody_changes_it_meanwhile(team):
    team.spec = team.spec.replace("arms: [treated], max_age", "arms: [treated, growing], max_age")
    everyone, team.arms = team.arms | people(5, "growing", "g"), people(10)
    team.push()
    team.arms = everyone
    for _ in range(2):
        with pytest.raises(PushRefused, match="never turned into a big one"):
            team.push()
        assert team.members(SMALL) == set(people(5, "growing", "g"))
        team.protected = {"c000003"}
        team.box.fail(Fault("launchdarkly", "status", status=409, method="PATCH", times=1))


def test_a_big_segment_of_another_kind_of_context_is_not_touched(pushed):
    state = pushed.box.launchdarkly
    state.put_segment(replace(state.segments[ELIGIBLE], kind="device"))
    pushed.box.requests.clear()
    with pytest.raises(PushRefused, match="holds contexts of kind 'device'"):
        pushed.push()
    assert pushed.asked("POST") == pushed.asked("PATCH") == 0


def test_losing_a_fifth_of_a_big_segment_is_refused(pushed):
    pushed.protected = set(list(people(MANY))[: MANY // 3])
    with pytest.raises(PushRefused, match="--allow-removals"):
        pushed.push()
    assert len(pushed.members(ELIGIBLE)) == MANY


def test_a_file_with_a_bad_key_is_narrowed_down_to_it(team):
    team.box.launchdarkly.refused_keys = {"c000100"}
    done = team.push()
    assert set(done.not_taken[ELIGIBLE]) == {"c000100"}
    assert team.members(ELIGIBLE) == set(people(MANY)) - {"c000100"}


@pytest.mark.parametrize("later", [False, True])
def test_a_key_that_cannot_be_read_back_is_put_aside_and_nobody_else_waits_for_it(team, later):
    """A path cannot end in it; it may come with the whole list, or with a later change."""
    everyone = {**team.arms, ".": "treated", "..": "treated"}
    if later:
        team.push()
    team.arms = everyone
    team.protected = {"c000001"}
    done = team.push()
    assert set(done.not_taken[ELIGIBLE]) == {".", ".."}
    assert "does not take 2 keys ('.', '..')" in pushed_text(done)
    assert team.members(ELIGIBLE) == set(people(MANY)) - {"c000001"}
    assert team.push().writes == 0


def test_a_record_of_a_key_that_cannot_be_read_back_holds_up_nobody(pushed):
    """An earlier version noted it before it was sent, and never came to read it back."""
    with pushed.opened() as (workspace, spec, _):
        rows = [Membership(ELIGIBLE, ".", "intended")]
        append_memberships(workspace.lake, rows, owners_of(spec.experiment), at=workspace.now(), run="r")
    pushed.box.launchdarkly.big.change(ELIGIBLE, "included", add={"."}, remove=())
    pushed.push()
    assert pushed.members(ELIGIBLE) == set(people(MANY))


def test_members_that_never_become_visible_are_told_as_that_and_nothing_is_announced(team, monkeypatch):
    team.with_messages()
    monkeypatch.setattr(launchdarkly_big.BigSegments, "includes", lambda *_: False)
    with pytest.raises(ToolkitError) as told:
        team.push()
    assert f"({ELIGIBLE} does not show yet what was written: run again later)" in str(told.value)
    assert "No message was released" in str(told.value)
    assert not any(team.attribute(customer, READY) for customer in team.arms)


def test_an_import_that_waits_for_a_person_is_told_so(team):
    team.box.launchdarkly.approvals = True
    team.arms = people(MANY)
    with pytest.raises(
        WaitingForPerson, match=rf"let someone approve it.*What waits: .*{ELIGIBLE} \(add {MANY:,}"
    ):
        team.push()


def test_an_import_that_takes_too_long_is_told_and_goes_on_at_the_next_push(team, monkeypatch):
    monkeypatch.setattr(launchdarkly_big, "FIRST_POLL_SECONDS", 0.001)
    monkeypatch.setattr(launchdarkly_big, "POLLS", 3)
    monkeypatch.setattr(big_segments.Import.__init__, "__defaults__", (6,))
    with pytest.raises(NotReady, match="run again later"):
        team.push()
    assert not team.members(ELIGIBLE)
    monkeypatch.setattr(launchdarkly_big, "POLLS", 20)
    team.push()
    assert team.members(ELIGIBLE) == set(people(MANY))
