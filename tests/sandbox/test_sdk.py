from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

import httpx
from ldclient import Config, Context, LDClient

from tests.sandbox.shop import include, make, patch, rest
from toolkit.sandbox import PROGRAMS, Sandbox


def sdk(box: Sandbox, *, stream: bool, **more: object) -> LDClient:
    key = box.environment()["LAUNCHDARKLY_SDK_KEY"]
    at = {"base_uri": box.url, "stream_uri": box.url, "events_uri": box.url}
    return LDClient(Config(key, stream=stream, **at, **{"send_events": False, **more}), start_wait=5)


def within(seconds: float, fact: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if fact():
            return True
        time.sleep(0.005)
    return False


def banner(client: LDClient, key: str) -> bool:
    return client.variation("free-shipping-banner", Context.create(key), False)


def test_a_polling_client_evaluates_by_segment(box: Sandbox):
    with rest(box) as client:
        make(client, "lift-free-shipping-eligible")
        patch(client, "lift-free-shipping-eligible", include("c-1"))
    with closing(sdk(box, stream=False)) as client:
        assert client.is_initialized()
        assert [banner(client, key) for key in ("c-1", "c-2")] == [True, False]


def test_polling_answers_not_modified_to_the_tag_it_gave(box: Sandbox):
    headers = {"Authorization": box.environment()["LAUNCHDARKLY_SDK_KEY"]}
    first = httpx.get(f"{box.url}/sdk/latest-all", headers=headers)
    tagged = {**headers, "If-None-Match": first.headers["ETag"]}
    assert httpx.get(f"{box.url}/sdk/latest-all", headers=tagged).status_code == 304
    make(rest(box), "s")
    assert httpx.get(f"{box.url}/sdk/latest-all", headers=tagged).status_code == 200


def test_a_segment_patch_reaches_a_streaming_client_promptly(box: Sandbox):
    with closing(sdk(box, stream=True)) as client, rest(box) as hand:
        make(hand, "lift-free-shipping-eligible")
        assert not banner(client, "c-1")
        patch(hand, "lift-free-shipping-eligible", include("c-1"))
        assert within(1, lambda: banner(client, "c-1"))
        make(hand, "lift-cart-free-shipping-holdout")
        patch(hand, "lift-cart-free-shipping-holdout", include("c-1"))
        assert within(1, lambda: not banner(client, "c-1"))


def test_a_flag_turned_off_reaches_a_streaming_client(box: Sandbox):
    flag = PROGRAMS["winback-dormant"].flag
    with closing(sdk(box, stream=True)) as client:
        box.launchdarkly.retarget(flag, fallthrough={"variation": 1})
        assert within(1, lambda: client.variation(flag, Context.create("a"), "?") == "free_shipping")
        box.launchdarkly.retarget(flag, on=False)
        assert within(1, lambda: client.variation(flag, Context.create("a"), "?") == "none")


def test_an_access_token_is_refused_where_an_sdk_key_belongs(still: Sandbox):
    headers = {"Authorization": still.environment()["LAUNCHDARKLY_ACCESS_TOKEN"]}
    paths = (("GET", "/all"), ("GET", "/sdk/latest-all"), ("POST", "/bulk"), ("POST", "/diagnostic"))
    answers = {httpx.request(method, still.url + path, headers=headers).status_code for method, path in paths}
    assert answers == {401}


def test_events_and_diagnostics_are_accepted(box: Sandbox):
    with closing(sdk(box, stream=True, send_events=True, flush_interval=0.1)) as client:
        banner(client, "c-1")
        client.flush()
        assert within(3, lambda: ("/bulk", 202) in {(each.path, each.status) for each in box.requests})
