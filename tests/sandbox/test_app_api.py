from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import httpx
import pytest
from async_customerio import AsyncAPIClient

from tests.sandbox.shop import app, push, track
from toolkit.sandbox import PROGRAMS, Sandbox


def pages(client: httpx.Client, path: str, of: str, /, **params: object) -> list:
    rows, start = [], ""
    while True:
        told = client.get(path, params={**params, "start": start} if start else params).json()
        rows += told[of]
        start = told["next"]
        if not start:
            return rows


def test_a_wrong_key_is_refused_with_the_vendors_body(still: Sandbox):
    answer = httpx.get(f"{still.url}/v1/segments", headers={"Authorization": "Bearer wrong"})
    assert (answer.status_code, answer.json()) == (401, {"meta": {"error": "Unauthorized request"}})


def test_the_three_audiences_are_segments_with_their_names(still: Sandbox):
    told = app(still).get("/v1/segments").json()["segments"]
    assert {each["id"]: each["name"] for each in told} == {
        1: "Everyone",
        7: "High-value cart abandoners",
        12: "Dormant 90 days",
        21: "VIP customers",
    }
    assert {each["state"] for each in told} == {"finished"}


def test_a_segment_can_be_building(box: Sandbox):
    box.customerio.building.add(7)
    assert app(box).get("/v1/segments/7").json()["segment"]["state"] == "build"


def test_an_unknown_segment_is_not_found(still: Sandbox):
    assert {app(still).get(f"/v1/segments/99{tail}").status_code for tail in ("", "/membership")} == {404}


def test_membership_pages_add_up_to_the_count_and_name_the_id_less_by_email(still: Sandbox):
    client = app(still)
    people = pages(client, "/v1/segments/12/membership", "identifiers", limit=100)
    assert len(people) == client.get("/v1/segments/12/customer_count").json()["count"]
    assert len({each["cio_id"] for each in people}) == len(people)
    whole = client.get("/v1/segments/12/membership").json()
    assert whole["identifiers"] == people
    assert whole["ids"] == [each["id"] or "" for each in people]
    unnamed = [each for each in people if each["id"] is None]
    assert unnamed
    assert all(each["email"] for each in unnamed)


def test_a_page_larger_than_the_vendors_largest_is_refused(still: Sandbox):
    client = app(still)
    assert client.get("/v1/segments/7/membership", params={"limit": 30_001}).status_code == 400
    assert client.get("/v1/activities", params={"limit": 101}).status_code == 400
    assert client.get("/v1/activities", params={"start": "nonsense"}).status_code == 400


def test_filters_combine_segments_and_attributes(still: Sandbox):
    client = app(still)

    def found(condition: dict) -> set[str]:
        said = client.post("/v1/customers", params={"limit": 1000}, json={"filter": condition})
        return {each["cio_id"] for each in said.json()["identifiers"]}

    vips = found({"segment": {"id": 21}})
    gold = found(
        {
            "and": [
                {"segment": {"id": 21}},
                {"attribute": {"field": "ltv_tier", "operator": "eq", "value": "gold"}},
            ]
        }
    )
    kept = found(
        {
            "and": [
                {"segment": {"id": 21}},
                {"not": {"attribute": {"field": "do_not_offer", "operator": "exists"}}},
            ]
        }
    )
    assert gold < vips
    assert kept < vips
    assert 0 < len(vips - kept) < 0.1 * len(vips)


@pytest.mark.parametrize(
    "condition",
    [
        None,
        {},
        {"and": []},
        {"segment": {"id": 99}},
        {"attribute": {"field": "x", "operator": "gt", "value": "1"}},
    ],
)
def test_a_filter_that_cannot_be_read_is_refused(still: Sandbox, condition: object):
    assert app(still).post("/v1/customers", json={"filter": condition}).status_code == 400


def test_bulk_attributes_leave_unknown_people_out_and_take_at_most_100(still: Sandbox):
    client = app(still)
    known = [each for each in still.world.people.ids if each][:99]
    told = client.post("/v1/customers/attributes", json={"ids": [*known, "nobody"]}).json()["customers"]
    assert [each["customer"]["id"] for each in told] == known
    assert float(told[0]["customer"]["attributes"]["ltv_90d"]) > 0
    assert client.post("/v1/customers/attributes", json={"ids": ["x"] * 101}).status_code == 400
    assert client.post("/v1/customers/attributes", json={"ids": []}).status_code == 400


def test_people_are_found_by_any_identifier_and_email_in_any_case(still: Sandbox):
    people = still.world.people
    client = app(still)
    for key, kind in (
        (people.ids[5], "id"),
        (people.emails[5].upper().replace("@", "%40"), "email"),
        (people.cio_ids[5], "cio_id"),
    ):
        told = client.get(f"/v1/customers/{key}/attributes?id_type={kind}").json()
        assert told["customer"]["identifiers"]["cio_id"] == people.cio_ids[5], kind


PLUS = {
    "type": "person",
    "identifiers": {"email": "a+b@example.com"},
    "action": "identify",
    "attributes": {},
}


def test_an_unencoded_plus_or_at_finds_nothing_with_a_200(still: Sandbox):
    email = still.world.people.emails[5]
    client = app(still)
    encoded = client.get(f"/v1/customers?email={email.replace('@', '%40')}").json()
    bare = client.get(f"/v1/customers?email={email}")
    assert len(encoded["results"]) == 1
    assert (bare.status_code, bare.json()) == (200, {"results": []})
    assert client.get(f"/v1/customers/{email}/attributes?id_type=email").json() == {}
    track(still).post("/api/v2/entity", json=PLUS)
    for sign, found in (("%2B", 1), ("+", 0)):
        people = client.get(f"/v1/customers?email=a{sign}b%40example.com").json()["results"]
        assert len(people) == found, sign


def test_activities_come_newest_first_and_only_of_the_last_thirty_days(box: Sandbox):
    box.advance(14)
    rows = pages(app(box), "/v1/activities", "activities", limit=100, type="event")
    shown = {each.id: each.shown_at for each in box.customerio.activities}
    instants = [shown[each["id"]] for each in rows]
    assert instants == sorted(instants, reverse=True)
    assert box.now - timedelta(days=30) <= instants[-1] < box.now - timedelta(days=28)
    assert min(each.shown_at for each in box.customerio.activities) < box.now - timedelta(days=40)


def test_a_page_token_stays_true_when_new_activities_arrive_between_pages(box: Sandbox):
    client = app(box)
    box.advance(1)
    whole = [each["id"] for each in pages(client, "/v1/activities", "activities", limit=100)]
    first = client.get("/v1/activities", params={"limit": 30}).json()
    box.advance(1)
    later = client.get("/v1/activities", params={"limit": 30, "start": first["next"]}).json()
    assert [each["id"] for each in first["activities"] + later["activities"]] == whole[:60]


def test_orders_are_late_doubled_refunded_and_priced_as_text_or_number(still: Sandbox):
    client = app(still)
    orders = pages(client, "/v1/activities", "activities", limit=100, name="Order Completed")
    refunds = pages(client, "/v1/activities", "activities", limit=100, name="Order Refunded")
    assert {type(each["data"]["total"]) for each in orders} == {str, float}
    assert {each["data"]["currency"] for each in orders} == {"USD"}
    copies = Counter(each["data"]["order_id"] for each in orders)
    assert 0 < sum(n - 1 for n in copies.values()) < 0.05 * len(orders)
    assert len({each["id"] for each in orders}) == len(orders)
    shown = {each.id: each for each in still.customerio.activities}
    late = [each for each in orders if shown[each["id"]].shown_at - shown[each["id"]].at > timedelta(hours=1)]
    assert 0.01 < len(late) / len(orders) < 0.12
    assert {each["data"]["order_id"] for each in refunds} & set(copies)
    assert {each["type"] for each in orders + refunds} == {"event"}


def test_activities_of_one_customer_are_theirs(still: Sandbox):
    client = app(still)
    someone = client.get("/v1/activities", params={"name": "Order Completed"}).json()["activities"][0]
    cio_id = someone["customer_identifiers"]["cio_id"]
    rows = client.get("/v1/activities", params={"customer_id": cio_id, "id_type": "cio_id"}).json()
    assert someone["id"] in {each["id"] for each in rows["activities"]}
    assert {each["customer_identifiers"]["cio_id"] for each in rows["activities"]} == {cio_id}


def test_messages_are_listed_by_campaign_and_window(box: Sandbox):
    ready = [(key, "early_access", box.now) for key in box.world.people.ids if key]
    push(box, "vip-early-access", ready)
    begun = box.now
    box.advance(2)
    client = app(box)
    campaign = PROGRAMS["vip-early-access"].campaign
    rows = pages(client, "/v1/messages", "messages", limit=50, campaign_id=campaign)
    assert len(rows) == len(box.messages) > 0
    assert {each["customer_id"] for each in rows} == {each.customer_id for each in box.messages}
    before = {"end_ts": int(begun.timestamp()) - 1}
    assert client.get("/v1/messages", params=before).json()["messages"] == []
    assert client.get("/v1/messages", params={"campaign_id": 999}).json()["messages"] == []
    assert client.get("/v1/messages", params={"start_ts": 0}).status_code == 400


def test_an_export_is_pending_then_done_and_downloads_as_csv(still: Sandbox):
    client = app(still)
    asked = {"filters": {"segment": {"id": 21}}, "attributes": ["ltv_tier"]}
    begun = client.post("/v1/exports/customers", json=asked).json()["export"]
    assert begun["status"] == "pending"
    done = client.get(f"/v1/exports/{begun['id']}").json()["export"]
    lines = httpx.get(client.get(f"/v1/exports/{begun['id']}/download").json()["url"]).text.splitlines()
    assert done["status"] == "done"
    assert lines[0] == "id,email,cio_id,ltv_tier"
    assert len(lines) - 1 == done["total"] == len(still.world.audience("vip-early-access"))


def test_an_independent_client_reads_people_segments_and_activities(still: Sandbox):
    async def read() -> tuple:
        async with AsyncAPIClient(still.environment()["CUSTOMERIO_APP_API_KEY"], url=still.url) as client:
            known = (await client.segments.get_membership(21, limit=30))["ids"]
            vips = {"filter": {"segment": {"id": 21}}}["filter"]
            return (
                await client.segments.list(),
                await client.segments.get_customer_count(21),
                await client.customers.search(filter=vips, limit=1000),
                await client.customers.get_attributes(next(filter(None, known))),
                await client._request("GET", "/activities", params={"limit": 5, "type": "event"}),
            )

    segments, count, found, someone, activities = asyncio.run(read())
    assert len(segments["segments"]) == 4
    assert count["count"] == len(found["identifiers"])
    assert someone["customer"]["attributes"]["ltv_tier"] in ("bronze", "silver", "gold")
    assert len(activities["activities"]) == 5


def test_track_rejects_wrong_credentials_and_tells_the_region(still: Sandbox):
    assert httpx.post(f"{still.url}/api/v2/batch", auth=("a", "b"), json={}).status_code == 401
    assert track(still).get("/api/v1/accounts/region").json()["url"] == still.url
