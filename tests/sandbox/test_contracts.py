"""The stand-in's answers against the vendors' own documents and an independent client's models."""

from __future__ import annotations

import json
from pathlib import Path

import launchdarkly_api
import pytest
from jsonschema import Draft202012Validator

from tests.sandbox.shop import SEGMENTS, app, include, make, patch, push, rest, track
from toolkit.sandbox import Sandbox

SPECS = Path(__file__).parents[3] / "shared" / "specs"


@pytest.fixture(scope="module")
def lived() -> Sandbox:
    with Sandbox(seed=3, scale=0.05, limits=False) as box:
        push(box, "vip-early-access", [(key, "early_access", box.now) for key in box.world.people.ids if key])
        box.advance(3)
        client = rest(box)
        make(client, "lift-x", tags=["lift"], description="d")
        patch(client, "lift-x", include("a"), include("d", kind="device"))
        yield box


def spec(name: str) -> dict:
    path = SPECS / f"{name}-openapi.json"
    if not path.exists():
        pytest.skip(f"the vendors' documents are not beside the checkout ({path.name})")
    return json.loads(path.read_text())


def conform(document: dict, answer: object, path: str, method: str, status: int) -> None:
    """Check a JSON answer against the schema that the document declares for it."""
    declared = document["paths"][path][method]["responses"][str(status)]
    if "$ref" in declared:
        declared = document["components"]["responses"][declared["$ref"].rsplit("/", 1)[1]]
    for content in declared.get("content", {}).values():
        Draft202012Validator({**content["schema"], "components": document["components"]}).validate(answer)


@pytest.mark.parametrize(
    ("path", "real"),
    [
        ("/api/v2/segments/{projectKey}/{environmentKey}", SEGMENTS),
        ("/api/v2/segments/{projectKey}/{environmentKey}/{segmentKey}", f"{SEGMENTS}/lift-x"),
        ("/api/v2/segments/{projectKey}/{environmentKey}/{segmentKey}", f"{SEGMENTS}/missing"),
        ("/api/v2/flags/{projectKey}", "/api/v2/flags/shop"),
        ("/api/v2/flags/{projectKey}/{featureFlagKey}", "/api/v2/flags/shop/winback-offer?env=production"),
        ("/api/v2/projects/{projectKey}", "/api/v2/projects/shop"),
        ("/api/v2/projects/{projectKey}/environments", "/api/v2/projects/shop/environments"),
        (
            "/api/v2/projects/{projectKey}/environments/{environmentKey}",
            "/api/v2/projects/shop/environments/production",
        ),
        ("/api/v2/caller-identity", "/api/v2/caller-identity"),
    ],
)
def test_launchdarkly_answers_are_in_the_vendors_shape(lived: Sandbox, path: str, real: str):
    answer = rest(lived).get(real)
    conform(spec("launchdarkly"), answer.json(), path, "get", answer.status_code)


def test_launchdarkly_changes_and_refusals_are_in_the_vendors_shape(lived: Sandbox):
    document, client = spec("launchdarkly"), rest(lived)
    many = "/api/v2/segments/{projectKey}/{environmentKey}"
    for answer in (make(client, "lift-y"), make(client, "no spaces")):
        conform(document, answer.json(), many, "post", answer.status_code)
    one = f"{many}/{{segmentKey}}"
    for answer in (patch(client, "lift-y", include("a")), patch(client, "lift-y", {"kind": "dance"})):
        conform(document, answer.json(), one, "patch", answer.status_code)
    flag = client.post("/api/v2/flags/shop", json={"key": "mine", "name": "Mine"})
    conform(document, flag.json(), "/api/v2/flags/{projectKey}", "post", 201)


@pytest.mark.parametrize(
    ("path", "real"),
    [
        ("/v1/segments", "/v1/segments"),
        ("/v1/segments/{segment_id}", "/v1/segments/7"),
        ("/v1/segments/{segment_id}/membership", "/v1/segments/12/membership"),
        ("/v1/segments/{segment_id}/customer_count", "/v1/segments/12/customer_count"),
        ("/v1/activities", "/v1/activities?type=event&name=Order%20Completed&limit=100"),
        ("/v1/activities", "/v1/activities?type=sent_email"),
        ("/v1/messages", "/v1/messages"),
    ],
)
def test_customerio_answers_are_in_the_vendors_shape(lived: Sandbox, path: str, real: str):
    answer = app(lived).get(real)
    assert answer.status_code == 200
    conform(spec("customerio-app"), answer.json(), path, "get", 200)


def test_customerio_look_ups_are_in_the_vendors_shape(lived: Sandbox):
    document, client = spec("customerio-app"), app(lived)
    keys = [each for each in lived.world.people.ids if each][:20]
    bulk = client.post("/v1/customers/attributes", json={"ids": keys})
    conform(document, bulk.json(), "/v1/customers/attributes", "post", 200)
    one = client.get(f"/v1/customers/{keys[0]}/attributes")
    conform(document, one.json(), "/v1/customers/{customer_id}/attributes", "get", 200)
    found = client.post("/v1/customers", json={"filter": {"segment": {"id": 12}}})
    conform(document, found.json(), "/v1/customers", "post", 200)
    export = client.post("/v1/exports/customers", json={"filters": {"segment": {"id": 12}}})
    conform(document, export.json(), "/v1/exports/customers", "post", 200)
    sent = client.post("/v1/exports/deliveries", json={"campaign_id": 31, "start": 0, "end": 2**31})
    conform(document, sent.json(), "/v1/exports/deliveries", "post", 200)
    number = export.json()["export"]["id"]
    standing = client.get(f"/v1/exports/{number}")
    conform(document, standing.json(), "/v1/exports/{export_id}", "get", 200)
    link = client.get(f"/v1/exports/{number}/download")
    conform(document, link.json(), "/v1/exports/{export_id}/download", "get", 200)


def test_track_answers_are_in_the_vendors_shape(lived: Sandbox):
    document, client = spec("customerio-track"), track(lived)
    for body in ({"batch": [{"type": "thing"}]}, {}):
        answer = client.post("/api/v2/batch", json=body)
        conform(document, answer.json(), "/api/v2/batch", "post", answer.status_code)
    region = client.get("/api/v1/accounts/region")
    declared = document["paths"]["/api/v1/accounts/region"]["get"]["responses"]["200"]["content"]
    shape = declared["application/json"]["schema"]["properties"]
    assert set(region.json()) == set(shape)
    Draft202012Validator(shape["region"]).validate(region.json()["region"])


def test_the_vendors_own_client_reads_segments_flags_and_projects(lived: Sandbox):
    said = lived.environment()
    configuration = launchdarkly_api.Configuration(
        host=lived.url, api_key={"ApiKey": said["LAUNCHDARKLY_ACCESS_TOKEN"]}
    )
    with launchdarkly_api.ApiClient(configuration) as client:
        segments = launchdarkly_api.SegmentsApi(client)
        listed = segments.get_segments("shop", "production")
        one = segments.get_segment("shop", "production", "lift-x")
        flag = launchdarkly_api.FeatureFlagsApi(client).get_feature_flag(
            "shop", "winback-offer", env="production"
        )
        project = launchdarkly_api.ProjectsApi(client).get_project("shop")
        environment = launchdarkly_api.EnvironmentsApi(client).get_environment("shop", "production")
        body = launchdarkly_api.SegmentBody(name="New", key="lift-new")
        made = segments.post_segment("shop", "production", body)
    assert "lift-x" in {each.key for each in listed.items}
    assert (one.included, one.included_contexts[0].values) == (["a"], ["d"])
    assert [each.value for each in flag.variations] == ["none", "free_shipping", "ten_percent"]
    assert flag.environments["production"].rules[0].clauses[0].op == "segmentMatch"
    assert (project.key, environment.key, made.version) == ("shop", "production", 1)
