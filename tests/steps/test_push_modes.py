"""What a push is where the flag draws by itself, or the application looks its traits up."""

from __future__ import annotations

import pytest

from tests.steps.team import ELIGIBLE, HELD, HOLDOUT, READY, SPEC, Team
from toolkit.sandbox import Sandbox

PLAIN = SPEC.replace(", growing: 0.3}", "}").replace("treated: 0.6", "treated: 0.9")
PLAIN = PLAIN[: PLAIN.index("  - {name: offer")] + PLAIN[PLAIN.index("do_not_offer:") :]


@pytest.fixture
def team(tmp_path):
    with Sandbox() as box:
        arms = {f"c{n}": "treated" if n % 10 else "holdout" for n in range(40)}
        made = Team(tmp_path, box, arms=arms, protected={"c1"})
        made.with_messages()
        yield made


def drawn(team, mode):
    spec = PLAIN + f"delivery: {{mode: {mode}}}\nseed: 7\n"
    if mode == "rollout":  # the flag draws, so nobody else may have
        spec = spec.replace("assignment: {source: files}", "assignment: {source: hash}")
    team.spec = spec


def test_where_the_flag_draws_nothing_is_pushed_and_the_message_goes_to_whom_it_draws(team):
    from toolkit.steps.assign import assign

    drawn(team, "rollout")
    with team.opened() as (workspace, spec, _):
        assign(workspace, spec)
        rows = workspace.lake.read("assignments", experiment=spec.experiment.key).to_pylist()
    arms = {row["id"]: row["arm"] for row in rows}
    team.push()
    assert team.asked("POST", "/segments") == team.asked("PATCH", "/segments") == 0
    ready = {who for who in arms if team.attribute(who, READY)}
    assert ready == {who for who, arm in arms.items() if arm == "treated"} - {"c1"}
    assert {who for who in arms if team.attribute(who, HELD) is True} == arms.keys() - ready - {"c1"}


def test_where_the_application_looks_up_only_holdouts_are_pushed_and_no_message_is_released(team):
    drawn(team, "lookup")
    assert any("release it when the application has loaded" in each for each in team.plan().notes)
    team.push()
    assert team.members(HOLDOUT) == {who for who, arm in team.arms.items() if arm == "holdout"}
    assert ELIGIBLE not in team.box.launchdarkly.segments
    assert not any(team.attribute(who, READY) for who in team.arms)
    before = team.asked("PATCH")
    team.push()
    assert team.asked("PATCH") == before


def test_what_was_pushed_before_the_mode_changed_is_taken_back_from_whom_nothing_may_be_offered(team):
    drawn(team, "segments")
    team.push()
    told = {who for who in team.arms if team.attribute(who, READY)}
    assert "c2" in told & team.members(ELIGIBLE)
    team.spec = team.spec.replace("mode: segments", "mode: lookup")
    team.protected = {"c1", "c2"}
    team.push()
    assert team.members(ELIGIBLE) == told - {"c2"}
    assert {who for who in team.arms if team.attribute(who, READY)} == told - {"c2"}
    assert team.push().told == 0
