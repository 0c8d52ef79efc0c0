"""Every request the clients send, against the vendors' own documents."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from jsonschema import Draft202012Validator

from tests.clients.wiring import Vendor
from toolkit.design.people_filter import problem_of

SPECS = Path(__file__).parents[2].parent / "shared" / "specs"
PATCH_TYPE = "application/json; domain-model=launchdarkly.semanticpatch"
SEGMENT = {"key": "lift-x", "name": "x", "version": 1}
PEOPLE = {"identifiers": [], "ids": [], "next": ""}
PATCH = {
    "type": "object",
    "required": ["environmentKey", "instructions"],
    "additionalProperties": False,
    "properties": {
        "environmentKey": {"type": "string", "minLength": 1},
        "comment": {"type": "string"},
        "instructions": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["kind", "contextKind", "values"],
                "additionalProperties": False,
                "properties": {
                    "kind": {"enum": ["addIncludedTargets", "removeIncludedTargets"]},
                    "contextKind": {"type": "string", "minLength": 1},
                    "values": {"type": "array", "minItems": 1, "maxItems": 1500, "items": {"type": "string"}},
                },
            },
        },
    },
}


@cache
def document(name: str) -> dict[str, Any]:
    path = SPECS / f"{name}-openapi.json"
    if not path.exists():
        pytest.skip(f"the vendors' documents are not beside the checkout ({path})")
    return json.loads(path.read_text())


def operation(spec: dict[str, Any], request: httpx.Request) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the documented operation of a request, and its parameters."""
    path = request.url.raw_path.decode().split("?")[0]
    for template, about in spec["paths"].items():
        if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path) and request.method.lower() in about:
            found = about[request.method.lower()]
            return found, [*about.get("parameters", ()), *found.get("parameters", ())]
    raise AssertionError(f"{request.method} {path} is not documented")


def conforms(name: str, request: httpx.Request) -> None:
    spec = document(name)
    found, parameters = operation(spec, request)
    known = {each["name"]: each["schema"] for each in parameters if each["in"] == "query"}
    for key, values in parse_qs(request.url.query.decode(), strict_parsing=bool(request.url.query)).items():
        assert key in known, f"{key} is no parameter of {request.url.path}"
        value = int(values[0]) if known[key].get("type") == "integer" else values[0]
        Draft202012Validator(known[key]).validate(value)
    assert bool(request.content) == ("requestBody" in found)
    if not request.content:
        return
    body = json.loads(request.content)
    if request.method == "PATCH":
        assert request.headers["Content-Type"] == PATCH_TYPE
        Draft202012Validator(PATCH).validate(body)
        return
    declared = found["requestBody"]["content"][request.headers["Content-Type"]]["schema"]
    schema = {**declared, "components": spec["components"]}
    # the filter's branches require nothing, so an object meets several: one of them is enough, and a form of our
    # own holds what the vendor's lets pass
    for name in {"filter", "filters"} & set(body):
        assert problem_of(body[name]) is None
    schema = json.loads(json.dumps(schema).replace('"oneOf"', '"anyOf"'))
    Draft202012Validator(schema).validate(body)


BOTH = {"and": [{"segment": {"id": 4}}, {"attribute": {"field": "x", "operator": "eq", "value": "y"}}]}
DONE = {"export": {"id": 3, "status": "done", "total": 2}}
APP = {
    "segment": ({"segment": {"id": 7, "name": "s", "state": "finished"}}, lambda c: c.segment(7)),
    "segment size": ({"count": 1}, lambda c: c.segment_size(7)),
    "members": (
        {"segment": {"id": 7, "name": "s", "state": "finished"}, **PEOPLE},
        lambda c: list(c.segment_members(7)),
    ),
    "search": (PEOPLE, lambda c: list(c.search(BOTH))),
    "attributes": ({"customers": []}, lambda c: list(c.attributes([str(n) for n in range(250)]))),
    "attributes by e-mail": ({"customers": []}, lambda c: list(c.attributes(["a+b@c.d"], id_type="email"))),
    "activities": (
        {"activities": [], "next": ""},
        lambda c: list(c.activity_pages(start="a+b/c==", name="Order Completed")),
    ),
    "messages": (
        {"messages": [], "next": ""},
        lambda c: list(c.message_pages(campaign_id=3, metric="sent", start_ts=1, end_ts=2)),
    ),
    "export of people": (DONE, lambda c: c.exports.people(BOTH, ["ltv_90d"])),
    "an export": (DONE, lambda c: c.exports.look(3)),
    "an export's file": (
        {"url": "https://files.example/x.csv"},
        lambda c: c._wire.ask("GET", "/v1/exports/3/download"),
    ),
}
LAUNCHDARKLY = {
    "segment": (SEGMENT, lambda c: c.segment("lift-x")),
    "new segment": (SEGMENT, lambda c: c.create_segment("lift-x", name="x", description="d", tags=["lift"])),
    "targets": (SEGMENT, lambda c: c.change_targets("lift-x", add=["a"], remove=["b"], comment="why")),
    "flag": ({"environments": {"prod": {}}}, lambda c: c.flag("offer")),
    "access": ({}, lambda c: c.check_access()),
}


@pytest.mark.parametrize("case", APP)
def test_requests_to_the_app_api_are_as_documented(case):
    answer, call = APP[case]
    vendor = Vendor([answer])
    call(vendor.app())
    assert vendor.asked
    for request in vendor.asked:
        conforms("customerio-app", request)


@pytest.mark.parametrize("case", LAUNCHDARKLY)
def test_requests_to_launchdarkly_are_as_documented(case):
    answer, call = LAUNCHDARKLY[case]
    vendor = Vendor([answer])
    call(vendor.launchdarkly())
    assert [request.headers["LD-API-Version"] for request in vendor.asked] == ["20240415"]
    conforms("launchdarkly", vendor.asked[0])


def test_requests_to_the_track_api_are_as_documented():
    vendor = Vendor([{}])
    client = vendor.track()
    client.identify([({"id": "42"}, {"holdout": True, "n": 1, "t": "x"}), ({"email": "a+b@c.d"}, {"x": "y"})])
    for request in vendor.asked:
        conforms("customerio-track", request)


def test_a_request_the_documents_do_not_know_would_be_noticed():
    with pytest.raises(AssertionError, match="is no parameter"):
        conforms("customerio-app", httpx.Request("GET", "https://h/v1/activities?until=3"))
    misspelt = json.dumps({"filter": {"and": [{"segmnt": {"id": 4}}]}}).encode()
    as_json = {"Content-Type": "application/json"}
    asked = httpx.Request("POST", "https://h/v1/customers", content=misspelt, headers=as_json)
    with pytest.raises(AssertionError, match="segmnt"):
        conforms("customerio-app", asked)
    with pytest.raises(AssertionError, match="not documented"):
        conforms("customerio-app", httpx.Request("GET", "https://h/v1/events"))
