from __future__ import annotations

import httpx
import pytest

from tests.sandbox.shop import SEGMENTS, include, make, patch, rest
from toolkit.sandbox import PROGRAMS, Sandbox


def test_a_wrong_token_a_bearer_prefix_and_an_sdk_key_are_unauthorized(still: Sandbox):
    said = still.environment()
    for token in ("wrong", f"Bearer {said['LAUNCHDARKLY_ACCESS_TOKEN']}", said["LAUNCHDARKLY_SDK_KEY"]):
        answer = httpx.get(f"{still.url}{SEGMENTS}", headers={"Authorization": token})
        assert answer.status_code == 401, token
        assert set(answer.json()) == {"code", "message", "id"}
        assert answer.json()["code"] == "unauthorized"


def test_the_api_version_is_echoed(still: Sandbox):
    answer = rest(still).get("/api/v2/caller-identity", headers={"LD-API-Version": "20220603"})
    assert answer.headers["LD-API-Version"] == "20220603"


def test_unknown_projects_environments_segments_and_paths_are_not_found(still: Sandbox):
    client = rest(still)
    for path in (
        "/api/v2/segments/other/production",
        "/api/v2/segments/shop/test",
        f"{SEGMENTS}/nothing",
        "/api/v2/flags/shop/nothing",
        "/api/v2/nothing",
    ):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path
    assert client.delete(SEGMENTS).json()["code"] == "method_not_allowed"


def test_a_segment_is_created_once(box: Sandbox):
    client = rest(box)
    first, second = (make(client, "lift-x", tags=["lift"], description="d") for _ in range(2))
    assert (first.status_code, first.json()["tags"], first.json()["version"]) == (201, ["lift"], 1)
    assert (second.status_code, second.json()["code"]) == (409, "key_exists")
    assert make(client, "no spaces").status_code == 400
    assert client.post(SEGMENTS, json={"key": "x"}).status_code == 400


def test_segments_are_listed_in_pages_of_twenty(box: Sandbox):
    client = rest(box)
    for n in range(25):
        make(client, f"s-{n:02d}")
    first = client.get(SEGMENTS).json()
    second = client.get(first["_links"]["next"]["href"]).json()
    assert [each["key"] for each in first["items"] + second["items"]] == [f"s-{n:02d}" for n in range(25)]
    assert (len(first["items"]), first["totalCount"], "next" in second["_links"]) == (20, 25, False)


def test_a_patch_without_the_semantic_content_type_is_refused(box: Sandbox):
    client = rest(box)
    make(client, "s")
    answer = client.patch(f"{SEGMENTS}/s", json={"instructions": [include("a")]})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


def test_users_are_kept_apart_from_other_kinds(box: Sandbox):
    client = rest(box)
    make(client, "s")
    told = patch(client, "s", include("b", "a"), include("d1", kind="device")).json()
    assert told["included"] == ["b", "a"]
    assert told["includedContexts"] == [{"contextKind": "device", "values": ["d1"]}]


def test_what_is_so_already_is_left_and_only_a_change_raises_the_version(box: Sandbox):
    client = rest(box)
    make(client, "s")
    assert patch(client, "s", include("a")).json()["version"] == 2
    assert patch(client, "s", include("a")).json()["version"] == 2
    gone = patch(client, "s", {"kind": "removeIncludedTargets", "contextKind": "user", "values": ["z"]})
    assert (gone.status_code, gone.json()["version"]) == (200, 2)


def test_a_dry_run_tells_the_outcome_and_changes_nothing(box: Sandbox):
    client = rest(box)
    make(client, "s")
    assert patch(client, "s", include("a"), dryRun="true").json()["included"] == ["a"]
    assert client.get(f"{SEGMENTS}/s").json()["included"] == []


def test_a_patch_is_all_or_nothing(box: Sandbox):
    client = rest(box)
    make(client, "s")
    assert patch(client, "s", include("a"), {"kind": "dance"}).status_code == 400
    assert client.get(f"{SEGMENTS}/s").json()["included"] == []


@pytest.mark.parametrize(
    "instruction",
    [
        {"kind": "addIncludedTargets", "values": ["a"]},
        {"kind": "addIncludedTargets", "contextKind": "user", "values": "a"},
        {"kind": "addIncludedTargets", "contextKind": "user", "values": [1]},
        {"kind": "updateName"},
        {"kind": "addTags", "values": "x"},
        {},
    ],
)
def test_an_instruction_that_cannot_be_read_is_refused(box: Sandbox, instruction: dict):
    client = rest(box)
    make(client, "s")
    assert patch(client, "s", instruction).json()["code"] == "invalid_request"


def test_names_and_tags_change_by_instructions(box: Sandbox):
    client = rest(box)
    make(client, "s", tags=["a", "b"])
    told = patch(
        client,
        "s",
        {"kind": "addTags", "values": ["c"]},
        {"kind": "removeTags", "values": ["a"]},
        {"kind": "updateName", "value": "New"},
        {"kind": "updateDescription", "value": "Why"},
        {"kind": "addExcludedTargets", "contextKind": "user", "values": ["x"]},
    ).json()
    assert (told["tags"], told["name"], told["description"]) == (["b", "c"], "New", "Why")
    assert told["excluded"] == ["x"]


def test_1500_target_operations_pass_and_1501_do_not(box: Sandbox):
    client = rest(box)
    make(client, "s")
    assert patch(client, "s", include(*(f"k{n}" for n in range(1500)))).status_code == 200
    split = include(*(f"j{n}" for n in range(1000))), include(*(f"l{n}" for n in range(501)))
    assert patch(client, "s", *split).status_code == 400


def test_a_standard_segment_holds_15000_contexts_and_no_more(box: Sandbox):
    client = rest(box)
    make(client, "s")
    for start in range(0, 15_000, 1500):
        assert patch(client, "s", include(*(f"k{start + n}" for n in range(1500)))).status_code == 200
    assert patch(client, "s", include("one-more")).status_code == 400
    assert patch(client, "s", include("k1")).status_code == 200


def test_with_approvals_on_creation_passes_and_targeting_waits(box: Sandbox):
    box.launchdarkly.approvals = True
    client = rest(box)
    assert make(client, "s").status_code == 201
    answer = patch(client, "s", include("a"))
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert "pproval is required" in answer.json()["message"]


def test_the_flags_are_safe_from_the_start(still: Sandbox):
    for program in PROGRAMS.values():
        told = rest(still).get(f"/api/v2/flags/shop/{program.flag}", params={"env": "production"}).json()
        values = [each["value"] for each in told["variations"]]
        targeting = told["environments"]["production"]
        control = values.index(program.control)
        assert values == list(program.variations)
        assert (targeting["fallthrough"], targeting["offVariation"]) == ({"variation": control}, control)
        matched = [(rule["clauses"][0]["values"], values[rule["variation"]]) for rule in targeting["rules"]]
        assert matched == [
            (["lift-always-on-2026h2-holdout"], program.control),
            ([program.holdout_segment], program.control),
            *(([segment], value) for segment, value in program.eligible.items()),
        ]


def test_flags_can_be_made_listed_and_turned_off(box: Sandbox):
    client = rest(box)
    made = client.post("/api/v2/flags/shop", json={"key": "mine", "name": "Mine"})
    listed = client.get("/api/v2/flags/shop").json()
    semantic = {"Content-Type": "application/json; domain-model=launchdarkly.semanticpatch"}
    path = "/api/v2/flags/shop/free-shipping-banner"
    off = client.patch(path, json={"instructions": [{"kind": "turnFlagOff"}]}, headers=semantic)
    assert (made.status_code, "environments" in listed["items"][0]) == (201, False)
    assert "mine" in {each["key"] for each in listed["items"]}
    assert off.json()["environments"]["production"]["on"] is False
    assert client.patch(path, json=[]).status_code == 400
