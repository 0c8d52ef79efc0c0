from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import httpx
import pytest

from tests.clients.wiring import Vendor
from toolkit.clients import Identifiers
from toolkit.errors import DataError, NotFound, NotReady, Unauthorized, UnexpectedAnswer

READY = {"segment": {"id": 7, "name": "Lapsed", "state": "finished"}}


def who(number: int) -> dict[str, str]:
    return {"id": str(number), "email": f"{number}@x.example", "cio_id": f"c{number}"}


def event(**changed):
    usual = {
        "id": "01A",
        "type": "event",
        "name": "Order Completed",
        "timestamp": 1_800_000_000,
        "customer_identifiers": who(1),
        "data": {},
    }
    return {**usual, **changed}


def test_members_are_read_from_identifiers_page_by_page_until_there_is_no_next():
    vendor = Vendor(
        [
            READY,
            {
                "ids": ["1", ""],
                "identifiers": [who(1), {"id": "", "email": "b@x", "cio_id": "c2"}],
                "next": "p+2",
            },
            {"ids": [], "identifiers": [who(3)], "next": ""},
        ]
    )
    found = list(vendor.app().segment_members(7))
    assert found[0] == Identifiers("1", "1@x.example", "c1")
    assert found[1] == Identifiers(None, "b@x", "c2")
    assert found[2].id == "3"
    assert [r.url.query for r in vendor.asked[1:]] == [b"limit=30000", b"limit=30000&start=p%2B2"]


def test_a_segment_still_being_built_is_refused_before_any_member_is_taken():
    vendor = Vendor([{"segment": {"id": 7, "name": "Lapsed", "state": "build", "progress": 40}}])
    with pytest.raises(NotReady, match=r"segment 7 “Lapsed” \(state build, 40 % done\): wait until"):
        vendor.app().segment_members(7)


def test_an_unknown_segment_is_named_with_what_to_check():
    with pytest.raises(NotFound, match=r"no segment 7 .* check the number .* CUSTOMERIO_APP_API_KEY"):
        Vendor([httpx.Response(404, json={"errors": [{"detail": "not found"}]})]).app().segment(7)


@pytest.mark.parametrize("body", [{"errors": [{"detail": "no scope"}]}, {"meta": {"error": "no scope"}}])
def test_both_shapes_of_refusal_are_understood(body):
    with pytest.raises(Unauthorized, match=r"lacks a right \(403\) at GET /v1/segments/7 \(no scope\)"):
        Vendor([httpx.Response(403, json=body)]).app().segment(7)


def test_pages_that_go_round_in_a_circle_end_in_an_error():
    page = {"identifiers": [who(1)], "next": "again"}
    with pytest.raises(UnexpectedAnswer, match="circle"):
        list(Vendor([page]).app().search({"segment": {"id": 4}}))


def test_an_answer_without_any_list_is_no_empty_page():
    vendor = Vendor([{"meta": {"error": "temporarily degraded"}}])
    with pytest.raises(UnexpectedAnswer, match="neither `identifiers` nor `ids`"):
        list(vendor.app().search({"segment": {"id": 4}}))
    assert list(Vendor([{"identifiers": None, "ids": []}]).app().search({"segment": {"id": 4}})) == []


def test_attributes_are_asked_for_a_hundred_at_a_time_and_plus_and_at_survive():
    people = {"customers": [{"customer": {"identifiers": who(1), "attributes": {"a": "1"}}}]}
    vendor, seen = Vendor([people]), []
    ids = [f"a+{n}@x.example" for n in range(250)]
    found = list(vendor.app().attributes(ids, id_type="email", progress=seen.append))
    assert [len(json.loads(r.content)["ids"]) for r in vendor.asked] == [100, 100, 50]
    assert [each for r in vendor.asked for each in json.loads(r.content)["ids"]] == ids
    assert seen == [100, 200, 250]
    assert (len(found), found[0].attributes, found[0].unsubscribed) == (3, {"a": "1"}, False)


@pytest.mark.parametrize(("ids", "id_type"), [(["1"], "mail"), (["1", ""], "id")])
def test_identifiers_that_cannot_be_asked_for_are_refused_before_anything_is_sent(ids, id_type):
    vendor = Vendor([{}])
    with pytest.raises(DataError):
        vendor.app().attributes(ids, id_type=id_type)
    assert vendor.asked == []


def test_amounts_stay_exact_and_instants_are_aware():
    raw = json.dumps({"activities": [event(data={"total": "X"})], "next": ""}).replace('"X"', "19.99")
    page = next(Vendor([httpx.Response(200, content=raw.encode())]).app().activity_pages())
    (activity,) = page.activities
    assert activity.data["total"] == Decimal("19.99")
    assert activity.timestamp == datetime.fromtimestamp(1_800_000_000, UTC)


def test_each_page_of_activities_carries_its_own_cursor_and_the_next():
    answers = [{"activities": [event()], "next": "b"}, {"activities": [event(id="01B")], "next": None}]
    vendor = Vendor(answers)
    pages = list(vendor.app().activity_pages(start="a", name="Order+Completed @ home"))
    assert [(p.start, p.next) for p in pages] == [("a", "b"), ("b", None)]
    assert b"name=Order%2BCompleted%20%40%20home" in vendor.asked[0].url.query


@pytest.mark.parametrize("rows", [[], [who(1)]])
def test_pages_that_bring_nothing_new_end_in_an_error_though_each_names_a_new_one(rows):
    vendor = Vendor([{"identifiers": rows, "ids": [], "next": f"p{n}"} for n in range(500)])
    with pytest.raises(UnexpectedAnswer, match=r"POST /v1/customers: \d+ pages in a row brought nothing new"):
        list(vendor.app().search({"segment": {"id": 4}}))
    assert len(vendor.asked) < 100


def test_pages_may_be_empty_on_the_way():
    pages = [{"identifiers": [], "ids": [], "next": f"p{n}"} for n in range(60)]
    pages[30]["identifiers"] = [who(1)]
    vendor = Vendor([*pages, {"identifiers": [who(2)], "next": ""}])
    assert [each.id for each in vendor.app().search({"segment": {"id": 4}})] == ["1", "2"]


def test_a_page_is_handed_over_before_the_next_one_is_asked_for():
    vendor = Vendor([{"activities": [], "next": "b"}, httpx.Response(401)])
    pages = vendor.app().activity_pages()
    assert next(pages).next == "b"
    assert len(vendor.asked) == 1
    with pytest.raises(Unauthorized):
        next(pages)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"timestamp": "soon"}, "activity 01A: `timestamp`"),
        ({"timestamp": True}, "activity 01A: `timestamp`"),
        ({"timestamp": 1_800_000_000_000}, "activity 01A: `timestamp`"),
        ({"type": None}, "activity 01A: `type` is missing"),
        ({"data": [1]}, "activity 01A: `data` is a list"),
        ({"customer_identifiers": "1"}, "activity 01A: identifiers"),
        ({"id": ""}, "activity 0 of a page has no id"),
    ],
)
def test_an_activity_that_cannot_be_read_is_named(changed, said):
    vendor = Vendor([{"activities": [event(**changed)], "next": ""}])
    with pytest.raises(UnexpectedAnswer, match=said):
        next(vendor.app().activity_pages())


def test_an_activity_without_data_or_identifiers_object_still_tells_whose_it_is():
    row = event(data=None, customer_identifiers=None, customer_id="9")
    (activity,) = next(Vendor([{"activities": [row], "next": ""}]).app().activity_pages()).activities
    assert (activity.identifiers.id, activity.data) == ("9", {})
