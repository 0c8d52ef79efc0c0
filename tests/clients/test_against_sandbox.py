"""The clients over real HTTP, against the stand-in vendors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from toolkit.clients import CustomerIO, CustomerIOTrack, LaunchDarkly
from toolkit.errors import NotFound, Unauthorized
from toolkit.sandbox import Fault, Sandbox


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(seed=3, scale=0.05, limits=False) as served:
        served.advance(7)
        yield served


def customerio(box: Sandbox) -> CustomerIO:
    return CustomerIO(box.environment()["CUSTOMERIO_APP_API_KEY"], base_url=box.url, requests_per_second=1000)


def launchdarkly(box: Sandbox, **changed: str) -> LaunchDarkly:
    told = box.environment()
    where = {"project": told["LAUNCHDARKLY_PROJECT"], "environment": told["LAUNCHDARKLY_ENVIRONMENT"]}
    return LaunchDarkly(told["LAUNCHDARKLY_ACCESS_TOKEN"], base_url=box.url, **{**where, **changed})


def test_all_members_of_a_segment_are_read_and_can_be_looked_up(box):
    number = next(iter(box.customerio.segments))
    with customerio(box) as client:
        members = list(client.segment_members(number))
        assert len(members) == client.segment_size(number) > 0
        ids = [each.id for each in members if each.id][:150]
        assert {person.identifiers.id for person in client.attributes(ids)} == set(ids)


def test_every_activity_is_read_once(box):
    with customerio(box) as client:
        rows = [row for page in client.activity_pages() for row in page.activities]
    assert len({row.id for row in rows}) == len(rows) > 100


def test_attributes_written_are_read_back(box):
    told = box.environment()
    with customerio(box) as client:
        number = next(iter(box.customerio.segments))
        ids = [each.id for each in client.segment_members(number) if each.id][:20]
        with CustomerIOTrack(
            told["CUSTOMERIO_SITE_ID"], told["CUSTOMERIO_TRACK_API_KEY"], base_url=box.url
        ) as track:
            assert track.identify([({"id": each}, {"arm": "lift"}) for each in ids]).written == len(ids)
        assert {person.attributes["arm"] for person in client.attributes(ids)} == {"lift"}


def test_a_segment_is_created_filled_and_read_back(box):
    with launchdarkly(box) as client:
        assert client.segment("lift-new") is None
        client.create_segment("lift-new", name="n", description="d", tags=["lift"])
        client.change_targets("lift-new", add=["1", "2", "3"], comment="c")
        client.change_targets("lift-new", remove=["2"], comment="c")
        assert client.segment("lift-new").included == {"1", "3"}


def test_a_patch_whose_answer_was_lost_is_sent_again_without_harm(box):
    with launchdarkly(box) as client:
        client.create_segment("lift-lost", name="n", description="d", tags=["lift"])
        box.fail(Fault("launchdarkly", "apply_then_reset", method="PATCH"))
        assert client.change_targets("lift-lost", add=["1"], comment="c").included == {"1"}


def test_a_wrong_project_and_a_wrong_token_are_told_apart(box):
    with launchdarkly(box, project="elsewhere") as client, pytest.raises(NotFound, match="elsewhere"):
        client.segment("lift-new")
    with (
        LaunchDarkly("api-wrong-token", project="shop", environment="production", base_url=box.url) as client,
        pytest.raises(Unauthorized),
    ):
        client.check_access()
