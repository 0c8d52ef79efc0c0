from __future__ import annotations

import time
from datetime import datetime, timedelta

import httpx
import pytest

from tests.sandbox.shop import SEGMENTS, app, include, make, patch, rest
from toolkit.errors import ToolkitError
from toolkit.sandbox import Fault, Sandbox
from toolkit.sandbox.limits import Bucket, Windows
from toolkit.sandbox.server import Server


def test_the_app_api_gives_ten_requests_a_second_and_then_a_bare_429():
    with Sandbox(seed=3, scale=0.01, clock=lambda: 0.0) as box, app(box) as client:
        answers = [client.get("/v1/segments") for _ in range(12)]
    assert [each.status_code for each in answers] == [200] * 10 + [429] * 2
    assert answers[-1].content == b""
    assert "retry-after" not in answers[-1].headers


def test_a_bucket_refills_with_time():
    now = [0.0]
    bucket = Bucket(10, lambda: now[0])
    assert [bucket.take() for _ in range(11)] == [True] * 10 + [False]
    now[0] += 0.25
    assert [bucket.take() for _ in range(3)] == [True, True, False]


def test_launchdarkly_counts_each_route_and_all_together_in_windows():
    now = [1000.0]
    windows = Windows(route=2, everywhere=3, clock=lambda: now[0])
    assert [windows.take("a").granted for _ in range(3)] == [True, True, False]
    assert [windows.take("b").granted for _ in range(2)] == [True, False]
    now[0] += 10
    told = windows.take("a")
    assert told.headers(now[0]) == {
        "X-Ratelimit-Global-Remaining": "2",
        "X-Ratelimit-Route-Remaining": "1",
        "X-Ratelimit-Reset": "1020000",
    }


def test_too_many_requests_to_launchdarkly_are_told_when_to_come_back():
    with Sandbox(seed=3, scale=0.01, clock=lambda: 1000.0) as box, rest(box) as client:
        answers = [client.get(SEGMENTS) for _ in range(101)]
    last = answers[-1]
    assert {each.status_code for each in answers[:-1]} == {200}
    assert (last.status_code, last.json()["code"], last.headers["Retry-After"]) == (429, "rate_limited", "10")
    assert last.headers["X-Ratelimit-Reset"] == "1010000"
    assert answers[0].headers["X-Ratelimit-Route-Remaining"] == "99"


def test_a_scripted_status_strikes_as_often_as_said_and_does_nothing(box: Sandbox):
    said = {"vendor": "launchdarkly", "status": 429, "times": 3, "method": "POST"}
    assert httpx.post(f"{box.url}/_sandbox/fail", json=said).status_code == 200
    client = rest(box)
    assert client.get(SEGMENTS).status_code == 200
    struck = [make(client, "s") for _ in range(4)]
    assert [each.status_code for each in struck] == [429, 429, 429, 201]
    assert (struck[0].json()["code"], struck[0].headers["Retry-After"]) == ("rate_limited", "1")


@pytest.mark.parametrize(
    ("status", "code"), [(409, "optimistic_locking_error"), (500, "internal_service_error")]
)
def test_a_scripted_conflict_or_failure_speaks_as_the_vendor(box: Sandbox, status: int, code: str):
    box.fail(Fault("launchdarkly", status=status))
    assert rest(box).get(SEGMENTS).json()["code"] == code


def test_a_scripted_answer_may_bring_its_own_body_and_headers(box: Sandbox):
    box.fail(Fault("customerio", status=429, headers={"Retry-After": "2"}))
    box.fail(Fault("customerio", status=200, body={"segments": "wrong"}))
    client = app(box)
    assert client.get("/v1/segments").headers["Retry-After"] == "2"
    assert client.get("/v1/segments").json() == {"segments": "wrong"}


def test_a_reset_breaks_the_connection_before_anything_is_done(box: Sandbox):
    box.fail(Fault("launchdarkly", kind="reset"))
    with pytest.raises(httpx.TransportError):
        make(rest(box), "s")
    assert box.launchdarkly.segments == {}
    assert box.requests[-1].status == 0


@pytest.mark.parametrize("kind", ["apply_then_reset", "apply_then_timeout"])
def test_a_change_can_be_applied_although_its_answer_never_comes(box: Sandbox, kind: str):
    client = rest(box)
    make(client, "s")
    box.fail(Fault("launchdarkly", kind=kind, method="PATCH"))
    client.timeout = 0.3
    with pytest.raises(httpx.TransportError):
        patch(client, "s", include("a"))
    assert box.launchdarkly.segments["s"].included == {"user": ("a",)}


def test_a_fault_without_vendor_or_with_unknown_fields_is_refused(box: Sandbox):
    for said in ({}, {"vendor": "launchdarkly", "colour": "red"}):
        assert httpx.post(f"{box.url}/_sandbox/fail", json=said).status_code == 400


def test_another_process_moves_time_and_reads_the_state(box: Sandbox):
    begun = box.now
    told = httpx.post(f"{box.url}/_sandbox/advance", json={"days": 2}, timeout=20).json()
    assert datetime.fromisoformat(told["now"]) == box.now == begun + timedelta(days=2)
    state = httpx.get(f"{box.url}/_sandbox/state").json()
    assert state["environment"] == box.environment()
    assert state["environment"]["LIFT_NOW"] == box.now.isoformat()
    assert state["counts"]["evaluations"] == len(box.evaluations) > 0
    assert httpx.post(f"{box.url}/_sandbox/advance", json={"days": "many"}).status_code == 400


def test_another_process_sets_approvals_and_building_segments(box: Sandbox):
    assert httpx.post(f"{box.url}/_sandbox/set", json={"approvals": True, "building": [7]}).status_code == 200
    assert httpx.post(f"{box.url}/_sandbox/set", json={"colour": "red"}).status_code == 400
    assert (box.launchdarkly.approvals, box.customerio.building) == (True, {7})


def test_the_log_of_requests_tells_vendor_status_and_simulated_instant(box: Sandbox):
    make(rest(box), "s")
    app(box).get("/v1/segments/99")
    told = [(each.vendor, each.method, each.status, each.at) for each in box.requests]
    assert told == [("launchdarkly", "POST", 201, box.now), ("customerio", "GET", 404, box.now)]


def test_a_taken_port_is_told_without_a_traceback(still: Sandbox):
    with pytest.raises(ToolkitError, match="cannot be served on"):
        Server(None, int(still.url.rsplit(":", 1)[1]))


def test_a_sandbox_stops_soon_and_frees_its_port():
    with Sandbox(seed=3, scale=0.01) as box:
        box.advance(1)
        url = box.url
        begun = time.monotonic()
    assert time.monotonic() - begun < 3
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{url}/_sandbox/state")
