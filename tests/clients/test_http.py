from __future__ import annotations

import logging
import socket
import threading
import time
import traceback
from contextlib import contextmanager, suppress
from email.utils import formatdate

import httpx
import pytest

from tests.clients.wiring import APP_KEY, START, TOKEN, TRACK_KEY, Clock, Vendor, refused
from toolkit.clients import CustomerIO, CustomerIOTrack, LaunchDarkly
from toolkit.clients.http import path_of
from toolkit.errors import (
    DataError,
    RateLimited,
    SettingsError,
    Unauthorized,
    UnexpectedAnswer,
    Unreachable,
    VendorError,
)

COUNT = {"count": 3}
SOMEBODY = ({"id": "42"}, {"arm": "holdout"})


def fail(error):
    raise error


def test_a_storm_of_429_without_headers_is_ridden_out_with_growing_waits():
    vendor = Vendor([httpx.Response(429)] * 7 + [COUNT])
    assert vendor.app().segment_size(7) == 3
    gaps = vendor.gaps()
    assert len(gaps) == 7
    assert all(later > earlier for earlier, later in zip(gaps, gaps[1:5], strict=False))
    assert 40 < sum(gaps) <= 90


def test_an_endless_storm_of_429_ends_within_the_budget_and_says_how_long_it_was_tried():
    vendor = Vendor([httpx.Response(429)])
    with pytest.raises(
        RateLimited, match=r"\(429\) at GET /v1/segments/7/customer_count, tried 8 times over \d+ s"
    ):
        vendor.app().segment_size(7)
    assert len(vendor.asked) == 8
    assert sum(vendor.clock.naps) <= 90


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_in_seconds_is_never_undercut_and_barely_exceeded(status):
    vendor = Vendor([httpx.Response(status, headers={"Retry-After": "7"}), COUNT])
    vendor.app().segment_size(7)
    assert 7 <= vendor.gaps()[0] <= 8


def test_retry_after_as_a_date_is_obeyed():
    vendor = Vendor(
        [httpx.Response(429, headers={"Retry-After": formatdate(START + 12, usegmt=True)}), COUNT]
    )
    vendor.app().segment_size(7)
    assert 12 <= vendor.gaps()[0] <= 13


@pytest.mark.parametrize("header", ["soon", "-3", "nan", "inf", "0", formatdate(START - 60, usegmt=True), ""])
def test_a_retry_after_that_says_nothing_leaves_the_usual_back_off(header):
    vendor = Vendor([httpx.Response(429, headers={"Retry-After": header}), COUNT])
    vendor.app().segment_size(7)
    assert 0.5 <= vendor.gaps()[0] <= 1


def test_a_wait_beyond_the_budget_is_not_slept_and_holds_for_the_next_call_too():
    vendor = Vendor([httpx.Response(429, headers={"Retry-After": "3600"}), COUNT])
    app = vendor.app()
    with pytest.raises(RateLimited, match="asks to wait 3600 s"):
        app.segment_size(7)
    with pytest.raises(RateLimited, match="no more requests for 3600 s"):
        app.segment_size(7)
    assert len(vendor.asked) == 1
    vendor.clock.now += 3600
    assert app.segment_size(7) == 3


def test_a_spent_window_of_launchdarkly_is_waited_out_before_the_next_request():
    spent = {"X-Ratelimit-Route-Remaining": "0", "X-Ratelimit-Reset": str(int((START + 6) * 1000))}
    vendor = Vendor([httpx.Response(200, json={}, headers=spent), {}])
    client = vendor.launchdarkly()
    client.check_access()
    assert vendor.clock.naps == []
    client.check_access()
    assert 6 <= vendor.gaps()[0] <= 7


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Ratelimit-Global-Remaining": "0", "X-Ratelimit-Reset": str(int((START - 5) * 1000))},
        {"X-Ratelimit-Global-Remaining": "4", "X-Ratelimit-Reset": str(int((START + 6) * 1000))},
        {"X-Ratelimit-Global-Remaining": "0"},
    ],
)
def test_a_reset_in_the_past_or_a_window_with_room_costs_no_wait(headers):
    vendor = Vendor([httpx.Response(200, json={}, headers=headers), {}])
    client = vendor.launchdarkly()
    client.check_access()
    client.check_access()
    assert vendor.clock.naps == []


def test_of_retry_after_and_reset_the_later_one_counts():
    headers = {"Retry-After": "2", "X-Ratelimit-Reset": str(int((START + 9) * 1000))}
    vendor = Vendor([httpx.Response(429, headers=headers), {}])
    vendor.launchdarkly().check_access()
    assert 9 <= vendor.gaps()[0] <= 10


def test_no_second_holds_more_than_ten_requests_to_customer_io():
    vendor = Vendor([COUNT])
    app = vendor.app()
    for _ in range(40):
        app.segment_size(7)
    at = vendor.asked_at
    assert max(sum(start <= each < start + 1 for each in at) for start in at) <= 10
    assert at[-1] - at[0] < 4.5


@pytest.mark.parametrize(
    "lost",
    [
        httpx.ConnectError("[Errno -2] Name or service not known"),
        httpx.ReadTimeout("timed out"),
        httpx.ConnectTimeout("timed out"),
        httpx.ReadError("reset by peer"),
        httpx.RemoteProtocolError("peer closed connection without sending complete message body"),
        httpx.Response(500),
        httpx.Response(502, html="<html>bad gateway</html>"),
    ],
)
def test_one_lost_connection_time_out_or_server_error_goes_unnoticed(lost):
    vendor = Vendor([lost, COUNT])
    assert vendor.app().segment_size(7) == 3


def test_without_a_network_the_host_and_the_mend_are_named():
    vendor = Vendor([httpx.ConnectError("[Errno -2] Name or service not known")])
    with pytest.raises(Unreachable) as told:
        vendor.launchdarkly().check_access()
    assert "no connection to app.launchdarkly.com" in str(told.value)
    assert "Name or service not known" in str(told.value)
    assert "LAUNCHDARKLY_URL" in str(told.value)


def test_lasting_server_errors_name_the_status_and_the_host():
    with pytest.raises(Unreachable, match=r"api\.customer\.io\) failed \(503\) at GET .* tried 8 times"):
        Vendor([httpx.Response(503)]).app().segment_size(7)


def test_slow_time_outs_count_towards_the_budget():
    clock = Clock()

    def hang(request):
        clock.now += 30
        raise httpx.ReadTimeout("timed out")

    vendor = Vendor([hang], clock)
    with pytest.raises(Unreachable, match="tried 3 times over 9"):
        vendor.app().segment_size(7)


def test_an_answer_that_trickles_ends_though_each_byte_comes_in_time():
    clock = Clock()

    class Trickle(httpx.SyncByteStream):
        def __iter__(self):
            while clock.now < START + 86_400:
                clock.now += 2
                yield b" "

    vendor = Vendor([lambda _: httpx.Response(200, stream=Trickle())], clock)
    with pytest.raises(
        Unreachable, match=r"in time \(the answer began and did not end\) at GET .* over 9\d s"
    ):
        vendor.app().segment_size(7)


@pytest.mark.parametrize("head", [b"X", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_an_answer_that_never_begins_ends_though_each_byte_comes_in_time(head, monkeypatch):
    monkeypatch.setattr("toolkit.clients.http.BUDGET_SECONDS", 0.2)
    threads = threading.active_count()
    with served(head) as url:
        app = CustomerIO(APP_KEY, base_url=url)
        with app, pytest.raises(Unreachable, match=r"in time \(the answer did not begin\)"):
            app.segment_size(7)
    assert threading.active_count() == threads


def test_what_is_long_to_send_may_take_as_much_longer(monkeypatch):
    monkeypatch.setattr("toolkit.clients.http.BUDGET_SECONDS", 0.2)
    people = [({"id": str(n)}, {"a": "x" * 900}) for n in range(100)]
    with (
        served(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", after=0.5) as url,
        CustomerIOTrack("site-123456", TRACK_KEY, base_url=url) as track,
    ):
        assert track.identify(people).written == 100


@contextmanager
def served(some, after=0.0):
    """Give the address of a server that sends `some` to whoever connects first, again and again until it is left."""

    def serve():
        connection, _ = server.accept()
        time.sleep(after)
        with connection, suppress(OSError):
            while True:
                connection.sendall(some)
                time.sleep(0.01)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(200, html="<!doctype html><p>Sign in to the network"), "web page"),
        (httpx.Response(200, content=b""), "not JSON"),
        (httpx.Response(200, json=[1]), "list where an object"),
        (httpx.Response(200, content=b'{"count": NaN}'), "broken JSON"),
        (httpx.Response(200, json={"count": "many"}), "`count` is a str"),
        (httpx.Response(200, json={}), "`count` is missing"),
        (httpx.Response(302, headers={"Location": "https://elsewhere.example"}), r"\(302\)"),
    ],
)
def test_an_answer_in_another_shape_is_called_unexpected_and_not_repeated(answer, said):
    vendor = Vendor([answer])
    with pytest.raises(UnexpectedAnswer, match=said):
        vendor.app().segment_size(7)
    assert len(vendor.asked) == 1


CUT = httpx.Response(200, content=b'{"count": 3', headers={"Content-Type": "application/json"})


def test_an_answer_that_is_cut_short_is_asked_for_again():
    vendor = Vendor([CUT, CUT, httpx.Response(200, json={"count": 3})])
    assert vendor.app().segment_size(7) == 3
    assert len(vendor.asked) == 3


def test_an_answer_that_stays_cut_short_is_called_unexpected():
    vendor = Vendor([CUT] * 20)
    with pytest.raises(UnexpectedAnswer, match=r"cut short.*, tried \d+ times"):
        vendor.app().segment_size(7)


def test_a_body_that_cannot_be_decompressed_is_unexpected():
    def garbled(request):
        return httpx.Response(200, stream=httpx.ByteStream(b"no gzip"), headers={"Content-Encoding": "gzip"})

    with pytest.raises(UnexpectedAnswer, match="DecodingError"):
        Vendor([garbled]).app().segment_size(7)


@pytest.mark.parametrize(
    "url", ["", "api.customer.io", "ftp://host", "https://", "https://me:pass@host", "http://[::"]
)
def test_an_address_that_is_none_is_refused_by_name_of_its_variable(url):
    with pytest.raises(SettingsError, match="CUSTOMERIO_APP_URL") as told:
        CustomerIO(APP_KEY, base_url=url)
    assert "pass" not in str(told.value)


def test_an_address_may_have_a_path_of_its_own_and_a_slash_at_its_end():
    vendor = Vendor([COUNT])
    vendor.app(base_url="http://localhost:8000/customerio/").segment_size(7)
    assert str(vendor.asked[0].url) == "http://localhost:8000/customerio/v1/segments/7/customer_count"


def test_white_space_around_a_copied_key_is_dropped():
    vendor = Vendor([COUNT])
    CustomerIO(f" {APP_KEY}\n", **vendor.wiring()).segment_size(7)
    assert vendor.asked[0].headers["Authorization"] == f"Bearer {APP_KEY}"


@pytest.mark.parametrize("key", ["", "  ", "schlüssel-0123456", "one\ntwo-0123456"])
def test_a_key_that_cannot_be_one_is_refused_without_showing_it(key):
    with pytest.raises(SettingsError, match="CUSTOMERIO_APP_API_KEY") as told:
        CustomerIO(key)
    assert not key.strip() or key not in str(told.value)


@pytest.mark.parametrize("key", ["", ".", ".."])
def test_an_empty_key_cannot_turn_one_route_into_another(key):
    with pytest.raises(DataError, match="cannot be a key"):
        path_of("segments", "shop", key)


def test_path_pieces_are_percent_encoded():
    assert (
        path_of("v1", "customers", "a+b@c/d e%", "attributes")
        == "/v1/customers/a%2Bb%40c%2Fd%20e%25/attributes"
    )


@pytest.mark.parametrize(
    "answer",
    [
        lambda r: httpx.Response(401, json={"message": f"bad key {r.headers['Authorization']}"}),
        lambda r: httpx.Response(403, json={"message": f"no rights for {r.headers['Authorization']}"}),
        lambda r: httpx.Response(400, json={"errors": [{"detail": r.headers["Authorization"]}]}),
        lambda r: httpx.Response(409, json={"message": r.headers["Authorization"]}),
        lambda r: httpx.Response(503, text=r.headers["Authorization"]),
        lambda r: httpx.Response(200, text=r.headers["Authorization"]),
        lambda r: fail(httpx.ConnectError(f"refused {r.headers['Authorization']}", request=r)),
        lambda r: fail(httpx.ReadError(f"lost {r.headers['Authorization']}", request=r)),
        lambda r: fail(httpx.LocalProtocolError(f"Illegal header {r.headers['Authorization']}", request=r)),
    ],
)
def test_no_secret_is_in_an_error_its_chain_a_repr_or_a_log(answer, caplog):
    caplog.set_level(logging.DEBUG)
    vendor = Vendor([answer])
    clients = vendor.app(), vendor.track(), vendor.launchdarkly()
    calls = (
        lambda: clients[0].segment_size(7),
        lambda: clients[1].identify([SOMEBODY]),
        clients[2].check_access,
    )
    said = repr(clients) + repr([c._wire for c in clients])
    for call in calls:
        with pytest.raises(VendorError) as told:
            call()
        said += "".join(traceback.format_exception(told.value)) + repr(told.value)
        assert told.value.__context__ is None or not isinstance(told.value.__context__, httpx.HTTPError)
    said += caplog.text + repr([record.__dict__ for record in caplog.records])
    for secret in (APP_KEY, TRACK_KEY, TOKEN, "c2l0ZS0xMjM0NTY6"):
        assert secret not in said


def test_long_waits_are_announced_with_their_reason(caplog):
    caplog.set_level(logging.WARNING, logger="toolkit")
    Vendor([httpx.Response(429, headers={"Retry-After": "20"}), COUNT]).app().segment_size(7)
    assert "(429) at GET /v1/segments/7/customer_count; waiting 2" in caplog.text


def test_401_texts_name_the_variable_to_check():
    with pytest.raises(Unauthorized) as told:
        Vendor([httpx.Response(401, json={"meta": {"error": "x"}})]).app().segment(7)
    assert str(told.value) == (
        "Customer.io refused the key (401) at GET /v1/segments/7: check CUSTOMERIO_APP_API_KEY and that "
        "CUSTOMERIO_REGION is the account's (us|eu)"
    )
    with pytest.raises(Unauthorized, match="CUSTOMERIO_SITE_ID and CUSTOMERIO_TRACK_API_KEY"):
        Vendor([httpx.Response(401)]).track().identify([SOMEBODY])
    with pytest.raises(Unauthorized, match=r"LAUNCHDARKLY_ACCESS_TOKEN \(an access token, not an SDK key\)"):
        Vendor([refused(401, "unauthorized")]).launchdarkly().check_access()


def test_clients_close_at_the_end_of_a_with():
    vendor = Vendor([COUNT])
    with vendor.app() as app, vendor.track() as track, vendor.launchdarkly() as launchdarkly:
        assert isinstance(track, CustomerIOTrack)
        assert isinstance(launchdarkly, LaunchDarkly)
    with pytest.raises(RuntimeError, match="closed"):
        app.segment_size(7)
