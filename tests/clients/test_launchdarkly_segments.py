from __future__ import annotations

import json

import httpx
import pytest

from tests.clients.wiring import Vendor, refused
from toolkit.errors import (
    Conflict,
    DataError,
    InvalidRequest,
    NotFound,
    Unauthorized,
    UnexpectedAnswer,
    WaitingForPerson,
)

SEGMENT = {
    "key": "lift-x",
    "name": "x",
    "version": 3,
    "tags": ["lift"],
    "included": ["a", "b"],
    "includedContexts": [
        {"contextKind": "user", "values": ["c"]},
        {"contextKind": "device", "values": ["d"]},
    ],
}
MISSING = refused(404, "not_found", "Invalid resource identifier")


def test_members_of_kind_user_are_read_from_both_lists():
    assert Vendor([SEGMENT]).launchdarkly().segment("lift-x").included == {"a", "b", "c"}


def test_members_of_another_kind_are_read_from_its_list_only():
    found = Vendor([SEGMENT]).launchdarkly(context_kind="device").segment("lift-x")
    assert (found.included, found.tags, found.version, found.unbounded) == ({"d"}, ("lift",), 3, False)


def test_a_target_that_names_no_kind_is_a_user():
    told = {**SEGMENT, "includedContexts": [{"values": ["e"]}]}
    assert Vendor([told]).launchdarkly().segment("lift-x").included == {"a", "b", "e"}
    assert Vendor([told]).launchdarkly(context_kind="device").segment("lift-x").included == frozenset()


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"tags": 5}, "tags"),
        ({"tags": [5]}, "tags"),
        ({"rules": 5}, "rules"),
        ({"unbounded": "yes"}, "unbounded"),
        ({"included": {"a": 1}}, "included"),
        ({"excluded": ["a", None]}, "excluded"),
        ({"includedContexts": 5}, "includedContexts"),
        ({"includedContexts": [5]}, "includedContexts"),
        ({"includedContexts": [{"contextKind": 5, "values": ["a"]}]}, "contextKind"),
        ({"includedContexts": [{"contextKind": "user", "values": 5}]}, "values"),
        ({"excludedContexts": [{"contextKind": "user", "values": "ab"}]}, "values"),
        ({"unbounded": True, "unboundedContextKind": 5}, "unboundedContextKind"),
        ({"_unboundedMetadata": "x"}, "_unboundedMetadata"),
        ({"_unboundedMetadata": {"includedCount": "7"}}, "includedCount"),
        ({"_importInProgress": "no"}, "_importInProgress"),
    ],
)
def test_a_segment_in_another_shape_is_unexpected_and_names_the_field(changed, field):
    with pytest.raises(UnexpectedAnswer, match=f"LaunchDarkly's segment lift-x: `{field}`"):
        Vendor([{**SEGMENT, **changed}]).launchdarkly().segment("lift-x")


def test_lists_that_are_null_are_empty():
    told = {**SEGMENT, "tags": None, "included": None, "includedContexts": None, "rules": None}
    found = Vendor([told]).launchdarkly().segment("lift-x")
    assert (found.tags, found.included, found.rules) == ((), frozenset(), 0)


def test_a_missing_segment_is_none_where_the_environment_is_there():
    vendor = Vendor([MISSING, {"key": "prod"}])
    assert vendor.launchdarkly().segment("lift-x") is None
    assert vendor.asked[1].url.path == "/api/v2/projects/shop/environments/prod"


def test_a_wrong_project_or_environment_is_never_taken_for_a_missing_segment():
    calls = (
        lambda c: c.segment("lift-x"),
        lambda c: c.create_segment("lift-x", name="x", description="", tags=()),
        lambda c: c.change_targets("lift-x", add=["a"], comment=""),
        lambda c: c.flag("offer"),
        lambda c: c.check_access(),
    )
    for call in calls:
        with pytest.raises(NotFound, match=r"environment 'prod' in project 'shop'.*LAUNCHDARKLY_PROJECT"):
            call(Vendor([MISSING]).launchdarkly())


def test_keys_are_percent_encoded_in_the_path():
    vendor = Vendor([{**SEGMENT, "key": "a+b/c@d e"}])
    vendor.launchdarkly().segment("a+b/c@d e")
    assert vendor.asked[0].url.raw_path == b"/api/v2/segments/shop/prod/a%2Bb%2Fc%40d%20e"


def test_a_change_is_one_semantic_patch_that_removes_before_it_adds():
    vendor = Vendor([SEGMENT])
    after = vendor.launchdarkly().change_targets("lift-x", add=["a+b@c"], remove=["z"], comment="why")
    (request,) = vendor.asked
    assert after.version == 3
    assert request.headers["Content-Type"] == "application/json; domain-model=launchdarkly.semanticpatch"
    assert json.loads(request.content) == {
        "environmentKey": "prod",
        "comment": "why",
        "instructions": [
            {"kind": "removeIncludedTargets", "contextKind": "user", "values": ["z"]},
            {"kind": "addIncludedTargets", "contextKind": "user", "values": ["a+b@c"]},
        ],
    }


def test_1500_targets_are_sent_and_one_more_is_refused_before_anything_is_sent():
    vendor = Vendor([SEGMENT])
    client, keys = vendor.launchdarkly(), [str(n) for n in range(1500)]
    client.change_targets("lift-x", add=keys, comment="")
    for add, remove in ((keys, ["z"]), ((), ()), (["a"], ["a"])):
        with pytest.raises(DataError):
            client.change_targets("lift-x", add=add, remove=remove, comment="")
    assert len(vendor.asked) == 1


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (refused(403, "forbidden", "Approval is required"), WaitingForPerson, "approve the change"),
        (refused(403, "forbidden", "Access denied"), Unauthorized, "updateIncluded"),
        (refused(409, "optimistic_locking_error", "stale"), Conflict, "someone else changed it"),
        (refused(401, "unauthorized", "no"), Unauthorized, "LAUNCHDARKLY_ACCESS_TOKEN"),
        (refused(400, "invalid_request", "too many targets"), InvalidRequest, "too many targets"),
    ],
)
def test_a_refused_change_says_what_to_do_and_is_not_repeated(answer, kind, said):
    vendor = Vendor([answer])
    with pytest.raises(kind, match=said) as told:
        vendor.launchdarkly().change_targets("lift-x", add=["a"], comment="")
    assert type(told.value) is kind
    assert len(vendor.asked) == 1


def test_a_change_of_a_missing_segment_says_that_it_must_be_created():
    with pytest.raises(NotFound, match="no segment 'lift-x' in shop/prod: create it first"):
        Vendor([MISSING, {"key": "prod"}]).launchdarkly().change_targets("lift-x", add=["a"], comment="")


def test_a_key_that_exists_is_a_conflict_told_apart_from_a_stale_one():
    with pytest.raises(Conflict, match="has it already"):
        Vendor([refused(409, "key_exists", "exists")]).launchdarkly().create_segment(
            "lift-x", name="x", description="", tags=()
        )


def test_a_create_whose_answer_was_lost_ends_in_a_conflict_to_look_into():
    vendor = Vendor([httpx.ReadTimeout("slow"), refused(409, "key_exists", "exists")])
    with pytest.raises(Conflict):
        vendor.launchdarkly().create_segment("lift-x", name="x", description="", tags=())


def test_an_answer_about_another_segment_is_not_taken_for_ours():
    with pytest.raises(UnexpectedAnswer, match="another segment"):
        Vendor([SEGMENT]).launchdarkly().segment("lift-y")


def test_a_flag_without_our_environment_is_not_taken_for_one_with_empty_targeting():
    with pytest.raises(NotFound, match="flag 'offer' has no environment 'prod'"):
        Vendor([{"environments": {"test": {}}}, {"key": "prod"}]).launchdarkly().flag("offer")
