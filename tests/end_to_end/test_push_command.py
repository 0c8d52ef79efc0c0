"""`lift push` as a program of its own: what it prints, and how it ends."""

from __future__ import annotations

import json

import pytest

from tests.steps.team import ELIGIBLE, Team, people
from toolkit.sandbox import Sandbox


@pytest.fixture
def team(tmp_path):
    with Sandbox(seed=3, scale=0.001, limits=False) as box:
        yield Team(tmp_path, box, people(30) | people(5, "holdout", "h"))


def test_the_plan_is_printed_as_json_and_applied_and_nothing_else_stands_there(lift, team):
    def push(*arguments, expect=0):
        team.write()
        return lift("push", "banner.yml", *arguments, "--json", "-", expect=expect, **team.environment())

    plan = json.loads(push().stdout)
    assert plan["applied"] is None
    assert {each["segment"]: each["add"] for each in plan["segments"]}[ELIGIBLE] == 30
    assert team.asked("PATCH") + team.asked("POST") == 0
    done = json.loads(push("--apply").stdout)
    assert done["applied"]["writes"] > 0
    assert team.members(ELIGIBLE) == set(people(30))
    team.box.launchdarkly.refused_keys = {"d000000"}
    team.arms |= people(1, name="d")
    refused = json.loads(push("--apply", expect=3).stdout)
    assert refused["applied"]["not_taken"] == {ELIGIBLE: 1}


def test_what_waits_for_a_person_and_what_is_refused_end_in_their_status(lift, team):
    team.box.launchdarkly.approvals = True
    team.write()
    waits = lift("push", "banner.yml", "--apply", expect=3, **team.environment())
    assert f"{ELIGIBLE} (add 30, remove 0)" in waits.stderr
    team.box.launchdarkly.approvals = False
    assert "newly assigned" in lift("push", "banner.yml", "--apply", **team.environment()).stdout
    team.arms = people(5, "holdout", "h")
    team.write()
    empties = lift("push", "banner.yml", "--apply", expect=2, **team.environment())
    assert "refused unless --allow-removals 30" in empties.stdout
    assert "has a file lost its rows" in empties.stderr
    lift("push", "banner.yml", "--apply", "--allow-removals", 30, **team.environment())
    assert not team.members(ELIGIBLE)
