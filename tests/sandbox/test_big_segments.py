from __future__ import annotations

import httpx
import pytest

from tests.sandbox.shop import SEGMENTS, include, make, patch, rest
from tests.sandbox.test_contracts import conform, spec
from toolkit.sandbox import Sandbox
from toolkit.sandbox.big_segments import hashed

BIG = {"unbounded": True, "unboundedContextKind": "user"}
ONE = "/api/v2/segments/{projectKey}/{environmentKey}/{segmentKey}"


@pytest.fixture
def client(box: Sandbox) -> httpx.Client:
    client = rest(box)
    assert make(client, "big", **BIG).status_code == 201
    return client


def change(client: httpx.Client, **sides: dict) -> httpx.Response:
    return client.post(f"{SEGMENTS}/big/contexts", json=sides)


def member(client: httpx.Client, key: str) -> tuple[bool, bool]:
    told = client.get(f"{SEGMENTS}/big/contexts/{key}").json()
    return told["included"], told["excluded"]


def imported(client: httpx.Client, content: str, mode: str) -> httpx.Response:
    return client.post(f"{SEGMENTS}/big/imports", files={"file": ("m.csv", content)}, data={"mode": mode})


def finished(client: httpx.Client, where: str) -> str:
    for _ in range(5):
        status = client.get(where).json()["status"]
        if status != "in_progress":
            return status
    return status


def test_members_are_counted_and_told_one_by_one_but_never_listed(client: httpx.Client):
    assert change(client, included={"add": ["a", "b"]}, excluded={"add": ["b", "x"]}).status_code == 204
    told = client.get(f"{SEGMENTS}/big").json()
    assert (told["unbounded"], told["included"]) == (True, [])
    assert told["_unboundedMetadata"]["includedCount"] == 2
    assert [member(client, key) for key in "abxz"] == [
        (True, False),
        (True, True),
        (False, True),
        (False, False),
    ]
    change(client, included={"remove": ["a", "nobody"]})
    assert member(client, "a") == (False, False)


def test_an_import_replaces_or_adds_once_it_is_done(client: httpx.Client):
    change(client, included={"add": ["a", "b"]})
    answer = imported(client, 'b\n"c,d"\n', "replace")
    assert (answer.status_code, client.get(f"{SEGMENTS}/big").json()["_importInProgress"]) == (204, True)
    assert finished(client, answer.headers["Location"]) == "complete"
    assert [member(client, key)[0] for key in ("a", "b", "c,d")] == [False, True, True]
    assert finished(client, imported(client, "e\n", "merge").headers["Location"]) == "complete"
    assert [member(client, key)[0] for key in ("b", "e")] == [True, True]


def test_two_imports_into_a_segment_do_not_go_at_once(client: httpx.Client):
    imported(client, "a\n", "merge")
    assert imported(client, "b\n", "merge").json()["code"] == "optimistic_locking_error"


def test_a_patch_of_targets_and_a_change_of_a_standard_segment_are_refused(client: httpx.Client):
    assert patch(client, "big", include("a")).json()["code"] == "invalid_request"
    make(client, "standard")
    for answer in (
        client.post(f"{SEGMENTS}/standard/contexts", json={}),
        client.get(f"{SEGMENTS}/standard/contexts/a"),
        client.post(f"{SEGMENTS}/standard/imports"),
    ):
        assert answer.json()["code"] == "invalid_request"


def test_without_the_plan_none_is_made(box: Sandbox):
    box.launchdarkly.has_big_segments = False
    assert make(rest(box), "big", **BIG).json()["code"] == "forbidden"


def test_with_approvals_on_keys_are_refused_and_imports_wait(box: Sandbox, client: httpx.Client):
    box.launchdarkly.approvals = True
    assert change(client, included={"add": ["a"]}).status_code == 403
    assert finished(client, imported(client, "a\n", "merge").headers["Location"]) == "pending_approval"
    assert member(client, "a") == (False, False)


def test_a_key_that_no_segment_takes_fails_the_whole_request(box: Sandbox, client: httpx.Client):
    httpx.post(f"{box.url}/_sandbox/set", json={"refused_keys": ["bad"]})
    assert change(client, included={"add": ["a", "bad"]}).status_code == 400
    assert finished(client, imported(client, "a\nbad\n", "merge").headers["Location"]) == "stopped"
    assert member(client, "a") == (False, False)
    make(client, "standard")
    assert patch(client, "standard", include("a", "bad")).status_code == 400
    assert patch(client, "standard", include("a")).status_code == 200


def test_a_key_is_never_both_included_and_excluded_in_a_standard_segment(client: httpx.Client):
    make(client, "standard")
    assert patch(client, "standard", {**include("a"), "kind": "addExcludedTargets"}).status_code == 200
    assert patch(client, "standard", include("a")).status_code == 400


def test_a_store_tells_included_before_excluded_by_the_hash_of_the_key(box: Sandbox, client: httpx.Client):
    change(client, included={"add": ["a"]}, excluded={"add": ["a", "b"]})
    big = box.launchdarkly.big
    assert hashed("a") == "ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs="
    assert big.membership(hashed("a")) == {"big.g1": True}
    assert big.membership(hashed("b")) == {"big.g1": False}
    assert big.membership(hashed("c")) == {}


def test_answers_are_in_the_vendors_shape(client: httpx.Client):
    document = spec("launchdarkly")
    change(client, included={"add": ["a"]})
    many = "/api/v2/segments/{projectKey}/{environmentKey}"
    made = make(client, "other", **BIG)
    conform(document, made.json(), many, "post", made.status_code)
    conform(document, client.get(f"{SEGMENTS}/big").json(), ONE, "get", 200)
    told = client.get(f"{SEGMENTS}/big/contexts/a").json()
    conform(document, told, f"{ONE}/contexts/{{contextKey}}", "get", 200)
    wrong = client.post(f"{SEGMENTS}/big/contexts", json={"included": {"add": "a"}})
    conform(document, wrong.json(), f"{ONE}/contexts", "post", wrong.status_code)
    job = client.get(imported(client, "b\n", "merge").headers["Location"]).json()
    conform(document, job, f"{ONE}/imports/{{importID}}", "get", 200)
