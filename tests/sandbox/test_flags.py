"""Flags of the stand-in LaunchDarkly: patches as the vendor documents them, and what its SDK makes of them."""

from __future__ import annotations

import json

import httpx
import pytest
from ldclient import Context

from tests.sandbox.shop import SEMANTIC, include, make, patch, rest
from tests.sandbox.test_contracts import conform, spec
from tests.sandbox.test_sdk import sdk
from toolkit.design.flags import read_flag, read_segment
from toolkit.design.sdk_form import sdk_flag, sdk_segment
from toolkit.sandbox import PROGRAMS, Sandbox
from toolkit.steps.evaluation import offline_sdk

FLAG = "/api/v2/flags/shop/free-shipping-banner"


@pytest.fixture
def client(box: Sandbox) -> httpx.Client:
    return rest(box)


def instruct(client: httpx.Client, *instructions: dict, path: str = FLAG) -> httpx.Response:
    body = {"environmentKey": "production", "instructions": list(instructions)}
    return client.patch(path, json=body, headers=SEMANTIC)


def here(answer: httpx.Response) -> dict:
    assert answer.status_code == 200, answer.text
    return answer.json()["environments"]["production"]


def ids(client: httpx.Client) -> list[str]:
    return [each["_id"] for each in client.get(FLAG).json()["variations"]]


def serving(variation: str, segment: str = "lift-x") -> dict:
    clause = {"attribute": "segmentMatch", "op": "segmentMatch", "values": [segment], "negate": False}
    return {"variationId": variation, "clauses": [clause]}


def test_rules_are_replaced_added_reordered_and_removed(client: httpx.Client):
    yes, no = ids(client)
    told = here(instruct(client, {"kind": "replaceRules", "rules": [serving(no, "a"), serving(yes, "b")]}))
    first, second = (rule["_id"] for rule in told["rules"])
    assert [rule["variation"] for rule in told["rules"]] == [1, 0]
    told = here(instruct(client, {"kind": "addRule", "beforeRuleId": first, **serving(no, "c")}))
    assert [rule["clauses"][0]["values"] for rule in told["rules"]] == [["c"], ["a"], ["b"]]
    third = told["rules"][0]["_id"]
    told = here(instruct(client, {"kind": "reorderRules", "ruleIds": [second, first, third]}))
    assert [rule["_id"] for rule in told["rules"]] == [second, first, third]
    told = here(instruct(client, {"kind": "removeRule", "ruleId": first}))
    assert [rule["_id"] for rule in told["rules"]] == [second, third]


def test_a_rule_and_the_fallthrough_serve_a_variation_or_a_draw(client: httpx.Client):
    yes, no = ids(client)
    draw = {"rolloutWeights": {no: 10_000, yes: 90_000}, "rolloutContextKind": "user"}
    told = here(instruct(client, {"kind": "updateFallthroughVariationOrRollout", **draw}))
    assert told["fallthrough"]["rollout"]["variations"] == [
        {"variation": 1, "weight": 10_000},
        {"variation": 0, "weight": 90_000},
    ]
    rule = told["rules"][0]["_id"]
    told = here(instruct(client, {"kind": "updateRuleVariationOrRollout", "ruleId": rule, **draw}))
    assert "variation" not in told["rules"][0]
    told = here(instruct(client, {"kind": "updateRuleVariationOrRollout", "ruleId": rule, "variationId": no}))
    assert (told["rules"][0]["variation"], "rollout" in told["rules"][0]) == (1, False)


def test_targets_tracking_and_tags_change(client: httpx.Client):
    yes, _ = ids(client)
    targets = [
        {"variationId": yes, "values": ["a"]},
        {"variationId": yes, "values": ["d"], "contextKind": "device"},
    ]
    rule = here(client.get(FLAG))["rules"][0]["_id"]
    answer = instruct(
        client,
        {"kind": "replaceTargets", "targets": targets},
        {"kind": "updateTrackEvents", "trackEvents": False},
        {"kind": "updateTrackEventsFallthrough", "trackEvents": True},
        {"kind": "updateRuleTrackEvents", "ruleId": rule, "trackEvents": True},
        {"kind": "addTags", "values": ["a", "b"]},
        {"kind": "removeTags", "values": ["a"]},
    )
    told = here(answer)
    assert told["targets"] == [{"contextKind": "user", "variation": 0, "values": ["a"]}]
    assert told["contextTargets"][1] == {"contextKind": "device", "variation": 0, "values": ["d"]}
    assert (told["trackEvents"], told["trackEventsFallthrough"], told["rules"][0]["trackEvents"]) == (
        False,
        True,
        True,
    )
    assert answer.json()["tags"] == ["b"]


@pytest.mark.parametrize(
    "instruction",
    [
        {"kind": "dance"},
        {"kind": "updateOffVariation", "variationId": "none"},
        {"kind": "replaceRules", "rules": [{"variationId": "none", "clauses": []}]},
        {"kind": "replaceRules"},
        {"kind": "reorderRules", "ruleIds": []},
        {"kind": "addRule", "beforeRuleId": "none", "clauses": []},
        {"kind": "updateFallthroughVariationOrRollout", "rolloutWeights": {}},
        {"kind": "updateTrackEvents"},
        "turnFlagOff",
    ],
)
def test_a_patch_with_one_bad_instruction_is_refused_as_a_whole(client: httpx.Client, instruction):
    answer = instruct(client, {"kind": "turnFlagOff"}, instruction)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert here(client.get(FLAG))["on"] is True


def test_the_same_patch_again_changes_no_version(client: httpx.Client):
    off = {"kind": "turnFlagOff"}
    first, second = (instruct(client, off).json()["_version"] for _ in range(2))
    assert first == second


def test_a_json_patch_gives_a_rollout_its_seed(client: httpx.Client):
    rollout = {
        "variations": [{"variation": 1, "weight": 50_000}, {"variation": 0, "weight": 50_000}],
        "seed": 61,
    }
    place = "/environments/production/fallthrough"
    operation = {"op": "replace", "path": place, "value": {"rollout": rollout}}
    for body in ([operation], {"patch": [operation], "comment": "c"}):
        assert here(client.patch(FLAG, json=body))["fallthrough"]["rollout"]["seed"] == 61
    bad = {"rollout": {"variations": [{"variation": 7, "weight": 100_000}]}}
    for wrong in ({**operation, "value": bad}, {**operation, "path": "/name"}, {**operation, "op": "remove"}):
        assert client.patch(FLAG, json=[wrong]).status_code == 400


def test_approvals_keep_a_flags_targeting_and_let_its_tags_change(box: Sandbox, client: httpx.Client):
    box.launchdarkly.approvals = True
    answer = instruct(client, {"kind": "turnFlagOff"})
    assert (answer.status_code, "pproval is required" in answer.json()["message"]) == (405, True)
    assert instruct(client, {"kind": "addTags", "values": ["a"]}).status_code == 200


def test_a_flag_is_made_with_its_defaults_tags_and_names_in_the_vendors_shape(
    box: Sandbox, client: httpx.Client
):
    body = {
        "key": "mine",
        "name": "Mine",
        "variations": [{"value": "a", "name": "A"}, {"value": "b"}],
        "defaults": {"onVariation": 1, "offVariation": 1},
        "tags": ["t"],
    }
    answer = client.post("/api/v2/flags/shop", json=body)
    told = answer.json()
    assert told["environments"]["production"]["fallthrough"] == {"variation": 1}
    assert (told["environments"]["production"]["offVariation"], told["tags"]) == (1, ["t"])
    assert [each.get("name") for each in told["variations"]] == ["A", None]
    assert (
        client.post(
            "/api/v2/flags/shop", json={**body, "key": "no", "defaults": {"onVariation": 5}}
        ).status_code
        == 400
    )
    changed = instruct(client, {"kind": "turnFlagOn"}, path="/api/v2/flags/shop/mine")
    document = spec("launchdarkly")
    conform(document, told, "/api/v2/flags/{projectKey}", "post", 201)
    conform(document, changed.json(), "/api/v2/flags/{projectKey}/{featureFlagKey}", "patch", 200)


def test_what_is_read_by_rest_evaluates_as_what_an_sdk_is_sent(box: Sandbox, client: httpx.Client):
    program = PROGRAMS["winback-dormant"]
    for key, members in ((program.holdout_segment, ["h"]), *((key, [key, "h"]) for key in program.eligible)):
        make(client, key)
        patch(client, key, include(*members), include("d1", kind="device"))
    box.launchdarkly.retarget(
        program.flag,
        targets=[{"values": ["t"], "variation": 1, "contextKind": "user"}],
        contextTargets=[
            {"values": [], "variation": 1, "contextKind": "user"},
            {"values": ["d2"], "variation": 2, "contextKind": "device"},
        ],
        fallthrough={
            "rollout": {
                "variations": [
                    {"variation": at, "weight": weight}
                    for at, weight in ((0, 40_000), (1, 30_000), (2, 30_000))
                ],
                "seed": 5,
                "experimentAllocation": {"defaultVariation": 0, "canReshuffle": False},
            }
        },
    )
    told = client.get(f"/api/v2/flags/shop/{program.flag}", params={"env": "production"}).json()
    flag = read_flag(told, "production")
    segments = {
        key: read_segment(client.get(f"/api/v2/segments/shop/production/{key}").json())
        for key in box.launchdarkly.segments
    }
    people = [("user", key) for key in ("h", "t", *program.eligible, *(f"n{n}" for n in range(300)))]
    people += [("device", key) for key in ("d1", "d2", "d3")]
    streaming = sdk(box, stream=False)
    try:
        wanted = [streaming.variation(program.flag, Context.create(key, kind), None) for kind, key in people]
    finally:
        streaming.close()
    with offline_sdk(flag, segments, {}) as offline:
        got = [next(offline.serve([key], kind)).value for kind, key in people]
    assert got == wanted
    assert len(set(got[:305])) == 3
    assert json.loads(json.dumps([sdk_flag(flag), *map(sdk_segment, segments.values())]))
