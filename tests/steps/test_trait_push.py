"""Bands, margins and schemas on their way from Customer.io to LaunchDarkly, over HTTP."""

from __future__ import annotations

import pytest

from tests.end_to_end.conftest import ROOT
from toolkit.demo import push_now, workspace_of
from toolkit.errors import SpecError
from toolkit.sandbox import Sandbox
from toolkit.steps.assign import assign
from toolkit.steps.lookup import lookup
from toolkit.steps.push import open_launchdarkly, plan_push
from toolkit.steps.workspace import Spec

BANDED = """\
  - name: early_access_tier
    type: band
    attribute: ltv_90d
    bands: {some: [SOME, MANY], many: [MANY, null]}
    arms: [early_access]
    default: none
    max_age: 1d
    owner: product
    flag: vip-early-access-tier
    meaning: How early the new collection opens.
"""
SEGMENTS = {"some": "lift-early-access-tier-some", "many": "lift-early-access-tier-many"}


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    """A pushed experiment whose limits part the VIP customers into three, and a seventh is not worth an offer."""
    folder = tmp_path_factory.mktemp("banded")
    with Sandbox(seed=3, scale=0.25, limits=False) as box:
        known = {each.id: each.attributes["ltv_90d"] for each in box.customerio.people if each.id}
        workspace = workspace_of(box, folder / "lake", folder / "reports")
        path = folder / "vip.yml"
        plain = (ROOT / "experiments" / "vip-early-access.yml").read_text()
        path.write_text(plain)
        assign(workspace, Spec.read(path))
        arms = {
            row["id"]: row["arm"]
            for row in workspace.lake.read("assignments", experiment="vip-early-access").to_pylist()
        }
        treated = sorted(known[who] for who, arm in arms.items() if arm == "early_access")
        low, some, many = (round(treated[len(treated) * part // 7], 2) for part in (1, 3, 5))
        bands = BANDED.replace("SOME", str(some)).replace("MANY", str(many))
        guard = f"margin_protection: {{attribute: ltv_90d, below: {low}}}\n"
        text = plain.replace("do_not_offer:", f"{bands}{guard}do_not_offer:")
        path.write_text(text)
        push_now(workspace, Spec.read(path))
        yield box, workspace, path, arms, known, (low, some, many)


def members(box, key):
    segment = box.launchdarkly.segments.get(key)
    return set(segment.included.get("user", ())) if segment else set()


def test_treated_customers_are_in_the_band_of_their_number_and_nobody_below_the_margin_is_in_any(pushed):
    box, _, _, arms, known, (low, some, many) = pushed
    offered = members(box, "lift-early-access-eligible")
    worth = {who for who in arms if known[who] >= low}
    assert len(offered) > 100
    assert offered <= {who for who in worth if arms[who] == "early_access"}
    assert {who for who, arm in arms.items() if arm == "early_access"} - worth
    assert members(box, SEGMENTS["some"]) == {who for who in offered if some <= known[who] < many}
    assert members(box, SEGMENTS["many"]) == {who for who in offered if known[who] >= many}


def test_the_look_up_says_what_was_pushed(pushed, tmp_path):
    box, workspace, path, *_ = pushed
    told = lookup(workspace, Spec.read(path), tmp_path / "t.json").lookup.customers
    assert told.keys() == members(box, "lift-early-access-eligible")
    for value, segment in SEGMENTS.items():
        assert {who for who, values in told.items() if values["early_access_tier"] == value} == members(
            box, segment
        )


def test_a_raised_schema_is_told_to_segments_that_are_there_once(pushed):
    box, workspace, path, *_ = pushed
    before = {key: members(box, key) for key in SEGMENTS.values()}
    raised = path.parent / "raised" / path.name  # of one key, two files in a folder are refused
    raised.parent.mkdir()
    raised.write_text(
        path.read_text().replace("    attribute: ltv_90d\n", "    attribute: ltv_90d\n    schema: 2\n")
    )
    spec = Spec.read(raised)
    assert "lift-schema-1" in box.launchdarkly.segments[SEGMENTS["some"]].tags
    with open_launchdarkly(workspace, spec) as client:
        assert set(plan_push(workspace, spec, client).labels) == set(SEGMENTS.values())
    assert push_now(workspace, spec).writes == 2
    assert push_now(workspace, spec).writes == 0
    for key in SEGMENTS.values():
        segment = box.launchdarkly.segments[key]
        assert "lift-schema-2" in segment.tags
        assert "lift-schema-1" not in segment.tags
        assert "schema 2" in segment.description
        assert members(box, key) == before[key]


def test_two_things_in_one_segment_are_not_pushed(pushed):
    box, workspace, path, *_ = pushed
    clashing = path.parent / "clashing" / path.name
    clashing.parent.mkdir()
    clashing.write_text(path.read_text().replace("bands: {some:", "bands: {MANY:"))
    spec = Spec.read(clashing)
    before = len(box.requests)
    with (
        open_launchdarkly(workspace, spec) as client,
        pytest.raises(SpecError, match="would share the segment"),
    ):
        plan_push(workspace, spec, client)
    assert len(box.requests) == before
