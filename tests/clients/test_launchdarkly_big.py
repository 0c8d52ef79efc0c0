"""Big segments on the wire: what is sent, and what is made of each answer."""

from __future__ import annotations

import csv
import io
import json
from email import policy
from email.parser import BytesParser

import httpx
import pytest

from tests.clients.wiring import Vendor, refused
from toolkit.errors import (
    DataError,
    InvalidRequest,
    NotReady,
    Unauthorized,
    UnexpectedAnswer,
    WaitingForPerson,
)

SEGMENT = {"key": "lift-x", "name": "x", "version": 3, "tags": ["lift"], "unbounded": True}
TAKEN = httpx.Response(
    204, headers={"Location": "https://elsewhere.test/api/v2/segments/shop/prod/lift-x/imports/i1"}
)
AWKWARD = ["plain", 'quo"te', "com,ma", "line\nbreak", "ümlaut", " blank "]


def status(of):
    return {"id": "i1", "status": of}


def test_a_big_segment_is_made_for_the_clients_kind_of_context():
    vendor = Vendor([SEGMENT])
    made = vendor.launchdarkly(context_kind="device").create_segment(
        "lift-x", name="x", description="d", tags=["lift"], big=True
    )
    body = json.loads(vendor.asked[0].content)
    assert (body["unbounded"], body["unboundedContextKind"], made.unbounded) == (True, "device", True)


def test_a_standard_segment_is_made_without_a_word_of_big_ones():
    vendor = Vendor([SEGMENT])
    vendor.launchdarkly().create_segment("lift-x", name="x", description="d", tags=["lift"])
    assert set(json.loads(vendor.asked[0].content)) == {"key", "name", "description", "tags"}


def test_a_plan_without_big_segments_refuses_to_make_one():
    vendor = Vendor([refused(403, "forbidden", "Big segments are not available on this plan")])
    with pytest.raises(Unauthorized, match="not available on this plan"):
        vendor.launchdarkly().create_segment("lift-x", name="x", description="", tags=(), big=True)


def test_what_is_told_of_a_big_segment_is_read():
    told = {**SEGMENT, "unboundedContextKind": "user", "_unboundedMetadata": {"includedCount": 7}}
    found = Vendor([{**told, "_importInProgress": True}]).launchdarkly().segment("lift-x")
    assert (found.kind, found.count, found.importing, found.included) == ("user", 7, True, frozenset())
    bare = Vendor([SEGMENT]).launchdarkly().segment("lift-x")
    assert (bare.count, bare.importing) == (None, False)


def test_keys_are_added_and_removed_in_one_request():
    vendor = Vendor([httpx.Response(204)])
    vendor.launchdarkly().big.change("lift-x", add=["a"], remove=["b", "c"])
    (request,) = vendor.asked
    assert (request.method, request.url.path) == ("POST", "/api/v2/segments/shop/prod/lift-x/contexts")
    assert json.loads(request.content) == {"included": {"add": ["a"], "remove": ["b", "c"]}}


@pytest.mark.parametrize(("add", "remove"), [((), ()), (["a"], ["a"]), ([str(n) for n in range(1501)], ())])
def test_a_change_of_nothing_of_too_much_or_both_ways_is_refused_before_it_is_sent(add, remove):
    vendor = Vendor([httpx.Response(204)])
    with pytest.raises(DataError):
        vendor.launchdarkly().big.change("lift-x", add=add, remove=remove)
    assert not vendor.asked


def test_a_refused_key_is_told_apart_from_other_trouble():
    with pytest.raises(InvalidRequest, match="not valid"):
        Vendor([refused(400, "invalid_request", "not valid")]).launchdarkly().big.change("lift-x", add=["a"])


def test_one_context_is_asked_for_by_its_encoded_key():
    vendor = Vendor([{"userKey": "a/b c", "included": True, "excluded": False}])
    assert vendor.launchdarkly().big.includes("lift-x", "a/b c") is True
    assert vendor.asked[0].url.raw_path.endswith(b"/lift-x/contexts/a%2Fb%20c")
    with pytest.raises(UnexpectedAnswer, match="another context"):
        Vendor([{"userKey": "z", "included": True}]).launchdarkly().big.includes("lift-x", "a")


def test_a_whole_list_is_sent_as_a_file_that_reads_back_whatever_is_in_the_keys():
    vendor = Vendor([TAKEN, status("in_progress"), status("complete")])
    vendor.launchdarkly().big.replace("lift-x", AWKWARD)
    sent, *polls = vendor.asked
    head = b"Content-Type: " + sent.headers["Content-Type"].encode() + b"\r\n\r\n"
    parts = {
        each.get_param("name", header="content-disposition"): each.get_payload(decode=True)
        for each in BytesParser(policy=policy.HTTP).parsebytes(head + sent.content).iter_parts()
    }
    assert parts["mode"] == b"replace"
    rows = list(csv.reader(io.StringIO(parts["file"].decode(), newline="")))
    assert [row for (row,) in rows] == AWKWARD
    assert {(each.method, each.url.host, each.url.path) for each in polls} == {
        ("GET", sent.url.host, "/api/v2/segments/shop/prod/lift-x/imports/i1")
    }


@pytest.mark.parametrize(
    "location",
    [
        "imp 1",
        "imports/imp%201",
        "/api/v2/segments/shop/prod/lift-x/imports/imp%201/",
        "/elsewhere/imp%201?expand=no#top",
        "https://elsewhere.test/imports/imp%201//",
    ],
)
def test_wherever_an_import_is_said_to_be_its_id_comes_last(location):
    vendor = Vendor([httpx.Response(204, headers={"Location": location}), status("complete")])
    vendor.launchdarkly().big.replace("lift-x", ["a"])
    assert vendor.asked[1].url.path == "/api/v2/segments/shop/prod/lift-x/imports/imp 1"


def test_an_import_is_asked_about_ever_more_rarely_until_it_is_done():
    vendor = Vendor([TAKEN, *[status("in_progress")] * 6, status("complete")])
    vendor.launchdarkly().big.replace("lift-x", ["a"])
    assert vendor.clock.naps == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0]


@pytest.mark.parametrize(
    ("of", "kind", "said"),
    [
        ("pending_approval", WaitingForPerson, "let someone approve it"),
        ("stopped", InvalidRequest, "was stopped"),
        ("in_progress", NotReady, "run again later"),
    ],
)
def test_an_import_that_is_not_done_says_why(of, kind, said):
    with pytest.raises(kind, match=said):
        Vendor([TAKEN, status(of)]).launchdarkly().big.replace("lift-x", ["a"])


def test_another_import_is_waited_for():
    busy = refused(409, "optimistic_locking_error", "An import is already in progress")
    vendor = Vendor([busy, busy, TAKEN, status("complete")])
    vendor.launchdarkly().big.replace("lift-x", ["a"])
    assert [each.method for each in vendor.asked] == ["POST", "POST", "POST", "GET"]
    with pytest.raises(NotReady, match="another import is still under way"):
        Vendor([busy]).launchdarkly().big.replace("lift-x", ["a"])


@pytest.mark.parametrize(
    "headers", [{}, *({"Location": said} for said in ("", "/", "imports/..", "http://[::"))]
)
def test_an_import_that_nobody_can_find_again_is_an_unexpected_answer(headers):
    with pytest.raises(UnexpectedAnswer, match="without saying where"):
        Vendor([httpx.Response(204, headers=headers)]).launchdarkly().big.replace("lift-x", ["a"])
