from __future__ import annotations

import pytest

from tests.sandbox.shop import app, track
from toolkit.sandbox import Sandbox


def person(identifiers: dict, attributes: dict, **more: object) -> dict:
    return {
        "type": "person",
        "identifiers": identifiers,
        "action": "identify",
        "attributes": attributes,
        **more,
    }


def attributes(box: Sandbox, key: str, id_type: str = "id") -> dict:
    told = app(box).get(f"/v1/customers/{key.replace('@', '%40')}/attributes", params={"id_type": id_type})
    return told.json()["customer"]["attributes"] if told.status_code == 200 else {}


def test_identify_sets_and_removes_attributes_by_any_identifier(box: Sandbox):
    people = box.world.people
    client = track(box)
    for kind, key in (("id", people.ids[9]), ("email", people.emails[9]), ("cio_id", people.cio_ids[9])):
        set_ = client.post(
            "/api/v2/batch", json={"batch": [person({kind: key}, {"a": True, "_update": True})]}
        )
        assert (set_.status_code, attributes(box, people.ids[9])["a"]) == (200, "true"), kind
        client.post("/api/v2/entity", json=person({kind: key}, {"a": None}))
        assert "a" not in attributes(box, people.ids[9]), kind
        assert "_update" not in attributes(box, people.ids[9])


def test_update_creates_nobody_and_its_absence_creates_a_person(box: Sandbox):
    client = track(box)
    client.post("/api/v2/batch", json={"batch": [person({"id": "new"}, {"a": 1, "_update": True})]})
    assert attributes(box, "new") == {}
    client.post("/api/v2/batch", json={"batch": [person({"id": "new"}, {"a": 1})]})
    assert attributes(box, "new")["a"] == "1"
    assert attributes(box, "new")["id"] == "new"


def test_what_changes_is_in_the_activity_log_and_what_stays_is_not(box: Sandbox):
    key = next(filter(None, box.world.people.ids))
    for _ in range(2):
        track(box).post("/api/v2/entity", json=person({"id": key}, {"a": "x"}))
    rows = app(box).get("/v1/activities", params={"type": "attribute_change", "customer_id": key}).json()
    assert [each["data"] for each in rows["activities"]] == [{"a": {"from": "", "to": "x"}}]


def test_bad_items_are_named_in_a_207_and_good_ones_are_applied(box: Sandbox):
    key = next(filter(None, box.world.people.ids))
    batch = [
        person({"id": key}, {"good": True}),
        person({}, {}),
        person({"id": key}, {"long": "x" * 1001}),
        person({"id": key}, {"n" * 151: 1}),
        person({"id": key}, {}, type="object"),
        person({"id": key}, {"_": [["x" * 30_000], "y" * 3000]}),
        person({"id": key}, {}, action="dance"),
        "text",
    ]
    answer = track(box).post("/api/v2/batch", json={"batch": batch})
    errors = answer.json()["errors"]
    assert answer.status_code == 207
    assert [each["batch_index"] for each in errors] == [1, 2, 3, 4, 5, 6, 7]
    assert all({"reason", "field", "message"} <= set(each) for each in errors)
    assert attributes(box, key)["good"] == "true"


def test_a_request_of_more_than_500_kb_is_refused_whole(box: Sandbox):
    key = next(filter(None, box.world.people.ids))
    batch = [person({"id": key}, {f"a{n}": "x" * 900}) for n in range(600)]
    answer = track(box).post("/api/v2/batch", json={"batch": batch})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "batch")
    assert "a0" not in attributes(box, key)


@pytest.mark.parametrize("body", [{}, {"batch": []}, {"batch": {}}, []])
def test_a_request_without_items_is_malformed(box: Sandbox, body: object):
    assert track(box).post("/api/v2/batch", json=body).status_code == 400


def test_an_event_of_our_own_is_read_back_with_its_properties(box: Sandbox):
    key = next(filter(None, box.world.people.ids))
    at = int(box.now.timestamp()) - 60
    item = person({"id": key}, {"order_id": "mine", "total": 5}, action="event", name="Order Completed")
    assert track(box).post("/api/v2/entity", json={**item, "timestamp": at}).status_code == 200
    row = app(box).get("/v1/activities", params={"customer_id": key, "limit": 1}).json()["activities"][0]
    assert (row["data"], row["timestamp"]) == ({"order_id": "mine", "total": 5}, at)
