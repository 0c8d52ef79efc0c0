from __future__ import annotations

import json

import httpx
import pytest

from tests.clients.wiring import TRACK_KEY, Vendor
from toolkit.errors import DataError, Unauthorized, UnexpectedAnswer

FULL = {f"a{n}": "x" * 990 for n in range(25)}


def sent(vendor: Vendor) -> list[list[dict]]:
    return [json.loads(request.content)["batch"] for request in vendor.asked]


def test_nobody_is_created_whatever_the_attributes_say():
    vendor = Vendor([{}])
    vendor.track().identify([({"id": "42"}, {"_update": False, "arm": "lift"})])
    assert sent(vendor) == [
        [
            {
                "type": "person",
                "identifiers": {"id": "42"},
                "action": "identify",
                "attributes": {"_update": True, "arm": "lift"},
            }
        ]
    ]


def test_requests_are_filled_up_to_500_kb_and_every_person_is_sent_once_in_order():
    vendor, seen = Vendor([{}]), []
    people = [({"id": str(n)}, FULL) for n in range(100)]
    result = vendor.track().identify(people, progress=seen.append)
    sizes = [len(request.content) for request in vendor.asked]
    assert max(sizes) <= 500_000
    assert min(sizes[:-1]) > 500_000 - 26_000
    assert [item["identifiers"]["id"] for batch in sent(vendor) for item in batch] == [
        str(n) for n in range(100)
    ]
    assert (result.written, result.failed, seen[-1]) == (100, (), 100)


def test_what_a_207_refuses_is_mapped_back_to_the_people_passed_in():
    errors = [
        {"batch_index": 2, "reason": "invalid", "field": "attributes.a", "message": "too large"},
        {"batch_index": 2, "reason": "invalid", "field": "attributes.b", "message": "too large"},
    ]
    vendor = Vendor([{}, httpx.Response(207, json={"errors": errors}), {}])
    result = vendor.track().identify([({"id": str(n)}, FULL) for n in range(50)])
    first = len(sent(vendor)[0])
    assert {each.index for each in result.failed} == {first + 2}
    assert [each.field for each in result.failed] == ["attributes.a", "attributes.b"]
    assert result.written == 49


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"<html>", b'{"errors": []}', b'{"errors": "all"}', b'{"errors": null}']
)
def test_a_207_that_does_not_say_what_it_refuses_is_sent_again_and_never_taken_for_success(body):
    unsaid = httpx.Response(207, content=body)
    vendor = Vendor([unsaid, {}])
    assert vendor.track().identify([({"id": "1"}, {"a": "b"})]).written == 1
    assert sent(vendor)[0] == sent(vendor)[1]
    with pytest.raises(UnexpectedAnswer, match=r"\(207\), and does not say which, tried 8 times"):
        Vendor([unsaid]).track().identify([({"id": "1"}, {"a": "b"})])


@pytest.mark.parametrize("status", [200, 207])
def test_a_key_that_the_vendor_echoes_is_struck_out_of_what_it_refuses(status):
    error = {"batch_index": 0, "reason": TRACK_KEY, "field": TRACK_KEY, "message": f"no such key {TRACK_KEY}"}
    vendor = Vendor([httpx.Response(status, json={"errors": [error]})])
    (failed,) = vendor.track().identify([({"id": "1"}, {})]).failed
    assert (failed.reason, failed.field, failed.message) == ("…", "…", "no such key …")


@pytest.mark.parametrize("errors", [5, "all", {"batch_index": 0}, [5], [None]])
def test_refusals_in_another_shape_are_unexpected(errors):
    with pytest.raises(UnexpectedAnswer, match="errors"):
        Vendor([{"errors": errors}]).track().identify([({"id": "1"}, {})])


@pytest.mark.parametrize("index", [1, -1, None, "0", True])
def test_an_error_for_someone_who_was_not_sent_is_unexpected(index):
    vendor = Vendor([httpx.Response(207, json={"errors": [{"batch_index": index}]})])
    with pytest.raises(UnexpectedAnswer, match="batch_index"):
        vendor.track().identify([({"id": "42"}, {})])


@pytest.mark.parametrize(
    ("who", "attributes"),
    [
        ({"email": "jane@x.example"}, {f"a{n}": "x" * 900 for n in range(40)}),
        ({"email": "jane@x.example"}, {"at": object()}),
        ({"email": "jane@x.example"}, {"n": float("nan")}),
        ({"email": "jane@x.example", "id": "1"}, {}),
        ({"phone": "jane@x.example"}, {}),
        ({}, {}),
    ],
)
def test_an_item_that_cannot_be_sent_stops_all_and_names_the_place_not_the_person(who, attributes):
    vendor = Vendor([{}])
    with pytest.raises(DataError, match="person number 1 ") as told:
        vendor.track().identify([({"id": "0"}, {}), (who, attributes)])
    assert "jane" not in str(told.value)
    assert vendor.asked == []


def test_nobody_to_write_means_no_request():
    vendor = Vendor([{}])
    assert vendor.track().identify([]).written == 0
    assert vendor.asked == []


def test_an_empty_answer_is_taken_for_success():
    assert Vendor([httpx.Response(200)]).track().identify([({"id": "1"}, {})]).written == 1


def test_a_batch_lost_on_the_way_is_sent_again_unchanged():
    vendor = Vendor([httpx.ReadTimeout("slow"), {}])
    assert vendor.track().identify([({"id": "1"}, {"a": "b"})]).written == 1
    assert sent(vendor)[0] == sent(vendor)[1]


def test_a_refused_key_names_both_variables():
    with pytest.raises(Unauthorized, match="CUSTOMERIO_SITE_ID and CUSTOMERIO_TRACK_API_KEY"):
        Vendor([httpx.Response(401)]).track().identify([({"id": "1"}, {})])
